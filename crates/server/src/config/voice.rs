//! Where calls are answered, and whose they are.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use callvault_app::core::AccountSid;
use callvault_voice::{exchange::Trunk, sip::Login, siprec::Siprec};
use serde::Deserialize;

use super::{ConfigError, read_passphrase, value};

/// Ports of media if the configuration names none.
const PORTS: RangeInclusive<u16> = 40_000..=49_998;
/// How late packets may be sent, if the configuration says nothing, in milliseconds: what telephones make up for.
const MOST_LATE_MS: u64 = 50;
/// Calls of an account at the same time, if the configuration says nothing.
const MOST_CALLS: usize = 100;

/// How a region answers calls.
#[derive(Clone)]
pub struct Voice {
    /// Where SIP is listened for.
    pub listen: SocketAddr,
    /// Where SIP over TLS is listened for, with the region's certificate.
    pub tls_listen: Option<SocketAddr>,
    /// Who signs the certificates of proxies, in PEM.
    pub tls_authorities: Option<Vec<u8>>,
    /// Ports of media.
    pub ports: RangeInclusive<u16>,
    /// How late packets may be sent; when a tenth of them is later, calls are refused.
    pub most_late: Duration,
    /// The program that speaks texts.
    pub speech: PathBuf,
    /// Where calls come from, and go to.
    pub trunks: Vec<Trunk>,
}

/// [`Voice`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VoiceFile {
    listen: SocketAddr,
    tls_listen: Option<SocketAddr>,
    tls_authorities: Option<PathBuf>,
    ports: Option<[u16; 2]>,
    most_late_ms: Option<u64>,
    speech: Option<PathBuf>,
    #[serde(default)]
    trunks: Vec<TrunkFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrunkFile {
    account: String,
    peers: Vec<IpAddr>,
    proxy: Option<SocketAddr>,
    proxy_name: Option<String>,
    tls: Option<Encryption>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    most_calls: Option<usize>,
    srtp: Option<Encryption>,
    siprec: Option<SiprecFile>,
    callers: Option<CallersFile>,
}

/// What the trunk's calls are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallersFile {
    user: String,
    password_file: PathBuf,
}

/// Whether signalling, or media, are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encryption {
    /// Where the other side offers it.
    Accepted,
    /// Always, and no call without it.
    Required,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SiprecFile {
    Strict,
    Lax,
}

impl VoiceFile {
    pub(super) fn resolve(self, region: &str, base: &Path) -> Result<Voice, ConfigError> {
        let wrong = |part: &str, reason: &str| value(format!("regions.{region}.voice.{part}"), reason);
        let is_nowhere = |address: &SocketAddr| address.ip().is_unspecified();
        if self.tls_listen.as_ref().is_some_and(is_nowhere) {
            return Err(wrong("tls_listen", "name the address: calls are answered from it"));
        }
        if is_nowhere(&self.listen) {
            let reason = "name the address: media are offered at it, so 0.0.0.0 is none";
            return Err(wrong("listen", reason));
        }
        let ports = match self.ports {
            None => PORTS,
            Some([first, last]) if first >= 1_024 && first % 2 == 0 && last > first => first..=last,
            Some(_) => {
                return Err(wrong(
                    "ports",
                    "expected [FIRST, LAST], the first one even and not below 1024",
                ));
            }
        };
        let mut seen = HashSet::new();
        let mut trunks = Vec::new();
        for trunk in self.trunks {
            let account: AccountSid = trunk
                .account
                .parse()
                .map_err(|_| wrong("trunks.account", "expected an account SID"))?;
            if trunk.peers.is_empty() && trunk.proxy.is_none() {
                return Err(wrong(
                    "trunks.peers",
                    "a trunk without peers and without a proxy has no calls",
                ));
            }
            if !trunk.peers.iter().all(|peer| seen.insert(*peer)) {
                return Err(wrong(
                    "trunks.peers",
                    "an address belongs to one trunk: it says whose a call is",
                ));
            }
            let is_name = |name: &String| {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
                (1..=253).contains(&name.len()) && name.bytes().all(is_plain)
            };
            match (&trunk.proxy_name, trunk.proxy, self.tls_listen, &self.tls_authorities) {
                (None, ..) => {}
                (Some(name), Some(_), Some(_), Some(_)) if is_name(name) => {}
                _ => {
                    return Err(wrong(
                        "trunks.proxy_name",
                        "expected the name in the certificate of `proxy`, with `tls_listen` and `tls_authorities` of the region",
                    ));
                }
            }
            let needs_tls = trunk.tls == Some(Encryption::Required);
            if needs_tls && (self.tls_listen.is_none() || (trunk.proxy.is_some() && trunk.proxy_name.is_none())) {
                return Err(wrong(
                    "trunks.tls",
                    "required TLS needs `tls_listen`, and a `proxy_name` where there is a `proxy`",
                ));
            }
            let login = match (trunk.user, trunk.password_file) {
                (Some(user), Some(file)) => Some((user, file)),
                (None, None) => None,
                _ => return Err(wrong("trunks.user", "user and password_file come together")),
            };
            let callers = trunk.callers.map(|callers| (callers.user, callers.password_file));
            let read = |login: Option<(String, PathBuf)>, field| match login {
                None => Ok(None),
                Some((user, file)) => match read_passphrase(&base.join(file), true)? {
                    Some(password) if !user.is_empty() && !password.is_empty() => Ok(Some(Login {
                        user,
                        password: password.to_string(),
                    })),
                    _ => Err(wrong(
                        field,
                        "expected a user, and a file with a password that is not empty",
                    )),
                },
            };
            let (login, callers) = (read(login, "trunks.user")?, read(callers, "trunks.callers")?);
            trunks.push(Trunk {
                account,
                peers: trunk.peers,
                proxy: trunk.proxy,
                proxy_name: trunk.proxy_name,
                needs_tls,
                login,
                callers,
                needs_srtp: trunk.srtp == Some(Encryption::Required),
                most_calls: trunk.most_calls.unwrap_or(MOST_CALLS),
                siprec: match trunk.siprec {
                    None => Siprec::Off,
                    Some(SiprecFile::Strict) => Siprec::Strict,
                    Some(SiprecFile::Lax) => Siprec::Lax,
                },
            });
        }
        let authorities = |file: PathBuf| {
            let file = base.join(file);
            std::fs::read(&file).map_err(|error| wrong("tls_authorities", &format!("{}: {error}", file.display())))
        };
        Ok(Voice {
            listen: self.listen,
            tls_listen: self.tls_listen,
            tls_authorities: self.tls_authorities.map(authorities).transpose()?,
            ports,
            most_late: Duration::from_millis(self.most_late_ms.unwrap_or(MOST_LATE_MS)),
            speech: self.speech.unwrap_or_else(|| "espeak-ng".into()),
            trunks,
        })
    }
}
