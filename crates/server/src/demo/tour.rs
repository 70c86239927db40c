//! The demo's tour: what is due, what went, and the proof.

use std::collections::BTreeMap;

use callvault_app::{
    Clock,
    account::Role,
    certificate::verify,
    core::{AccountSid, Class},
    tick::TickReport,
};

use serde_json::{Value, json};

use super::Stage;
use crate::{
    cli::{CliError, Output, show_bytes, show_counted},
    serve::Serving,
};

/// Days that the tour pushes the date.
const PUSH_DAYS: u32 = 30;

/// Shows what is there and due, pushes the date, and checks a certificate. Returns what scripts want to know.
pub(super) async fn show(stage: &Stage, out: &Output) -> Result<Value, CliError> {
    let now = stage.clock.now();
    out.say(&format!("It is {now} here. In the vault:"))?;
    for (account, region) in &stage.accounts {
        out.say(&format!(
            "  {account} ({region}): {}",
            holdings(stage, account, region).await?
        ))?;
    }
    let to = now.plus_days(i64::from(PUSH_DAYS));
    out.say(&format!("\nDue in the next {PUSH_DAYS} days (callvault forecast):"))?;
    for (account, region) in &stage.accounts {
        let rows = stage.site.open_vault(region).await?.forecast(account, to).await?;
        let mut sums: BTreeMap<Class, (u64, u64)> = BTreeMap::new();
        for row in &rows {
            let sum = sums.entry(row.class).or_default();
            *sum = (sum.0 + row.records, sum.1 + row.bytes);
        }
        for (class, (records, bytes)) in sums {
            out.say(&format!(
                "  {account}: {}, {}",
                show_counted(records, class.as_str()),
                show_bytes(bytes)
            ))?;
        }
    }
    out.say(&format!("\nThe date is pushed {PUSH_DAYS} days. What went:"))?;
    out.say(&push(stage, PUSH_DAYS).await?)?;
    prove(stage, out).await
}

async fn holdings(stage: &Stage, account: &AccountSid, region: &str) -> Result<String, CliError> {
    let vault = stage.site.open_vault(region).await?;
    let mut parts = Vec::new();
    for class in [Class::Call, Class::Message, Class::Recording] {
        let (records, bytes) = vault.usage(account, class).await?;
        parts.push(format!(
            "{} ({})",
            show_counted(records, class.as_str()),
            show_bytes(bytes)
        ));
    }
    Ok(parts.join(", "))
}

/// Pushes the date day by day, as it would have gone, and says what was destroyed.
pub(super) async fn push(stage: &Stage, days: u32) -> Result<String, CliError> {
    let mut sums: BTreeMap<(AccountSid, Class), (u64, u64)> = BTreeMap::new();
    for _ in 0..days {
        stage.clock.advance_to(stage.clock.now().plus_days(1));
        for (_, region) in &stage.accounts {
            let report: TickReport = stage.site.open_vault(region).await?.tick().await;
            if let Some(failure) = report.failures.first() {
                return Err(CliError::Failed(format!("background work: {failure}")));
            }
            for shredded in report.shredded {
                let sum = sums.entry((shredded.account, shredded.class)).or_default();
                *sum = (sum.0 + shredded.records, sum.1 + 1);
            }
        }
    }
    let mut text = String::new();
    for ((account, class), (records, entries)) in sums {
        text += &format!(
            "  {account}: {}, log entries: {entries}\n",
            show_counted(records, class.as_str())
        );
    }
    if text.is_empty() {
        text += "  nothing\n";
    }
    text += &format!("It is {} here now.", stage.clock.now());
    Ok(text)
}

/// Writes the newest certificate and the key to files and checks them, as a stranger would.
async fn prove(stage: &Stage, out: &Output) -> Result<Value, CliError> {
    let Some((account, region)) = stage.accounts.first() else {
        return Ok(json!({}));
    };
    let vault = stage.site.open_vault(region).await?;
    let Some(newest) = vault.list_deletions(account, None, 1).await?.into_iter().next() else {
        out.say("\nNothing was deleted yet, so there is no certificate.")?;
        return Ok(json!({ "certificate": null }));
    };
    let text = vault.certificate(account, newest.log_index).await?;
    let failed = |error| CliError::file("certificate", &error);
    let (certificate, key) = (stage.dir.join("certificate.txt"), stage.dir.join("verifier-key.txt"));
    std::fs::write(&certificate, &text).map_err(failed)?;
    std::fs::write(&key, vault.verifier_key() + "\n").map_err(failed)?;
    let verified = verify(&text, &vault.verifier_key()).map_err(CliError::Refused)?;
    let forged = text.replacen("\"records\":", "\"records\":1", 1);
    let refused = verify(&forged, &vault.verifier_key());
    out.say(&format!(
        "\nIts newest certificate: {}\n  entry {} of a log of {}: valid",
        certificate.display(),
        verified.log_index,
        verified.tree_size
    ))?;
    match refused {
        Err(reason) => out.say(&format!("  the same with one number changed: not valid ({reason})"))?,
        Ok(_) => return Err(CliError::Refused("a forged certificate was accepted".to_owned())),
    }
    out.say(&format!(
        "Check it yourself:\n  callvault verify {} --key {}",
        certificate.display(),
        key.display()
    ))?;
    Ok(json!({ "certificate": certificate, "key": key, "valid": true, "log_index": verified.log_index }))
}

/// Says where to knock, with which token.
pub(super) async fn show_doors(stage: &Stage, serving: &Serving, out: &Output) -> Result<Vec<Value>, CliError> {
    let mut doors = Vec::new();
    out.say("\nServing over HTTPS until Ctrl-C:")?;
    for (account, region) in &stage.accounts {
        let token = stage
            .site
            .open_vault(region)
            .await?
            .create_token(account, Role::Compliance)
            .await?;
        let Some(door) = serving.doors.iter().find(|door| door.region == *region) else {
            continue;
        };
        let curl = format!(
            "curl --cacert {} -u {}:{}",
            door.cert_file.display(),
            token.token_key,
            token.secret
        );
        doors.push(json!({
            "account": account, "region": region, "address": door.address.to_string(),
            "certificate": door.cert_file, "key": token.token_key, "secret": token.secret,
        }));
        let base = format!("https://{}/v1/accounts/{account}", door.address);
        out.say(&format!(
            "  {account} in region {region}\n    {curl} '{base}/records/calls?limit=3'\n    {curl} '{base}/forecast'\n    {curl} '{base}/deletions?limit=3'"
        ))?;
    }
    out.say(&format!(
        "In another shell:\n  callvault demo --dir {} --push 30d",
        stage.dir.display()
    ))?;
    Ok(doors)
}
