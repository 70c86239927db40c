//! Whom the vault talks to by itself: a certificate authority, a mail server.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::{ConfigError, read_passphrase, value};

/// An authority that issues certificates (RFC 8555).
#[derive(Debug, Clone)]
pub struct Acme {
    /// Its directory.
    pub directory: Url,
    /// Who is told of trouble, as `mailto:` addresses.
    pub contact: Vec<String>,
    /// Names of the certificate.
    pub domains: Vec<String>,
    /// The one root that its own certificate is checked against, in PEM; the system's roots if absent.
    pub ca_file: Option<PathBuf>,
}

/// [`Acme`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AcmeFile {
    directory: String,
    #[serde(default)]
    contact: Vec<String>,
    domains: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
}

impl AcmeFile {
    pub(super) fn resolve(self, region: &str, has_tls: bool, has_http: bool) -> Result<Acme, ConfigError> {
        let wrong = |part: &str, reason: &str| value(format!("regions.{region}.acme{part}"), reason);
        if has_tls {
            return Err(wrong("", "the certificate is tls_cert's or the authority's, not both"));
        }
        if !has_http {
            return Err(wrong("", "the authority asks at plain HTTP: set http = \"0.0.0.0:80\""));
        }
        let directory = self.directory.parse::<Url>().ok().filter(|url| url.scheme() == "https");
        let directory = directory.ok_or_else(|| wrong(".directory", "expected https://..."))?;
        let is_name = |name: &String| {
            let plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
            !name.is_empty() && name.len() <= 253 && plain
        };
        if self.domains.is_empty() || self.domains.len() > 100 || !self.domains.iter().all(is_name) {
            return Err(wrong(".domains", "expected 1 to 100 host names"));
        }
        let contact = |text: String| {
            if text.contains(':') {
                text
            } else {
                format!("mailto:{text}")
            }
        };
        let mut domains: Vec<_> = self.domains.iter().map(|name| name.to_ascii_lowercase()).collect();
        domains.sort();
        domains.dedup();
        Ok(Acme {
            directory,
            contact: self.contact.into_iter().map(contact).collect(),
            domains,
            ca_file: self.ca_file,
        })
    }
}

/// A server that takes outgoing e-mail.
#[derive(Clone)]
pub struct Mail {
    /// Host name, as its certificate says it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the connection begins with TLS; otherwise it turns to TLS before anything is said (STARTTLS).
    pub implicit_tls: bool,
    /// Whether it may be plain: only to this machine.
    pub plain: bool,
    /// The sender.
    pub from: String,
    /// Name and password, if the server asks for them.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// The one root that its certificate is checked against, in PEM; the system's roots if absent.
    pub ca_file: Option<PathBuf>,
}

/// [`Mail`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailFile {
    server: String,
    from: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl MailFile {
    pub(super) fn resolve(self, base: &Path) -> Result<Mail, ConfigError> {
        let expected = "expected smtps://HOST, smtp://HOST (STARTTLS), with :PORT if it is another than 465 or 587";
        let url = self.server.parse::<Url>().map_err(|_| value("mail.server", expected))?;
        let host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        let (Some(host), "smtp" | "smtps", "", None, "" | "/") =
            (host, url.scheme(), url.username(), url.password(), url.path())
        else {
            return Err(value("mail.server", expected));
        };
        let implicit_tls = url.scheme() == "smtps";
        let credentials = match (self.username, self.password_file) {
            (Some(username), Some(file)) => {
                let password = read_passphrase(&base.join(file), true)?.unwrap_or_default();
                Some((username, password))
            }
            (None, None) => None,
            _ => return Err(value("mail.username", "username and password_file come together")),
        };
        if crate::mail::read_mailbox(&self.from).is_none() {
            return Err(value(
                "mail.from",
                "expected an address, such as Callvault <vault@example.in>",
            ));
        }
        let is_here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        Ok(Mail {
            port: url.port().unwrap_or(if implicit_tls { 465 } else { 587 }),
            // A server of this machine needs no TLS, unless a root for it is named.
            plain: is_here && !implicit_tls && self.ca_file.is_none(),
            implicit_tls,
            host,
            from: self.from,
            credentials,
            ca_file: self.ca_file.map(|file| base.join(file)),
        })
    }
}
