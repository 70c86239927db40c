//! A world to look at: records as a contact centre makes them, the same for the same seed.
//!
//! Numbers are from ranges that belong to nobody: India `+9199000xxxxx` (a prefix used here for fiction), Singapore
//! `+65 3159 xxxx`. They are drawn from pools in which a few are very busy, at the hours and weekdays of business.

use std::fmt::Write as _;

use callvault_app::core::{TimeUs, time::DAY_US};

/// SplitMix64: a small generator with a period of 2^64, good enough for a demo.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that always fall the same way for this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Uniform in 0..1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Log-normal, near enough: the sum of uniforms is nearly normal.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn seconds(&mut self, median: f64, sigma: f64) -> u32 {
        let normal = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        (median * (sigma * normal).exp()).clamp(1.0, 7_200.0) as u32
    }
}

/// An account's world.
#[derive(Debug, Clone)]
pub struct World {
    dice: Dice,
    /// What every number begins with, and how many digits follow.
    prefix: &'static str,
    digits: usize,
    exophones: u64,
    people: u64,
    /// Minutes that local time is ahead of UTC.
    offset_minutes: i64,
    indian: bool,
}

/// Share of a day's calls by local hour, in thousandths.
const HOURS: [u64; 24] = [
    2, 1, 1, 1, 2, 5, 12, 28, 55, 88, 105, 102, 84, 62, 70, 86, 92, 84, 58, 34, 16, 7, 3, 2,
];

impl World {
    /// An Indian contact centre.
    #[must_use]
    pub const fn india(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            prefix: "+9199000",
            digits: 5,
            exophones: 12,
            people: 60_000,
            offset_minutes: 330,
            indian: true,
        }
    }

    /// A Singaporean one.
    #[must_use]
    pub const fn singapore(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            prefix: "+653159",
            digits: 4,
            exophones: 4,
            people: 9_000,
            offset_minutes: 480,
            indian: false,
        }
    }

    /// A person's number. The fifth power makes a few of them very busy.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 2^20"
    )]
    fn person(&mut self) -> String {
        let rank = (self.dice.unit().powi(3) * self.people as f64) as u64;
        format!("{}{:0width$}", self.prefix, self.exophones + rank, width = self.digits)
    }

    fn exophone(&mut self) -> String {
        let number = self.dice.below(self.exophones);
        format!("{}{number:0width$}", self.prefix, width = self.digits)
    }

    /// A moment of a day, in business hours mostly.
    fn moment(&mut self, day: TimeUs) -> TimeUs {
        let mut roll = self.dice.below(HOURS.iter().sum());
        let mut hour = 0;
        for (at, share) in HOURS.iter().enumerate() {
            hour = i64::try_from(at).unwrap_or(0);
            if roll < *share {
                break;
            }
            roll -= share;
        }
        let within_us = i64::try_from(self.dice.below(3_600_000_000)).unwrap_or(0);
        let local_us = hour * 3_600_000_000 + within_us;
        TimeUs(day.0 + (local_us - self.offset_minutes * 60_000_000).rem_euclid(DAY_US))
    }

    /// How busy a day is, in percent of an average one: weekends are quiet.
    #[must_use]
    pub fn busy_percent(&mut self, day: TimeUs) -> u64 {
        // 1970-01-01 was a Thursday.
        let weekday = (day.0.div_euclid(DAY_US) + 3).rem_euclid(7);
        match weekday {
            6 => 35,
            5 => 60,
            _ => 118 + self.dice.below(8),
        }
    }

    /// Writes a call as a row of our own CSV. `number` makes its source id unique.
    pub fn write_call(&mut self, day: TimeUs, number: u64, text: &mut String) -> TimeUs {
        let at = self.moment(day);
        let inbound = self.dice.below(100) < 58;
        let (person, exophone) = (self.person(), self.exophone());
        let (status, talk_s) = match self.dice.below(100) {
            0..66 => ("completed", self.dice.seconds(95.0, 0.9)),
            66..88 => ("no-answer", 0),
            88..95 => ("busy", 0),
            95..98 => ("failed", 0),
            _ => ("canceled", 0),
        };
        let ring_s = self.dice.seconds(9.0, 0.5).min(60);
        // A call that outlasts its day would end in the future of an import at midnight.
        let left_s = day.plus_days(1).0.saturating_sub(at.0) / 1_000_000;
        let talk_s = talk_s.min(u32::try_from(left_s).unwrap_or(0).max(1));
        let answered = if talk_s > 0 {
            at.plus_seconds(i64::from(ring_s)).to_string()
        } else {
            String::new()
        };
        let ended = at.plus_seconds(i64::from(ring_s + talk_s));
        let (direction, from, to) = match inbound {
            true => ("inbound", &person, &exophone),
            false => ("outbound-api", &exophone, &person),
        };
        let price = u64::from(talk_s.div_ceil(60)) * 9_000;
        let source = at.0 / 1_000_000;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{at},{source}.{number},{direction},{from},{to},{exophone},{status},{answered},{ended},{},{talk_s},{price}",
            ring_s + talk_s
        );
        at
    }

    /// Writes a message as a row of our own CSV.
    pub fn write_message(&mut self, day: TimeUs, number: u64, text: &mut String) {
        let at = self.moment(day);
        let person = self.person();
        let code = self.dice.below(900_000) + 100_000;
        let body = match self.dice.below(4) {
            0 => format!("{code} is your login code. Do not share it with anyone."),
            1 => format!("Your order {code} has been shipped and arrives tomorrow."),
            2 => format!("Reminder: your appointment {code} is at 10:30 tomorrow. Reply 1 to confirm."),
            _ => format!("Thank you for calling. Your ticket {code} is open."),
        };
        let (status, status_code) = match self.dice.below(100) {
            0..91 => ("sent", 20_005),
            91..97 => ("failed", 30_005),
            _ => ("failed-dnd", 30_008),
        };
        let sent = at.plus_seconds(1 + i64::try_from(self.dice.below(6)).unwrap_or(0));
        let (sender, entity, template) = match self.indian {
            true => ("vm-callvt", "1101000000000000001", "1107000000000000001"),
            false => ("callvault", "", ""),
        };
        let _ = writeln!(
            text,
            "{at},m{number}-{code},outbound-api,{sender},{person},{status},{status_code},{sent},1,250000,\"{body}\",{entity},{template}"
        );
    }
}

/// Header of the calls' CSV.
pub const CALL_HEADER: &str =
    "at,source_id,direction,from,to,exophone,status,answered_at,ended_at,duration_s,talk_s,price_micros\n";
/// Header of the messages' CSV.
pub const MESSAGE_HEADER: &str =
    "at,source_id,direction,from,to,status,status_code,sent_at,units,price_micros,body,dlt_entity_id,dlt_template_id\n";

/// A short recording in WAV, 8 kHz, 16 bit, mono: two voices of tones that take turns.
#[must_use]
pub fn tones(seed: u64, seconds: u32) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut samples = Vec::with_capacity(seconds as usize * 16_000);
    for turn in 0..seconds * 4 {
        let base = if (turn / 6) % 2 == 0 { 180.0 } else { 260.0 };
        let pitch = base + f64::from(u32::try_from(dice.below(140)).unwrap_or(0));
        for n in 0..2_000_u32 {
            let envelope = (f64::from(n) / 2_000.0 * std::f64::consts::PI).sin();
            let wave = (f64::from(n) * pitch * std::f64::consts::TAU / 8_000.0).sin();
            #[expect(clippy::cast_possible_truncation, reason = "within 9000")]
            samples.extend_from_slice(&((wave * envelope * 9_000.0) as i16).to_le_bytes());
        }
    }
    wav(&samples)
}

/// A WAV file of 8 kHz, 16 bit, mono.
#[must_use]
pub fn wav(samples: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(samples.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&bytes.saturating_add(36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&8_000_u32.to_le_bytes());
    file.extend_from_slice(&16_000_u32.to_le_bytes());
    file.extend_from_slice(&[2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    file.extend_from_slice(samples);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_world() {
        let make = || {
            let mut world = World::india(7);
            let mut text = String::new();
            for number in 0..100 {
                world.write_call(TimeUs(0), number, &mut text);
                world.write_message(TimeUs(0), number, &mut text);
            }
            text
        };
        assert_eq!(make(), make());
        assert!(make().contains("+9199000"));
    }

    #[test]
    fn calls_end_on_their_day() {
        let mut world = World::singapore(23);
        let mut text = String::new();
        for number in 0..20_000 {
            world.write_call(TimeUs(0), number, &mut text);
        }
        let slack_s = 61;
        let latest = TimeUs(0).plus_days(1).plus_seconds(slack_s).to_string();
        for row in text.lines() {
            let ended = row.split(',').nth(8).expect("ended_at");
            assert!(ended < latest.as_str(), "{row}");
        }
    }

    #[test]
    fn tones_are_a_real_wav() {
        let audio = tones(1, 2);
        let info =
            callvault_app::audio::probe(std::io::Cursor::new(&audio), audio.len() as u64, "a.wav").expect("a WAV");
        assert_eq!(
            (info.sample_rate_hz, info.channels, info.duration_ms),
            (8_000, 1, 2_000)
        );
    }
}
