//! Signing in and out.

pub mod begin;
pub mod challenge;
pub mod end;
pub mod get;
pub mod invitation;
pub mod list;
pub mod password;
pub mod revoke;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    Json,
    extract::ConnectInfo,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use callvault_app::{
    core::{AccountSid, Class, id::UserId},
    realm::Realm,
    session::Method,
    user::User,
};
use serde_json::json;

use crate::{
    access::note,
    cookie,
    door::Door,
    problem::{Answer, Problem},
    rates::too_many,
};

/// Where a request comes from.
pub(super) type Peer = Option<axum::Extension<ConnectInfo<SocketAddr>>>;

pub(super) fn address(peer: &Peer) -> IpAddr {
    peer.as_ref()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.0.ip())
}

/// 401 for wrong credentials of a person; it does not say which part is wrong.
pub(super) fn wrong_credentials() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong-credentials",
        "Account, e-mail address, password, passkey or link are not right, or no longer.",
    )
    .with_challenge("Session realm=\"callvault\"")
}

pub(super) fn too_many_attempts(retry_s: i64) -> Response {
    too_many(
        "too-many-attempts",
        "Too many attempts failed for this user or from this address; try again after the seconds that Retry-After says.",
        retry_s,
    )
}

/// The realm that somebody wants to sign in to; nothing when there is no such account.
pub(super) async fn find_realm(door: &Door, account: Option<&AccountSid>) -> Answer<Option<Realm>> {
    match door.vault.get_realm(account).await {
        Ok(realm) => Ok(Some(realm)),
        Err(callvault_app::VaultError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins a session for who proved to be the one, ends the one that the browser had, and answers with the cookie.
pub(super) async fn welcome(
    door: &Door,
    realm: &Realm,
    user: &User,
    method: Method,
    headers: &HeaderMap,
) -> Answer<Response> {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let old = cookie::find(headers);
    let old = old.as_ref().map(|secret| secret.as_str());
    let secret = door.vault.begin_session(realm, user, method, agent, old).await?;
    let secret = zeroize::Zeroizing::new(secret);
    let signed = door.vault.find_session(&secret, door.lifetime).await?;
    let signed = signed.ok_or_else(wrong_credentials)?;
    let body = get::SessionBody::of(user, &signed);
    let set = cookie::set(&secret, door.lifetime).ok_or_else(Problem::internal)?;
    log_sign_in(door, realm, Some(user.id()), method.as_str(), StatusCode::CREATED).await?;
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, set)], Json(body)).into_response())
}

/// Writes an attempt to sign in into the account's logs; a successful one is an activity too.
pub(super) async fn log_sign_in(
    door: &Door,
    realm: &Realm,
    user: Option<UserId>,
    method: &str,
    status: StatusCode,
) -> Answer<()> {
    let Some(account) = realm.account() else { return Ok(()) };
    let mut detail = json!({ "method": method, "status": status.as_u16() });
    if let Some(user) = user {
        detail["user"] = user.to_string().into();
    }
    let (name, classes): (_, &[Class]) = match status.is_success() {
        true => ("session.begun", &[Class::ApiAccess, Class::Activity]),
        false => ("session.refused", &[Class::ApiAccess]),
    };
    note(door, account, name, classes, &detail).await
}
