//! Digits as tones in the audio (ITU-T Q.23, Q.24), for telephones that send no events.
//!
//! Goertzel's algorithm over blocks of 205 samples (25.6 ms). A digit is one low and one high tone, alone, of a similar level, in two
//! blocks after each other; it is heard once, and again after a block without it.

use std::sync::LazyLock;

/// Samples of a block: the eight frequencies then lie near the middle of its bins.
const BLOCK: usize = 205;
const RATE: f64 = 8_000.0;
const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH_HZ: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] = [
    ['1', '2', '3', 'A'],
    ['4', '5', '6', 'B'],
    ['7', '8', '9', 'C'],
    ['*', '0', '#', 'D'],
];
/// The weakest tone that counts, as mean square of its samples: about 30 dB below the loudest.
const WEAKEST: f64 = 1.0e5;
/// How much stronger one of the two may be (Q.24: 4 dB one way and 8 the other, and some room).
const MOST_TWIST: f64 = 8.0;
/// The two tones' share of everything that is heard.
const LEAST_SHARE: f64 = 0.75;
/// How much stronger than the next tone of its group each is.
const LEAST_LEAD: f64 = 6.0;

/// What Goertzel's algorithm multiplies with for each frequency, the low ones first.
static TURNS: LazyLock<[f64; 8]> = LazyLock::new(|| {
    let turn = |hz: f64| 2.0 * (std::f64::consts::TAU * hz / RATE).cos();
    let ([a, b, c, d], [e, f, g, h]) = (LOW_HZ.map(turn), HIGH_HZ.map(turn));
    [a, b, c, d, e, f, g, h]
});

/// Hears digits in samples.
#[derive(Debug, Clone)]
pub struct Ear {
    block: Vec<f64>,
    /// What the block before had.
    before: Option<char>,
    /// What was told, and goes on.
    told: Option<char>,
}

impl Default for Ear {
    fn default() -> Self {
        Self {
            block: Vec::with_capacity(BLOCK),
            before: None,
            told: None,
        }
    }
}

impl Ear {
    /// Takes the next samples, and tells the digits that were pressed in them.
    pub fn hear(&mut self, samples: impl IntoIterator<Item = i16>) -> Vec<char> {
        let mut heard = Vec::new();
        for sample in samples {
            self.block.push(f64::from(sample));
            if self.block.len() < BLOCK {
                continue;
            }
            let digit = find(&self.block);
            self.block.clear();
            if digit != self.told && digit == self.before {
                self.told = digit;
                heard.extend(digit);
            }
            self.before = digit;
        }
        heard
    }
}

/// The digit of a block, if it is one.
fn find(block: &[f64]) -> Option<char> {
    let whole = block.iter().map(|sample| sample * sample).sum::<f64>() / BLOCK as f64;
    // Silence, in which no tone is strong enough.
    if whole < WEAKEST {
        return None;
    }
    let [low, high] = powers(block);
    let (row, low) = strongest(low)?;
    let (column, high) = strongest(high)?;
    let twist = if low > high { low / high } else { high / low };
    let good = low.min(high) >= WEAKEST && twist <= MOST_TWIST && low + high >= LEAST_SHARE * whole;
    KEYS.get(row)?.get(column).copied().filter(|_| good)
}

/// The strongest of a group, if it leads.
fn strongest(powers: [f64; 4]) -> Option<(usize, f64)> {
    let (place, power) = powers.into_iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let next = powers
        .into_iter()
        .enumerate()
        .filter(|(other, _)| *other != place)
        .map(|(_, power)| power);
    (power >= LEAST_LEAD * next.fold(0.0, f64::max)).then_some((place, power))
}

/// The mean squares of the tones of both groups in a block: all eight side by side, so that the processor takes several at once.
fn powers(block: &[f64]) -> [[f64; 4]; 2] {
    let turns = &*TURNS;
    let (mut last, mut before) = ([0.0; 8], [0.0; 8]);
    for sample in block {
        for n in 0..8 {
            let next = turns[n] * last[n] + (sample - before[n]);
            before[n] = last[n];
            last[n] = next;
        }
    }
    let power = |n: usize| {
        let square = last[n] * last[n] + before[n] * before[n] - turns[n] * last[n] * before[n];
        2.0 * square / (BLOCK * BLOCK) as f64
    };
    [[0, 1, 2, 3].map(power), [4, 5, 6, 7].map(power)]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    /// A key that is pressed so long, its tones of these levels.
    fn tone(key: char, count: usize, low: f64, high: f64) -> Vec<i16> {
        let place = KEYS
            .iter()
            .enumerate()
            .find_map(|(row, keys)| Some((row, keys.iter().position(|known| *known == key)?)));
        let (row, column) = place.expect("a key");
        let wave = |hz: f64, n: usize, level: f64| level * (TAU * hz * n as f64 / RATE).sin();
        (0..count)
            .map(|n| (wave(LOW_HZ[row], n, low) + wave(HIGH_HZ[column], n, high)) as i16)
            .collect()
    }

    fn heard(samples: &[i16]) -> String {
        let mut ear = Ear::default();
        samples
            .chunks(160)
            .flat_map(|packet| ear.hear(packet.iter().copied()))
            .collect()
    }

    #[test]
    fn every_key_is_heard_once_at_every_level_that_counts() {
        for key in KEYS.concat() {
            for level in [600.0, 3_000.0, 14_000.0] {
                let mut samples = tone(key, 800, level, level * 1.3);
                samples.extend([0; 800]);
                samples.extend(tone(key, 800, level, level * 0.8));
                samples.extend([0; 400]);
                assert_eq!(heard(&samples), format!("{key}{key}"), "{level}");
            }
        }
    }

    #[test]
    fn what_g711_does_to_a_key_does_not_matter() {
        for law in [crate::g711::Law::A, crate::g711::Law::Mu] {
            let samples: Vec<i16> = tone('5', 800, 2_000.0, 2_000.0)
                .iter()
                .map(|s| law.decode(law.encode(*s)))
                .collect();
            assert_eq!(heard(&samples), "5");
        }
    }

    #[test]
    fn one_tone_a_glimpse_a_chord_and_silence_are_no_key() {
        assert_eq!(heard(&[0; 8_000]), "");
        assert_eq!(heard(&tone('1', 8_000, 5_000.0, 0.0)), "", "one tone");
        assert_eq!(heard(&tone('1', 8_000, 9_000.0, 1_000.0)), "", "too uneven");
        assert_eq!(heard(&tone('1', 8_000, 200.0, 200.0)), "", "too weak");
        assert_eq!(
            heard(&[tone('1', 200, 5_000.0, 5_000.0), vec![0; 800]].concat()),
            "",
            "25 ms"
        );
        let (one, six) = (tone('1', 8_000, 4_000.0, 4_000.0), tone('6', 8_000, 4_000.0, 4_000.0));
        let chord: Vec<i16> = one.iter().zip(six).map(|(a, b)| a + b).collect();
        assert_eq!(heard(&chord), "", "two keys");
    }

    proptest! {
        /// Voices are harmonics of one tone that glides, with noise.
        #[test]
        fn a_voice_is_no_key(pitch in 80.0..300.0_f64, glide in -0.3..0.3_f64, parts in prop::collection::vec(0.0..1.0_f64, 12), seed in any::<u64>()) {
            let (mut phase, mut noise) = (0.0_f64, seed | 1);
            let samples: Vec<i16> = (0..8_000).map(|n| {
                phase += TAU * pitch * (1.0 + glide * f64::from(n) / 8_000.0) / RATE;
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let hiss = (noise >> 40) as f64 / f64::from(1 << 24) - 0.5;
                let voiced: f64 = parts.iter().zip(1..).map(|(part, k)| part * (phase * f64::from(k)).sin()).sum();
                (1_500.0 * (voiced + hiss)) as i16
            }).collect();
            prop_assert_eq!(heard(&samples), "");
        }
    }
}
