//! TLS 1.2 and 1.3 on every listener, with the operator's certificate or a self-signed one that is made once and kept.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum_server::tls_rustls::RustlsConfig;
use callvault_app::seal::digest::sha256;

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use callvault_app::seal::jws::CertifiedSigner;
use callvault_voice::sip;
use zeroize::Zeroizing;

use crate::config::{Here, Region};
use crate::life::{Life, read_life};

/// Why a listener gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate cannot be made.
    #[error("self-signed certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Certificate and key do not go together, or the key is of a kind that does not sign here.
    #[error("vcon_cert and vcon_key: {0}")]
    Signer(#[from] callvault_app::seal::jws::JwsError),
    /// Certificate and key do not go together, or are of a kind that cannot be served.
    #[error("TLS certificate: {0}")]
    Unfit(#[from] rustls::Error),
}

/// What a listener serves.
pub struct Identity {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// The certificate in PEM.
    pub cert_file: PathBuf,
    /// SHA-256 of the certificate, as browsers and curl show it.
    pub fingerprint: String,
    /// Whether it was made here.
    pub self_signed: bool,
    /// From when until when it holds.
    pub life: Life,
    /// What the files held, to know whether they changed.
    mark: [u8; 32],
}

/// Where a region's certificate and key are; a self-signed pair is made where there is none.
struct Pair {
    cert_file: PathBuf,
    key_file: PathBuf,
    self_signed: bool,
}

fn find_pair(region: &Region, here: &Here) -> Result<Pair, TlsError> {
    if let Some((cert_file, key_file)) = here.tls.clone() {
        return Ok(Pair {
            cert_file,
            key_file,
            self_signed: false,
        });
    }
    // Until the authority has answered once, the door has a certificate of its own.
    let issued = here.folder.join(crate::acme::PAIR_FILE);
    if here.acme.is_some() && issued.exists() {
        return Ok(Pair {
            cert_file: issued.clone(),
            key_file: issued,
            self_signed: false,
        });
    }
    let (cert_file, key_file) = (here.folder.join("tls-cert.pem"), here.folder.join("tls-key.pem"));
    if !cert_file.exists() || !key_file.exists() {
        make_self_signed(region, here, &cert_file, &key_file)?;
    }
    Ok(Pair {
        cert_file,
        key_file,
        self_signed: true,
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| TlsError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The identity of a region's door.
///
/// # Errors
/// [`TlsError`].
pub fn open_identity(region: &Region, here: &Here) -> Result<Identity, TlsError> {
    let pair = find_pair(region, here)?;
    read_identity(pair)
}

/// The same for SIP.
///
/// # Errors
/// [`TlsError`].
pub fn read_pair(region: &Region, here: &Here) -> Result<sip::Pair, TlsError> {
    let pair = find_pair(region, here)?;
    Ok(sip::Pair {
        cert: read_file(&pair.cert_file)?.to_vec(),
        key: read_file(&pair.key_file)?,
    })
}

fn read_identity(pair: Pair) -> Result<Identity, TlsError> {
    let (cert_pem, key_pem) = (read_file(&pair.cert_file)?, read_file(&pair.key_file)?);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| TlsError::File {
            path,
            reason: error.to_string(),
        }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert_pem)
        .collect::<Result<_, _>>()
        .map_err(unreadable(&pair.cert_file))?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(unreadable(&pair.key_file))?;
    let unfit = |reason: &str| TlsError::File {
        path: pair.cert_file.clone(),
        reason: reason.into(),
    };
    let first = chain.first().ok_or_else(|| unfit("no certificate"))?;
    let life = read_life(first).ok_or_else(|| unfit("its dates are not readable"))?;
    let fingerprint = sha256(&[first])
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":");
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity {
        config: Arc::new(config),
        fingerprint,
        life,
        mark: sha256(&[&cert_pem, &key_pem]),
        cert_file: pair.cert_file,
        self_signed: pair.self_signed,
    })
}

/// The operator's certificate chain and key (PKCS#8) for signed vCons.
///
/// # Errors
/// [`TlsError`].
pub fn open_signer(cert_file: &Path, key_file: &Path) -> Result<CertifiedSigner, TlsError> {
    let unreadable = |path: &Path, reason: &dyn std::fmt::Display| TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert_file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(cert_file, &error))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unreadable(key_file, &error))?;
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    Ok(CertifiedSigner::new(key.secret_der(), chain)?)
}

/// A door's certificate while it is served: read anew when its files change.
pub struct Certificate {
    region: Region,
    here: Here,
    served: RustlsConfig,
    state: Mutex<State>,
}

/// What is served now, and what was seen of its files last.
struct State {
    life: Life,
    mark: [u8; 32],
    /// What the files held when they could not be served, so that each breakage is told once.
    broken: Option<[u8; 32]>,
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Looked {
    /// What is served.
    Same,
    /// Another pair; new connections get it.
    Renewed,
    /// A pair that cannot be served; the one before still is. Told once for each state of the files.
    Broken(TlsError),
    /// As it was when it was told of last.
    StillBroken,
}

impl Certificate {
    /// A certificate that is served from now on.
    #[must_use]
    pub fn new(region: Region, here: Here, identity: &Identity) -> Self {
        Self {
            region,
            here,
            served: RustlsConfig::from_config(Arc::clone(&identity.config)),
            state: Mutex::new(State {
                life: identity.life,
                mark: identity.mark,
                broken: None,
            }),
        }
    }

    /// For the listener.
    #[must_use]
    pub fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// From when until when the one that is served holds.
    #[must_use]
    pub fn life(&self) -> Life {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).life
    }

    /// What its files hold, for SIP.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read_pair(&self) -> Result<sip::Pair, TlsError> {
        read_pair(&self.region, &self.here)
    }

    /// Looks at the files and serves what they hold, if it can be served.
    pub fn look(&self) -> Looked {
        let pair = match find_pair(&self.region, &self.here) {
            Ok(pair) => pair,
            Err(error) => return Looked::Broken(error),
        };
        let mark = mark_of(&pair);
        let read = read_identity(pair);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(identity) if identity.mark == state.mark => {
                state.broken = None;
                Looked::Same
            }
            Ok(identity) => {
                self.served.reload_from_config(identity.config);
                *state = State {
                    life: identity.life,
                    mark: identity.mark,
                    broken: None,
                };
                Looked::Renewed
            }
            Err(_) if state.broken == Some(mark) => Looked::StillBroken,
            Err(error) => {
                state.broken = Some(mark);
                Looked::Broken(error)
            }
        }
    }
}

/// What the files hold, readable or not.
fn mark_of(pair: &Pair) -> [u8; 32] {
    let read = |path: &Path| read_file(path).unwrap_or_default();
    sha256(&[&read(&pair.cert_file), &read(&pair.key_file)])
}

fn make_self_signed(region: &Region, here: &Here, cert_file: &Path, key_file: &Path) -> Result<(), TlsError> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
        here.listen.ip().to_string(),
    ];
    names.extend(
        region
            .url
            .host_str()
            .map(|host| host.trim_matches(['[', ']']).to_owned()),
    );
    names.sort();
    names.dedup();
    let made = rcgen::generate_simple_self_signed(names)?;
    std::fs::create_dir_all(&here.folder).map_err(|error| TlsError::File {
        path: here.folder.clone(),
        reason: error.to_string(),
    })?;
    write_private(key_file, &made.signing_key.serialize_pem())?;
    write_private(cert_file, &made.cert.pem())
}

/// Writes a file that its owner alone may read.
///
/// # Errors
/// [`TlsError::File`].
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| TlsError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
