//! The pure rules of Callvault: no I/O, no async, no clock, no logger.
//!
//! Every function here is a function of its arguments. Time is always passed in.
//!
//! - [`id`]: accounts, SIDs, keys, objects.
//! - [`time`]: microseconds, UTC days, calendar years.
//! - [`class`]: the eight data classes and the three plans.
//! - [`record`]: what a call, a message and a recording are.
//! - [`number`]: telephone numbers as they are hashed and compared.

pub mod class;
pub mod id;
pub mod number;
pub mod record;
pub mod time;

pub use class::{Class, Plan};
pub use id::{AccountSid, KeyId, ObjectId, Sid};
pub use number::Number;
pub use time::{Day, TimeUs};
