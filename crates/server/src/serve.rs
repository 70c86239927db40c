//! Listening: HTTPS and nothing else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use axum_server::Handle;
use tower::{Layer, util::MapRequestLayer};

use callvault_app::line::Line;
use callvault_voice::{
    exchange::{Exchange, ExchangeConfig},
    sip::Tls,
};

use crate::{
    api::{self, layers::lower_path, platform::limits::Limits},
    attempts::Attempts,
    batch::Batcher,
    config::{Here, Region, Voice},
    courier::HttpCourier,
    destinations::Places,
    door::Door,
    mail::SmtpMailer,
    metrics::Metrics,
    passwords::Passwords,
    plain::{self, Challenges},
    rates::Rates,
    site::{Site, SiteError},
    tls::{self, Certificate, TlsError},
    work,
};

/// How long open requests may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long a peer may take for the head of a request, and how long a connection may idle between two.
const HEADERS: Duration = Duration::from_secs(30);
/// The longest head of a request over plain HTTP.
const PLAIN_BYTES: usize = 16 * 1024;
/// How long a peer may take for the TLS handshake, or for its answer to an HTTP/2 ping.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A region cannot be opened.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] callvault_app::seal::SealError),
    /// No client for callbacks.
    #[error("callbacks: {0}")]
    Courier(#[from] reqwest::Error),
    /// No client for e-mail.
    #[error("mail: {0}")]
    Mail(#[from] crate::mail::MailError),
    /// Calls cannot be taken at this address.
    #[error("{address}: {source}")]
    Voice {
        /// Address.
        address: SocketAddr,
        /// Why.
        source: callvault_voice::sip::SipError,
    },
    /// The address is taken, or not this machine's.
    #[error("{address}: {source}")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No region is served here.
    #[error("every region of the configuration is elsewhere; nothing to serve")]
    Nothing,
}

/// A door that is open.
pub struct OpenDoor {
    /// Its region.
    pub region: String,
    /// Where it listens; the true port when 0 was asked for.
    pub address: SocketAddr,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// Its certificate in PEM.
    pub cert_file: std::path::PathBuf,
    /// Whether the certificate was made here.
    pub self_signed: bool,
    /// Where plain HTTP is redirected, if it is.
    pub http: Option<SocketAddr>,
    /// Answers that a certificate authority asks for there.
    pub challenges: Challenges,
    /// What it works with.
    pub door: Arc<Door>,
    /// Its certificate while it is served.
    pub certificate: Arc<Certificate>,
}

/// Doors that are open, and how to close them.
pub struct Serving {
    /// The doors, one a region.
    pub doors: Vec<OpenDoor>,
    exchanges: Vec<Arc<Exchange>>,
    handle: Handle<SocketAddr>,
    tasks: tokio::task::JoinSet<()>,
}

/// Opens the door of every region that is here. With `works`, also does what is due.
///
/// # Errors
/// [`ServeError`]; then nothing is served.
pub async fn open(site: &Site, works: bool) -> Result<Serving, ServeError> {
    let handle = Handle::new();
    let mut tasks = tokio::task::JoinSet::new();
    let (mut doors, mut exchanges) = (Vec::new(), Vec::new());
    let addresses = Arc::new(site.doors());
    for (region, here) in site.regions_here() {
        let vault = site.open_vault(&region.name).await?;
        let identity = tls::open_identity(region, here)?;
        let mut line = Line::new(
            Arc::clone(&vault),
            Arc::new(site.config.carrier),
            Arc::new(HttpCourier::new(site.config.private_targets)?),
        );
        let places = Places::new(site.config.private_targets, here.export_folder.clone())?;
        line = line.with_destinations(Arc::new(places));
        if let Some(mail) = &site.config.mail {
            line = line.with_mailer(Arc::new(SmtpMailer::new(mail)?));
        }
        let line = Arc::new(line.with_base_url(region.url.as_str().trim_end_matches('/').to_owned()));
        let exchange = match &here.voice {
            Some(voice) if works => Some(open_exchange(Arc::clone(&line), voice, region, here).await?),
            _ => None,
        };
        exchanges.extend(exchange.clone());
        let door = Arc::new(Door {
            vault: Arc::clone(&vault),
            line,
            exchange,
            limits: Limits::new(site.config.rate_factor),
            rates: Rates::new(site.config.sign_in.requests_per_minute),
            attempts: Attempts::new(site.config.sign_in.failures)?,
            passwords: Passwords::default(),
            lifetime: site.config.sign_in.lifetime,
            directory: Arc::clone(&site.directory),
            doors: Arc::clone(&addresses),
            batcher: Batcher::start(Arc::clone(&vault)),
            exports: Arc::new(tokio::sync::Semaphore::new(api::exports::AT_ONCE)),
            metrics: Metrics::default(),
            serves_metrics: site.config.metrics,
        });
        let certificate = Arc::new(Certificate::new(region.clone(), here.clone(), &identity));
        let (listener, address) = listen(here.listen)?;
        // The outer router only turns the connection's body into the inner one's.
        let lowered = MapRequestLayer::new(lower_path::<Body>).layer(api::router(Arc::clone(&door)));
        let app = Router::new().fallback_service(lowered);
        let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(certificate.served()).handshake_timeout(HANDSHAKE);
        let mut server = axum_server::from_tcp(listener)
            .map_err(|source| failed(here.listen, source))?
            .acceptor(acceptor)
            .handle(handle.clone());
        let protocols = server.http_builder();
        protocols.http1().header_read_timeout(HEADERS);
        protocols
            .http2()
            .keep_alive_interval(HEADERS)
            .keep_alive_timeout(HANDSHAKE);
        tasks.spawn(async move {
            if let Err(error) = server
                .serve(app.into_make_service_with_connect_info::<SocketAddr>())
                .await
            {
                tracing::error!(%error, "listener ended");
            }
        });
        let challenges = Challenges::default();
        let http = here
            .http
            .map(|http| open_plain(http, &region.url, &challenges, &handle, &mut tasks));
        let http = http.transpose()?;
        tasks.spawn(work::watch_certificate(Arc::clone(&certificate), Arc::clone(&door)));
        if works && here.acme.is_some() {
            let (here, challenges) = (here.clone(), challenges.clone());
            tasks.spawn(work::keep_certificate(
                here,
                challenges,
                Arc::clone(&certificate),
                Arc::clone(&door),
            ));
        }
        if works {
            let (vault, door) = (Arc::clone(&vault), Arc::clone(&door));
            // The loops end with the process; every step of them is a transaction.
            tasks.spawn(work::run_line(Arc::clone(&door)));
            tasks.spawn(async move { work::run(vault, Some(door)).await });
        }
        doors.push(OpenDoor {
            region: region.name.clone(),
            address,
            fingerprint: identity.fingerprint,
            cert_file: identity.cert_file,
            self_signed: identity.self_signed,
            http,
            challenges,
            door,
            certificate,
        });
    }
    if doors.is_empty() {
        return Err(ServeError::Nothing);
    }
    Ok(Serving {
        doors,
        exchanges,
        handle,
        tasks,
    })
}

async fn open_exchange(
    line: Arc<Line>,
    voice: &Voice,
    region: &Region,
    here: &Here,
) -> Result<Arc<Exchange>, ServeError> {
    let proxies = voice.trunks.iter().filter_map(|trunk| {
        let name = trunk.proxy_name.clone()?;
        Some((name, trunk.proxy?))
    });
    let tls = match voice.tls_listen {
        None => None,
        Some(listen) => Some(Tls {
            listen,
            pair: tls::read_pair(region, here)?,
            authorities: voice.tls_authorities.clone(),
            names: proxies.collect(),
        }),
    };
    let config = ExchangeConfig {
        listen: voice.listen,
        tls,
        ports: voice.ports.clone(),
        most_late: voice.most_late,
        trunks: voice.trunks.clone(),
        speech: voice.speech.clone(),
    };
    let opened = Exchange::open(line, config).await;
    opened.map_err(|source| ServeError::Voice {
        address: voice.listen,
        source,
    })
}

fn failed(address: SocketAddr, source: std::io::Error) -> ServeError {
    ServeError::Listen { address, source }
}

fn listen(wanted: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), ServeError> {
    let open = || {
        let listener = std::net::TcpListener::bind(wanted)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|source| failed(wanted, source))
}

/// Answers plain HTTP with the way to the door.
fn open_plain(
    wanted: SocketAddr,
    door: &url::Url,
    challenges: &Challenges,
    handle: &Handle<SocketAddr>,
    tasks: &mut tokio::task::JoinSet<()>,
) -> Result<SocketAddr, ServeError> {
    let (listener, address) = listen(wanted)?;
    let app = plain::router(door.clone(), challenges.clone());
    let mut server = axum_server::from_tcp(listener)
        .map_err(|source| failed(wanted, source))?
        .handle(handle.clone());
    let mut http1 = server.http_builder().http1();
    http1
        .header_read_timeout(HANDSHAKE)
        .keep_alive(false)
        .max_buf_size(PLAIN_BYTES);
    tasks.spawn(async move {
        if let Err(error) = server.serve(app.into_make_service()).await {
            tracing::error!(%error, "plain listener ended");
        }
    });
    Ok(address)
}

impl Serving {
    /// Serves until the process is told to stop, then lets open requests end.
    pub async fn until_told(self) {
        told_to_stop().await;
        self.close().await;
    }

    /// Stops listening, ends the calls that go on, and lets open requests end.
    pub async fn close(mut self) {
        self.handle.graceful_shutdown(Some(GRACE));
        for exchange in &self.exchanges {
            exchange.close(GRACE).await;
        }
        let doors = self.doors.len();
        // The listeners end by themselves; the working loops are dropped.
        let ended = async {
            for _ in 0..doors {
                let _ = self.tasks.join_next().await;
            }
        };
        let _ = tokio::time::timeout(GRACE + Duration::from_secs(1), ended).await;
        self.tasks.abort_all();
    }
}

/// Ctrl-C or SIGTERM.
pub async fn told_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => _ = interrupt.await,
    }
}
