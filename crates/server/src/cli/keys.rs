//! `keys`.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Done, Output, output::show_counted};
use crate::site::Site;

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Show the key provider and the epochs.
    Status {
        /// Region; needed where there are several.
        #[arg(long)]
        region: Option<String>,
    },
    /// Begin a new epoch now; everything alive is wrapped into it. Old epochs end when their time is over.
    Rotate {
        /// Region; needed where there are several.
        #[arg(long)]
        region: Option<String>,
    },
    /// Copy the key file. The copy opens what the vault can open today: keep it apart from backups, and destroy it when
    /// you take the next.
    Backup {
        /// Region; needed where there are several.
        #[arg(long)]
        region: Option<String>,
        /// A new file.
        file: PathBuf,
    },
}

impl Keys {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        match self {
            Self::Status { region } => status(site, out, &site.choose_region(region.as_deref())?).await,
            Self::Rotate { region } => {
                let vault = site.open_vault(&site.choose_region(region.as_deref())?).await?;
                let report = vault.keys().rotate(vault.now()).await?;
                out.show(&report, || {
                    let (begun, keys) = (
                        show_counted(report.created, "epoch"),
                        show_counted(report.rewrapped, "key"),
                    );
                    format!("{begun} begun, {keys} wrapped anew")
                })
            }
            Self::Backup { region, file } => backup(site, out, &site.choose_region(region.as_deref())?, &file),
        }
    }
}

async fn status(site: &Site, out: &Output, region: &str) -> Done {
    let vault = site.open_vault(region).await?;
    let epochs = vault
        .catalog()
        .list_epochs()
        .await
        .map_err(callvault_app::VaultError::from)?;
    let kind = vault.keys().provider().kind();
    let signer = vault.vcon_signer().await?;
    let signer = format!("{} {}", signer.alg(), hex::encode(signer.fingerprint()));
    let rows: Vec<_> = epochs
        .iter()
        .map(|row| {
            let created_at = row.created_at.to_string();
            json!({ "epoch": row.epoch, "created_at": created_at, "open": row.open, "live_keys": row.live_keys })
        })
        .collect();
    let purge_days = vault.purge().purge_days;
    let value = json!({
        "region": region, "provider": kind, "verifier_key": vault.verifier_key(), "purge_days": purge_days, "vcon_signer": signer,
        "epochs": rows,
    });
    out.show(&value, || {
        let mut text = format!(
            "provider {kind}, purge deadline {purge_days} days\nverifier key {}\nsigner of vCons {signer}\n",
            vault.verifier_key()
        );
        for row in &epochs {
            let state = if row.open { "open" } else { "closing" };
            text += &format!(
                "epoch {:>6} since {} {state:8} {}\n",
                row.epoch,
                row.created_at,
                show_counted(row.live_keys, "key")
            );
        }
        text
    })
}

fn backup(site: &Site, out: &Output, region: &str, file: &PathBuf) -> Done {
    let keys = &site.get_here(region)?.stores.keys;
    let Some(path) = keys.strip_prefix("file:") else {
        return Err(CliError::Refused(
            "these keys are in a device; back it up with its own tools".to_owned(),
        ));
    };
    let bytes = std::fs::read(path).map_err(|error| CliError::file("key file", &error))?;
    let failed = |error| CliError::file("copy of the key file", &error);
    let mut copy = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    copy.write_all(&bytes).and_then(|()| copy.sync_all()).map_err(failed)?;
    out.show(&json!({ "file": file }), || {
        format!("key file copied to {}; it still needs the passphrase", file.display())
    })
}
