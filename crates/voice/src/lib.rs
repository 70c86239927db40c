//! Callvault: voice. What a call's media are made of, as functions of bytes and time: RTP packets, SRTP, G.711, the timeline that two
//! channels are aligned on, digits, session descriptions; and the gate that audio passes to be kept. Sockets and clocks belong to whoever calls this.

mod carry;
pub mod digits;
pub mod exchange;
pub mod g711;
pub mod gate;
mod load;
pub mod media;
mod pace;
pub mod prompts;
pub mod recorder;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod siprec;
pub mod srtp;
pub mod timeline;
pub mod tones;
