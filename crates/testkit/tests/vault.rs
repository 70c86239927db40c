//! The main path, on every pair of stores: in, readable until their second, gone for good, with a certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use callvault_app::{
    Vault, VaultError, bulk::ImportFile, certificate, coverage::HoldTarget, import::Format, ingest::Taken, read::Query,
};
use callvault_core::{AccountSid, Cause, Class, Plan, Reader, Record, Sid, TimeUs, forecast::Because, id::HoldId};
use callvault_testkit::fault::{Faults, Mode};
use callvault_testkit::world::{Pair, World, at, call, number, recording};
use futures::TryStreamExt;

async fn calls(world: &World, account: &callvault_core::AccountSid, reader: Reader) -> usize {
    let query = Query {
        limit: 1_000,
        ..Query::default()
    };
    world
        .vault
        .list_records(account, Class::Call, &query, reader)
        .await
        .unwrap()
        .records
        .len()
}

#[tokio::test]
async fn records_stay_until_their_second_and_are_gone_with_a_certificate() {
    for pair in Pair::all() {
        let mut world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        let first = at("2027-03-01T09:00:00Z");
        let records: Vec<_> = (0..300)
            .map(|n| call(first.plus_seconds(i64::from(n)), n, n % 7, 100 + n))
            .collect();
        let taken = world.vault.ingest(&account, &records).await.unwrap();
        assert!(
            taken.iter().all(|taken| matches!(taken, Taken::New { .. })),
            "{pair:?}: {taken:?}"
        );
        let again = world.vault.ingest(&account, &records[..5]).await.unwrap();
        assert!(
            again.iter().all(|taken| matches!(taken, Taken::Known { .. })),
            "{again:?}"
        );
        assert_eq!(calls(&world, &account, Reader::Account).await, 300);

        // Sealed after its day, and readers see no difference.
        let report = world.tick_at(at("2027-03-02T02:00:00Z")).await;
        assert_eq!(report.sealed, 1, "{report:?}");
        world.restart().await;
        assert_eq!(calls(&world, &account, Reader::Account).await, 300);
        let query = Query {
            number: Some(number(3)),
            limit: 1_000,
            ..Query::default()
        };
        let found = world
            .vault
            .list_records(&account, Class::Call, &query, Reader::Account)
            .await
            .unwrap();
        assert_eq!(found.records.len(), 43, "numbers 3, 10, 17, ... of 300");
        let again = world.vault.ingest(&account, &records[..5]).await.unwrap();
        assert!(
            again.iter().all(|taken| matches!(taken, Taken::Known { .. })),
            "{again:?}"
        );
        let one = world
            .vault
            .get_record(&account, Class::Call, records[7].sid(), Reader::Account)
            .await
            .unwrap();
        assert!(one == records[7]);

        // Readable one second before its own end, gone at its second; the key goes at the end of the day.
        let end = first.plus_years(1);
        world.tick_at(TimeUs(end.0 - 1_000_000)).await;
        assert_eq!(calls(&world, &account, Reader::Account).await, 300);
        world.tick_at(end).await;
        assert_eq!(calls(&world, &account, Reader::Compliance).await, 299);
        let report = world.tick_at(at("2028-03-02T00:00:00Z")).await;
        assert_eq!(report.shredded.len(), 1, "{report:?}");
        assert_eq!(calls(&world, &account, Reader::Compliance).await, 0);

        let key = world.vault.verifier_key();
        let text = world
            .vault
            .certificate(&account, report.shredded[0].log_index)
            .await
            .unwrap();
        let verified = certificate::verify(&text, &key).unwrap();
        let json = verified.body.to_json();
        assert!(
            json.contains(r#""records":300"#) && json.contains(r#""cause":"term""#),
            "{json}"
        );
        assert!(json.contains(r#""backups":{"state":"pending""#), "{json}");
        assert!(certificate::verify(&text.replacen("300", "301", 1), &key).is_err());

        // Once every epoch that wrapped the key is over, the backups are done too.
        for day in 1..=32 {
            world.tick_at(at("2028-03-02T00:00:00Z").plus_days(day)).await;
        }
        let text = world
            .vault
            .certificate(&account, report.shredded[0].log_index)
            .await
            .unwrap();
        let json = certificate::verify(&text, &key).unwrap().body.to_json();
        assert!(!json.contains("pending"), "{json}");
        let findings = world.vault.doctor().await.unwrap();
        assert!(
            findings
                .iter()
                .all(|f| f.severity == callvault_app::doctor::Severity::Good),
            "{findings:?}"
        );
    }
}

#[tokio::test]
async fn recordings_are_sealed_read_by_range_and_deleted() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        let audio: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let new = recording(at("2027-03-01T11:00:00Z"), 1, 1, 2);
        let sid = world.vault.put_recording(&account, new.clone(), &audio).await.unwrap();
        for range in [0..300_000_u64, 0..1, 65_530..65_600, 131_000..200_001, 299_999..400_000] {
            let stream = world
                .vault
                .read_recording(&account, sid, range.clone(), Reader::Account)
                .await
                .unwrap();
            let pieces: Vec<_> = stream.try_collect().await.unwrap();
            let end = usize::try_from(range.end.min(300_000)).unwrap();
            assert!(
                pieces.concat() == audio[usize::try_from(range.start).unwrap()..end],
                "{range:?}"
            );
        }
        assert!(
            world.vault.put_recording(&account, new, &audio).await.is_err(),
            "a SID names one recording"
        );
        let leaves = world
            .vault
            .delete_recordings(&account, &[sid], Cause::Request)
            .await
            .unwrap();
        assert!(
            world
                .vault
                .get_recording(&account, sid, Reader::Compliance)
                .await
                .is_err()
        );
        let text = world.vault.certificate(&account, leaves[0]).await.unwrap();
        certificate::verify(&text, &world.vault.verifier_key()).unwrap();
    }
}

#[tokio::test]
async fn what_is_held_outlives_its_term_for_compliance_alone() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let (account, _, hold) = world.hold_ten_of_fifty().await;
        // Before the term is over, the forecast knows already who stays.
        let rows = world
            .vault
            .forecast(&account, at("2028-03-03T00:00:00Z"))
            .await
            .unwrap();
        let foretold: Vec<_> = rows.iter().map(|row| (row.records, row.because)).collect();
        assert_eq!(foretold, [(40, Because::TermOver)]);
        let refused = world.vault.close_account(&account).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("hold")));
        let report = world.tick_at(at("2028-03-02T00:00:00Z")).await;
        assert_eq!(report.rewritten, 1, "{report:?}");
        assert_eq!(calls(&world, &account, Reader::Account).await, 0);
        assert_eq!(calls(&world, &account, Reader::Compliance).await, 10);
        let soon = at("2028-03-03T00:00:00Z");
        assert_eq!(world.vault.forecast(&account, soon).await.unwrap(), []);
        world.vault.lift_hold(&account, hold).await.unwrap();
        assert_eq!(calls(&world, &account, Reader::Compliance).await, 0);
        let rows = world.vault.forecast(&account, soon).await.unwrap();
        let foretold: Vec<_> = rows.iter().map(|row| (row.day, row.records, row.because)).collect();
        let today = at("2028-03-02T00:00:00Z").day();
        assert_eq!(foretold, [(today, 10, Because::HoldLifted)]);
        let report = world.tick_at(at("2028-03-02T00:00:01Z")).await;
        assert_eq!(report.shredded[0].cause, Cause::HoldLifted);
    }
}

/// Holds one record for some months.
async fn hold_record(world: &World, account: &AccountSid, sid: Sid) -> Result<HoldId, VaultError> {
    let target = HoldTarget::Records(vec![sid]);
    let review_at = world.vault.now().plus_days(90);
    world
        .vault
        .place_hold_on(account, &target, "a matter", "a reason", review_at)
        .await
}

/// Begins a little later, so that the hold falls before, into and after the deletion.
#[expect(clippy::disallowed_methods, reason = "the two run in real time")]
async fn later<T>(n: u32, work: impl Future<Output = T>) -> T {
    tokio::time::sleep(std::time::Duration::from_micros(u64::from(n) * 200)).await;
    work.await
}

/// Whichever comes first, the other sees it: a hold that stands is never followed by the deletion of what it covers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_and_a_deletion_do_not_pass_each_other() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        let day = at("2027-03-01T09:00:00Z");
        let records: Vec<_> = (0..30)
            .map(|n| call(day.plus_seconds(i64::from(n)), n, n % 7, 100))
            .collect();
        world.vault.ingest(&account, &records).await.unwrap();
        let mut held = 0;
        for (n, record) in (0..).zip(&records) {
            let new = recording(day.plus_seconds(i64::from(n)), n, 1, 2);
            let sid = world.vault.put_recording(&account, new, &[7; 2_000]).await.unwrap();
            let (recordings, sids) = ([sid], [record.sid()]);
            let (deleted, recording_held) = tokio::join!(
                later(n, world.vault.delete_recordings(&account, &recordings, Cause::Request)),
                hold_record(&world, &account, sid)
            );
            let there = world.vault.get_recording(&account, sid, Reader::Compliance).await;
            assert!(
                deleted.is_err() == recording_held.is_ok() && recording_held.is_ok() == there.is_ok(),
                "{pair:?} {n}: deleted {deleted:?}, held {recording_held:?}"
            );
            let (erased, record_held) = tokio::join!(
                later(
                    n,
                    world
                        .vault
                        .erase_records(&account, Class::Call, &sids, Cause::IngestError)
                ),
                hold_record(&world, &account, record.sid())
            );
            let there = world
                .vault
                .get_record(&account, Class::Call, record.sid(), Reader::Compliance)
                .await;
            assert!(
                erased.is_err() == record_held.is_ok() && record_held.is_ok() == there.is_ok(),
                "{pair:?} {n}: erased {erased:?}, held {record_held:?}"
            );
            held += u32::from(recording_held.is_ok()) + u32::from(record_held.is_ok());
        }
        assert!((1..60).contains(&held), "both orders are tried: {held}");
        let standing = world.vault.list_holds(&account).await.unwrap();
        let standing = standing.iter().filter(|hold| hold.lifted_at.is_none()).count();
        assert_eq!(standing, held as usize, "a hold that was refused does not stand");
    }
}

/// Until its partition is rewritten an erased record's id is refused at both doors; then the right record can come in.
#[tokio::test]
async fn an_erased_id_is_refused_until_the_record_is_wiped() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        let day = at("2027-03-01T09:00:00Z");
        let mut records: Vec<_> = (0..20)
            .map(|n| call(day.plus_seconds(i64::from(n)), n, n % 7, 100))
            .collect();
        world.vault.ingest(&account, &records).await.unwrap();
        let gone = records[4].sid();
        let leaves = world
            .vault
            .erase_records(&account, Class::Call, &[gone], Cause::IngestError)
            .await
            .unwrap();
        assert_eq!(leaves.len(), 1);
        // The same record, and a corrected one of the same id.
        let Record::Call(right) = &mut records[4] else { panic!() };
        right.talk_s += 1;
        let file = world.folder.join("again.ndjson");
        let line = serde_json::to_string(&records[4]).unwrap();
        std::fs::write(&file, format!("{line}\n")).unwrap();
        let import = || ImportFile {
            path: file.clone(),
            format: Format::Ndjson(Class::Call),
            time_zone: jiff::tz::TimeZone::UTC,
            rejects: world.folder.join("rejects"),
            from_start: true,
        };
        for round in 0..2 {
            let taken = world.vault.ingest(&account, &records[3..6]).await.unwrap();
            assert!(
                matches!(
                    &taken[..],
                    [
                        Taken::Known { .. },
                        Taken::Rejected { code: "deleted", .. },
                        Taken::Known { .. }
                    ]
                ),
                "{pair:?} {round}: {taken:?}"
            );
            let done = world.vault.import_file(&account, import(), &mut |_| {}).await.unwrap();
            assert_eq!((done.stored, done.known, done.rejected), (0, 0, 1), "{pair:?} {round}");
            // The second time the rows are sealed.
            world.tick_at(at("2027-03-02T02:00:00Z")).await;
        }
        for day in 0..31 {
            world.tick_at(at("2027-03-02T03:00:00Z").plus_days(day)).await;
        }
        let taken = world.vault.ingest(&account, &records[4..5]).await.unwrap();
        assert!(matches!(&taken[..], [Taken::New { .. }]), "{pair:?}: {taken:?}");
        let found = world
            .vault
            .get_record(&account, Class::Call, gone, Reader::Account)
            .await;
        assert!(found.unwrap() == records[4]);
    }
}

/// A recording whose upload was under way when the same audio was stored and deleted is refused when it ends.
#[tokio::test]
async fn an_upload_does_not_bring_a_deleted_recording_back() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        let loaded = world.vault.get_account(&account).await.unwrap();
        let new = recording(at("2027-03-01T09:00:00Z"), 1, 1, 2);
        let mut slow = world.vault.begin_recording(&loaded, new.clone()).await.unwrap();
        slow.write(&[7; 2_000]).await.unwrap();
        let mut slower = world.vault.begin_recording(&loaded, new.clone()).await.unwrap();
        slower.write(&[7; 2_000]).await.unwrap();
        let sid = world.vault.put_recording(&account, new, &[7; 2_000]).await.unwrap();
        let known = slow.finish().await.unwrap_err();
        assert!(matches!(known, VaultError::RecordingKnown), "{pair:?}: {known}");
        world
            .vault
            .delete_recordings(&account, &[sid], Cause::Request)
            .await
            .unwrap();
        let refused = slower.finish().await.unwrap_err();
        assert!(
            matches!(&refused, VaultError::Refused(refusal) if refusal.code == "deleted"),
            "{pair:?}: {refused}"
        );
        let found = world.vault.get_recording(&account, sid, Reader::Compliance).await;
        assert!(matches!(found, Err(VaultError::NotFound { .. })));
    }
}

/// What a hold kept from being deleted bears no mark of a deletion.
#[tokio::test]
async fn a_refused_deletion_leaves_no_mark() {
    let world = World::new(Pair::Embedded, at("2027-03-01T12:00:00Z")).await;
    let account = world.account("acme", Plan::Growth).await;
    let new = recording(at("2027-03-01T09:00:00Z"), 1, 1, 2);
    let sid = world
        .vault
        .put_recording(&account, new.clone(), &[7; 2_000])
        .await
        .unwrap();
    hold_record(&world, &account, sid).await.unwrap();
    let held = world.vault.delete_recordings(&account, &[sid], Cause::Request).await;
    assert!(matches!(held, Err(VaultError::Refused(_))), "{held:?}");
    let known = world.vault.put_recording(&account, new, &[7; 2_000]).await.unwrap_err();
    assert!(matches!(known, VaultError::RecordingKnown), "{known}");
}

/// A closing that stopped in the middle is finished by the next tick; nothing of the account is readable meanwhile.
#[tokio::test]
async fn a_closing_is_finished_whatever_happens() {
    for pair in Pair::all() {
        let mut world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        let day = at("2027-03-01T09:00:00Z");
        let records: Vec<_> = (0..20).map(|n| call(day.plus_seconds(n.into()), n, 1, 2)).collect();
        world.vault.ingest(&account, &records).await.unwrap();
        let new = recording(day, 1, 1, 2);
        let sid = world.vault.put_recording(&account, new, &[7; 2_000]).await.unwrap();
        // Dies after the first key is destroyed.
        let faults = Faults::default();
        let dying = Vault::open(faults.wrap(&world.parts)).await.unwrap();
        faults.arm(1, Mode::DiesAfter);
        assert!(dying.close_account(&account).await.is_err());
        assert!(
            faults.struck().is_some_and(|place| place.contains("shred")),
            "{:?}",
            faults.struck()
        );
        drop(dying);
        world.restart().await;
        for reader in [Reader::Account, Reader::Compliance] {
            let found = world
                .vault
                .get_record(&account, Class::Call, records[0].sid(), reader)
                .await;
            assert!(matches!(found, Err(VaultError::NotFound { .. })), "{pair:?}");
        }
        let held = hold_record(&world, &account, sid).await;
        assert!(matches!(held, Err(VaultError::NotFound { .. })), "{pair:?}: {held:?}");
        assert!(world.vault.ingest(&account, &records).await.is_err());
        let report = world.tick_at(at("2027-03-01T13:00:00Z")).await;
        assert!(report.failures.is_empty(), "{pair:?}: {report:?}");
        let row = world.parts.catalog.find_account(&account).await.unwrap().unwrap();
        assert!(row.is_closed(), "{pair:?}");
        let leaves = world.vault.list_deletions(&account, None, 10).await.unwrap();
        assert_eq!(leaves.len(), 3, "recordings, calls, the account's own key");
        assert!(matches!(
            world.vault.close_account(&account).await,
            Err(VaultError::NotFound { .. })
        ));
    }
}

/// A hold names what is there: a recording whose term is over is not, though its key may be.
#[tokio::test]
async fn a_lapsed_recording_cannot_be_held() {
    let world = World::new(Pair::Embedded, at("2027-03-01T12:00:00Z")).await;
    let account = world.account("acme", Plan::Growth).await;
    let mut new = recording(at("2027-03-01T09:00:00Z"), 1, 1, 2);
    let of_call = call(at("2027-03-01T09:00:00Z"), 77, 1, 2).sid();
    new.call_sid = Some(of_call);
    let sid = world.vault.put_recording(&account, new, &[7; 2_000]).await.unwrap();
    world.clock.advance_to(at("2027-05-30T09:00:00Z"));
    for sid in [sid, of_call] {
        let held = hold_record(&world, &account, sid).await;
        assert!(
            matches!(held, Err(VaultError::Invalid { field: "sids", .. })),
            "{held:?}"
        );
    }
}

/// A listing that meets the sealing of what it lists has every record once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_and_a_sealing_do_not_pass_each_other() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        for round in 0..12_u32 {
            let day = at("2027-03-01T09:00:00Z").plus_days(i64::from(round) * 2);
            world.clock.advance_to(day.plus_seconds(3_600));
            let records: Vec<_> = (0..200)
                .map(|n| call(day.plus_seconds(n.into()), round * 1_000 + n, 1, 2))
                .collect();
            world.vault.ingest(&account, &records).await.unwrap();
            world.clock.advance_to(day.plus_days(1).plus_seconds(3_600 * 18));
            let query = Query {
                from: Some(day),
                to: Some(day.plus_seconds(3_600)),
                limit: 1_000,
                ..Query::default()
            };
            let list = async {
                let mut counts = Vec::new();
                for _ in 0..20 {
                    let page = world
                        .vault
                        .list_records(&account, Class::Call, &query, Reader::Account)
                        .await
                        .unwrap();
                    counts.push(page.records.len());
                }
                counts
            };
            let (report, counts) = tokio::join!(world.vault.tick(), list);
            assert_eq!((report.sealed, report.failures.len()), (1, 0), "{report:?}");
            assert_eq!(counts, [200; 20], "{pair:?} {round}");
        }
    }
}
