//! One scenario for every kind of work.

use callvault_app::{bulk::ImportFile, certificate, import::Format};
use callvault_core::{AccountSid, Cause, Class, HoldScope, Plan, Reader, Record, Sid};
use callvault_testkit::world::{Pair, World, at, call, number, recording};

use super::{DAY, acme, count_calls, fail_everywhere, find_audio, text, tick};

#[path = "contacts.rs"]
mod contacts;

use contacts::{contact_changes, contact_term};

macro_rules! on_both_pairs {
    ($($scenario:ident)*) => {
        mod sqlite_and_files {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(super::Pair::Embedded).await;
            })*
        }
        mod postgresql_and_s3 {
            $(#[tokio::test]
            async fn $scenario() {
                if super::Pair::all().contains(&super::Pair::Scaled) {
                    super::$scenario(super::Pair::Scaled).await;
                }
            })*
        }
    };
}

on_both_pairs!(ingest seal shred rewrite_for_an_erasure rewrite_for_a_hold epoch_change bulk_import recording_upload deletion closure publish contact_changes contact_term);

static AUDIO: [u8; 70_000] = [0x77; 70_000];

fn calls(first: u32, count: u32) -> Vec<Record> {
    (first..first + count)
        .map(|n| call(at(DAY).plus_seconds(i64::from(n)), n, n % 7, 100))
        .collect()
}

/// An account with sealed calls.
async fn with_calls(world: &World, count: u32) -> AccountSid {
    let account = acme(world).await;
    world.vault.ingest(&account, &calls(0, count)).await.unwrap();
    account
}

async fn with_recordings(world: &World, count: u32) -> (AccountSid, Vec<Sid>) {
    let account = acme(world).await;
    let mut sids = Vec::new();
    for n in 0..count {
        let new = recording(at(DAY).plus_seconds(i64::from(n)), n, n, 100);
        sids.push(world.vault.put_recording(&account, new, &AUDIO).await.unwrap());
    }
    (account, sids)
}

async fn ingest(pair: Pair) {
    let new = || {
        let mut new = calls(100, 20);
        new.extend((0..5).map(|n| call(at(DAY).plus_days(-3).plus_seconds(i64::from(n)), 500 + n, 1, 2)));
        new
    };
    fail_everywhere(
        pair,
        4,
        async |world: &World| with_calls(world, 10).await,
        async |vault, _, account| vault.ingest(account, &new()).await.map(|_| ()).map_err(text),
        async |world, account, acknowledged, settled, place| {
            let found = count_calls(&world.vault, account, Reader::Account).await;
            assert!(found == 35 || found == 10 && !acknowledged, "{place}: {found}");
            if settled {
                world.vault.ingest(account, &new()).await.unwrap();
                assert_eq!(count_calls(&world.vault, account, Reader::Account).await, 35, "{place}");
            }
        },
    )
    .await;
}

async fn seal(pair: Pair) {
    fail_everywhere(
        pair,
        8,
        async |world: &World| with_calls(world, 4_000).await,
        async |vault, world, _| {
            world.clock.advance_to(at("2027-03-02T02:00:00Z"));
            tick(vault).await
        },
        async |world, account, _, settled, place| {
            assert_eq!(
                count_calls(&world.vault, account, Reader::Account).await,
                4_000,
                "{place}"
            );
            if settled {
                let names = world.parts.objects.list("accounts/").await.unwrap();
                assert_eq!(names.len(), 2, "{place}: one segment and its locator");
            }
        },
    )
    .await;
}

async fn shred(pair: Pair) {
    fail_everywhere(
        pair,
        8,
        async |world: &World| {
            let (account, sids) = with_recordings(world, 2).await;
            world.vault.ingest(&account, &calls(0, 30)).await.unwrap();
            world.tick_at(at("2027-03-02T02:00:00Z")).await;
            (account, sids)
        },
        async |vault, world, _| {
            world.clock.advance_to(at("2028-03-02T00:00:00Z"));
            tick(vault).await
        },
        async |world, (account, sids), _, settled, place| {
            world.clock.advance_to(at("2028-03-02T00:00:00Z"));
            assert_eq!(
                count_calls(&world.vault, account, Reader::Compliance).await,
                0,
                "{place}"
            );
            for sid in sids {
                assert!(find_audio(&world.vault, account, *sid).await.is_none(), "{place}");
            }
            if settled {
                assert!(
                    world.parts.objects.list("accounts/").await.unwrap().is_empty(),
                    "{place}"
                );
            }
        },
    )
    .await;
}

async fn rewrite_for_an_erasure(pair: Pair) {
    fail_everywhere(
        pair,
        8,
        async |world: &World| {
            let account = with_calls(world, 60).await;
            world.tick_at(at("2027-03-02T02:00:00Z")).await;
            let gone = calls(3, 1)[0].sid();
            world
                .vault
                .erase_records(&account, Class::Call, &[gone], Cause::IngestError)
                .await
                .unwrap();
            account
        },
        async |vault, world, _| {
            world.clock.advance_to(at("2027-03-05T03:00:00Z"));
            tick(vault).await
        },
        async |world, account, _, settled, place| {
            assert_eq!(
                count_calls(&world.vault, account, Reader::Compliance).await,
                59,
                "{place}"
            );
            let days = callvault_core::Day(i32::MIN / 2)..callvault_core::Day(i32::MAX / 2);
            let rows = world
                .parts
                .catalog
                .list_partitions(account, Class::Call, days)
                .await
                .unwrap();
            assert!(!settled || rows[0].tombstones == 0, "{place}");
        },
    )
    .await;
}

async fn rewrite_for_a_hold(pair: Pair) {
    fail_everywhere(
        pair,
        8,
        async |world: &World| {
            let account = with_calls(world, 4_200).await;
            world.tick_at(at("2027-03-02T02:00:00Z")).await;
            let opened = world.vault.get_account(&account).await.unwrap();
            let scope = HoldScope::Number(opened.number_hash(&number(2)));
            world
                .vault
                .place_hold(&account, scope, "Case", "Why", at("2030-01-01T00:00:00Z"))
                .await
                .unwrap();
            account
        },
        async |vault, world, _| {
            world.clock.advance_to(at("2028-03-02T00:00:00Z"));
            tick(vault).await
        },
        async |world, account, _, settled, place| {
            world.clock.advance_to(at("2028-03-02T00:00:00Z"));
            assert_eq!(count_calls(&world.vault, account, Reader::Account).await, 0, "{place}");
            assert_eq!(
                count_calls(&world.vault, account, Reader::Compliance).await,
                600,
                "{place}"
            );
            let days = callvault_core::Day(i32::MIN / 2)..callvault_core::Day(i32::MAX / 2);
            let rows = world
                .parts
                .catalog
                .list_partitions(account, Class::Call, days)
                .await
                .unwrap();
            assert!(!settled || rows[0].sealed_rows == 600, "{place}");
        },
    )
    .await;
}

async fn epoch_change(pair: Pair) {
    fail_everywhere(
        pair,
        10,
        async |world: &World| {
            let (account, sids) = with_recordings(world, 2).await;
            world.vault.ingest(&account, &calls(0, 30)).await.unwrap();
            world.tick_at(at("2027-03-02T02:00:00Z")).await;
            (account, sids)
        },
        async |vault, world, _| {
            world.clock.advance_to(at("2027-03-28T02:00:00Z"));
            tick(vault).await
        },
        async |world, (account, sids), _, settled, place| {
            assert_eq!(count_calls(&world.vault, account, Reader::Account).await, 30, "{place}");
            assert!(
                find_audio(&world.vault, account, sids[1]).await.unwrap() == AUDIO,
                "{place}"
            );
            let epochs = world.parts.catalog.list_epochs().await.unwrap();
            assert!(
                !settled || epochs.iter().all(|epoch| epoch.epoch > 1),
                "{place}: {epochs:?}"
            );
        },
    )
    .await;
}

async fn bulk_import(pair: Pair) {
    let import = |folder: &std::path::Path| ImportFile {
        path: folder.join("calls.csv"),
        format: Format::Csv(Class::Call),
        time_zone: jiff::tz::TimeZone::UTC,
        rejects: folder.join("rejects.csv"),
        from_start: false,
    };
    fail_everywhere(
        pair,
        8,
        async |world: &World| {
            let mut rows = "at,direction,from,to,status,source_id\n".to_owned();
            for n in 0..200 {
                let time = at(DAY).plus_days(-(n / 100)).plus_seconds(n);
                rows += &format!("{time},inbound,+919900000001,+919900000002,completed,source-{n}\n");
            }
            rows += "yesterday,inbound,+919900000001,+919900000002,completed,bad\n";
            std::fs::write(world.folder.join("calls.csv"), rows).unwrap();
            acme(world).await
        },
        async |vault, world, account| {
            let done = vault.import_file(account, import(&world.folder), &mut |_| {}).await;
            done.map(|_| ()).map_err(text)
        },
        async |world, account, acknowledged, settled, place| {
            let found = count_calls(&world.vault, account, Reader::Account).await;
            assert!(found == 200 || found == 0 && !acknowledged, "{place}: {found}");
            if settled {
                let progress = world
                    .vault
                    .import_file(account, import(&world.folder), &mut |_| {})
                    .await
                    .unwrap();
                assert_eq!(
                    (progress.stored + progress.known, progress.rejected),
                    (200, 1),
                    "{place}: {progress:?}"
                );
                assert_eq!(
                    count_calls(&world.vault, account, Reader::Account).await,
                    200,
                    "{place}"
                );
                let rejects = std::fs::read_to_string(world.folder.join("rejects.csv")).unwrap();
                assert_eq!(rejects.lines().count(), 2, "{place}: {rejects}");
            }
        },
    )
    .await;
}

async fn recording_upload(pair: Pair) {
    let new = || recording(at(DAY), 900, 1, 2);
    fail_everywhere(
        pair,
        6,
        async |world: &World| with_recordings(world, 1).await,
        async |vault, _, (account, _)| {
            vault
                .put_recording(account, new(), &AUDIO)
                .await
                .map(|_| ())
                .map_err(text)
        },
        async |world, (account, sids), acknowledged, settled, place| {
            assert!(
                find_audio(&world.vault, account, sids[0]).await.unwrap() == AUDIO,
                "{place}"
            );
            let found = find_audio(&world.vault, account, new().sid).await;
            assert!(found.as_ref().map_or(!acknowledged, |audio| *audio == AUDIO), "{place}");
            if settled {
                let named = 1 + usize::from(found.is_some());
                assert_eq!(
                    world.parts.objects.list("accounts/").await.unwrap().len(),
                    named,
                    "{place}"
                );
                if found.is_none() {
                    world.vault.put_recording(account, new(), &AUDIO).await.unwrap();
                }
            }
        },
    )
    .await;
}

async fn deletion(pair: Pair) {
    fail_everywhere(
        pair,
        4,
        async |world: &World| with_recordings(world, 3).await,
        async |vault, _, (account, sids)| {
            vault
                .delete_recordings(account, &sids[..2], Cause::Request)
                .await
                .map(|_| ())
                .map_err(text)
        },
        async |world, (account, sids), acknowledged, settled, place| {
            let mut left = Vec::new();
            for sid in sids {
                left.push(find_audio(&world.vault, account, *sid).await.is_some());
            }
            let (whole, done) = ([true, true, true], [false, false, true]);
            assert!(left == done || left == whole && !acknowledged, "{place}: {left:?}");
            if settled {
                let objects = world.parts.objects.list("accounts/").await.unwrap().len();
                assert_eq!(objects, left.iter().filter(|there| **there).count(), "{place}");
            }
        },
    )
    .await;
}

async fn closure(pair: Pair) {
    fail_everywhere(
        pair,
        8,
        async |world: &World| {
            let (account, sids) = with_recordings(world, 2).await;
            world.vault.ingest(&account, &calls(0, 30)).await.unwrap();
            world.tick_at(at("2027-03-02T02:00:00Z")).await;
            (account, sids)
        },
        async |vault, _, (account, _)| vault.close_account(account).await.map(|_| ()).map_err(text),
        async |world, (account, _), acknowledged, settled, place| {
            let open = world.vault.get_account(account).await.is_ok();
            assert!(!(open && acknowledged), "{place}");
            if settled && open {
                world.vault.close_account(account).await.unwrap();
                let report = world.vault.tick().await;
                assert!(report.failures.is_empty(), "{place}: {report:?}");
            }
            if settled {
                assert!(world.vault.get_account(account).await.is_err(), "{place}");
                assert!(
                    world.parts.objects.list("accounts/").await.unwrap().is_empty(),
                    "{place}"
                );
                let again = world.vault.create_account(account, Plan::Growth, "IN").await;
                assert!(again.is_err(), "{place}: a closed account's name is not given again");
            }
        },
    )
    .await;
}

async fn publish(pair: Pair) {
    fail_everywhere(
        pair,
        8,
        async |world: &World| {
            let (account, sids) = with_recordings(world, 3).await;
            world
                .vault
                .delete_recordings(&account, &sids[..1], Cause::Request)
                .await
                .unwrap();
            world.vault.publish().await.unwrap();
            let mut leaves = Vec::new();
            for sid in &sids[1..] {
                leaves.extend(
                    world
                        .vault
                        .delete_recordings(&account, &[*sid], Cause::Request)
                        .await
                        .unwrap(),
                );
            }
            (account, leaves)
        },
        async |vault, _, _| vault.publish().await.map(|_| ()).map_err(text),
        async |world, (account, leaves), acknowledged, settled, place| {
            for leaf in leaves {
                let text = world.vault.certificate(account, *leaf).await;
                assert!(text.is_ok() || !(acknowledged || settled), "{place}: {text:?}");
                if let Ok(text) = text {
                    certificate::verify(&text, &world.vault.verifier_key()).unwrap();
                }
            }
        },
    )
    .await;
}
