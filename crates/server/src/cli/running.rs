//! `serve` and `work`.

use std::sync::Arc;

use callvault_voice::sip::LOG_TARGET;
use clap::Args;
use serde_json::json;

use super::{CliError, Done, Output, output::show_counted};
use crate::{serve, site::Site, work};

/// Arguments of `serve`.
#[derive(Args)]
pub(super) struct Serve {
    /// Leave what is due to another process.
    #[arg(long)]
    no_work: bool,
}

/// Arguments of `work`.
#[derive(Args)]
pub(super) struct Work {
    /// Do what is due now, and end.
    #[arg(long)]
    once: bool,
}

/// Starts the log: JSON lines on stderr, the level by CALLVAULT_LOG (`info` if absent).
pub(crate) fn start_log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CALLVAULT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // It writes whole messages, with the numbers of who calls whom.
    let filter = match format!("{LOG_TARGET}=off").parse() {
        Ok(silent) => filter.add_directive(silent),
        Err(_) => filter,
    };
    // A log that was started before stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .json()
        .with_writer(std::io::stderr)
        .try_init();
}

impl Serve {
    pub(super) async fn run(self, site: &Site, out: &Output) -> Done {
        start_log("info");
        let serving = serve::open(site, !self.no_work).await?;
        let doors: Vec<_> = serving
            .doors
            .iter()
            .map(|door| {
                json!({
                    "region": door.region, "address": door.address.to_string(), "fingerprint": door.fingerprint,
                    "certificate": door.cert_file, "self_signed": door.self_signed, "http": door.http.map(|http| http.to_string()),
                })
            })
            .collect();
        out.show(&json!({ "doors": doors }), || {
            serving
                .doors
                .iter()
                .map(|door| {
                    let kind = if door.self_signed {
                        "self-signed certificate"
                    } else {
                        "certificate"
                    };
                    format!(
                        "region {} at https://{}\n  {kind}, SHA-256 {}\n",
                        door.region, door.address, door.fingerprint
                    )
                })
                .collect()
        })?;
        serving.until_told().await;
        Ok(())
    }
}

impl Work {
    pub(super) async fn run(self, site: &Site) -> Done {
        start_log("info");
        let mut tasks = tokio::task::JoinSet::new();
        let mut failures = 0_u64;
        for (region, _) in site.regions_here() {
            let vault = site.open_vault(&region.name).await?;
            if self.once {
                let report = vault.tick().await;
                work::note(&vault, &report);
                failures += report.failures.len() as u64;
            } else {
                tasks.spawn(work::run(Arc::clone(&vault), None));
            }
        }
        if !self.once {
            serve::told_to_stop().await;
            tasks.abort_all();
        }
        if failures > 0 {
            return Err(CliError::Failed(format!(
                "{} failed and will be tried again; the log says which",
                show_counted(failures, "step")
            )));
        }
        Ok(())
    }
}
