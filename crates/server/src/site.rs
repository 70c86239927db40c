//! The regions that this machine works with, opened as they are needed.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

use callvault_app::{
    Clock, Parts, Vault, VaultError,
    assembly::open_parts,
    core::{AccountSid, Plan},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use url::Url;

use crate::{
    config::{Config, ConfigError, Here, Region},
    directory::{Directory, DirectoryError},
    lame::Lame,
    tls::{self, TlsError},
};

/// Why something could not be done for a region or account.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory is unreadable, or knows the account already.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The vault refuses or failed.
    #[error("region {region}: {source}")]
    Vault {
        /// Region.
        region: String,
        /// Why.
        source: VaultError,
    },
    /// Another process works with the region, or replaces it.
    #[error("region {0} is in use by another process: a restore needs it alone, and nothing else runs beside one")]
    Busy(String),
    /// The lock file cannot be made.
    #[error("region {region}: lock file: {source}")]
    Lock {
        /// Region.
        region: String,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate or key that signs vCons cannot be used.
    #[error(transparent)]
    Signer(#[from] TlsError),
    /// Nobody knows the account.
    #[error("no such account")]
    NoAccount,
    /// The region is served by another machine.
    #[error("region {0} is elsewhere; run this on its own machine")]
    Elsewhere(String),
}

/// Configuration, directory and clock together.
pub struct Site {
    /// The configuration.
    pub config: Config,
    /// Where every account lives.
    pub directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    open: Mutex<BTreeMap<String, Arc<Vault>>>,
    locks: Mutex<Vec<Flock<File>>>,
}

impl Site {
    /// A site. Nothing is opened but the directory.
    ///
    /// # Errors
    /// [`SiteError::Directory`].
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Result<Self, SiteError> {
        let directory = Arc::new(Directory::open(&config.directory_file())?);
        Ok(Self {
            config,
            directory,
            clock,
            open: Mutex::default(),
            locks: Mutex::default(),
        })
    }

    /// The doors of all regions.
    #[must_use]
    pub fn doors(&self) -> BTreeMap<String, Url> {
        self.config
            .regions
            .iter()
            .map(|region| (region.name.clone(), region.url.clone()))
            .collect()
    }

    /// Regions that are served here.
    pub fn regions_here(&self) -> impl Iterator<Item = (&Region, &Here)> {
        self.config
            .regions
            .iter()
            .filter_map(|region| Some((region, region.here.as_ref()?)))
    }

    /// How a region is served here.
    ///
    /// # Errors
    /// [`SiteError::Elsewhere`], or when there is none of this name.
    pub fn get_here(&self, name: &str) -> Result<&Here, SiteError> {
        let region = self.config.get_region(name)?;
        region
            .here
            .as_ref()
            .ok_or_else(|| SiteError::Elsewhere(name.to_owned()))
    }

    /// The region that is meant: the one that is named, or the only one that is here.
    ///
    /// # Errors
    /// [`SiteError::Config`] when none is named and there are several, or none.
    pub fn choose_region(&self, named: Option<&str>) -> Result<String, SiteError> {
        let here: Vec<_> = self.regions_here().map(|(region, _)| region.name.as_str()).collect();
        match (named, here.as_slice()) {
            (Some(name), _) => Ok(self.config.get_region(name)?.name.clone()),
            (None, [only]) => Ok((*only).to_owned()),
            (None, _) => Err(SiteError::Config(ConfigError::Value {
                key: "--region".to_owned(),
                reason: format!("say which; here are: {}", here.join(", ")),
            })),
        }
    }

    /// Makes this process the only one of this machine that works with a region, until it ends.
    ///
    /// # Errors
    /// [`SiteError::Busy`] while another does.
    pub fn lock_region(&self, name: &str) -> Result<(), SiteError> {
        self.lock(name, FlockArg::LockExclusiveNonblock)
    }

    /// A lock file in the region's folder: shared by those that work with the region, alone for who replaces it.
    fn lock(&self, name: &str, how: FlockArg) -> Result<(), SiteError> {
        let folder = &self.get_here(name)?.folder;
        let failed = |source| SiteError::Lock {
            region: name.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let file = options.open(folder.join("lock")).map_err(failed)?;
        match Flock::lock(file, how) {
            Ok(lock) => {
                self.locks.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
                Ok(())
            }
            Err((_, Errno::EWOULDBLOCK)) => Err(SiteError::Busy(name.to_owned())),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The parts of a region, not joined to a vault.
    ///
    /// # Errors
    /// [`SiteError`].
    pub async fn open_parts(&self, name: &str) -> Result<Parts, SiteError> {
        let stores = self.get_here(name)?.stores.clone();
        open_parts(stores, Arc::clone(&self.clock))
            .await
            .map_err(|source| in_region(name, source))
    }

    /// A region's vault; opened once.
    ///
    /// # Errors
    /// [`SiteError`].
    pub async fn open_vault(&self, name: &str) -> Result<Arc<Vault>, SiteError> {
        let known = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if let Some(vault) = known {
            return Ok(vault);
        }
        self.lock(name, FlockArg::LockSharedNonblock)?;
        let parts = self.open_parts(name).await?;
        let vault = Vault::open(parts).await.map_err(|source| in_region(name, source))?;
        let mut vault = vault.with_mp3_encoder(Arc::new(Lame::new(&self.config.mp3_encoder)));
        if let Some((cert, key)) = &self.get_here(name)?.vcon {
            vault = vault.with_vcon_signer(tls::open_signer(cert, key)?);
        }
        let vault = Arc::new(vault);
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Arc::clone(&vault));
        Ok(vault)
    }

    /// The vault of an account's region.
    ///
    /// # Errors
    /// [`SiteError::NoAccount`] when the directory does not know it, and every region that is here is as it should be:
    /// what a lost catalog or an unfinished restore leaves of the directory says nothing.
    pub async fn open_vault_of(&self, account: &AccountSid) -> Result<Arc<Vault>, SiteError> {
        match self.directory.find(account)? {
            Some(region) => self.open_vault(&region).await,
            None => {
                self.open_here().await?;
                Err(SiteError::NoAccount)
            }
        }
    }

    /// Opens every region that is here.
    ///
    /// # Errors
    /// [`SiteError`] of the first that cannot be opened.
    pub async fn open_here(&self) -> Result<(), SiteError> {
        for (region, _) in self.regions_here() {
            self.open_vault(&region.name).await?;
        }
        Ok(())
    }

    /// Creates an account in a region. What can be refused is refused before the directory is written. The directory
    /// comes first: a name that a crash leaves there without an account is shown nowhere, and creating it again goes on.
    ///
    /// # Errors
    /// [`SiteError`].
    pub async fn create_account(
        &self,
        account: &AccountSid,
        region: &str,
        plan: Plan,
        country: &str,
    ) -> Result<(), SiteError> {
        let vault = self.open_vault(region).await?;
        callvault_app::account::check_country(country).map_err(|source| in_region(region, source))?;
        match self.directory.add(account, region) {
            Ok(()) => {}
            Err(DirectoryError::Taken(known)) if known == region => {}
            Err(error) => return Err(error.into()),
        }
        vault
            .create_account(account, plan, country)
            .await
            .map_err(|source| in_region(region, source))
    }
}

fn in_region(region: &str, source: VaultError) -> SiteError {
    SiteError::Vault {
        region: region.to_owned(),
        source,
    }
}
