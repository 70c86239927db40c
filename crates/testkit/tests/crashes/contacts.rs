//! Contacts and other documents: added, changed, put on lists, deleted, lapsed.

use callvault_app::{
    Account,
    contact::{Contact, List},
    document::{DocumentQuery, NewDocument},
};
use callvault_core::{AccountSid, Cause, DocumentKind, Reader, Sid};
use callvault_testkit::world::{Pair, World, at, number};

use super::super::{acme, fail_everywhere, text, tick};

fn contact(n: u32, name: &str) -> Contact {
    Contact {
        number: number(n),
        first_name: Some(name.to_owned()),
        last_name: None,
        company_name: None,
        email: None,
        tag: None,
        custom: None,
    }
}

/// An account with two contacts on a list.
async fn with_contacts(world: &World) -> (AccountSid, Sid, [Sid; 2]) {
    let sid = acme(world).await;
    let account = world.vault.get_account(&sid).await.unwrap();
    let list = List {
        name: "Diwali".to_owned(),
        tag: None,
    };
    let list = world
        .vault
        .create_lists(&account, vec![list])
        .await
        .unwrap()
        .remove(0)
        .unwrap()
        .id;
    let contacts = vec![contact(1, "one"), contact(2, "two")];
    let made = world
        .vault
        .create_contacts(&account, contacts, Some(list))
        .await
        .unwrap();
    let ids: Vec<Sid> = made.into_iter().map(|made| made.unwrap().id).collect();
    (sid, list, [ids[0], ids[1]])
}

/// One is changed, one goes, two come: each of it happens whole or not at all, in this order.
pub(super) async fn contact_changes(pair: Pair) {
    fail_everywhere(
        pair,
        10,
        with_contacts,
        async |vault, _, (sid, list, [first, second])| {
            let account = vault.get_account(sid).await.map_err(text)?;
            let renamed = |old: &Contact| contact(1, &old.full_name().replace("one", "new"));
            vault.update_contact(&account, *first, renamed).await.map_err(text)?;
            vault.delete_contacts(&account, &[*second]).await.map_err(text)?;
            let more = vec![contact(3, "three"), contact(4, "four")];
            for made in vault.create_contacts(&account, more, Some(*list)).await.map_err(text)? {
                // After a lost answer they are there already.
                made.map(|_| ())
                    .or_else(|error| match error.to_string().contains("Another") {
                        true => Ok(()),
                        false => Err(text(error)),
                    })?;
            }
            Ok(())
        },
        async |world, (sid, list, _), acknowledged, _, place| {
            let account = world.vault.get_account(sid).await.unwrap();
            let names = async |list: Option<Sid>| {
                let mut query = DocumentQuery {
                    list,
                    limit: 10,
                    ..DocumentQuery::default()
                };
                let found = world.vault.page_contacts(&account, &mut query).await.unwrap();
                let mut names: Vec<String> = found.iter().map(|found| found.body.full_name()).collect();
                names.sort();
                names
            };
            let all = names(None).await;
            let steps: [&[&str]; 4] = [&["one", "two"], &["new", "two"], &["new"], &["four", "new", "three"]];
            let at = steps.iter().position(|step| all == **step);
            assert!(at == Some(3) || at.is_some() && !acknowledged, "{place}: {all:?}");
            assert_eq!(names(Some(*list)).await, all, "{place}: everybody is on the list");
            let list = world.vault.get_list(&account, *list).await.unwrap();
            assert_eq!(list.members as usize, all.len(), "{place}");
        },
    )
    .await;
}

/// A document whose term is over goes, whatever fails.
pub(super) async fn contact_term(pair: Pair) {
    fail_everywhere(
        pair,
        6,
        async |world: &World| {
            let (sid, _, _) = with_contacts(world).await;
            let account = world.vault.get_account(&sid).await.unwrap();
            let now = world.vault.now();
            let new = [1, 2].map(|n| NewDocument {
                id: Account::fresh_sid(now).unwrap(),
                at: now,
                name: Some([n; 16]),
                body: n,
            });
            let added = world
                .vault
                .insert_documents(&account, DocumentKind::Campaign, &new, None)
                .await;
            assert_eq!(added.unwrap(), [true, true]);
            sid
        },
        async |vault, world, _| {
            world.clock.advance_to(at("2028-03-02T12:00:00Z"));
            tick(vault).await
        },
        async |world, sid, _, settled, place| {
            let account = world.vault.get_account(sid).await.unwrap();
            let campaigns = world
                .vault
                .count_documents(&account, DocumentKind::Campaign)
                .await
                .unwrap();
            let contacts = world
                .vault
                .count_documents(&account, DocumentKind::Contact)
                .await
                .unwrap();
            assert_eq!(contacts, 2, "{place}: a contact has no term");
            let query = DocumentQuery {
                limit: 10,
                ..DocumentQuery::default()
            };
            let found = world
                .vault
                .list_documents::<u8>(&account, DocumentKind::Campaign, &query, Reader::Compliance);
            assert_eq!(found.await.unwrap().len(), 0, "{place}: readable after its term");
            if settled {
                assert_eq!(campaigns, 0, "{place}");
                let leaves = world.vault.list_deletions(sid, None, 100).await.unwrap();
                let gone: u64 = leaves
                    .iter()
                    .filter(|leaf| leaf.cause == Cause::Term && leaf.class == Some(DocumentKind::Campaign.class()))
                    .map(|leaf| leaf.records)
                    .sum();
                assert_eq!(gone, 2, "{place}: each deletion has one leaf");
            }
        },
    )
    .await;
}
