//! Recording sessions (SIPREC, RFC 7866): a switch that keeps its calls sends copies of their streams. They pass the same gate as the
//! calls that are answered here: without a consent decision the answer is `inactive`, and not one frame is kept.

mod metadata;
mod session;

pub use metadata::{CONSENT, Metadata, Participant, Parts, SiprecError, is_multipart, read};
pub(crate) use session::take;

/// What a trunk's recording sessions must look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Siprec {
    /// There are none.
    #[default]
    Off,
    /// As RFC 7866 has them: `Require: siprec`, the feature tag `+sip.src`, a label for each stream.
    Strict,
    /// As some clients send them: metadata beside the description are enough.
    Lax,
}
