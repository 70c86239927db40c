//! Objects as local files: `objects/<name>` below one folder.
//!
//! A file appears under its name only when its bytes are on the disk: it is written under a temporary name, synced,
//! renamed, and its folder is synced. Crate `object_store`'s local store syncs neither, so these lines are our own.
//! Whatever a name meets on its way, links included, it stays below the folder (`cap-std`).

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::{
    ambient_authority,
    fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _},
};
use std::ops::Range;
use tokio::task::{JoinError, JoinHandle};

use crate::{
    Objects, StoreError, Upload,
    objects::{End, ObjectInfo, check_name},
};

const STORE: &str = "object store";
/// Bytes gathered before they are written. An upload holds twice as many: those on their way to the disk as well.
const GATHER_BYTES: usize = 1024 * 1024;

/// An object store in a folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    folder: Arc<Dir>,
    place: Arc<Path>,
    /// Where, below the folder, objects lie, and what is being written.
    names: &'static str,
    temporary: &'static str,
    counter: Arc<AtomicU64>,
}

impl Files {
    /// Opens a folder, creating it (mode 0700) where it is missing, and removes what crashed writers left in it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be made or read.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_as(folder, "objects", "temporary").await
    }

    /// Opens a folder for people: names are paths right below it, and what is being written lies in `.writing`.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub async fn open_plain(folder: &Path) -> Result<Self, StoreError> {
        Self::open_as(folder, "", ".writing").await
    }

    /// Opens a folder for people, as [`Files::open_plain`], below one that is there: no link leads out of `root`, nor out of
    /// the first part of `path`.
    ///
    /// # Errors
    /// As [`Files::open`]; when `root` is not there.
    pub async fn open_below(root: &Path, first: &str, path: &str) -> Result<Self, StoreError> {
        check_name(first)?;
        check_name(path)?;
        let (root, first, path) = (root.to_owned(), first.to_owned(), path.to_owned());
        blocking(move || {
            let folder = Dir::open_ambient_dir(&root, ambient_authority())?;
            make_below(&folder, first.as_ref())?;
            let folder = folder.open_dir(&first)?;
            make_below(&folder, path.as_ref())?;
            Self::begin_in(folder.open_dir(&path)?, &root.join(first).join(path), "", ".writing")
        })
        .await
    }

    async fn open_as(folder: &Path, names: &'static str, temporary: &'static str) -> Result<Self, StoreError> {
        let folder = folder.to_owned();
        blocking(move || {
            make_folder(&folder)?;
            let opened = Dir::open_ambient_dir(&folder, ambient_authority())?;
            Self::begin_in(opened, &folder, names, temporary)
        })
        .await
    }

    fn begin_in(folder: Dir, place: &Path, names: &'static str, temporary: &'static str) -> io::Result<Self> {
        make_below(&folder, names.as_ref())?;
        make_below(&folder, temporary.as_ref())?;
        remove_abandoned(&folder.open_dir(temporary)?)?;
        Ok(Self {
            folder: Arc::new(folder),
            place: place.into(),
            names,
            temporary,
            counter: Arc::default(),
        })
    }

    /// An object's path below the folder.
    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        Ok(Path::new(self.names).join(name))
    }

    /// Creates a temporary file and holds a lock on it, by which other processes see that it is in use.
    fn create_temporary(&self) -> io::Result<Draft> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let path = Path::new(self.temporary).join(format!("{}-{number}", process::id()));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            match self.folder.open_with(&path, &options) {
                Ok(file) => {
                    let draft = Draft {
                        folder: Arc::clone(&self.folder),
                        file: file.into_std(),
                        path: Some(path),
                    };
                    draft.file.lock()?;
                    if draft.path.as_ref().is_some_and(|path| self.folder.exists(path)) {
                        return Ok(draft);
                    }
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A file that is being written; removed when it is dropped unfinished.
#[derive(Debug)]
struct Draft {
    folder: Arc<Dir>,
    file: File,
    path: Option<PathBuf>,
}

impl Draft {
    /// Makes the file durable and gives it its name.
    fn publish(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let Some(path) = self.path.clone() else {
            return Err(ErrorKind::NotFound.into());
        };
        let parent = target.parent().ok_or(ErrorKind::InvalidInput)?;
        make_below(&self.folder, parent)?;
        self.folder.rename(&path, &self.folder, target)?;
        self.path = None;
        sync_below(&self.folder, parent)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What cannot be removed now is removed when the store is opened next.
            let _ = self.folder.remove_file(path);
        }
    }
}

/// The bytes of a range; shorter when the file, of `size` bytes, ends inside it.
fn read_range(file: &File, size: u64, range: Range<u64>) -> io::Result<Bytes> {
    let length = range.end.min(size).saturating_sub(range.start);
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| ErrorKind::InvalidInput)?);
    let mut file = file;
    file.seek(SeekFrom::Start(range.start))?;
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Bytes::from(bytes))
}

/// Tells the kernel what is read next, so that it fetches several places of the disk at once.
fn announce(file: &File, range: &Range<u64>) {
    let (Ok(start), Ok(length)) = (range.start.try_into(), range.end.saturating_sub(range.start).try_into()) else {
        return;
    };
    // A hint: reading says whether it works.
    let _ = nix::fcntl::posix_fadvise(file, start, length, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_WILLNEED);
}

/// Creates a folder and those above it, each durably.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_folder(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made?,
    }
    sync_folder(parent.unwrap_or(Path::new(".")))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates a folder and those above it below another one, each durably.
fn make_below(folder: &Dir, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || folder.is_dir(path) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    make_below(folder, parent)?;
    match folder.create_dir_with(path, DirBuilder::new().mode(0o700)) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made?,
    }
    sync_below(folder, parent)
}

fn sync_below(folder: &Dir, path: &Path) -> io::Result<()> {
    folder.open(or_itself(path))?.sync_all()
}

/// A path below a folder; the folder itself if it is empty.
fn or_itself(path: &Path) -> &Path {
    match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    }
}

/// Removes temporary files that no living process has locked.
fn remove_abandoned(folder: &Dir) -> io::Result<()> {
    for entry in folder.entries()? {
        let entry = entry?;
        if !entry.file_type()?.is_file() || !is_temporary(&entry.file_name()) {
            continue;
        }
        let Ok(file) = entry.open() else {
            continue;
        };
        if file.into_std().try_lock().is_ok() {
            match entry.remove_file() {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a file is called as those that are being written: the process, and a number.
fn is_temporary(name: &OsStr) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.to_str().and_then(|name| name.split_once('-'));
    parts.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

fn store_error(error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full { store: STORE }
        }
        ErrorKind::NotFound => StoreError::NotFound { what: "object" },
        kind => StoreError::Unavailable {
            store: STORE,
            reason: kind.to_string(),
        },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, StoreError> {
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(done: Result<io::Result<T>, JoinError>) -> Result<T, StoreError> {
    match done {
        Ok(done) => done.map_err(|error| store_error(&error)),
        Err(_) => Err(StoreError::Unavailable {
            store: STORE,
            reason: "its thread ended".to_owned(),
        }),
    }
}

#[async_trait]
impl Objects for Files {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let (target, files) = (self.path(name)?, self.clone());
        blocking(move || {
            let mut draft = files.create_temporary()?;
            draft.file.write_all(&bytes)?;
            draft.publish(&target)
        })
        .await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn Upload>, StoreError> {
        let (target, files) = (self.path(name)?, self.clone());
        let draft = blocking(move || files.create_temporary()).await?;
        Ok(Box::new(FileUpload {
            target,
            state: Writing::Idle(draft),
            gathered: Vec::new(),
            gathered_bytes: 0,
        }))
    }

    async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let (folder, path) = (Arc::clone(&self.folder), self.path(name)?);
        blocking(move || folder.read(path).map(Bytes::from)).await
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (folder, path) = (Arc::clone(&self.folder), self.path(name)?);
        blocking(move || {
            let file = folder.open(path)?.into_std();
            let size = file.metadata()?.len();
            read_range(&file, size, range)
        })
        .await
    }

    async fn get_ranges(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let (folder, path) = (Arc::clone(&self.folder), self.path(name)?);
        let ranges = ranges.to_vec();
        blocking(move || {
            let file = folder.open(path)?.into_std();
            let size = file.metadata()?.len();
            if ranges.len() > 1 {
                ranges.iter().for_each(|range| announce(&file, range));
            }
            ranges.into_iter().map(|range| read_range(&file, size, range)).collect()
        })
        .await
    }

    async fn get_end(&self, name: &str, end: End, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let (folder, path) = (Arc::clone(&self.folder), self.path(name)?);
        blocking(move || {
            let file = folder.open(path)?.into_std();
            let size = file.metadata()?.len();
            Ok((read_range(&file, size, end.range(bytes, size))?, size))
        })
        .await
    }

    async fn find_size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let (folder, path) = (Arc::clone(&self.folder), self.path(name)?);
        blocking(move || match folder.metadata(path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let (folder, path) = (Arc::clone(&self.folder), self.path(name)?);
        blocking(move || match folder.remove_file(&path) {
            Ok(()) => path.parent().map_or(Ok(()), |parent| sync_below(&folder, parent)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let part = prefix.trim_end_matches('/');
        let start = match part {
            "" => PathBuf::from(self.names),
            part => self.path(part)?,
        };
        let (root, names) = (Arc::clone(&self.folder), self.names);
        blocking(move || {
            let (mut found, mut folders) = (Vec::new(), vec![start]);
            while let Some(folder) = folders.pop() {
                let entries = match root.read_dir(or_itself(&folder)) {
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                        continue;
                    }
                    entries => entries?,
                };
                for entry in entries {
                    let entry = entry?;
                    let path = folder.join(entry.file_name());
                    if entry.file_type()?.is_dir() {
                        folders.push(path);
                    } else if let Some(name) = path.strip_prefix(names).ok().and_then(Path::to_str) {
                        match entry.metadata() {
                            Err(error) if error.kind() == ErrorKind::NotFound => {}
                            metadata => found.push(ObjectInfo {
                                name: name.to_owned(),
                                bytes: metadata?.len(),
                            }),
                        }
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    fn place(&self) -> String {
        format!("folder {}", self.place.display())
    }
}

struct FileUpload {
    target: PathBuf,
    state: Writing,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
}

/// What becomes of the pieces that were handed over.
enum Writing {
    /// They are written.
    Idle(Draft),
    /// They are being written, while the next ones are made.
    Busy(JoinHandle<io::Result<Draft>>),
    /// One could not be written, and the upload is over.
    Failed,
}

impl FileUpload {
    /// Waits until what was handed over is written. After a failure the upload is over.
    async fn settle(&mut self) -> Result<Draft, StoreError> {
        match std::mem::replace(&mut self.state, Writing::Failed) {
            Writing::Idle(draft) => Ok(draft),
            Writing::Busy(task) => joined(task.await),
            Writing::Failed => Err(StoreError::Unavailable {
                store: STORE,
                reason: "the upload failed before".to_owned(),
            }),
        }
    }

    fn take_gathered(&mut self) -> Vec<Bytes> {
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered)
    }
}

fn write_pieces(draft: &mut Draft, pieces: &[Bytes]) -> io::Result<()> {
    pieces.iter().try_for_each(|piece| draft.file.write_all(piece))
}

#[async_trait]
impl Upload for FileUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes >= GATHER_BYTES {
            let mut draft = self.settle().await?;
            let pieces = self.take_gathered();
            self.state = Writing::Busy(tokio::task::spawn_blocking(move || {
                write_pieces(&mut draft, &pieces)?;
                Ok(draft)
            }));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let mut draft = self.settle().await?;
        let (target, pieces) = (self.target.clone(), self.take_gathered());
        blocking(move || {
            write_pieces(&mut draft, &pieces)?;
            draft.publish(&target)
        })
        .await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        // Whether the last piece could be written does not matter any more.
        let draft = self.settle().await.ok();
        blocking(move || {
            drop(draft);
            Ok(())
        })
        .await
    }
}
