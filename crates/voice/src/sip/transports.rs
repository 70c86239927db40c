//! What SIP is spoken over: UDP, TCP, and TLS.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use rsipstack::{
    sip::{HostWithPort, Param, Transport, Uri},
    transport::{
        SipAddr, TcpListenerConnection, TlsConfig, TlsListenerConnection, TransportLayer,
        tls::ReloadableCertResolver,
        transport_layer::{DefaultDomainResolver, DomainResolver},
        udp::UdpConnection,
    },
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{SipError, USER_AGENT, uri_of};

/// A certificate chain and its key, both in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The chain.
    pub cert: Vec<u8>,
    /// The key: PKCS #8, or PKCS #1.
    pub key: Zeroizing<Vec<u8>>,
}

/// How SIP is encrypted.
pub struct Tls {
    /// Where it is listened for.
    pub listen: SocketAddr,
    /// What is shown there.
    pub pair: Pair,
    /// Who signs the certificates of proxies, in PEM.
    pub authorities: Option<Vec<u8>>,
    /// Where the proxies are whose certificates have these names.
    pub names: HashMap<String, SocketAddr>,
}

/// What is open.
pub(super) struct Transports {
    pub(super) layer: TransportLayer,
    /// Where UDP and TCP are listened for.
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsListenerConnection>,
    /// How we are called: in the clear, and by TLS.
    pub(super) contacts: Contacts,
}

/// How we are called.
#[derive(Clone)]
pub(super) struct Contacts {
    pub(super) plain: Uri,
    pub(super) tls: Option<Uri>,
}

impl Contacts {
    /// Over what the other side speaks with us.
    pub(super) fn of(&self, is_encrypted: bool) -> Uri {
        let tls = self.tls.as_ref().filter(|_| is_encrypted);
        tls.unwrap_or(&self.plain).clone()
    }
}

/// Opens all of them, for these peers alone.
pub(super) async fn open(
    listen: SocketAddr,
    peers: HashSet<IpAddr>,
    tls: Option<Tls>,
    stop: &CancellationToken,
) -> Result<Transports, SipError> {
    let names = tls.as_ref().map(|tls| tls.names.clone()).unwrap_or_default();
    let resolver = Names(names, DefaultDomainResolver::default());
    let layer = TransportLayer::new_with_domain_resolver(stop.clone(), Box::new(resolver));
    // A connection of anybody else ends before it says anything.
    layer.set_whitelist(move |peer: IpAddr| std::future::ready(peers.contains(&peer)));
    let udp = UdpConnection::create_connection(listen, None, Some(stop.child_token())).await?;
    let port = udp.get_addr().addr.port.map_or(listen.port(), |port| port.0);
    let address = SocketAddr::new(listen.ip(), port);
    layer.add_transport(udp.into());
    check_free(address)?;
    layer.add_transport(TcpListenerConnection::new(address, None).await?.into());
    let mut contacts = Contacts {
        plain: uri_of(USER_AGENT.to_ascii_lowercase(), address),
        tls: None,
    };
    let mut listener = None;
    if let Some(tls) = tls {
        check_free(tls.listen)?;
        check_pair(&tls.pair)?;
        let config = TlsConfig {
            cert: Some(tls.pair.cert.clone()),
            key: Some(tls.pair.key.to_vec()),
            ca_certs: tls.authorities,
            ..TlsConfig::default()
        };
        layer.set_tls_config(config.clone());
        let opened = TlsListenerConnection::new(tls.listen, None, config).await?;
        layer.add_transport(opened.clone().into());
        listener = Some(opened);
        contacts.tls = Some(by_tls(uri_of(USER_AGENT.to_ascii_lowercase(), tls.listen)));
    }
    Ok(Transports {
        layer,
        address,
        tls: listener,
        contacts,
    })
}

/// The same, to be reached by TLS.
pub(super) fn by_tls(mut uri: Uri) -> Uri {
    uri.params.push(Param::Transport(Transport::Tls));
    uri
}

/// The stack says nothing of an address that it cannot listen on.
fn check_free(address: SocketAddr) -> Result<(), SipError> {
    let taken = |error: io::Error| SipError(format!("{address}: {}", error.kind()));
    std::net::TcpListener::bind(address).map(drop).map_err(taken)
}

/// Nor of a pair that it cannot show.
pub(super) fn check_pair(pair: &Pair) -> Result<(), SipError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let checked = ReloadableCertResolver::new(&pair.cert, &pair.key, provider);
    checked.map(drop).map_err(|_| {
        SipError("the certificate or its key cannot be used for TLS (the key has to be PKCS #8)".to_owned())
    })
}

/// Knows where the proxies are, and asks the system for everybody else.
struct Names(HashMap<String, SocketAddr>, DefaultDomainResolver);

#[async_trait]
impl DomainResolver for Names {
    async fn resolve(&self, target: &SipAddr) -> rsipstack::Result<SipAddr> {
        match self.0.get(&target.addr.host.to_string()) {
            Some(address) => Ok(SipAddr {
                r#type: target.r#type,
                addr: HostWithPort::from(*address),
            }),
            None => self.1.resolve(target).await,
        }
    }
}
