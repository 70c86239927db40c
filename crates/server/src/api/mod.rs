//! The HTTP API: one file an endpoint, its handler and its OpenAPI description together.

pub mod alerts;
pub mod calls;
pub mod consent;
pub mod deletions;
pub mod exports;
pub mod flows;
pub mod forecast;
pub mod holds;
pub mod layers;
pub mod log;
pub mod logs;
pub mod messages;
pub mod operator;
pub mod params;
pub mod passkeys;
pub mod platform;
pub mod prompts;
pub mod recordings;
pub mod records;
pub mod requests;
pub mod retention;
mod schema;
pub mod session;
pub mod status;
pub mod suppressions;
pub mod tokens;
pub mod users;
pub mod webhooks;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post, put},
};
use callvault_app::prompt::MAX_PROMPT_BYTES;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, Object, Ref, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{access, cookie, door::Door, people, problem::Problem};

/// The longest JSON body.
pub const MAX_JSON_BYTES: usize = 16 * 1024 * 1024;
/// The longest body of any other endpoint.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The longest recording taken by one request; longer ones are imported by the CLI.
pub const MAX_AUDIO_BYTES: usize = 64 * 1024 * 1024;

/// What the description begins with.
const DESCRIPTION: &str = "Keeps telephony records as long as it must, forgets them on time, and proves both.\n\n\
    Programs come with a token, by Basic authentication: `curl -u KEY:SECRET https://HOST/v1/accounts/ACCOUNT/holds`. An owner or \
    admin makes tokens (`POST .../tokens`, or `callvault tokens create` on the operator's machine), with a role and, where less is \
    enough, scopes. People sign in (`POST /v1/session`) and come with the session's cookie. Who may do what: docs/access.md.\n\n\
    The vault's own operations take and give times as RFC 3339 in UTC, and answer errors as RFC 9457 problems that name the `field`. \
    The telephony platform's operations (`platform`, `campaigns` and `contacts`) keep its forms, its times and its errors.";

/// The API's description, served as `/openapi.json`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Callvault",
        description = DESCRIPTION,
    ),
    paths(
        records::create::create, records::bulk::bulk,
        calls::list::list, calls::get::get, calls::recording::control, calls::session::consent,
        messages::list::list, messages::get::get,
        recordings::create::create, recordings::list::list, recordings::get::get, recordings::audio::audio,
        recordings::presigned::presigned, recordings::withdraw::withdraw,
        requests::create::create, requests::list::list, requests::get::get, requests::preview::preview,
        requests::answer::approve, requests::answer::decline, requests::answer::withdraw,
        exports::contacts::contacts, exports::records::records, exports::manifest::manifest, exports::recordings::recordings, exports::vcon::vcon,
        exports::schedule::get::get, exports::schedule::put::put, exports::schedule::delete::delete,
        exports::jobs::create::create, exports::jobs::list::list, exports::jobs::get::get, exports::jobs::delete::delete,
        retention::get::get, retention::put::put, retention::preview::preview,
        consent::get::get, consent::put::put, consent::list::list,
        flows::list::list, flows::create::create, flows::get::get, flows::put::put, flows::delete::delete,
        prompts::list::list, prompts::create::create, prompts::audio::audio, prompts::delete::delete,
        forecast::get::get,
        holds::list::list, holds::create::create, holds::lift::lift,
        deletions::list::list, deletions::certificate::certificate,
        logs::list::list,
        alerts::get::get, alerts::put::put,
        webhooks::create::create, webhooks::list::list, webhooks::delete::delete, webhooks::replay::replay,
        tokens::list::list, tokens::create::create, tokens::rotate::rotate, tokens::revoke::revoke,
        users::list::list, users::invite::invite, users::change::change, users::remove::remove,
        users::invite_again::invite_again,
        session::begin::begin, session::get::get, session::end::end, session::challenge::challenge,
        session::list::list, session::revoke::revoke, session::password::change, session::invitation::accept,
        passkeys::challenge::challenge, passkeys::list::list, passkeys::register::register, passkeys::remove::remove,
        operator::me::me, operator::accounts::accounts, operator::account::account,
        log::checkpoint::checkpoint, log::tile::tile, log::key::key,
        platform::connect::connect, platform::call::get, platform::calls::list,
        platform::recordings::list, platform::recordings::of_call, platform::recordings::get,
        platform::recordings::delete,
        platform::sms::send, platform::sms::bulk_send, platform::sms::get,
        platform::campaigns::create::create, platform::campaigns::list::list, platform::campaigns::one::get,
        platform::campaigns::one::put, platform::campaigns::one::delete, platform::campaigns::calls::calls,
        platform::campaigns::calls::report,
        platform::exophones::list, platform::exophones::get, platform::exophones::create, platform::exophones::update,
        platform::exophones::release,
        platform::contacts::create, platform::contacts::update_many, platform::contacts::list, platform::contacts::get,
        platform::contacts::update, platform::contacts::delete, platform::upload::upload, platform::upload::status,
        platform::lists::create, platform::lists::update_many, platform::lists::list, platform::lists::get,
        platform::lists::update, platform::lists::delete, platform::lists::contacts, platform::lists::add_contacts,
        platform::lists::remove_contact,
        suppressions::create::create, suppressions::list::list, suppressions::lift::lift,
        status::health::health, status::ready::ready, status::metrics::metrics, status::openapi::openapi,
        status::docs::docs,
    ),
    components(schemas(Problem)),
    modifiers(&TokenScheme),
)]
pub struct ApiDoc;

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        schema::refine(openapi);
        let components = openapi.components.get_or_insert_with(Default::default);
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("A token's key as user and its secret as password."))
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(basic));
        let session = ApiKeyValue::with_description(
            cookie::NAME,
            "Who is signed in. A change comes from this site's own pages, or with the header X-Callvault-Request.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)));
        for (path, item) in &mut openapi.paths.paths {
            let base = access::BASES.into_iter().find(|base| path.starts_with(base));
            for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete] {
                let Some(operation) = operation else { continue };
                if let Some(base) = base {
                    add_session(operation);
                    add_refusals(base, operation, ACCOUNT_REFUSALS);
                } else if path.starts_with("/v1/") {
                    let refusals = if operation.security.is_some() {
                        PERSON_REFUSALS
                    } else {
                        &[]
                    };
                    add_refusals("", operation, refusals);
                }
            }
        }
    }
}

/// What every operation of an account may answer.
const ACCOUNT_REFUSALS: &[(&str, &str)] = &[
    ("401", "No valid token or session"),
    ("403", "Not for this role or scope, or a change from another site"),
    ("421", "The account is in another region"),
    ("429", "Too many requests of the account"),
];
/// What every operation of who is signed in may answer.
const PERSON_REFUSALS: &[(&str, &str)] = &[
    ("401", "No valid session"),
    ("403", "Not for this role, or a change from another site"),
    ("404", "Removed meanwhile"),
    ("429", "Too many requests of the account"),
];
/// What every operation with a body may answer.
const BODY_REFUSALS: &[(&str, &str)] = &[
    ("400", "The body broke off, or cannot be read"),
    ("413", "Too long"),
    ("415", "The body is of another type"),
];

/// Whatever a token may, a session of the same role may too.
fn add_session(operation: &mut utoipa::openapi::path::Operation) {
    let session = SecurityRequirement::new("session", Vec::<String>::new());
    let known = operation.security.get_or_insert_with(Vec::new);
    if !known.contains(&session) {
        known.push(session);
    }
}

/// Adds what an operation may be refused with; the platform's in its own envelope.
fn add_refusals(base: &str, operation: &mut utoipa::openapi::path::Operation, refusals: &[(&str, &str)]) {
    let of_body = operation.request_body.as_ref().map_or(&[][..], |_| BODY_REFUSALS);
    let refusals = refusals.iter().chain(of_body);
    let is_platform = operation.tags.iter().flatten().any(|tag| tag == "platform");
    for (status, description) in refusals {
        let response = ResponseBuilder::new().description(*description);
        let answers_with_a_list = operation.operation_id.as_deref() == Some("create_campaigns");
        let response = if base == access::V2_PATH && !answers_with_a_list {
            response.content(
                "application/json",
                Content::new(Some(Ref::from_schema_name("Envelope_Item_Value"))),
            )
        } else if base == access::BETA_PATH || answers_with_a_list {
            response.content("application/json", Content::new(Some(Object::new())))
        } else if is_platform {
            let exception = || Content::new(Some(Object::new()));
            response
                .content("application/json", exception())
                .content("application/xml", exception())
        } else {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content("application/problem+json", problem)
        };
        let responses = &mut operation.responses.responses;
        responses.entry((*status).to_owned()).or_insert(response.build().into());
    }
}

/// What people do for themselves, and what the operator's people see.
fn people_router() -> Router<Arc<Door>> {
    Router::new()
        .route(
            "/v1/session",
            get(session::get::get)
                .post(session::begin::begin)
                .delete(session::end::end),
        )
        .route("/v1/session/challenge", post(session::challenge::challenge))
        .route("/v1/session/password", put(session::password::change))
        .route("/v1/sessions", get(session::list::list))
        .route("/v1/sessions/{session}", delete(session::revoke::revoke))
        .route("/v1/invitation", post(session::invitation::accept))
        .route(
            "/v1/session/passkeys",
            get(passkeys::list::list).post(passkeys::register::register),
        )
        .route("/v1/session/passkeys/challenge", post(passkeys::challenge::challenge))
        .route("/v1/session/passkeys/{passkey}", delete(passkeys::remove::remove))
        .route("/v1/operator/me", get(operator::me::me))
        .route("/v1/operator/accounts", get(operator::accounts::accounts))
        .route("/v1/operator/accounts/{account}", get(operator::account::account))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// Every route of a region's door.
pub fn router(door: Arc<Door>) -> Router {
    let account = Router::new()
        .merge(platform::router())
        .route(
            "/records",
            post(records::create::create).layer(DefaultBodyLimit::max(MAX_JSON_BYTES)),
        )
        .route("/records/calls", get(calls::list::list))
        .route("/records/calls/{sid}", get(calls::get::get))
        .route("/records/messages", get(messages::list::list))
        .route("/records/messages/{sid}", get(messages::get::get))
        .route("/records/recordings", get(recordings::list::list))
        .route("/records/recordings/{sid}", get(recordings::get::get))
        .route(
            "/records/recordings/{sid}/withdrawal",
            post(recordings::withdraw::withdraw),
        )
        .route("/requests", get(requests::list::list).post(requests::create::create))
        .route("/requests/preview", get(requests::preview::preview))
        .route("/requests/{id}", get(requests::get::get))
        .route("/requests/{id}/approve", post(requests::answer::approve))
        .route("/requests/{id}/decline", post(requests::answer::decline))
        .route("/requests/{id}/withdraw", post(requests::answer::withdraw))
        .route("/retention", get(retention::get::get).put(retention::put::put))
        .route("/retention/preview", get(retention::preview::preview))
        .route("/consent/policy", get(consent::get::get).put(consent::put::put))
        .route("/consent/policies", get(consent::list::list))
        .route("/flows", get(flows::list::list).post(flows::create::create))
        .route(
            "/flows/{id}",
            get(flows::get::get).put(flows::put::put).delete(flows::delete::delete),
        )
        .route("/prompts", get(prompts::list::list))
        .route("/prompts/{id}", delete(prompts::delete::delete))
        .route("/prompts/{id}/audio", get(prompts::audio::audio))
        .route("/records/calls/{sid}/recording", post(calls::recording::control))
        .route("/recording-sessions/consent", post(calls::session::consent))
        .route("/forecast", get(forecast::get::get))
        .route("/holds", get(holds::list::list).post(holds::create::create))
        .route("/holds/{id}/lift", post(holds::lift::lift))
        .route("/webhooks", get(webhooks::list::list).post(webhooks::create::create))
        .route("/webhooks/{id}", delete(webhooks::delete::delete))
        .route("/webhooks/{id}/replay", post(webhooks::replay::replay))
        .route(
            "/suppressions",
            get(suppressions::list::list).post(suppressions::create::create),
        )
        .route("/suppressions/{id}", delete(suppressions::lift::lift))
        .route(
            "/exports/schedule",
            get(exports::schedule::get::get)
                .put(exports::schedule::put::put)
                .delete(exports::schedule::delete::delete),
        )
        .route(
            "/exports/jobs",
            get(exports::jobs::list::list).post(exports::jobs::create::create),
        )
        .route(
            "/exports/jobs/{id}",
            get(exports::jobs::get::get).delete(exports::jobs::delete::delete),
        )
        .route("/tokens", get(tokens::list::list).post(tokens::create::create))
        .route("/tokens/{key}", delete(tokens::revoke::revoke))
        .route("/tokens/{key}/rotate", post(tokens::rotate::rotate))
        .route("/users", get(users::list::list).post(users::invite::invite))
        .route(
            "/users/{user}",
            put(users::change::change).delete(users::remove::remove),
        )
        .route("/users/{user}/invitation", post(users::invite_again::invite_again))
        .route("/alerts", get(alerts::get::get).put(alerts::put::put))
        .route("/logs/{class}", get(logs::list::list))
        .route("/deletions", get(deletions::list::list))
        .route(
            "/deletions/{index}/certificate",
            get(deletions::certificate::certificate),
        )
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(layers::limit_time));
    // What carries streams ends when its peer stops sending, not after a fixed time.
    let streams = Router::new()
        .route(
            "/records/bulk",
            post(records::bulk::bulk).layer(DefaultBodyLimit::disable()),
        )
        .route(
            "/records/recordings",
            post(recordings::create::create)
                .layer(DefaultBodyLimit::max(MAX_AUDIO_BYTES))
                .layer(middleware::from_fn(layers::limit_audio)),
        )
        .route("/records/recordings/{sid}/audio", get(recordings::audio::audio))
        .route(
            "/prompts",
            post(prompts::create::create).layer(DefaultBodyLimit::max(MAX_PROMPT_BYTES)),
        )
        .route("/exports/contacts.csv", get(exports::contacts::contacts))
        .route("/exports/manifest", get(exports::manifest::manifest))
        .route("/exports/recordings.tar", get(exports::recordings::recordings))
        .route("/exports/calls/{file}", get(exports::vcon::vcon))
        .route("/exports/{file}", get(exports::records::records));
    let guard = middleware::from_fn_with_state(Arc::clone(&door), access::authorize);
    let second = platform::router_v2().layer(middleware::from_fn(layers::limit_time));
    let second = second.route_layer(guard.clone());
    let beta = platform::router_beta().layer(middleware::from_fn(layers::limit_time));
    let beta = beta.route_layer(guard.clone());
    let guarded = account.merge(streams).route_layer(guard);
    let person_guard = middleware::from_fn_with_state(Arc::clone(&door), people::authorize);
    let public = Router::new()
        .route("/presigned/{account}/{sid}", get(recordings::presigned::presigned))
        .merge(people_router().route_layer(person_guard))
        .route("/log/checkpoint", get(log::checkpoint::checkpoint))
        .route("/log/tile/{*path}", get(log::tile::tile))
        .route("/log/key", get(log::key::key))
        .route("/health", get(status::health::health))
        .route("/ready", get(status::ready::ready))
        .route("/metrics", get(status::metrics::metrics))
        .route("/openapi.json", get(status::openapi::openapi))
        .route("/docs", get(status::docs::docs))
        .layer(middleware::from_fn(layers::limit_time));
    public
        .nest(access::ACCOUNT_PATH, guarded)
        .nest(access::V2_PATH, second)
        .nest(access::BETA_PATH, beta)
        .fallback(|| async { Problem::not_found("path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                axum::http::StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This path has other methods.",
            )
        })
        .layer(middleware::from_fn(layers::drain_refused))
        .layer(tower_http::timeout::RequestBodyTimeoutLayer::new(layers::IDLE))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(layers::answer_panic))
        .layer(middleware::from_fn_with_state(Arc::clone(&door), layers::observe))
        .with_state(door)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_the_one_that_clients_know() {
        let json = serde_json::to_string_pretty(&ApiDoc::openapi()).expect("JSON") + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os("CALLVAULT_BLESS").is_some() {
            std::fs::write(path, &json).expect("write");
        }
        let known = std::fs::read_to_string(path).expect("the snapshot");
        assert!(
            json == known,
            "the API changed; run again with CALLVAULT_BLESS=1 and look at the difference"
        );
    }
}
