//! The exchange: takes calls of trunks, and leads each through its account's flow.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use callvault_app::{
    Account, VaultError,
    core::{AccountSid, Number, Sid, consent::Event},
    flow::SavedFlow,
    line::{CallOrder, Line, LiveCall, Placer, Room, Seat},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    carry::{self, Accepted},
    load::Load,
    media::Ports,
    pace,
    prompts::Prompts,
    sdp,
    sip::{Endpoint, Invite, Login, Pair, SipError, Tls},
    siprec::{self, Siprec},
};

/// Where calls come from and go to, for one account.
#[derive(Clone)]
pub struct Trunk {
    /// Whose calls they are.
    pub account: AccountSid,
    /// Addresses that its calls come from. No two trunks share one.
    pub peers: Vec<IpAddr>,
    /// Where its calls go to, if they go anywhere.
    pub proxy: Option<SocketAddr>,
    /// What the proxy's certificate has to say; it is called by TLS then.
    pub proxy_name: Option<String>,
    /// Whether its calls have to come by TLS.
    pub needs_tls: bool,
    /// User and password that the proxy asks for.
    pub login: Option<Login>,
    /// What its calls are asked for.
    pub callers: Option<Login>,
    /// Whether its media are encrypted (SRTP) and no others taken; otherwise they are where it offers that.
    pub needs_srtp: bool,
    /// Calls at the same time.
    pub most_calls: usize,
    /// Whether it sends copies of its own calls.
    pub siprec: Siprec,
}

/// How calls are taken.
pub struct ExchangeConfig {
    /// Where SIP is listened for, over UDP and TCP.
    pub listen: SocketAddr,
    /// How SIP is encrypted, if it is.
    pub tls: Option<Tls>,
    /// Ports of media, at the same address.
    pub ports: RangeInclusive<u16>,
    /// How late packets may be sent; when a tenth of them is later, calls are refused.
    pub most_late: Duration,
    /// Trunks.
    pub trunks: Vec<Trunk>,
    /// What speaks texts.
    pub speech: PathBuf,
}

/// Who goes on a call is told what is asked of it.
type Controls = Mutex<HashMap<Sid, (AccountSid, mpsc::Sender<Event>)>>;

/// Takes calls.
pub struct Exchange {
    pub(crate) line: Arc<Line>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) ports: Ports,
    pub(crate) prompts: Prompts,
    load: Arc<Load>,
    trunks: Vec<Trunk>,
    controls: Controls,
    /// Calls end when this is cancelled.
    pub(crate) closing: CancellationToken,
    me: Weak<Self>,
}

/// How often it is looked whether the calls are over, when the exchange closes.
const LOOK: Duration = Duration::from_millis(100);

impl Placer for Exchange {
    fn line(&self) -> &Arc<Line> {
        &self.line
    }

    fn reserve(&self, account: &AccountSid, call: Sid) -> Room {
        let is_own = |trunk: &&Trunk| trunk.account == *account && trunk.proxy.is_some();
        let Some(trunk) = self.trunks.iter().find(is_own) else {
            return Room::None;
        };
        if self.load.is_behind() {
            return Room::Full;
        }
        match self.register(trunk, call) {
            Some((registered, controls)) => Room::Free(Box::new(Taken {
                trunk: trunk.clone(),
                registered,
                controls,
            })),
            None => Room::Full,
        }
    }
}

/// A line that is taken for a call that is ordered.
struct Taken {
    trunk: Trunk,
    registered: Registered,
    controls: mpsc::Receiver<Event>,
}

impl Seat for Taken {
    fn place(self: Box<Self>, call: LiveCall, order: CallOrder) {
        tokio::spawn(async move {
            let exchange = &self.registered.exchange;
            carry::place(exchange, &self.trunk, self.controls, call, &order).await;
        });
    }
}

impl Exchange {
    /// Opens the exchange. Calls are taken from now on.
    ///
    /// # Errors
    /// When its address cannot be listened on.
    pub async fn open(line: Arc<Line>, config: ExchangeConfig) -> Result<Arc<Self>, SipError> {
        let peers: HashSet<IpAddr> = config
            .trunks
            .iter()
            .flat_map(|trunk| trunk.peers.iter().copied().chain(trunk.proxy.map(|proxy| proxy.ip())))
            .collect();
        let logins = config.trunks.iter().flat_map(|trunk| {
            let of_peer = |login: Login| trunk.peers.iter().map(move |peer| (*peer, login.clone()));
            trunk.callers.clone().into_iter().flat_map(of_peer)
        });
        let (endpoint, mut invites) = Endpoint::open(config.listen, peers, logins.collect(), config.tls).await?;
        let exchange = Arc::new_cyclic(|me: &Weak<Self>| Self {
            line,
            ports: Ports::new(config.listen.ip(), config.ports),
            endpoint,
            prompts: Prompts::new(config.speech),
            load: Arc::new(Load::new(config.most_late)),
            trunks: config.trunks,
            controls: Mutex::default(),
            closing: CancellationToken::new(),
            me: Weak::clone(me),
        });
        let placer: Weak<dyn Placer> = Arc::downgrade(&exchange) as Weak<dyn Placer>;
        exchange.line.connect(placer);
        let (load, stop) = (Arc::clone(&exchange.load), exchange.closing.clone());
        tokio::spawn(async move { stop.run_until_cancelled(load.watch()).await });
        let taking = Arc::downgrade(&exchange);
        tokio::spawn(async move {
            while let Some(invite) = invites.recv().await {
                let Some(exchange) = taking.upgrade() else { return };
                tokio::spawn(exchange.take(invite));
            }
        });
        Ok(exchange)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// Shows another certificate to whoever connects by TLS from now on.
    ///
    /// # Errors
    /// When it cannot be used; then the one before is still shown.
    pub async fn renew(&self, pair: &Pair) -> Result<(), SipError> {
        self.endpoint.renew(pair).await
    }

    /// Calls that go on.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.controls().len()
    }

    /// Ends every call and takes none any more. Waits until their ends are kept, or this long.
    pub async fn close(&self, patience: Duration) {
        self.closing.cancel();
        let over = async {
            while self.calls() > 0 {
                pace::wait(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(patience, over).await;
    }

    /// Why a call ends at once that is carried here no longer.
    pub(crate) fn why_cut(&self) -> &'static str {
        match self.closing.is_cancelled() {
            true => "shut down",
            false => "cut off",
        }
    }

    /// Tells a call of an account that its recording rests, goes on, or is withdrawn.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is no such call.
    pub async fn tell(&self, account: &AccountSid, call: Sid, event: Event) -> Result<(), VaultError> {
        let none = VaultError::NotFound { what: "live call" };
        let control = self
            .controls()
            .get(&call)
            .filter(|(owner, _)| owner == account)
            .cloned();
        match control {
            Some((_, control)) => control.send(event).await.map_err(|_| none),
            None => Err(none),
        }
    }

    fn controls(&self) -> std::sync::MutexGuard<'_, HashMap<Sid, (AccountSid, mpsc::Sender<Event>)>> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call, unless its trunk has as many as it may.
    pub(crate) fn register(&self, trunk: &Trunk, call: Sid) -> Option<(Registered, mpsc::Receiver<Event>)> {
        let exchange = self.me.upgrade()?;
        let (control, told) = mpsc::channel(8);
        let mut controls = self.controls();
        let own = |(owner, _): &&(AccountSid, mpsc::Sender<Event>)| *owner == trunk.account;
        let count = controls.values().filter(own).count();
        if count >= trunk.most_calls {
            return None;
        }
        controls.insert(call, (trunk.account.clone(), control));
        Some((Registered { exchange, call }, told))
    }

    async fn take(self: Arc<Self>, mut invite: Invite) {
        if self.closing.is_cancelled() || self.load.is_behind() {
            invite.leg.reject(503);
            return;
        }
        let taken = match self.whose(&invite).await {
            Ok((trunk, account)) if invite.is_recording || siprec::is_multipart(&invite.content_type) => {
                siprec::take(&self, &trunk, account, &mut invite).await
            }
            Ok((trunk, account)) => match self.admit(trunk, account, &invite).await {
                Ok(accepted) => carry::carry(&self, accepted, &mut invite).await,
                Err(status) => Err(status),
            },
            Err(status) => Err(status),
        };
        if let Err(status) = taken {
            invite.leg.reject(status);
        }
    }

    /// Whose call it is; or the status that refuses it.
    async fn whose(&self, invite: &Invite) -> Result<(Trunk, Account), u16> {
        let trunk = self.trunks.iter().find(|trunk| trunk.peers.contains(&invite.source));
        let trunk = trunk.ok_or(403_u16)?.clone();
        if trunk.needs_tls && !invite.is_encrypted {
            return Err(403);
        }
        match self.line.vault().get_account(&trunk.account).await {
            Ok(account) => Ok((trunk, account)),
            Err(VaultError::NotFound { .. }) => Err(404),
            Err(error) => {
                tracing::warn!(%error, "a call is refused");
                Err(503)
            }
        }
    }

    /// What answers a call; or the status that refuses it.
    async fn admit(&self, trunk: Trunk, account: Account, invite: &Invite) -> Result<Accepted, u16> {
        let read = |text: &str| Number::parse(text, account.country).map_err(|_| 484_u16);
        let (from, to) = (read(&invite.from).unwrap_or_default(), read(&invite.to)?);
        let offer = match invite.offer.as_slice() {
            [] => None,
            offer => Some(sdp::parse(offer).map_err(|_| 488_u16)?),
        };
        if trunk.needs_srtp && offer.as_ref().is_some_and(|offer| offer.crypto.is_none()) {
            return Err(488);
        }
        let flow = self.flow_for(&account, &to).await?;
        Ok(Accepted {
            trunk,
            account,
            from,
            to,
            offer,
            flow,
        })
    }

    async fn flow_for(&self, account: &Account, number: &Number) -> Result<SavedFlow, u16> {
        match self.line.vault().flow_for(account, number).await {
            Ok(flow) => Ok(flow),
            Err(VaultError::NotFound { .. }) => Err(404),
            Err(error) => {
                tracing::warn!(%error, "a call is refused");
                Err(503)
            }
        }
    }
}

/// A call that is counted; until it is dropped.
pub(crate) struct Registered {
    exchange: Arc<Exchange>,
    call: Sid,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.exchange.controls().remove(&self.call);
    }
}
