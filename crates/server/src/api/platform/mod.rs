//! The telephony platform's own API: what a client of it finds when it changes the host.
//!
//! Paths, parameters, bodies and errors are the platform's (its developer documentation, "Voice v1", "SMS", "Contacts" and
//! "Lists"). Version 1 answers in XML unless the path ends in `.json`; times are the account's local time without a zone.
//! Version 2 answers in JSON alone, see [`envelope`].

pub mod call;
pub mod calls;
pub mod campaigns;
pub mod connect;
pub mod contacts;
pub mod envelope;
pub mod exophones;
pub mod form;
pub mod limits;
pub mod lists;
pub mod recordings;
pub mod reply;
pub mod sms;
pub mod upload;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{delete, get, post},
};

use crate::{
    api::{MAX_BODY_BYTES, MAX_JSON_BYTES},
    door::Door,
};

/// The platform's routes under an account's path of version 1.
pub fn router() -> Router<Arc<Door>> {
    let mut router = Router::new()
        .route("/calls/{sid}", get(call::get))
        // As the platform writes it in `Uri`.
        .route("/calls.json/{sid}", get(call::get))
        .route("/recordings/{sid}", get(recordings::get).delete(recordings::delete))
        .route("/sms/messages/{sid}", get(sms::get));
    for ending in ["", ".json"] {
        router = router
            .route(&format!("/calls{ending}"), get(calls::list))
            .route(&format!("/calls/connect{ending}"), post(connect::connect))
            .route(&format!("/calls/{{sid}}/recordings{ending}"), get(recordings::of_call))
            .route(&format!("/recordings{ending}"), get(recordings::list))
            .route(&format!("/sms/send{ending}"), post(sms::send))
            .route(&format!("/sms/bulksend{ending}"), post(sms::bulk_send));
    }
    router
}

/// The platform's routes under an account's path of version 2.
pub fn router_v2() -> Router<Arc<Door>> {
    Router::new()
        .route(
            "/contacts",
            get(contacts::list).post(contacts::create).put(contacts::update_many),
        )
        .route("/contacts/csv-upload", post(upload::upload))
        .route("/csv-status/{id}", get(upload::status))
        .route(
            "/contacts/{sid}",
            get(contacts::get).put(contacts::update).delete(contacts::delete),
        )
        .route("/lists", get(lists::list).post(lists::create).put(lists::update_many))
        .route("/lists/{sid}", get(lists::get).put(lists::update).delete(lists::delete))
        .route("/lists/{sid}/contacts", get(lists::contacts).post(lists::add_contacts))
        .route("/lists/{sid}/contacts/{contact}", delete(lists::remove_contact))
        .route("/campaigns", get(campaigns::list::list).post(campaigns::create::create))
        .route(
            "/campaigns/{id}",
            get(campaigns::one::get)
                .put(campaigns::one::put)
                .delete(campaigns::one::delete),
        )
        .route("/campaigns/{id}/call-details", get(campaigns::calls::calls))
        .route("/campaigns/{id}/report.csv", get(campaigns::calls::report))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
}

/// The platform's routes for numbers.
pub fn router_beta() -> Router<Arc<Door>> {
    Router::new()
        .route("/incomingphonenumbers", get(exophones::list).post(exophones::create))
        .route(
            "/incomingphonenumbers/{sid}",
            get(exophones::get).put(exophones::update).delete(exophones::release),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}
