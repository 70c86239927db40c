//! A Garage of the test run's own: one node, one bucket.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{find_program, free_port};

const ACCESS: &str = "GK000000000000000000000001";
const SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const BUCKET: &str = "callvault-test";

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

fn find_binary() -> Option<PathBuf> {
    if let Some(path) = env::var_os("CALLVAULT_GARAGE") {
        return Some(PathBuf::from(path));
    }
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    find_program("garage", &[home.join(".cache/callvault-test/garage-2.5.0/bin")])
}

impl Server {
    /// Starts a server on free ports of the loopback interface, with its data in a temporary folder.
    ///
    /// # Panics
    /// When Garage is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let binary =
            find_binary().expect("Garage is not installed: run `./test`, or set CALLVAULT_GARAGE to its binary");
        let folder = TempDir::with_prefix("callvault-garage-").expect("a temporary folder");
        let (port, rpc) = (free_port(), free_port());
        let config = folder.path().join("garage.toml");
        let text = format!(
            "metadata_dir = \"{dir}/meta\"\ndata_dir = \"{dir}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = 1\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_secret = \"{SECRET}\"\n[s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{port}\"\n",
            dir = folder.path().display()
        );
        fs::write(&config, text).expect("a configuration");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "INT"])
            .arg(&binary)
            .arg("-c")
            .arg(&config)
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET)
            .env("GARAGE_DEFAULT_BUCKET", BUCKET)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("garage runs");
        let server = Self { child, port, folder };
        server.wait();
        server
    }

    /// Waits until the bucket is known: a request without keys is then refused (403) rather than not understood.
    fn wait(&self) {
        for _ in 0..300 {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let request = format!("GET /{BUCKET}?list-type=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                let mut answer = String::new();
                let asked = stream
                    .write_all(request.as_bytes())
                    .and_then(|()| stream.read_to_string(&mut answer));
                if asked.is_ok() && answer.starts_with("HTTP/1.1 403") {
                    return;
                }
            }
            super::pause();
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("Garage did not start:\n{log}");
    }

    /// `http://access:secret@host:port/bucket`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{ACCESS}:{SECRET}@127.0.0.1:{}/{BUCKET}", self.port)
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("garage.toml")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let _ = self.child.wait();
    }
}

/// A bucket of one test, with a limit to what fits in it.
///
/// # Panics
/// When the test run has no Garage of its own.
#[must_use]
pub fn create_limited_bucket(name: &str, max_bytes: u64) -> String {
    run(&["bucket", "create", name]);
    run(&["bucket", "allow", "--read", "--write", name, "--key", ACCESS]);
    run(&["bucket", "set-quotas", "--max-size", &format!("{max_bytes}B"), name]);
    name.to_owned()
}

fn run(arguments: &[&str]) {
    let config = env::var("CALLVAULT_TEST_GARAGE_CONFIG").expect("a Garage of the test run's own; see `./test`");
    let binary = find_binary().expect("Garage is not installed");
    let done = Command::new(binary)
        .arg("-c")
        .arg(config)
        .args(arguments)
        .output()
        .expect("garage runs");
    assert!(
        done.status.success(),
        "garage {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
