//! Who may do what: one table of every operation of an account, and the layer that asks it.
//!
//! The layer finds out who calls, refuses who may not, and writes every request into the account's own logs (spec 1.7)
//! before the answer leaves. A path that the table lacks is not served.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, RawPathParams, Request, State},
    http::{Method, StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use callvault_app::{
    Account,
    account::Role,
    core::{
        AccountSid, Class, Number, Sid,
        record::{Entry, Record},
    },
    scope::{Scope, Scopes},
};
use serde_json::json;
use tracing::Instrument as _;

use crate::{
    api::{
        layers::{FullPath, answer_panic},
        platform::{envelope, reply::refuse},
    },
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

/// How an operation answers when it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// RFC 9457 problems.
    Problem,
    /// The platform's version 1: `RestException` in XML or JSON.
    V1,
    /// The platform's version 2: its JSON envelope.
    V2,
}

/// An operation of an account.
#[derive(Debug)]
pub struct Operation {
    /// HTTP method.
    pub method: Method,
    /// Where its path begins: one of [`BASES`].
    pub base: &'static str,
    /// Path below the base, in lower case.
    pub path: &'static str,
    /// Its name in logs.
    pub name: &'static str,
    /// What a token that is narrowed must be narrowed to; nothing where no token comes in, only who is signed in.
    pub scope: Option<Scope>,
    /// Who may.
    pub roles: &'static [Role],
    /// What it does.
    pub effect: Effect,
    /// How it refuses.
    pub style: Style,
}

use Effect::{Changes, Reads, Stores};
use Role::{Admin, Auditor, Compliance, Developer, Operator, Owner, Support};

/// Records and recordings.
const DATA: &[Role] = &[Owner, Admin, Developer, Compliance];
/// What is kept how long, what is held, what went: the account's own people, and the operator's.
const SHOWN: &[Role] = &[Owner, Admin, Developer, Compliance, Support, Auditor, Operator];
/// What only the account's own people see of it.
const RULES: &[Role] = &[Owner, Admin, Developer, Compliance, Support, Auditor];
/// Settings that delete.
const SETTINGS: &[Role] = &[Owner, Compliance];
/// The second person of a deletion (spec, "Who uses it").
const APPROVERS: &[Role] = &[Owner, Compliance, Support, Operator];
/// Where records go by themselves.
const OUTLETS: &[Role] = &[Owner, Admin, Compliance];
/// Where events go.
const KEYS: &[Role] = &[Owner, Admin, Developer];
/// Who else comes in.
const TEAM: &[Role] = &[Owner, Admin];
/// The account's own logs: they name what was looked at.
const LOGS: &[Role] = &[Owner, Admin, Compliance];

const fn op(
    method: Method,
    path: &'static str,
    name: &'static str,
    scope: Scope,
    roles: &'static [Role],
    effect: Effect,
) -> Operation {
    Operation {
        method,
        base: ACCOUNT_PATH,
        path,
        name,
        scope: Some(scope),
        roles,
        effect,
        style: Style::Problem,
    }
}

const fn platform(method: Method, path: &'static str, name: &'static str, effect: Effect) -> Operation {
    Operation {
        method,
        base: ACCOUNT_PATH,
        path,
        name,
        scope: Some(Scope::Platform),
        roles: DATA,
        effect,
        style: Style::V1,
    }
}

const fn v2(
    method: Method,
    path: &'static str,
    name: &'static str,
    roles: &'static [Role],
    effect: Effect,
) -> Operation {
    Operation {
        method,
        base: V2_PATH,
        path,
        name,
        scope: Some(Scope::Platform),
        roles,
        effect,
        style: Style::V2,
    }
}

const fn beta(method: Method, path: &'static str, name: &'static str, effect: Effect) -> Operation {
    Operation {
        method,
        base: BETA_PATH,
        path,
        name,
        scope: Some(Scope::Platform),
        roles: DATA,
        effect,
        style: Style::V1,
    }
}

/// Every operation of an account; one line each.
#[rustfmt::skip]
pub static OPERATIONS: &[Operation] = &[
    op(Method::POST, "/records", "records.create", Scope::RecordsWrite, DATA, Stores),
    op(Method::POST, "/records/bulk", "records.bulk", Scope::RecordsWrite, DATA, Stores),
    op(Method::GET, "/records/calls", "calls.list", Scope::RecordsRead, DATA, Reads),
    op(Method::GET, "/records/calls/{sid}", "calls.get", Scope::RecordsRead, DATA, Reads),
    op(Method::POST, "/recording-sessions/consent", "session.consent_told", Scope::Consent, DATA, Changes),
    op(Method::POST, "/records/calls/{sid}/recording", "recording.controlled", Scope::Consent, DATA, Changes),
    op(Method::GET, "/records/messages", "messages.list", Scope::RecordsRead, DATA, Reads),
    op(Method::GET, "/records/messages/{sid}", "messages.get", Scope::RecordsRead, DATA, Reads),
    op(Method::GET, "/records/recordings", "recordings.list", Scope::RecordingsRead, DATA, Reads),
    op(Method::POST, "/records/recordings", "recordings.create", Scope::RecordingsWrite, DATA, Stores),
    op(Method::GET, "/records/recordings/{sid}", "recordings.get", Scope::RecordingsRead, DATA, Reads),
    op(Method::POST, "/records/recordings/{sid}/withdrawal", "consent.withdrawn", Scope::Consent, SETTINGS, Changes),
    op(Method::GET, "/records/recordings/{sid}/audio", "recordings.audio", Scope::RecordingsRead, DATA, Reads),
    op(Method::GET, "/requests", "requests.list", Scope::Deletions, SHOWN, Reads),
    op(Method::POST, "/requests", "request.opened", Scope::Deletions, DATA, Changes),
    op(Method::GET, "/requests/preview", "requests.preview", Scope::Deletions, DATA, Reads),
    op(Method::GET, "/requests/{id}", "requests.get", Scope::Deletions, SHOWN, Reads),
    op(Method::POST, "/requests/{id}/approve", "request.approved", Scope::Deletions, APPROVERS, Changes),
    op(Method::POST, "/requests/{id}/decline", "request.declined", Scope::Deletions, APPROVERS, Changes),
    op(Method::POST, "/requests/{id}/withdraw", "request.withdrawn", Scope::Deletions, DATA, Changes),
    op(Method::GET, "/exports/contacts.csv", "exports.contacts", Scope::Exports, DATA, Reads),
    op(Method::GET, "/exports/manifest", "exports.manifest", Scope::Exports, DATA, Reads),
    op(Method::GET, "/exports/recordings.tar", "exports.recordings", Scope::Exports, DATA, Reads),
    op(Method::GET, "/exports/schedule", "exports.schedule", Scope::Exports, DATA, Reads),
    op(Method::PUT, "/exports/schedule", "export.scheduled", Scope::Exports, OUTLETS, Changes),
    op(Method::DELETE, "/exports/schedule", "export.unscheduled", Scope::Exports, OUTLETS, Changes),
    op(Method::GET, "/exports/jobs", "exports.jobs", Scope::Exports, DATA, Reads),
    op(Method::POST, "/exports/jobs", "export.ordered", Scope::Exports, DATA, Changes),
    op(Method::GET, "/exports/jobs/{id}", "exports.job", Scope::Exports, DATA, Reads),
    op(Method::DELETE, "/exports/jobs/{id}", "export.cancelled", Scope::Exports, DATA, Changes),
    op(Method::GET, "/exports/calls/{file}", "exports.vcon", Scope::Exports, DATA, Reads),
    op(Method::GET, "/exports/{file}", "exports.records", Scope::Exports, DATA, Reads),
    op(Method::GET, "/retention", "retention.get", Scope::Retention, SHOWN, Reads),
    op(Method::PUT, "/retention", "retention.changed", Scope::Retention, SETTINGS, Changes),
    op(Method::GET, "/consent/policy", "consent.policy", Scope::Consent, SHOWN, Reads),
    op(Method::PUT, "/consent/policy", "consent.policy_adopted", Scope::Consent, SETTINGS, Changes),
    op(Method::GET, "/consent/policies", "consent.policies", Scope::Consent, SHOWN, Reads),
    op(Method::GET, "/flows", "flows.list", Scope::Consent, RULES, Reads),
    op(Method::POST, "/flows", "flow.saved", Scope::Consent, KEYS, Changes),
    op(Method::GET, "/flows/{id}", "flows.get", Scope::Consent, RULES, Reads),
    op(Method::PUT, "/flows/{id}", "flow.changed", Scope::Consent, KEYS, Changes),
    op(Method::DELETE, "/flows/{id}", "flow.deleted", Scope::Consent, KEYS, Changes),
    op(Method::GET, "/prompts", "prompts.list", Scope::Consent, RULES, Reads),
    op(Method::POST, "/prompts", "prompt.added", Scope::Consent, KEYS, Changes),
    op(Method::GET, "/prompts/{id}/audio", "prompts.audio", Scope::Consent, RULES, Reads),
    op(Method::DELETE, "/prompts/{id}", "prompt.deleted", Scope::Consent, KEYS, Changes),
    op(Method::GET, "/retention/preview", "retention.preview", Scope::Retention, SHOWN, Reads),
    op(Method::GET, "/forecast", "forecast.get", Scope::Retention, SHOWN, Reads),
    op(Method::GET, "/holds", "holds.list", Scope::Holds, SHOWN, Reads),
    op(Method::POST, "/holds", "hold.placed", Scope::Holds, SETTINGS, Changes),
    op(Method::POST, "/holds/{id}/lift", "hold.lifted", Scope::Holds, SETTINGS, Changes),
    op(Method::GET, "/deletions", "deletions.list", Scope::Deletions, SHOWN, Reads),
    op(Method::GET, "/deletions/{index}/certificate", "certificate.get", Scope::Deletions, SHOWN, Reads),
    op(Method::GET, "/webhooks", "webhooks.list", Scope::Webhooks, KEYS, Reads),
    op(Method::POST, "/webhooks", "webhook.created", Scope::Webhooks, KEYS, Changes),
    op(Method::DELETE, "/webhooks/{id}", "webhook.deleted", Scope::Webhooks, KEYS, Changes),
    op(Method::POST, "/webhooks/{id}/replay", "webhook.replayed", Scope::Webhooks, KEYS, Changes),
    op(Method::GET, "/tokens", "tokens.list", Scope::Keys, TEAM, Reads),
    op(Method::POST, "/tokens", "token.created", Scope::Keys, TEAM, Changes),
    op(Method::POST, "/tokens/{key}/rotate", "token.rotated", Scope::Keys, TEAM, Changes),
    op(Method::DELETE, "/tokens/{key}", "token.revoked", Scope::Keys, TEAM, Changes),
    op(Method::GET, "/users", "users.list", Scope::Users, TEAM, Reads),
    op(Method::POST, "/users", "user.invited", Scope::Users, TEAM, Changes),
    op(Method::PUT, "/users/{user}", "user.changed", Scope::Users, TEAM, Changes),
    op(Method::DELETE, "/users/{user}", "user.removed", Scope::Users, TEAM, Changes),
    op(Method::POST, "/users/{user}/invitation", "user.invited_again", Scope::Users, TEAM, Changes),
    op(Method::GET, "/alerts", "alerts.get", Scope::Webhooks, LOGS, Reads),
    op(Method::PUT, "/alerts", "alerts.changed", Scope::Webhooks, LOGS, Changes),
    op(Method::GET, "/logs/{class}", "logs.list", Scope::Logs, LOGS, Reads),
    platform(Method::GET, "/calls", "platform.calls.list", Reads),
    platform(Method::GET, "/calls.json", "platform.calls.list", Reads),
    platform(Method::GET, "/calls.json/{sid}", "platform.calls.get", Reads),
    platform(Method::GET, "/calls/{sid}", "platform.calls.get", Reads),
    platform(Method::POST, "/calls/connect", "platform.calls.connect", Stores),
    platform(Method::POST, "/calls/connect.json", "platform.calls.connect", Stores),
    platform(Method::GET, "/calls/{sid}/recordings", "platform.recordings.of_call", Reads),
    platform(Method::GET, "/calls/{sid}/recordings.json", "platform.recordings.of_call", Reads),
    platform(Method::GET, "/recordings", "platform.recordings.list", Reads),
    platform(Method::GET, "/recordings.json", "platform.recordings.list", Reads),
    platform(Method::GET, "/recordings/{sid}", "platform.recordings.get", Reads),
    platform(Method::DELETE, "/recordings/{sid}", "request.opened", Changes),
    platform(Method::POST, "/sms/send", "platform.sms.send", Stores),
    platform(Method::POST, "/sms/send.json", "platform.sms.send", Stores),
    platform(Method::POST, "/sms/bulksend", "platform.sms.bulksend", Stores),
    platform(Method::POST, "/sms/bulksend.json", "platform.sms.bulksend", Stores),
    platform(Method::GET, "/sms/messages/{sid}", "platform.sms.get", Reads),
    v2(Method::GET, "/contacts", "contacts.list", DATA, Reads),
    v2(Method::POST, "/contacts", "contacts.created", DATA, Changes),
    v2(Method::PUT, "/contacts", "contacts.changed", DATA, Changes),
    v2(Method::POST, "/contacts/csv-upload", "contacts.uploaded", DATA, Changes),
    v2(Method::GET, "/csv-status/{id}", "contacts.upload.get", DATA, Reads),
    v2(Method::GET, "/contacts/{sid}", "contacts.get", DATA, Reads),
    v2(Method::PUT, "/contacts/{sid}", "contact.changed", DATA, Changes),
    v2(Method::DELETE, "/contacts/{sid}", "contact.deleted", DATA, Changes),
    v2(Method::GET, "/lists", "lists.list", DATA, Reads),
    v2(Method::POST, "/lists", "lists.created", DATA, Changes),
    v2(Method::PUT, "/lists", "lists.changed", DATA, Changes),
    v2(Method::GET, "/lists/{sid}", "lists.get", DATA, Reads),
    v2(Method::PUT, "/lists/{sid}", "list.changed", DATA, Changes),
    v2(Method::DELETE, "/lists/{sid}", "list.deleted", DATA, Changes),
    v2(Method::GET, "/lists/{sid}/contacts", "lists.contacts", DATA, Reads),
    v2(Method::POST, "/lists/{sid}/contacts", "list.contacts.added", DATA, Changes),
    v2(Method::DELETE, "/lists/{sid}/contacts/{contact}", "list.contact.removed", DATA, Changes),
    v2(Method::GET, "/campaigns", "campaigns.list", DATA, Reads),
    v2(Method::POST, "/campaigns", "campaign.created", DATA, Changes),
    v2(Method::GET, "/campaigns/{id}", "campaigns.get", DATA, Reads),
    v2(Method::PUT, "/campaigns/{id}", "campaign.changed", DATA, Changes),
    v2(Method::DELETE, "/campaigns/{id}", "campaign.canceled", DATA, Changes),
    v2(Method::GET, "/campaigns/{id}/call-details", "campaigns.calls", DATA, Reads),
    v2(Method::GET, "/campaigns/{id}/report.csv", "campaigns.report", DATA, Reads),
    beta(Method::GET, "/incomingphonenumbers", "exophones.list", Reads),
    beta(Method::POST, "/incomingphonenumbers", "exophone.added", Changes),
    beta(Method::GET, "/incomingphonenumbers/{sid}", "exophones.get", Reads),
    beta(Method::PUT, "/incomingphonenumbers/{sid}", "exophone.changed", Changes),
    beta(Method::DELETE, "/incomingphonenumbers/{sid}", "exophone.released", Changes),
    op(Method::GET, "/suppressions", "suppressions.list", Scope::Platform, RULES, Reads),
    op(Method::POST, "/suppressions", "suppression.added", Scope::Platform, DATA, Changes),
    op(Method::DELETE, "/suppressions/{id}", "suppression.lifted", Scope::Platform, SETTINGS, Changes),
];

/// Where an account's paths begin: its own, and those of the platform's version 1.
pub const ACCOUNT_PATH: &str = "/v1/accounts/{account}";
/// Where those of the platform's version 2 begin.
pub const V2_PATH: &str = "/v2/accounts/{account}";
/// Where those of the platform's numbers begin; they answer as version 1 does, in JSON alone.
pub const BETA_PATH: &str = "/v2_beta/accounts/{account}";
/// Where paths of an account begin.
pub const BASES: [&str; 3] = [ACCOUNT_PATH, V2_PATH, BETA_PATH];

/// The operation of a request. `HEAD` is a `GET` without its body.
#[must_use]
pub fn find_operation(method: &Method, route: &str) -> Option<&'static Operation> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    OPERATIONS
        .iter()
        .find(|operation| operation.method == *method && route.strip_prefix(operation.base) == Some(operation.path))
}

/// The longest query that an access is logged with.
const MAX_QUERY_BYTES: usize = 2_048;

/// Lets a request pass that its caller may make, and logs it. What was begun is ended and logged even if the peer hangs
/// up meanwhile.
pub async fn authorize(
    State(door): State<Arc<Door>>,
    route: MatchedPath,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    // Nested routers see a part of the path only.
    let full = request.extensions().get::<FullPath>().map(|path| path.0.clone());
    let path = full.unwrap_or_else(|| request.uri().path().to_owned());
    let Some(operation) = find_operation(request.method(), route.as_str()) else {
        // A method that the path does not have; the router says so.
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let caller = match Caller::find(&parts, &params, &door).await {
        Ok(caller) => caller,
        Err(problem) => {
            return refused(operation, &path, problem);
        }
    };
    // The platform's operations have limits of their own.
    let allowance = door.rates.take(&caller.account, door.vault.now());
    if operation.style == Style::Problem && allowance.is_over() && !allowance.is_first_over() {
        return allowance.refuse();
    }
    let access = Access::new(&parts, &params, operation);
    let work = async move {
        // Of those that are too many, the log has the first of each minute.
        if operation.style == Style::Problem && allowance.is_over() {
            let response = allowance.refuse();
            return match access.note(&door, &caller, response.status()).await {
                Ok(()) => response,
                Err(problem) => refused(operation, &path, problem),
            };
        }
        let mut response = match allow(operation, caller.role, &caller.scopes) {
            Ok(()) => {
                parts.extensions.insert(caller.clone());
                next.run(Request::from_parts(parts, body)).await
            }
            Err(problem) => refused(operation, &path, problem),
        };
        if operation.style == Style::Problem {
            allowance.write(response.headers_mut());
        }
        match access.note(&door, &caller, response.status()).await {
            Ok(()) => response,
            // An access that cannot be logged is not answered: nobody could say later what was seen.
            Err(problem) => refused(operation, &path, problem),
        }
    };
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|_| answer_panic(Box::new(())))
}

fn refused(operation: &Operation, path: &str, problem: Problem) -> Response {
    match operation.style {
        Style::Problem => problem.into_response(),
        Style::V1 => refuse(path, problem),
        Style::V2 => envelope::refuse(&operation.method, problem),
    }
}

/// A request, as the logs have it.
struct Access {
    operation: &'static Operation,
    watch: Stopwatch,
    query: String,
    named: serde_json::Map<String, serde_json::Value>,
}

impl Access {
    fn new(parts: &Parts, params: &RawPathParams, operation: &'static Operation) -> Self {
        let named = params.iter().filter(|(name, _)| *name != "account");
        Self {
            operation,
            watch: Stopwatch::start(),
            query: parts
                .uri
                .query()
                .unwrap_or_default()
                .chars()
                .take(MAX_QUERY_BYTES)
                .collect(),
            named: named.map(|(name, value)| (name.to_owned(), value.into())).collect(),
        }
    }

    /// Writes the request into the account's logs; the entries are durable when this returns.
    async fn note(&self, door: &Door, caller: &Caller, status: StatusCode) -> Answer<()> {
        let mut detail = json!({
            "key": caller.token_key, "role": caller.role.as_str(), "status": status.as_u16(), "place": self.named,
            "took_us": u64::try_from(self.watch.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        if let Some(user) = caller.user {
            detail["user"] = user.to_string().into();
        }
        if !self.query.is_empty() {
            detail["query"] = self.query.as_str().into();
        }
        let mut classes = vec![Class::ApiAccess];
        if self.operation.effect == Changes && status.is_success() {
            classes.push(Class::Activity);
        }
        note(door, &caller.account, self.operation.name, &classes, &detail).await
    }
}

/// Whether this role, with these scopes, may.
///
/// # Errors
/// 403.
pub fn allow(operation: &Operation, role: Role, scopes: &Scopes) -> Answer<()> {
    if !operation.roles.contains(&role) {
        let roles: Vec<_> = operation.roles.iter().map(|role| role.as_str()).collect();
        return Err(Problem::wrong_role(&roles.join(", ")));
    }
    match operation.scope {
        Some(scope) if !scopes.allow(scope) => Err(Problem::wrong_scope(scope.as_str())),
        _ => Ok(()),
    }
}

/// A use of something that needs no credentials.
pub struct Anonymous {
    /// The account.
    pub account: AccountSid,
    /// Its name in the log.
    pub name: &'static str,
    /// The public part of the token that gave it out.
    pub key: String,
    /// The record that was used.
    pub place: Sid,
    /// The answer.
    pub status: StatusCode,
    /// How long it took.
    pub took: Duration,
}

/// Logs an access without credentials; durable when this returns.
///
/// # Errors
/// Those of the vault.
pub async fn note_anonymous(door: &Door, access: Anonymous) -> Answer<()> {
    let detail = json!({
        "key": access.key, "role": "link", "status": access.status.as_u16(),
        "place": { "sid": access.place.to_string() },
        "took_us": u64::try_from(access.took.as_micros()).unwrap_or(u64::MAX),
    });
    note(door, &access.account, access.name, &[Class::ApiAccess], &detail).await
}

/// Writes entries into the account's logs; they are durable when this returns.
///
/// # Errors
/// Those of the vault.
pub(crate) async fn note(
    door: &Door,
    account: &AccountSid,
    name: &str,
    classes: &[Class],
    detail: &serde_json::Value,
) -> Answer<()> {
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
    match door.batcher.ingest(account.clone(), entries).await {
        Ok(_) => Ok(()),
        // The request closed the account: its logs went with it.
        Err(problem) if problem.status == 404 => Ok(()),
        Err(problem) => Err(problem),
    }
}
