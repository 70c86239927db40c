//! Documents and memberships.

use callvault_core::{DocumentKind, Sid};
use callvault_store::{
    StoreError,
    rows::{DocumentQuery, DocumentRow, KeyPurpose, Replaced, Shred},
};

use crate::conformance::{
    backends::CatalogBackend,
    checks::{check, conflicts},
    rows::{add_account, at, begin, document, key, shred},
};

const CONTACT: DocumentKind = DocumentKind::Contact;
const LIST: DocumentKind = DocumentKind::List;

/// Of two documents of a kind and account one has a name; another kind and another account may have it too.
pub async fn a_name_is_had_once(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let new = [
        document(&acme, CONTACT, 1, Some(7)),
        document(&acme, CONTACT, 2, Some(7)),
        document(&acme, CONTACT, 3, None),
        document(&acme, CONTACT, 4, None),
        document(&acme, CONTACT, 5, Some(8)),
    ];
    let mut added = catalog.insert_documents(&new, None).await.expect("added");
    assert_eq!(added.split_off(2), [true, true, true]);
    assert_eq!(
        added.iter().filter(|added| **added).count(),
        1,
        "one of two has the name"
    );
    for (row, key) in [document(&acme, LIST, 1, Some(7)), document(&other, CONTACT, 1, Some(7))] {
        assert_eq!(
            catalog.insert_documents(&[(row, key)], None).await.expect("added"),
            [true]
        );
    }
    let (again, again_key) = document(&acme, CONTACT, 9, Some(8));
    assert_eq!(
        catalog
            .insert_documents(&[(again, again_key.clone())], None)
            .await
            .expect("an answer"),
        [false]
    );
    let keys = catalog.find_keys(&acme, &[again_key.key]).await.expect("keys");
    assert!(keys.is_empty(), "left out with its key");
    let named = catalog.find_named(&acme, CONTACT, [8; 16]).await.expect("read");
    assert_eq!(named, Some(new[4].0.clone()));
    assert_eq!(catalog.find_named(&other, CONTACT, [8; 16]).await.expect("read"), None);
    assert_eq!(
        catalog.count_documents(&acme, CONTACT).await.expect("a count"),
        (4, 160)
    );
    check(&catalog).await;
}

/// A change has a new key, of which the old version knows nothing; of two changes one wins.
pub async fn a_change_destroys_the_old_key(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let new = [
        document(&acme, CONTACT, 1, Some(1)),
        document(&acme, CONTACT, 2, Some(2)),
    ];
    catalog.insert_documents(&new, None).await.expect("added");
    let old = &new[0].0;
    let changed = |name: u8| {
        let key = key(&acme, KeyPurpose::Document, 1);
        let row = DocumentRow {
            name: Some([name; 16]),
            version: 1,
            updated_at: at(50),
            key: key.key,
            body: vec![name; 44],
            ..old.clone()
        };
        (row, key)
    };
    let (taken, taken_key) = changed(2);
    assert_eq!(
        catalog.replace_document(&taken, &taken_key).await.expect("an answer"),
        Replaced::NameTaken
    );
    let (first, first_key) = changed(3);
    assert_eq!(
        catalog.replace_document(&first, &first_key).await.expect("changed"),
        Replaced::Done
    );
    let (second, second_key) = changed(4);
    conflicts(catalog.replace_document(&second, &second_key).await);
    assert_eq!(
        catalog.find_documents(&acme, CONTACT, &[old.id]).await.expect("read"),
        [first]
    );
    let keys = [old.key, taken_key.key, first_key.key, second_key.key];
    let there = catalog.find_keys(&acme, &keys).await.expect("keys");
    assert_eq!(there, [first_key], "the old key is gone, and no other came");
    // A deletion that was decided on the old version takes nothing.
    let stale = Shred {
        documents: vec![(CONTACT, old.id, old.key)],
        ..shred(&acme, Vec::new())
    };
    conflicts(catalog.shred(&stale).await);
    assert_eq!(catalog.count_documents(&acme, CONTACT).await.expect("a count").0, 2);
    check(&catalog).await;
}

/// Memberships are counted, and go with what they join.
pub async fn lists_count_their_members(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let lists = [document(&acme, LIST, 1, Some(1)), document(&acme, LIST, 2, Some(2))];
    catalog.insert_documents(&lists, None).await.expect("lists");
    let [first, second] = [lists[0].0.id, lists[1].0.id];
    let contacts: Vec<_> = (0..5)
        .map(|n| document(&acme, CONTACT, n, Some(100 + n as u8)))
        .collect();
    catalog
        .insert_documents(&contacts, Some(first))
        .await
        .expect("contacts");
    let ids: Vec<Sid> = contacts.iter().map(|(row, _)| row.id).collect();
    let absent = document(&acme, CONTACT, 77, None).0.id;
    let asked = [ids[0], absent, ids[3], ids[0]];
    let added = catalog
        .add_members(&acme, second, CONTACT, &asked, at(9))
        .await
        .expect("members");
    assert_eq!(added, [true, false, true, false]);
    let again = catalog
        .add_members(&acme, first, CONTACT, &ids[..1], at(9))
        .await
        .expect("an answer");
    assert_eq!(again, [false]);
    for (account, list) in [(&other, first), (&acme, ids[0]), (&acme, absent)] {
        let refused = catalog.add_members(account, list, CONTACT, &ids[..1], at(9)).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    }
    check(&catalog).await;
    let mut of = catalog.list_memberships(&acme, &ids[..1]).await.expect("memberships");
    of.sort_unstable();
    let mut expected = vec![(ids[0], first), (ids[0], second)];
    expected.sort_unstable();
    assert_eq!(of, expected);
    assert!(catalog.remove_member(&acme, first, ids[4]).await.expect("removed"));
    assert!(!catalog.remove_member(&acme, first, ids[4]).await.expect("an answer"));
    assert!(!catalog.remove_member(&other, first, ids[0]).await.expect("an answer"));
    // A contact goes from every list; a list goes without its contacts.
    let gone = Shred {
        documents: vec![(CONTACT, ids[0], contacts[0].0.key), (LIST, first, lists[0].0.key)],
        ..shred(&acme, Vec::new())
    };
    let leaf = catalog.shred(&gone).await.expect("shredded");
    check(&catalog).await;
    let of_second = DocumentQuery {
        list: Some(second),
        limit: 10,
        ..DocumentQuery::default()
    };
    let left = catalog
        .list_documents(&acme, CONTACT, &of_second)
        .await
        .expect("members");
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[3]]);
    assert_eq!(catalog.count_documents(&acme, CONTACT).await.expect("a count").0, 4);
    let destruction = catalog
        .find_destruction(leaf)
        .await
        .expect("read")
        .expect("a destruction");
    assert_eq!(
        destruction.purged_at,
        Some(at(1_000)),
        "nothing of them is left to remove"
    );
}

/// Paging by moment, by offset and over all accounts.
pub async fn documents_are_listed_in_pages(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let mut rows = Vec::new();
    for number in 0..11 {
        let account = if number % 3 == 0 { &other } else { &acme };
        let new = document(account, DocumentKind::Campaign, number / 2, None);
        rows.push(new.0.clone());
        catalog.insert_documents(&[new], None).await.expect("added");
    }
    rows.sort_by_key(|row| (row.at, row.id));
    let mine: Vec<_> = rows.iter().filter(|row| row.account == acme).cloned().collect();
    for newest_first in [false, true] {
        let (mut seen, mut after, mut offset) = (Vec::new(), None, 1);
        loop {
            let query = DocumentQuery {
                after,
                newest_first,
                offset,
                limit: 2,
                ..DocumentQuery::default()
            };
            let page = catalog
                .list_documents(&acme, DocumentKind::Campaign, &query)
                .await
                .expect("a page");
            let Some(last) = page.last() else { break };
            (after, offset) = (Some((last.at, last.id)), 0);
            seen.extend(page);
        }
        if newest_first {
            seen.reverse();
            assert_eq!(seen, mine[..mine.len() - 1]);
        } else {
            assert_eq!(seen, mine[1..]);
        }
    }
    let (mut seen, mut last) = (Vec::new(), None::<DocumentRow>);
    loop {
        let place = last.as_ref().map(|row| (row.at, &row.account, row.id));
        let page = catalog
            .list_documents_before(DocumentKind::Campaign, at(4), place, 3)
            .await
            .expect("a page");
        let Some(row) = page.last() else { break };
        last = Some(row.clone());
        seen.extend(page);
    }
    let mut expected: Vec<_> = rows.into_iter().filter(|row| row.at < at(4)).collect();
    expected.sort_by(|a, b| (a.at, &a.account, a.id).cmp(&(b.at, &b.account, b.id)));
    assert_eq!(seen, expected);
}
