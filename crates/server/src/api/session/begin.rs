//! `POST /v1/session`.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, request::Parts},
    response::Response,
};
use callvault_app::{
    core::AccountSid,
    passkey::Assertion,
    realm::Realm,
    seal::password::PasswordHash,
    session::Method,
    user::{MAX_PASSWORD_BYTES, User},
};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Peer, address, find_realm, get::SessionBody, log_sign_in, too_many_attempts, welcome, wrong_credentials};
use crate::{
    api::{
        layers::FullPath,
        params::{JsonBody, read_json},
    },
    door::Door,
    problem::{Answer, Problem},
};

/// Who signs in: by e-mail address and password, or by passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// Account; absent for a user of the operator.
    #[schema(max_length = 64)]
    pub account: Option<String>,
    /// E-mail address.
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// Password.
    #[schema(max_length = 512, format = Password)]
    pub password: Option<String>,
    /// What a passkey signed.
    pub passkey: Option<AssertionBody>,
}

/// What `navigator.credentials.get` gave; each in base64url.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssertionBody {
    /// `id`.
    #[schema(max_length = 2048)]
    pub id: String,
    /// `response.userHandle`.
    #[schema(max_length = 128)]
    pub user_handle: String,
    /// `response.clientDataJSON`.
    #[schema(max_length = 4096)]
    pub client_data: String,
    /// `response.authenticatorData`.
    #[schema(max_length = 4096)]
    pub authenticator_data: String,
    /// `response.signature`.
    #[schema(max_length = 4096)]
    pub signature: String,
}

impl AssertionBody {
    fn assertion(&self) -> Assertion<'_> {
        Assertion {
            id: &self.id,
            user_handle: &self.user_handle,
            client_data: &self.client_data,
            authenticator_data: &self.authenticator_data,
            signature: &self.signature,
        }
    }
}

/// Everything of a request that tells one sender from another.
pub struct Sender {
    pub(super) peer: Peer,
    pub(super) parts: Parts,
}

impl<S: Send + Sync> FromRequestParts<S> for Sender {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let mut kept = axum::http::Request::new(()).into_parts().0;
        kept.headers = parts.headers.clone();
        if let Some(path) = parts.extensions.get::<FullPath>() {
            kept.extensions.insert(path.clone());
        }
        Ok(Self {
            peer: parts.extensions.get().cloned().map(Extension),
            parts: kept,
        })
    }
}

impl Sender {
    pub(super) const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }
}

/// Reads an account's name. What is none is no account's, and one of another region is sent there.
pub(super) fn read_account(door: &Door, text: Option<&str>, sender: &Sender) -> Answer<Option<AccountSid>> {
    let Some(text) = text else { return Ok(None) };
    let account: AccountSid = text.to_lowercase().parse().map_err(|_| wrong_credentials())?;
    door.check_region(&account, &sender.parts)?;
    Ok(Some(account))
}

/// Sign in
///
/// Answers with the cookie `__Host-callvault`, which stands for the user in every operation that the user's role may. The
/// session ends after 30 minutes without use and after 12 hours in all, unless the operator set it otherwise; the one that
/// the browser had ends at once. Ten failed attempts for a user, or a hundred from an address, close the door for at most a
/// quarter of an hour.
#[utoipa::path(
    post, path = "/v1/session", tag = "session", operation_id = "begin_session",
    request_body = SignInRequest,
    responses(
        (status = 201, description = "Signed in", body = SessionBody, headers(("Set-Cookie" = String, description = "`__Host-callvault`"))),
        (status = 401, description = "Something is not right; the answer does not say what", body = Problem, content_type = "application/problem+json"),
        (status = 421, description = "The account is in another region", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, unknown or too long", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many failed attempts", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many people are signing in at once", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn begin(State(door): State<Arc<Door>>, sender: Sender, body: JsonBody<SignInRequest>) -> Answer<Response> {
    let request = read_json(body)?;
    let account = read_account(&door, request.account.as_deref(), &sender)?;
    let (who, method) = match (&request.email, &request.password, &request.passkey) {
        (Some(email), Some(_), None) => (email.as_str(), Method::Password),
        (None, None, Some(passkey)) => (passkey.id.as_str(), Method::Passkey),
        _ => {
            let detail = "Send email and password, or passkey.";
            return Err(Problem::invalid("passkey", detail));
        }
    };
    let attempt = door
        .attempts
        .begin(account.as_ref(), who, address(&sender.peer), door.vault.now());
    let attempt = match attempt {
        Ok(attempt) => attempt,
        Err(retry_s) => return Ok(too_many_attempts(retry_s)),
    };
    let realm = find_realm(&door, account.as_ref()).await?;
    let password = request.password.map(Zeroizing::new);
    let found = match (&request.passkey, password) {
        (Some(passkey), _) => match &realm {
            Some(realm) => {
                let site = door.passkey_site();
                door.vault.find_by_passkey(realm, &passkey.assertion(), &site).await?
            }
            None => None,
        },
        (None, Some(password)) => find_by_password(&door, realm.as_ref(), who, password).await?,
        (None, None) => None,
    };
    match (realm, found) {
        (Some(realm), Some(user)) => {
            attempt.succeeded();
            welcome(&door, &realm, &user, method, sender.headers()).await
        }
        (realm, _) => {
            if let Some(realm) = realm {
                log_sign_in(&door, &realm, None, method.as_str(), StatusCode::UNAUTHORIZED).await?;
            }
            Err(wrong_credentials())
        }
    }
}

/// Who signs in with a password. Looking takes as long whether there is such an account, such a user, or such a password.
async fn find_by_password(
    door: &Door,
    realm: Option<&Realm>,
    email: &str,
    password: Zeroizing<String>,
) -> Answer<Option<User>> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Ok(None);
    }
    let user = match realm {
        Some(realm) => door.vault.find_user_by_email(realm, email).await?,
        None => None,
    };
    let user = user.filter(User::is_active);
    let hash = user.as_ref().and_then(User::password);
    let fits = door
        .passwords
        .fits(password.clone(), hash.clone().unwrap_or_else(PasswordHash::of_nobody))
        .await?;
    let (Some(user), Some(hash), true, Some(realm)) = (user, hash, fits, realm) else {
        return Ok(None);
    };
    if hash.is_current() {
        return Ok(Some(user));
    }
    let anew = door.passwords.hash(password).await?;
    Ok(Some(door.vault.set_password(realm, user, &anew, false).await?))
}
