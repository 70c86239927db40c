//! A key provider on a PKCS#11 token (HSM, smart card, SoftHSM): the roots are AES-256 keys that are made on the
//! token and never leave it.
//!
//! Objects, by label: `callvault/<region>/root`, `callvault/<region>/epoch/<n>` (secret keys, sensitive, not
//! extractable) and `callvault/<region>/log-size` (private data, u64be). Wrapped bytes have the form of
//! [`envelope`](crate::envelope), encrypted by the token with `CKM_AES_GCM` and the context as associated data.

use std::{
    collections::BTreeMap,
    env, fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module},
    error::{Error, RvError},
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use zeroize::Zeroizing;

use super::{KeyProvider, ProviderError, Root};
use crate::{envelope, random_bytes};

/// The environment variable that names the module.
const MODULE_VARIABLE: &str = "CALLVAULT_PKCS11_MODULE";
/// Where SoftHSM 2 lies on common systems.
const USUAL_MODULES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];
const NONCE_BYTES: usize = 12;

/// The PKCS#11 module that `CALLVAULT_PKCS11_MODULE` names, or else SoftHSM 2 if it lies in a usual place.
#[must_use]
pub fn find_pkcs11_module() -> Option<PathBuf> {
    match env::var_os(MODULE_VARIABLE) {
        Some(named) => Some(PathBuf::from(named)),
        None => USUAL_MODULES.iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

/// Which token, and whose keys on it.
#[derive(Clone)]
pub struct Pkcs11Settings {
    /// The module's shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token_label: String,
    /// The user PIN.
    pub pin: Zeroizing<String>,
    /// The region, part of every object's label.
    pub region: String,
}

impl fmt::Debug for Pkcs11Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Settings")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// A region's roots on a token.
pub struct Pkcs11 {
    settings: Pkcs11Settings,
    module: Module,
    session: Mutex<Option<Session>>,
}

impl Pkcs11 {
    /// Logs in to the token, and makes the permanent root if there is none.
    ///
    /// # Errors
    /// [`ProviderError::WrongPassphrase`] for a wrong PIN; [`ProviderError::Unavailable`] when module or token are
    /// missing; [`ProviderError::Refused`] when the token does not allow what is needed.
    pub fn open(settings: Pkcs11Settings) -> Result<Self, ProviderError> {
        let module = load_module(&settings.module)?;
        let provider = Self {
            settings,
            module,
            session: Mutex::new(None),
        };
        provider.create_root(Root::Permanent)?;
        Ok(provider)
    }

    fn label(&self, root: Root) -> String {
        match root {
            Root::Permanent => format!("callvault/{}/root", self.settings.region),
            Root::Epoch(epoch) => format!("{}{epoch}", self.epoch_prefix()),
        }
    }

    fn epoch_prefix(&self) -> String {
        format!("callvault/{}/epoch/", self.settings.region)
    }

    fn log_size_label(&self) -> String {
        format!("callvault/{}/log-size", self.settings.region)
    }

    /// Runs `work` in a logged-in session, and once more in a new one if the session or the token went away.
    fn with_session<T>(&self, work: impl Fn(&Session) -> Result<T, Error>) -> Result<T, ProviderError> {
        let mut slot: MutexGuard<'_, Option<Session>> = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = slot.is_none();
        loop {
            let session = match slot.take() {
                Some(session) => session,
                None => self.log_in()?,
            };
            match work(&session) {
                Err(error) if is_lost(&error) => {
                    if fresh {
                        return Err(ProviderError::Unavailable(describe(&error)));
                    }
                    fresh = true;
                }
                done => {
                    *slot = Some(session);
                    return done.map_err(|error| translate(&error));
                }
            }
        }
    }

    fn log_in(&self) -> Result<Session, ProviderError> {
        let slots = self.module.get_slots_with_token().map_err(|error| translate(&error))?;
        let wanted = slots.into_iter().find(|slot| {
            self.module
                .get_token_info(*slot)
                .is_ok_and(|token| token.label().trim_end() == self.settings.token_label)
        });
        let slot = wanted.ok_or_else(|| ProviderError::Unavailable("no token with the configured label".to_owned()))?;
        let session = self.module.open_rw_session(slot).map_err(|error| translate(&error))?;
        let pin = AuthPin::from(self.settings.pin.as_str().to_owned());
        match session.login(UserType::User, Some(&pin)) {
            // Logging in counts for the whole process, so another region's provider may have done it.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(translate(&error)),
        }
    }

    fn create_root(&self, root: Root) -> Result<(), ProviderError> {
        let label = self.label(root);
        self.with_session(|session| {
            for tries_left in (0..MAKING_TRIES).rev() {
                if !find_keys(session, &label)?.is_empty() {
                    break;
                }
                match session.generate_key(&Mechanism::AesKeyGen, &key_template(&label)) {
                    Err(error) if tries_left > 0 && !is_lost(&error) => {}
                    done => return done.map(|_| ()),
                }
            }
            Ok(())
        })
    }

    /// The keys of a root: one, or more if two processes made it at the same moment.
    fn get_keys(&self, root: Root) -> Result<Vec<ObjectHandle>, ProviderError> {
        let label = self.label(root);
        let keys = self.with_session(|session| find_keys(session, &label))?;
        match (keys.is_empty(), root) {
            (false, _) => Ok(keys),
            (true, Root::Epoch(epoch)) => Err(ProviderError::UnknownEpoch(epoch)),
            (true, Root::Permanent) => Err(ProviderError::Damaged("the token has lost the permanent root")),
        }
    }
}

impl KeyProvider for Pkcs11 {
    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn create_epoch_root(&self, epoch: u64) -> Result<(), ProviderError> {
        self.create_root(Root::Epoch(epoch))
    }

    fn destroy_epoch_root(&self, epoch: u64) -> Result<(), ProviderError> {
        let label = self.label(Root::Epoch(epoch));
        let left = self.with_session(|session| {
            for key in find_keys(session, &label)? {
                match session.destroy_object(key) {
                    // Another process was faster.
                    Ok(()) | Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => {}
                    Err(error) => return Err(error),
                }
            }
            find_keys(session, &label)
        })?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(ProviderError::Refused("the token keeps the key".to_owned()))
        }
    }

    fn list_epoch_roots(&self) -> Result<Vec<u64>, ProviderError> {
        let prefix = self.epoch_prefix();
        let mut epochs = self.with_session(|session| {
            let keys = session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true)])?;
            let mut epochs = Vec::new();
            for key in keys {
                for attribute in session.get_attributes(key, &[AttributeType::Label])? {
                    let Attribute::Label(label) = attribute else {
                        continue;
                    };
                    let epoch = label
                        .strip_prefix(prefix.as_bytes())
                        .and_then(|rest| std::str::from_utf8(rest).ok());
                    epochs.extend(epoch.and_then(|digits| digits.parse::<u64>().ok()));
                }
            }
            Ok(epochs)
        })?;
        epochs.sort_unstable();
        epochs.dedup();
        Ok(epochs)
    }

    fn wrap(&self, root: Root, context: &[u8], secret: &[u8]) -> Result<Vec<u8>, ProviderError> {
        let key = *self.get_keys(root)?.first().ok_or(ProviderError::Damaged("no key"))?;
        let nonce: [u8; NONCE_BYTES] = random_bytes()?;
        let sealed = self.with_session(|session| {
            let mut nonce = nonce;
            session.encrypt(
                &Mechanism::AesGcm(GcmParams::new(&mut nonce, context, 128.into())?),
                key,
                secret,
            )
        });
        let mut wrapped = vec![envelope::VERSION];
        wrapped.extend_from_slice(&nonce);
        wrapped.extend_from_slice(&sealed.map_err(|error| gone(error, root))?);
        Ok(wrapped)
    }

    fn unwrap(&self, root: Root, context: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        let refused = || ProviderError::Refused("bytes do not open under this root and context".to_owned());
        let body = wrapped
            .strip_prefix(&[envelope::VERSION])
            .and_then(|rest| rest.split_first_chunk::<NONCE_BYTES>());
        let (nonce, body) = body
            .filter(|(_, body)| body.len() >= envelope::TAG_BYTES)
            .ok_or_else(refused)?;
        for key in self.get_keys(root)? {
            let opened = self.with_session(|session| {
                let mut nonce = *nonce;
                session.decrypt(
                    &Mechanism::AesGcm(GcmParams::new(&mut nonce, context, 128.into())?),
                    key,
                    body,
                )
            });
            match opened {
                Ok(secret) => return Ok(Zeroizing::new(secret)),
                Err(ProviderError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // A key that another process destroyed meanwhile also refuses.
        self.get_keys(root)?;
        Err(refused())
    }

    fn note_log_size(&self, size: u64) -> Result<(), ProviderError> {
        let label = self.log_size_label();
        self.with_session(|session| {
            let sizes = find_log_sizes(session, &label)?;
            if sizes.iter().any(|(_, known)| *known >= size) {
                return Ok(());
            }
            // The new object is there before the old ones go, so a crash between leaves the larger.
            session.create_object(&[
                Attribute::Class(ObjectClass::DATA),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Label(label.as_bytes().to_vec()),
                Attribute::Value(size.to_be_bytes().to_vec()),
            ])?;
            for (object, known) in sizes {
                if known < size {
                    match session.destroy_object(object) {
                        Ok(()) | Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(())
        })
    }

    fn log_size(&self) -> Result<u64, ProviderError> {
        let label = self.log_size_label();
        let sizes = self.with_session(|session| find_log_sizes(session, &label))?;
        Ok(sizes.into_iter().map(|(_, size)| size).max().unwrap_or(0))
    }
}

impl fmt::Debug for Pkcs11 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11")
            .field("region", &self.settings.region)
            .finish_non_exhaustive()
    }
}

/// Loads and initialises a module, once per process: PKCS#11 allows no second initialisation.
fn load_module(path: &Path) -> Result<Module, ProviderError> {
    static LOADED: OnceLock<Mutex<BTreeMap<PathBuf, Module>>> = OnceLock::new();
    let mut loaded = LOADED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = loaded.get(path) {
        return Ok(module.clone());
    }
    let module = Module::new(path).map_err(|error| translate(&error))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(translate(&error)),
    }
    loaded.insert(path.to_owned(), module.clone());
    Ok(module)
}

fn key_template(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.as_bytes().to_vec()),
    ]
}

fn find_keys(session: &Session, label: &str) -> Result<Vec<ObjectHandle>, Error> {
    session.find_objects(&[
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ])
}

fn find_log_sizes(session: &Session, label: &str) -> Result<Vec<(ObjectHandle, u64)>, Error> {
    let objects = session.find_objects(&[
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ])?;
    let mut sizes = Vec::new();
    for object in objects {
        for attribute in session.get_attributes(object, &[AttributeType::Value])? {
            let Attribute::Value(value) = attribute else {
                continue;
            };
            let value = value.as_slice().try_into().map_err(Error::TryFromSlice)?;
            sizes.push((object, u64::from_be_bytes(value)));
        }
    }
    Ok(sizes)
}

/// Whether the session is dead, so that a new one may help.
fn is_lost(error: &Error) -> bool {
    let Error::Pkcs11(code, _) = error else {
        return false;
    };
    matches!(
        code,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::UserNotLoggedIn
    )
}

fn translate(error: &Error) -> ProviderError {
    match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            ProviderError::WrongPassphrase
        }
        Error::Pkcs11(
            RvError::DeviceError
            | RvError::DeviceMemory
            | RvError::HostMemory
            | RvError::SessionCount
            | RvError::TokenNotPresent,
            _,
        )
        | Error::LibraryLoading(_)
        | Error::NullFunctionPointer
        | Error::MissingSymbol(_) => ProviderError::Unavailable(describe(error)),
        Error::TryFromSlice(_) => ProviderError::Damaged("an object on the token has the wrong length"),
        _ => ProviderError::Refused(describe(error)),
    }
}

/// How often a token is asked to make a key. SoftHSM answers with a general or a template error when other sessions make keys
/// at the same moment; asking again is safe, because the key is looked for first.
const MAKING_TRIES: u32 = 8;

/// A key that vanished between being found and being used was destroyed by another process.
fn gone(error: ProviderError, root: Root) -> ProviderError {
    match (error, root) {
        (ProviderError::Refused(why), Root::Epoch(epoch)) if why.contains("HandleInvalid") => {
            ProviderError::UnknownEpoch(epoch)
        }
        (error, _) => error,
    }
}

/// The PKCS#11 function and return code, which name neither key nor PIN.
fn describe(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("{function:?}: {code:?}"),
        Error::LibraryLoading(_) => "the PKCS#11 module cannot be loaded".to_owned(),
        _ => "the PKCS#11 module misbehaves".to_owned(),
    }
}
