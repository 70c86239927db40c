//! `backup`, `restore` and `doctor`.

use std::path::PathBuf;

use callvault_app::{
    assembly::open_objects,
    backup::restore,
    core::TimeUs,
    doctor::{Finding, Severity},
};
use clap::Args;
use serde_json::json;

use super::{
    CliError, Done, Output,
    output::{show_bytes, show_counted},
};
use crate::{
    config::{Here, Region},
    life::WARN_DAYS,
    site::{Site, SiteError},
    tls,
};

/// Arguments of `backup`.
#[derive(Args)]
pub(super) struct Backup {
    /// Region; needed where there are several.
    #[arg(long)]
    region: Option<String>,
    /// A new folder.
    folder: PathBuf,
}

/// Arguments of `restore`.
#[derive(Args)]
pub(super) struct Restore {
    /// Region; needed where there are several.
    #[arg(long)]
    region: Option<String>,
    /// The backup's folder.
    folder: PathBuf,
    /// Where the newest log is (file:FOLDER or s3://...), when the region's object store is lost.
    #[arg(long)]
    log: Option<String>,
    /// Leave the backup's tokens in force; those that were revoked since the backup are in force again then.
    #[arg(long)]
    keep_tokens: bool,
}

/// Arguments of `doctor`.
#[derive(Args)]
pub(super) struct Doctor {
    /// Only this region.
    #[arg(long)]
    region: Option<String>,
}

fn objects_address(folder: &std::path::Path) -> String {
    format!("file:{}", folder.join("objects").display())
}

impl Backup {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let vault = site.open_vault(&site.choose_region(self.region.as_deref())?).await?;
        std::fs::create_dir_all(&self.folder).map_err(|error| CliError::file("backup folder", &error))?;
        let to = open_objects(&objects_address(&self.folder), &Default::default()).await?;
        let bar = out.count_bar(0, "backing up");
        let manifest = vault
            .backup(&self.folder, to.as_ref(), &mut |objects| {
                bar.set_length(objects);
                bar.set_position(objects);
            })
            .await?;
        bar.finish_and_clear();
        let until = manifest.restorable_until;
        let value = json!({
            "folder": self.folder, "region": manifest.region, "objects": manifest.objects, "bytes": manifest.bytes,
            "log_size": manifest.log_size, "taken_at": show(manifest.taken_at), "restorable_until": show(until),
        });
        out.show(&value, || {
            let (objects, bytes) = (show_counted(manifest.objects, "object"), show_bytes(manifest.bytes));
            format!("backed up: {objects}, {bytes}\nrestorable until {until}; its keys end after that")
        })
    }
}

fn show(at: TimeUs) -> String {
    at.to_string()
}

impl Restore {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let region = site.choose_region(self.region.as_deref())?;
        site.lock_region(&region)?;
        let parts = site.open_parts(&region).await?;
        let secrets = site.get_here(&region)?.stores.secrets.clone();
        let from = open_objects(&objects_address(&self.folder), &secrets).await?;
        let log = match &self.log {
            Some(address) => open_objects(address, &secrets).await?,
            None => parts.objects.clone(),
        };
        let (vault, report) = restore(&self.folder, from.as_ref(), log.as_ref(), parts, self.keep_tokens).await?;
        // The directory is not part of a region; what it lost of this one is in the catalog.
        for account in vault.list_accounts().await? {
            if site.directory.find(&account).map_err(SiteError::from)?.is_none() {
                site.directory.add(&account, &region).map_err(SiteError::from)?;
            }
        }
        out.show(&report, || {
            format!(
                "restored: {} copied back\nlog entries since the backup, replayed: {}; {} destroyed again, {} hidden \
                 again\nkeys past their epoch: {}\ntokens revoked: {}, users disabled: {}{}\nholds, retention settings and floors are those \
                 of {}: set again what was set since, before anything that deletes runs (serve, work)",
                show_counted(report.objects, "object"),
                report.replayed,
                show_counted(report.destroyed_again, "key"),
                show_counted(report.erased_again, "record"),
                report.dead_keys,
                report.tokens_revoked,
                report.users_disabled,
                if self.keep_tokens { " (kept)" } else { "; make new tokens, and let their owners enable users" },
                report.taken_at
            )
        })
    }
}

/// How long the door's certificate still holds.
fn check_certificate(region: &Region, here: &Here, now: TimeUs) -> Finding {
    let (severity, message) = match tls::open_identity(region, here) {
        Ok(identity) if identity.self_signed => (Severity::Good, "made here, for clients that are given it".to_owned()),
        Ok(identity) => match identity.life.days_left(now) {
            days if days < 0 => (Severity::Alarm, format!("over since {}", identity.life.to)),
            days if days < WARN_DAYS => (
                Severity::Warning,
                format!("{days} days left, until {}", identity.life.to),
            ),
            _ => (Severity::Good, format!("holds until {}", identity.life.to)),
        },
        Err(error) => (Severity::Alarm, format!("cannot be served: {error}")),
    };
    Finding {
        check: "certificate",
        severity,
        message,
    }
}

impl Doctor {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        let mut all = Vec::new();
        let mut lines = String::new();
        let mut alarms = 0_u64;
        for (region, here) in site.regions_here() {
            if self.region.as_ref().is_some_and(|only| *only != region.name) {
                continue;
            }
            let vault = site.open_vault(&region.name).await?;
            let mut findings = vault.doctor().await?;
            findings.push(check_certificate(region, here, vault.now()));
            for finding in &findings {
                let mark = match finding.severity {
                    Severity::Good => "ok     ",
                    Severity::Warning => "warning",
                    Severity::Alarm => "ALARM  ",
                };
                alarms += u64::from(finding.severity == Severity::Alarm);
                lines += &format!("{:6} {mark} {}: {}\n", region.name, finding.check, finding.message);
            }
            all.push(json!({ "region": region.name, "findings": findings }));
        }
        if let Some(only) = self.region.as_ref().filter(|_| all.is_empty()) {
            site.get_here(only)?;
        }
        out.show(&json!({ "alarms": alarms, "regions": all }), || lines)?;
        if alarms > 0 {
            return Err(CliError::Refused(format!(
                "{} not as it should be",
                show_counted(alarms, "thing")
            )));
        }
        Ok(())
    }
}
