//! The pure rules of Callvault: no I/O, no async, no clock, no logger.
//!
//! Every function here is a function of its arguments. Time is always passed in.
//!
//! - [`id`]: accounts, SIDs, keys, objects.
//! - [`time`]: microseconds, UTC days, calendar years.
//! - [`class`]: the eight data classes and the three plans.
//! - [`consent`]: whether a call is recorded, on what that rests, and what ends it.
//! - [`flow`]: what a caller hears and is asked, and that nobody is recorded untold.
//! - [`record`]: what a call, a message and a recording are.
//! - [`number`]: telephone numbers as they are hashed and compared.
//! - [`document`]: what lives and changes: contacts, lists, campaigns, requests.
//! - [`decision`]: allowed, or refused with a reason.
//! - [`retention`]: how long a record is kept, by policy, plan and floor.
//! - [`change`]: changes of plan and recording retention, with notice.
//! - [`hold`]: legal holds, who may read what, which deletions are allowed.
//! - [`purge`]: when backups can no longer open what was deleted; epoch keys.
//! - [`inventory`]: what the vault holds, as the planner sees it.
//! - [`plan`]: what is to be done with an inventory at a moment.
//! - [`forecast`]: what will go, warnings before it, previews of changes.
//! - [`campaign`]: which numbers are called when, and what becomes of the whole.
//! - [`request`]: deletions that one person asks for and another one approves.
//! - [`proof`]: log leaves and certificates.
//! - [`invariants`]: what holds in every vault at every moment.

pub mod campaign;
pub mod change;
pub mod class;
pub mod consent;
pub mod decision;
pub mod document;
pub mod flow;
pub mod forecast;
pub mod hold;
pub mod id;
pub mod invariants;
pub mod inventory;
pub mod number;
pub mod plan;
pub mod proof;
pub mod purge;
pub mod record;
pub mod request;
pub mod retention;
pub mod time;

pub use change::{PlanChange, RecordingChange};
pub use class::{Class, Plan};
pub use decision::{Decision, Refusal};
pub use document::DocumentKind;
pub use hold::{Access, Cause, Facts, Hold, HoldScope, Reader};
pub use id::{AccountSid, HoldId, KeyId, ObjectId, Sid};
pub use number::Number;
pub use purge::Purge;
pub use record::Record;
pub use retention::{Floor, Policy, Term};
pub use time::{Day, TimeUs};
