//! Who may do what: one table of every operation of an account, and the layer that asks it.
//!
//! The layer finds out who calls, refuses who may not, and writes every request into the account's own logs (spec 1.7)
//! before the answer leaves. A path that the table lacks is not served.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, RawPathParams, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use callvault_app::{
    Account,
    account::Role,
    core::{
        Class, Number,
        record::{Entry, Record},
    },
};
use serde_json::json;

use crate::{
    api::platform::reply::refuse,
    clock::Stopwatch,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What an operation does, as far as the logs are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is changed.
    Reads,
    /// Records come in.
    Stores,
    /// Something that the account's activity log names.
    Changes,
}

/// An operation of an account.
#[derive(Debug)]
pub struct Operation {
    /// HTTP method.
    pub method: Method,
    /// Path below `/v1/accounts/{account}`, in lower case.
    pub path: &'static str,
    /// Its name in logs.
    pub name: &'static str,
    /// Whose tokens may.
    pub roles: &'static [Role],
    /// What it does.
    pub effect: Effect,
    /// Whether it answers in the platform's envelopes.
    pub platform: bool,
}

use Effect::{Changes, Reads, Stores};
use Role::{Admin, Auditor, Compliance, Developer, Owner, Support};

/// Records and recordings.
const DATA: &[Role] = &[Owner, Admin, Developer, Compliance];
/// What is kept how long, what is held, what went.
const RULES: &[Role] = &[Owner, Admin, Developer, Compliance, Support, Auditor];
/// Settings that delete.
const SETTINGS: &[Role] = &[Owner, Compliance];
/// Where events go.
const KEYS: &[Role] = &[Owner, Admin, Developer];
/// The account's own logs.
const LOGS: &[Role] = &[Owner, Admin, Compliance, Auditor];

const fn op(
    method: Method,
    path: &'static str,
    name: &'static str,
    roles: &'static [Role],
    effect: Effect,
) -> Operation {
    Operation {
        method,
        path,
        name,
        roles,
        effect,
        platform: false,
    }
}

const fn platform(method: Method, path: &'static str, name: &'static str, effect: Effect) -> Operation {
    Operation {
        method,
        path,
        name,
        roles: DATA,
        effect,
        platform: true,
    }
}

/// Every operation of an account.
pub static OPERATIONS: &[Operation] = &[
    op(Method::POST, "/records", "records.create", DATA, Stores),
    op(Method::POST, "/records/bulk", "records.bulk", DATA, Stores),
    op(Method::GET, "/records/calls", "calls.list", DATA, Reads),
    op(Method::GET, "/records/calls/{sid}", "calls.get", DATA, Reads),
    op(Method::GET, "/records/messages", "messages.list", DATA, Reads),
    op(Method::GET, "/records/messages/{sid}", "messages.get", DATA, Reads),
    op(Method::GET, "/recordings", "recordings.list", DATA, Reads),
    op(Method::POST, "/recordings", "recordings.create", DATA, Stores),
    op(Method::GET, "/recordings/{sid}", "recordings.get", DATA, Reads),
    op(Method::GET, "/recordings/{sid}/audio", "recordings.audio", DATA, Reads),
    op(
        Method::DELETE,
        "/recordings/{sid}",
        "recording.deleted",
        SETTINGS,
        Changes,
    ),
    op(Method::GET, "/exports/manifest", "exports.manifest", DATA, Reads),
    op(
        Method::GET,
        "/exports/recordings.tar",
        "exports.recordings",
        DATA,
        Reads,
    ),
    op(Method::GET, "/exports/calls/{file}", "exports.vcon", DATA, Reads),
    op(Method::GET, "/exports/{file}", "exports.records", DATA, Reads),
    op(Method::GET, "/retention", "retention.get", RULES, Reads),
    op(Method::PUT, "/retention", "retention.changed", SETTINGS, Changes),
    op(Method::GET, "/retention/preview", "retention.preview", RULES, Reads),
    op(Method::GET, "/forecast", "forecast.get", RULES, Reads),
    op(Method::GET, "/holds", "holds.list", RULES, Reads),
    op(Method::POST, "/holds", "hold.placed", SETTINGS, Changes),
    op(Method::POST, "/holds/{id}/lift", "hold.lifted", SETTINGS, Changes),
    op(Method::GET, "/deletions", "deletions.list", RULES, Reads),
    op(
        Method::GET,
        "/deletions/{index}/certificate",
        "certificate.get",
        RULES,
        Reads,
    ),
    op(Method::GET, "/webhooks", "webhooks.list", KEYS, Reads),
    op(Method::POST, "/webhooks", "webhook.created", KEYS, Changes),
    op(Method::DELETE, "/webhooks/{id}", "webhook.deleted", KEYS, Changes),
    op(Method::POST, "/webhooks/{id}/replay", "webhook.replayed", KEYS, Changes),
    op(Method::GET, "/logs/{class}", "logs.list", LOGS, Reads),
    platform(Method::GET, "/calls", "platform.calls.list", Reads),
    platform(Method::GET, "/calls.json", "platform.calls.list", Reads),
    platform(Method::GET, "/calls/{sid}", "platform.calls.get", Reads),
    platform(Method::POST, "/calls/connect", "platform.calls.connect", Stores),
    platform(Method::POST, "/calls/connect.json", "platform.calls.connect", Stores),
    platform(Method::POST, "/sms/send", "platform.sms.send", Stores),
    platform(Method::POST, "/sms/send.json", "platform.sms.send", Stores),
    platform(Method::POST, "/sms/bulksend", "platform.sms.bulksend", Stores),
    platform(Method::POST, "/sms/bulksend.json", "platform.sms.bulksend", Stores),
    platform(Method::GET, "/sms/messages/{sid}", "platform.sms.get", Reads),
];

/// Where every account's paths begin.
pub const ACCOUNT_PATH: &str = "/v1/accounts/{account}";

/// The operation of a request. `HEAD` is a `GET` without its body.
#[must_use]
pub fn find_operation(method: &Method, route: &str) -> Option<&'static Operation> {
    let path = route.strip_prefix(ACCOUNT_PATH)?;
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    OPERATIONS
        .iter()
        .find(|operation| operation.method == *method && operation.path == path)
}

/// The longest query that an access is logged with.
const MAX_QUERY_BYTES: usize = 2_048;

/// Lets a request pass that its caller may make, and logs it.
pub async fn authorize(
    State(door): State<Arc<Door>>,
    route: MatchedPath,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let Some(operation) = find_operation(request.method(), route.as_str()) else {
        // A method that the path does not have; the router says so.
        return next.run(request).await;
    };
    let watch = Stopwatch::start();
    let query: String = request
        .uri()
        .query()
        .unwrap_or_default()
        .chars()
        .take(MAX_QUERY_BYTES)
        .collect();
    let named: serde_json::Map<_, _> = params
        .iter()
        .filter(|(name, _)| *name != "account")
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let (mut parts, body) = request.into_parts();
    let caller = match Caller::find(&mut parts, &params, &door)
        .await
        .and_then(|caller| allow(operation, caller))
    {
        Ok(caller) => caller,
        Err(problem) if operation.platform => return refuse(&path, problem),
        Err(problem) => return problem.into_response(),
    };
    parts.extensions.insert(caller.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    let status = response.status();
    let mut detail = json!({
        "key": caller.token_key, "role": caller.role.as_str(), "status": status.as_u16(), "place": named,
        "took_us": u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX),
    });
    if !query.is_empty() {
        detail["query"] = query.into();
    }
    let mut classes = vec![Class::ApiAccess];
    if operation.effect == Changes && status.is_success() {
        classes.push(Class::Activity);
    }
    match note(&door, &caller, operation.name, &classes, &detail).await {
        Ok(()) => response,
        // An access that cannot be logged is not answered: nobody could say later what was seen.
        Err(problem) if operation.platform => refuse(&path, problem),
        Err(problem) => problem.into_response(),
    }
}

fn allow(operation: &Operation, caller: Caller) -> Answer<Caller> {
    if operation.roles.contains(&caller.role) {
        return Ok(caller);
    }
    let roles: Vec<_> = operation.roles.iter().map(|role| role.as_str()).collect();
    Err(Problem::wrong_role(&roles.join(", ")))
}

/// Writes entries into the account's logs; they are durable when this returns.
async fn note(door: &Door, caller: &Caller, name: &str, classes: &[Class], detail: &serde_json::Value) -> Answer<()> {
    let now = door.vault.now();
    let mut entries = Vec::with_capacity(classes.len());
    for class in classes {
        let entry = Entry {
            sid: Account::fresh_sid(now)?,
            at: now,
            name: name.into(),
            subject: Number::default(),
            detail: Some(detail.to_string().into_boxed_str()),
        };
        entries.extend(Record::of_log(*class, entry));
    }
    match door.batcher.ingest(caller.account.clone(), entries).await {
        Ok(_) => Ok(()),
        // The request closed the account: its logs went with it.
        Err(problem) if problem.status == 404 => Ok(()),
        Err(problem) => Err(problem),
    }
}
