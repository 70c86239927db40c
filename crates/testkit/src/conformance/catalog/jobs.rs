//! Jobs and leases.

use std::collections::BTreeSet;

use callvault_store::rows::{JobRow, JobState};

use crate::conformance::{
    backends::CatalogBackend,
    checks::conflicts,
    rows::{at, job},
};

/// One job, several workers, time.
pub async fn leases_exclude_each_other(backend: &impl CatalogBackend) {
    let (one, two) = (backend.open_migrated().await, backend.open().await);
    let first = one.enqueue(&job("a", "import", at(10))).await.expect("enqueued");
    let again = one
        .enqueue(&JobRow {
            body: vec![1],
            ..job("a", "import", at(0))
        })
        .await
        .expect("enqueued");
    assert_eq!(first, again, "the job that is there stays");
    one.enqueue(&job("b", "announce", at(5))).await.expect("enqueued");

    assert_eq!(
        one.lease(&["import"], "w1", at(9), at(20)).await.expect("read"),
        None,
        "not due yet"
    );
    assert_eq!(one.lease(&[], "w1", at(99), at(120)).await.expect("read"), None);
    let held = one
        .lease(&["import"], "w1", at(10), at(20))
        .await
        .expect("read")
        .expect("leased");
    assert_eq!(
        (held.leased_by.as_deref(), held.lease_until, held.attempts),
        (Some("w1"), Some(at(20)), 1)
    );
    assert_eq!(
        two.lease(&["import"], "w2", at(19), at(29)).await.expect("read"),
        None,
        "held by another"
    );
    assert_eq!(two.lease_job("a", "w2", at(19), at(29)).await.expect("read"), None);
    let held = JobRow {
        body: vec![2],
        lease_until: Some(at(30)),
        ..held
    };
    one.renew(&held).await.expect("renewed");
    assert_eq!(two.lease(&["import"], "w2", at(29), at(39)).await.expect("read"), None);

    let taken = two
        .lease(&["announce", "import"], "w2", at(30), at(40))
        .await
        .expect("read")
        .expect("due longest");
    assert_eq!(taken.id, "b");
    let taken = two
        .lease_job("a", "w2", at(30), at(40))
        .await
        .expect("read")
        .expect("the lease has ended");
    assert_eq!((taken.attempts, taken.body.clone()), (2, vec![2]));
    conflicts(one.renew(&held).await);
    conflicts(
        one.release(&JobRow {
            state: JobState::Done,
            ..held
        })
        .await,
    );
    let open_again = JobRow {
        run_at: at(50),
        error: Some("later".to_owned()),
        ..taken
    };
    two.release(&open_again).await.expect("released");
    assert_eq!(two.lease(&["import"], "w2", at(49), at(60)).await.expect("read"), None);
    let last = two
        .lease(&["import"], "w3", at(50), at(60))
        .await
        .expect("read")
        .expect("leased");
    assert_eq!((last.attempts, last.error.as_deref()), (3, Some("later")));
    two.release(&JobRow {
        state: JobState::Done,
        ..last
    })
    .await
    .expect("done");
    assert_eq!(one.lease(&["import"], "w1", at(99), at(120)).await.expect("read"), None);
    let done = one.list_jobs("import", JobState::Done, 10).await.expect("jobs");
    assert_eq!(
        (done.len(), done[0].leased_by.clone(), done[0].lease_until),
        (1, None, None)
    );
    assert!(
        one.list_jobs("import", JobState::Failed, 10)
            .await
            .expect("jobs")
            .is_empty()
    );
}

/// Many jobs, many workers.
pub async fn many_workers_share_jobs(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    for number in 0..40 {
        catalog
            .enqueue(&job(&format!("j{number:02}"), "seal", at(number)))
            .await
            .expect("enqueued");
    }
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..6 {
        let catalog = if worker % 2 == 0 {
            catalog.clone()
        } else {
            backend.open().await
        };
        workers.spawn(async move {
            let mut done = Vec::new();
            while done.len() < 40 {
                let name = format!("w{worker}");
                let leased = catalog.lease(&["seal"], &name, at(100), at(200)).await.expect("read");
                let Some(job) = leased else { break };
                done.push(job.id.clone());
                catalog
                    .release(&JobRow {
                        state: JobState::Done,
                        ..job
                    })
                    .await
                    .expect("done");
            }
            done
        });
    }
    let done: Vec<String> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(done.len(), 40, "each job ran once");
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), 40);
}
