//! Where exports on schedule go: buckets of the public internet, and folders below the one that the operator allows.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use callvault_app::{
    core::AccountSid,
    schedule::{Bucket, Destinations, PlaceError, Target},
    store::{
        Objects, StoreError,
        files::Files,
        s3::{S3, S3Config},
    },
};
use reqwest::Client;
use url::Url;

use crate::courier;

/// How long a bucket may leave a request without progress.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens targets.
pub struct Places {
    client: Client,
    private_targets: bool,
    folder: Option<PathBuf>,
}

impl Places {
    /// Targets of a region. With `private_targets`, buckets may be in private networks and without TLS; without `folder`, no
    /// folder is a target.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(private_targets: bool, folder: Option<PathBuf>) -> Result<Self, reqwest::Error> {
        let client = courier::guarded(private_targets)
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .build()?;
        Ok(Self {
            client,
            private_targets,
            folder,
        })
    }

    fn open_bucket(&self, bucket: &Bucket) -> Result<Arc<dyn Objects>, PlaceError> {
        let forbidden = |reason: &str| PlaceError::Forbidden {
            field: "bucket.endpoint",
            reason: reason.to_owned(),
        };
        let url = Url::parse(&bucket.endpoint).map_err(|_| forbidden("no address"))?;
        if url.scheme() != "https" && !self.private_targets {
            return Err(forbidden("expected https://: what is exported is not sealed"));
        }
        courier::check_host(&url, self.private_targets).map_err(|error| forbidden(&error.to_string()))?;
        let config = S3Config {
            endpoint: bucket.endpoint.trim_end_matches('/').to_owned(),
            region: bucket.region.clone(),
            bucket: bucket.bucket.clone(),
            prefix: bucket.prefix.clone(),
            access_key: bucket.access_key.clone(),
            secret_key: bucket.secret_key.clone(),
            patience: PATIENCE,
        };
        Ok(Arc::new(S3::open_through(&config, self.client.clone())?))
    }
}

#[async_trait]
impl Destinations for Places {
    async fn open(&self, account: &AccountSid, target: &Target) -> Result<Arc<dyn Objects>, PlaceError> {
        match target {
            Target::Bucket(bucket) => self.open_bucket(bucket),
            Target::Folder(path) => {
                let root = self.folder.as_ref().ok_or_else(|| PlaceError::Forbidden {
                    field: "folder",
                    reason: "the operator allows no folder here (`export_folder` of the region); name a bucket"
                        .to_owned(),
                })?;
                // A root that is gone, as one that is not mounted, is not made anew: it may come back.
                if !root.is_dir() {
                    return Err(PlaceError::Store(StoreError::Unavailable {
                        store: "folder for exports",
                        reason: "it is not there".to_owned(),
                    }));
                }
                Ok(Arc::new(Files::open_below(root, account.as_str(), path).await?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(endpoint: &str) -> Target {
        Target::Bucket(Bucket {
            endpoint: endpoint.to_owned(),
            region: "r".to_owned(),
            bucket: "acme-calls".to_owned(),
            prefix: String::new(),
            access_key: "a".to_owned(),
            secret_key: "s".to_owned(),
        })
    }

    #[tokio::test]
    async fn private_and_plain_targets_are_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        listener.set_nonblocking(true).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let places = Places::new(false, None).expect("places");
        let account: AccountSid = "acme".parse().expect("an account");
        for host in ["127.0.0.1", "[::1]", "2130706433", "169.254.169.254"] {
            let opened = places.open(&account, &bucket(&format!("https://{host}:{port}"))).await;
            let refused = opened.err().expect("refused").to_string();
            assert!(refused.contains("private"), "{host}: {refused}");
        }
        let plain = places.open(&account, &bucket("http://s3.example.com")).await;
        assert!(plain.err().expect("refused").to_string().contains("https://"));
        // A name is looked at when it is resolved: nothing is sent.
        let named = places
            .open(&account, &bucket(&format!("https://localhost:{port}")))
            .await;
        assert!(named.expect("opened").put("a", "x".into()).await.is_err());
        assert!(listener.accept().is_err(), "nobody came");
        let folder = places.open(&account, &Target::Folder("a".to_owned())).await;
        assert!(matches!(folder, Err(PlaceError::Forbidden { field: "folder", .. })));
    }

    #[tokio::test]
    async fn a_folder_is_the_accounts_own() {
        let root = tempfile::tempdir().expect("a folder");
        let places = Places::new(false, Some(root.path().to_owned())).expect("places");
        for account in ["acme", "other"] {
            let account: AccountSid = account.parse().expect("an account");
            let place = places.open(&account, &Target::Folder("daily".to_owned())).await;
            let place = place.expect("opened");
            place.put("calls/x.csv", "x".into()).await.expect("written");
        }
        assert!(root.path().join("acme/daily/calls/x.csv").is_file());
        assert!(root.path().join("other/daily/calls/x.csv").is_file());
        let gone = Places::new(false, Some(root.path().join("unmounted"))).expect("places");
        let account: AccountSid = "acme".parse().expect("an account");
        let opened = gone.open(&account, &Target::Folder("daily".to_owned())).await;
        assert!(matches!(opened, Err(PlaceError::Store(StoreError::Unavailable { .. }))));
    }

    #[tokio::test]
    async fn links_lead_nowhere() {
        let root = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        let places = Places::new(false, Some(root.path().to_owned())).expect("places");
        let (acme, other): (AccountSid, AccountSid) =
            ("acme".parse().expect("an account"), "other".parse().expect("one"));
        let daily = Target::Folder("daily".to_owned());
        let kept = places.open(&other, &daily).await.expect("opened");
        kept.put("calls.csv", "x".into()).await.expect("written");
        let abandoned = root.path().join("other/daily/.writing/12-0");
        std::fs::write(&abandoned, "x").expect("written");
        std::fs::create_dir_all(root.path().join("acme/daily")).expect("a folder");
        let link = |to: &std::path::Path, name: &str| {
            std::os::unix::fs::symlink(to, root.path().join("acme").join(name)).expect("a link");
        };
        link(outside.path(), "out");
        link(outside.path(), "daily/linked");
        link(std::path::Path::new("../../other"), "daily/theirs");
        link(&root.path().join("other/daily"), "daily/.writing");
        // Where others' files lie, nothing is removed as abandoned, and nothing is written.
        assert!(places.open(&acme, &daily).await.is_err());
        std::fs::remove_file(root.path().join("acme/daily/.writing")).expect("removed");
        assert!(places.open(&acme, &Target::Folder("out".to_owned())).await.is_err());
        let place = places.open(&acme, &daily).await.expect("opened");
        for name in ["linked/x.csv", "linked/a/x.csv", "theirs/daily/calls.csv"] {
            assert!(place.put(name, "y".into()).await.is_err(), "{name}");
            assert!(place.get(name).await.is_err(), "{name}");
            let _ = place.delete(name).await;
        }
        assert_eq!(std::fs::read_dir(outside.path()).expect("a listing").count(), 0);
        assert!(abandoned.is_file(), "nobody but its account's vault looks there");
        assert_eq!(kept.get("calls.csv").await.expect("read"), "x");
    }

    #[tokio::test]
    async fn only_what_was_being_written_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let writing = folder.path().join(".writing");
        std::fs::create_dir_all(writing.join("7-0")).expect("a folder");
        for name in ["12-0", "12", "notes.txt", "a-1"] {
            std::fs::write(writing.join(name), "x").expect("written");
        }
        Files::open_plain(folder.path()).await.expect("opened");
        let mut left: Vec<_> = std::fs::read_dir(&writing)
            .expect("a listing")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["12", "7-0", "a-1", "notes.txt"]);
    }
}
