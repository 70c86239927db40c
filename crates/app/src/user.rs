//! Users: people who sign in. Whoever is to come in is invited by a link that works once.
//!
//! E-mail address, name, password hash, passkeys and invitation are one sealed body; the address is found by its blind hash.

use callvault_core::{Refusal, TimeUs, id::UserId, time::SECOND_US};
use callvault_seal::{digest, digest::sha256, password::PasswordHash, random_bytes};
use callvault_store::{StoreError, rows::UserRow};
use serde::{Deserialize, Serialize};

use crate::{
    account::Role,
    error::{Result, VaultError},
    passkey::Passkey,
    realm::Realm,
    scope::Scopes,
    token::{Powers, last_way_in},
    vault::Vault,
};

/// Users that an account or the operator may have.
pub const MAX_USERS: usize = 1_000;
/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 200;
/// The longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3 without its brackets).
pub const MAX_EMAIL_BYTES: usize = 254;
/// The shortest password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 512;
/// How long an invitation's link works, in seconds.
pub const INVITATION_S: i64 = 72 * 3_600;

/// What is known of a person.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Person {
    pub(crate) email: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) passkeys: Vec<Passkey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invitation: Option<Invitation>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Invitation {
    /// SHA-256 of the link's secret, which has 256 random bits; hexadecimal.
    hash: String,
    until: TimeUs,
}

/// A user, opened.
#[derive(Clone)]
pub struct User {
    pub(crate) row: UserRow,
    pub(crate) person: Person,
    role: Role,
}

/// What somebody is to be told who was invited. Whoever delivers it has the only copy of the link.
pub struct InvitationLetter {
    /// Who.
    pub user: UserId,
    /// The address that it goes to.
    pub email: String,
    /// The person's name, if it is known.
    pub name: Option<String>,
    /// What the link carries: `user.secret`, 32 and 64 hexadecimal digits.
    pub secret: String,
    /// When it stops working.
    pub until: TimeUs,
}

/// Changes of a user by somebody else; what is nothing stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserChange {
    /// Another role.
    pub role: Option<Role>,
    /// Whether the user is kept out.
    pub disabled: Option<bool>,
}

impl User {
    /// Identifier.
    #[must_use]
    pub const fn id(&self) -> UserId {
        self.row.id
    }

    /// Role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// E-mail address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.person.email
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.person.name.as_deref()
    }

    /// Whether there is a password.
    #[must_use]
    pub const fn has_password(&self) -> bool {
        self.person.password.is_some()
    }

    /// Passkeys.
    #[must_use]
    pub fn passkeys(&self) -> &[Passkey] {
        &self.person.passkeys
    }

    /// When it was invited.
    #[must_use]
    pub const fn created_at(&self) -> TimeUs {
        self.row.created_at
    }

    /// When the invitation was accepted.
    #[must_use]
    pub const fn joined_at(&self) -> Option<TimeUs> {
        self.row.joined_at
    }

    /// When it was disabled, if it is.
    #[must_use]
    pub const fn disabled_at(&self) -> Option<TimeUs> {
        self.row.disabled_at
    }

    /// Until when an invitation can be accepted.
    #[must_use]
    pub fn invited_until(&self) -> Option<TimeUs> {
        self.person.invitation.as_ref().map(|invitation| invitation.until)
    }

    /// Whether it may sign in.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.row.joined_at.is_some() && self.row.disabled_at.is_none()
    }

    /// The hash that a password is compared with.
    #[must_use]
    pub fn password(&self) -> Option<PasswordHash> {
        self.person.password.as_deref().and_then(PasswordHash::from_phc)
    }
}

/// An address as it is kept and found: without blanks around it, in lower case.
///
/// # Errors
/// [`VaultError::Invalid`] for what cannot be one.
pub fn normalize_email(text: &str) -> Result<String> {
    let text = text.trim();
    let fits = |(name, host): (&str, &str)| {
        (1..=64).contains(&name.len())
            && host.contains('.')
            && host.split('.').all(|label| !label.is_empty() && label.len() <= 63)
            && host.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.')
    };
    let is_plain = text.len() <= MAX_EMAIL_BYTES
        && !text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c));
    match text.rsplit_once('@') {
        Some(parts) if is_plain && fits(parts) && !parts.0.contains('@') => Ok(text.to_lowercase()),
        _ => Err(VaultError::invalid(
            "email",
            "expected an address such as name@example.com",
        )),
    }
}

/// Whether a password may be chosen, by length and by what anybody would try first.
///
/// # Errors
/// [`VaultError::Invalid`]; the password is not repeated.
pub fn check_password(password: &str, email: &str) -> Result<()> {
    let length = password.chars().count();
    if length < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        let reason = format!("expected {MIN_PASSWORD_CHARS} characters to {MAX_PASSWORD_BYTES} bytes");
        return Err(VaultError::invalid("password", reason));
    }
    let lower = password.to_lowercase();
    let distinct: std::collections::BTreeSet<char> = lower.chars().collect();
    let guessed = ["password", "callvault", "123456", "qwerty", "letmein"];
    let rest = guessed.iter().fold(lower.clone(), |left, word| left.replace(word, ""));
    if distinct.len() < 5 || lower.contains(email) || rest.chars().count() < MIN_PASSWORD_CHARS / 2 {
        return Err(VaultError::invalid("password", "is too easy to guess"));
    }
    Ok(())
}

fn check_name(name: Option<String>) -> Result<Option<String>> {
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    if name
        .as_ref()
        .is_some_and(|name| name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control))
    {
        let reason = format!("expected at most {MAX_NAME_BYTES} bytes without control characters");
        return Err(VaultError::invalid("name", reason));
    }
    Ok(name)
}

fn context(id: UserId) -> String {
    format!("user/{id}")
}

pub(crate) fn seal_person(realm: &Realm, id: UserId, person: &Person) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(person).map_err(|error| VaultError::invalid("user", error.to_string()))?;
    realm.seal(&context(id), &zeroize::Zeroizing::new(json))
}

fn open_user(realm: &Realm, row: UserRow) -> Result<User> {
    let json = zeroize::Zeroizing::new(realm.open(&context(row.id), &row.body)?);
    let person = serde_json::from_slice(&json).map_err(|_| VaultError::Damaged {
        what: "user",
        reason: "its body is not readable".to_owned(),
    })?;
    Ok(User {
        role: Role::from_stored(&row.role)?,
        row,
        person,
    })
}

fn invite(id: UserId, person: &mut Person, now: TimeUs) -> Result<InvitationLetter> {
    let secret = hex::encode(random_bytes::<32>()?);
    let until = TimeUs(now.0 + INVITATION_S * SECOND_US);
    person.invitation = Some(Invitation {
        hash: hex::encode(sha256(&[secret.as_bytes()])),
        until,
    });
    Ok(InvitationLetter {
        user: id,
        email: person.email.clone(),
        name: person.name.clone(),
        secret: format!("{id}.{secret}"),
        until,
    })
}

impl Vault {
    /// Invites a person. The letter carries the link's secret, of which the vault keeps the hash.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a wrong address or name, or one that is a user already; [`VaultError::Refused`] when the
    /// user might more than who invites.
    pub async fn invite_user(
        &self,
        realm: &Realm,
        email: &str,
        name: Option<String>,
        role: Role,
        by: Option<&Powers>,
    ) -> Result<(User, InvitationLetter)> {
        require_to_give(by, role)?;
        if (role == Role::Operator) != realm.account().is_none() {
            return Err(VaultError::invalid(
                "role",
                "the operator's users have the operator role, and nobody else",
            ));
        }
        let email = normalize_email(email)?;
        let now = self.now();
        if self.catalog.list_users(realm.account()).await?.len() >= MAX_USERS {
            let reason = format!("There are {MAX_USERS} users; remove one first.");
            return Err(Refusal::new("too-many-users", reason).into());
        }
        let id = UserId(random_bytes()?);
        let mut person = Person {
            email: email.clone(),
            name: check_name(name)?,
            password: None,
            passkeys: Vec::new(),
            invitation: None,
        };
        let letter = invite(id, &mut person, now)?;
        let row = UserRow {
            account: realm.account().cloned(),
            id,
            email: realm.hash_email(&email),
            role: role.as_str().to_owned(),
            created_at: now,
            joined_at: None,
            disabled_at: None,
            body: seal_person(realm, id, &person)?,
            version: 0,
        };
        match self.catalog.insert_user(&row).await {
            Ok(()) => Ok((User { row, person, role }, letter)),
            Err(StoreError::Conflict {
                what: "a user of this address",
            }) => Err(VaultError::invalid(
                "email",
                "is a user's already, who can be invited again",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Invites a user again: the old link stops working. Whoever accepts chooses a new password.
    ///
    /// # Errors
    /// [`VaultError::NotFound`]; [`VaultError::Refused`] when the user may more than who invites.
    pub async fn invite_again(&self, realm: &Realm, id: UserId, by: Option<&Powers>) -> Result<InvitationLetter> {
        let mut user = self.get_user(realm, id).await?;
        require_to_give(by, user.role)?;
        let letter = invite(id, &mut user.person, self.now())?;
        self.put_user(realm, user, false).await?;
        Ok(letter)
    }

    /// Every user, in the order they were invited.
    ///
    /// # Errors
    /// Those of the catalog and the cipher.
    pub async fn list_users(&self, realm: &Realm) -> Result<Vec<User>> {
        let mut rows = self.catalog.list_users(realm.account()).await?;
        rows.sort_by_key(|row| (row.created_at, row.id));
        rows.into_iter().map(|row| open_user(realm, row)).collect()
    }

    /// A user.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn get_user(&self, realm: &Realm, id: UserId) -> Result<User> {
        let row = self.catalog.find_user(realm.account(), id).await?;
        open_user(realm, row.ok_or(VaultError::NotFound { what: "user" })?)
    }

    /// A user by e-mail address, which may be written in any case.
    ///
    /// # Errors
    /// Those of the catalog and the cipher.
    pub async fn find_user_by_email(&self, realm: &Realm, email: &str) -> Result<Option<User>> {
        let Ok(email) = normalize_email(email) else {
            return Ok(None);
        };
        let row = self
            .catalog
            .find_user_by_email(realm.account(), realm.hash_email(&email))
            .await?;
        row.map(|row| open_user(realm, row)).transpose()
    }

    /// Changes a user's role, or keeps the user out. Either ends the user's sessions.
    ///
    /// # Errors
    /// [`VaultError::NotFound`]; [`VaultError::Refused`] when the old or the new role may more than who asks, or the account's
    /// owner would be locked out.
    pub async fn change_user(
        &self,
        realm: &Realm,
        id: UserId,
        change: UserChange,
        by: Option<&Powers>,
    ) -> Result<User> {
        let mut user = self.get_user(realm, id).await?;
        require_to_take(by, user.role)?;
        if change.disabled == Some(false) {
            require_to_give(by, user.role)?;
        }
        if let Some(role) = change.role {
            require_to_give(by, role)?;
            if (role == Role::Operator) != realm.account().is_none() {
                return Err(VaultError::invalid("role", "expected a role of the account"));
            }
            user.role = role;
            user.row.role = role.as_str().to_owned();
        }
        match change.disabled {
            Some(true) => user.row.disabled_at = user.row.disabled_at.or(Some(self.now())),
            Some(false) => user.row.disabled_at = None,
            None => {}
        }
        self.put_user(realm, user, true).await
    }

    /// Removes a user, with sessions and passkeys.
    ///
    /// # Errors
    /// As [`Vault::change_user`].
    pub async fn delete_user(&self, realm: &Realm, id: UserId, by: Option<&Powers>) -> Result<()> {
        require_to_take(by, self.get_user(realm, id).await?.role)?;
        match self.catalog.delete_user(realm.account(), id, self.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(VaultError::NotFound { what: "user" }),
            Err(error) => Err(last_way_in(error)),
        }
    }

    /// The user whose invitation a link carries; nothing when it is no link, was used, is over, or the user is disabled.
    ///
    /// # Errors
    /// Those of the catalog and the cipher.
    pub async fn find_invited(&self, realm: &Realm, link: &str) -> Result<Option<User>> {
        let parts = link.split_once('.');
        let Some((id, secret)) = parts.and_then(|(id, secret)| Some((id.parse().ok()?, secret))) else {
            return Ok(None);
        };
        let Some(row) = self.catalog.find_user(realm.account(), id).await? else {
            return Ok(None);
        };
        let user = open_user(realm, row)?;
        let hash = hex::encode(sha256(&[secret.as_bytes()]));
        let now = self.now();
        let fits = user.person.invitation.as_ref().is_some_and(|invitation| {
            digest::is_equal(invitation.hash.as_bytes(), hash.as_bytes()) && invitation.until > now
        });
        Ok(Some(user).filter(|user| fits && user.row.disabled_at.is_none()))
    }

    /// Accepts an invitation with the password that was chosen. The link works no more, and older sessions end; passkeys go,
    /// since whoever needs a new invitation may have lost them.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a wrong name; a conflict when the link was used meanwhile.
    pub async fn accept_invitation(
        &self,
        realm: &Realm,
        mut user: User,
        name: Option<String>,
        password: &PasswordHash,
    ) -> Result<User> {
        if let Some(name) = check_name(name)? {
            user.person.name = Some(name);
        }
        user.person.password = Some(password.to_phc());
        user.person.passkeys.clear();
        user.person.invitation = None;
        user.row.joined_at = user.row.joined_at.or(Some(self.now()));
        self.put_user(realm, user, true).await
    }

    /// Stores a password that the user chose. With `ends_sessions`, whoever is signed in as the user is not any more.
    ///
    /// # Errors
    /// A conflict when the user changed meanwhile.
    pub async fn set_password(
        &self,
        realm: &Realm,
        mut user: User,
        password: &PasswordHash,
        ends_sessions: bool,
    ) -> Result<User> {
        user.person.password = Some(password.to_phc());
        self.put_user(realm, user, ends_sessions).await
    }

    /// Stores a user that was read and changed.
    pub(crate) async fn put_user(&self, realm: &Realm, mut user: User, ends_sessions: bool) -> Result<User> {
        user.row.body = seal_person(realm, user.row.id, &user.person)?;
        match self.catalog.put_user(&user.row, self.now(), ends_sessions).await {
            Ok(()) => {
                user.row.version += 1;
                Ok(user)
            }
            Err(error) => Err(last_way_in(error)),
        }
    }
}

/// Whoever makes a user gives away a whole role, which a narrowed token does not have.
fn require_to_give(by: Option<&Powers>, role: Role) -> Result<()> {
    by.map_or(Ok(()), |by| by.require(role, &Scopes::Whole))
}

fn require_to_take(by: Option<&Powers>, role: Role) -> Result<()> {
    by.map_or(Ok(()), |by| by.require_role(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_in_one_form_and_what_is_none_is_refused() {
        assert_eq!(normalize_email("  Asha@Example.IN ").expect("one"), "asha@example.in");
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "@",
            "a@b",
            "a b@example.com",
            "a@b@example.com",
            "<a@example.com>",
            "a@example..com",
            &long,
        ] {
            assert!(normalize_email(text).is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_have_a_length_and_are_not_the_first_guess() {
        let email = "asha@example.in";
        assert!(check_password("lotus under rain", email).is_ok());
        assert!(check_password(&"ab3\u{e9}!".repeat(80), email).is_ok());
        for bad in [
            "short",
            "aaaaaaaaaaaaaaaa",
            "Password123456",
            "asha@example.in!!",
            &"x1y2z".repeat(200),
        ] {
            assert!(check_password(bad, email).is_err(), "{bad}");
        }
    }
}
