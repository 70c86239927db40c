//! A vault that answers calls, the agent behind it, and what the tests ask of both.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use callvault_app::{consent::ANNOUNCEMENT, core::flow::QUESTION};
use callvault_voice::{g711::Law, prompts::Prompts};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::caller::{Act, CALLER, Caller};
use crate::{
    running::{Place, Running, free_port},
    serving::Client,
};

/// A text as `espeak-ng` speaks it.
pub(super) fn speech(text: &str) -> Vec<i16> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let spoken = runtime.block_on(Prompts::new("espeak-ng".into()).speak("en", text));
    spoken.expect("espeak-ng speaks").to_vec()
}

pub(super) fn through_a_law(samples: &[i16]) -> Vec<i16> {
    samples
        .iter()
        .map(|sample| Law::A.decode(Law::A.encode(*sample)))
        .collect()
}

/// Where everybody is, unless he is elsewhere.
const HERE: &str = "127.0.0.1";
static OPENING: Mutex<()> = Mutex::new(());
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody else is given by chance: the system takes those of sockets that name none from 32,768 on. The next one is free
/// as well: a telephone speaks TLS there.
pub(super) fn kept_port() -> u16 {
    let own = u16::try_from(std::process::id() % 25).expect("small") * 100;
    let is_free =
        |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
    (0..1_250)
        .map(|_| 30_200 + (own + 2 * NEXT.fetch_add(1, Ordering::Relaxed)) % 2_500)
        .find(|port| is_free(*port) && is_free(*port + 1))
        .expect("a free port")
}

/// A vault that answers calls, an agent, and what the caller may say.
pub(super) struct Office {
    pub(super) place: Place,
    pub(super) running: Option<Running>,
    pub(super) client: Client,
    token: Value,
    agent: Option<Child>,
    pub(super) sip: u16,
    pub(super) tls: u16,
    pub(super) media: u16,
    pub(super) announcement: Vec<i16>,
    pub(super) question: Vec<i16>,
}

impl Drop for Office {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

impl Office {
    pub(super) fn open() -> Self {
        Self::begin(HERE, None, "", "")
    }

    /// The same with other telephones than the agent's.
    pub(super) fn with_proxy(port: u16) -> Self {
        Self::begin(HERE, Some(port), "", "")
    }

    /// The same with more to say of the trunk.
    pub(super) fn with_trunk(more: &str) -> Self {
        Self::begin(HERE, None, more, "")
    }

    /// The same with an agent whose telephone is set up so.
    pub(super) fn with_agent(more: &str, agent: &str) -> Self {
        let port = kept_port();
        let mut office = Self::begin(HERE, Some(port), more, "");
        office.agent = Some(start_phone(&office.place, "agent", port, agent, REPLY, 500, &[]));
        office
    }

    /// The same behind a proxy at this address, which calls come from and go to; and where the agent's telephone is.
    pub(super) fn behind(peer: &str, port: u16) -> (Self, u16) {
        let agent = kept_port();
        let mut office = Self::begin(peer, Some(port), "", "");
        office.agent = Some(start_phone(&office.place, "agent", agent, "", REPLY, 500, &[]));
        (office, agent)
    }

    /// The same where nothing is said in the clear: the agent's telephone shows a certificate of `agent.example` at its second port,
    /// and has to show one of this name.
    pub(super) fn encrypted(name: &str) -> Self {
        let (port, tls) = (kept_port(), kept_port());
        let more = format!("proxy_name = \"{name}\"\ntls = \"required\"\nsrtp = \"required\"");
        let voice = format!("tls_listen = \"127.0.0.1:{tls}\"\ntls_authorities = \"agent.pem\"\n");
        let mut office = Self::begin(HERE, Some(port + 1), &more, &voice);
        office.tls = tls;
        let how = ";mediaenc=srtp-mand";
        office.agent = Some(start_phone(&office.place, "agent", port, how, REPLY, 500, &[]));
        office
    }

    /// A customer's telephone: calls, says its sentence after so long, hangs up. Returns what it heard.
    pub(super) fn phone(&self, how: &str, target: &str, after_ms: usize, stay_s: u32) -> Vec<i16> {
        let port = kept_port();
        let stay = stay_s.to_string();
        let dial = format!("/dial {target}");
        let more = ["-e", &dial, "-t", &stay];
        let mut phone = start_phone(&self.place, "phone", port, how, SENTENCE, after_ms, &more);
        phone.wait().expect("it ends");
        let mut files = Vec::new();
        collect(&self.place.path("phone"), &mut files);
        // What it decoded, as its filter keeps it.
        let played = files.iter().find(|file| file.to_string_lossy().ends_with("-dec.wav"));
        let played = played.unwrap_or_else(|| {
            let log = fs::read_to_string(self.place.path("phone/log")).unwrap_or_default();
            panic!("nothing was heard: {files:?} {log}")
        });
        let played = fs::read(played).expect("what it heard");
        let samples = played[44..].chunks_exact(2);
        samples.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    fn begin(peer: &str, proxy: Option<u16>, more: &str, voice: &str) -> Self {
        // One after the other: what is slow about them is not what is tested here.
        let _one = OPENING.lock();
        let (sip, agent_port) = (kept_port(), proxy.unwrap_or_else(kept_port));
        let media = 10_000 + 2 * (free_port() % 10_000);
        let place = Place::new(&format!(
            "data_dir = \"vault\"\nprivate_targets = true\n[regions.in]\nlisten = \"127.0.0.1:0\"\n[regions.in.voice]\nlisten = \"127.0.0.1:{sip}\"\n\
             ports = [{media}, {}]\nmost_late_ms = 60000\n{voice}[[regions.in.voice.trunks]]\naccount = \"acme\"\npeers = [\"{peer}\"]\n\
             proxy = \"{peer}:{agent_port}\"\nsiprec = \"strict\"\n{more}\n",
            media + 100
        ));
        place.write("callers", "correct horse");
        let made = rcgen::generate_simple_self_signed(["agent.example".to_owned()]).expect("a certificate");
        place.write("agent.pem", made.cert.pem());
        place.write("telephone.pem", made.cert.pem() + &made.signing_key.serialize_pem());
        let file = place.path("callers");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
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
        let agent = proxy
            .is_none()
            .then(|| start_phone(&place, "agent", agent_port, "", REPLY, 500, &[]));
        let office = Self {
            place,
            running: Some(running),
            client,
            token,
            agent,
            sip,
            tls: 0,
            media,
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

    pub(super) fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Value) {
        self.client.send(Method::POST, path, &self.token, Some((kind, body)))
    }

    /// The same without a body.
    pub(super) fn send(&self, method: Method, path: &str) -> (StatusCode, Value) {
        self.client.send(method, path, &self.token, None)
    }

    /// Has the number answered by a flow.
    pub(super) fn answer(&self, flow: Value) {
        let body = flow.to_string().into_bytes();
        let (status, saved) = self.post("/v1/accounts/acme/flows", "application/json", body);
        assert_eq!(status, StatusCode::CREATED, "{saved}");
        let id = saved["id"].as_str().expect("an id");
        let kind = "application/x-www-form-urlencoded";
        let url = format!("VoiceUrl=https%3A%2F%2Fv.example.in%2Facme%2Fexoml%2Fstart_voice%2F{id}");
        let numbers = "/v2_beta/accounts/acme/incomingphonenumbers";
        let known = self.client.get(numbers, &self.token);
        let (method, path, form) = match known["incoming_phone_numbers"][0]["sid"].as_str() {
            Some(sid) => (Method::PUT, format!("{numbers}/{sid}"), url),
            None => (
                Method::POST,
                numbers.to_owned(),
                format!("PhoneNumber=08049501234&{url}"),
            ),
        };
        let (status, said) = self
            .client
            .send(method, &path, &self.token, Some((kind, form.into_bytes())));
        assert_eq!(status, StatusCode::OK, "{said}");
    }

    /// The moment of the answer to the question, in milliseconds after the answer to the call.
    pub(super) fn asked_ms(&self) -> u64 {
        (self.announcement.len() as u64 + self.question.len() as u64) / 8 + 200
    }

    /// SIPp with a scenario: calls a number once, and names this port for its media.
    pub(super) fn sipp(&self, scenario: &str, number: &str, media: u16, more: &[&str]) -> Command {
        self.sipp_from(HERE, (HERE, self.sip), scenario, number, media, more)
    }

    /// The same from elsewhere to elsewhere.
    pub(super) fn sipp_from(
        &self,
        from: &str,
        (to, port): (&str, u16),
        scenario: &str,
        number: &str,
        media: u16,
        more: &[&str],
    ) -> Command {
        self.place.write("caller.xml", scenario);
        let mut command = Command::new("sipp");
        command
            .args(["-sf", "caller.xml", "-s", number, "-i", from, "-m", "1", "-nostdin"])
            .args(["-p", &free_port().to_string(), "-key", "rtpport", &media.to_string()])
            .args(more)
            .arg(format!("{to}:{port}"))
            .current_dir(self.place.path("."))
            .stdin(Stdio::null());
        command
    }

    /// A call that is refused; what SIPp says of it.
    pub(super) fn refused(&self, scenario: &str, number: &str) -> String {
        let more = ["-d", "100", "-trace_err", "-error_file", "errors"];
        let done = self.sipp(scenario, number, 9, &more).output().expect("sipp runs");
        assert!(!done.status.success());
        fs::read_to_string(self.place.path("errors")).expect("errors")
    }

    /// Calls, acts, hangs up after so long. Returns what the caller heard.
    pub(super) fn call(&self, acts: Vec<(u64, Act)>, stay_ms: u64) -> Vec<i16> {
        let caller = Caller::start(acts);
        let stay = stay_ms.to_string();
        let done = self
            .sipp(CALLER, "08049501234", caller.port, &["-trace_err", "-d", &stay])
            .output();
        let done = done.expect("sipp runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        caller.end()
    }

    /// Adopts a consent policy.
    pub(super) fn adopt(&self, policy: Value) {
        let token = self.place.json(&["tokens", "create", "acme", "--role", "compliance"]);
        let body = Some(("application/json", policy.to_string().into_bytes()));
        let (status, said) = self
            .client
            .send(Method::PUT, "/v1/accounts/acme/consent/policy", &token, body);
        assert_eq!(status, StatusCode::OK, "{said}");
    }

    pub(super) fn list_flows(&self) -> Vec<Value> {
        let listed = self.client.get("/v1/accounts/acme/flows", &self.token);
        listed["flows"].as_array().expect("a list").clone()
    }

    /// Stops the process as an operator does, and starts it again.
    pub(super) fn restart(&mut self) {
        let ended = self.running.take().expect("it runs").stop();
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
        let running = self.place.start(&["serve"]);
        self.client = Client::of(&running, 0);
        self.running = Some(running);
    }

    pub(super) fn list(&self, kind: &str) -> Vec<Value> {
        let listed = self
            .client
            .get(&format!("/v1/accounts/acme/records/{kind}?limit=1000"), &self.token);
        listed[kind].as_array().expect("a list").clone()
    }

    /// The record of the only call, once it is there.
    pub(super) fn record(&self) -> Value {
        for _ in 0..100 {
            if let [call] = self.list("calls").as_slice() {
                return call.clone();
            }
            sleep(Duration::from_millis(100));
        }
        panic!("no record of the call")
    }

    /// Kills the process, and starts it again.
    pub(super) fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
        let running = self.place.start(&["serve"]);
        self.client = Client::of(&running, 0);
        self.running = Some(running);
    }

    /// The record of the only call, whose process was killed: within a minute somebody else ends it.
    pub(super) fn interrupted(&self) -> Value {
        let call = (0..80).find_map(|_| {
            sleep(Duration::from_secs(1));
            self.list("calls").pop()
        });
        let call = call.expect("a record");
        assert_eq!(
            (&call["status"], &call["extra"]["interrupted"]),
            (&json!("failed"), &json!(true)),
            "{call}"
        );
        call
    }

    /// The audio of a recording: the agent's samples, the customer's.
    pub(super) fn audio(&self, sid: &str) -> [Vec<i16>; 2] {
        let samples = self.samples(sid);
        [0, 1].map(|channel| samples.iter().skip(channel).step_by(2).copied().collect())
    }

    /// The samples of a recording, of all channels in turn.
    pub(super) fn samples(&self, sid: &str) -> Vec<i16> {
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
        bytes[44..]
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// Whether any audio was ever handed to the object store: folders stay when what was in them goes.
    pub(super) fn was_captured(&self) -> bool {
        self.place.path("vault/in/objects/objects/takes").exists()
    }

    pub(super) fn close(mut self) {
        if let Some(running) = self.running.take() {
            let ended = running.stop();
            // No failure of its own, and nobody's number.
            assert!(!ended.err.contains("panicked"), "{}", ended.err);
            assert!(!ended.err.contains("9812345678"), "{}", ended.err);
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

pub(super) const SENTENCE: &str = "My order has the number seven three nine, and it came broken.";
pub(super) const REPLY: &str = "I am sorry to hear that. A new one is on its way to you.";

pub(super) fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

/// Half a second of the loudest part, which nothing else resembles.
pub(super) fn loudest(samples: &[i16]) -> Vec<i16> {
    let power = |part: &&[i16]| part.iter().map(|sample| i64::from(*sample).pow(2)).sum::<i64>();
    samples.chunks_exact(4_000).max_by_key(power).expect("speech").to_vec()
}

/// Where a part is found in whole.
pub(super) fn find(part: &[i16], whole: &[i16]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}

/// Whether a part sounds in the whole: what another program encoded is the same but for the last bits.
pub(super) fn sounds(part: &[i16], whole: &[i16]) -> bool {
    let part: Vec<f32> = part[..800].iter().map(|sample| f32::from(*sample)).collect();
    let whole: Vec<f32> = whole.iter().map(|sample| f32::from(*sample)).collect();
    let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
    let own = power(&part);
    whole.windows(part.len()).any(|window| {
        let shared: f32 = part.iter().zip(window).map(|(a, b)| a * b).sum();
        shared > 0.0 && shared * shared > 0.98 * own * power(window)
    })
}

/// A telephone that answers at once and says its sentence after so long.
fn start_phone(
    place: &Place,
    name: &str,
    port: u16,
    how: &str,
    sentence: &str,
    after_ms: usize,
    more: &[&str],
) -> Child {
    let mut samples = vec![0_i16; after_ms * 8];
    samples.extend(speech(sentence));
    samples.extend(vec![0; 160_000]);
    place.write(&format!("{name}/said.wav"), wav(&samples));
    let folder = place.path(name);
    place.write(
        &format!("{name}/config"),
        format!(
            "module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\nmodule sndfile.so\nmodule srtp.so\nmodule_app account.so\n\
             module_app menu.so\nmodule_tmp uuid.so\nsip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\n\
             audio_player aufile,{folder}/played.wav\naudio_source aufile,{folder}/said.wav\naudio_alert aufile,/dev/null\n\
             sip_certificate {certificate}\nsip_cafile {authority}\nausrc_srate 8000\nauplay_srate 8000\nsnd_path {folder}\n",
            folder = folder.display(),
            certificate = place.path("telephone.pem").display(),
            authority = place.path("vault/in/tls-cert.pem").display(),
        ),
    );
    place.write(
        &format!("{name}/accounts"),
        format!("<sip:{name}@127.0.0.1:{port}>;regint=0;answermode=auto;audio_codecs=PCMA{how}\n"),
    );
    place.write(&format!("{name}/contacts"), "");
    let log = fs::File::create(folder.join("log")).expect("a log");
    Command::new("baresip")
        .args(["-f", &folder.display().to_string()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("baresip runs")
}

pub(super) fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = u32::try_from(samples.len() * 2).expect("short");
    let mut wav = b"RIFF".to_vec();
    wav.extend((bytes + 36).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    wav
}
