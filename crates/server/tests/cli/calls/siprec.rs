//! Recording sessions: rtpengine carries a call and copies its two streams; a small client wraps its description in the invitation
//! that a switch would send (RFC 7866).

use std::{
    net::UdpSocket,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    caller::Line,
    office::{Office, REPLY, SENTENCE, collect, find, loudest, speech, through_a_law},
};
use crate::running::free_port;

const SESSION: &str = "aGVsbG8gc2Vzc2lvbg==";
const METADATA: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>
<session session_id="aGVsbG8gc2Vzc2lvbg=="/>
<participant participant_id="p1"><nameID aor="sip:+919812345678@example.in"><name>A caller</name></nameID></participant>
<participant participant_id="p2"><nameID aor="sip:+918049501234@example.in"/></participant>
<stream stream_id="s1" session_id="aGVsbG8gc2Vzc2lvbg=="><label>CALLER</label></stream>
<stream stream_id="s2" session_id="aGVsbG8gc2Vzc2lvbg=="><label>AGENT</label></stream>
<participantstreamassoc participant_id="p1"><send>s1</send></participantstreamassoc>
<participantstreamassoc participant_id="p2"><send>s2</send></participantstreamassoc>CONSENT
</recording>"#;

/// rtpengine with a call of two parties that it carries.
struct Engine {
    process: Child,
    control: UdpSocket,
    n: u32,
    /// The caller's media, the agent's.
    lines: [Line; 2],
    /// What it offers of the copies.
    offer: String,
    labels: [String; 2],
    tag: String,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn port_of(description: &str) -> u16 {
    let line = description.lines().find_map(|line| line.strip_prefix("m=audio "));
    let port = line.and_then(|line| line.split(' ').next()).expect("a stream");
    port.parse().expect("a port")
}

impl Engine {
    fn start(office: &Office) -> Self {
        // A port that was free a moment ago may be somebody else's by now.
        let mut engine = (0..5).find_map(|_| Self::run(office)).expect("rtpengine answers");
        engine.carry();
        engine
    }

    fn run(office: &Office) -> Option<Self> {
        let (port, first) = (free_port(), 10_000 + 2 * (free_port() % 5_000));
        let folder = office.place.path(".");
        let process = Command::new("rtpengine")
            .args([
                "--config-file=none",
                "--table=-1",
                "--interface=127.0.0.1",
                "--foreground",
                "--log-stderr",
                "--log-level=2",
            ])
            .arg(format!("--listen-ng=127.0.0.1:{port}"))
            .args([format!("--port-min={first}"), format!("--port-max={}", first + 100)])
            .arg(format!("--pidfile={}", folder.join("rtpengine.pid").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rtpengine runs");
        let control = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        control.connect(("127.0.0.1", port)).expect("an address");
        control
            .set_read_timeout(Some(Duration::from_millis(500)))
            .expect("a timeout");
        let phones = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let mut engine = Self {
            process,
            control,
            n: 0,
            lines: phones.map(Line::new),
            offer: String::new(),
            labels: Default::default(),
            tag: String::new(),
        };
        engine.try_ask(json!({ "command": "ping" })).map(|_| engine)
    }

    fn ask(&mut self, command: Value) -> Value {
        let answer = self.try_ask(command.clone()).expect("rtpengine answers");
        assert_eq!(answer["result"], "ok", "{command}: {answer}");
        answer
    }

    fn try_ask(&mut self, mut command: Value) -> Option<Value> {
        command["call-id"] = "carried".into();
        self.n += 1;
        let cookie = format!("c{} ", self.n);
        for _ in 0..10 {
            let _ = self.control.send(format!("{cookie}{command}").as_bytes());
            let mut buffer = [0; 16_384];
            if let Ok(length) = self.control.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                return serde_json::from_str(text.strip_prefix(&cookie)?).ok();
            }
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            // It does not listen yet.
            sleep(Duration::from_millis(200));
        }
        None
    }

    fn carry(&mut self) {
        let describe = |line: &Line| {
            let port = line.port();
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=sendrecv\r\n"
            )
        };
        let [caller, agent] = [describe(&self.lines[0]), describe(&self.lines[1])];
        let to_agent = self.ask(json!({ "command": "offer", "from-tag": "a", "sdp": caller }));
        let to_caller = self.ask(json!({ "command": "answer", "from-tag": "a", "to-tag": "b", "sdp": agent }));
        self.lines[1].send_to(port_of(to_agent["sdp"].as_str().expect("a description")));
        self.lines[0].send_to(port_of(to_caller["sdp"].as_str().expect("a description")));
        let copies = self.ask(json!({ "command": "subscribe request", "flags": ["all", "siprec"] }));
        self.offer = copies["sdp"].as_str().expect("a description").to_owned();
        self.tag = copies["to-tag"].as_str().expect("a tag").to_owned();
        let label_of = |tag: &str| {
            let all = copies["media-labels"].as_object().expect("labels");
            let found = all.iter().find(|(_, media)| media["tag"] == tag);
            found.expect("a label").0.clone()
        };
        self.labels = [label_of("a"), label_of("b")];
    }

    /// Tells where the copies go.
    fn connect(&mut self, answer: &str) {
        let tag = self.tag.clone();
        self.ask(json!({ "command": "subscribe answer", "to-tag": tag, "sdp": answer }));
    }

    fn metadata(&self, consent: &str) -> String {
        METADATA
            .replace("CALLER", &self.labels[0])
            .replace("AGENT", &self.labels[1])
            .replace("CONSENT", consent)
    }

    /// Both parties say something, one after the other.
    fn talk(&mut self, caller: &[i16], agent: &[i16]) {
        self.lines[0].speak(caller);
        self.lines[1].speak(agent);
    }
}

/// A recording client's signalling.
struct Client {
    socket: UdpSocket,
    call: String,
    to_tag: String,
    request: u32,
}

struct Message {
    start: String,
    head: String,
    body: String,
}

impl Message {
    fn header(&self, name: &str) -> &str {
        let line = self
            .head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
        line.map_or("", |(_, value)| value)
    }
}

impl Client {
    fn new(office: &Office) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(("127.0.0.1", office.sip)).expect("an address");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        let call = format!("rec-{}", socket.local_addr().expect("an address").port());
        Self {
            socket,
            call,
            to_tag: String::new(),
            request: 0,
        }
    }

    fn send(&mut self, method: &str, headers: &str, body: &str) {
        if method != "ACK" {
            self.request += 1;
        }
        let (port, n) = (self.socket.local_addr().expect("an address").port(), self.request);
        let message = format!(
            "{method} sip:recorder@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-{method}-{n}-{call}\r\n\
             From: <sip:switch@127.0.0.1:{port}>;tag=src\r\nTo: <sip:recorder@127.0.0.1>{to}\r\nCall-ID: {call}\r\nCSeq: {n} {method}\r\n\
             Max-Forwards: 70\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len(),
            call = self.call,
            to = self.to_tag,
        );
        self.socket.send(message.as_bytes()).expect("sent");
    }

    /// The next message that is this.
    fn next(&self, wanted: &dyn Fn(&Message) -> bool) -> Message {
        let begin = Instant::now();
        let mut buffer = [0; 16_384];
        while begin.elapsed() < Duration::from_secs(20) {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let (head, body) = text.split_once("\r\n\r\n").expect("a message");
            let message = Message {
                start: head.lines().next().unwrap_or_default().to_owned(),
                head: head.to_owned(),
                body: body.to_owned(),
            };
            if wanted(&message) {
                return message;
            }
        }
        panic!("nothing came");
    }

    fn invite(&mut self, headers: &str, description: &str, metadata: &str) -> Message {
        let body = format!(
            "--part\r\nContent-Type: application/sdp\r\n\r\n{description}\r\n--part\r\nContent-Type: application/rs-metadata+xml\r\n\
             Content-Disposition: recording-session\r\n\r\n{metadata}\r\n--part--\r\n"
        );
        let headers = format!("{headers}Content-Type: multipart/mixed;boundary=part\r\n");
        self.send("INVITE", &headers, &body);
        let sequence = format!("{} INVITE", self.request);
        let answer = self.next(&|message| {
            message.header("CSeq") == sequence && !message.start.contains(" 100 ") && !message.start.contains(" 180 ")
        });
        if let Some((_, tag)) = answer.header("To").split_once(";tag=") {
            self.to_tag = format!(";tag={tag}");
        }
        self.send("ACK", "", "");
        answer
    }

    /// Takes what the recording server says anew, with the same offer; returns its description.
    fn reinvited(&self, offer: &str) -> String {
        let request = self.next(&|message| message.start.starts_with("INVITE "));
        let port = self.socket.local_addr().expect("an address").port();
        let copied: String = request
            .head
            .lines()
            .filter(|line| {
                ["Via", "From", "To", "Call-ID", "CSeq"]
                    .iter()
                    .any(|name| line.starts_with(&format!("{name}:")))
            })
            .map(|line| format!("{line}\r\n"))
            .collect();
        let answer = format!(
            "SIP/2.0 200 OK\r\n{copied}Contact: <sip:switch@127.0.0.1:{port}>;+sip.src\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{offer}",
            offer.len()
        );
        self.socket.send(answer.as_bytes()).expect("sent");
        self.next(&|message| message.start.starts_with("ACK "));
        request.body
    }

    fn bye(&mut self) {
        self.send("BYE", "", "");
        let sequence = format!("{} BYE", self.request);
        self.next(&|message| message.header("CSeq") == sequence);
    }
}

/// As RFC 7866 wants it.
fn headers(client: &Client) -> String {
    let port = client.socket.local_addr().expect("an address").port();
    format!("Require: siprec\r\nContact: <sip:switch@127.0.0.1:{port}>;+sip.src\r\n")
}

fn directions(description: &str) -> Vec<&str> {
    let all = ["a=recvonly", "a=inactive", "a=sendonly", "a=sendrecv"];
    description.lines().filter(|line| all.contains(line)).collect()
}

fn tell(office: &Office, consent: &Value) -> (StatusCode, Value) {
    let body = consent.to_string().into_bytes();
    office.post("/v1/accounts/acme/recording-sessions/consent", "application/json", body)
}

pub(super) fn copies_of_a_switch_are_recorded_each_party_on_its_channel() {
    let office = Office::open();
    let mut engine = Engine::start(&office);
    let mut client = Client::new(&office);
    let consent = "<consent xmlns=\"urn:callvault:consent:1\" decision=\"accepted\"/>";
    let answer = client.invite(&headers(&client), &engine.offer, &engine.metadata(consent));
    assert!(answer.start.contains(" 200 "), "{}", answer.start);
    assert!(answer.header("Contact").contains("+sip.srs"), "{}", answer.head);
    assert_eq!(directions(&answer.body), ["a=recvonly"; 2], "{}", answer.body);
    let label = |line: &&str| line.starts_with("a=label:");
    let offered: Vec<&str> = engine.offer.lines().filter(label).collect();
    assert_eq!(answer.body.lines().filter(label).collect::<Vec<_>>(), offered);
    let body = answer.body;
    engine.connect(&body);
    let [said, reply] = [SENTENCE, REPLY].map(|text| through_a_law(&speech(text)));
    engine.talk(&said, &reply);
    // What comes without a description: an UPDATE has none in answer, a re-INVITE has ours.
    client.send("UPDATE", &headers(&client), "");
    let sequence = format!("{} UPDATE", client.request);
    let updated = client.next(&|message| message.header("CSeq") == sequence);
    assert!(
        updated.start.contains(" 200 ") && updated.body.is_empty(),
        "{} {}",
        updated.start,
        updated.body
    );
    let kind = format!("{}Content-Type: application/rs-metadata+xml\r\n", headers(&client));
    client.send("INVITE", &kind, &engine.metadata(""));
    let sequence = format!("{} INVITE", client.request);
    let again = client.next(&|message| message.header("CSeq") == sequence && !message.start.contains(" 100 "));
    client.send("ACK", "", "");
    assert_eq!(
        directions(&again.body),
        ["a=recvonly"; 2],
        "{} {}",
        again.start,
        again.body
    );
    sleep(Duration::from_millis(500));
    client.bye();
    let call = office.record();
    assert_eq!(
        (&call["from"], &call["to"], &call["status"]),
        (&json!("+919812345678"), &json!("+918049501234"), &json!("completed"))
    );
    assert_eq!(
        call["extra"]["consent"]["decision"]["consent"]["decision"], "accepted",
        "{call}"
    );
    assert_eq!(call["extra"]["siprec"]["session_id"], SESSION, "{call}");
    let recordings = office.list("recordings");
    assert_eq!(recordings.len(), 1, "{call}");
    let [agent, customer] = office.audio(recordings[0]["sid"].as_str().expect("a SID"));
    assert!(find(&loudest(&said), &customer).is_some(), "the caller is right");
    assert!(find(&loudest(&reply), &agent).is_some(), "the agent is left");
    assert_eq!(find(&loudest(&said)[..800], &agent), None);
    assert_eq!(find(&loudest(&reply)[..800], &customer), None);
    // The agent answered when the caller had spoken, and so it is kept.
    let (asked, answered) = (find(&said[..8_000], &customer), find(&reply[..8_000], &agent));
    let apart = answered.expect("its beginning").abs_diff(asked.expect("its beginning"));
    assert!(
        apart.abs_diff(said.len()) < 1_600,
        "{apart} samples, not {}",
        said.len()
    );
    office.close();
}

pub(super) fn without_consent_the_answer_is_inactive_and_what_is_sent_is_not_kept() {
    let office = Office::open();
    let mut engine = Engine::start(&office);
    let mut client = Client::new(&office);
    let answer = client.invite(&headers(&client), &engine.offer, &engine.metadata(""));
    assert!(answer.start.contains(" 200 "), "{}", answer.start);
    assert_eq!(directions(&answer.body), ["a=inactive"; 2], "{}", answer.body);
    // A switch that sends all the same.
    let pushed = answer.body.replace("a=inactive", "a=recvonly");
    engine.connect(&pushed);
    let [said, reply] = [SENTENCE, REPLY].map(|text| through_a_law(&speech(text)));
    engine.talk(&said, &reply);
    assert!(!office.was_captured(), "not one frame");
    let (status, noted) = tell(&office, &json!({ "session_id": SESSION, "consent": "contract" }));
    assert_eq!(
        (status, &noted["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("consent_version")),
        "{noted}"
    );
    let (status, noted) = tell(&office, &json!({ "session_id": SESSION, "consent": "accepted" }));
    assert_eq!(status, StatusCode::ACCEPTED, "{noted}");
    let anew = client.reinvited(&engine.offer);
    assert_eq!(directions(&anew), ["a=recvonly"; 2], "{anew}");
    engine.talk(&said, &reply);
    let (status, _) = tell(&office, &json!({ "session_id": SESSION, "consent": "withdrawn" }));
    assert_eq!(status, StatusCode::ACCEPTED);
    let anew = client.reinvited(&engine.offer);
    assert_eq!(directions(&anew), ["a=inactive"; 2], "{anew}");
    assert!(office.was_captured(), "it was there");
    engine.talk(&said, &reply);
    client.bye();
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "withdrawn", "{call}");
    assert!(office.list("recordings").is_empty());
    let mut left = Vec::new();
    collect(&office.place.path("vault/in/objects/objects"), &mut left);
    assert!(left.is_empty(), "{left:?}");
    office.close();
}

pub(super) fn what_is_no_recording_session_is_refused() {
    let office = Office::open();
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\na=label:1\r\na=sendonly\r\n";
    let metadata = METADATA.replace("CONSENT", "");
    let status = |headers: &dyn Fn(&Client) -> String, offer: &str, metadata: &str| {
        let mut client = Client::new(&office);
        let headers = headers(&client);
        let answer = client.invite(&headers, offer, metadata);
        let status = answer.start.split(' ').nth(1).unwrap_or_default().to_owned();
        (status, answer.header("Unsupported").to_owned())
    };
    let plain = |_: &Client| "Contact: <sip:switch@127.0.0.1>\r\n".to_owned();
    let is = |code: &str| (code.to_owned(), String::new());
    assert_eq!(status(&plain, offer, &metadata), is("400"), "no Require, no +sip.src");
    assert_eq!(status(&headers, offer, "<recording/>"), is("400"), "no metadata");
    let wrong = METADATA.replace(
        "CONSENT",
        "<consent xmlns=\"urn:callvault:consent:1\" decision=\"maybe\"/>",
    );
    assert_eq!(
        status(&headers, offer, &wrong),
        is("400"),
        "a consent that says nothing"
    );
    assert_eq!(
        status(&headers, &offer.replace("a=label:1\r\n", ""), &metadata),
        is("488"),
        "no label"
    );
    assert_eq!(
        status(&headers, &offer.replace("AVP 8", "AVP 18"), &metadata),
        is("488"),
        "no codec"
    );
    let strange = |client: &Client| headers(client).replace("siprec", "siprec, frobnicate");
    let unsupported = ("420".to_owned(), "frobnicate".to_owned());
    assert_eq!(status(&strange, offer, &metadata), unsupported);
    assert!(office.list("calls").is_empty(), "what was refused is no call");
    office.close();
}
