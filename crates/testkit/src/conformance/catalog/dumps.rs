//! Dump and load.

use std::sync::Arc;

use callvault_core::{DocumentKind, id::HoldId};
use callvault_store::{
    Catalog, StoreError,
    rows::{HoldRow, SegmentInsert, Shred, Tombstone},
};

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts, contents, dump},
    rows::{
        RULES_VERSION, add_recording, at, begin, challenge, document, epoch, fill, id, job, leaf, open_one, packed,
        recording, segment, session, shred, stage, token, user,
    },
};

/// Puts something into every table.
///
/// # Panics
/// When the catalog refuses.
pub async fn populate(catalog: &Arc<dyn Catalog>) {
    let (acme, _) = begin(catalog).await;
    catalog.put_value("region", b"in").await.expect("a value");
    let hold = HoldRow {
        account: acme.clone(),
        hold: HoldId(id()),
        rule: "{\"é\":\"\\\"\\n\"}".to_owned(),
        note: vec![0, 255],
        lifted_at: Some(at(3)),
    };
    catalog.insert_hold(&hold).await.expect("a hold");
    let (kept, gone) = (open_one(catalog, &acme, 1).await, open_one(catalog, &acme, -2).await);
    let rows = fill(catalog, &kept, 300).await;
    fill(catalog, &gone, 3).await;
    let large = segment(10);
    stage(catalog, &acme, &large).await;
    stage(catalog, &acme, &segment(11)).await;
    let inserts = [large, packed(4)].map(|segment| SegmentInsert {
        partition: kept.clone(),
        segment,
    });
    catalog.insert_segments(&inserts, None).await.expect("segments");
    let hidden = Tombstone {
        sid: rows[0].sid,
        at: at(9),
    };
    catalog
        .erase(&acme, RULES_VERSION + 1, &[(kept.clone(), hidden)], &leaf("erase"))
        .await
        .expect("hidden");
    let list = document(&acme, DocumentKind::List, 1, Some(1));
    let id = list.0.id;
    catalog.insert_documents(&[list], None).await.expect("a list");
    let contacts = [1, 2].map(|n| document(&acme, DocumentKind::Contact, n, (n == 1).then_some(1)));
    catalog.insert_documents(&contacts, Some(id)).await.expect("contacts");
    let shred = Shred {
        rules_version: RULES_VERSION + 1,
        ..shred(&acme, vec![gone])
    };
    catalog.shred(&shred).await.expect("shredded");
    let (row, key) = recording(&acme, 1, [1, 2]);
    add_recording(catalog, &row, &key).await;
    catalog.enqueue(&job("j", "import", at(0))).await.expect("a job");
    let mut token = token(&acme, "k1", "owner");
    (token.scopes, token.label) = (Some("logs".to_owned()), Some(vec![1, 2]));
    catalog.insert_token(&token).await.expect("a token");
    for person in [user(Some(&acme), "owner"), user(None, "operator")] {
        catalog.insert_user(&person).await.expect("a user");
        let number = person.account.as_ref().map_or(1, |_| 2);
        catalog
            .insert_session(&session(&person, number, 3), None)
            .await
            .expect("a session");
        catalog
            .insert_challenge(&challenge(&person, number))
            .await
            .expect("a question");
    }
    catalog.insert_epoch(&epoch(2)).await.expect("an epoch");
}

/// There and back within one engine; the loaded catalog goes on.
pub async fn a_dump_loads_into_an_empty_catalog(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    populate(&catalog).await;
    check(&catalog).await;
    let text = dump(&catalog).await;
    conflicts(catalog.load(&mut text.as_bytes(), &[]).await);
    drop(catalog);
}

/// Damaged dumps.
pub async fn a_damaged_dump_loads_nothing(backend: &impl CatalogBackend) {
    let source = crate::conformance::backends::SqliteFile::start().await.expect("SQLite");
    let source = source.open_migrated().await;
    populate(&source).await;
    let text = dump(&source).await;
    let catalog = backend.open_migrated().await;
    let empty = contents(&catalog).await;
    let lines: Vec<&str> = text.lines().collect();
    let without = |place: usize| {
        let mut left = lines.clone();
        left.remove(place);
        left.join("\n")
    };
    let leaf = lines
        .iter()
        .position(|line| line.starts_with("[\"log\""))
        .expect("a leaf");
    let damaged = [
        String::new(),
        "{}".to_owned(),
        without(0),
        without(5),
        without(leaf),
        without(lines.len() - 1),
        text[..text.len() / 2].to_owned(),
        text.replace("[\"loose\"", "[\"unknown\""),
        text.replacen("\"version\":", "\"version\":99", 1),
        text.replace("[\"epochs\",1,", "[\"epochs\",\"1\","),
        format!("{text}[\"end\",0]\n"),
        text.replacen(lines[7], &format!("{}\n{}", lines[7], lines[7]), 1),
    ];
    for (number, damaged) in damaged.iter().enumerate() {
        let refused = catalog.load(&mut damaged.as_bytes(), &[]).await;
        assert!(
            matches!(refused, Err(StoreError::Damaged { .. })),
            "{number}: {refused:?}"
        );
    }
    assert_eq!(contents(&catalog).await, empty, "nothing of a damaged dump stays");
    catalog.load(&mut text.as_bytes(), &[]).await.expect("the whole dump");
    assert_eq!(dump(&catalog).await, text, "the same text from every engine");
    check(&catalog).await;
    let acme = "acme".parse().expect("a name");
    assert_eq!(
        catalog
            .append_leaf(None, at(1), &crate::conformance::rows::leaf("next"))
            .await
            .expect("a leaf"),
        2
    );
    let before = catalog.list_garbage(99).await.expect("garbage").len();
    let (row, _) = recording(&acme, 1, [1, 2]);
    assert_eq!(catalog.find_recording(&acme, row.sid).await.expect("read"), None);
    let partitions = catalog
        .list_unsealed(1, callvault_core::Day(9), 9)
        .await
        .expect("partitions");
    let shred = Shred {
        rules_version: RULES_VERSION + 1,
        ..shred(&acme, vec![partitions[0].reference()])
    };
    catalog.shred(&shred).await.expect("new garbage gets new numbers");
    assert!(catalog.list_garbage(99).await.expect("garbage").len() > before);
}

/// A dump of the first schema: without later tables, and with shorter rows.
pub async fn an_older_dump_loads(backend: &impl CatalogBackend) {
    let source = crate::conformance::backends::SqliteFile::start().await.expect("SQLite");
    let source = source.open_migrated().await;
    populate(&source).await;
    let text = dump(&source).await;
    let later = ["[\"users\"", "[\"sessions\"", "[\"challenges\""];
    let mut rows = Vec::new();
    for line in text
        .lines()
        .filter(|line| !later.iter().any(|table| line.starts_with(table)))
    {
        let mut values: serde_json::Value = serde_json::from_str(line).expect("JSON");
        match values.get(0).and_then(serde_json::Value::as_str) {
            Some("tokens") => values.as_array_mut().expect("a row").truncate(7),
            Some("end") => values[1] = (rows.len() - 1).into(),
            None => values["version"] = 1.into(),
            Some(_) => {}
        }
        rows.push(values.to_string());
    }
    let catalog = backend.open_migrated().await;
    let older = rows.join("\n") + "\n";
    catalog
        .load(&mut older.as_bytes(), &[])
        .await
        .expect("a dump of the first schema");
    let token = catalog.find_token("k1").await.expect("read").expect("the token");
    assert_eq!((token.role.as_str(), token.scopes), ("owner", None));
    // The same rows under the present version are short.
    let present = text.lines().next().expect("a header");
    let newer = older.replacen(&rows[0], present, 1);
    let empty = crate::conformance::backends::SqliteFile::start().await.expect("SQLite");
    let refused = empty.open_migrated().await.load(&mut newer.as_bytes(), &[]).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
}
