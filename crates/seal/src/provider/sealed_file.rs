//! The default key provider: one file, sealed under a passphrase.
//!
//! ```text
//! header   = "CVKEYS1\n" || u32be memory in KiB || u32be passes || u32be lanes || salt (16)
//! kek      = Argon2id 1.3 (RFC 9106) of the passphrase with the header's salt and cost, 32 bytes
//! content  = permanent root (32) || u64be log size || u32be n || n times (u64be epoch || root (32))
//! file     = header || envelope(kek, associated data = header, content) || SHA-256 of all before
//! ```
//! The checksum tells a damaged file from a wrong passphrase; it protects nothing. Nothing of the content is kept in
//! memory: every call reads the file anew, under a lock beside it, so a root that another process destroyed cannot be
//! used or written back.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::{KeyProvider, ProviderError, Root};
use crate::{KEY_BYTES, SealError, SecretKey, envelope, random_bytes};

const MAGIC: &[u8; 8] = b"CVKEYS1\n";
const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + 12 + SALT_BYTES;
const CHECKSUM_BYTES: usize = 32;
/// No file of ours is larger; a larger one is not read into memory.
const MOST_FILE_BYTES: u64 = 16 << 20;
/// Bounds on what a file's header may ask for, so that a hostile one cannot exhaust the machine.
const MOST_MEMORY_KIB: u32 = 4 << 20;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 64;

/// What guessing a passphrase costs: the parameters of Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// Next to nothing: for tests and simulated worlds, never for a key that matters.
    pub const TEST: Self = Self {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
}

impl Default for PassphraseCost {
    /// 64 MiB and three passes, the second recommendation of RFC 9106, section 4, on one lane.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }
}

/// A key file, opened with its passphrase.
pub struct SealedFile {
    path: PathBuf,
    header: [u8; HEADER_BYTES],
    kek: SecretKey,
}

/// The file's content, in memory only while one call lasts.
struct Content {
    permanent: SecretKey,
    log_size: u64,
    epochs: BTreeMap<u64, SecretKey>,
}

impl SealedFile {
    /// Makes a new key file with a new permanent root.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] when the file exists; [`ProviderError::Unavailable`].
    pub fn create(path: &Path, passphrase: &[u8], cost: PassphraseCost) -> Result<Self, ProviderError> {
        let file = Self::with_new_header(path, passphrase, cost)?;
        let _lock = file.lock(true)?;
        if path.try_exists().map_err(unavailable)? {
            return Err(ProviderError::Refused("the key file exists already".to_owned()));
        }
        let content = Content {
            permanent: SecretKey::generate()?,
            log_size: 0,
            epochs: BTreeMap::new(),
        };
        file.replace(&content)?;
        Ok(file)
    }

    /// Opens a key file.
    ///
    /// # Errors
    /// [`ProviderError::WrongPassphrase`], [`ProviderError::Damaged`], [`ProviderError::Unavailable`] when it cannot
    /// be read, [`ProviderError::Refused`] when others than its owner may read it.
    pub fn open(path: &Path, passphrase: &[u8]) -> Result<Self, ProviderError> {
        let bytes = {
            let _lock = lock(path, false)?;
            read(path)?
        };
        let header: [u8; HEADER_BYTES] = bytes
            .get(..HEADER_BYTES)
            .and_then(|h| h.try_into().ok())
            .ok_or(ProviderError::Damaged("cut short"))?;
        let (cost, salt) = parse_header(&header)?;
        check_sum(&bytes)?;
        let file = Self {
            path: path.to_owned(),
            header,
            kek: derive_kek(passphrase, salt, cost)?,
        };
        file.load()?;
        Ok(file)
    }

    /// Seals the file anew under another passphrase; other processes must open it again. Copies made before still
    /// open with the old passphrase.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn change_passphrase(self, passphrase: &[u8], cost: PassphraseCost) -> Result<Self, ProviderError> {
        let changed = Self::with_new_header(&self.path, passphrase, cost)?;
        let _lock = self.lock(true)?;
        changed.replace(&self.load()?)?;
        Ok(changed)
    }

    fn with_new_header(path: &Path, passphrase: &[u8], cost: PassphraseCost) -> Result<Self, ProviderError> {
        let salt: [u8; SALT_BYTES] = random_bytes()?;
        let mut bytes = MAGIC.to_vec();
        for number in [cost.memory_kib, cost.passes, cost.lanes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&salt);
        let header = bytes.try_into().map_err(|_| ProviderError::Damaged("header"))?;
        parse_header(&header).map_err(|_| ProviderError::Refused("passphrase cost out of bounds".to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            header,
            kek: derive_kek(passphrase, salt, cost)?,
        })
    }

    fn lock(&self, exclusive: bool) -> Result<File, ProviderError> {
        lock(&self.path, exclusive)
    }

    fn read_content(&self) -> Result<Content, ProviderError> {
        let _lock = self.lock(false)?;
        self.load()
    }

    /// Reads and opens the file; the caller holds the lock.
    fn load(&self) -> Result<Content, ProviderError> {
        let bytes = read(&self.path)?;
        check_sum(&bytes)?;
        let body = bytes
            .strip_prefix(&self.header)
            .and_then(|rest| rest.get(..rest.len().checked_sub(CHECKSUM_BYTES)?));
        // Another header means that the passphrase was changed since this process opened the file.
        let body = body.ok_or(ProviderError::WrongPassphrase)?;
        match envelope::open(&self.kek, &self.header, body) {
            Ok(plain) => Content::parse(&Zeroizing::new(plain)).ok_or(ProviderError::Damaged("content")),
            Err(SealError::NotAuthentic) => Err(ProviderError::WrongPassphrase),
            Err(_) => Err(ProviderError::Damaged("envelope")),
        }
    }

    /// Reads, changes and writes the file under one exclusive lock. `change` says whether it changed anything.
    fn update(&self, change: impl FnOnce(&mut Content) -> Result<bool, ProviderError>) -> Result<(), ProviderError> {
        let _lock = self.lock(true)?;
        let mut content = self.load()?;
        if change(&mut content)? {
            self.replace(&content)
        } else {
            Ok(())
        }
    }

    /// Writes beside the file, renames over it, and overwrites what was there; the caller holds the exclusive lock.
    fn replace(&self, content: &Content) -> Result<(), ProviderError> {
        let mut bytes = self.header.to_vec();
        bytes.extend_from_slice(&envelope::seal(&self.kek, &self.header, &content.to_bytes()?)?);
        let checksum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(checksum.as_ref());

        let temporary = beside(&self.path, ".tmp");
        // One left by a crash may hold roots that are destroyed since.
        wipe(OpenOptions::new().write(true).open(&temporary));
        let previous = OpenOptions::new().write(true).open(&self.path);
        write_new(&temporary, &bytes)
            .and_then(|()| fs::rename(&temporary, &self.path))
            .and_then(|()| sync_parent(&self.path))
            .map_err(unavailable)?;
        wipe(previous);
        Ok(())
    }

    fn root(&self, root: Root) -> Result<SecretKey, ProviderError> {
        let mut content = self.read_content()?;
        match root {
            Root::Permanent => Ok(content.permanent.clone()),
            Root::Epoch(epoch) => content.epochs.remove(&epoch).ok_or(ProviderError::UnknownEpoch(epoch)),
        }
    }
}

impl KeyProvider for SealedFile {
    fn kind(&self) -> &'static str {
        "sealed-file"
    }

    fn create_epoch_root(&self, epoch: u64) -> Result<(), ProviderError> {
        let root = SecretKey::generate()?;
        self.update(|content| {
            let missing = !content.epochs.contains_key(&epoch);
            content.epochs.entry(epoch).or_insert(root);
            Ok(missing)
        })
    }

    fn destroy_epoch_root(&self, epoch: u64) -> Result<(), ProviderError> {
        self.update(|content| Ok(content.epochs.remove(&epoch).is_some()))
    }

    fn list_epoch_roots(&self) -> Result<Vec<u64>, ProviderError> {
        Ok(self.read_content()?.epochs.into_keys().collect())
    }

    fn wrap(&self, root: Root, context: &[u8], secret: &[u8]) -> Result<Vec<u8>, ProviderError> {
        Ok(envelope::seal(&self.root(root)?, context, secret)?)
    }

    fn unwrap(&self, root: Root, context: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        Ok(Zeroizing::new(envelope::open(&self.root(root)?, context, wrapped)?))
    }

    fn note_log_size(&self, size: u64) -> Result<(), ProviderError> {
        // Most calls bring nothing new, and those need no exclusive lock.
        if self.log_size()? >= size {
            return Ok(());
        }
        self.update(|content| {
            let larger = size > content.log_size;
            content.log_size = content.log_size.max(size);
            Ok(larger)
        })
    }

    fn log_size(&self) -> Result<u64, ProviderError> {
        Ok(self.read_content()?.log_size)
    }
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Content {
    fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        let count =
            u32::try_from(self.epochs.len()).map_err(|_| ProviderError::Refused("too many epochs".to_owned()))?;
        // Reserved whole, so that the buffer never moves and leaves keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(44 + self.epochs.len() * (8 + KEY_BYTES)));
        bytes.extend_from_slice(self.permanent.expose());
        bytes.extend_from_slice(&self.log_size.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        for (epoch, root) in &self.epochs {
            bytes.extend_from_slice(&epoch.to_be_bytes());
            bytes.extend_from_slice(root.expose());
        }
        Ok(bytes)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (permanent, rest) = bytes.split_at_checked(KEY_BYTES)?;
        let (log_size, rest) = rest.split_first_chunk::<8>()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        let mut epochs = BTreeMap::new();
        for _ in 0..u32::from_be_bytes(*count) {
            let (epoch, after) = rest.split_first_chunk::<8>()?;
            let (root, after) = after.split_at_checked(KEY_BYTES)?;
            epochs.insert(u64::from_be_bytes(*epoch), SecretKey::from_slice(root).ok()?);
            rest = after;
        }
        let permanent = SecretKey::from_slice(permanent).ok()?;
        rest.is_empty().then_some(Self {
            permanent,
            log_size: u64::from_be_bytes(*log_size),
            epochs,
        })
    }
}

fn parse_header(header: &[u8; HEADER_BYTES]) -> Result<(PassphraseCost, [u8; SALT_BYTES]), ProviderError> {
    let damaged = ProviderError::Damaged("not a key file of this version");
    let parsed = || {
        let rest = header.strip_prefix(MAGIC)?;
        let (memory, rest) = rest.split_first_chunk::<4>()?;
        let (passes, rest) = rest.split_first_chunk::<4>()?;
        let (lanes, salt) = rest.split_first_chunk::<4>()?;
        let [memory_kib, passes, lanes] = [memory, passes, lanes].map(|bytes| u32::from_be_bytes(*bytes));
        Some((
            PassphraseCost {
                memory_kib,
                passes,
                lanes,
            },
            salt.try_into().ok()?,
        ))
    };
    let (cost, salt) = parsed().ok_or_else(|| damaged.clone())?;
    let in_bounds = (8..=MOST_MEMORY_KIB).contains(&cost.memory_kib)
        && (1..=MOST_PASSES).contains(&cost.passes)
        && (1..=MOST_LANES).contains(&cost.lanes);
    if in_bounds { Ok((cost, salt)) } else { Err(damaged) }
}

fn derive_kek(passphrase: &[u8], salt: [u8; SALT_BYTES], cost: PassphraseCost) -> Result<SecretKey, ProviderError> {
    let refused = |error: argon2::Error| ProviderError::Refused(format!("passphrase: {error}"));
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).map_err(refused)?;
    let mut kek = Zeroizing::new([0; KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &salt, kek.as_mut_slice())
        .map_err(refused)?;
    Ok(SecretKey::from_bytes(*kek))
}

fn check_sum(bytes: &[u8]) -> Result<(), ProviderError> {
    let sound = bytes.split_last_chunk::<CHECKSUM_BYTES>();
    let sound = sound.is_some_and(|(body, checksum)| digest(&SHA256, body).as_ref() == checksum);
    if sound {
        Ok(())
    } else {
        Err(ProviderError::Damaged("checksum"))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Locks the file beside the key file until the returned handle is dropped.
fn lock(path: &Path, exclusive: bool) -> Result<File, ProviderError> {
    let options = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .to_owned();
    let file = options.open(beside(path, ".lock")).map_err(unavailable)?;
    if exclusive { file.lock() } else { file.lock_shared() }.map_err(unavailable)?;
    Ok(file)
}

fn read(path: &Path) -> Result<Vec<u8>, ProviderError> {
    let mut file = File::open(path).map_err(unavailable)?;
    let metadata = file.metadata().map_err(unavailable)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(ProviderError::Refused(
            "others than its owner may read the key file (wants mode 0600)".to_owned(),
        ));
    }
    if metadata.len() > MOST_FILE_BYTES {
        return Err(ProviderError::Damaged("too large"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unavailable)?;
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Overwrites a file's bytes in place. Best effort: a copy-on-write file system or a flash drive may keep the old
/// ones, which is why the file is sealed in the first place.
fn wipe(file: io::Result<File>) {
    let overwritten = file.and_then(|mut file| {
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        file.write_all(&vec![0; bytes])?;
        file.sync_all()
    });
    // The new state is in place whether or not this succeeds.
    let _ = overwritten;
}

fn unavailable(error: io::Error) -> ProviderError {
    ProviderError::Unavailable(error.kind().to_string())
}
