//! Where exports go: what a target may be, and who opens it.

use std::sync::Arc;

use async_trait::async_trait;
use callvault_core::AccountSid;
use callvault_store::{Objects, StoreError, objects::check_name};

use super::{Bucket, Target};
use crate::error::{Result, VaultError};

/// The longest text of a target's part.
const MAX_PART_BYTES: usize = 512;

/// Why a target cannot be opened. Without credentials.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It may not be a target: a private address, a folder where none is allowed.
    #[error("{reason}")]
    Forbidden {
        /// The field of the target.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// It does not answer, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PlaceError> for VaultError {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Forbidden { field, reason } => Self::invalid(field, reason),
            PlaceError::Store(error) => error.into(),
        }
    }
}

/// Opens targets.
#[async_trait]
pub trait Destinations: Send + Sync {
    /// A target of this account. Whether it answers, the first object that is written shows.
    async fn open(&self, account: &AccountSid, target: &Target) -> std::result::Result<Arc<dyn Objects>, PlaceError>;
}

/// No target may be opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDestinations;

#[async_trait]
impl Destinations for NoDestinations {
    async fn open(&self, _: &AccountSid, _: &Target) -> std::result::Result<Arc<dyn Objects>, PlaceError> {
        Err(PlaceError::Forbidden {
            field: "target",
            reason: "this vault exports nothing on schedule".to_owned(),
        })
    }
}

impl Target {
    /// What tells it from other targets; whose keys write there is no part of it.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Bucket(bucket) => format!("{}/{}/{}", bucket.endpoint, bucket.bucket, bucket.prefix),
            Self::Folder(folder) => folder.clone(),
        }
    }

    /// Whether it has the form of one.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Bucket(bucket) => bucket.check(),
            Self::Folder(folder) => check_path("folder", folder),
        }
    }
}

impl Bucket {
    fn check(&self) -> Result<()> {
        let url = url::Url::parse(&self.endpoint).ok();
        let is_bare = |url: &url::Url| {
            matches!(url.scheme(), "https" | "http")
                && url.has_host()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        if self.endpoint.len() > MAX_PART_BYTES || !url.as_ref().is_some_and(is_bare) {
            return Err(VaultError::invalid(
                "bucket.endpoint",
                "expected https://HOST, without a path",
            ));
        }
        let name = |text: &str| {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
            (3..=63).contains(&text.len()) && text.bytes().all(good) && !text.starts_with(['-', '.'])
        };
        if !name(&self.bucket) {
            let reason = "expected 3 to 63 characters of a-z, 0-9, `-` and `.`";
            return Err(VaultError::invalid("bucket.name", reason));
        }
        if !self.prefix.is_empty() {
            check_path("bucket.prefix", &self.prefix)?;
        }
        let printable =
            |text: &str| (1..=MAX_PART_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        for (field, text) in [
            ("bucket.region", &self.region),
            ("bucket.access_key", &self.access_key),
            ("bucket.secret_key", &self.secret_key),
        ] {
            if !printable(text) {
                return Err(VaultError::invalid(
                    field,
                    "expected 1 to 512 printable ASCII characters",
                ));
            }
        }
        Ok(())
    }
}

fn check_path(field: &'static str, path: &str) -> Result<()> {
    let reason = "expected a relative path of letters, digits, `.`, `_` and `-`, no part of which begins with a dot";
    match path.len() <= MAX_PART_BYTES && check_name(path).is_ok() {
        true => Ok(()),
        false => Err(VaultError::invalid(field, reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_where_they_belong() {
        for folder in ["", "..", "/etc", "a/../b", ".ssh", "a//b", "a b"] {
            assert!(Target::Folder(folder.to_owned()).check().is_err(), "{folder:?}");
        }
        assert!(Target::Folder("calls/2026".to_owned()).check().is_ok());
        let good = Bucket {
            endpoint: "https://s3.example.com".to_owned(),
            region: "r".to_owned(),
            bucket: "acme-calls".to_owned(),
            prefix: String::new(),
            access_key: "a".to_owned(),
            secret_key: "s".to_owned(),
        };
        assert!(good.check().is_ok());
        let (mut renewed, mut other) = (good.clone(), good.clone());
        "t".clone_into(&mut renewed.secret_key);
        "p".clone_into(&mut other.prefix);
        assert_eq!(
            Target::Bucket(renewed).place(),
            Target::Bucket(good.clone()).place(),
            "new keys make no new place"
        );
        assert_ne!(Target::Bucket(other).place(), Target::Bucket(good.clone()).place());
        let field = |change: &dyn Fn(&mut Bucket)| {
            let mut bucket = good.clone();
            change(&mut bucket);
            match bucket.check() {
                Err(VaultError::Invalid { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        for endpoint in ["ftp://a", "https://u:p@h", "https://h/p", "https://h?x=1", "h", ""] {
            assert_eq!(
                field(&|bucket| bucket.endpoint = endpoint.to_owned()),
                "bucket.endpoint",
                "{endpoint}"
            );
        }
        assert_eq!(field(&|bucket| bucket.bucket = "A".to_owned()), "bucket.name");
        assert_eq!(field(&|bucket| bucket.prefix = "../x".to_owned()), "bucket.prefix");
        assert_eq!(
            field(&|bucket| bucket.secret_key = "a\nb".to_owned()),
            "bucket.secret_key"
        );
    }
}
