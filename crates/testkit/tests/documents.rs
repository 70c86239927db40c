//! Documents through the vault: sealed, changed, held, lapsed, deleted with a certificate, on both pairs.

#![expect(clippy::expect_used, reason = "tests")]

use callvault_app::{
    Account, VaultError,
    document::{DocumentQuery, NewDocument},
};
use callvault_core::{
    Cause, DocumentKind, HoldScope, Plan, Reader, Sid,
    document::DocumentKind::{Campaign, Contact},
    forecast::Because,
};
use callvault_seal::certificate;
use callvault_testkit::{
    conformance::checks,
    world::{Pair, World, at, number},
};

type Body = String;

fn new(world: &World, account: &Account, n: u32, text: &str) -> NewDocument<Body> {
    let now = world.vault.now();
    NewDocument {
        id: Account::fresh_sid(now).expect("a SID"),
        at: now,
        name: Some(account.number_hash(&number(n))),
        body: text.to_owned(),
    }
}

async fn add(world: &World, account: &Account, kind: DocumentKind, n: u32, text: &str) -> Sid {
    let new = new(world, account, n, text);
    let id = new.id;
    let added = world
        .vault
        .insert_documents(account, kind, &[new], None)
        .await
        .expect("added");
    assert_eq!(added, [true]);
    id
}

async fn read(world: &World, account: &Account, kind: DocumentKind, id: Sid) -> Option<Body> {
    let found = world
        .vault
        .find_document::<Body>(account, kind, id, Reader::Account)
        .await;
    found.expect("read").map(|document| document.body)
}

#[tokio::test]
async fn a_deleted_contact_is_gone_with_a_certificate() {
    for pair in Pair::all() {
        let mut world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let sid = world.account("acme", Plan::Growth).await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        let id = add(&world, &account, Contact, 1, "Aparna").await;
        world.restart().await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        assert_eq!(read(&world, &account, Contact, id).await.as_deref(), Some("Aparna"));
        let leaves = world
            .vault
            .delete_documents(&sid, Contact, &[id], Cause::Request)
            .await
            .expect("deleted");
        assert_eq!(read(&world, &account, Contact, id).await, None);
        let again = world.vault.delete_documents(&sid, Contact, &[id], Cause::Request).await;
        assert!(matches!(again, Err(VaultError::NotFound { .. })));
        // The worker publishes in its own time; whoever asks sooner need not wait.
        let text = world.vault.certificate(&sid, leaves[0]).await.expect("a certificate");
        certificate::open(&text, &world.vault.verifier_key().parse().expect("a key")).expect("good");
        assert!(
            text.contains("\"class\":\"contact\"") && text.contains("\"cause\":\"request\""),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_change_leaves_nothing_of_the_old_version() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let sid = world.account("acme", Plan::Growth).await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        let id = add(&world, &account, Contact, 1, "old").await;
        add(&world, &account, Contact, 2, "other").await;
        let before = checks::dump(&world.parts.catalog).await;
        let find = || {
            world
                .vault
                .find_document::<Body>(&account, Contact, id, Reader::Account)
        };
        let (first, second) = (
            find().await.expect("read").expect("there"),
            find().await.expect("read").expect("there"),
        );
        let taken = Some(account.number_hash(&number(2)));
        assert!(
            world
                .vault
                .replace_document(&first, taken, "x".to_owned())
                .await
                .expect("an answer")
                .is_none()
        );
        let name = Some(account.number_hash(&number(3)));
        let changed = world
            .vault
            .replace_document(&first, name, "new".to_owned())
            .await
            .expect("changed");
        assert_eq!(changed.expect("done").body, "new");
        let late = world.vault.replace_document(&second, name, "late".to_owned()).await;
        assert!(late.is_err_and(|error| error.is_conflict()));
        assert_eq!(read(&world, &account, Contact, id).await.as_deref(), Some("new"));
        // The key of the old version is in no table any more.
        let old_key = |dump: &str| {
            let mut of_documents = dump
                .lines()
                .filter(|line| line.starts_with("[\"documents\"") && line.contains(&id.to_string()));
            let row: Vec<serde_json::Value> =
                serde_json::from_str(of_documents.next_back().expect("a row")).expect("JSON");
            row[9].as_str().expect("a key").to_owned()
        };
        let after = checks::dump(&world.parts.catalog).await;
        assert!(before.matches(&old_key(&before)).count() == 2 && !after.contains(&old_key(&before)));
        checks::check(&world.parts.catalog).await;
    }
}

#[tokio::test]
async fn a_held_contact_stays_and_a_campaign_lapses_as_foretold() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let sid = world.account("acme", Plan::Growth).await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        let (held, free) = (
            add(&world, &account, Contact, 1, "held").await,
            add(&world, &account, Contact, 2, "free").await,
        );
        let (kept, gone) = (
            add(&world, &account, Campaign, 1, "kept").await,
            add(&world, &account, Campaign, 2, "gone").await,
        );
        let review_at = at("2029-01-01T00:00:00Z");
        let number = HoldScope::Number(account.number_hash(&number(1)));
        let on_number = world
            .vault
            .place_hold(&sid, number, "m", "r", review_at)
            .await
            .expect("a hold");
        let record = HoldScope::Records(vec![kept]);
        let on_record = world
            .vault
            .place_hold(&sid, record, "m", "r", review_at)
            .await
            .expect("a hold");
        let refused = world
            .vault
            .delete_documents(&sid, Contact, &[held, free], Cause::Request)
            .await;
        assert!(refused.is_err_and(|error| error.to_string().contains(&on_number.to_string())));
        assert!(read(&world, &account, Contact, free).await.is_some(), "all or nothing");
        let refused = world
            .vault
            .delete_documents(&sid, Campaign, &[gone], Cause::Request)
            .await;
        assert!(refused.is_err_and(|error| error.to_string().contains("1 year")));
        let rows = world
            .vault
            .forecast(&sid, at("2030-01-01T00:00:00Z"))
            .await
            .expect("a forecast");
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.class.as_str(), row.day, row.records, row.because))
            .collect();
        let end = at("2028-03-01T12:00:00Z");
        assert_eq!(rows, [("campaign_report", end.day(), 1, Because::TermOver)]);

        world.tick_at(end.plus_seconds(-1)).await;
        assert!(
            read(&world, &account, Campaign, gone).await.is_some(),
            "a second before"
        );
        world.clock.advance_to(end);
        assert!(
            read(&world, &account, Campaign, gone).await.is_none(),
            "at its second, before any tick"
        );
        let report = world.tick_at(end).await;
        let shredded: Vec<_> = report
            .shredded
            .iter()
            .map(|s| (s.class.as_str(), s.cause, s.records))
            .collect();
        assert_eq!(shredded, [("campaign_report", Cause::Term, 1)]);
        let account = world.vault.get_account(&sid).await.expect("acme");
        assert!(
            read(&world, &account, Campaign, kept).await.is_none(),
            "held: for compliance alone"
        );
        let compliance = world
            .vault
            .find_document::<Body>(&account, Campaign, kept, Reader::Compliance)
            .await;
        assert!(compliance.expect("read").is_some());
        world.clock.advance_to(end.plus_seconds(10));
        world.vault.lift_hold(&sid, on_record).await.expect("lifted");
        let report = world.tick_at(end.plus_seconds(10)).await;
        assert_eq!(
            report.shredded.iter().map(|s| s.cause).collect::<Vec<_>>(),
            [Cause::HoldLifted]
        );
        let count = |kind| world.vault.count_documents(&account, kind);
        assert_eq!(
            (
                count(Campaign).await.expect("a count"),
                count(Contact).await.expect("a count")
            ),
            (0, 2)
        );
    }
}

#[tokio::test]
async fn documents_survive_epochs_and_go_with_their_account() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let sid = world.account("acme", Plan::Growth).await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        let id = add(&world, &account, Contact, 1, "Aparna").await;
        for days in [10, 20, 30, 40, 50] {
            world.tick_at(at("2027-03-01T12:00:00Z").plus_days(days)).await;
        }
        assert_eq!(read(&world, &account, Contact, id).await.as_deref(), Some("Aparna"));
        let query = DocumentQuery {
            limit: 5,
            ..DocumentQuery::default()
        };
        let listed = world
            .vault
            .list_documents::<Body>(&account, Contact, &query, Reader::Account)
            .await;
        assert_eq!(listed.expect("listed").len(), 1);
        world.vault.close_account(&sid).await.expect("closed");
        let dump = checks::dump(&world.parts.catalog).await;
        assert!(!dump.contains(&id.to_string()), "a row of a closed account");
        checks::check(&world.parts.catalog).await;
    }
}

/// A document that is changed while it is read is never taken for one that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_meets_the_old_version_or_the_new_one() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let sid = world.account("acme", Plan::Growth).await;
        let account = world.vault.get_account(&sid).await.expect("acme");
        let id = add(&world, &account, Contact, 1, "0").await;
        let vault = std::sync::Arc::clone(&world.vault);
        let writer = tokio::spawn(async move {
            let account = vault.get_account(&sid).await.expect("acme");
            for n in 1..=150 {
                let found = vault.find_document::<Body>(&account, Contact, id, Reader::Account);
                let old = found.await.expect("read").expect("it is there");
                let name = Some(account.number_hash(&number(1)));
                vault
                    .replace_document(&old, name, n.to_string())
                    .await
                    .expect("changed");
            }
        });
        let query = DocumentQuery {
            limit: 5,
            ..DocumentQuery::default()
        };
        let (mut reads, mut last) = (0, 0);
        while !writer.is_finished() {
            let seen = read(&world, &account, Contact, id)
                .await
                .expect("it is there all the time");
            let listed = world
                .vault
                .list_documents::<Body>(&account, Contact, &query, Reader::Account)
                .await;
            assert_eq!(listed.expect("listed").len(), 1);
            let seen: u32 = seen.parse().expect("a number");
            assert!(seen >= last, "an older version came back");
            (reads, last) = (reads + 1, seen);
        }
        writer.await.expect("written");
        assert!(reads > 20, "{reads} reads beside the writer");
    }
}
