//! Telephone numbers as the vault hashes and compares them: E.164 where there is one.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The longest text taken as a number or SIP user, in bytes.
pub const MAX_NUMBER_BYTES: usize = 64;

/// A normalised party of a call or message. Two spellings of one number are equal after [`Number::parse`].
///
/// The text is one of: E.164 with its `+` (`+919876543210`); a short number or extension, digits only (`100`,
/// `56161`); a SIP user or alphanumeric sender, lower case (`agent-7`, `vm-exotel`); or empty when the caller withheld
/// it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(pub CompactString);

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Longer than [`MAX_NUMBER_BYTES`].
    #[error("longer than 64 bytes")]
    TooLong,
    /// Neither a telephone number nor a SIP user.
    #[error(
        "neither a telephone number (E.164, or national with the account's country), nor an extension, nor a SIP user"
    )]
    NotANumber,
}

impl Number {
    /// Normalises a number as a switch or client wrote it. `country` is the ISO 3166 code that national numbers are
    /// read in (`IN`, `SG`, ...).
    ///
    /// Withheld callers (`anonymous`, `unknown`, `restricted`, `private`, empty) become the empty number.
    ///
    /// # Errors
    /// [`NumberError`], which names what is wrong and never repeats the text.
    pub fn parse(text: &str, country: phonenumber::country::Id) -> Result<Self, NumberError> {
        let text = text.trim();
        if text.len() > MAX_NUMBER_BYTES {
            return Err(NumberError::TooLong);
        }
        if is_plain_e164(text) {
            return Ok(Self(CompactString::new(text)));
        }
        if text.is_empty()
            || ["anonymous", "unknown", "restricted", "private", "unavailable"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word))
        {
            return Ok(Self::default());
        }
        let bare = text
            .strip_prefix("sip:")
            .or_else(|| text.strip_prefix("tel:"))
            .unwrap_or(text);
        let bare = bare.split(['@', ';']).next().unwrap_or(bare);
        let digits = bare.bytes().filter(u8::is_ascii_digit).count();
        let telephone = bare.bytes().all(|b| b.is_ascii_digit() || b"+-(). /".contains(&b));
        if telephone && digits <= 6 && digits > 0 && !bare.starts_with('+') {
            return Ok(Self(bare.bytes().filter(u8::is_ascii_digit).map(char::from).collect()));
        }
        if telephone {
            return parse_telephone(bare, country);
        }
        let user = |b: u8| b.is_ascii_alphanumeric() || b"_.-*#".contains(&b);
        if !bare.is_empty() && bare.bytes().all(user) && bare.bytes().any(|b| b.is_ascii_alphanumeric()) {
            return Ok(Self(bare.to_ascii_lowercase().into()));
        }
        Err(NumberError::NotANumber)
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the caller withheld the number.
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        self.0.is_empty()
    }
}

/// A telephone number that is not written as plain E.164.
///
/// A national number may begin with the digits of its own country code (`91234 56789` in India). It is read as national
/// first, and as international without its `+` only when that is no valid number.
fn parse_telephone(text: &str, country: phonenumber::country::Id) -> Result<Number, NumberError> {
    let international = text.trim_start().starts_with(['+', '(']) && text.contains('+') || text.starts_with("00");
    let national = || {
        let code = phonenumber::metadata::DATABASE.by_id(country.as_ref())?.country_code();
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let number = phonenumber::parse(None, format!("+{code}{}", digits.trim_start_matches('0'))).ok()?;
        number.is_valid().then_some(number)
    };
    let parsed = match if international { None } else { national() } {
        Some(number) => number,
        None => phonenumber::parse(Some(country), text).map_err(|_| NumberError::NotANumber)?,
    };
    let e164 = parsed.format().mode(phonenumber::Mode::E164).to_string();
    if is_plain_e164(&e164) {
        Ok(Number(e164.into()))
    } else {
        Err(NumberError::NotANumber)
    }
}

/// `+`, then 8 to 15 digits, the first not 0 (ITU-T E.164, section 6).
fn is_plain_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else {
        return false;
    };
    (8..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Debug for Number {
    /// Never the number: debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Number(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phonenumber::country::Id::{IN, SG};

    #[test]
    fn every_spelling_of_a_number_is_one_number() {
        for text in [
            "+919876543210",
            "09876543210",
            "9876543210",
            "+91 98765 43210",
            "tel:+91-9876543210",
        ] {
            assert_eq!(Number::parse(text, IN).expect(text).as_str(), "+919876543210", "{text}");
        }
        for text in [
            "9123456789",
            "09123456789",
            "919123456789",
            "+91 91234 56789",
            "00919123456789",
        ] {
            assert_eq!(Number::parse(text, IN).expect(text).as_str(), "+919123456789", "{text}");
        }
        for text in ["65123456", "+6565123456", "6565123456"] {
            assert_eq!(Number::parse(text, SG).expect(text).as_str(), "+6565123456", "{text}");
        }
        assert_eq!(Number::parse("61234567", SG).expect("national").as_str(), "+6561234567");
    }

    #[test]
    fn switches_also_write_extensions_users_and_nothing() {
        for (text, want) in [
            ("100", "100"),
            ("Agent-7", "agent-7"),
            ("sip:bob@10.0.0.1", "bob"),
            ("Anonymous", ""),
            ("", ""),
            ("VM-EXOTEL", "vm-exotel"),
        ] {
            assert_eq!(Number::parse(text, IN).expect(text).as_str(), want, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_and_not_repeated() {
        for text in [
            "+12",
            "hello world",
            "+++",
            "<script>",
            "12 34 56 78 90 12 34 56 78 90",
            "é",
        ] {
            let error = Number::parse(text, IN).expect_err(text);
            assert!(!error.to_string().contains(text));
        }
        assert_eq!(Number::parse(&"9".repeat(65), IN), Err(NumberError::TooLong));
        assert!(!format!("{:?}", Number::parse("+919876543210", IN)).contains("98765"));
    }
}
