//! A directory of `*.cdr.json` files, as `mod_json_cdr` leaves them with `log-dir`, read as one stream.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The files in name order, each followed by a line break. Offsets count over all of them, so a position is good for as
/// long as no file is added, removed or changed; a rerun from the start is always good, because SIDs do not change.
pub struct DirectoryStream {
    files: Vec<(PathBuf, u64)>,
    next: usize,
    current: Option<io::Take<File>>,
    break_due: bool,
}

impl DirectoryStream {
    /// Lists the directory's `*.cdr.json` files. Other files and subdirectories are passed over.
    ///
    /// # Errors
    /// When the directory or a file's size cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let is_document = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.ends_with(".cdr.json"));
            if is_document && entry.file_type()?.is_file() {
                files.push((entry.path(), entry.metadata()?.len()));
            }
        }
        files.sort_unstable();
        Ok(Self {
            files,
            next: 0,
            current: None,
            break_due: false,
        })
    }

    /// The files, in the order they are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// The length of the stream.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|(_, len)| len + 1).sum()
    }
}

impl Read for DirectoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(first) = buffer.first_mut() else {
            return Ok(0);
        };
        loop {
            if self.break_due {
                *first = b'\n';
                self.break_due = false;
                return Ok(1);
            }
            match &mut self.current {
                None => {
                    let Some((path, len)) = self.files.get(self.next) else {
                        return Ok(0);
                    };
                    self.current = Some(File::open(path)?.take(*len));
                    self.next += 1;
                }
                Some(file) => {
                    // The borrow of the first byte ends here; the whole buffer is free again.
                    return match file.read(buffer)? {
                        0 => {
                            self.current = None;
                            self.break_due = true;
                            return self.read(buffer);
                        }
                        bytes => Ok(bytes),
                    };
                }
            }
        }
    }
}

impl Seek for DirectoryStream {
    /// Only from the start.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(target) = to else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        (self.next, self.current, self.break_due) = (0, None, false);
        let mut before = 0;
        for (path, len) in &self.files {
            if before + len + 1 > target {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(target - before))?;
                self.current = Some(file.take(len - (target - before)));
                self.next += 1;
                return Ok(target);
            }
            before += len + 1;
            self.next += 1;
        }
        Ok(target.min(before))
    }
}
