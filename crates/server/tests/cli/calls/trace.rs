//! What the kernel saw: every system call of the vault that puts bytes anywhere but on the network.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::PathBuf,
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use callvault_voice::g711::Law;

use super::office::{Office, loudest};

/// What writes to a file, makes it grow, or maps it.
const CALLS: &str = "write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,splice,vmsplice,fallocate,mmap,io_uring_setup,memfd_create,execve";

/// `strace`, while a call goes on.
pub(super) struct Trace {
    strace: Child,
    file: PathBuf,
}

/// What was written, by file.
#[derive(Debug)]
pub(super) struct Written {
    bytes: BTreeMap<String, u64>,
    file: PathBuf,
}

impl Trace {
    pub(super) fn of(office: &Office) -> Self {
        let (file, log) = (office.place.path("strace.out"), office.place.path("strace.log"));
        let id = office.running.as_ref().expect("it runs").id().to_string();
        // Every byte in hexadecimal; what a descriptor is, beside its number.
        let strace = Command::new("strace")
            .args([
                "-f",
                "-y",
                "-xx",
                "-s",
                "4000000",
                "-e",
                &format!("trace={CALLS}"),
                "-o",
            ])
            .arg(&file)
            .args(["-p", &id])
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("strace runs");
        let attached = (0..50).any(|_| {
            sleep(Duration::from_millis(100));
            fs::read_to_string(&log).is_ok_and(|said| said.contains("attached"))
        });
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(
            attached,
            "strace needs the right to trace (root, or kernel.yama.ptrace_scope = 0): {said}"
        );
        Self { strace, file }
    }

    /// Ends the trace and reads it.
    pub(super) fn end(mut self) -> Written {
        let id = self.strace.id().to_string();
        let told = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(told.success());
        self.strace.wait().expect("it ends");
        let trace = fs::read_to_string(&self.file).expect("a trace");
        let mut bytes = BTreeMap::new();
        // The program that speaks texts is given nothing that was said.
        let mut others = HashSet::new();
        for line in trace.lines() {
            let Some((head, rest)) = line.split_once('(') else {
                continue;
            };
            let mut words = head.split_whitespace();
            let (process, call) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if call == "execve" || others.contains(process) {
                others.insert(process);
                continue;
            }
            let done: u64 = line.rsplit("= ").next().and_then(|done| done.parse().ok()).unwrap_or(0);
            let path = rest
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'))
                .map(|(path, _)| unescape(path));
            let path = path.unwrap_or_default();
            match call {
                "io_uring_setup" | "memfd_create" | "vmsplice" => panic!("writes that a trace does not see: {line}"),
                // Memory of one's own is no file, and a file that is only read is not written; SQLite shares the index of its log.
                "mmap" if !line.contains("MAP_SHARED") || !line.contains("PROT_WRITE") || path.ends_with("-shm") => {}
                _ if path.starts_with('/') => *bytes.entry(path).or_default() += done,
                _ => {}
            }
        }
        assert!(!bytes.is_empty(), "a call leaves a record, so something was written");
        Written { bytes, file: self.file }
    }
}

/// A path as `-xx` writes it, or as it is.
fn unescape(path: &str) -> String {
    match path.strip_prefix("\\x") {
        Some(hex) => hex
            .split("\\x")
            .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
            .map(char::from)
            .collect(),
        None => path.to_owned(),
    }
}

impl Written {
    /// Bytes that went anywhere but into the catalog and the log of what happens.
    pub(super) fn audio(&self) -> u64 {
        let is_other =
            |path: &str| path.contains("/catalog.sqlite") || path.ends_with("/stderr.log") || path == "/dev/null";
        self.bytes
            .iter()
            .filter(|(path, _)| !is_other(path))
            .map(|(_, bytes)| bytes)
            .sum()
    }

    /// Nothing that was said went through any of these calls as it was said.
    pub(super) fn is_sealed(&self, said: &[&[i16]]) {
        let trace = fs::read_to_string(&self.file).expect("a trace");
        for said in said {
            let spoken = &loudest(said)[..32];
            let law: Vec<u8> = spoken.iter().map(|sample| Law::A.encode(*sample)).collect();
            let pcm: Vec<u8> = spoken.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            for bytes in [law, pcm] {
                let needle: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                assert!(!trace.contains(&needle), "speech in the clear");
            }
        }
    }
}
