//! Calls that are ordered: telephones of the test's own ring, answer, are busy.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{TcpListener, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::Duration,
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    caller::{Act, Caller},
    office::{Office, REPLY, SENTENCE, find, loudest, speech, through_a_law},
};

/// What a telephone does that is called.
pub(super) enum Phone {
    /// Rings, and answers with these media.
    Answers(Caller),
    /// Is busy.
    Busy,
    /// Rings for ever.
    Rings,
}

/// Telephones behind one address.
pub(super) struct Phones {
    pub(super) port: u16,
    /// Requests that came: method and called number.
    seen: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
    phones: Arc<Mutex<HashMap<String, Phone>>>,
}

fn header<'m>(message: &'m str, name: &str) -> &'m str {
    let line = message
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
    line.map_or("", |(_, value)| value)
}

impl Phones {
    pub(super) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        let (seen, is_over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let phones: Arc<Mutex<HashMap<String, Phone>>> = Arc::default();
        let (requests, over, known) = (Arc::clone(&seen), Arc::clone(&is_over), Arc::clone(&phones));
        let task = std::thread::spawn(move || {
            let mut buffer = [0; 16_384];
            let requests: Arc<Mutex<Vec<String>>> = requests;
            while !over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let mut words = text.split(' ');
                let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                let user = uri.trim_start_matches("sip:").split('@').next().unwrap_or_default();
                requests.lock().expect("requests").push(format!("{method} {user}"));
                let copied = |to_tag: &str| {
                    let to = header(&text, "To");
                    let to = if to.contains("tag=") {
                        to.to_owned()
                    } else {
                        format!("{to};tag={to_tag}")
                    };
                    let vias: String = text
                        .lines()
                        .filter(|line| line.starts_with("Via:"))
                        .map(|line| format!("{line}\r\n"))
                        .collect();
                    format!(
                        "{vias}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
                        header(&text, "From"),
                        header(&text, "Call-ID"),
                        header(&text, "CSeq")
                    )
                };
                let say = |status: &str, body: &str| {
                    let kind = if body.is_empty() {
                        ""
                    } else {
                        "Content-Type: application/sdp\r\n"
                    };
                    let answer = format!(
                        "SIP/2.0 {status}\r\n{}Contact: <sip:{user}@127.0.0.1:{port}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
                        copied("phone"),
                        body.len()
                    );
                    socket.send_to(answer.as_bytes(), from).expect("sent");
                };
                match (method, known.lock().expect("phones").get(user)) {
                    ("INVITE", Some(Phone::Answers(media))) => {
                        say("180 Ringing", "");
                        let media = media.port;
                        say(
                            "200 OK",
                            &format!(
                                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {media} RTP/AVP 8 96\r\n\
                                 a=rtpmap:96 telephone-event/8000\r\n"
                            ),
                        );
                    }
                    ("INVITE", Some(Phone::Rings)) => say("180 Ringing", ""),
                    ("INVITE", Some(Phone::Busy)) => say("486 Busy Here", ""),
                    ("INVITE", None) => say("404 Not Found", ""),
                    ("BYE" | "CANCEL" | "OPTIONS", _) => say("200 OK", ""),
                    _ => {}
                }
            }
        });
        Self {
            port,
            seen,
            is_over,
            task: Some(task),
            phones,
        }
    }

    fn put(&self, number: &str, phone: Phone) {
        self.phones.lock().expect("phones").insert(number.to_owned(), phone);
    }

    /// What a telephone heard.
    fn heard(&self, number: &str) -> Vec<i16> {
        match self.phones.lock().expect("phones").remove(number) {
            Some(Phone::Answers(media)) => media.end(),
            _ => panic!("{number} does not answer"),
        }
    }

    fn seen(&self, request: &str) -> usize {
        let seen = self.seen.lock().expect("requests");
        seen.iter().filter(|seen| *seen == request).count()
    }
}

impl Drop for Phones {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.take() {
            let _ = task.join();
        }
    }
}

/// Whoever is told of the end of a call.
struct Told {
    port: u16,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Told {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                stream
                    .set_read_timeout(Some(Duration::from_millis(500)))
                    .expect("a timeout");
                let (mut text, mut buffer) = (String::new(), [0; 4_096]);
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    text.push_str(&String::from_utf8_lossy(&buffer[..length]));
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                kept.lock().expect("bodies").extend(serde_json::from_str::<Value>(body));
            }
        });
        Self { port, bodies }
    }

    /// The next that is told of this event.
    fn of(&self, event: &str) -> Value {
        for _ in 0..400 {
            let bodies = self.bodies.lock().expect("bodies");
            if let Some(found) = bodies.iter().find(|body| body["EventType"] == event) {
                return found.clone();
            }
            drop(bodies);
            sleep(Duration::from_millis(100));
        }
        panic!("nobody is told of {event}");
    }
}

const AGENT: &str = "+918022223333";
const CUSTOMER: &str = "+919812345678";

fn order(office: &Office, form: &str) -> String {
    let body = format!("CallerId=08049501234&{form}").into_bytes();
    let kind = "application/x-www-form-urlencoded";
    let (status, said) = office.post("/v1/Accounts/acme/Calls/connect.json", kind, body);
    assert_eq!(status, StatusCode::OK, "{said}");
    said["Call"]["Sid"].as_str().expect("a SID").to_owned()
}

pub(super) fn an_ordered_call_whose_process_is_killed_is_kept_as_far_as_it_went() {
    let phones = Phones::start();
    let mut office = Office::with_proxy(phones.port);
    let told = Told::start();
    let said = through_a_law(&speech(SENTENCE));
    let announced = office.announcement.len() as u64 / 8;
    let twice = [said.as_slice(), &said, &said].concat();
    phones.put(
        CUSTOMER,
        Phone::Answers(Caller::start(vec![(announced + 1_000, Act::Speak(twice))])),
    );
    phones.put(AGENT, Phone::Answers(Caller::start(Vec::new())));
    let sid = order(
        &office,
        &format!(
            "From=%2B918022223333&To=%2B919812345678&Record=true&RecordingChannels=dual&StatusCallback=http%3A%2F%2F127.0.0.1%3A{}%2Ftold\
             &StatusCallbackContentType=application%2Fjson&StatusCallbackEvents%5B%5D=terminal",
            told.port
        ),
    );
    sleep(Duration::from_millis(announced + 14_000));
    office.kill();
    let call = office.interrupted();
    assert_eq!(call["sid"], sid.as_str(), "{call}");
    assert_eq!(
        call["extra"]["consent"]["decision"]["consent"]["decision"], "announced",
        "{call}"
    );
    let recording = call["extra"]["recording"].as_str().expect("a recording");
    let [_, customer] = office.audio(recording);
    assert!(find(&loudest(&said), &customer).is_some(), "{} samples", customer.len());
    // Nobody is called a second time, and who ordered it hears how it ended.
    for number in [AGENT, CUSTOMER] {
        assert_eq!(phones.seen(&format!("INVITE {number}")), 1, "{number}");
    }
    let terminal = told.of("terminal");
    assert_eq!(
        (&terminal["CallSid"], &terminal["Status"]),
        (&json!(sid), &json!("failed")),
        "{terminal}"
    );
    assert!(
        terminal["RecordingUrl"]
            .as_str()
            .is_some_and(|url| url.contains(recording)),
        "{terminal}"
    );
    for number in [AGENT, CUSTOMER] {
        phones.heard(number);
    }
    office.close();
}

pub(super) fn two_numbers_are_connected_and_the_called_one_is_told_before_it_is_recorded() {
    let phones = Phones::start();
    let office = Office::with_proxy(phones.port);
    let told = Told::start();
    let [said, reply] = [SENTENCE, REPLY].map(|text| through_a_law(&speech(text)));
    let announced = office.announcement.len() as u64 / 8;
    phones.put(
        CUSTOMER,
        Phone::Answers(Caller::start(vec![(announced + 1_000, Act::Speak(said.clone()))])),
    );
    let after = announced + 2_000 + said.len() as u64 / 8;
    phones.put(
        AGENT,
        Phone::Answers(Caller::start(vec![(after, Act::Speak(reply.clone()))])),
    );
    let limit = (said.len() + reply.len()) / 8_000 + 4;
    let sid = order(
        &office,
        &format!(
            "From=%2B918022223333&To=%2B919812345678&Record=true&RecordingChannels=dual&TimeLimit={limit}&CustomField=order-7\
             &StatusCallback=http%3A%2F%2F127.0.0.1%3A{}%2Ftold&StatusCallbackContentType=application%2Fjson\
             &StatusCallbackEvents%5B%5D=answered&StatusCallbackEvents%5B%5D=terminal",
            told.port
        ),
    );
    assert_eq!(told.of("answered")["CallSid"], sid.as_str());
    let end = told.of("terminal");
    assert_eq!(
        (&end["CallSid"], &end["Status"], &end["CustomField"]),
        (&json!(sid), &json!("completed"), &json!("order-7")),
        "{end}"
    );
    let call = office.record();
    assert_eq!(
        (&call["sid"], &call["direction"]),
        (&json!(sid), &json!("outbound-api")),
        "{call}"
    );
    assert_eq!(
        (&call["from"], &call["to"]),
        (&json!(AGENT), &json!(CUSTOMER)),
        "{call}"
    );
    assert_eq!(
        call["extra"]["consent"]["decision"]["consent"]["decision"], "announced",
        "{call}"
    );
    let (at_customer, at_agent) = (phones.heard(CUSTOMER), phones.heard(AGENT));
    assert!(
        find(&loudest(&office.announcement), &at_customer).is_some(),
        "the announcement"
    );
    assert!(find(&loudest(&reply), &at_customer).is_some(), "the agent is heard");
    assert!(find(&loudest(&said), &at_agent).is_some(), "and the customer");
    assert!(
        find(&loudest(&office.announcement), &at_agent).is_some(),
        "both are told"
    );
    let recordings = office.list("recordings");
    assert_eq!(recordings.len(), 1, "{call}");
    let [agent, customer] = office.audio(recordings[0]["sid"].as_str().expect("a SID"));
    assert!(find(&loudest(&said), &customer).is_some(), "the customer is right");
    assert!(find(&loudest(&reply), &agent).is_some(), "the agent is left");
    assert_eq!(find(&loudest(&said)[..800], &agent), None);
    // Both were hung up on.
    assert_eq!(
        (
            phones.seen(&format!("BYE {AGENT}")),
            phones.seen(&format!("BYE {CUSTOMER}"))
        ),
        (1, 1)
    );
    office.close();
}

pub(super) fn who_is_called_into_a_flow_and_says_no_is_not_recorded() {
    let phones = Phones::start();
    let office = Office::with_proxy(phones.port);
    let said = through_a_law(&speech(SENTENCE));
    let asked = office.asked_ms();
    let acts = vec![(asked, Act::Press('2')), (asked + 1_000, Act::Speak(said.clone()))];
    phones.put(CUSTOMER, Phone::Answers(Caller::start(acts)));
    let silent = Caller::start(vec![(said.len() as u64 / 8 + 2_000, Act::Speak(vec![0; 800]))]);
    phones.put("agent", Phone::Answers(silent));
    let flow = office.list_flows();
    let id = flow[0]["id"].as_str().expect("an id");
    order(
        &office,
        &format!("From=%2B919812345678&Record=true&Url=http%3A%2F%2Fmy.exotel.com%2Facme%2Fexoml%2Fstart_voice%2F{id}"),
    );
    sleep(Duration::from_millis(asked + said.len() as u64 / 8 + 3_000));
    assert!(
        find(&loudest(&said), &phones.heard("agent")).is_some(),
        "the call goes on"
    );
    assert!(
        find(&loudest(&office.question), &phones.heard(CUSTOMER)).is_some(),
        "the question"
    );
    // A process that is told to stop ends its calls, and says so.
    let mut office = office;
    office.restart();
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "declined", "{call}");
    assert_eq!(
        (&call["status"], &call["extra"]["failed"]),
        (&json!("completed"), &json!("shut down")),
        "{call}"
    );
    assert_eq!(call["extra"]["flow"]["id"], id, "{call}");
    assert!(!office.was_captured(), "not one frame");
    assert_eq!(
        (phones.seen("BYE agent"), phones.seen(&format!("BYE {CUSTOMER}"))),
        (1, 1)
    );
    office.close();
}

pub(super) fn calls_that_nobody_answers_end_in_records_that_say_so() {
    let phones = Phones::start();
    let office = Office::with_proxy(phones.port);
    phones.put(AGENT, Phone::Answers(Caller::start(Vec::new())));
    phones.put("+919800000001", Phone::Busy);
    phones.put("+919800000002", Phone::Rings);
    let sids = [
        ("From=%2B919800000001&To=%2B918022223333", "busy"),
        ("From=%2B918022223333&To=%2B919800000001", "busy"),
        ("From=%2B919800000002&To=%2B918022223333&TimeOut=1", "no-answer"),
        ("From=%2B918022223333&To=%2B919800000002&TimeOut=1", "no-answer"),
        ("From=%2B918022223333&To=%2B919800000009", "failed"),
        ("From=%2B918022223333&Url=http%3A%2F%2Fmy.exotel.com%2Facme%2Fexoml%2Fstart_voice%2F0123456789abcdef0123456789abcdef", "failed"),
    ]
    .map(|(form, status)| (order(&office, form), status));
    let calls = (0..100).find_map(|_| {
        sleep(Duration::from_millis(100));
        Some(office.list("calls")).filter(|calls| calls.len() == sids.len())
    });
    let calls = calls.expect("a record of each");
    for (sid, status) in &sids {
        let call = calls.iter().find(|call| call["sid"] == sid.as_str()).expect("a record");
        assert_eq!(call["status"], *status, "{call}");
    }
    assert!(
        phones.seen("CANCEL +919800000002") > 0,
        "who rings too long is left alone"
    );
    assert!(!office.was_captured());
    office.close();
}
