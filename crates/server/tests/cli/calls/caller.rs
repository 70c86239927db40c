//! The caller: SIPp's signalling, and media of the test's own.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use callvault_voice::{digits::event_payload, g711::Law, rtp::Packet};

/// The payload type of keys that SIPp's caller names.
const KEYS: u8 = 96;
/// SIPp's caller: invites, acknowledges, stays for a while, hangs up. Media are the test's own.
pub(super) const CALLER: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="caller">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+919812345678@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=caller 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [rtpport] RTP/AVP 8 96
a=rtpmap:8 PCMA/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-15
]]></send>
  <recv response="100" optional="true"></recv>
  <recv response="180" optional="true"></recv>
  <recv response="200" rrs="true"></recv>
  <send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+919812345678@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <pause/>
  <send retrans="500"><![CDATA[
BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:+919812345678@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200"></recv>
</scenario>
"#;

/// [`CALLER`] who says who he is when he is asked.
pub(super) fn caller_with_login() -> String {
    let (invite, rest) = CALLER.split_once("]]></send>").expect("the invitation");
    let acknowledged = "<send><![CDATA[\nACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
         From: <sip:+919812345678@[local_ip]:[local_port]>;tag=[pid]c[call_number]\nTo: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]\n\
         Call-ID: [call_id]\nCSeq: 1 ACK\nMax-Forwards: 70\nContent-Length: 0\n\n]]></send>";
    let (_, again) = invite.split_once("<send retrans").expect("a scenario");
    let again = again.replace("CSeq: 1 INVITE", "CSeq: 2 INVITE\n[authentication]");
    let rest = rest
        .replace("CSeq: 1 ACK", "CSeq: 2 ACK")
        .replace("CSeq: 2 BYE", "CSeq: 3 BYE");
    format!(
        "{invite}]]></send><recv response=\"100\" optional=\"true\"></recv><recv response=\"401\" auth=\"true\"></recv>{acknowledged}\
         <send retrans{again}]]></send>{rest}"
    )
}

/// [`CALLER`] who sends what follows in the call by the proxies that its invitation went through.
pub(super) fn caller_behind_proxies() -> String {
    let (invite, rest) = CALLER.split_once("]]></send>").expect("the invitation");
    let rest = rest
        .replace("sip:[service]@[remote_ip]:[remote_port] SIP/2.0", "[next_url] SIP/2.0")
        .replace("Max-Forwards: 70\n", "Max-Forwards: 70\n[routes]\n");
    format!("{invite}]]></send>{rest}")
}

/// [`CALLER`] with more headers, and more to say of its media.
pub(super) fn caller_who_says(headers: &str, media: &str) -> String {
    let says = format!("Max-Forwards: 70\n{headers}Content-Type");
    CALLER.replacen("Max-Forwards: 70\nContent-Type", &says, 1).replacen(
        "a=fmtp:96 0-15\n",
        &format!("a=fmtp:96 0-15\n{media}"),
        1,
    )
}

/// What a scenario does when its call is described anew: it takes that, if the description has this, and answers with its own.
pub(super) fn takes_anew(expected: &str) -> String {
    format!(
        r#"<recv request="INVITE" timeout="20000"><action>
      <ereg regexp="{expected}" search_in="body" check_it="true" assign_to="1"/></action></recv><Reference variables="1"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:caller@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=caller 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [rtpport] RTP/AVP 8 96
a=rtpmap:8 PCMA/8000
a=rtpmap:96 telephone-event/8000
]]></send>
  <recv request="ACK"></recv>
"#
    )
}

/// What a scenario does to describe its own media anew.
pub(super) fn describes_anew(media: &str) -> String {
    let (invite, rest) = CALLER.split_once("]]></send>").expect("the invitation");
    let (_, invite) = invite.split_once("<send retrans").expect("an invitation");
    let invite = invite
        .replace(
            "To: <sip:[service]@[remote_ip]:[remote_port]>",
            "To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]",
        )
        .replace("CSeq: 1 INVITE", "CSeq: 2 INVITE")
        .replace("a=fmtp:96 0-15\n", &format!("a=fmtp:96 0-15\n{media}"));
    let (answered, _) = rest.split_once("<pause/>").expect("a pause");
    let answered = answered
        .replace(" rrs=\"true\"", "")
        .replace("CSeq: 1 ACK", "CSeq: 2 ACK");
    format!("<send retrans{invite}]]></send>{answered}")
}

/// [`CALLER`] who says after 20 s that the call goes on, and not again; the other side hangs up.
pub(super) fn caller_with_timer(interval_s: u32) -> String {
    let asks = format!("Supported: timer\nSession-Expires: {interval_s}\n");
    let answered = r#"<recv response="200" rrs="true"><action>
      <ereg regexp="90;refresher=uac" search_in="hdr" header="Session-Expires:" check_it="true" assign_to="1"/></action></recv>
      <Reference variables="1"/>"#;
    let (begun, ended) = CALLER.split_once("<pause/>").expect("a pause");
    let begun = begun
        .replacen(
            "Max-Forwards: 70\nContent-Type",
            &format!("Max-Forwards: 70\n{asks}Content-Type"),
            1,
        )
        .replacen("<recv response=\"200\" rrs=\"true\"></recv>", answered, 1);
    let (bye, _) = ended.split_once("]]></send>").expect("a BYE");
    let update = bye
        .replace("BYE sip", "UPDATE sip")
        .replace("CSeq: 2 BYE", "CSeq: 2 UPDATE")
        .replace("Max-Forwards: 70\n", &format!("Max-Forwards: 70\n{asks}"));
    format!(
        "{begun}<pause milliseconds=\"20000\"/>{update}]]></send>{}<recv request=\"BYE\" timeout=\"80000\"></recv>\
         <send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send></scenario>",
        answered
            .replace(" rrs=\"true\"", "")
            .replace("<Reference variables=\"1\"/>", "")
    )
}

/// What the caller does, and when, in milliseconds after the first packet that he hears.
pub(super) enum Act {
    Press(char),
    Speak(Vec<i16>),
    /// Something of the test's own, between two acts of the caller.
    Do(Box<dyn FnOnce() + Send>),
}

/// The caller's media.
pub(super) struct Caller {
    pub(super) port: u16,
    heard: Arc<Mutex<Vec<i16>>>,
    /// Where packets came from.
    source: Arc<Mutex<Option<SocketAddr>>>,
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Caller {
    pub(super) fn start(acts: Vec<(u64, Act)>) -> Self {
        Self::start_at("127.0.0.1", acts)
    }

    pub(super) fn start_at(ip: &str, acts: Vec<(u64, Act)>) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let source = Arc::new(Mutex::new(None));
        let is_over = Arc::new(AtomicBool::new(false));
        let speaker = Arc::clone(&source);
        let sending = socket.try_clone().expect("a socket");
        let (samples, over) = (Arc::clone(&heard), Arc::clone(&is_over));
        let (told, first) = std::sync::mpsc::channel();
        let listening = std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while !over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let _ = told.send(from);
                *speaker.lock().expect("a source") = Some(from);
                if let Ok(packet) = Packet::parse(&buffer[..length])
                    && packet.payload_type == Law::A.payload_type()
                {
                    let speech = packet.payload.iter().map(|sample| Law::A.decode(*sample));
                    samples.lock().expect("samples").extend(speech);
                }
            }
        });
        let acting = std::thread::spawn(move || {
            let Ok(to) = first.recv() else { return };
            let start = Instant::now();
            let mut line = Line {
                socket: sending,
                to,
                sequence: 7,
                start,
            };
            for (at, act) in acts {
                sleep(Duration::from_millis(at).saturating_sub(start.elapsed()));
                match act {
                    Act::Press(key) => line.press(key),
                    Act::Speak(speech) => line.speak(&speech),
                    Act::Do(what) => what(),
                }
            }
        });
        Self {
            port,
            heard,
            source,
            is_over,
            tasks: vec![listening, acting],
        }
    }

    /// Where the last packet came from.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        *self.source.lock().expect("a source")
    }

    pub(super) fn end(self) -> Vec<i16> {
        self.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.join().expect("it ended");
        }
        self.heard.lock().expect("samples").clone()
    }
}

/// A party that sends.
pub(super) struct Line {
    socket: UdpSocket,
    to: SocketAddr,
    sequence: u16,
    start: Instant,
}

impl Line {
    /// A party that sends nowhere yet.
    pub(super) fn new(socket: UdpSocket) -> Self {
        let to = socket.local_addr().expect("an address");
        Self {
            socket,
            to,
            sequence: 7,
            start: Instant::now(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().expect("an address").port()
    }

    pub(super) fn send_to(&mut self, port: u16) {
        self.to.set_port(port);
    }

    fn now(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_millis() * 8).expect("short")
    }

    fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        self.sequence += 1;
        let packet = Packet {
            marker: false,
            payload_type,
            sequence: self.sequence,
            timestamp,
            ssrc: 4_711,
            payload,
        };
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        self.socket.send_to(&bytes, self.to).expect("sent");
    }

    /// Presses a key for 100 ms, as RFC 4733 has it, its end three times.
    fn press(&mut self, key: char) {
        let at = self.now();
        for (n, is_end) in [false, false, false, false, true, true, true].into_iter().enumerate() {
            let samples = 160 * u16::try_from(n.min(4) + 1).expect("few");
            self.send(KEYS, at, &event_payload(key, is_end, samples).expect("a key"));
            sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn speak(&mut self, speech: &[i16]) {
        let (begin, timestamp) = (Instant::now(), self.now());
        for (n, frame) in (0_u32..).zip(speech.chunks(160)) {
            sleep(Duration::from_millis(u64::from(n) * 20).saturating_sub(begin.elapsed()));
            let payload: Vec<u8> = frame.iter().map(|sample| Law::A.encode(*sample)).collect();
            self.send(Law::A.payload_type(), timestamp + n * 160, &payload);
        }
    }
}
