//! SIP (RFC 3261): calls that come in, and calls that go out. Nothing of the stack below is seen from outside this module.
//!
//! What comes from an address that is none of a trunk's is dropped before it is looked at. The stack writes whole messages,
//! with the parties' numbers, into its log: `rsipstack` is to be switched off in whatever collects logs ([`LOG_TARGET`]).

mod door;
mod leg;
mod login;
mod timer;
mod transports;

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
};

use rsipstack::{
    EndpointBuilder,
    dialog::{authenticate::Credential, dialog_layer::DialogLayer, invitation::InviteOption},
    sip::{
        Auth, Header, Headers, Host, Method, Request, Scheme, StatusCode, StatusCodeKind, Uri, prelude::HeadersExt as _,
    },
    transaction::{TransactionReceiver, transaction::Transaction},
    transport::TlsListenerConnection,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    door::{Guard, Source, Stamp, source_of},
    leg::leg_of,
    login::{Logins, Verdict},
    timer::{Timer, TooShort},
    transports::{Contacts, by_tls, check_pair},
};
use crate::siprec;

pub use leg::{End, Leg, Offer, Signal};
pub use login::Login;
pub use transports::{Pair, Tls};

/// Who writes messages into the log, and must not.
pub const LOG_TARGET: &str = "rsipstack";
const USER_AGENT: &str = "Callvault";
/// Who answers recording sessions: what has this user in its `Contact` is marked as a recording server (RFC 7866, section 7.2).
const RECORDER: &str = "recorder";
/// Extensions that may be required of it (RFC 3261, section 8.2.2.3).
const EXTENSIONS: [&str; 2] = ["siprec", timer::TAG];
/// Who understands whether he is recorded (RFC 7866, section 6.3).
const AWARE: &str = "record-aware";

/// What went wrong, without what a message said.
#[derive(Debug, Clone, thiserror::Error)]
#[error("SIP: {0}")]
pub struct SipError(String);

impl From<rsipstack::Error> for SipError {
    fn from(error: rsipstack::Error) -> Self {
        // The kind alone: the rest may quote a message.
        let kind = format!("{error:?}");
        Self(kind.split(['(', '{', ' ']).next().unwrap_or("error").to_owned())
    }
}

/// A call that comes in.
pub struct Invite {
    /// Where it comes from.
    pub source: IpAddr,
    /// Whether it came by TLS.
    pub is_encrypted: bool,
    /// The caller, as the trunk says.
    pub from: String,
    /// The called number.
    pub to: String,
    /// The description of the caller's media; empty if he wants ours first.
    pub offer: Vec<u8>,
    /// What that is: a description, or several parts.
    pub content_type: String,
    /// Whether it says that it is a recording session (RFC 7866, section 6.1).
    pub is_recording: bool,
    /// The caller's side.
    pub leg: Leg,
}

/// Whom to call.
#[derive(Clone)]
pub struct Dial {
    /// The trunk's address.
    pub proxy: SocketAddr,
    /// What the proxy's certificate has to say; it is called by TLS then.
    pub proxy_name: Option<String>,
    /// The called number or name.
    pub to: String,
    /// The caller, as it is shown.
    pub from: String,
    /// Our description.
    pub offer: String,
    /// What the trunk asks for.
    pub login: Option<Login>,
}

/// A call that goes out and is not answered yet.
pub struct Dialing {
    /// The called party's side.
    pub leg: Leg,
    /// What it answers, to be waited for with [`answered`].
    pub answer: Answer,
}

/// What a called party answers.
pub type Answer = tokio::task::JoinHandle<Result<Vec<u8>, End>>;

/// Waits for the answer: a description of media, or how it ended.
///
/// # Errors
/// How it ended.
pub async fn answered(answer: &mut Answer) -> Result<Vec<u8>, End> {
    answer.await.unwrap_or(Err(End::Refused(500)))
}

/// The SIP endpoint.
pub struct Endpoint {
    layer: Arc<DialogLayer>,
    contacts: Contacts,
    address: SocketAddr,
    tls: Option<TlsListenerConnection>,
    stop: CancellationToken,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Endpoint {
    /// Opens an endpoint over UDP and TCP, and over TLS if it is told how. Messages are taken from these peers alone, and calls of those that have a login only with
    /// it. Calls that come in are handed over.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn open(
        listen: SocketAddr,
        peers: HashSet<IpAddr>,
        logins: Vec<(IpAddr, Login)>,
        tls: Option<Tls>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Invite>), SipError> {
        let stop = CancellationToken::new();
        let opened = transports::open(listen, peers.clone(), tls, &stop).await?;
        let endpoint = EndpointBuilder::new()
            .with_user_agent(USER_AGENT)
            .with_cancel_token(stop.clone())
            .with_transport_layer(opened.layer)
            .with_transport_inspector(Box::new(Guard::new(peers)))
            .with_inspector(Box::new(Stamp))
            .build();
        let incoming = endpoint.incoming_transactions()?;
        let layer = Arc::new(DialogLayer::new(endpoint.inner.clone()));
        let ours = Arc::new(Self {
            layer: Arc::clone(&layer),
            contacts: opened.contacts.clone(),
            address: opened.address,
            tls: opened.tls,
            stop: stop.clone(),
        });
        tokio::spawn(async move {
            let _ = endpoint.serve().await;
        });
        let (invites, taken) = mpsc::channel(64);
        tokio::spawn(serve(
            layer,
            incoming,
            opened.contacts,
            Logins::new(logins),
            invites,
            stop,
        ));
        Ok((ours, taken))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows another certificate to whoever connects from now on.
    ///
    /// # Errors
    /// When it cannot be used; then the one before is still shown.
    pub async fn renew(&self, pair: &Pair) -> Result<(), SipError> {
        match &self.tls {
            Some(tls) => {
                check_pair(pair)?;
                Ok(tls.reload_tls_config(pair.cert.clone(), pair.key.to_vec()).await?)
            }
            None => Ok(()),
        }
    }

    /// Calls somebody.
    ///
    /// # Errors
    /// When the request cannot be made.
    pub fn dial(&self, dial: Dial) -> Result<Dialing, SipError> {
        let is_encrypted = dial.proxy_name.is_some();
        let credential = dial.login.map(|login| Credential {
            username: login.user,
            password: login.password,
            realm: None,
            auth_username: None,
        });
        let mut callee = uri_of(dial.to, dial.proxy);
        if let Some(name) = dial.proxy_name {
            callee.host_with_port.host = Host::Domain(name.into());
            callee = by_tls(callee);
        }
        let options = InviteOption {
            caller: uri_of(dial.from, self.address),
            contact: self.contacts.of(is_encrypted),
            callee,
            content_type: Some("application/sdp".to_owned()),
            offer: Some(dial.offer.into_bytes()),
            credential,
            ..InviteOption::default()
        };
        let (states, received) = self.layer.new_dialog_state_channel();
        let (dialog, done) = self.layer.do_invite_async(options, states)?;
        let leg = leg_of(dialog, &self.layer, received, None);
        let understands = leg.understands();
        let answer = tokio::spawn(async move {
            match done.await {
                Ok(Ok((_, Some(response)))) => match response.status_code.kind() {
                    StatusCodeKind::Successful => {
                        understands.store(has_tag(&response.headers, "Supported", AWARE), Ordering::Relaxed);
                        Ok(response.body)
                    }
                    _ => Err(End::Refused(response.status_code.code())),
                },
                Ok(Ok((_, None))) => Err(End::Timeout),
                Ok(Err(_)) | Err(_) => Err(End::Refused(503)),
            }
        });
        Ok(Dialing { leg, answer })
    }
}

fn uri_of(user: String, address: SocketAddr) -> Uri {
    Uri {
        scheme: Some(Scheme::Sip),
        auth: Some(Auth { user, password: None }),
        host_with_port: address.into(),
        params: Vec::new(),
        headers: Vec::new(),
    }
}

/// Takes requests until it is stopped.
async fn serve(
    layer: Arc<DialogLayer>,
    mut incoming: TransactionReceiver,
    contacts: Contacts,
    logins: Logins,
    invites: mpsc::Sender<Invite>,
    stop: CancellationToken,
) {
    loop {
        let mut request = tokio::select! {
            request = incoming.recv() => match request {
                Some(request) => request,
                None => return,
            },
            () = stop.cancelled() => return,
        };
        if let Some(mut dialog) = layer.match_dialog(&request) {
            tokio::spawn(async move {
                let _ = dialog.handle(&mut request).await;
            });
            continue;
        }
        let has_tag = request.original.to_header().is_ok_and(|to| to.value().contains("tag="));
        match request.original.method {
            Method::Invite if !has_tag => begin(&layer, request, &contacts, &logins, &invites),
            // An answer to what was refused; there is nothing to answer.
            Method::Ack => {}
            Method::Options if !has_tag => reply(request, StatusCode::OK),
            Method::Invite | Method::Bye | Method::Info | Method::Update | Method::Options | Method::Cancel => {
                reply(request, StatusCode::CallTransactionDoesNotExist);
            }
            _ => reply(request, StatusCode::MethodNotAllowed),
        }
    }
}

fn reply(request: Transaction, status: StatusCode) {
    reply_with(request, status, Vec::new());
}

fn reply_with(mut request: Transaction, status: StatusCode, headers: Vec<Header>) {
    tokio::spawn(async move {
        let _ = request.reply_with(status, headers, None).await;
    });
}

fn user_of(uri: &Uri) -> String {
    uri.auth.as_ref().map(|auth| auth.user.clone()).unwrap_or_default()
}

/// What a header says, as it was sent.
fn text_of<'r>(request: &'r Request, name: &str) -> Vec<&'r str> {
    values(&request.headers, name).collect()
}

fn values<'h>(headers: &'h Headers, name: &str) -> impl Iterator<Item = &'h str> {
    let of_name = move |header: &&'h Header| header.name().eq_ignore_ascii_case(name);
    headers.iter().filter(of_name).map(Header::value)
}

/// Whether a header of option tags has this one.
fn has_tag(headers: &Headers, name: &str, tag: &str) -> bool {
    let mut tags = values(headers, name).flat_map(|tags| tags.split(','));
    tags.any(|known| known.trim().eq_ignore_ascii_case(tag))
}

fn begin(
    layer: &Arc<DialogLayer>,
    mut request: Transaction,
    contacts: &Contacts,
    logins: &Logins,
    invites: &mpsc::Sender<Invite>,
) {
    let parts = (
        source_of(&request.original),
        request.original.from_header().ok().and_then(|from| from.uri().ok()),
    );
    let (Some(Source { peer, is_encrypted }), Some(from)) = parts else {
        return reply(request, StatusCode::BadRequest);
    };
    let required: Vec<String> = text_of(&request.original, "Require")
        .iter()
        .flat_map(|tags| tags.split(','))
        .map(|tag| tag.trim().to_ascii_lowercase())
        .collect();
    let unknown: Vec<&str> = required
        .iter()
        .map(String::as_str)
        .filter(|tag| !EXTENSIONS.contains(tag))
        .collect();
    if !unknown.is_empty() {
        let unsupported = vec![Header::Unsupported(unknown.join(", ").into())];
        return reply_with(request, StatusCode::BadExtension, unsupported);
    }
    let timer = match Timer::of(&request.original) {
        Ok(timer) => timer,
        Err(TooShort) => return reply_with(request, StatusCode::SessionIntervalTooSmall, vec![TooShort::header()]),
    };
    match logins.judge(peer, &request.original) {
        Verdict::Welcome => {}
        Verdict::Ask(challenges) => return reply_with(request, StatusCode::Unauthorized, challenges),
    }
    let Ok(room) = invites.clone().try_reserve_owned() else {
        return reply(request, StatusCode::ServiceUnavailable);
    };
    let requires_recording = required.iter().any(|tag| tag == "siprec");
    let content_type = text_of(&request.original, "Content-Type").concat();
    let mut contact = contacts.of(is_encrypted);
    if requires_recording || siprec::is_multipart(&content_type) {
        contact.auth = Some(Auth {
            user: RECORDER.to_owned(),
            password: None,
        });
    }
    let (states, received) = layer.new_dialog_state_channel();
    let Ok(dialog) = layer.get_or_create_server_invite(&request, states, None, Some(contact)) else {
        return reply(request, StatusCode::BadRequest);
    };
    let leg = leg_of(dialog.clone(), layer, received, timer);
    leg.understands().store(
        has_tag(&request.original.headers, "Supported", AWARE),
        Ordering::Relaxed,
    );
    let is_client = |contact: &&str| contact.contains("+sip.src");
    let invite = Invite {
        source: peer,
        is_encrypted,
        from: user_of(&from),
        to: user_of(&request.original.uri),
        offer: request.original.body.clone(),
        content_type,
        is_recording: requires_recording && text_of(&request.original, "Contact").iter().any(is_client),
        leg,
    };
    let mut dialog = dialog;
    tokio::spawn(async move {
        let _ = dialog.handle(&mut request).await;
    });
    room.send(invite);
}
