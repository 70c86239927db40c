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

/// How a call ends in the trace that another process' line comes in between.
const UNFINISHED: &str = " <unfinished ...>";

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

/// Whom a trace is of, and where it goes.
pub(super) struct Tracer {
    process: u32,
    file: PathBuf,
    log: PathBuf,
}

impl Tracer {
    pub(super) fn of(office: &Office) -> Self {
        Self {
            process: office.running.as_ref().expect("it runs").id(),
            file: office.place.path("strace.out"),
            log: office.place.path("strace.log"),
        }
    }

    /// Begins a trace. Every system call after this is in it.
    pub(super) fn attach(self) -> Trace {
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
            .arg(&self.file)
            .args(["-p", &self.process.to_string()])
            .stderr(fs::File::create(&self.log).expect("a log"))
            .spawn()
            .expect("strace runs");
        let attached = (0..50).any(|_| {
            sleep(Duration::from_millis(100));
            fs::read_to_string(&self.log).is_ok_and(|said| said.contains("attached"))
        });
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        assert!(
            attached,
            "strace needs the right to trace (root, or kernel.yama.ptrace_scope = 0): {said}"
        );
        Trace {
            strace,
            file: self.file,
        }
    }
}

impl Trace {
    /// A trace of a whole call.
    pub(super) fn of(office: &Office) -> Self {
        Tracer::of(office).attach()
    }

    /// Ends the trace of a whole call and reads it.
    pub(super) fn end(self) -> Written {
        let written = self.end_within();
        assert!(
            !written.bytes.is_empty(),
            "a call leaves a record, so something was written"
        );
        written
    }

    /// Ends the trace of a part of a call and reads it.
    pub(super) fn end_within(mut self) -> Written {
        let id = self.strace.id().to_string();
        let told = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(told.success());
        self.strace.wait().expect("it ends");
        let trace = fs::read_to_string(&self.file).expect("a trace");
        assert!(!trace.is_empty(), "who carries a call wakes its own threads at least");
        let bytes = read(&trace);
        Written { bytes, file: self.file }
    }
}

/// What each call of a trace wrote, by file.
fn read(trace: &str) -> BTreeMap<String, u64> {
    let mut bytes = BTreeMap::new();
    // The program that speaks texts is given nothing that was said.
    let mut others = HashSet::new();
    for line in whole_calls(trace) {
        let Some((head, rest)) = line.split_once('(') else {
            continue;
        };
        let mut words = head.split_whitespace();
        let (process, call) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if call == "execve" || others.contains(process) {
            others.insert(process.to_owned());
            continue;
        }
        let mut paths = rest.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
        // These read from their first file, and write to their last.
        let path = match call {
            "splice" | "copy_file_range" => paths.last(),
            _ => paths.next(),
        };
        let path = path.map(|(path, _)| unescape(path)).unwrap_or_default();
        match call {
            "io_uring_setup" | "memfd_create" | "vmsplice" => panic!("writes that a trace does not see: {line}"),
            // Memory of one's own is no file, and a file that is only read is not written; SQLite shares the index of its log.
            "mmap" if !line.contains("MAP_SHARED") || !line.contains("PROT_WRITE") || path.ends_with("-shm") => {}
            _ if path.starts_with('/') => *bytes.entry(path).or_default() += done(call, rest),
            _ => {}
        }
    }
    bytes
}

/// How much a call wrote, as it says in the end, or what it made room for; nothing where it failed.
fn done(call: &str, rest: &str) -> u64 {
    let (arguments, said) = rest.rsplit_once(" = ").unwrap_or((rest, ""));
    let said = said.split_whitespace().next().unwrap_or_default();
    if said.starts_with('-') {
        return 0;
    }
    let arguments: Vec<&str> = arguments.trim_end_matches(')').split(", ").collect();
    let number = match call {
        "mmap" => arguments.get(1),
        "fallocate" => arguments.get(3),
        _ => Some(&said),
    };
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("a {call} whose end is not known: {said}"))
}

/// A call that others' interrupt is told in two lines: `... <unfinished ...>` and `<... write resumed>...`. One that is still
/// under way when the trace ends is taken for done, with all that it was given.
fn whole_calls(trace: &str) -> Vec<String> {
    let (mut whole, mut begun) = (Vec::new(), BTreeMap::new());
    for line in trace.lines() {
        let process = line.split_whitespace().next().unwrap_or_default();
        if let Some(first) = line.strip_suffix(UNFINISHED) {
            begun.insert(process, first);
        } else if let Some((_, last)) = line.split_once(" resumed>").filter(|_| line.contains("<... ")) {
            whole.extend(begun.remove(process).map(|first| format!("{first}{last}")));
        } else {
            whole.push(line.to_owned());
        }
    }
    let given = |first: &str| first.rsplit(", ").next().unwrap_or_default().trim().to_owned();
    whole.extend(begun.values().map(|first| format!("{first}) = {}", given(first))));
    whole
}

#[test]
fn what_a_trace_tells_in_two_lines_or_maps_counts() {
    let trace = "11 write(5</v/takes/a>, \"\\x01\", 300 <unfinished ...>\n12 pwrite64(6</v/b>, \"\\x02\", 20, 0) = 20\n\
                 11 <... write resumed>) = 200\n13 write(7</v/takes/c>, \"\\x03\", 70 <unfinished ...>\n\
                 12 write(6</v/b>, \"\\x04\", 4) = -1 ENOSPC (No space left on device)\n\
                 12 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 8</v/takes/d>, 0) = 0x7f00\n\
                 12 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 8</v/takes/e>, 0) = 0x7f00\n\
                 12 fallocate(8</v/takes/f>, 0, 0, 512) = 0\n\
                 12 copy_file_range(8</v/b>, NULL, 9</v/takes/g>, NULL, 64, 0) = 64\n";
    let expected = [
        ("/v/b", 20),
        ("/v/takes/a", 200),
        ("/v/takes/c", 70),
        ("/v/takes/d", 4_096),
        ("/v/takes/f", 512),
        ("/v/takes/g", 64),
    ];
    assert_eq!(
        read(trace),
        expected.map(|(path, bytes)| (path.to_owned(), bytes)).into()
    );
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
