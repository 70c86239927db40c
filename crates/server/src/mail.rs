//! E-mail over SMTP: with TLS, unless the server is this machine.

use std::time::Duration;

use async_trait::async_trait;
use callvault_app::line::{Mail as Letter, Mailer, PostError};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};

use crate::config::Mail;

/// How long a server may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Why no mail can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// TLS cannot be set up.
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The root's file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The sender is none.
    #[error("mail.from: no address")]
    From,
}

/// An address with or without a name, on one line.
#[must_use]
pub fn read_mailbox(text: &str) -> Option<Mailbox> {
    if text.chars().any(char::is_control) {
        return None;
    }
    text.parse().ok()
}

/// Sends over SMTP.
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpMailer {
    /// A mailer for this server. Nothing is connected yet.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn new(mail: &Mail) -> Result<Self, MailError> {
        // Another part of the process may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
            .port(mail.port)
            .timeout(Some(ANSWER));
        if !mail.plain {
            let mut tls = TlsParameters::builder(mail.host.clone());
            if let Some(path) = &mail.ca_file {
                let pem = std::fs::read(path).map_err(|source| MailError::File {
                    path: path.clone(),
                    source,
                })?;
                tls = tls.certificate_store(CertificateStore::None);
                tls = tls.add_root_certificate(Certificate::from_pem(&pem)?);
            }
            let tls = tls.build_rustls()?;
            builder = builder.tls(if mail.implicit_tls {
                Tls::Wrapper(tls)
            } else {
                Tls::Required(tls)
            });
        }
        if let Some((name, password)) = &mail.credentials {
            builder = builder.credentials(Credentials::new(name.clone(), password.as_str().to_owned()));
        }
        Ok(Self {
            transport: builder.build(),
            from: read_mailbox(&mail.from).ok_or(MailError::From)?,
        })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, letter: &Letter) -> Result<u16, PostError> {
        let refused = |why: &str| PostError::Refused(why.to_owned());
        let to = read_mailbox(&letter.to).ok_or_else(|| refused("no address"))?;
        let subject: String = letter.subject.chars().filter(|c| !c.is_control()).collect();
        let domain = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject)
            .message_id(Some(format!("<{}@{domain}>", letter.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|_| refused("it cannot be written as a mail"))?;
        match self.transport.send(message).await {
            Ok(answer) => Ok(u16::from(answer.code())),
            // What the server says may repeat the address: its code is enough.
            Err(error) => Err(match error.status() {
                Some(code) if error.is_permanent() => PostError::Refused(format!("answered {}", u16::from(code))),
                Some(code) => PostError::Status(u16::from(code)),
                None if error.is_timeout() => PostError::Timeout,
                None => PostError::Unreachable("no mail server, or its certificate is wrong".to_owned()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_one_line() {
        assert!(read_mailbox("Callvault <vault@example.in>").is_some());
        for bad in [
            "vault@example.in\r\nBcc: x@example.com",
            "a\nb <a@example.in>",
            "nobody",
            "",
        ] {
            assert!(read_mailbox(bad).is_none(), "{bad}");
        }
    }
}
