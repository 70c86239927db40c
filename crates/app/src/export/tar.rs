//! The headers of a tar archive (POSIX.1-2017, pax: ustar interchange format).

/// Bytes of a header, and what every member is filled up to.
pub(super) const BLOCK: usize = 512;
/// Zeros at the end of an archive.
pub(super) const END: usize = 2 * BLOCK;
/// The first size that eleven octal digits do not hold.
const OCTAL_END: u64 = 1 << 33;

/// The header of a regular file. A name beyond 100 bytes is cut; ours are shorter.
pub(super) fn header(name: &str, bytes: u64, modified_s: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, field: &[u8]| {
        for (to, from) in header.iter_mut().skip(at).zip(field) {
            *to = *from;
        }
    };
    put(0, name.as_bytes().get(..100).unwrap_or(name.as_bytes()));
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if bytes < OCTAL_END {
        put(124, format!("{bytes:011o}\0").as_bytes());
    } else {
        // The binary form that every tar of today reads: the first bit set, then the size.
        put(124, &[0x80]);
        put(128, &bytes.to_be_bytes());
    }
    put(136, format!("{:011o}\0", modified_s.min(OCTAL_END - 1)).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *to = from;
    }
    header
}

/// Zeros that fill a member of this length up.
pub(super) fn padding(bytes: u64) -> usize {
    usize::try_from(bytes.next_multiple_of(BLOCK as u64) - bytes).unwrap_or(0)
}

/// What a member of this length takes, header and zeros included.
pub(super) fn member_bytes(bytes: u64) -> u64 {
    BLOCK as u64 + bytes + padding(bytes) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_fill_whole_blocks() {
        for (bytes, want) in [(0, 512), (1, 1024), (512, 1024), (513, 1536)] {
            assert_eq!(member_bytes(bytes), want);
        }
        let header = header("recordings/a.wav", 0o1234, 7);
        assert_eq!(&header[124..136], b"00000001234\0");
        assert_eq!(&header[257..265], b"ustar\x0000");
        let large = super::header("a", 1 << 40, 0);
        assert_eq!(&large[124..136], &[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }
}
