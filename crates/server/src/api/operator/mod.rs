//! What the operator's people see: every account's rules, and no record.

pub mod account;
pub mod accounts;
pub mod me;
