//! The file that an export goes to: `FILE.partial` until it is whole, with what it was begun with beside it.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_app::{
    VaultError,
    export::{Sink, Snapshot},
    seal::digest::Hasher,
};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::cli::{CliError, Done};

/// Bytes read back at once.
const READ_BYTES: usize = 1024 * 1024;

/// A file in the making.
pub(super) struct Target {
    path: PathBuf,
    asked: Value,
    file: File,
    bytes: u64,
    snapshot: Option<Snapshot>,
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    name.push(ending);
    path.with_file_name(name)
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> CliError {
    move |error| CliError::file("export", &error).of_file(path)
}

/// Its owner alone reads it.
fn create(path: &Path, truncate: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(truncate)
        .append(!truncate)
        .write(true)
        .mode(0o600)
        .open(path)
}

impl Target {
    /// Opens the partial file of an earlier run that was asked the same, or a new one. Another run may not have it open.
    pub(super) fn open(path: &Path, asked: &Value) -> Result<Self, CliError> {
        if path.file_name().is_none() || path.is_dir() {
            return Err(CliError::Usage("--output: expected a file".to_owned()));
        }
        if path.exists() {
            let text = "is there already; remove it, or choose another --output";
            return Err(CliError::Refused(text.to_owned()).of_file(path));
        }
        let partial = beside(path, ".partial");
        let file = create(&partial, false).map_err(failed(&partial))?;
        if file.try_lock().is_err() {
            return Err(CliError::Refused("another export writes it".to_owned()).of_file(path));
        }
        let mut target = Self {
            path: path.to_owned(),
            asked: asked.clone(),
            file,
            bytes: 0,
            snapshot: None,
        };
        target.snapshot = target.find_snapshot()?;
        if target.snapshot.is_some() {
            let length = target.file.metadata().map_err(failed(&partial))?.len();
            target.bytes = length;
        }
        Ok(target)
    }

    /// The snapshot that the partial file is of, if it was asked the same.
    fn find_snapshot(&self) -> Result<Option<Snapshot>, CliError> {
        let state = beside(&self.path, ".partial.json");
        let text = match std::fs::read_to_string(&state) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&state)(error)),
        };
        let known: Value = serde_json::from_str(&text).unwrap_or_default();
        let same = known["asked"] == self.asked;
        Ok(known["snapshot"]
            .as_str()
            .filter(|_| same)
            .and_then(|text| text.parse().ok()))
    }

    /// The snapshot to go on with.
    pub(super) const fn snapshot(&self) -> Option<Snapshot> {
        self.snapshot
    }

    /// How much of it is there.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is there is of no use any more.
    pub(super) const fn forget(&mut self) {
        self.snapshot = None;
    }

    /// Begins anew. The partial file is emptied before it is said what it is of, so that no crash mixes two exports.
    pub(super) fn begin(&mut self, snapshot: Snapshot) -> Done {
        let state = beside(&self.path, ".partial.json");
        match std::fs::remove_file(&state) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&state)(error)),
            _ => {}
        }
        self.file.set_len(0).map_err(failed(&self.path))?;
        self.file.sync_all().map_err(failed(&self.path))?;
        self.bytes = 0;
        self.snapshot = Some(snapshot);
        let value = json!({ "asked": self.asked, "snapshot": snapshot.to_string() });
        write_whole(&state, &value)
    }

    /// Where the export writes to.
    pub(super) const fn sink<'t>(&'t mut self, bar: &'t ProgressBar) -> FileSink<'t> {
        FileSink { target: self, bar }
    }

    /// Reads the file back and gives it its name, its manifest first.
    pub(super) fn finish(mut self, sha256: &str, manifest: &Value) -> Done {
        let partial = beside(&self.path, ".partial");
        self.file.flush().map_err(failed(&partial))?;
        self.file.sync_all().map_err(failed(&partial))?;
        if hash(&partial).map_err(failed(&partial))? != sha256 {
            let text = "what was read back is not what was written; remove the partial file and run it again";
            return Err(CliError::Failed(text.to_owned()).of_file(&partial));
        }
        write_whole(&beside(&self.path, ".manifest.json"), manifest)?;
        std::fs::rename(&partial, &self.path).map_err(failed(&self.path))?;
        let state = beside(&self.path, ".partial.json");
        std::fs::remove_file(&state).map_err(failed(&state))
    }
}

fn write_whole(path: &Path, value: &Value) -> Done {
    let text = serde_json::to_vec_pretty(value).map_err(|error| CliError::Failed(error.to_string()))?;
    let written = create(path, true).and_then(|mut file| {
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    written.map_err(failed(path))
}

fn hash(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hasher) = (File::open(path)?, Hasher::sha256());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finish())),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Appends to the partial file.
pub(super) struct FileSink<'t> {
    target: &'t mut Target,
    bar: &'t ProgressBar,
}

#[async_trait]
impl Sink for FileSink<'_> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), VaultError> {
        self.target.file.write_all(&bytes).map_err(|source| VaultError::File {
            what: "export file".to_owned(),
            source,
        })?;
        self.target.bytes += bytes.len() as u64;
        Ok(())
    }

    fn progress(&mut self, records: u64) {
        self.bar.set_position(records);
    }
}
