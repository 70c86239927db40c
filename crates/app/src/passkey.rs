//! Passkeys: registered by who is signed in, and then signing in alone. They are discoverable: the answer itself says who it
//! is, so that nobody learns from the question who is a user.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use callvault_core::{Refusal, TimeUs, id::UserId, time::SECOND_US};
use callvault_seal::{
    digest::sha256,
    random_bytes,
    webauthn::{self, Credential, Expected, WebAuthnError},
};
use callvault_store::rows::ChallengeRow;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, VaultError},
    realm::Realm,
    user::User,
    vault::Vault,
};

/// Passkeys that a user may have.
pub const MAX_PASSKEYS: usize = 20;
/// The longest name of a passkey, in bytes.
pub const MAX_NAME_BYTES: usize = 100;
/// How long a question may be answered, in seconds.
pub const CHALLENGE_S: i64 = 300;
const REGISTER: &str = "register";
const AUTHENTICATE: &str = "authenticate";
/// Who is asked when anybody may answer.
const ANYBODY: UserId = UserId([0; 16]);

/// A passkey of a user.
#[derive(Clone, Serialize, Deserialize)]
pub struct Passkey {
    /// Credential id in base64url.
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// When it was registered.
    pub created_at: TimeUs,
    /// When it was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<TimeUs>,
    key: String,
    counter: u32,
}

/// The site that passkeys are made for.
#[derive(Debug, Clone)]
pub struct Site {
    /// `https://vault.example.in`.
    pub origin: String,
    /// `vault.example.in`.
    pub rp_id: String,
}

/// What a browser sends of a passkey that it made; each in base64url.
#[derive(Debug)]
pub struct Registration<'a> {
    /// `response.clientDataJSON`.
    pub client_data: &'a str,
    /// `response.attestationObject`.
    pub attestation: &'a str,
}

/// What a browser sends of a passkey that signed; each in base64url.
#[derive(Debug)]
pub struct Assertion<'a> {
    /// `id`.
    pub id: &'a str,
    /// `response.userHandle`.
    pub user_handle: &'a str,
    /// `response.clientDataJSON`.
    pub client_data: &'a str,
    /// `response.authenticatorData`.
    pub authenticator_data: &'a str,
    /// `response.signature`.
    pub signature: &'a str,
}

/// A user's handle, as passkeys carry it.
#[must_use]
pub fn user_handle(id: UserId) -> String {
    URL_SAFE_NO_PAD.encode(id.0)
}

/// A question that was not asked yet: 256 random bits in base64url.
///
/// # Errors
/// Those of the system's random source.
pub fn fresh_challenge() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?))
}

impl Vault {
    /// A question for a passkey that this user registers.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn begin_registration(&self, realm: &Realm, user: UserId) -> Result<String> {
        self.ask(realm, user, REGISTER).await
    }

    /// A question for a passkey of anybody who signs in.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn begin_authentication(&self, realm: &Realm) -> Result<String> {
        self.ask(realm, ANYBODY, AUTHENTICATE).await
    }

    async fn ask(&self, realm: &Realm, user: UserId, purpose: &str) -> Result<String> {
        let challenge = fresh_challenge()?;
        let row = ChallengeRow {
            account: realm.account().cloned(),
            hash: sha256(&[challenge.as_bytes()]),
            user,
            purpose: purpose.to_owned(),
            expires_at: TimeUs(self.now().0 + CHALLENGE_S * SECOND_US),
        };
        self.catalog.insert_challenge(&row).await?;
        Ok(challenge)
    }

    /// The question that an answer is to, if it was asked, of this user, and not answered before.
    async fn take_question(
        &self,
        realm: &Realm,
        client_data: &[u8],
        user: UserId,
        purpose: &str,
    ) -> Result<Option<String>> {
        let Some(challenge) = webauthn::find_challenge(client_data) else {
            return Ok(None);
        };
        let hash = sha256(&[challenge.as_bytes()]);
        let row = self.catalog.take_challenge(realm.account(), &hash).await?;
        let now = self.now();
        let asked = row.is_some_and(|row| row.user == user && row.purpose == purpose && row.expires_at > now);
        Ok(asked.then_some(challenge))
    }

    /// Registers a passkey of a user who is signed in.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for what is no answer to the question, [`VaultError::Refused`] beyond [`MAX_PASSKEYS`].
    pub async fn finish_registration(
        &self,
        realm: &Realm,
        mut user: User,
        name: &str,
        registration: &Registration<'_>,
        site: &Site,
    ) -> Result<Passkey> {
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            let reason = format!("expected 1 to {MAX_NAME_BYTES} bytes without control characters");
            return Err(VaultError::invalid("name", reason));
        }
        let client_data = decode("client_data", registration.client_data)?;
        let attestation = decode("attestation", registration.attestation)?;
        let question = self.take_question(realm, &client_data, user.id(), REGISTER).await?;
        let question = question.ok_or_else(unasked)?;
        let credential = webauthn::verify_registration(&client_data, &attestation, &expect(&question, site))
            .map_err(|error| not_accepted("attestation", error))?;
        let passkey = Passkey {
            id: URL_SAFE_NO_PAD.encode(&credential.id),
            name: name.to_owned(),
            created_at: self.now(),
            used_at: None,
            key: URL_SAFE_NO_PAD.encode(&credential.key),
            counter: credential.counter,
        };
        if user.person.passkeys.len() >= MAX_PASSKEYS {
            let reason = format!("You have {MAX_PASSKEYS} passkeys; remove one first.");
            return Err(Refusal::new("too-many-passkeys", reason).into());
        }
        if user.person.passkeys.iter().any(|known| known.id == passkey.id) {
            return Err(VaultError::invalid("attestation", "the passkey is registered already"));
        }
        user.person.passkeys.push(passkey.clone());
        self.put_user(realm, user, false).await?;
        Ok(passkey)
    }

    /// Who signs in with a passkey; nothing when anything is not as it should be.
    ///
    /// # Errors
    /// A conflict when the user changed meanwhile; those of the catalog and the cipher.
    pub async fn find_by_passkey(&self, realm: &Realm, assertion: &Assertion<'_>, site: &Site) -> Result<Option<User>> {
        let parts = [
            assertion.user_handle,
            assertion.client_data,
            assertion.authenticator_data,
            assertion.signature,
        ];
        let parts: Option<Vec<_>> = parts
            .iter()
            .map(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok())
            .collect();
        let Some([handle, client_data, data, signature]) = parts.as_deref() else {
            return Ok(None);
        };
        let Some(question) = self.take_question(realm, client_data, ANYBODY, AUTHENTICATE).await? else {
            return Ok(None);
        };
        let Ok(id) = <[u8; 16]>::try_from(handle.as_slice()) else {
            return Ok(None);
        };
        let mut user = match self.get_user(realm, UserId(id)).await {
            Ok(user) => user,
            Err(VaultError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let now = self.now();
        let known = user.person.passkeys.iter_mut();
        let Some(passkey) = known.into_iter().find(|passkey| passkey.id == assertion.id) else {
            return Ok(None);
        };
        let expected = expect(&question, site);
        match webauthn::verify_assertion(&passkey.credential()?, client_data, data, signature, &expected) {
            Ok(counter) => passkey.counter = counter,
            Err(_) => return Ok(None),
        }
        passkey.used_at = Some(now);
        if !user.is_active() {
            return Ok(None);
        }
        self.put_user(realm, user, false).await.map(Some)
    }

    /// Removes one of a user's passkeys.
    ///
    /// # Errors
    /// [`VaultError::NotFound`]; [`VaultError::Refused`] when the user could not sign in without it.
    pub async fn remove_passkey(&self, realm: &Realm, mut user: User, handle: &str) -> Result<()> {
        let before = user.person.passkeys.len();
        user.person.passkeys.retain(|passkey| passkey.handle() != handle);
        if user.person.passkeys.len() == before {
            return Err(VaultError::NotFound { what: "passkey" });
        }
        if user.person.passkeys.is_empty() && !user.has_password() {
            let reason = "It is the only way in that you have; set a password first.";
            return Err(Refusal::new("last-way-in", reason).into());
        }
        self.put_user(realm, user, false).await.map(drop)
    }
}

impl Passkey {
    /// What names it in a path, where case does not count: 32 hexadecimal digits of its id's hash.
    #[must_use]
    pub fn handle(&self) -> String {
        let mut digits = hex::encode(sha256(&[self.id.as_bytes()]));
        digits.truncate(32);
        digits
    }

    fn credential(&self) -> Result<Credential> {
        Ok(Credential {
            id: decode("id", &self.id)?,
            key: decode("key", &self.key)?,
            counter: self.counter,
        })
    }
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| VaultError::invalid(field, "expected base64url"))
}

const fn expect<'e>(challenge: &'e str, site: &'e Site) -> Expected<'e> {
    Expected {
        challenge,
        origin: site.origin.as_str(),
        rp_id: site.rp_id.as_str(),
    }
}

fn unasked() -> VaultError {
    VaultError::invalid("client_data", "answers no question that is open; ask for a new one")
}

fn not_accepted(field: &'static str, error: WebAuthnError) -> VaultError {
    VaultError::invalid(field, format!("the passkey is not accepted: {error}"))
}
