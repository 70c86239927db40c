//! The configuration: `callvault.toml`, and the environment for secrets.
//!
//! ```toml
//! # Relative paths begin at this file's folder.
//! data_dir = "/var/lib/callvault"     # everything that is not named otherwise lives here
//! metrics = true                      # serve GET /metrics
//! mp3_encoder = "/usr/bin/lame"       # the program that encodes MP3; `lame` of the PATH if absent
//!
//! [regions.in]
//! url = "https://vault.example.in"
//! listen = "0.0.0.0:8443"
//! catalog = "postgres://callvault@db.internal/vault_in"
//! objects = "s3://vault-in/data?endpoint=https://s3.ap-south-1.amazonaws.com&region=ap-south-1"
//! keys = "file:/etc/callvault/in.keys"
//! passphrase_file = "/etc/callvault/in.passphrase"
//! tls_cert = "/etc/callvault/tls.crt"
//! tls_key = "/etc/callvault/tls.key"
//!
//! [regions.in.voice]                  # answers calls
//! listen = "192.0.2.7:5060"           # SIP over UDP and TCP; media are taken at the same address
//! ports = [40000, 49998]              # of media
//! speech = "/usr/bin/espeak-ng"       # the program that speaks texts; `espeak-ng` of the PATH if absent
//!
//! [[regions.in.voice.trunks]]
//! account = "acme"                    # whose calls they are
//! peers = ["198.51.100.20"]           # addresses that they come from; all others are dropped
//! proxy = "198.51.100.20:5060"        # where calls go to
//! user = "acme"                       # what the proxy asks for, if it does
//! password_file = "/etc/callvault/acme.trunk"
//! callers = { user = "acme", password_file = "/etc/callvault/acme.callers" } # what calls that come in are asked for, if anything
//! most_calls = 100                    # at the same time
//! siprec = "strict"                   # takes recording sessions (RFC 7866): "strict" or "lax"; none if absent
//!
//! [regions.sg]
//! url = "https://vault.example.sg"
//! elsewhere = true                    # served by another machine; known so that requests are sent there
//! ```
//!
//! Without a file there are two regions, `in` and `sg`, with everything embedded in the data folder.

mod outside;
mod voice;

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use callvault_app::{
    assembly::{RegionConfig, Secrets},
    core::record::{CallStatus, MessageStatus},
    line::Loopback,
};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

mod sign_in;

pub use outside::{Acme, Mail};
pub use sign_in::SignIn;
use sign_in::SignInFile;
pub use voice::Voice;

/// Why a configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown or missing key.
    #[error("{path}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// A value is wrong.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// A configuration with every default filled in.
#[derive(Clone)]
pub struct Config {
    /// Where what has no address of its own lives.
    pub data_dir: PathBuf,
    /// Whether `GET /metrics` is served.
    pub metrics: bool,
    /// The program that encodes MP3.
    pub mp3_encoder: PathBuf,
    /// What calls and messages are handed to.
    pub carrier: Loopback,
    /// Whether callbacks may go to addresses of private networks.
    pub private_targets: bool,
    /// Sessions, and how often anything may be tried.
    pub sign_in: SignIn,
    /// How many times the platform's rate limits an account may reach.
    pub rate_factor: u32,
    /// Who takes outgoing e-mail, if somebody does.
    pub mail: Option<Mail>,
    /// Regions, in order of name.
    pub regions: Vec<Region>,
}

/// A region.
#[derive(Clone)]
pub struct Region {
    /// Name.
    pub name: String,
    /// The address of its door, for clients.
    pub url: Url,
    /// How it is served, unless it is elsewhere.
    pub here: Option<Here>,
}

/// A region that this machine serves.
#[derive(Clone)]
pub struct Here {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Its parts.
    pub stores: RegionConfig,
    /// Certificate chain and key in PEM; a self-signed one is made when there is none.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Certificate chain and key in PEM that sign vCons; the region makes its own when there is none.
    pub vcon: Option<(PathBuf, PathBuf)>,
    /// Where accounts may have folders that exports on schedule go to.
    pub export_folder: Option<PathBuf>,
    /// Where plain HTTP is answered with a redirect, if it is.
    pub http: Option<SocketAddr>,
    /// The authority that certificates are fetched from, if it is one.
    pub acme: Option<Acme>,
    /// How it answers calls, if it does.
    pub voice: Option<Voice>,
    /// Where its own files live.
    pub folder: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    data_dir: Option<PathBuf>,
    #[serde(default)]
    metrics: bool,
    mp3_encoder: Option<PathBuf>,
    #[serde(default)]
    private_targets: bool,
    rate_factor: Option<u32>,
    #[serde(default)]
    carrier: CarrierFile,
    mail: Option<outside::MailFile>,
    #[serde(default)]
    sign_in: SignInFile,
    #[serde(default)]
    regions: BTreeMap<String, RegionFile>,
}

/// The loopback carrier's answers.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct CarrierFile {
    call: Option<String>,
    ring_s: Option<u32>,
    talk_s: Option<u32>,
    message: Option<String>,
}

impl CarrierFile {
    fn resolve(self) -> Result<Loopback, ConfigError> {
        let usual = Loopback::default();
        let call = self.call.map(|text| {
            let status = CallStatus::from_name(&text).filter(|status| status.is_over());
            status.ok_or_else(|| {
                value(
                    "carrier.call",
                    "expected completed, failed, busy, no-answer or canceled",
                )
            })
        });
        let message = self.message.map(|text| {
            let status = MessageStatus::from_name(&text);
            status.ok_or_else(|| {
                value(
                    "carrier.message",
                    "expected a status of a message, such as sent or failed",
                )
            })
        });
        Ok(Loopback {
            call: call.transpose()?.unwrap_or(usual.call),
            ring_s: self.ring_s.unwrap_or(usual.ring_s),
            talk_s: self.talk_s.unwrap_or(usual.talk_s),
            message: message.transpose()?.unwrap_or(usual.message),
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RegionFile {
    url: Option<String>,
    #[serde(default)]
    elsewhere: bool,
    listen: Option<SocketAddr>,
    catalog: Option<String>,
    objects: Option<String>,
    keys: Option<String>,
    passphrase_file: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    export_folder: Option<PathBuf>,
    vcon_cert: Option<PathBuf>,
    vcon_key: Option<PathBuf>,
    http: Option<SocketAddr>,
    acme: Option<outside::AcmeFile>,
    voice: Option<voice::VoiceFile>,
}

/// Reads environment variables; a function, so that tests need not change the process's own.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads the configuration file, or takes the defaults where there is none.
    ///
    /// # Errors
    /// [`ConfigError`], which names file and key.
    pub fn load(file: Option<&Path>, env: Environment<'_>) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|source| ConfigError::File {
                path: path.to_owned(),
                source,
            })?,
            None => match std::fs::read_to_string("callvault.toml") {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                Err(source) => {
                    return Err(ConfigError::File {
                        path: "callvault.toml".into(),
                        source,
                    });
                }
            },
        };
        Self::parse(&text, file.unwrap_or(Path::new("callvault.toml")), env)
    }

    /// Reads a configuration's text.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path, env: Environment<'_>) -> Result<Self, ConfigError> {
        let parsed: ConfigFile = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        let data_dir = parsed
            .data_dir
            .map_or_else(|| default_data_dir(env), |data_dir| base.join(data_dir));
        let mut regions = parsed.regions;
        if regions.is_empty() {
            regions = ["in", "sg"].map(|name| (name.to_owned(), RegionFile::default())).into();
        }
        let regions = regions
            .into_iter()
            .zip(8443_u16..)
            .map(|((name, file), port)| resolve(name, file.beside(base), port, &data_dir, base, env))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            data_dir,
            metrics: parsed.metrics,
            mp3_encoder: parsed.mp3_encoder.unwrap_or_else(|| "lame".into()),
            carrier: parsed.carrier.resolve()?,
            mail: parsed.mail.map(|mail| mail.resolve(base)).transpose()?,
            private_targets: parsed.private_targets,
            sign_in: parsed.sign_in.resolve()?,
            rate_factor: parsed.rate_factor.unwrap_or(1).max(1),
            regions,
        })
    }

    /// The region of this name.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when there is none.
    pub fn get_region(&self, name: &str) -> Result<&Region, ConfigError> {
        self.regions.iter().find(|region| region.name == name).ok_or_else(|| {
            let known: Vec<_> = self.regions.iter().map(|region| region.name.as_str()).collect();
            value("region", format!("no region {name}; there are: {}", known.join(", ")))
        })
    }

    /// The file of the directory account -> region.
    #[must_use]
    pub fn directory_file(&self) -> PathBuf {
        self.data_dir.join("directory")
    }
}

fn value(key: impl Into<String>, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key: key.into(),
        reason: reason.into(),
    }
}

/// `$XDG_DATA_HOME/callvault`, or `~/.local/share/callvault` (XDG Base Directory Specification 0.8), or a folder here.
fn default_data_dir(env: Environment<'_>) -> PathBuf {
    let xdg = env("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || env("HOME").map(|home| Path::new(&home).join(".local/share"));
    xdg.or_else(home)
        .map_or_else(|| PathBuf::from("callvault-data"), |base| base.join("callvault"))
}

impl RegionFile {
    /// Relative paths begin at the configuration file's folder, wherever the command is called from.
    fn beside(mut self, base: &Path) -> Self {
        let paths = [
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.vcon_cert,
            &mut self.vcon_key,
        ];
        for path in paths
            .into_iter()
            .chain([&mut self.passphrase_file, &mut self.export_folder])
        {
            *path = path.take().map(|path| base.join(path));
        }
        if let Some(acme) = &mut self.acme {
            acme.ca_file = acme.ca_file.take().map(|path| base.join(path));
        }
        for address in [&mut self.catalog, &mut self.objects, &mut self.keys] {
            *address = address.take().map(|address| match address.split_once(':') {
                Some((kind @ ("file" | "sqlite"), path)) => format!("{kind}:{}", base.join(path).display()),
                _ => address,
            });
        }
        self
    }
}

fn resolve(
    name: String,
    file: RegionFile,
    port: u16,
    data_dir: &Path,
    base: &Path,
    env: Environment<'_>,
) -> Result<Region, ConfigError> {
    let key = |part: &str| format!("regions.{name}.{part}");
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return Err(value(
            format!("regions.{name}"),
            "a region's name has the characters a-z, 0-9 and -",
        ));
    }
    let url = file.url.map(|text| {
        text.parse::<Url>()
            .map_err(|_| value(key("url"), "expected https://HOST"))
    });
    let url = url.transpose()?;
    if file.elsewhere {
        let url = url.ok_or_else(|| value(key("url"), "a region elsewhere needs the address of its door"))?;
        return Ok(Region { name, url, here: None });
    }
    let listen = file.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
    let url = match url {
        Some(url) if url.scheme() == "https" => url,
        Some(_) => {
            return Err(value(
                key("url"),
                "must begin with https://; plain HTTP never serves data",
            ));
        }
        None => format!("https://{listen}")
            .parse()
            .map_err(|_| value(key("url"), "set the address of the door"))?,
    };
    let tls = match (file.tls_cert, file.tls_key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(value(key("tls_cert"), "tls_cert and tls_key come together")),
    };
    let vcon = match (file.vcon_cert, file.vcon_key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(value(key("vcon_cert"), "vcon_cert and vcon_key come together")),
    };
    let acme = file
        .acme
        .map(|acme| acme.resolve(&name, tls.is_some(), file.http.is_some()))
        .transpose()?;
    let voice = file.voice.map(|voice| voice.resolve(&name, base)).transpose()?;
    let folder = data_dir.join(&name);
    let in_folder = |kind: &str, part: &str| format!("{kind}:{}", folder.join(part).display());
    let secrets = read_secrets(&name, file.passphrase_file, &folder, env)?;
    let stores = RegionConfig {
        region: name.clone(),
        catalog: file.catalog.unwrap_or_else(|| in_folder("sqlite", "catalog.sqlite")),
        objects: file.objects.unwrap_or_else(|| in_folder("file", "objects")),
        keys: file.keys.unwrap_or_else(|| in_folder("file", "keys")),
        secrets,
        worker: format!(
            "{}-{}",
            env("HOSTNAME").unwrap_or_else(|| "host".to_owned()),
            std::process::id()
        ),
    };
    Ok(Region {
        name,
        url,
        here: Some(Here {
            listen,
            stores,
            tls,
            vcon,
            export_folder: file.export_folder,
            http: file.http,
            acme,
            voice,
            folder,
        }),
    })
}

/// `CALLVAULT_IN_PASSPHRASE` for region `in`, else `CALLVAULT_PASSPHRASE`; so for every secret.
fn read_secrets(
    region: &str,
    passphrase_file: Option<PathBuf>,
    folder: &Path,
    env: Environment<'_>,
) -> Result<Secrets, ConfigError> {
    let prefix = region.to_ascii_uppercase().replace('-', "_");
    let find = |name: &str| env(&format!("CALLVAULT_{prefix}_{name}")).or_else(|| env(&format!("CALLVAULT_{name}")));
    let mut passphrase = find("PASSPHRASE").map(Zeroizing::new);
    if passphrase.is_none() {
        let (path, wanted) = match passphrase_file {
            Some(path) => (path, true),
            None => (folder.join("passphrase"), false),
        };
        passphrase = read_passphrase(&path, wanted)?;
    }
    Ok(Secrets {
        passphrase,
        pin: find("PKCS11_PIN").map(Zeroizing::new),
        s3_access_key: find("S3_ACCESS_KEY"),
        s3_secret_key: find("S3_SECRET_KEY").map(Zeroizing::new),
    })
}

/// A secret from a file that its owner alone may read.
fn read_passphrase(path: &Path, wanted: bool) -> Result<Option<Zeroizing<String>>, ConfigError> {
    let failed = |source| ConfigError::File {
        path: path.to_owned(),
        source,
    };
    let mode = match std::fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == ErrorKind::NotFound && !wanted => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if mode & 0o077 != 0 {
        return Err(value(
            path.display().to_string(),
            "others than its owner may read it; set its mode to 0600",
        ));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
    Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("callvault.toml"), &|name| match name {
            "HOME" => Some("/home/op".to_owned()),
            "CALLVAULT_PASSPHRASE" => Some("general".to_owned()),
            "CALLVAULT_SG_PASSPHRASE" => Some("special".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn relative_paths_begin_at_the_file() {
        let text = "data_dir = \"./vault\"\n[regions.in]\nobjects = \"file:o\"\nkeys = \"file:/abs/keys\"\n";
        let env: Environment<'_> = &|_| None;
        let config = Config::parse(text, Path::new("/etc/cv/callvault.toml"), env).expect("a configuration");
        assert_eq!(config.data_dir, Path::new("/etc/cv/./vault"));
        let stores = config.get_region("in").expect("in").here.clone().expect("here").stores;
        assert_eq!(stores.catalog, "sqlite:/etc/cv/./vault/in/catalog.sqlite");
        assert_eq!(
            (stores.objects.as_str(), stores.keys.as_str()),
            ("file:/etc/cv/o", "file:/abs/keys")
        );
    }

    #[test]
    fn without_a_file_two_regions_live_in_the_data_folder() {
        let config = parse("").expect("defaults");
        let names: Vec<_> = config.regions.iter().map(|region| region.name.as_str()).collect();
        assert_eq!(names, ["in", "sg"]);
        assert_eq!(config.data_dir, Path::new("/home/op/.local/share/callvault"));
        let sg = config.get_region("sg").expect("sg").here.clone().expect("here");
        assert_eq!(sg.listen.port(), 8444);
        assert_eq!(
            sg.stores.catalog,
            "sqlite:/home/op/.local/share/callvault/sg/catalog.sqlite"
        );
        assert_eq!(sg.stores.secrets.passphrase.expect("a passphrase").as_str(), "special");
    }

    #[test]
    fn wrong_configurations_name_the_key() {
        for (text, part) in [
            ("[regions.in]\nurl = \"http://plain\"", "regions.in.url"),
            ("[regions.in]\ntls_cert = \"a\"", "regions.in.tls_cert"),
            ("[regions.sg]\nelsewhere = true", "regions.sg.url"),
            ("[regions.\"a b\"]", "regions.a b"),
            ("colour = 1", "unknown field"),
            ("[regions.in]\npassphrase_file = \"/nonexistent/pass\"", ""),
        ] {
            let result = Config::parse(text, Path::new("callvault.toml"), &|_| None);
            let error = result.err().expect(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_passphrase_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pass");
        std::fs::write(&path, "secret\n").expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(read_passphrase(&path, true).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
        assert_eq!(
            read_passphrase(&path, true).expect("read").expect("there").as_str(),
            "secret"
        );
    }
}
