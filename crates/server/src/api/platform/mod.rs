//! The telephony platform's own API: what a client of it finds when it changes the host.
//!
//! Paths, parameters, bodies and errors are the platform's (its developer documentation, "Voice v1" and "SMS"). Version 1
//! answers in XML unless the path ends in `.json`; times are the account's local time without a zone.

pub mod call;
pub mod calls;
pub mod connect;
pub mod form;
pub mod limits;
pub mod reply;
pub mod sms;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};

use crate::door::Door;

/// The platform's routes under an account's path of version 1.
pub fn router() -> Router<Arc<Door>> {
    let mut router = Router::new()
        .route("/calls/{sid}", get(call::get))
        // As the platform writes it in `Uri`.
        .route("/calls.json/{sid}", get(call::get))
        .route("/sms/messages/{sid}", get(sms::get));
    for ending in ["", ".json"] {
        router = router
            .route(&format!("/calls{ending}"), get(calls::list))
            .route(&format!("/calls/connect{ending}"), post(connect::connect))
            .route(&format!("/sms/send{ending}"), post(sms::send))
            .route(&format!("/sms/bulksend{ending}"), post(sms::bulk_send));
    }
    router
}
