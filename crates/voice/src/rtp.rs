//! RTP packets (RFC 3550, section 5.1).

/// The length of a header without sources and extension.
const HEADER_BYTES: usize = 12;

/// A packet, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'p> {
    /// The first packet of a talk spurt or of an event.
    pub marker: bool,
    /// Which codec; what it means, the session description says.
    pub payload_type: u8,
    /// Counts packets, and wraps.
    pub sequence: u16,
    /// Counts samples, and wraps.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
    /// The media.
    pub payload: &'p [u8],
}

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Shorter than it says.
    #[error("shorter than its header says")]
    Short,
    /// Another version than 2.
    #[error("not of version 2")]
    Version,
    /// Padding that is longer than what there is, or nothing.
    #[error("padding of no length, or of more than there is")]
    Padding,
    /// It is RTCP, which shares the port (RFC 5761, section 4).
    #[error("RTCP")]
    Control,
}

impl<'p> Packet<'p> {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`RtpError`].
    pub fn parse(bytes: &'p [u8]) -> Result<Self, RtpError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(RtpError::Short)?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        if first >> 6 != 2 {
            return Err(RtpError::Version);
        }
        if (192..=223).contains(&second) {
            return Err(RtpError::Control);
        }
        let mut payload = rest.get(usize::from(first & 0x0f) * 4..).ok_or(RtpError::Short)?;
        if first & 0x10 != 0 {
            let (extension, rest) = payload.split_first_chunk::<4>().ok_or(RtpError::Short)?;
            let words = u16::from_be_bytes([extension[2], extension[3]]);
            payload = rest.get(usize::from(words) * 4..).ok_or(RtpError::Short)?;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*payload.last().ok_or(RtpError::Padding)?);
            let left = payload.len().checked_sub(padding).filter(|_| padding > 0);
            payload = payload.get(..left.ok_or(RtpError::Padding)?).ok_or(RtpError::Padding)?;
        }
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload,
        })
    }

    /// Writes the packet, without sources, extension and padding.
    pub fn write(&self, into: &mut Vec<u8>) {
        into.push(2 << 6);
        into.push(u8::from(self.marker) << 7 | self.payload_type & 0x7f);
        into.extend_from_slice(&self.sequence.to_be_bytes());
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.ssrc.to_be_bytes());
        into.extend_from_slice(self.payload);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(payload: &[u8]) -> Packet<'_> {
        Packet {
            marker: true,
            payload_type: 101,
            sequence: 65_535,
            timestamp: 0xdead_beef,
            ssrc: 7,
            payload,
        }
    }

    #[test]
    fn sources_extensions_and_padding_are_passed_over() {
        let mut bytes = Vec::new();
        packet(b"media").write(&mut bytes);
        assert_eq!(Packet::parse(&bytes), Ok(packet(b"media")));
        bytes[0] |= 0x20 | 0x10 | 2;
        let extra = [[0; 4], [0; 4], [0xbe, 0xde, 0, 1], [1, 2, 3, 4]].concat();
        bytes.splice(12..12, extra);
        bytes.extend_from_slice(&[0, 0, 3]);
        assert_eq!(Packet::parse(&bytes), Ok(packet(b"media")));
    }

    #[test]
    fn what_lies_about_its_length_is_refused() {
        let mut bytes = Vec::new();
        packet(b"").write(&mut bytes);
        assert_eq!(Packet::parse(&bytes[..11]), Err(RtpError::Short));
        let with = |first: u8, tail: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[0] = first;
            bytes.extend_from_slice(tail);
            Packet::parse(&bytes).map(|_| ())
        };
        assert_eq!(with(0x8f, &[0; 59]), Err(RtpError::Short), "sources");
        assert_eq!(with(0x90, &[0, 0, 0xff, 0xff]), Err(RtpError::Short), "extension");
        assert_eq!(with(0xa0, &[0]), Err(RtpError::Padding), "none");
        assert_eq!(with(0xa0, &[2]), Err(RtpError::Padding), "too much");
        assert_eq!(with(0x40, &[]), Err(RtpError::Version));
        let mut control = bytes.clone();
        control[1] = 200;
        assert_eq!(Packet::parse(&control), Err(RtpError::Control));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_BYTES <= bytes.len());
                let mut again = Vec::new();
                packet.write(&mut again);
                // A payload type that looks like RTCP's is refused, whoever wrote it.
                prop_assert!(Packet::parse(&again).is_ok_and(|read| read == packet));
            }
        }
    }
}
