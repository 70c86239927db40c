//! The timeline of one channel: samples where they belong, whatever order their packets come in, silence where they are missing.
//!
//! Both channels of a call count samples from the same moment. Where a packet lies is said by its timestamp, relative to the first
//! packet of its sender; where that one lies is said by when it arrived. So loss and jitter move nothing, and both stay aligned.

use std::collections::VecDeque;

use crate::rtp::Packet;

/// How far a packet's place may be from when it arrives, in samples: two seconds. Beyond it the sender began to count anew.
const MOST_APART: i64 = 16_000;
/// The longest payload that is taken: 120 ms.
const MOST_SAMPLES: usize = 960;

/// What became of the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets whose samples were put in place.
    pub taken: u64,
    /// Packets that came after their place was passed on.
    pub late: u64,
    /// Packets whose place was taken already.
    pub repeated: u64,
    /// Packets that are too long, or of ever new senders.
    pub refused: u64,
    /// Samples of silence where none arrived.
    pub missing: u64,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    ssrc: u32,
    timestamp: u32,
    at: i64,
}

/// One channel.
#[derive(Debug)]
pub struct Timeline {
    silence: u8,
    anchor: Option<Anchor>,
    /// The first sample that was not passed on yet.
    base: i64,
    /// Samples from there on, where they arrived.
    waiting: VecDeque<Option<u8>>,
    counts: Counts,
}

impl Timeline {
    /// A channel that begins with the call. Silence is this byte.
    #[must_use]
    pub const fn new(silence: u8) -> Self {
        Self {
            silence,
            anchor: None,
            base: 0,
            waiting: VecDeque::new(),
            counts: Counts {
                taken: 0,
                late: 0,
                repeated: 0,
                refused: 0,
                missing: 0,
            },
        }
    }

    /// What became of the packets so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Puts a packet's samples where they belong. `arrived` counts samples since the call began.
    pub fn put(&mut self, arrived: i64, packet: &Packet<'_>) {
        let samples = packet.payload;
        if samples.is_empty() || samples.len() > MOST_SAMPLES {
            self.counts.refused += 1;
            return;
        }
        let Some(at) = self.place(arrived, packet) else {
            self.counts.refused += 1;
            return;
        };
        let Ok(ahead) = usize::try_from(at - self.base) else {
            self.counts.late += 1;
            return;
        };
        let end = ahead + samples.len();
        if self.waiting.len() < end {
            self.waiting.resize(end, None);
        }
        let mut is_new = false;
        for (place, sample) in self.waiting.range_mut(ahead..end).zip(samples) {
            if place.is_none() {
                (*place, is_new) = (Some(*sample), true);
            }
        }
        match is_new {
            true => self.counts.taken += 1,
            false => self.counts.repeated += 1,
        }
    }

    /// Where a packet belongs; nowhere, when so much waits already that it would come to lie too far ahead.
    fn place(&mut self, arrived: i64, packet: &Packet<'_>) -> Option<i64> {
        let known = self.anchor.filter(|anchor| anchor.ssrc == packet.ssrc);
        if let Some(anchor) = known {
            // Timestamps wrap: the shorter way is meant.
            let apart = packet.timestamp.wrapping_sub(anchor.timestamp).cast_signed();
            let at = anchor.at + i64::from(apart);
            if (at - arrived).abs() <= MOST_APART {
                // The anchor moves along, so that a long call does not come to the other half.
                self.anchor = Some(Anchor {
                    timestamp: packet.timestamp,
                    at,
                    ..anchor
                });
                return Some(at);
            }
        }
        // Another sender, or one that counts anew: it goes on where there is nothing yet.
        let free = self.base + i64::try_from(self.waiting.len()).unwrap_or(0);
        let at = match self.anchor {
            None => arrived.max(self.base),
            Some(_) => arrived.max(free),
        };
        if at - arrived > MOST_APART {
            return None;
        }
        self.anchor = Some(Anchor {
            ssrc: packet.ssrc,
            timestamp: packet.timestamp,
            at,
        });
        Some(at)
    }

    /// Passes on everything before this sample, silence where nothing arrived. What comes for it later is late.
    pub fn pass(&mut self, until: i64, into: &mut Vec<u8>) {
        let count = usize::try_from(until - self.base).unwrap_or(0);
        let known = count.min(self.waiting.len());
        let (silence, mut missing) = (self.silence, count - known);
        let samples = self.waiting.drain(..known).map(|sample| {
            missing += usize::from(sample.is_none());
            sample.unwrap_or(silence)
        });
        into.extend(samples);
        into.resize(into.len() + count - known, silence);
        self.counts.missing += missing as u64;
        self.base += i64::try_from(count).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SILENCE: u8 = 0xff;
    /// Samples of a packet: 20 ms.
    const PACKET: i64 = 160;

    fn packet(ssrc: u32, timestamp: u32, payload: &[u8]) -> Packet<'_> {
        Packet {
            marker: false,
            payload_type: 0,
            sequence: 0,
            timestamp,
            ssrc,
            payload,
        }
    }

    fn all(timeline: &mut Timeline, until: i64) -> Vec<u8> {
        let mut samples = Vec::new();
        timeline.pass(until, &mut samples);
        samples
    }

    #[test]
    fn a_channel_that_begins_late_begins_with_silence_and_another_sender_goes_on_behind() {
        let mut timeline = Timeline::new(SILENCE);
        timeline.put(1_000, &packet(1, 77, &[1; 160]));
        // A re-INVITE: another source, another clock.
        timeline.put(1_100, &packet(2, 9_999_999, &[2; 160]));
        let samples = all(&mut timeline, 1_400);
        assert!(samples[..1_000].iter().all(|sample| *sample == SILENCE));
        assert_eq!(
            (samples[1_000], samples[1_159], samples[1_160], samples[1_319]),
            (1, 1, 2, 2)
        );
        assert_eq!((samples[1_320], samples.len()), (SILENCE, 1_400));
        assert_eq!(timeline.counts().missing, 1_080);
    }

    #[test]
    fn a_clock_that_jumps_is_anchored_anew_and_fills_no_memory() {
        let mut timeline = Timeline::new(SILENCE);
        timeline.put(0, &packet(1, 0, &[1; 160]));
        timeline.put(160, &packet(1, 0x7000_0000, &[2; 160]));
        assert!(timeline.waiting.len() <= 320);
        assert_eq!(all(&mut timeline, 320), [[1; 160], [2; 160]].concat());
        timeline.put(320, &packet(1, 0x7000_0000 - 16_500, &[3; 160]));
        assert_eq!(all(&mut timeline, 480), vec![3; 160]);
        timeline.put(480, &packet(1, 5, &[0; 961]));
        timeline.put(480, &packet(1, 5, &[]));
        assert_eq!(timeline.counts().refused, 2);
    }

    proptest! {
        /// Packets are lost, repeated, and late by up to 100 ms, of a clock that wraps. Everything that came in time is where it was
        /// spoken, and everything else is silence.
        #[test]
        fn samples_are_where_they_were_spoken(
            fates in prop::collection::vec((0..4_u8, 0..790_i64), 2..120), first in any::<u32>(), ahead in 0..4_000_i64,
        ) {
            let mut timeline = Timeline::new(SILENCE);
            // The first packet sets the clock; it is on time.
            let mut arrivals = vec![(ahead, 0_i64)];
            for (n, (copies, late)) in (1..).zip(&fates) {
                for copy in 0..*copies {
                    arrivals.push((ahead + n * PACKET + late + i64::from(copy), n));
                }
            }
            arrivals.sort_unstable();
            let (mut samples, mut expected) = (Vec::new(), vec![SILENCE; usize::try_from(ahead).unwrap_or(0)]);
            // What is passed on lies 100 ms behind.
            for (arrived, n) in &arrivals {
                timeline.pass(arrived - 800, &mut samples);
                let byte = u8::try_from(n % 200).unwrap_or(0);
                let timestamp = first.wrapping_add(u32::try_from(n * PACKET).unwrap_or(0));
                timeline.put(*arrived, &packet(1, timestamp, &[byte; PACKET as usize]));
            }
            let count = i64::try_from(fates.len()).unwrap_or(0) + 1;
            timeline.pass(ahead + count * PACKET, &mut samples);
            for n in 0..count {
                let came = n == 0 || fates[usize::try_from(n - 1).unwrap_or(0)].0 > 0;
                let byte = if came { u8::try_from(n % 200).unwrap_or(0) } else { SILENCE };
                expected.extend([byte; PACKET as usize]);
            }
            prop_assert_eq!(samples, expected);
            prop_assert_eq!(timeline.counts().late, 0);
        }
    }
}
