//! Posts what others are told, and only to addresses that may be posted to.
//!
//! A customer chooses where callbacks and webhooks go. So that nobody makes the vault talk to the operator's own network
//! (SSRF), every address that a name resolves to is checked, and the connection goes to the address that was checked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use callvault_app::line::{Courier, Letter, Payload, PostError, Question, Reply};
use reqwest::{
    Client, ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use url::{Host, Url};

/// How long a receiver may take (the platform's documentation, "Webhooks").
const ANSWER: Duration = Duration::from_secs(15);
const FORBIDDEN: &str = "it resolves to a private, local or reserved address";

/// Posts over HTTP.
pub struct HttpCourier {
    client: Client,
    private_targets: bool,
}

impl HttpCourier {
    /// A courier. With `private_targets`, addresses of private networks are posted to as well.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(private_targets: bool) -> Result<Self, reqwest::Error> {
        let client = guarded(private_targets).timeout(ANSWER).build()?;
        Ok(Self {
            client,
            private_targets,
        })
    }
}

/// A client that connects only where it may, and follows nobody elsewhere.
pub(crate) fn guarded(private_targets: bool) -> ClientBuilder {
    // Another part of the process may have chosen it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("callvault/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Guard { private_targets }))
}

/// A host that is an address is not resolved, so it is looked at here.
pub(crate) fn check_host(url: &Url, private_targets: bool) -> Result<(), PostError> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(PostError::Forbidden("no host".to_owned())),
    };
    match private_targets || is_public(address) {
        true => Ok(()),
        false => Err(PostError::Forbidden(FORBIDDEN.to_owned())),
    }
}

#[async_trait]
impl Courier for HttpCourier {
    async fn post(&self, letter: &Letter) -> Result<u16, PostError> {
        let url = Url::parse(&letter.url).map_err(|_| PostError::Forbidden("no address".to_owned()))?;
        check_host(&url, self.private_targets)?;
        let mut request = self.client.post(url);
        for (name, value) in &letter.headers {
            request = request.header(name, value);
        }
        let request = match &letter.payload {
            Payload::Json(text) => request.header("content-type", "application/json").body(text.clone()),
            Payload::Form(fields) => {
                let form = fields
                    .iter()
                    .fold(reqwest::multipart::Form::new(), |form, (name, value)| {
                        form.text(name.clone(), value.clone())
                    });
                request.multipart(form)
            }
            Payload::Mail(_) => return Err(PostError::Forbidden("no address".to_owned())),
        };
        let response = request.send().await.map_err(|error| describe(&error))?;
        match response.status().is_success() {
            true => Ok(response.status().as_u16()),
            false => Err(PostError::Status(response.status().as_u16())),
        }
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Reply, PostError> {
        let mut url = Url::parse(question.url).map_err(|_| PostError::Forbidden("no address".to_owned()))?;
        check_host(&url, self.private_targets)?;
        url.query_pairs_mut().extend_pairs(question.query);
        let mut request = self.client.get(url).timeout(question.patience);
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send().await.map_err(|error| describe(&error))?;
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut reply = Reply {
            status: response.status().as_u16(),
            content_type: content_type.to_owned(),
            body: Vec::new(),
        };
        while let Some(piece) = response.chunk().await.map_err(|error| describe(&error))? {
            if reply.body.len() + piece.len() > question.most_bytes {
                return Err(PostError::Refused("the answer is too long".to_owned()));
            }
            reply.body.extend_from_slice(&piece);
        }
        Ok(reply)
    }
}

/// What failed, without the address: the innermost cause, as the system says it.
fn describe(error: &reqwest::Error) -> PostError {
    if error.is_timeout() {
        return PostError::Timeout;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    match text == FORBIDDEN {
        true => PostError::Forbidden(text),
        false if error.is_connect() => PostError::Unreachable(text),
        false => PostError::Unreachable("the connection broke off".to_owned()),
    }
}

/// Resolves names, and leaves out what is not to be connected to.
struct Guard {
    private_targets: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let private_targets = self.private_targets;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|address| private_targets || is_public(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(FORBIDDEN.into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address belongs to the public internet (IANA special-purpose address registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // IPv4-mapped; NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(embedded()),
        // Global unicast is 2000::/3; in it are Teredo, benchmarks and documentation (2001::/23, 2001:db8::/32,
        // 3fff::/20) and 6to4 (2002::/16).
        [first, second, ..] => {
            let reserved = (first == 0x2001 && (second < 0x200 || second == 0xdb8))
                || first == 0x2002
                || (first == 0x3fff && second < 0x1000);
            first & 0xe000 == 0x2000 && !reserved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_posted_to() {
        for forbidden in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(forbidden.parse().expect("an address")), "{forbidden}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[tokio::test]
    async fn a_forbidden_target_is_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        listener.set_nonblocking(true).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let courier = HttpCourier::new(false).expect("a courier");
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "2130706433",
            "0x7f.1",
            "[::ffff:127.0.0.1]",
        ] {
            let letter = Letter {
                url: format!("http://{host}:{port}/"),
                payload: Payload::Json("{}".to_owned()),
                headers: Vec::new(),
            };
            let refused = courier.post(&letter).await;
            assert!(matches!(refused, Err(PostError::Forbidden(_))), "{host}: {refused:?}");
            let question = Question {
                url: &letter.url,
                query: &[],
                headers: &[],
                most_bytes: 10,
                patience: ANSWER,
            };
            let refused = courier.ask(&question).await;
            assert!(matches!(refused, Err(PostError::Forbidden(_))), "{host}: {refused:?}");
        }
        assert!(listener.accept().is_err(), "nobody came");
    }
}
