//! What people do for themselves: signing in and out, passwords, passkeys; and what the operator's people see.
//!
//! As in [`crate::access`], each operation says who may, and what the tables lack is not served. No token comes in here.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use callvault_app::{
    account::Role,
    core::{AccountSid, Class, id::UserId},
    realm::Realm,
    scope::Scopes,
    session::SignedIn,
    user::User,
};
use serde_json::json;
use tracing::Instrument as _;
use zeroize::Zeroizing;

use crate::{
    access::{
        Effect::{self, Changes, Reads},
        Operation, Style, allow, note,
    },
    api::layers::answer_panic,
    clock::Stopwatch,
    door::{Door, find_signed_in},
    problem::{Answer, Problem},
};

use Role::{Admin, Auditor, Compliance, Developer, Operator, Owner, Support};

/// Whoever is signed in.
const EVERYBODY: &[Role] = &[Owner, Admin, Developer, Compliance, Support, Auditor, Operator];
/// The operator's users.
const OPERATORS: &[Role] = &[Operator];

const fn op(
    method: Method,
    path: &'static str,
    name: &'static str,
    roles: &'static [Role],
    effect: Effect,
) -> Operation {
    Operation {
        method,
        base: "",
        path,
        name,
        scope: None,
        roles,
        effect,
        style: Style::Problem,
    }
}

/// What whoever is signed in does for himself; whole paths, one line each.
#[rustfmt::skip]
pub static OPERATIONS: &[Operation] = &[
    op(Method::GET, "/v1/session", "session.get", EVERYBODY, Reads),
    op(Method::DELETE, "/v1/session", "session.ended", EVERYBODY, Changes),
    op(Method::GET, "/v1/sessions", "sessions.list", EVERYBODY, Reads),
    op(Method::DELETE, "/v1/sessions/{session}", "session.revoked", EVERYBODY, Changes),
    op(Method::PUT, "/v1/session/password", "password.changed", EVERYBODY, Changes),
    op(Method::GET, "/v1/session/passkeys", "passkeys.list", EVERYBODY, Reads),
    op(Method::POST, "/v1/session/passkeys", "passkey.added", EVERYBODY, Changes),
    op(Method::POST, "/v1/session/passkeys/challenge", "passkey.asked", EVERYBODY, Reads),
    op(Method::DELETE, "/v1/session/passkeys/{passkey}", "passkey.removed", EVERYBODY, Changes),
    op(Method::GET, "/v1/operator/me", "operator.me", OPERATORS, Reads),
    op(Method::GET, "/v1/operator/accounts", "operator.accounts.list", OPERATORS, Reads),
    op(Method::GET, "/v1/operator/accounts/{account}", "operator.account.get", OPERATORS, Reads),
];

/// What needs no credentials because it is how one gets them, or because it is for all: method and whole path.
#[rustfmt::skip]
pub static PUBLIC: &[(Method, &str)] = &[
    (Method::POST, "/v1/session"),
    (Method::POST, "/v1/session/challenge"),
    (Method::POST, "/v1/invitation"),
    // Its signature is the credential.
    (Method::GET, "/presigned/{account}/{sid}"),
    (Method::GET, "/log/checkpoint"),
    (Method::GET, "/log/tile/{path}"),
    (Method::GET, "/log/key"),
    (Method::GET, "/health"),
    (Method::GET, "/ready"),
    (Method::GET, "/metrics"),
    (Method::GET, "/openapi.json"),
    (Method::GET, "/docs"),
];

/// Who is signed in, as handlers get it.
#[derive(Clone)]
pub struct Person {
    /// Whose user.
    pub realm: Realm,
    /// The session.
    pub signed: SignedIn,
    /// The cookie's secret.
    pub secret: Zeroizing<String>,
}

impl Person {
    /// The user.
    #[must_use]
    pub const fn user_id(&self) -> UserId {
        self.signed.user
    }

    /// The user, with what is known of the person.
    ///
    /// # Errors
    /// 404 when it was removed meanwhile.
    pub async fn user(&self, door: &Door) -> Answer<User> {
        Ok(door.vault.get_user(&self.realm, self.signed.user).await?)
    }
}

impl FromRequestParts<Arc<Door>> for Person {
    type Rejection = Problem;

    /// Who was let pass by [`authorize`].
    async fn from_request_parts(parts: &mut Parts, _: &Arc<Door>) -> Answer<Self> {
        let person = parts.extensions.get::<Self>().cloned();
        person.ok_or_else(Problem::unauthorized)
    }
}

/// The operation of a request. `HEAD` is a `GET` without its body.
#[must_use]
pub fn find_operation(method: &Method, route: &str) -> Option<&'static Operation> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    OPERATIONS
        .iter()
        .find(|operation| operation.method == *method && operation.path == route)
}

/// Lets a request pass that whoever is signed in may make, and logs it in the user's account; the operator's into the account
/// that the path names.
pub async fn authorize(State(door): State<Arc<Door>>, route: MatchedPath, request: Request, next: Next) -> Response {
    let Some(operation) = find_operation(request.method(), route.as_str()) else {
        // A public operation, or a method that the path does not have.
        return next.run(request).await;
    };
    let (mut parts, body) = request.into_parts();
    let person = match find_person(&parts, &door).await {
        Ok(person) => person,
        Err(problem) => {
            return problem.into_response();
        }
    };
    let watch = Stopwatch::start();
    let account = match &person.signed.account {
        Some(account) => Some(account.clone()),
        None => account_in(route.as_str(), parts.uri.path()),
    };
    if let Some(account) = &account {
        let allowance = door.rates.take(account, door.vault.now());
        if allowance.is_over() {
            return allowance.refuse();
        }
    }
    let work = async move {
        let response = match allow(operation, person.signed.role, &Scopes::Whole) {
            Ok(()) => {
                parts.extensions.insert(person.clone());
                next.run(Request::from_parts(parts, body)).await
            }
            Err(problem) => problem.into_response(),
        };
        let Some(account) = account else { return response };
        let detail = json!({
            "key": person.signed.session.to_string(), "user": person.signed.user.to_string(),
            "role": person.signed.role.as_str(), "status": response.status().as_u16(),
            "took_us": u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        let mut classes = vec![Class::ApiAccess];
        if operation.effect == Changes && response.status().is_success() {
            classes.push(Class::Activity);
        }
        match note(&door, &account, operation.name, &classes, &detail).await {
            Ok(()) => response,
            Err(problem) => problem.into_response(),
        }
    };
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|_| answer_panic(Box::new(())))
}

async fn find_person(parts: &Parts, door: &Door) -> Answer<Person> {
    let (secret, signed) = find_signed_in(parts, door).await?;
    Ok(Person {
        realm: door.vault.get_realm(signed.account.as_ref()).await?,
        signed,
        secret,
    })
}

/// The account that a path of the operator's names.
fn account_in(route: &str, path: &str) -> Option<AccountSid> {
    let named = route
        .split('/')
        .zip(path.split('/'))
        .find(|(part, _)| *part == "{account}");
    named.and_then(|(_, name)| name.parse().ok())
}
