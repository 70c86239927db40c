//! From addresses to a region's parts: which catalog, which object store, which key provider.
//!
//! | part | embedded | scaled |
//! |---|---|---|
//! | catalog | `sqlite:PATH` | `postgres://user@host/database` |
//! | objects | `file:FOLDER` | `s3://bucket/prefix?endpoint=https://host&region=name` |
//! | keys | `file:PATH` | `pkcs11:MODULE?token=LABEL` |

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use callvault_seal::provider::{KeyProvider, PassphraseCost, Pkcs11, Pkcs11Settings, SealedFile};
use callvault_store::{Catalog, Objects, files::Files, postgres::Postgres, s3, sqlite::Sqlite};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    error::{Result, VaultError},
    vault::Parts,
};

/// How long a bucket may leave a request without progress.
const S3_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Where a region's parts are, and the secrets that open them.
#[derive(Clone)]
pub struct RegionConfig {
    /// Name of the region, such as `in`.
    pub region: String,
    /// Address of the catalog.
    pub catalog: String,
    /// Address of the object store.
    pub objects: String,
    /// Address of the key provider.
    pub keys: String,
    /// What opens them.
    pub secrets: Secrets,
    /// This process, among those that work the region.
    pub worker: String,
}

/// Secrets of a region; those that its addresses do not need may be missing.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Passphrase of the key file.
    pub passphrase: Option<Zeroizing<String>>,
    /// User PIN of the PKCS#11 token.
    pub pin: Option<Zeroizing<String>>,
    /// Access key id of the bucket.
    pub s3_access_key: Option<String>,
    /// Secret access key of the bucket.
    pub s3_secret_key: Option<Zeroizing<String>>,
}

/// Opens a region's parts. A key file that does not exist is made.
///
/// # Errors
/// [`VaultError::Invalid`] for an address that is none or a missing secret; those of the stores and the provider.
pub async fn open_parts(config: RegionConfig, clock: Arc<dyn Clock>) -> Result<Parts> {
    let objects = open_objects(&config.objects, &config.secrets).await?;
    if let Some(path) = config.keys.strip_prefix("file:")
        && !Path::new(path).exists()
        && !objects.list("log/").await?.is_empty()
    {
        return Err(VaultError::invalid(
            "keys",
            "the key file is missing, but the object store holds this region's log: put the key file in place",
        ));
    }
    let provider_config = config.clone();
    // Deriving the key file's key takes a while on purpose.
    let provider = tokio::task::spawn_blocking(move || open_keys(&provider_config))
        .await
        .map_err(|_| VaultError::invalid("keys", "the key provider could not be opened"))??;
    Ok(Parts {
        catalog: open_catalog(&config.catalog).await?,
        objects,
        provider,
        clock,
        region: config.region,
        worker: config.worker,
    })
}

/// Opens a catalog by its address.
///
/// # Errors
/// [`VaultError::Invalid`] for another kind of address; those of the store.
pub async fn open_catalog(address: &str) -> Result<Arc<dyn Catalog>> {
    if let Some(path) = address.strip_prefix("sqlite:") {
        return Ok(Arc::new(Sqlite::open(Path::new(path)).await?));
    }
    if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        return Ok(Arc::new(Postgres::open(address).await?));
    }
    Err(VaultError::invalid(
        "catalog",
        "expected sqlite:PATH or postgres://USER@HOST/DATABASE",
    ))
}

/// Opens an object store by its address.
///
/// # Errors
/// [`VaultError::Invalid`] for another kind of address or missing credentials; those of the store.
pub async fn open_objects(address: &str, secrets: &Secrets) -> Result<Arc<dyn Objects>> {
    if let Some(path) = address.strip_prefix("file:") {
        return Ok(Arc::new(Files::open(Path::new(path)).await?));
    }
    if address.starts_with("s3://") {
        return Ok(Arc::new(s3::S3::open(&parse_s3(address, secrets)?).await?));
    }
    Err(VaultError::invalid(
        "objects",
        "expected file:FOLDER or s3://BUCKET/PREFIX?endpoint=URL&region=NAME",
    ))
}

fn parse_s3(address: &str, secrets: &Secrets) -> Result<s3::S3Config> {
    let bad = |reason: &str| VaultError::invalid("objects", reason);
    let url = Url::parse(address).map_err(|_| bad("not an s3:// address"))?;
    let find = |name: &str| {
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let (Some(access_key), Some(secret)) = (&secrets.s3_access_key, &secrets.s3_secret_key) else {
        return Err(bad(
            "the bucket's credentials are not set: CALLVAULT_S3_ACCESS_KEY and CALLVAULT_S3_SECRET_KEY",
        ));
    };
    Ok(s3::S3Config {
        endpoint: find("endpoint").ok_or_else(|| bad("add ?endpoint=https://..."))?,
        region: find("region").ok_or_else(|| bad("add &region=..."))?,
        bucket: url.host_str().ok_or_else(|| bad("names no bucket"))?.to_owned(),
        prefix: url.path().trim_matches('/').to_owned(),
        access_key: access_key.clone(),
        secret_key: secret.to_string(),
        patience: S3_PATIENCE,
    })
}

fn open_keys(config: &RegionConfig) -> Result<Arc<dyn KeyProvider>> {
    if let Some(path) = config.keys.strip_prefix("file:") {
        let path = Path::new(path);
        let catalog = config.catalog.strip_prefix("sqlite:").map(Path::new);
        if catalog.is_some_and(Path::exists) && !path.exists() {
            return Err(VaultError::invalid(
                "keys",
                "the key file is missing, and the catalog cannot be opened without it",
            ));
        }
        return open_key_file(path, &config.secrets);
    }
    if let Some(rest) = config.keys.strip_prefix("pkcs11:") {
        let (module, query) = rest.split_once('?').unwrap_or((rest, ""));
        let token = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "token");
        let (_, token) = token.ok_or_else(|| VaultError::invalid("keys", "add ?token=LABEL"))?;
        let pin = config.secrets.pin.clone();
        let pin = pin.ok_or_else(|| VaultError::invalid("keys", "the token's PIN is not set: CALLVAULT_PKCS11_PIN"))?;
        return Ok(Arc::new(Pkcs11::open(Pkcs11Settings {
            module: PathBuf::from(module),
            token_label: token.into_owned(),
            pin,
            region: config.region.clone(),
        })?));
    }
    Err(VaultError::invalid(
        "keys",
        "expected file:PATH or pkcs11:MODULE?token=LABEL",
    ))
}

fn open_key_file(path: &Path, secrets: &Secrets) -> Result<Arc<dyn KeyProvider>> {
    let passphrase = secrets.passphrase.as_ref().filter(|text| !text.is_empty());
    let passphrase = passphrase.ok_or_else(|| {
        VaultError::invalid(
            "keys",
            "the key file's passphrase is not set: CALLVAULT_PASSPHRASE, or a passphrase file",
        )
    })?;
    let file_error = |source| VaultError::File {
        what: "key file".to_owned(),
        source,
    };
    if path.try_exists().map_err(file_error)? {
        return Ok(Arc::new(SealedFile::open(path, passphrase.as_bytes())?));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(file_error)?;
    }
    Ok(Arc::new(SealedFile::create(
        path,
        passphrase.as_bytes(),
        PassphraseCost::default(),
    )?))
}
