//! The transparency log, for everyone (C2SP tlog-tiles).

pub mod checkpoint;
pub mod key;
pub mod tile;
