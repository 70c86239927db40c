//! What can go wrong when something is sealed or opened.

/// A failure of sealing or opening. None of these carries a byte of key, plaintext or ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The operating system gives no random bytes.
    #[error("the system's random source failed")]
    Random,
    /// A key is not 32 bytes long.
    #[error("a key must be 32 bytes")]
    KeyLength,
    /// The sealed bytes are shorter than any sealed bytes can be, or end in the middle of a part.
    #[error("sealed bytes are cut short")]
    Truncated,
    /// The sealed bytes begin with a version this code does not know.
    #[error("sealed bytes have unknown format version {0}")]
    Version(u8),
    /// The bytes do not open: another key, another context, or changed bytes.
    #[error("sealed bytes do not open under this key and context")]
    NotAuthentic,
    /// More bytes than the format can hold.
    #[error("too large for this format")]
    TooLarge,
    /// A segment size the streaming format does not allow.
    #[error("segment size must be 57 to 2147483647 bytes")]
    SegmentSize,
    /// A stream's header is not the one this format has.
    #[error("stream header is malformed")]
    Header,
    /// A byte or segment range outside the stream.
    #[error("range lies outside the stream")]
    Range,
}
