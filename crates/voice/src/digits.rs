//! Digits as events (RFC 4733): each is heard once, whatever is lost or repeated.

/// The events of DTMF by their numbers (RFC 4733, table 3).
const DIGITS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// Hears the events of one sender.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// The beginning of the latest event that was heard.
    latest: Option<u32>,
}

impl Events {
    /// Takes the payload of a `telephone-event` packet. Returns a digit with the first packet of its event that arrives: the
    /// others, its end three times among them, have the same timestamp. An event that is older than the latest one came too late.
    pub fn hear(&mut self, timestamp: u32, payload: &[u8]) -> Option<char> {
        let [event, _flags, _duration @ ..] = *payload.first_chunk::<4>()?;
        let digit = DIGITS.get(usize::from(event)).copied()?;
        if let Some(latest) = self.latest {
            // Timestamps wrap: what lies in the half behind is older.
            let ahead = timestamp.wrapping_sub(latest);
            if ahead == 0 || ahead > u32::MAX / 2 {
                return None;
            }
        }
        self.latest = Some(timestamp);
        Some(digit)
    }
}

/// The payload of an event: number, whether it ends, volume 10 dB below the loudest, samples so far.
#[must_use]
pub fn event_payload(digit: char, is_end: bool, samples: u16) -> Option<[u8; 4]> {
    let event = DIGITS.iter().position(|known| *known == digit.to_ascii_uppercase())?;
    let [high, low] = samples.to_be_bytes();
    Some([u8::try_from(event).ok()?, u8::from(is_end) << 7 | 10, high, low])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The packets of a key that was pressed: some on the way, the end three times.
    fn pressed(digit: char, at: u32) -> Vec<(u32, [u8; 4])> {
        let packets = [
            (false, 160),
            (false, 320),
            (false, 480),
            (true, 640),
            (true, 640),
            (true, 640),
        ];
        let packets = packets.map(|(end, samples)| event_payload(digit, end, samples).map(|payload| (at, payload)));
        packets.into_iter().flatten().collect()
    }

    fn heard(packets: &[(u32, [u8; 4])]) -> String {
        let mut events = Events::default();
        packets
            .iter()
            .filter_map(|(at, payload)| events.hear(*at, payload))
            .collect()
    }

    #[test]
    fn a_key_is_heard_once_and_the_same_key_again() {
        let packets: Vec<_> = [("1", 0), ("1", 2_000), ("#", 4_000), ("d", 9_000)]
            .iter()
            .flat_map(|(digit, at)| pressed(digit.chars().next().unwrap_or('0'), *at))
            .collect();
        assert_eq!(heard(&packets), "11#D");
        assert_eq!(event_payload('x', false, 0), None);
    }

    #[test]
    fn timestamps_wrap_and_no_event_is_no_digit() {
        let mut packets = pressed('1', u32::MAX - 100);
        packets.extend(pressed('2', 500));
        assert_eq!(heard(&packets), "12");
        let mut events = Events::default();
        assert_eq!(events.hear(1, &[16, 0, 0, 0]), None, "a flash is no digit");
        assert_eq!(events.hear(1, &[1, 0, 0]), None, "too short");
        assert_eq!(events.hear(1, &[1, 0, 0, 0]), Some('1'));
    }

    #[test]
    fn a_packet_that_comes_too_late_is_no_second_key() {
        let (one, five) = (pressed('1', 0), pressed('5', 1_600));
        let mut swapped = vec![one[0], five[0]];
        swapped.extend(&one[1..]);
        swapped.extend(&five[1..]);
        assert_eq!(heard(&swapped), "15");
    }

    proptest! {
        #[test]
        fn every_key_of_which_a_packet_arrives_is_heard_once(
            copies in prop::collection::vec(prop::collection::vec(0..3_usize, 6), 3), seed in any::<u32>(),
        ) {
            let (mut packets, mut expected) = (Vec::new(), String::new());
            for (n, (copies, digit)) in (0_u32..).zip(copies.iter().zip("155".chars())) {
                let sent = pressed(digit, seed.wrapping_add(n * 1_600));
                let arrived = sent.iter().zip(copies).flat_map(|(packet, copies)| vec![*packet; *copies]);
                let before = packets.len();
                packets.extend(arrived);
                if packets.len() > before {
                    expected.push(digit);
                }
            }
            prop_assert_eq!(heard(&packets), expected);
        }
    }
}
