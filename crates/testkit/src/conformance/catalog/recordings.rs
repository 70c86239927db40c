//! Recordings.

use callvault_core::{Day, Sid};
use callvault_store::rows::{RecordingDay, RecordingQuery, RecordingRow, Shred};

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts},
    rows::{add_account, add_recording, at, begin, loose, recording, shred},
};

/// Finding.
pub async fn recordings_are_found(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let call = loose(1).sid;
    let mut rows = Vec::new();
    for number in 0..12_u8 {
        let (mut row, key) = recording(&acme, i64::from(number) * 20_000, [number % 3, 100 + number]);
        row.call_sid = (number < 2).then_some(call);
        add_recording(&catalog, &row, &key).await;
        rows.push(row);
    }
    let (twin, twin_key) = recording(&acme, 1, [0, 0]);
    conflicts(
        catalog
            .insert_recording(
                &RecordingRow {
                    sid: rows[0].sid,
                    ..twin.clone()
                },
                &twin_key,
                "deleted/none",
            )
            .await,
    );
    conflicts(catalog.insert_recording(&twin, &twin_key, "deleted/none").await);
    assert!(
        catalog
            .find_keys(&acme, &[twin_key.key])
            .await
            .expect("keys")
            .is_empty(),
        "refused with its key"
    );
    assert_eq!(
        catalog.find_recording(&acme, rows[5].sid).await.expect("read").as_ref(),
        Some(&rows[5])
    );
    assert_eq!(catalog.find_recording(&other, rows[5].sid).await.expect("read"), None);

    let every = RecordingQuery {
        limit: 100,
        ..RecordingQuery::default()
    };
    let of_call = RecordingQuery {
        call_sid: Some(call),
        ..every.clone()
    };
    assert_eq!(catalog.list_recordings(&acme, &of_call).await.expect("read"), rows[..2]);
    let of_calls = RecordingQuery {
        call_sids: vec![call, Sid([9; 16])],
        ..every.clone()
    };
    assert_eq!(
        catalog.list_recordings(&acme, &of_calls).await.expect("read"),
        rows[..2]
    );
    let of_party = RecordingQuery {
        party: Some([1; 16]),
        newest_first: true,
        ..every.clone()
    };
    let found = catalog.list_recordings(&acme, &of_party).await.expect("read");
    let expected: Vec<_> = [10, 7, 4, 1].map(|place: usize| rows[place].clone()).into();
    assert_eq!(found, expected);
    let of_second = RecordingQuery {
        party: Some([104; 16]),
        from: Some(at(1)),
        ..every.clone()
    };
    assert_eq!(
        catalog.list_recordings(&acme, &of_second).await.expect("read"),
        rows[4..5]
    );
    let span = RecordingQuery {
        from: Some(rows[2].at),
        to: Some(rows[5].at),
        ..every.clone()
    };
    assert_eq!(catalog.list_recordings(&acme, &span).await.expect("read"), rows[2..5]);
    assert!(catalog.list_recordings(&other, &every).await.expect("read").is_empty());

    let days = |counts: [u64; 3]| {
        let day = |(number, count): (usize, u64)| {
            (count > 0).then(|| RecordingDay {
                day: Day(20_000 + number as i32),
                count,
                bytes: count * 1_000,
            })
        };
        counts.into_iter().enumerate().filter_map(day).collect::<Vec<_>>()
    };
    assert_eq!(catalog.list_recording_days(&acme).await.expect("days"), days([5, 4, 3]));
    let gone = rows[3..9].iter().map(|row| (row.sid, row.key)).collect();
    catalog
        .shred(&Shred {
            recordings: gone,
            ..shred(&acme, Vec::new())
        })
        .await
        .expect("shredded");
    assert_eq!(catalog.list_recording_days(&acme).await.expect("days"), days([3, 0, 3]));
    assert_eq!(catalog.list_garbage(99).await.expect("garbage").len(), 6);
    check(&catalog).await;
}

/// Paging, also among recordings of the same moment.
pub async fn recordings_page_in_both_orders(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    for number in 0..17 {
        let (row, key) = recording(&acme, number / 4, [1, 2]);
        add_recording(&catalog, &row, &key).await;
    }
    let mut orders = Vec::new();
    for (newest_first, party) in [
        (false, None),
        (true, None),
        (false, Some([2; 16])),
        (true, Some([2; 16])),
    ] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let query = RecordingQuery {
                after,
                newest_first,
                party,
                limit: 5,
                ..RecordingQuery::default()
            };
            let page = catalog.list_recordings(&acme, &query).await.expect("a page");
            let Some(last) = page.last() else { break };
            after = Some((last.at, last.sid));
            seen.extend(page.iter().map(|row| (row.at, row.sid)));
        }
        if newest_first {
            seen.reverse();
        }
        orders.push(seen);
    }
    assert_eq!(orders[0].len(), 17);
    assert!(orders[0].is_sorted());
    assert!(orders.iter().all(|order| *order == orders[0]));
}
