//! What the readers of all formats share: options, the cache of numbers, and the rules a record must keep.

use callvault_core::{Number, Sid, TimeUs, number::NumberError, record::Call, time::SECOND_US};
use compact_str::CompactString;

use super::{Fault, Options, SidMaker, moment::LocalClock};

/// The longest id, display name or DLT id, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 128;
/// The longest `extra`, in bytes.
pub(crate) const MAX_EXTRA_BYTES: usize = 16 * 1024;
/// How far a switch's clock may be ahead of ours.
const FUTURE_TOLERANCE_US: i64 = 300 * SECOND_US;
/// 1990-01-01T00:00:00Z. No cloud-telephony record is older; clocks that lost their battery are.
const EARLIEST: TimeUs = TimeUs(631_152_000 * SECOND_US);
/// How many spellings of numbers are remembered, a power of two.
const CACHE_SLOTS: usize = 32_768;

type CachedNumber = Option<(Box<str>, Result<Number, NumberError>)>;

pub(crate) struct Context<S> {
    country: phonenumber::country::Id,
    latest: TimeUs,
    sid_maker: S,
    cache: Vec<CachedNumber>,
    pub(crate) clock: LocalClock,
    /// Text in the making, kept between rows.
    pub(crate) scratch: String,
    pub(crate) shortened: u64,
}

impl<S: SidMaker> Context<S> {
    pub(crate) fn new(options: &Options, sid_maker: S) -> Self {
        Self {
            country: options.country,
            latest: TimeUs(options.now.0.saturating_add(FUTURE_TOLERANCE_US)),
            sid_maker,
            cache: vec![None; CACHE_SLOTS],
            clock: LocalClock::new(options.time_zone.clone()),
            scratch: String::new(),
            shortened: 0,
        }
    }

    pub(crate) fn make_sid(&self, source: &str, at: TimeUs) -> Sid {
        self.sid_maker.make_sid(source, at)
    }

    /// Normalises a number; national spellings are parsed once and remembered.
    pub(crate) fn number(&mut self, field: &'static str, text: &str) -> Result<Number, Fault> {
        if self.country == phonenumber::country::Id::IN
            && let Some(digits) = indian_mobile(text)
        {
            let mut e164 = CompactString::const_new("+91");
            e164.push_str(digits);
            return Ok(Number(e164));
        }
        let plain = text.len() <= 16 && text.starts_with('+');
        let parsed = if plain || text.is_empty() {
            Number::parse(text, self.country)
        } else {
            self.cached_number(text)
        };
        parsed.map_err(|error| Fault::field(field, "not-a-number", error.to_string()))
    }

    fn cached_number(&mut self, text: &str) -> Result<Number, NumberError> {
        // FNV-1a: a collision costs one parse, nothing else.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        #[expect(clippy::cast_possible_truncation, reason = "the slot number is what is wanted")]
        let slot = &mut self.cache[(hash ^ hash >> 32) as usize & (CACHE_SLOTS - 1)];
        if let Some((known, parsed)) = slot
            && **known == *text
        {
            return parsed.clone();
        }
        let parsed = Number::parse(text, self.country);
        if text.len() <= callvault_core::number::MAX_NUMBER_BYTES {
            *slot = Some((text.into(), parsed.clone()));
        }
        parsed
    }

    /// A moment is neither before 1990 nor in the future.
    pub(crate) fn check_moment(&self, field: &'static str, at: TimeUs) -> Result<TimeUs, Fault> {
        if at > self.latest {
            return Err(Fault::field(
                field,
                "time-in-future",
                "more than five minutes in the future",
            ));
        }
        if at < EARLIEST {
            return Err(Fault::field(field, "time-too-early", "before 1990"));
        }
        Ok(at)
    }
}

/// The ten digits of an Indian mobile number (National Numbering Plan 2003: they begin with 6 to 9, the landline codes
/// among them left out) written in the usual national ways. The general parser takes ten microseconds for the same.
fn indian_mobile(text: &str) -> Option<&str> {
    let digits = match text.len() {
        // Ten digits that begin with the country code are left to the general parser.
        10 if !text.starts_with("91") => text,
        11 => text.strip_prefix('0')?,
        12 => text.strip_prefix("91")?,
        _ => return None,
    };
    let mobile = digits.starts_with(['9', '8', '7', '6']) && digits.bytes().all(|byte| byte.is_ascii_digit());
    mobile.then_some(digits)
}

/// The names under which a format knows the fields that the rules of [`check_call`] are about.
pub(crate) struct CallFields {
    pub(crate) answered: &'static str,
    pub(crate) ended: &'static str,
    pub(crate) talk: &'static str,
}

/// A call's times and lengths agree with each other.
pub(crate) fn check_call(call: &Call, fields: &CallFields) -> Result<(), Fault> {
    if call.ended_at.is_some_and(|ended| ended < call.at) {
        return Err(Fault::field(
            fields.ended,
            "end-before-start",
            "the call ends before it starts",
        ));
    }
    if let Some(answered) = call.answered_at {
        if answered < call.at {
            return Err(Fault::field(
                fields.answered,
                "answer-before-start",
                "the call is answered before it starts",
            ));
        }
        if call.ended_at.is_some_and(|ended| ended < answered) {
            return Err(Fault::field(
                fields.ended,
                "end-before-answer",
                "the call ends before it is answered",
            ));
        }
    }
    if call.talk_s > call.duration_s {
        return Err(Fault::field(
            fields.talk,
            "talk-exceeds-duration",
            "more seconds of conversation than of call",
        ));
    }
    Ok(())
}

/// Reads a count of seconds or units.
pub(crate) fn parse_count(field: &'static str, text: &str) -> Result<u32, Fault> {
    let text = text.trim();
    if let Ok(count) = text.parse() {
        return Ok(count);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::field(field, "not-an-integer", "expected a whole number"));
    }
    if text.starts_with('-') {
        return Err(Fault::field(field, "negative-number", "below zero"));
    }
    Err(Fault::field(field, "number-too-large", "above 4294967295"))
}

/// A short text within its limit.
pub(crate) fn check_name(field: &'static str, text: &str) -> Result<(), Fault> {
    if text.len() > MAX_NAME_BYTES {
        return Err(Fault::field(
            field,
            "text-too-long",
            format!("longer than {MAX_NAME_BYTES} bytes"),
        ));
    }
    check_no_nul(field, text)
}

/// No NUL, which a JSON escape can bring in.
pub(crate) fn check_no_nul(field: &'static str, text: &str) -> Result<(), Fault> {
    if text.contains('\0') {
        return Err(Fault::field(field, "nul-byte", "holds a NUL byte"));
    }
    Ok(())
}

/// `extra` within its limit.
pub(crate) fn check_extra(extra: &str) -> Result<(), Fault> {
    if extra.len() > MAX_EXTRA_BYTES {
        return Err(Fault::field(
            "extra",
            "extra-too-large",
            "what the vault has no field for exceeds 16 KiB",
        ));
    }
    Ok(())
}

/// Whether a normalised number is a full telephone number, which extensions and SIP users are not.
pub(crate) fn is_telephone(number: &Number) -> bool {
    number.as_str().starts_with('+')
}

#[cfg(test)]
mod tests {
    use super::*;
    use phonenumber::country::Id::IN;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn the_short_cut_for_indian_numbers_agrees_with_the_general_parser(
            digits in "[0-9]{0,2}[6-9][0-9]{9}",
        ) {
            if let Some(mobile) = indian_mobile(&digits) {
                let parsed = Number::parse(&digits, IN).expect("a number");
                let short_cut = format!("+91{mobile}");
                prop_assert_eq!(parsed.as_str(), short_cut, "{}", digits);
            }
        }
    }
}
