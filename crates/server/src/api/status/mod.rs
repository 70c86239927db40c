//! About the server itself.

pub mod docs;
pub mod health;
pub mod metrics;
pub mod openapi;
pub mod ready;
