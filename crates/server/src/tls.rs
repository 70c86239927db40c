//! TLS 1.2 and 1.3 on every listener, with the operator's certificate or a self-signed one that is made once and kept.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use callvault_app::seal::jws::CertifiedSigner;

use crate::config::{Here, Region};

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
}

/// The identity of a region's door.
///
/// # Errors
/// [`TlsError`].
pub fn open_identity(region: &Region, here: &Here) -> Result<Identity, TlsError> {
    let (cert_file, key_file, self_signed) = match &here.tls {
        Some((cert, key)) => (cert.clone(), key.clone(), false),
        None => {
            let (cert, key) = (here.folder.join("tls-cert.pem"), here.folder.join("tls-key.pem"));
            if !cert.exists() || !key.exists() {
                make_self_signed(region, here, &cert, &key)?;
            }
            (cert, key, true)
        }
    };
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: rustls::pki_types::pem::Error| TlsError::File {
            path,
            reason: error.to_string(),
        }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&cert_file)
        .and_then(Iterator::collect)
        .map_err(unreadable(&cert_file))?;
    let key = PrivateKeyDer::from_pem_file(&key_file).map_err(unreadable(&key_file))?;
    let first = chain.first().ok_or_else(|| TlsError::File {
        path: cert_file.clone(),
        reason: "no certificate".into(),
    })?;
    let digest = ring::digest::digest(&ring::digest::SHA256, first);
    let fingerprint = digest
        .as_ref()
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
        cert_file,
        fingerprint,
        self_signed,
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

fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
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
