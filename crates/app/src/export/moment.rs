//! Times and numbers as text, written by hand: half of an export's work is writing them.

use callvault_core::{Day, TimeUs, time::SECOND_US};

/// Writes moments; remembers the day, because neighbours share it.
#[derive(Default)]
pub(super) struct Moments {
    day: Option<Day>,
    text: String,
}

impl Moments {
    /// RFC 3339 in UTC with as many decimals as are needed.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, at: TimeUs) {
        let day = at.day();
        if self.day != Some(day) {
            self.text = format!("{day}T");
            self.day = Some(day);
        }
        out.extend_from_slice(self.text.as_bytes());
        let within = at.0 - day.start().0;
        let (seconds, micros) = (within / SECOND_US, within % SECOND_US);
        two(out, seconds / 3_600);
        out.push(b':');
        two(out, seconds / 60 % 60);
        out.push(b':');
        two(out, seconds % 60);
        if micros != 0 {
            out.push(b'.');
            let end = out.len() + 6;
            let (high, middle, low) = (micros / 10_000, micros / 100 % 100, micros % 100);
            two(out, high);
            two(out, middle);
            two(out, low);
            let zeros = out[end - 6..].iter().rev().take_while(|digit| **digit == b'0').count();
            out.truncate(end - zeros);
        }
        out.push(b'Z');
    }
}

/// A whole number below 100, in two digits.
fn two(out: &mut Vec<u8>, value: i64) {
    let digit = |value: i64| b'0' + u8::try_from(value % 10).unwrap_or(0);
    out.extend_from_slice(&[digit(value / 10), digit(value)]);
}

/// A whole number.
pub(super) fn push_int(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0_u8; 20];
    let (mut at, mut rest) = (digits.len(), value.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// A SID's 32 digits.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8; 16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn moments_are_written_as_everywhere(
            at in -62_000_000_000_000_000_i64..253_000_000_000_000_000,
            cut in prop::sample::select(vec![1_i64, 10, 1_000, 100_000, 1_000_000, 86_400_000_000]),
        ) {
            let at = TimeUs(at.div_euclid(cut) * cut);
            prop_assert_eq!(text(|out| Moments::default().push(out, at)), at.to_string());
        }

        #[test]
        fn numbers_are_written_as_everywhere(value: i64, small in -100_i64..100, bytes: [u8; 16]) {
            prop_assert_eq!(text(|out| push_int(out, value)), value.to_string());
            prop_assert_eq!(text(|out| push_int(out, small)), small.to_string());
            prop_assert_eq!(text(|out| push_hex(out, &bytes)), hex::encode(bytes));
        }
    }
}
