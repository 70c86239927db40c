//! Real calls over the loopback: SIPp calls, Callvault answers and asks, baresip is the agent. What was said is compared with what
//! is kept, per channel, and where nothing may be kept, nothing is.

#![expect(
    clippy::disallowed_methods,
    reason = "speech takes its time, and so does who speaks it"
)]

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use callvault_app::{consent::ANNOUNCEMENT, core::flow::QUESTION};
use callvault_voice::{digits::event_payload, g711::Law, prompts::Prompts, rtp::Packet};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    running::{Place, Running, free_port},
    serving::Client,
};

/// The payload type of keys that SIPp's caller names.
const KEYS: u8 = 96;
/// Seconds between the connection and the caller's speech.
const BEFORE_MS: u64 = 1_500;

/// SIPp's caller: invites, acknowledges, stays for a while, hangs up. Media are the test's own.
const CALLER: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
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

/// What the caller does, and when, in milliseconds after the first packet that he hears.
enum Act {
    Press(char),
    Speak(Vec<i16>),
}

/// The caller's media.
struct Caller {
    port: u16,
    heard: Arc<Mutex<Vec<i16>>>,
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Caller {
    fn start(acts: Vec<(u64, Act)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
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
                }
            }
        });
        Self {
            port,
            heard,
            is_over,
            tasks: vec![listening, acting],
        }
    }

    fn end(self) -> Vec<i16> {
        self.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.join().expect("it ended");
        }
        self.heard.lock().expect("samples").clone()
    }
}

struct Line {
    socket: UdpSocket,
    to: std::net::SocketAddr,
    sequence: u16,
    start: Instant,
}

impl Line {
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

    fn speak(&mut self, speech: &[i16]) {
        let (begin, timestamp) = (Instant::now(), self.now());
        for (n, frame) in (0_u32..).zip(speech.chunks(160)) {
            sleep(Duration::from_millis(u64::from(n) * 20).saturating_sub(begin.elapsed()));
            let payload: Vec<u8> = frame.iter().map(|sample| Law::A.encode(*sample)).collect();
            self.send(Law::A.payload_type(), timestamp + n * 160, &payload);
        }
    }
}

/// A text as `espeak-ng` speaks it.
fn speech(text: &str) -> Vec<i16> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let spoken = runtime.block_on(Prompts::new("espeak-ng".into()).speak("en", text));
    spoken.expect("espeak-ng speaks").to_vec()
}

fn through_a_law(samples: &[i16]) -> Vec<i16> {
    samples
        .iter()
        .map(|sample| Law::A.decode(Law::A.encode(*sample)))
        .collect()
}

static OPENING: Mutex<()> = Mutex::new(());

/// A vault that answers calls, an agent, and what the caller may say.
struct Office {
    place: Place,
    running: Option<Running>,
    client: Client,
    token: Value,
    agent: Child,
    sip: u16,
    announcement: Vec<i16>,
    question: Vec<i16>,
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl Office {
    fn open() -> Self {
        // One after the other: what is slow about them is not what is tested here.
        let _one = OPENING.lock();
        let (sip, agent_port) = (free_port(), free_port());
        let media = 20_000 + 2 * (free_port() % 10_000);
        let place = Place::new(&format!(
            "data_dir = \"vault\"\n[regions.in]\nlisten = \"127.0.0.1:0\"\n[regions.in.voice]\nlisten = \"127.0.0.1:{sip}\"\n\
             ports = [{media}, {}]\n[[regions.in.voice.trunks]]\naccount = \"acme\"\npeers = [\"127.0.0.1\"]\n\
             proxy = \"127.0.0.1:{agent_port}\"\n",
            media + 100
        ));
        place.json(&[
            "accounts",
            "create",
            "acme",
            "--region",
            "in",
            "--plan",
            "growth",
            "--country",
            "IN",
        ]);
        let token = place.json(&["tokens", "create", "acme"]);
        let running = place.start(&["serve"]);
        let client = Client::of(&running, 0);
        let agent = start_agent(&place, agent_port);
        let office = Self {
            place,
            running: Some(running),
            client,
            token,
            agent,
            sip,
            announcement: through_a_law(&speech(ANNOUNCEMENT)),
            question: through_a_law(&speech(QUESTION)),
        };
        office.answer(json!({
            "name": "Support", "start": "greet", "applets": {
                "greet": { "kind": "greeting", "next": "ask" },
                "ask": { "kind": "gather", "timeout_s": 1, "repeats": 0, "next": "agent" },
                "agent": { "kind": "connect", "numbers": ["agent"], "record": true, "channels": "dual", "ring_s": 10 },
            },
        }));
        office
    }

    fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Value) {
        self.client.send(Method::POST, path, &self.token, Some((kind, body)))
    }

    /// Has the number answered by a flow.
    fn answer(&self, flow: Value) {
        let body = flow.to_string().into_bytes();
        let (status, saved) = self.post("/v1/accounts/acme/flows", "application/json", body);
        assert_eq!(status, StatusCode::CREATED, "{saved}");
        let id = saved["id"].as_str().expect("an id");
        let form =
            format!("PhoneNumber=08049501234&VoiceUrl=https%3A%2F%2Fv.example.in%2Facme%2Fexoml%2Fstart_voice%2F{id}");
        let kind = "application/x-www-form-urlencoded";
        let (status, said) = self.post("/v2_beta/accounts/acme/incomingphonenumbers", kind, form.into_bytes());
        assert_eq!(status, StatusCode::OK, "{said}");
    }

    /// The moment of the answer to the question, in milliseconds after the answer to the call.
    fn asked_ms(&self) -> u64 {
        (self.announcement.len() as u64 + self.question.len() as u64) / 8 + 200
    }

    /// Calls, acts, hangs up after so long. Returns what the caller heard.
    fn call(&self, acts: Vec<(u64, Act)>, stay_ms: u64) -> Vec<i16> {
        self.place.write("caller.xml", CALLER);
        let caller = Caller::start(acts);
        let done = Command::new("sipp")
            .args([
                "-sf",
                "caller.xml",
                "-s",
                "08049501234",
                "-i",
                "127.0.0.1",
                "-m",
                "1",
                "-nostdin",
                "-trace_err",
            ])
            .args(["-d", &stay_ms.to_string(), "-p", &free_port().to_string()])
            .args([
                "-key",
                "rtpport",
                &caller.port.to_string(),
                &format!("127.0.0.1:{}", self.sip),
            ])
            .current_dir(self.place.path("."))
            .stdin(Stdio::null())
            .output()
            .expect("sipp runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        caller.end()
    }

    fn list(&self, kind: &str) -> Vec<Value> {
        let listed = self
            .client
            .get(&format!("/v1/accounts/acme/records/{kind}"), &self.token);
        listed[kind].as_array().expect("a list").clone()
    }

    /// The record of the only call, once it is there.
    fn record(&self) -> Value {
        for _ in 0..100 {
            if let [call] = self.list("calls").as_slice() {
                return call.clone();
            }
            sleep(Duration::from_millis(100));
        }
        panic!("no record of the call")
    }

    /// The audio of a recording: the agent's samples, the customer's.
    fn audio(&self, sid: &str) -> [Vec<i16>; 2] {
        let request = self.client.http.get(format!(
            "{}/v1/accounts/acme/records/recordings/{sid}/audio",
            self.client.base
        ));
        let request = request.basic_auth(
            self.token["key"].as_str().expect("a key"),
            self.token["secret"].as_str(),
        );
        let bytes = self
            .client
            .runtime
            .block_on(async { request.send().await.expect("an answer").bytes().await });
        let bytes = bytes.expect("audio");
        let samples: Vec<i16> = bytes[44..]
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        [0, 1].map(|channel| samples.iter().skip(channel).step_by(2).copied().collect())
    }

    /// Whether any audio was ever handed to the object store: folders stay when what was in them goes.
    fn was_captured(&self) -> bool {
        self.place.path("vault/in/objects/objects/takes").exists()
    }

    fn close(mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
        // What anybody said is nowhere in the vault's folder as it was said.
        let spoken = loudest(&through_a_law(&speech(SENTENCE)));
        let pcm: Vec<u8> = spoken.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let law: Vec<u8> = spoken.iter().map(|sample| Law::A.encode(*sample)).collect();
        let mut files = Vec::new();
        collect(&self.place.path("vault"), &mut files);
        assert!(files.len() > 3);
        for file in files {
            let bytes = fs::read(&file).unwrap_or_default();
            for needle in [&pcm[..32], &law[..32]] {
                let found = bytes.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "speech in the clear in {}", file.display());
            }
        }
    }
}

const SENTENCE: &str = "My order has the number seven three nine, and it came broken.";
const REPLY: &str = "I am sorry to hear that. A new one is on its way to you.";

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

/// Half a second of the loudest part, which nothing else resembles.
fn loudest(samples: &[i16]) -> Vec<i16> {
    let power = |part: &&[i16]| part.iter().map(|sample| i64::from(*sample).pow(2)).sum::<i64>();
    samples.chunks_exact(4_000).max_by_key(power).expect("speech").to_vec()
}

/// Where a part is found in whole.
fn find(part: &[i16], whole: &[i16]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}

/// Whether a part sounds in the whole: what another program encoded is the same but for the last bits.
fn sounds(part: &[i16], whole: &[i16]) -> bool {
    let part: Vec<f32> = part[..800].iter().map(|sample| f32::from(*sample)).collect();
    let whole: Vec<f32> = whole.iter().map(|sample| f32::from(*sample)).collect();
    let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
    let own = power(&part);
    whole.windows(part.len()).any(|window| {
        let shared: f32 = part.iter().zip(window).map(|(a, b)| a * b).sum();
        shared > 0.0 && shared * shared > 0.98 * own * power(window)
    })
}

/// An agent who answers at once and says his sentence.
fn start_agent(place: &Place, port: u16) -> Child {
    let mut samples = vec![0_i16; 4_000];
    samples.extend(speech(REPLY));
    samples.extend(vec![0; 160_000]);
    place.write("agent/said.wav", wav(&samples));
    let folder = place.path("agent");
    place.write(
        "agent/config",
        format!(
            "module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\nmodule sndfile.so\nmodule_app account.so\n\
             module_app menu.so\nmodule_tmp uuid.so\nsip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\n\
             audio_player aufile,{folder}/played.wav\naudio_source aufile,{folder}/said.wav\naudio_alert aufile,/dev/null\n\
             ausrc_srate 8000\nauplay_srate 8000\nsnd_path {folder}\n",
            folder = folder.display()
        ),
    );
    place.write(
        "agent/accounts",
        format!("<sip:agent@127.0.0.1:{port}>;regint=0;answermode=auto;audio_codecs=PCMA\n"),
    );
    place.write("agent/contacts", "");
    let log = fs::File::create(place.path("agent/log")).expect("a log");
    Command::new("baresip")
        .args(["-f", &folder.display().to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("baresip runs")
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = u32::try_from(samples.len() * 2).expect("short");
    let mut wav = b"RIFF".to_vec();
    wav.extend((bytes + 36).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    wav
}

fn who_presses_1_is_recorded_each_on_his_own_channel() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let acts = vec![(asked, Act::Press('1')), (asked + BEFORE_MS, Act::Speak(said.clone()))];
    let heard = office.call(acts, asked + BEFORE_MS + 6_000);
    // What the caller heard is the announcement, the question, and the agent.
    assert!(
        find(&loudest(&office.announcement), &heard).is_some(),
        "the announcement"
    );
    assert!(find(&loudest(&office.question), &heard).is_some(), "the question");
    let reply = through_a_law(&speech(REPLY));
    assert!(sounds(&loudest(&reply), &heard), "the agent");
    let call = office.record();
    assert_eq!(
        (&call["status"], &call["direction"]),
        (&json!("completed"), &json!("inbound")),
        "{call}"
    );
    assert_eq!(
        (&call["from"], &call["to"]),
        (&json!("+919812345678"), &json!("+918049501234"))
    );
    assert_eq!(
        call["extra"]["consent"]["decision"]["consent"]["decision"], "accepted",
        "{call}"
    );
    let recordings = office.list("recordings");
    let [recording] = recordings.as_slice() else {
        panic!("one recording, not {recordings:?}")
    };
    assert_eq!(recording["sid"], call["extra"]["recording"]);
    assert_eq!(
        (
            &recording["channels"],
            &recording["consent"]["decision"],
            &recording["call_sid"]
        ),
        (&json!(2), &json!("accepted"), &call["sid"])
    );
    let [agent, customer] = office.audio(recording["sid"].as_str().expect("a SID"));
    assert!(sounds(&loudest(&reply), &agent), "the agent is left");
    assert!(!sounds(&loudest(&reply), &customer), "and nowhere else");
    assert!(find(&loudest(&said), &customer).is_some(), "the customer is right");
    assert_eq!(find(&loudest(&said), &agent), None);
    // The customer's speech is there as a whole, and where it was said: 1.5 s after the key, to a tenth of a second or so.
    let first = find(&said[..8_000], &customer).expect("from the beginning");
    assert!((8_000..14_000).contains(&first), "after {first} samples");
    assert!(office.was_captured());
    office.close();
}

fn who_presses_2_is_connected_and_not_one_frame_is_kept() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let acts = vec![(asked, Act::Press('2')), (asked + BEFORE_MS, Act::Speak(said))];
    let heard = office.call(acts, asked + BEFORE_MS + 6_000);
    assert!(sounds(&loudest(&speech(REPLY)), &heard), "the call itself goes on");
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "declined", "{call}");
    assert!(call["extra"].get("recording").is_none(), "{call}");
    assert!(office.list("recordings").is_empty());
    assert!(!office.was_captured(), "not one frame");
    office.close();
}

fn silence_is_what_the_policy_says_and_a_pause_leaves_out_what_is_said() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    // India is announced: silence is taken as staying on the line. The card number is said while the recording rests.
    let talk = asked + 1_000 + BEFORE_MS;
    let acts = vec![
        (talk, Act::Press('*')),
        (talk + 150, Act::Press('7')),
        (talk + 500, Act::Speak(said.clone())),
        (talk + 500 + said.len() as u64 / 8 + 500, Act::Press('*')),
        (talk + 500 + said.len() as u64 / 8 + 650, Act::Press('8')),
        (
            talk + 500 + said.len() as u64 / 8 + 1_200,
            Act::Speak(through_a_law(&speech("Thank you very much."))),
        ),
    ];
    office.call(acts, talk + said.len() as u64 / 8 + 5_000);
    let call = office.record();
    let decision = &call["extra"]["consent"]["decision"];
    assert_eq!(decision["consent"]["decision"], "announced", "{call}");
    let recordings = office.list("recordings");
    assert_eq!(recordings.len(), 1, "{call}");
    let [_, customer] = office.audio(recordings[0]["sid"].as_str().expect("a SID"));
    assert_eq!(
        find(&loudest(&said)[..800], &customer),
        None,
        "what was said while it rested"
    );
    let thanks = through_a_law(&speech("Thank you very much."));
    assert!(find(&loudest(&thanks)[..800], &customer).is_some(), "and after it");
    office.close();
}

fn what_is_withdrawn_in_the_call_is_destroyed() {
    let office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let after = asked + BEFORE_MS + said.len() as u64 / 8 + 3_000;
    let acts = vec![
        (asked, Act::Press('1')),
        (asked + BEFORE_MS, Act::Speak(said.clone())),
        (after, Act::Press('*')),
        (after + 150, Act::Press('9')),
        (after + 500, Act::Speak(said)),
    ];
    office.call(acts, after + 3_000);
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "withdrawn", "{call}");
    assert!(office.list("recordings").is_empty());
    assert!(office.was_captured(), "it was there");
    let mut left = Vec::new();
    collect(&office.place.path("vault/in/objects/objects"), &mut left);
    assert!(left.is_empty(), "{left:?}");
    office.close();
}

fn who_hangs_up_in_the_greeting_leaves_a_record_and_no_audio() {
    let office = Office::open();
    office.call(vec![(100, Act::Speak(through_a_law(&speech("Hello?"))))], 1_500);
    let call = office.record();
    assert_eq!(call["extra"]["consent"]["decision"]["standing"], "undecided", "{call}");
    assert_eq!(call["status"], "completed");
    assert!(!office.was_captured());
    office.close();
}

fn a_call_whose_process_is_killed_has_its_record_and_what_was_said_so_far() {
    let mut office = Office::open();
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let acts = vec![(asked, Act::Press('1')), (asked + BEFORE_MS, Act::Speak(said.clone()))];
    office.place.write("caller.xml", CALLER);
    let caller = Caller::start(acts);
    let mut sipp = Command::new("sipp")
        .args([
            "-sf",
            "caller.xml",
            "-s",
            "08049501234",
            "-i",
            "127.0.0.1",
            "-m",
            "1",
            "-nostdin",
            "-d",
            "60000",
        ])
        .args([
            "-p",
            &free_port().to_string(),
            "-key",
            "rtpport",
            &caller.port.to_string(),
        ])
        .arg(format!("127.0.0.1:{}", office.sip))
        .current_dir(office.place.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("sipp runs");
    // Two parts of five seconds.
    sleep(Duration::from_millis(asked + 14_000));
    office.running.take().expect("it runs").kill();
    sipp.kill().expect("killed");
    sipp.wait().expect("ended");
    caller.end();
    let running = office.place.start(&["serve"]);
    office.client = Client::of(&running, 0);
    office.running = Some(running);
    // Within a minute somebody else ends the call.
    let call = (0..80).find_map(|_| {
        sleep(Duration::from_secs(1));
        office.list("calls").pop()
    });
    let call = call.expect("a record");
    assert_eq!(
        (&call["status"], &call["extra"]["interrupted"]),
        (&json!("failed"), &json!(true)),
        "{call}"
    );
    assert_eq!(call["extra"]["consent"]["decision"]["consent"]["decision"], "accepted");
    let recordings = office.list("recordings");
    assert_eq!(recordings.len(), 1, "{call}");
    let [_, customer] = office.audio(recordings[0]["sid"].as_str().expect("a SID"));
    assert!(customer.len() >= 10 * 8_000, "{} samples", customer.len());
    assert!(find(&loudest(&said), &customer).is_some());
    office.close();
}

fn numbers_that_nobody_answers_and_strangers_are_refused() {
    let office = Office::open();
    let status = |service: &str| {
        office.place.write("caller.xml", CALLER);
        let done = Command::new("sipp")
            .args([
                "-sf",
                "caller.xml",
                "-s",
                service,
                "-i",
                "127.0.0.1",
                "-m",
                "1",
                "-nostdin",
                "-trace_err",
                "-d",
                "100",
            ])
            .args([
                "-error_file",
                "errors",
                "-p",
                &free_port().to_string(),
                "-key",
                "rtpport",
                "9",
            ])
            .arg(format!("127.0.0.1:{}", office.sip))
            .current_dir(office.place.path("."))
            .stdin(Stdio::null())
            .output()
            .expect("sipp runs");
        assert!(!done.status.success());
        fs::read_to_string(office.place.path("errors")).expect("errors")
    };
    assert!(status("08049509999").contains("SIP/2.0 404"));
    assert!(status("not+a+number").contains("SIP/2.0 4"));
    assert!(office.list("calls").is_empty(), "a call that was not let in is none");
    office.close();
}

/// All at once: a call takes its time and hardly anything else.
#[test]
fn real_calls() {
    let cases: [(&str, fn()); 7] = [
        (
            "who_presses_1_is_recorded_each_on_his_own_channel",
            who_presses_1_is_recorded_each_on_his_own_channel,
        ),
        (
            "who_presses_2_is_connected_and_not_one_frame_is_kept",
            who_presses_2_is_connected_and_not_one_frame_is_kept,
        ),
        (
            "silence_is_what_the_policy_says_and_a_pause_leaves_out_what_is_said",
            silence_is_what_the_policy_says_and_a_pause_leaves_out_what_is_said,
        ),
        (
            "what_is_withdrawn_in_the_call_is_destroyed",
            what_is_withdrawn_in_the_call_is_destroyed,
        ),
        (
            "who_hangs_up_in_the_greeting_leaves_a_record_and_no_audio",
            who_hangs_up_in_the_greeting_leaves_a_record_and_no_audio,
        ),
        (
            "a_call_whose_process_is_killed_has_its_record_and_what_was_said_so_far",
            a_call_whose_process_is_killed_has_its_record_and_what_was_said_so_far,
        ),
        (
            "numbers_that_nobody_answers_and_strangers_are_refused",
            numbers_that_nobody_answers_and_strangers_are_refused,
        ),
    ];
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let running = cases.map(|(name, case)| (name, scope.spawn(case)));
        let ended = running.into_iter().map(|(name, running)| (name, running.join()));
        ended.filter_map(|(name, ended)| ended.err().map(|_| name)).collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}
