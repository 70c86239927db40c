//! The directory account -> region: all that regions share (spec 3.2).
//!
//! One text file, one line an account: the account, a space, its region. Lines are only ever added, so an account cannot
//! be edited out of its region.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use callvault_app::core::AccountSid;

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The file cannot be read or written.
    #[error("directory of accounts: {0}")]
    File(#[from] std::io::Error),
    /// A line is not an account and a region.
    #[error("directory of accounts: line {0} is damaged")]
    Damaged(usize),
    /// The account is there already.
    #[error("account: an account of this name exists already, in region {0}; choose another name")]
    Taken(String),
}

/// The directory, kept in memory and read on when it grows.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    regions: HashMap<AccountSid, String>,
    bytes_read: u64,
    lines: usize,
}

impl Directory {
    /// Opens the directory; the file is made by the first account.
    ///
    /// # Errors
    /// [`DirectoryError`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let directory = Self {
            path: path.to_owned(),
            known: Mutex::default(),
        };
        directory.read_on(&mut directory.lock())?;
        Ok(directory)
    }

    /// The region of an account.
    ///
    /// # Errors
    /// [`DirectoryError`] when it cannot be read.
    pub fn find(&self, account: &AccountSid) -> Result<Option<String>, DirectoryError> {
        let mut known = self.lock();
        if !known.regions.contains_key(account) {
            self.read_on(&mut known)?;
        }
        Ok(known.regions.get(account).cloned())
    }

    /// Every account with its region, in order of name.
    ///
    /// # Errors
    /// [`DirectoryError`] when it cannot be read.
    pub fn list(&self) -> Result<Vec<(AccountSid, String)>, DirectoryError> {
        let mut known = self.lock();
        self.read_on(&mut known)?;
        let mut all: Vec<_> = known
            .regions
            .iter()
            .map(|(account, region)| (account.clone(), region.clone()))
            .collect();
        all.sort();
        Ok(all)
    }

    /// Adds an account, durably.
    ///
    /// # Errors
    /// [`DirectoryError::Taken`] when it is there already.
    pub fn add(&self, account: &AccountSid, region: &str) -> Result<(), DirectoryError> {
        let mut known = self.lock();
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        // Other processes add too: whoever holds the lock reads what is there before it writes.
        file.lock()?;
        self.read_on(&mut known)?;
        if let Some(region) = known.regions.get(account) {
            return Err(DirectoryError::Taken(region.clone()));
        }
        file.write_all(format!("{account} {region}\n").as_bytes())?;
        file.sync_all()?;
        drop(file);
        self.read_on(&mut known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_on(&self, known: &mut Known) -> Result<(), DirectoryError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.len() <= known.bytes_read {
            return Ok(());
        }
        file.seek(SeekFrom::Start(known.bytes_read))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A line that another process is writing has no end yet.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        for line in text.get(..whole).unwrap_or_default().lines() {
            known.lines += 1;
            let damaged = || DirectoryError::Damaged(known.lines);
            let (account, region) = line.split_once(' ').ok_or_else(damaged)?;
            let account = account.parse().map_err(|_| damaged())?;
            known.regions.insert(account, region.to_owned());
        }
        known.bytes_read += whole as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_stays_in_its_region_and_every_process_sees_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("directory");
        let (one, other) = (
            Directory::open(&path).expect("open"),
            Directory::open(&path).expect("open"),
        );
        let acme: AccountSid = "acme".parse().expect("an account");
        one.add(&acme, "in").expect("add");
        assert_eq!(other.find(&acme).expect("find").as_deref(), Some("in"));
        assert!(matches!(other.add(&acme, "sg"), Err(DirectoryError::Taken(region)) if region == "in"));
        assert_eq!(
            Directory::open(&path).expect("open").list().expect("list"),
            [(acme, "in".to_owned())]
        );
    }

    #[test]
    fn a_half_written_line_waits_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("directory");
        std::fs::write(&path, "acme in\nlion s").expect("write");
        let directory = Directory::open(&path).expect("open");
        assert_eq!(directory.list().expect("list").len(), 1);
        std::fs::write(&path, "acme in\nlion sg\nnothing\n").expect("write");
        assert!(matches!(directory.list(), Err(DirectoryError::Damaged(3))));
    }
}
