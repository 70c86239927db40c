//! A PostgreSQL server of the test run's own, and a database for each test.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{find_program, free_port, postgres_address, unique_name};

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    programs: PathBuf,
    folder: TempDir,
}

/// The newest installed server's programs.
fn find_programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").is_file())
        .collect();
    versions.sort();
    versions
        .pop()
        .map(|(_, programs)| programs)
        .or_else(|| Some(find_program("initdb", &[])?.parent()?.to_owned()))
}

/// Runs a program of the server as a user that it accepts, and lets it end with us.
fn command(program: &Path) -> Command {
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if root {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command
        .arg(program)
        .env_remove("PGDATA")
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::null());
    command
}

fn user_id(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

impl Server {
    /// Starts a server on a free port of the loopback interface, with its data in a temporary folder.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let programs = find_programs().expect("PostgreSQL is not installed: install Debian's package `postgresql`");
        let folder = TempDir::with_prefix("callvault-postgres-").expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a data folder");
        if let Some((user, group)) = user_id("postgres") {
            // Only root may give a folder away, and only root has to.
            let _ = chown(&data, Some(user), Some(group));
        }
        let made = command(&programs.join("initdb"))
            .args([
                "--auth",
                "trust",
                "--username",
                "callvault",
                "--encoding",
                "UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb failed");
        let port = free_port();
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = command(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args([
                "-p",
                &port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=400",
            ])
            .args([
                "-c",
                "fsync=on",
                "-c",
                "shared_buffers=128MB",
                "-c",
                "log_min_messages=warning",
            ])
            .arg("-k")
            .arg(&data)
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        let server = Self {
            child,
            port,
            programs,
            folder,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        for _ in 0..300 {
            let ready = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-t", "1", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .expect("pg_isready runs");
            if ready.success() {
                return;
            }
            super::pause();
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("PostgreSQL did not start:\n{log}");
    }

    /// `postgres://user@host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("postgres://callvault@127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let _ = self.child.wait();
    }
}

/// A database of one test; dropped with it.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// Creates an empty database.
    ///
    /// # Panics
    /// When there is no server.
    #[must_use]
    pub fn create() -> Self {
        let database = Self {
            server: postgres_address(),
            name: unique_name(),
        };
        database.run_on_server(&format!("CREATE DATABASE {}", database.name));
        database
    }

    /// `postgres://user@host:port/database`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// The same through another port of this host, such as a proxy's.
    #[must_use]
    pub fn address_through(&self, port: u16) -> String {
        format!("postgres://callvault@127.0.0.1:{port}/{}", self.name)
    }

    /// Where the server listens.
    #[must_use]
    pub fn host(&self) -> String {
        self.server.rsplit('@').next().expect("an address").to_owned()
    }

    /// Runs a statement in the database and returns what it prints, one row a line.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn query(&self, sql: &str) -> String {
        run(&self.address(), sql)
    }

    fn run_on_server(&self, sql: &str) {
        run(&format!("{}/postgres", self.server), sql);
    }
}

fn run(address: &str, sql: &str) -> String {
    let folders: Vec<PathBuf> = find_programs().into_iter().collect();
    let psql = find_program("psql", &folders).expect("psql is not installed: install Debian's package `postgresql`");
    let done = Command::new(psql)
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, address])
        .output()
        .expect("psql runs");
    assert!(
        done.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run_on_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}
