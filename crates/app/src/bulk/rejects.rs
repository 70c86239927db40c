//! The reject file: refused rows, for whoever repairs them.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
};

use super::days::Refused;

/// Where rows go that are refused.
pub struct RejectFile {
    path: PathBuf,
    file: Option<File>,
}

impl RejectFile {
    /// A reject file at this path; it is created with the first rejected row, readable by its owner alone. Its rows
    /// are in clear, as the source wrote them: it is for whoever repairs them, and to be deleted after.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Cuts what earlier runs wrote behind their last commit, and returns how much is left: nothing of a file that
    /// somebody deleted.
    pub(super) fn resume_at(&mut self, bytes: u64) -> std::io::Result<u64> {
        // A file that is removed is not written to any more.
        self.file = None;
        if bytes == 0 {
            return match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(0),
            };
        }
        let file = match OpenOptions::new().write(true).open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        let left = bytes.min(file.metadata()?.len());
        file.set_len(left)?;
        self.file = Some(file);
        Ok(left)
    }

    pub(super) fn write(&mut self, rejects: &[Refused]) -> std::io::Result<u64> {
        let Some(file) = &mut self.file else {
            if rejects.is_empty() {
                return Ok(0);
            }
            let mut options = OpenOptions::new();
            std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
            self.file = Some(options.open(&self.path)?);
            if let Some(file) = &mut self.file {
                file.write_all(b"row,field,code,message,raw\n")?;
            }
            return self.write(rejects);
        };
        let mut text = csv::Writer::from_writer(Vec::new());
        for (error, raw) in rejects {
            let row = error.row.to_string();
            let field = error.field.as_deref().unwrap_or("");
            let columns: [&[u8]; 5] = [
                row.as_bytes(),
                field.as_bytes(),
                error.code.as_bytes(),
                error.message.as_bytes(),
                raw,
            ];
            text.write_record(columns)?;
        }
        let bytes = text
            .into_inner()
            .map_err(|_| std::io::Error::other("the reject file's buffer"))?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        file.stream_position()
    }
}
