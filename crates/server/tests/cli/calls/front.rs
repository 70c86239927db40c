//! Kamailio and rtpengine between the outside and the vault, with the configuration that the documentation has.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use serde_json::json;

use super::{
    Act, BEFORE_MS,
    caller::{CALLER, Caller, caller_behind_proxies},
    office::{Office, REPLY, SENTENCE, find, kept_port, loudest, sounds, speech, through_a_law},
};
use crate::running::free_port;

/// Where the proxy is, and where the carrier; the vault and the agent are where they always are.
const EDGE: &str = "127.0.0.3";
const CARRIER: &str = "127.0.0.4";
const STRANGER: &str = "127.0.0.5";

/// Programs that end with the test.
struct Front(Vec<Child>);

impl Drop for Front {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }
}

impl Front {
    fn start(office: &Office, port: u16, agent: u16) -> Self {
        let (control, first) = (free_port(), 20_000 + 2 * (free_port() % 4_000));
        let log = fs::File::create(office.place.path("front.log")).expect("a log");
        let run = |command: &mut Command| {
            let (out, err) = (log.try_clone().expect("a log"), log.try_clone().expect("a log"));
            command
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err)
                .spawn()
                .expect("it runs")
        };
        let engine = run(Command::new("rtpengine")
            .args([
                "--config-file=none",
                "--table=-1",
                "--foreground",
                "--log-stderr",
                "--log-level=6",
            ])
            .args([
                format!("--interface={EDGE}"),
                format!("--listen-ng=127.0.0.1:{control}"),
            ])
            .args([format!("--port-min={first}"), format!("--port-max={}", first + 100)])
            .arg(format!("--pidfile={}", office.place.path("engine.pid").display())));
        let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipes/kamailio.cfg");
        let folder = office.place.path("kamailio");
        fs::create_dir_all(&folder).expect("a folder");
        let sip = office.sip;
        let proxy = run(Command::new("kamailio")
            .args(["-f", recipe, "-DD", "-E", "-w"])
            .arg(&folder)
            .arg("-Y")
            .arg(&folder)
            .arg("-P")
            .arg(folder.join("pid"))
            .args(["-A", &format!("EDGE=udp:{EDGE}:{port}")])
            .args([
                "-A",
                "VAULT_IP=\"127.0.0.1\"",
                "-A",
                &format!("VAULT=\"sip:127.0.0.1:{sip}\""),
            ])
            .args([
                "-A",
                &format!("CARRIER_IP=\"{CARRIER}\""),
                "-A",
                &format!("CARRIER=\"sip:{CARRIER}:5060\""),
            ])
            .args(["-A", &format!("AGENTS=\"sip:127.0.0.1:{agent}\"")])
            .args(["-A", &format!("RTPENGINE=\"udp:127.0.0.1:{control}\"")]));
        sleep(Duration::from_secs(2));
        Self(vec![engine, proxy])
    }
}

pub(super) fn calls_come_and_go_through_kamailio_and_rtpengine() {
    let port = kept_port();
    let (office, agent) = Office::behind(EDGE, port);
    let front = Front::start(&office, port, agent);
    let asked = office.asked_ms();
    let said = through_a_law(&speech(SENTENCE));
    let acts = vec![(asked, Act::Press('1')), (asked + BEFORE_MS, Act::Speak(said.clone()))];
    let caller = Caller::start_at(CARRIER, acts);
    let stay = (asked + BEFORE_MS + 6_000).to_string();
    let more = ["-trace_err", "-error_file", "errors", "-d", &stay];
    let scenario = caller_behind_proxies();
    let mut called = office.sipp_from(CARRIER, (EDGE, port), &scenario, "08049501234", caller.port, &more);
    let done = called.output().expect("sipp runs");
    let source = caller.source().expect("a packet").ip().to_string();
    let heard = caller.end();
    let log = || fs::read_to_string(office.place.path("front.log")).expect("a log");
    assert!(
        done.status.success(),
        "{}\n{}",
        fs::read_to_string(office.place.path("errors")).unwrap_or_default(),
        log()
    );
    assert_eq!(source, EDGE, "media come from the relay");
    assert!(
        find(&loudest(&office.announcement), &heard).is_some(),
        "the announcement"
    );
    let reply = through_a_law(&speech(REPLY));
    assert!(sounds(&loudest(&reply), &heard), "the agent");
    let call = office.record();
    assert_eq!(
        (
            &call["status"],
            &call["extra"]["consent"]["decision"]["consent"]["decision"]
        ),
        (&json!("completed"), &json!("accepted")),
        "{call}"
    );
    let [left, right] = office.audio(call["extra"]["recording"].as_str().expect("a recording"));
    assert!(sounds(&loudest(&reply), &left), "the agent is left");
    assert!(find(&loudest(&said), &right).is_some(), "the customer is right");
    // Both hang up by the proxy: the agent's telephone knows, and the relay has forgotten both calls.
    let agents = fs::read_to_string(office.place.path("agent/log")).expect("a log");
    assert!(agents.contains("terminated"), "{agents}");
    // Nobody comes in beside it.
    for (from, to) in [(STRANGER, (EDGE, port)), (CARRIER, ("127.0.0.1", office.sip))] {
        let more = ["-d", "100", "-recv_timeout", "2000"];
        let refused = office.sipp_from(from, to, CALLER, "08049501234", 9, &more).output();
        assert!(!refused.expect("sipp runs").status.success(), "{from}");
    }
    assert_eq!(office.list("calls").len(), 1);
    drop(front);
    office.close();
}
