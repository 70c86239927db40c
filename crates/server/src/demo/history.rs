//! The demo's history: imported as it would have come, with the background work between.

use std::path::PathBuf;

use callvault_app::{
    Vault,
    bulk::ImportFile,
    consent::ConsentPolicy,
    core::{
        AccountSid, Class, Plan, Reader, Record, TimeUs,
        consent::{Ground, Jurisdiction, Rule},
        record::{AudioFormat, CallStatus, Consent, RecordingMeta},
        time::DAY_US,
    },
    import::Format,
    read::Query,
    recording::NewRecording,
};

use super::{
    Stage,
    generate::{CALL_HEADER, MESSAGE_HEADER, World},
    speech,
};
use crate::{
    api::recordings::create::recording_sid,
    cli::{CliError, Output},
};

/// Days of history.
pub(super) const DAYS: i64 = 400;
/// Days that are imported at once.
const STEP_DAYS: i64 = 20;
/// Recordings of each account in each step.
const RECORDINGS: [usize; 2] = [10, 6];

/// What one step brings of one account.
struct Feed {
    world: World,
    account: AccountSid,
    calls: Share,
    messages: Share,
    recordings: usize,
    written: u64,
}

/// A part of all records, spread over the days. What is less than one record is kept for the days after, so that a
/// small demo has its records too.
struct Share {
    /// Of [`Share::WHOLE`], on an average day.
    a_day: u64,
    owed: u64,
}

impl Share {
    const WHOLE: u64 = 100 * 100 * 100 * DAYS.unsigned_abs();

    /// A share of `records`: so many percent of so many percent.
    const fn new(records: u64, percent: u64, of_percent: u64) -> Self {
        Self {
            a_day: records.saturating_mul(percent * of_percent),
            owed: 0,
        }
    }

    /// The records of the next day, which is so busy.
    const fn take(&mut self, busy_percent: u64) -> u64 {
        self.owed = self.owed.saturating_add(self.a_day.saturating_mul(busy_percent));
        let records = self.owed / Self::WHOLE;
        self.owed %= Self::WHOLE;
        records
    }
}

/// A policy of announcing in the account's own country, and of asking elsewhere.
fn announcing(country: &str) -> ConsentPolicy {
    let mut known = ConsentPolicy::ready();
    let singapore = Jurisdiction {
        rule: Rule::Announce,
        grounds: vec![Ground {
            law: "Personal Data Protection Act 2012, sections 13 and 20".to_owned(),
            asks: "Consent, with the purpose told before".to_owned(),
        }],
    };
    if country == "SG" {
        known.policy.countries.insert(country.to_owned(), singapore);
    }
    known
}

/// Makes accounts and history. The date ends at today.
pub(super) async fn make(stage: &Stage, records: u64, out: &Output) -> Result<(), CliError> {
    let plans = [(Plan::Growth, "IN"), (Plan::Enterprise, "SG")];
    for ((account, region), (plan, country)) in stage.accounts.iter().zip(plans) {
        stage.site.create_account(account, region, plan, country).await?;
        let vault = stage.site.open_vault(region).await?;
        let account = vault.get_account(account).await?;
        vault.adopt_consent_policy(&account, announcing(country)).await?;
    }
    let voices = speech::voices();
    let mut feeds: Vec<Feed> = [(World::india(11), 80), (World::singapore(23), 20)]
        .into_iter()
        .zip(&stage.accounts)
        .zip(RECORDINGS)
        .map(|(((world, percent), (account, _)), recordings)| Feed {
            world,
            account: account.clone(),
            calls: Share::new(records, percent, 62),
            messages: Share::new(records, percent, 38),
            recordings,
            written: 0,
        })
        .collect();
    out.say(&format!("making about {records} records over {DAYS} days ..."))?;
    let bar = out.count_bar(u64::try_from(DAYS).unwrap_or(0), "days");
    let first = callvault_app::Clock::now(stage.clock.as_ref());
    for step in 0..DAYS / STEP_DAYS {
        let from = first.plus_days(step * STEP_DAYS);
        let to = from.plus_days(STEP_DAYS);
        stage.clock.advance_to(to);
        for (feed, (_, region)) in feeds.iter_mut().zip(&stage.accounts) {
            let vault = stage.site.open_vault(region).await?;
            feed.import(stage, &vault, from).await?;
            feed.record(&vault, (from, to), &voices).await?;
            let report = vault.tick().await;
            if let Some(failure) = report.failures.first() {
                return Err(CliError::Failed(format!("background work: {failure}")));
            }
        }
        bar.inc(u64::try_from(STEP_DAYS).unwrap_or(0));
    }
    bar.finish_and_clear();
    Ok(())
}

impl Feed {
    async fn import(&mut self, stage: &Stage, vault: &Vault, from: TimeUs) -> Result<(), CliError> {
        let (mut calls, mut messages) = (CALL_HEADER.to_owned(), MESSAGE_HEADER.to_owned());
        for day in 0..STEP_DAYS {
            let day = from.plus_days(day);
            for _ in 0..self.calls.take(self.world.busy_percent(day)) {
                self.written += 1;
                self.world.write_call(day, self.written, &mut calls);
            }
            for _ in 0..self.messages.take(self.world.busy_percent(day)) {
                self.written += 1;
                self.world.write_message(day, self.written, &mut messages);
            }
        }
        for (class, text) in [(Class::Call, calls), (Class::Message, messages)] {
            let day = from.day();
            let path = stage.dir.join(format!("{}-{class}-{day}.csv", self.account));
            let failed = |error| CliError::file("generated file", &error);
            std::fs::write(&path, text).map_err(failed)?;
            let done = self.import_file(vault, class, path.clone()).await;
            std::fs::remove_file(&path).map_err(failed)?;
            done?;
        }
        Ok(())
    }

    async fn import_file(&self, vault: &Vault, class: Class, path: PathBuf) -> Result<(), CliError> {
        let rejects = path.with_extension("rejects");
        let import = ImportFile {
            path,
            format: Format::Csv(class),
            time_zone: jiff::tz::TimeZone::UTC,
            rejects: rejects.clone(),
            from_start: false,
        };
        let done = vault.import_file(&self.account, import, &mut |_| {}).await?;
        match done.rejected {
            0 => Ok(()),
            count => Err(CliError::Failed(format!(
                "{count} generated rows were refused; see {}",
                rejects.display()
            ))),
        }
    }

    /// Recordings of some answered calls of the step.
    async fn record(&self, vault: &Vault, span: (TimeUs, TimeUs), voices: &[Vec<u8>]) -> Result<(), CliError> {
        let account = vault.get_account(&self.account).await?;
        let answered = |record: &Record| matches!(record, Record::Call(call) if call.status == CallStatus::Completed);
        let mut last = None;
        for n in 0..self.recordings {
            let share =
                i64::try_from(n).unwrap_or(0) * STEP_DAYS * DAY_US / i64::try_from(self.recordings).unwrap_or(1);
            let query = Query {
                from: Some(TimeUs(span.0.0 + share)),
                to: Some(span.1),
                filter: Some(&answered),
                newest_first: false,
                limit: 1,
                ..Query::default()
            };
            let page = vault
                .list_records_of(&account, Class::Call, &query, Reader::Account)
                .await?;
            let (Some(Record::Call(call)), Some(audio)) = (page.records.first(), voices.get(n % voices.len().max(1)))
            else {
                continue;
            };
            // Few calls leave spans without one; the next call is recorded once.
            if last.replace(call.sid) == Some(call.sid) {
                continue;
            }
            let meta = RecordingMeta {
                parties: [call.from.clone(), call.to.clone()],
                format: AudioFormat::Wav,
                channels: 1,
                sample_rate_hz: 8_000,
                duration_ms: (audio.len() as u64).saturating_sub(44) / 16,
                consent: Consent::Announced,
                policy_version: None,
                file_name: None,
            };
            let sid = recording_sid(&account, Some(call.sid), call.at, audio);
            let new = NewRecording {
                sid,
                call_sid: Some(call.sid),
                at: call.at,
                meta,
            };
            vault.put_recording(&self.account, new, audio).await?;
        }
        Ok(())
    }
}
