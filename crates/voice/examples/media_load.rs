//! Both ends of many calls' media, for benches/calls.py: `media_load CALLERS_PORT AGENTS_PORT`.
//!
//! Two sockets of 127.0.0.1 stand for all callers and all agents. Each sends 50 packets/s of G.711 to every address that sent to it,
//! or that standard input names (`callers PORT`, `agents PORT`), with its moment and number in the payload; what comes out at the other side says
//! how long it took and what is missing. A line of JSON each second.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a load has a pace, a delay is measured, and a bench that fails stops"
)]

use std::{
    collections::HashMap,
    io::BufRead as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use callvault_voice::{g711::Law, rtp::Packet};

/// What tells a packet of an end from what the vault itself says.
const MARK: [u8; 8] = *b"measured";
/// Packets of a leg are sent once in so many turns of a millisecond.
const TURNS: u16 = 20;
/// Samples of 20 ms.
const FRAME_BYTES: usize = 160;

#[derive(Default)]
struct Seen {
    delays_us: Vec<u64>,
    lost: u64,
}

struct Side {
    socket: UdpSocket,
    /// To whom, and the last sequence number that came from there.
    peers: Mutex<HashMap<SocketAddr, Option<u16>>>,
    seen: Mutex<Seen>,
}

fn main() {
    let ports: Vec<u16> = std::env::args().skip(1).filter_map(|port| port.parse().ok()).collect();
    let [callers, agents] = ports.as_slice() else {
        eprintln!("usage: media_load CALLERS_PORT AGENTS_PORT");
        std::process::exit(2);
    };
    let start = Instant::now();
    let sides = [*callers, *agents].map(|port| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a port");
        let side = Arc::new(Side {
            socket,
            peers: Mutex::default(),
            seen: Mutex::default(),
        });
        let (hearing, speaking) = (Arc::clone(&side), Arc::clone(&side));
        spawn(move || hear(&hearing, start));
        spawn(move || speak(&speaking, start));
        side
    });
    let told = sides.clone();
    spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Some((side, port)) = line.split_once(' ') else {
                continue;
            };
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
            told[usize::from(side == "agents")]
                .peers
                .lock()
                .expect("peers")
                .insert(peer, None);
        }
    });
    loop {
        sleep(Duration::from_secs(1));
        let mut delays = Vec::new();
        let mut lost = 0;
        for side in &sides {
            let seen = std::mem::take(&mut *side.seen.lock().expect("seen"));
            delays.extend(seen.delays_us);
            lost += seen.lost;
        }
        delays.sort_unstable();
        let at = |part: usize| {
            delays
                .get((delays.len() * part / 1_000).min(delays.len().saturating_sub(1)))
                .copied()
        };
        let legs: Vec<usize> = sides
            .iter()
            .map(|side| side.peers.lock().expect("peers").len())
            .collect();
        let line = serde_json::json!({
            "legs": legs, "received": delays.len(), "lost": lost, "p50_us": at(500), "p99_us": at(990), "max_us": delays.last(),
        });
        println!("{line}");
    }
}

fn hear(side: &Side, start: Instant) {
    let mut buffer = [0; 2_048];
    loop {
        let Ok((length, from)) = side.socket.recv_from(&mut buffer) else {
            continue;
        };
        let now = start.elapsed();
        let Ok(packet) = Packet::parse(&buffer[..length]) else {
            continue;
        };
        let mut peers = side.peers.lock().expect("peers");
        let last = peers.entry(from).or_default();
        let Some((sent, rest)) = packet
            .payload
            .strip_prefix(&MARK)
            .and_then(|rest| rest.split_first_chunk::<8>())
        else {
            continue;
        };
        let Some(sequence) = rest.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes)) else {
            continue;
        };
        let gap = last.map_or(1, |last| sequence.wrapping_sub(last));
        *last = Some(sequence);
        drop(peers);
        let delay = now.saturating_sub(Duration::from_nanos(u64::from_be_bytes(*sent)));
        let mut seen = side.seen.lock().expect("seen");
        seen.delays_us
            .push(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX));
        seen.lost += u64::from(gap.saturating_sub(1));
    }
}

fn speak(side: &Side, start: Instant) {
    let mut sequences: HashMap<SocketAddr, u16> = HashMap::new();
    let mut bytes = Vec::new();
    for turn in 0_u64.. {
        sleep(Duration::from_millis(turn).saturating_sub(start.elapsed()));
        let peers: Vec<SocketAddr> = side.peers.lock().expect("peers").keys().copied().collect();
        for peer in peers
            .into_iter()
            .filter(|peer| u64::from(peer.port() / 2 % TURNS) == turn % u64::from(TURNS))
        {
            let sequence = sequences.entry(peer).or_default();
            *sequence = sequence.wrapping_add(1);
            let mut payload = [0x55; FRAME_BYTES];
            payload[..8].copy_from_slice(&MARK);
            let now = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            payload[8..16].copy_from_slice(&now.to_be_bytes());
            payload[16..18].copy_from_slice(&sequence.to_be_bytes());
            let packet = Packet {
                marker: false,
                payload_type: Law::A.payload_type(),
                sequence: *sequence,
                timestamp: u32::from(*sequence) * 160,
                ssrc: u32::from(peer.port()),
                payload: &payload,
            };
            bytes.clear();
            packet.write(&mut bytes);
            let _ = side.socket.send_to(&bytes, peer);
        }
    }
}
