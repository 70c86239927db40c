//! Where calls are answered, and whose they are.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use callvault_app::core::AccountSid;
use callvault_voice::{exchange::Trunk, sip::Login, siprec::Siprec};
use serde::Deserialize;

use super::{ConfigError, read_passphrase, value};

/// Ports of media if the configuration names none.
const PORTS: RangeInclusive<u16> = 40_000..=49_998;
/// Calls of an account at the same time, if the configuration says nothing.
const MOST_CALLS: usize = 100;

/// How a region answers calls.
#[derive(Clone)]
pub struct Voice {
    /// Where SIP is listened for.
    pub listen: SocketAddr,
    /// Ports of media.
    pub ports: RangeInclusive<u16>,
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
    ports: Option<[u16; 2]>,
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
    user: Option<String>,
    password_file: Option<PathBuf>,
    most_calls: Option<usize>,
    srtp: Option<SrtpFile>,
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

/// Whether media are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SrtpFile {
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
        if self.listen.ip().is_unspecified() {
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
                login,
                callers,
                needs_srtp: trunk.srtp == Some(SrtpFile::Required),
                most_calls: trunk.most_calls.unwrap_or(MOST_CALLS),
                siprec: match trunk.siprec {
                    None => Siprec::Off,
                    Some(SiprecFile::Strict) => Siprec::Strict,
                    Some(SiprecFile::Lax) => Siprec::Lax,
                },
            });
        }
        Ok(Voice {
            listen: self.listen,
            ports,
            speech: self.speech.unwrap_or_else(|| "espeak-ng".into()),
            trunks,
        })
    }
}
