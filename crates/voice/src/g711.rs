//! G.711 (ITU-T, 11/1988): 8,000 samples a second, one byte each.

/// The law that samples are written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    /// PCMU, payload type 0: North America and Japan.
    Mu,
    /// PCMA, payload type 8: everywhere else.
    A,
}

/// Samples a second.
pub const RATE_HZ: u32 = 8_000;

impl Law {
    /// The static payload type (RFC 3551, table 4).
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// The law of a static payload type.
    #[must_use]
    pub const fn of_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Mu),
            8 => Some(Self::A),
            _ => None,
        }
    }

    /// Its name in session descriptions.
    #[must_use]
    pub const fn encoding(self) -> &'static str {
        match self {
            Self::Mu => "PCMU",
            Self::A => "PCMA",
        }
    }

    /// The byte of silence.
    #[must_use]
    pub const fn silence(self) -> u8 {
        self.encode(0)
    }

    /// A sample of 16 bits as one byte.
    #[must_use]
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// A byte as a sample of 16 bits.
    #[must_use]
    pub const fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => decode_mu(byte),
            Self::A => decode_a(byte),
        }
    }

    /// The same sound in the other law's or the same bytes.
    #[must_use]
    pub const fn convert(self, byte: u8, to: Self) -> u8 {
        match (self, to) {
            (Self::Mu, Self::Mu) | (Self::A, Self::A) => byte,
            _ => to.encode(self.decode(byte)),
        }
    }
}

/// What µ-law adds before it takes the segment, of 14 bits shifted to 16.
const BIAS: i32 = 0x84;
const CLIP: i32 = 32_635;

const fn encode_mu(sample: i16) -> u8 {
    let sample = sample as i32;
    let (sign, magnitude) = if sample < 0 { (0x80_u8, -sample) } else { (0, sample) };
    let magnitude = (if magnitude > CLIP { CLIP } else { magnitude }) + BIAS;
    // The segment is where the highest bit lies, from bit 7 on.
    let segment = 24 - (magnitude as u32).leading_zeros();
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | step as u8)
}

const fn decode_mu(byte: u8) -> i16 {
    let byte = !byte;
    let (segment, step) = (((byte >> 4) & 7) as i32, (byte & 0x0f) as i32);
    let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
    (if byte & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

const fn encode_a(sample: i16) -> u8 {
    // Thirteen bits; negative values count from minus one down.
    let sample = (sample as i32) >> 3;
    let (sign, magnitude) = if sample < 0 {
        (0, -sample - 1)
    } else {
        (0x80_u8, sample)
    };
    let coded = if magnitude < 32 {
        magnitude >> 1
    } else {
        let segment = 27 - (magnitude as u32).leading_zeros();
        (segment as i32) << 4 | (magnitude >> segment) & 0x0f
    };
    (sign | coded as u8) ^ 0x55
}

const fn decode_a(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (segment, step) = (((byte >> 4) & 7) as i32, (byte & 0x0f) as i32);
    let magnitude = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    (if byte & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_from_its_sample() {
        for law in [Law::Mu, Law::A] {
            for byte in 0..=255_u8 {
                let sample = law.decode(byte);
                let again = law.encode(sample);
                // µ-law has two zeros.
                let is_zero = law == Law::Mu && sample == 0;
                assert!(again == byte || is_zero, "{law:?} {byte:#x} {sample} {again:#x}");
            }
        }
    }

    #[test]
    fn known_values_of_the_recommendation() {
        assert_eq!((Law::Mu.silence(), Law::A.silence()), (0xff, 0xd5));
        // Table 2a: the largest value of each sign.
        assert_eq!((Law::Mu.decode(0x80), Law::Mu.decode(0x00)), (32_124, -32_124));
        assert_eq!((Law::A.decode(0xaa), Law::A.decode(0x2a)), (32_256, -32_256));
        assert_eq!((Law::Mu.encode(i16::MAX), Law::Mu.encode(i16::MIN)), (0x80, 0x00));
        assert_eq!((Law::A.encode(i16::MAX), Law::A.encode(i16::MIN)), (0xaa, 0x2a));
    }

    #[test]
    fn what_is_coded_is_near_what_was() {
        for law in [Law::Mu, Law::A] {
            for sample in (i16::MIN..=i16::MAX).step_by(7) {
                let error = (i32::from(law.decode(law.encode(sample))) - i32::from(sample)).abs();
                let most = (i32::from(sample).abs() / 16).max(16);
                assert!(error <= most, "{law:?} {sample} {error}");
            }
        }
    }
}
