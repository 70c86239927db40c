//! The media of a leg: a socket, whom it hears, and what it sends.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::atomic::{AtomicU16, Ordering},
};

use callvault_app::seal::random_bytes;
use tokio::net::UdpSocket;

use crate::{
    digits::Events,
    g711::{Law, RATE_HZ},
    rtp::Packet,
    sdp::{self, Audio, Direction, Recording, Wish},
    srtp::{Key, Secure},
    tones::Ear,
};

/// Samples of a packet: 20 ms.
pub const FRAME_SAMPLES: usize = 160;
/// Milliseconds of a packet.
pub const FRAME_MS: u64 = 20;
/// The longest packet that is taken.
pub const MAX_PACKET_BYTES: usize = 2_048;

/// The ports that media are taken on; even ones.
#[derive(Debug)]
pub struct Ports {
    address: IpAddr,
    range: RangeInclusive<u16>,
    next: AtomicU16,
}

impl Ports {
    /// Ports of an address.
    #[must_use]
    pub const fn new(address: IpAddr, range: RangeInclusive<u16>) -> Self {
        let first = *range.start();
        Self {
            address,
            range,
            next: AtomicU16::new(first),
        }
    }

    /// Takes a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn take(&self) -> io::Result<UdpSocket> {
        let (first, last) = (*self.range.start(), *self.range.end());
        for _ in 0..=(last - first) / 2 {
            let port = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |port| {
                Some(if last - port < 2 { first } else { port + 2 })
            });
            let port = port.unwrap_or(first);
            match UdpSocket::bind((self.address, port)).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// What a leg says.
pub enum Heard<'p> {
    /// Audio.
    Audio(Packet<'p>),
    /// A packet of a key that is pressed, and the key when it is the first one.
    Key(Packet<'p>, Option<char>),
}

/// The media of a leg.
pub struct Media {
    socket: UdpSocket,
    /// Whom it hears and answers.
    remote: Option<Audio>,
    /// Where the leg's signalling comes from: media of there are taken as well, whatever address a leg behind NAT names.
    peer: IpAddr,
    /// Where packets come from, once one came; answers go there.
    source: Option<SocketAddr>,
    law: Law,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    keys: Events,
    ear: Ear,
    /// Keys in the audio that are not told yet.
    heard: Vec<char>,
    buffer: Vec<u8>,
    /// What we encrypt with, where media are encrypted.
    key: Key,
    secure: Option<Secure>,
    /// Whether media are encrypted, once that is clear.
    is_secure: Option<bool>,
    /// How often they were described.
    version: u64,
    /// What the other side would have of a recording.
    wish: Option<Wish>,
    /// What it would have had before, and now, until somebody asks.
    wished: Option<[Option<Wish>; 2]>,
}

impl Media {
    /// Media on a socket, of a leg whose signalling comes from this peer.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new(socket: UdpSocket, law: Law, peer: IpAddr) -> io::Result<Self> {
        let random: [u8; 10] = random_bytes().map_err(io::Error::other)?;
        let [s0, s1, s2, s3, q0, q1, t0, t1, t2, t3] = random;
        Ok(Self {
            socket,
            remote: None,
            peer,
            source: None,
            law,
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            sequence: u16::from_be_bytes([q0, q1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            keys: Events::default(),
            ear: Ear::default(),
            heard: Vec::new(),
            buffer: Vec::new(),
            key: Key::new()?,
            secure: None,
            is_secure: None,
            version: 0,
            wish: None,
            wished: None,
        })
    }

    /// Where it receives.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The law of what is heard and sent.
    #[must_use]
    pub const fn law(&self) -> Law {
        self.law
    }

    /// Our description of them. It says whether they are recorded, where the other side understands that.
    #[must_use]
    pub fn describe(&mut self, mut ours: Audio, recording: Option<Recording>) -> String {
        ours.recording = recording;
        self.version += 1;
        sdp::write(&ours, u64::from(ours.port), self.version)
    }

    /// The description that goes with what the other side said last; nothing before it said anything.
    #[must_use]
    pub fn ours(&self) -> Option<Audio> {
        let (remote, address) = (self.remote.as_ref()?, self.address().ok()?);
        let mut ours = sdp::answer(remote, address.ip(), address.port(), &self.key);
        ours.laws = vec![self.law];
        Some(ours)
    }

    /// What the other side would have had of a recording before, and would have now, if that is news.
    pub const fn wished(&mut self) -> Option<[Option<Wish>; 2]> {
        self.wished.take()
    }

    /// Takes what the other side said of its media.
    pub fn connect(&mut self, remote: Audio) {
        if self.wish != remote.wish {
            self.wished = Some([self.wish, remote.wish]);
            self.wish = remote.wish;
        }
        if let Some(law) = remote.laws.first() {
            self.law = *law;
        }
        self.remote = None;
        if let Some(crypto) = &remote.crypto {
            match &mut self.secure {
                Some(secure) => secure.rekey(&crypto.key),
                none => *none = Secure::new(&self.key, &crypto.key),
            }
            if self.secure.is_none() {
                // Nothing is said in the clear instead.
                return;
            }
        }
        self.is_secure = Some(remote.crypto.is_some());
        self.source = None;
        self.remote = Some(remote);
    }

    /// What we encrypt with.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Has it encrypted, or not, whatever the other side would rather have.
    pub const fn demand(&mut self, is_secure: bool) {
        self.is_secure = Some(is_secure);
    }

    /// Whether media are encrypted.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        matches!(self.is_secure, Some(true))
    }

    /// Whether a description says of encryption what was demanded or agreed: nobody gets it out by changing a message.
    #[must_use]
    pub fn agrees(&self, remote: &Audio) -> bool {
        self.is_secure
            .is_none_or(|is_secure| is_secure == remote.crypto.is_some())
    }

    /// Whether the other side holds the line.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.remote
            .as_ref()
            .is_some_and(|remote| remote.direction != Direction::SendRecv)
    }

    /// Waits for what the leg says next. What comes from elsewhere, and what is no RTP, is dropped.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn hear<'b>(&mut self, buffer: &'b mut [u8; MAX_PACKET_BYTES]) -> io::Result<Heard<'b>> {
        loop {
            let (length, from) = match self.socket.recv_from(buffer).await {
                // The other side closed its port; the signalling says what that means.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                received => received?,
            };
            if !self.expects(from) {
                continue;
            }
            // The borrow checker does not see that a packet that is not given on lets go of the buffer.
            let sender = match Packet::parse(&buffer[..length]) {
                Ok(packet) if self.is_ours(packet.payload_type) => packet.ssrc,
                _ => continue,
            };
            let length = match &mut self.secure {
                None => length,
                Some(secure) => match secure.open(sender, &buffer[..length]) {
                    Some(opened) if opened.len() <= length => {
                        buffer[..opened.len()].copy_from_slice(&opened);
                        opened.len()
                    }
                    _ => continue,
                },
            };
            if Packet::parse(&buffer[..length]).is_ok() {
                self.source = Some(from);
                let packet = Packet::parse(&buffer[..length]).map_err(io::Error::other)?;
                return Ok(self.sort(packet));
            }
        }
    }

    /// Drops what came and was not heard.
    pub fn forget(&mut self) {
        let mut buffer = [0; MAX_PACKET_BYTES];
        while self.socket.try_recv_from(&mut buffer).is_ok() {}
        self.heard.clear();
    }

    fn expects(&self, from: SocketAddr) -> bool {
        let named = self.remote.as_ref().map(|remote| remote.address);
        match self.source {
            Some(source) => source == from,
            None => named.is_some_and(|named| named == from.ip() || self.peer == from.ip()),
        }
    }

    fn is_ours(&self, payload_type: u8) -> bool {
        payload_type == self.law.payload_type() || self.events() == Some(payload_type)
    }

    fn events(&self) -> Option<u8> {
        self.remote.as_ref().and_then(|remote| remote.events)
    }

    fn sort<'p>(&mut self, packet: Packet<'p>) -> Heard<'p> {
        if self.events() == Some(packet.payload_type) {
            let key = self.keys.hear(packet.timestamp, packet.payload);
            return Heard::Key(packet, key);
        }
        // Whoever has events presses keys with them.
        if self.events().is_none() {
            let law = self.law;
            let keys = self.ear.hear(packet.payload.iter().map(|sample| law.decode(*sample)));
            self.heard.extend(keys);
        }
        Heard::Audio(packet)
    }

    /// A key that was heard in the audio.
    pub fn heard_key(&mut self) -> Option<char> {
        (!self.heard.is_empty()).then(|| self.heard.remove(0))
    }

    fn destination(&self) -> Option<SocketAddr> {
        let remote = self.remote.as_ref().filter(|remote| {
            remote.port != 0 && matches!(remote.direction, Direction::SendRecv | Direction::RecvOnly)
        })?;
        let named = SocketAddr::new(remote.address, remote.port);
        Some(self.source.unwrap_or(named))
    }

    /// Says the next 20 ms of our own.
    pub async fn say(&mut self, samples: &[i16]) {
        let law = self.law;
        let payload: Vec<u8> = samples.iter().map(|sample| law.encode(*sample)).collect();
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        let packet = Packet {
            marker: false,
            payload_type: law.payload_type(),
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload: &payload,
        };
        self.send(&packet).await;
    }

    /// Passes a packet of the other leg on.
    pub async fn relay(&mut self, heard: &Heard<'_>) {
        match heard {
            Heard::Audio(packet) => match Law::of_payload_type(packet.payload_type) {
                Some(law) if law != self.law => {
                    let ours = self.law;
                    let payload: Vec<u8> = packet
                        .payload
                        .iter()
                        .map(|sample| ours.encode(law.decode(*sample)))
                        .collect();
                    let payload_type = ours.payload_type();
                    self.send(&Packet {
                        payload_type,
                        payload: &payload,
                        ..*packet
                    })
                    .await;
                }
                _ => self.send(packet).await,
            },
            Heard::Key(packet, _) => {
                if let Some(payload_type) = self.events() {
                    self.send(&Packet {
                        payload_type,
                        ..*packet
                    })
                    .await;
                }
            }
        }
    }

    async fn send(&mut self, packet: &Packet<'_>) {
        let Some(destination) = self.destination() else { return };
        self.buffer.clear();
        packet.write(&mut self.buffer);
        // A packet that cannot be sent is lost, as packets are.
        match &mut self.secure {
            None => _ = self.socket.send_to(&self.buffer, destination).await,
            Some(secure) => {
                if let Some(sealed) = secure.seal(&self.buffer) {
                    let _ = self.socket.send_to(&sealed, destination).await;
                }
            }
        }
    }
}

/// Samples since a moment.
#[must_use]
pub fn samples_since(start: std::time::Instant) -> i64 {
    i64::try_from(start.elapsed().as_micros() * u128::from(RATE_HZ) / 1_000_000).unwrap_or(i64::MAX)
}
