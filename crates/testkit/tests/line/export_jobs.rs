//! An export job that was accepted ends, whatever call of a store fails, and is told once.

use std::sync::Arc;

use callvault_app::{
    Vault,
    export::{ExportJob, ExportOrder, Format, JobContent, JobDelivery, JobPhase, JobState},
};
use callvault_core::{AccountSid, Class, Plan, Reader};
use callvault_testkit::{
    fault::{Faults, Mode},
    world::{Pair, World, at, call},
};

use crate::Phone;

const START: &str = "2027-03-01T12:00:00Z";

async fn fill(world: &World) -> AccountSid {
    let sid = world.account("acme", Plan::Growth).await;
    let calls: Vec<_> = (0..20)
        .map(|n| call(at("2027-02-26T09:00:00Z").plus_seconds(i64::from(n)), n, 1, 2))
        .collect();
    world.vault.ingest(&sid, &calls).await.expect("stored");
    sid
}

trait Jobs {
    async fn jobs(&self, account: &AccountSid) -> Vec<(ExportJob, JobState)>;
}

impl Jobs for World {
    async fn jobs(&self, account: &AccountSid) -> Vec<(ExportJob, JobState)> {
        let account = self.vault.get_account(account).await.expect("acme");
        self.vault.list_export_jobs(&account).await.expect("jobs")
    }
}

/// Orders an export and works on it, as far as the stores let it.
async fn order_and_work(vault: &Arc<Vault>, sid: &AccountSid) -> Option<ExportJob> {
    let account = vault.get_account(sid).await.ok()?;
    let line = Phone::default().line(Arc::clone(vault));
    let order = ExportOrder {
        content: JobContent::Records {
            class: Class::Call,
            format: Format::Csv,
        },
        from: None,
        to: Some(at("2027-02-27T00:00:00Z")),
        reader: Reader::Account,
        delivery: JobDelivery::Download,
    };
    let ordered = line.order_export(&account, order).await.ok();
    line.work().await;
    ordered
}

async fn crash_everywhere(pair: Pair, step: usize) {
    let mut over = 0;
    for mode in Mode::ALL {
        for n in (0..).step_by(step) {
            let mut world = World::new(pair, at(START)).await;
            let sid = fill(&world).await;
            let faults = Faults::default();
            let vault = Arc::new(Vault::open(faults.wrap(&world.parts)).await.expect("open"));
            faults.arm(n, mode);
            let ordered = order_and_work(&vault, &sid).await;
            let struck = faults.struck();
            let place = struck.clone().unwrap_or_default();
            drop(vault);
            world.restart().await;
            let before = world.jobs(&sid).await;
            // Whoever works next ends what was begun: once the lease is over, and the pause after a failure.
            let line = Phone::default().line(Arc::clone(&world.vault));
            for seconds in [90, 400] {
                world.clock.advance_to(at(START).plus_seconds(seconds));
                assert_eq!(line.work().await.failures, Vec::<String>::new(), "{place}");
            }
            let jobs = world.jobs(&sid).await;
            if before.iter().any(|(_, state)| state.phase.is_over()) {
                assert_eq!(jobs, before, "{place}: what was over was written again");
                over += 1;
            }
            if let Some(ordered) = ordered {
                assert_eq!(
                    jobs.first().map(|(job, _)| job),
                    Some(&ordered),
                    "{place}: accepted, and gone"
                );
            }
            assert!(jobs.len() <= 1, "{place}");
            for (_, state) in &jobs {
                let result = state.result.as_ref();
                assert_eq!(
                    (state.phase, result.map(|result| result.records)),
                    (JobPhase::Done, Some(20)),
                    "{place}: {state:?}"
                );
            }
            if struck.is_none() {
                assert_eq!(jobs.len(), 1);
                assert!(n >= 5 * step as u64 || n >= 5, "only {n} calls were met");
                break;
            }
        }
    }
    assert!(over > 0, "no crash came after the end was decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_job_that_a_crash_interrupts_ends() {
    for pair in Pair::all() {
        let step = match pair {
            Pair::Embedded => 1,
            Pair::Scaled => 7,
        };
        crash_everywhere(pair, step).await;
    }
}
