//! `/v2/accounts/{account}/campaigns`: the platform's campaigns.

pub mod body;
pub mod calls;
pub mod create;
pub mod list;
pub mod one;
mod read;
