//! Bulk import: files of call and message records go straight into sealed segments.
//!
//! An import is a job in the catalog. Each batch is committed with the position behind it, so an import that is killed
//! goes on where it stopped, and a finished one that is run again finds nothing new.

mod days;
mod rejects;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use callvault_core::{AccountSid, Class, Day, Record, Sid, TimeUs};
use callvault_seal::{digest::sha256, envelope};
use callvault_store::{
    StoreError,
    rows::{JobRow, JobState, SegmentInsert},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, VaultError},
    import::{Format, ImportError, Options, Position, Reader},
    keys::AccountKeys,
    vault::{Account, Vault},
};

use days::{Days, duplicate, plan_days};
pub use rejects::RejectFile;

/// Rows read before they are sealed; bounds memory to some hundred megabytes.
const BATCH_ROWS: usize = 250_000;
/// Seconds after which another process may take over an import that no longer answers.
const LEASE_S: i64 = 30;
/// Bytes of a file's first line that tell it from others.
const FINGERPRINT_BYTES: u64 = 64 * 1024;
/// Bytes before the place where an import goes on that must be what they were.
const SEAM_BYTES: u64 = 64 * 1024;
/// Segments made at the same time: while some are encoded, others wait for the disk.
const ENCODERS: usize = 4;
/// Attempts at a batch that others keep overtaking.
const ATTEMPTS: u32 = 8;

/// How an import stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes of the file that are done.
    pub offset_bytes: u64,
    /// Rows that are done.
    pub rows: u64,
    /// Records stored.
    pub stored: u64,
    /// Records that were there already.
    pub known: u64,
    /// Rows refused. What a run returns also counts a last row that is cut; what is stored does not, as the row is read
    /// again.
    pub rejected: u64,
    /// Bytes of the reject file that belong to these rows.
    reject_bytes: u64,
    /// SHA-256 of the file's last bytes before `offset_bytes`: tells whether it is still the same file.
    seam: [u8; 32],
    /// The zone that times without one were read in.
    time_zone: String,
}

/// What to import.
pub struct ImportFile {
    /// The file.
    pub path: PathBuf,
    /// What it is written in.
    pub format: Format,
    /// The zone of times that carry none.
    pub time_zone: jiff::tz::TimeZone,
    /// Where refused rows go.
    pub rejects: PathBuf,
    /// Read the file from its beginning, though an earlier import of it is known.
    pub from_start: bool,
}

type FileReader = Reader<File, SourceSids>;

/// Makes SIDs from what the source calls its records.
struct SourceSids {
    keys: Arc<AccountKeys>,
}

impl crate::import::SidMaker for SourceSids {
    fn make_sid(&self, source: &str, at: TimeUs) -> Sid {
        Sid::new(at, self.keys.blind.tail("source-id", source))
    }
}

impl Vault {
    /// Imports a file of call or message records, or goes on with an import of it that stopped. `report` is told after
    /// every committed batch.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] when the file cannot be imported at all or another process is importing it; those of
    /// the stores and of the file. Batches that were reported stay.
    pub async fn import_file(
        &self,
        sid: &AccountSid,
        import: ImportFile,
        report: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Progress> {
        let account = Arc::new(self.get_account(sid).await?);
        let (mut file, id) = identify(&account, &import)?;
        let mut job = self.lease_import(&account, &id).await?;
        let mut progress = read_progress(&account, &job)?;
        let seam = seam_of(&mut file, progress.offset_bytes).map_err(|source| in_file("import file", source))?;
        let time_zone = name_of(&import.time_zone);
        if import.from_start || seam != progress.seam {
            progress = Progress::default();
        } else if progress.rows > 0 && progress.time_zone != time_zone {
            let other = &progress.time_zone;
            let reason = format!(
                "its rows are in the vault already, read with time zone {other}; with {time_zone} they would be stored a \
                 second time. Leave the time zone as it was (--time-zone {other}); to read the file anew all the same, \
                 use --from-start"
            );
            job.state = JobState::Open;
            self.catalog.release(&job).await?;
            return Err(VaultError::invalid("time_zone", reason));
        }
        progress.time_zone = time_zone;
        let outcome = self.run_import(&account, import, &mut job, &mut progress, report).await;
        job.body = seal_progress(&account, &job, &progress)?;
        // The job stays open: a file that grows is imported again from where it ended.
        job.state = JobState::Open;
        match self.catalog.release(&job).await {
            Ok(()) => {}
            Err(_) if outcome.is_err() => {}
            Err(error) => return Err(error.into()),
        }
        progress.rejected += outcome?;
        Ok(progress)
    }

    async fn lease_import(&self, account: &Account, id: &str) -> Result<JobRow> {
        let now = self.now();
        let fresh = JobRow {
            id: id.to_owned(),
            account: Some(account.sid.clone()),
            kind: "import".to_owned(),
            body: Vec::new(),
            run_at: now,
            lease_until: None,
            leased_by: None,
            attempts: 0,
            state: JobState::Open,
            error: None,
            created_at: now,
        };
        self.catalog.enqueue(&fresh).await?;
        let lease = self
            .catalog
            .lease_job(id, &self.worker, now, now.plus_seconds(LEASE_S))
            .await?;
        lease.ok_or_else(|| {
            let reason =
                format!("another process is importing it, or stopped less than {LEASE_S} seconds ago; try again");
            VaultError::invalid("file", reason)
        })
    }

    /// Reads the file to its end. Returns how many last rows are cut, which is one at most: they are in the reject file
    /// and not in the progress.
    async fn run_import(
        &self,
        account: &Arc<Account>,
        import: ImportFile,
        job: &mut JobRow,
        progress: &mut Progress,
        report: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<u64> {
        let mut rejects = RejectFile::new(import.rejects);
        progress.reject_bytes = rejects
            .resume_at(progress.reject_bytes)
            .map_err(|source| in_file("reject file", source))?;
        let mut options = Options::new(account.country, import.time_zone, self.now());
        options.max_line_bytes = Options::MAX_LINE_BYTES;
        let sids = SourceSids {
            keys: Arc::clone(&account.keys),
        };
        let position = Position {
            offset: progress.offset_bytes,
            row: progress.rows,
        };
        let open = || File::open(&import.path).map_err(|source| in_file("import file", source));
        let mut seams = open()?;
        let reader = Reader::resume(open()?, import.format, &options, sids, position).map_err(unreadable)?;
        // The next batch is parsed and sorted while this one is sealed and written.
        let parse = |reader| {
            let (account, now) = (Arc::clone(account), self.now());
            tokio::task::spawn_blocking(move || next_batch(reader, &account, now))
        };
        let mut parsing = parse(reader);
        loop {
            let parsed = parsing.await.map_err(|_| VaultError::Damaged {
                what: "import",
                reason: "the reader stopped".to_owned(),
            })?;
            let (reader, Some(mut batch)) = parsed.map_err(unreadable)? else {
                return Ok(0);
            };
            parsing = parse(reader);
            let cut = batch.cut.take();
            let seam = seam_of(&mut seams, batch.position.offset).map_err(|source| in_file("import file", source))?;
            self.store_batch(account, batch, seam, &mut rejects, job, progress)
                .await?;
            report(progress);
            if cut.is_some() {
                // Nothing is behind it. The next run cuts it out of the reject file and reads the row again.
                rejects
                    .write(cut.as_slice())
                    .map_err(|source| in_file("reject file", source))?;
                return Ok(1);
            }
        }
    }

    async fn store_batch(
        &self,
        account: &Account,
        batch: Days,
        seam: [u8; 32],
        rejects: &mut RejectFile,
        job: &mut JobRow,
        progress: &mut Progress,
    ) -> Result<()> {
        for attempt in 1.. {
            let outcome = self.commit_batch(account, &batch, seam, rejects, job, progress).await;
            match outcome {
                Err(VaultError::Store(StoreError::Conflict { .. })) if attempt < ATTEMPTS => {}
                Err(VaultError::Store(StoreError::EpochClosed(_))) if attempt < ATTEMPTS => self.keys.load().await?,
                done => return done,
            }
        }
        Ok(())
    }

    async fn commit_batch(
        &self,
        account: &Account,
        batch: &Days,
        seam: [u8; 32],
        rejects: &mut RejectFile,
        job: &mut JobRow,
        progress: &mut Progress,
    ) -> Result<()> {
        let places: Vec<(Class, Day)> = batch.days.iter().map(|day| (day.class, day.day)).collect();
        let partitions = self.open_partitions(account, &places).await?;
        let (mut refused, mut known) = (batch.refused.clone(), batch.known);
        let mut groups = Vec::new();
        for ((partition, secret), day) in partitions.into_iter().zip(&batch.days) {
            let there = self.find_stored(&partition, &secret, &day.records).await?;
            let erased = self.find_erased(&partition).await?;
            let fresh = if there.is_empty() && erased.is_empty() {
                Arc::clone(&day.records)
            } else {
                let mut fresh = Vec::with_capacity(day.records.len());
                for (row, record) in day.rows.iter().zip(day.records.iter()) {
                    match there.get(&record.sid()) {
                        _ if erased.contains(&record.sid()) => refused.push(days::erased(*row, record)),
                        None => fresh.push(record.clone()),
                        Some(stored) if stored == record => known += 1,
                        Some(_) => refused.push(duplicate(*row, record)),
                    }
                }
                Arc::new(fresh)
            };
            if !fresh.is_empty() {
                groups.push((partition.reference(), secret, fresh));
            }
        }
        let stored: u64 = groups.iter().map(|group| group.2.len() as u64).sum();
        let segments: Vec<SegmentInsert> = stream::iter(groups)
            .map(|(partition, secret, records)| async move {
                let segment = self.write_segment(account, &secret, records).await?;
                Ok::<_, VaultError>(SegmentInsert { partition, segment })
            })
            .buffer_unordered(ENCODERS)
            .try_collect()
            .await?;
        refused.sort_by_key(|reject| reject.0.row);
        let reject_bytes = rejects
            .write(&refused)
            .map_err(|source| in_file("reject file", source))?;
        let next = Progress {
            offset_bytes: batch.position.offset,
            rows: batch.position.row,
            stored: progress.stored + stored,
            known: progress.known + known,
            rejected: progress.rejected + refused.len() as u64,
            reject_bytes: reject_bytes.max(progress.reject_bytes),
            seam,
            time_zone: progress.time_zone.clone(),
        };
        job.body = seal_progress(account, job, &next)?;
        job.lease_until = Some(self.now().plus_seconds(LEASE_S));
        match self.catalog.insert_segments(&segments, Some(job)).await {
            Ok(()) => *progress = next,
            Err(error) => {
                // The rows are tried again; their rejects must not stand twice. Any other error may come after a commit
                // that took effect; the next run cuts the file where the stored progress says.
                if matches!(error, StoreError::Conflict { .. } | StoreError::EpochClosed(_)) {
                    rejects
                        .resume_at(progress.reject_bytes)
                        .map_err(|source| in_file("reject file", source))?;
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Those of these rows that the partition holds already, loose or sealed, as it holds them.
    async fn find_stored(
        &self,
        partition: &callvault_store::rows::PartitionRow,
        secret: &callvault_seal::SecretKey,
        records: &[Record],
    ) -> Result<HashMap<Sid, Record>> {
        let mut there = HashMap::new();
        // Loose rows first: a row that is sealed meanwhile is found among the sealed ones.
        if partition.loose_rows > 0 {
            let sids: HashSet<Sid> = records.iter().map(Record::sid).collect();
            let loose = self.catalog.list_loose(&partition.reference()).await?;
            let loose: Vec<_> = loose.into_iter().filter(|row| sids.contains(&row.sid)).collect();
            there.extend(
                crate::ingest::open_loose(secret, &loose)?
                    .into_iter()
                    .map(|record| (record.sid(), record)),
            );
        }
        let records: Vec<&Record> = records.iter().collect();
        there.extend(self.find_sealed(partition, secret, &records).await?);
        Ok(there)
    }
}

/// A time zone's name, or its offset.
fn name_of(zone: &jiff::tz::TimeZone) -> String {
    match (zone.iana_name(), zone.to_fixed_offset()) {
        (Some(name), _) => name.to_owned(),
        (None, Ok(offset)) => offset.to_string(),
        (None, Err(_)) => "unnamed".to_owned(),
    }
}

fn next_batch(
    mut reader: FileReader,
    account: &Account,
    now: TimeUs,
) -> std::result::Result<(FileReader, Option<Days>), ImportError> {
    let batch = reader.next_batch(BATCH_ROWS)?;
    Ok((reader, batch.map(|batch| plan_days(account, batch, now))))
}

fn unreadable(error: ImportError) -> VaultError {
    VaultError::invalid("file", format!("{error} ({})", error.code()))
}

fn in_file(what: &str, source: std::io::Error) -> VaultError {
    VaultError::File {
        what: what.to_owned(),
        source,
    }
}

/// Opens the file and names its import: the same account, format and beginning are the same import.
fn identify(account: &Account, import: &ImportFile) -> Result<(File, String)> {
    let open = |path: &Path| File::open(path).map_err(|source| in_file("import file", source));
    let mut start = Vec::new();
    open(&import.path)?
        .take(FINGERPRINT_BYTES)
        .read_to_end(&mut start)
        .map_err(|source| in_file("import file", source))?;
    // A file that grows keeps its first line.
    let first_line = start
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(start.len(), |end| end + 1);
    let format = format!("{:?}", import.format);
    let name = import
        .path
        .file_name()
        .map(|name| name.as_encoded_bytes().to_vec())
        .unwrap_or_default();
    let parts: [&[u8]; 4] = [
        format.as_bytes(),
        &name,
        b"\n",
        start.get(..first_line).unwrap_or_default(),
    ];
    let digest = account.keys.blind.hash("import", &hex::encode(sha256(&parts)));
    Ok((open(&import.path)?, format!("import:{}", hex::encode(digest))))
}

/// What a file says right before an offset.
fn seam_of(file: &mut File, offset: u64) -> std::io::Result<[u8; 32]> {
    let start = offset.saturating_sub(SEAM_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(offset - start).read_to_end(&mut bytes)?;
    Ok(if offset == 0 { [0; 32] } else { sha256(&[&bytes]) })
}

fn seal_progress(account: &Account, job: &JobRow, progress: &Progress) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(progress).map_err(|error| VaultError::invalid("file", error.to_string()))?;
    Ok(envelope::seal(&account.keys.notes, job.id.as_bytes(), &json)?)
}

fn read_progress(account: &Account, job: &JobRow) -> Result<Progress> {
    if job.body.is_empty() {
        return Ok(Progress::default());
    }
    let json = envelope::open(&account.keys.notes, job.id.as_bytes(), &job.body)?;
    serde_json::from_slice(&json).map_err(|_| VaultError::Damaged {
        what: "import job",
        reason: "its progress is not readable".to_owned(),
    })
}
