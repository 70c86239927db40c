//! Objects in a bucket of any S3-compatible store.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _,
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    client::{HttpClient, HttpConnector},
    path::Path,
};

use crate::{
    Objects, StoreError, Upload,
    objects::{ObjectInfo, check_name},
};

const STORE: &str = "object store";
/// Size of the parts of a multipart upload; S3 wants 5 MiB or more. Smaller objects are one request.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// How often a request is tried again.
const RETRIES: usize = 4;

/// Where a bucket is and who may use it.
#[derive(Clone)]
pub struct S3Config {
    /// `https://host[:port]`; `http` only where the network is private, the bytes are sealed either way.
    pub endpoint: String,
    /// Region's name, part of the signature.
    pub region: String,
    /// Bucket.
    pub bucket: String,
    /// What every object's name begins with, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// How long a request may be without progress, and how long one is tried again.
    pub patience: Duration,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

/// Every request goes through one client.
#[derive(Debug)]
struct Through(reqwest::Client);

impl HttpConnector for Through {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// An object store in a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3 {
    bucket: Arc<AmazonS3>,
    prefix: String,
    place: String,
}

impl S3 {
    /// Opens a bucket and checks that it answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the bucket cannot be reached or refuses the keys, which are not in its text.
    pub async fn open(config: &S3Config) -> Result<Self, StoreError> {
        let opened = Self::prepare(config, None)?;
        let start = Path::from(format!("{}opened", opened.prefix));
        match opened.bucket.list(Some(&start)).try_next().await {
            Ok(_) => Ok(opened),
            Err(Error::NotFound { .. }) => Err(unavailable("there is no such bucket")),
            Err(error) => Err(store_error(&error)),
        }
    }

    /// Opens a bucket that is reached through this client alone, without asking whether it answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for settings that are not valid.
    pub fn open_through(config: &S3Config, client: reqwest::Client) -> Result<Self, StoreError> {
        Self::prepare(config, Some(Through(client)))
    }

    fn prepare(config: &S3Config, through: Option<Through>) -> Result<Self, StoreError> {
        // Who installed a provider before keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if !config.prefix.is_empty() {
            check_name(&config.prefix)?;
        }
        let client = ClientOptions::new()
            .with_allow_http(config.endpoint.starts_with("http://"))
            .with_connect_timeout(config.patience.min(Duration::from_secs(5)))
            .with_read_timeout(config.patience)
            .with_timeout(20 * config.patience);
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        };
        let mut builder = AmazonS3Builder::new();
        if let Some(through) = through {
            builder = builder.with_http_connector(through);
        }
        let bucket = builder
            .with_endpoint(&config.endpoint)
            .with_region(&config.region)
            .with_bucket_name(&config.bucket)
            .with_access_key_id(&config.access_key)
            .with_secret_access_key(&config.secret_key)
            .with_virtual_hosted_style_request(false)
            .with_client_options(client)
            .with_retry(RetryConfig {
                backoff,
                max_retries: RETRIES,
                retry_timeout: config.patience,
            })
            .build()
            .map_err(|_| unavailable("its settings are not valid"))?;
        let place = format!("bucket {}/{} at {}", config.bucket, config.prefix, config.endpoint);
        let prefix = if config.prefix.is_empty() {
            String::new()
        } else {
            format!("{}/", config.prefix)
        };
        Ok(Self {
            bucket: Arc::new(bucket),
            prefix,
            place,
        })
    }

    fn path(&self, name: &str) -> Result<Path, StoreError> {
        check_name(name)?;
        Path::parse(format!("{}{name}", self.prefix)).map_err(|_| unavailable("a name is not an object's name"))
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        store: STORE,
        reason: reason.to_owned(),
    }
}

/// Sorts an answer. Its text is not passed on: it may carry what the server was sent.
fn store_error(error: &Error) -> StoreError {
    match error {
        Error::NotFound { .. } => StoreError::NotFound { what: "object" },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } if !names_full(error) => {
            unavailable("it refuses the access key")
        }
        _ if names_full(error) => StoreError::Full { store: STORE },
        Error::Generic { .. } => unavailable("no good answer in time"),
        _ => unavailable("an unexpected answer"),
    }
}

/// S3 knows no answer for "full" that all servers share; these are the ones in use.
fn names_full(error: &Error) -> bool {
    let text = error.to_string();
    [
        "507 Insufficient Storage",
        "InsufficientStorage",
        "StorageFull",
        "QuotaExceeded",
        "quota",
    ]
    .iter()
    .any(|word| text.contains(word))
}

#[async_trait]
impl Objects for S3 {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() > PART_BYTES {
            let mut upload = self.begin(name).await?;
            upload.write(bytes).await?;
            return upload.finish().await;
        }
        let path = self.path(name)?;
        self.bucket
            .put(&path, bytes.into())
            .await
            .map(|_| ())
            .map_err(|error| store_error(&error))
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn Upload>, StoreError> {
        let path = self.path(name)?;
        Ok(Box::new(S3Upload {
            bucket: self.bucket.clone(),
            path,
            parts: None,
            gathered: BytesMut::new(),
        }))
    }

    async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let path = self.path(name)?;
        let found = self.bucket.get(&path).await.map_err(|error| store_error(&error))?;
        found.bytes().await.map_err(|error| store_error(&error))
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = self.path(name)?;
        if range.is_empty() {
            return match self.find_size(name).await? {
                Some(_) => Ok(Bytes::new()),
                None => Err(StoreError::NotFound { what: "object" }),
            };
        }
        let start = range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let error = match self.bucket.get_opts(&path, options).await {
            Ok(found) => return found.bytes().await.map_err(|error| store_error(&error)),
            Err(error) => store_error(&error),
        };
        // A range behind the end is an error of S3, and an empty answer here.
        match self.find_size(name).await {
            Ok(Some(size)) if start >= size => Ok(Bytes::new()),
            _ => Err(error),
        }
    }

    async fn find_size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        match self.bucket.head(&self.path(name)?).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(store_error(&error)),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.bucket.delete(&self.path(name)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(store_error(&error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let part = prefix.trim_end_matches('/');
        let whole = if part.is_empty() {
            self.prefix.trim_end_matches('/').to_owned()
        } else {
            self.path(part)?.to_string()
        };
        let start = (!whole.is_empty()).then(|| Path::from(whole));
        let mut listed = self.bucket.list(start.as_ref());
        let mut found = Vec::new();
        while let Some(object) = listed.try_next().await.map_err(|error| store_error(&error))? {
            if let Some(name) = object.location.as_ref().strip_prefix(&self.prefix) {
                found.push(ObjectInfo {
                    name: name.to_owned(),
                    bytes: object.size,
                });
            }
        }
        Ok(found)
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// An upload. Nothing is sent before the first part is full, so that a small object is one request.
struct S3Upload {
    bucket: Arc<AmazonS3>,
    path: Path,
    parts: Option<Box<dyn MultipartUpload>>,
    gathered: BytesMut,
}

impl S3Upload {
    async fn send_part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => none.insert(
                self.bucket
                    .put_multipart(&self.path)
                    .await
                    .map_err(|error| store_error(&error))?,
            ),
        };
        parts.put_part(bytes.into()).await.map_err(|error| store_error(&error))
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.gathered.extend_from_slice(&bytes);
        while self.gathered.len() >= PART_BYTES {
            let part = self.gathered.split_to(PART_BYTES).freeze();
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let rest = self.gathered.split().freeze();
        if self.parts.is_none() {
            return self
                .bucket
                .put(&self.path, rest.into())
                .await
                .map(|_| ())
                .map_err(|error| store_error(&error));
        }
        if !rest.is_empty() {
            self.send_part(rest).await?;
        }
        match &mut self.parts {
            Some(parts) => parts.complete().await.map_err(|error| store_error(&error))?,
            None => return Ok(()),
        };
        self.parts = None;
        Ok(())
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        match self.parts.take() {
            Some(mut parts) => parts.abort().await.map_err(|error| store_error(&error)),
            None => Ok(()),
        }
    }
}

impl Drop for S3Upload {
    /// Gives the parts back in the background, as far as the runtime still works.
    fn drop(&mut self) {
        if let (Some(mut parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { parts.abort().await });
        }
    }
}
