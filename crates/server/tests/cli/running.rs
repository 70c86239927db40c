//! Runs the binary and reads what it says.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use callvault_app::core::TimeUs;
use callvault_server::demo::generate::tones;
use serde_json::Value;
use tempfile::TempDir;

/// What opens the key file of every vault here.
pub(crate) const PASSPHRASE: &str = "correct-horse-battery";
/// One region, embedded, in the folder that the command runs in.
pub(crate) const EMBEDDED: &str = "data_dir = \"vault\"\nmetrics = true\n[regions.in]\nlisten = \"127.0.0.1:0\"\n";

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.local_addr().expect("an address").port()
}

/// A folder with a `callvault.toml`, and the environment that its commands get.
pub(crate) struct Place {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The one JSON document of standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The error on standard error; it must be one line of JSON that knows the exit code.
    pub(crate) fn error(&self) -> String {
        let line = self.err.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self:?}"));
        assert_eq!(value["error"]["exit_code"], self.code, "{self:?}");
        let kind = ["", "refused", "usage", "failed"][usize::try_from(self.code).expect("a code")];
        assert_eq!(value["error"]["kind"], kind, "{self:?}");
        value["error"]["message"].as_str().expect("a message").to_owned()
    }
}

impl Place {
    /// A folder with this configuration. Nothing of the developer's own reaches its commands.
    pub(crate) fn new(config: &str) -> Self {
        let place = Self {
            folder: TempDir::with_prefix("callvault-cli-").expect("a folder"),
            environment: vec![("CALLVAULT_PASSPHRASE".to_owned(), PASSPHRASE.to_owned())],
        };
        place.write("callvault.toml", config);
        place
    }

    /// As [`Place::new`], without a passphrase: a demo has its own.
    pub(crate) fn of_demos() -> Self {
        let mut place = Self::new("");
        place.environment.clear();
        place
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callvault"));
        let kept = ["PATH", "HOME", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"];
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let done = self.command(arguments).output().expect("the binary runs");
        Ran {
            code: done.status.code().unwrap_or(-1),
            out: String::from_utf8(done.stdout).expect("UTF-8"),
            err: String::from_utf8(done.stderr).expect("UTF-8"),
        }
    }

    /// Runs a command that must succeed, and returns its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{arguments:?} {ran:?}");
        ran.json()
    }

    /// Runs a command that must end with this code, and returns its error's text.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, code, "{arguments:?} {ran:?}");
        ran.error()
    }

    /// The account `acme` with calls of its own: ten in the hour of noon some days ago. Returns their SIDs, oldest first.
    pub(crate) fn prepare(&self) -> Vec<String> {
        self.json(&[
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
        self.write("calls.ndjson", calls(10));
        let done = self.json(&["import", "calls", "acme", "calls.ndjson"]);
        assert_eq!(done["files"][0]["stored"], 10, "{done}");
        sids(10)
    }

    /// Stores a recording of this call and returns its SID.
    pub(crate) fn record(&self, call: &str) -> String {
        self.write(&format!("audio/{call}.wav"), tones(1, 1));
        let file = format!("audio/{call}.wav");
        let done = self.json(&[
            "import",
            "recordings",
            "acme",
            &file,
            "--consent",
            "attested",
            "--by",
            "the test",
        ]);
        done["recordings"][0]["sid"].as_str().expect("a SID").to_owned()
    }

    /// Starts a command that goes on, and reads the JSON document that it begins with.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let log = self.path("stderr.log");
        let mut child = self
            .command(&[arguments, &["--json"]].concat())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut text = String::new();
        while !text.ends_with("\n}\n") {
            let read = out.read_line(&mut text).expect("a line");
            assert!(
                read > 0,
                "it ended: {text} {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
        }
        Running {
            child,
            out,
            folder: self.folder.path().to_owned(),
            log,
            first: serde_json::from_str(&text).expect("JSON"),
            text,
        }
    }
}

/// A command that goes on until it is told to stop.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) folder: PathBuf,
    log: PathBuf,
    text: String,
    pub(crate) first: Value,
}

impl Running {
    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let told = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status()
            .expect("kill runs");
        assert!(told.success());
    }

    /// Sends SIGTERM, waits, and returns exit code, standard output and standard error.
    pub(crate) fn stop(mut self) -> Ran {
        self.signal("TERM");
        let code = self.child.wait().expect("it ends").code().unwrap_or(-1);
        let mut out = std::mem::take(&mut self.text);
        std::io::Read::read_to_string(&mut self.out, &mut out).expect("UTF-8");
        Ran {
            code,
            out,
            err: fs::read_to_string(&self.log).expect("a log"),
        }
    }
}

impl Running {
    /// Ends it as a crash does: SIGKILL.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `stop` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Noon, ten days ago.
pub(crate) fn noon() -> TimeUs {
    use callvault_app::Clock as _;
    let today = callvault_server::clock::SystemClock.now().day().start();
    today.plus_days(-10).plus_seconds(12 * 3_600)
}

/// The number of the caller in the rows of [`calls`].
pub(crate) const CALLER: &str = "+919900011111";

/// The SIDs of [`calls`].
pub(crate) fn sids(count: u8) -> Vec<String> {
    let sid = |n: u8| callvault_app::core::Sid::new(noon().plus_seconds(60 * i64::from(n)), [n; 10]).to_string();
    (0..count).map(sid).collect()
}

/// Calls a minute apart, as our own NDJSON.
pub(crate) fn calls(count: u8) -> String {
    let row = |(n, sid): (i64, String)| {
        let at = noon().plus_seconds(60 * n);
        format!(
            "{{\"sid\":\"{sid}\",\"at\":\"{at}\",\"direction\":\"inbound\",\"from\":\"{CALLER}\",\
             \"to\":\"+919900000001\",\"status\":\"completed\",\"duration_s\":50,\"talk_s\":40}}\n"
        )
    };
    (0..).zip(sids(count)).map(row).collect()
}

/// A file's text.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
