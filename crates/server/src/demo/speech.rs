//! Short recordings: spoken by espeak-ng where it is installed, else tones.

use std::process::{Command, Stdio};

use super::generate::{tones, wav};

const LINES: [&str; 8] = [
    "Thank you for calling. This call may be recorded for quality and training purposes.",
    "Hello, I would like to ask about my last order. It has not arrived yet.",
    "Let me look that up for you. Could you tell me the order number, please?",
    "Your appointment is confirmed for tomorrow at half past ten.",
    "I am sorry about the delay. I will arrange a refund today.",
    "Please press one to continue with call recording, or press two to opt out.",
    "The technician will visit between two and four in the afternoon.",
    "Is there anything else I can help you with? Have a good day.",
];

/// A few recordings in WAV, 8 kHz, 16 bit, mono.
#[must_use]
pub(super) fn voices() -> Vec<Vec<u8>> {
    let spoken: Option<Vec<_>> = LINES.iter().map(|line| speak(line)).collect();
    spoken.unwrap_or_else(|| {
        (0..8)
            .map(|seed| tones(seed, 3 + u32::try_from(seed).unwrap_or(0)))
            .collect()
    })
}

fn speak(line: &str) -> Option<Vec<u8>> {
    let output = Command::new("espeak-ng")
        .args(["--stdout", line])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let bytes = output.stdout;
    let rate = u32::from_le_bytes(bytes.get(24..28)?.try_into().ok()?);
    let data = bytes.windows(4).position(|window| window == b"data")? + 8;
    let samples: Vec<i16> = bytes
        .get(data..)?
        .chunks_exact(2)
        .filter_map(|pair| Some(i16::from_le_bytes(pair.try_into().ok()?)))
        .collect();
    if !output.status.success() || rate < 8_000 || samples.len() < 800 {
        return None;
    }
    Some(wav(&resample(&samples, rate)))
}

/// To 8 kHz, by averaging what falls on each sample.
fn resample(samples: &[i16], rate: u32) -> Vec<u8> {
    let count = samples.len() as u64 * 8_000 / u64::from(rate);
    let place = |n: u64| usize::try_from(n * u64::from(rate) / 8_000).unwrap_or(usize::MAX);
    let mut out = Vec::new();
    for n in 0..count {
        let window = samples
            .get(place(n)..place(n + 1).min(samples.len()))
            .unwrap_or_default();
        let sum: i64 = window.iter().map(|sample| i64::from(*sample)).sum();
        let mean = sum / i64::try_from(window.len().max(1)).unwrap_or(1);
        out.extend_from_slice(&i16::try_from(mean).unwrap_or(0).to_le_bytes());
    }
    out
}
