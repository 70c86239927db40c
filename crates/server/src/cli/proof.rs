//! `deletions`, `certificate` and `verify`.

use std::path::PathBuf;

use callvault_app::{
    certificate::verify,
    core::{AccountSid, proof::CertificateBody},
    seal::{
        log::{Audit, Checkpoint, LogError},
        sign::VerifierKey,
    },
};
use clap::Args;
use serde_json::json;

use super::{
    CliError, Done, Output,
    output::{show_count, show_counted},
    parse_account,
};
use crate::{api::deletions::list::DeletionBody, site::Site};

/// Arguments of `deletions`.
#[derive(Args)]
pub(super) struct Deletions {
    /// Account; a closed one too.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// At most this many, newest first.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// Arguments of `certificate`.
#[derive(Args)]
pub(super) struct CertificateCommand {
    /// Account; a closed one too.
    #[arg(value_parser = parse_account)]
    account: AccountSid,
    /// Index of the entry in the transparency log.
    log_index: u64,
    /// Where to write it; standard output if absent.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Args)]
pub(super) struct Verify {
    /// The certificate.
    certificate: PathBuf,
    /// The operator's verifier key, or a file that holds it.
    #[arg(long)]
    key: String,
    /// A copy of the log (folder with `checkpoint` and `tile/`): the certificate's entry must be in it too.
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
    /// A checkpoint seen earlier: the copy must continue it.
    #[arg(long, value_name = "FILE", requires = "log")]
    since: Option<PathBuf>,
}

impl Deletions {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let found = site
            .open_vault_of(&self.account)
            .await?
            .list_deletions(&self.account, None, self.limit)
            .await?;
        let rows: Vec<_> = found
            .iter()
            .map(|summary| DeletionBody::new(&self.account, summary))
            .collect();
        out.show(&json!({ "deletions": rows }), || {
            if rows.is_empty() {
                return "nothing was deleted".to_owned();
            }
            rows.iter()
                .map(|row| {
                    let (class, records) = (row.class.unwrap_or("account key"), show_count(row.records));
                    let state = if row.purged {
                        "bytes removed"
                    } else {
                        "bytes waiting for removal"
                    };
                    format!(
                        "{:>8}  {}  {class:12} {records:>10}  {:18} {state}\n",
                        row.log_index, row.at, row.cause
                    )
                })
                .collect()
        })
    }
}

impl CertificateCommand {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let text = site
            .open_vault_of(&self.account)
            .await?
            .certificate(&self.account, self.log_index)
            .await?;
        match self.output {
            Some(path) => {
                std::fs::write(&path, &text).map_err(|error| CliError::file("certificate", &error))?;
                out.show(&json!({ "file": path }), || {
                    format!("certificate written to {}", path.display())
                })
            }
            None => out.show(&json!({ "certificate": text }), || text.clone()),
        }
    }
}

impl Verify {
    pub(super) fn run(self, out: &Output) -> Done {
        let read = |what: &str, path: &PathBuf| {
            std::fs::read(path)
                .map_err(|error| CliError::file(what, &error))
                .and_then(|bytes| String::from_utf8(bytes).map_err(|_| refuse(format!("{what}: not text"))))
        };
        let text = read("certificate", &self.certificate)?;
        // A verifier key has two plus signs at least and no path has its form.
        let key = match self.key.parse::<VerifierKey>() {
            Ok(_) => self.key.clone(),
            Err(_) => read("key", &PathBuf::from(&self.key))?,
        };
        let verified = verify(&text, &key).map_err(refuse)?;
        let mut log_size = None;
        if let Some(folder) = &self.log {
            let since = self
                .since
                .as_ref()
                .map(|path| read("earlier checkpoint", path))
                .transpose()?;
            let checkpoints = [Some(certificate_checkpoint(&text, &key)?), since];
            log_size = Some(check_log(folder, &key, checkpoints.into_iter().flatten()).map_err(refuse)?);
        }
        let (json, deletion) = match &verified.body {
            CertificateBody::Shred(body) => (serde_json::to_value(body), summary(&body.deletion)),
            CertificateBody::Erase(body) => (serde_json::to_value(body), summary(&body.deletion)),
        };
        let value = json!({
            "valid": true, "log_index": verified.log_index, "tree_size": verified.tree_size, "log_size": log_size,
            "statement": json.unwrap_or_default(),
        });
        out.show(&value, || {
            let mut text = format!(
                "VALID: {deletion}\nentry {} of a log of {}\n",
                verified.log_index, verified.tree_size
            );
            for (copy, state) in copy_states(verified.body.copies()) {
                text += &format!("  {copy:8} {state}\n");
            }
            if let Some(size) = log_size {
                text += &format!("the copy of the log, {size} entries, is whole and continues it\n");
            }
            text
        })
    }
}

fn refuse(reason: String) -> CliError {
    CliError::Refused(format!("NOT VALID: {reason}"))
}

fn summary<W, T>(deletion: &callvault_app::core::proof::Deletion<W, T>) -> String {
    let class = deletion.class.map_or("account key", callvault_app::core::Class::as_str);
    let records = show_counted(deletion.records, &format!("{class} record"));
    // `to` lies one microsecond behind the last record.
    let span = if deletion.to.0.saturating_sub(deletion.from.0) <= 1 {
        deletion.from.to_string()
    } else {
        format!("{} to {}", deletion.from, deletion.to)
    };
    format!(
        "{records} of {span} deleted at {} in region {} ({})",
        deletion.at, deletion.region, deletion.cause
    )
}

fn copy_states(copies: &callvault_app::core::proof::Copies) -> Vec<(&'static str, String)> {
    use callvault_app::core::proof::CopyState;
    let show = |state: &CopyState| match state {
        CopyState::Done { at } => format!("gone since {at}"),
        CopyState::Pending { until } => format!("pending until {until}"),
        other => serde_json::to_value(other)
            .ok()
            .and_then(|value| {
                value
                    .get("state")
                    .and_then(|state| state.as_str().map(ToOwned::to_owned))
            })
            .unwrap_or_default(),
    };
    vec![
        ("catalog", show(&copies.catalog)),
        ("objects", show(&copies.objects)),
        ("index", show(&copies.index)),
        ("cache", show(&copies.cache)),
        ("backups", show(&copies.backups)),
        ("exports", show(&copies.exports)),
    ]
}

/// The checkpoint inside a certificate that was verified.
fn certificate_checkpoint(text: &str, key: &str) -> Result<String, CliError> {
    let key: VerifierKey = key.trim().parse().map_err(|_| refuse("verifier key".to_owned()))?;
    callvault_app::seal::certificate::open(text, &key)
        .map(|opened| opened.checkpoint_note)
        .map_err(|error| refuse(error.to_string()))
}

/// Hashes every entry of a copy of the log, and checks that they lead to its signed root and continue every earlier
/// checkpoint. Returns its size.
fn check_log(folder: &std::path::Path, key: &str, earlier: impl Iterator<Item = String>) -> Result<u64, String> {
    let key: VerifierKey = key.trim().parse().map_err(|_| "verifier key".to_owned())?;
    let note =
        std::fs::read_to_string(folder.join("checkpoint")).map_err(|error| format!("log checkpoint: {error}"))?;
    let newest = Checkpoint::open(&note, &key).map_err(|error| error.to_string())?;
    let fetch = |path: &str| match std::fs::read(folder.join(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::Store(error.to_string())),
    };
    let audit = Audit::of_copy(&newest, fetch).map_err(|error| error.to_string())?;
    for note in earlier {
        let old = Checkpoint::open(&note, &key).map_err(|error| error.to_string())?;
        if old.size > newest.size {
            return Err(format!(
                "the log was cut: it had {} entries and has {}",
                old.size, newest.size
            ));
        }
        audit
            .check_extends(&old)
            .map_err(|error| format!("the log does not continue what it was: {error}"))?;
    }
    Ok(newest.size)
}
