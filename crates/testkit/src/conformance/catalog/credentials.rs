//! Tokens, users, sessions, challenges.

use callvault_core::{Day, id::UserId};
use callvault_store::{
    LAST_WAY_IN, StoreError,
    rows::{TokenRow, UserRow},
};
use futures::future::join_all;

use crate::conformance::{
    backends::CatalogBackend,
    checks::conflicts,
    rows::{add_account, at, begin, challenge, id, session, token, user},
};

fn locks_out<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::Conflict { what }) if what == LAST_WAY_IN),
        "{result:?}"
    );
}

/// A token and its successor.
pub async fn tokens_are_rotated_once(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let narrowed = TokenRow {
        scopes: Some("records:read logs".to_owned()),
        label: Some(vec![9; 30]),
        person: Some("u1".to_owned()),
        expires_at: Some(at(900)),
        ..token(&acme, "old", "developer")
    };
    catalog.insert_token(&narrowed).await.expect("a token");
    assert_eq!(catalog.find_token("old").await.expect("read"), Some(narrowed));
    catalog.touch_token(&acme, "old", Day(20_000)).await.expect("noted");
    let next = |key: &str| token(&acme, key, "developer");
    conflicts(catalog.rotate_token("old", at(900), at(950), &next("late")).await);
    conflicts(catalog.rotate_token("unknown", at(5), at(50), &next("none")).await);
    // Two who rotate at once: one successor, and nothing of the other's.
    let (one, two) = (next("one"), next("two"));
    let both = join_all([&one, &two].map(|new| catalog.rotate_token("old", at(5), at(50), new))).await;
    assert_eq!(both.iter().filter(|done| done.is_ok()).count(), 1, "{both:?}");
    let old = catalog.find_token("old").await.expect("read").expect("still there");
    assert_eq!((old.expires_at, old.used_day), (Some(at(50)), Some(Day(20_000))));
    let tokens = catalog.list_tokens(&acme).await.expect("tokens");
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    assert!(
        tokens
            .iter()
            .any(|token| old.successor.as_ref() == Some(&token.token_key))
    );
}

/// The owner's last way in.
pub async fn the_owner_keeps_a_way_in(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    for (account, key, role) in [
        (&acme, "k1", "owner"),
        (&acme, "k2", "owner"),
        (&acme, "k3", "admin"),
        (&other, "k4", "owner"),
    ] {
        catalog.insert_token(&token(account, key, role)).await.expect("a token");
    }
    let narrowed = TokenRow {
        scopes: Some("logs".to_owned()),
        ..token(&acme, "k5", "owner")
    };
    catalog.insert_token(&narrowed).await.expect("a token");
    // However many take one away at once, one stays.
    let (one, two) = (
        catalog.revoke_spare_token(&acme, "k1", at(5)),
        catalog.revoke_spare_token(&acme, "k2", at(5)),
    );
    let both = futures::join!(one, two);
    let revoked = [&both.0, &both.1]
        .iter()
        .filter(|done| matches!(done, Ok(true)))
        .count();
    assert_eq!(revoked, 1, "{both:?}");
    let left = if matches!(both.0, Ok(true)) { "k2" } else { "k1" };
    assert!(catalog.revoke_spare_token(&acme, "k3", at(6)).await.expect("spare"));
    assert!(catalog.revoke_spare_token(&acme, "k5", at(6)).await.expect("narrowed"));
    locks_out(catalog.revoke_spare_token(&acme, left, at(6)).await);
    let owner = user(Some(&acme), "owner");
    let invited = UserRow {
        joined_at: None,
        ..owner.clone()
    };
    catalog.insert_user(&invited).await.expect("a user");
    locks_out(catalog.revoke_spare_token(&acme, left, at(7)).await);
    catalog.put_user(&owner, at(7), false).await.expect("joined");
    assert!(catalog.revoke_spare_token(&acme, left, at(8)).await.expect("revoked"));
    let changed = |role: &str, disabled: bool| UserRow {
        role: role.to_owned(),
        disabled_at: disabled.then_some(at(9)),
        version: 1,
        ..owner.clone()
    };
    locks_out(catalog.put_user(&changed("admin", false), at(9), true).await);
    locks_out(catalog.put_user(&changed("owner", true), at(9), true).await);
    locks_out(catalog.delete_user(Some(&acme), owner.id, at(9)).await);
    let found = catalog.find_user(Some(&acme), owner.id).await.expect("read");
    assert_eq!(found, Some(changed("owner", false)), "nothing half-done");
}

/// Users.
pub async fn users_are_found_changed_and_removed(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (other, _) = add_account(&catalog, "other").await;
    let person = user(Some(&acme), "developer");
    catalog.insert_user(&person).await.expect("a user");
    let twin = UserRow {
        id: UserId(id()),
        ..person.clone()
    };
    conflicts(catalog.insert_user(&twin).await);
    // The same address is another person elsewhere.
    for account in [Some(other.clone()), None] {
        let elsewhere = UserRow {
            account: account.clone(),
            ..twin.clone()
        };
        catalog.insert_user(&elsewhere).await.expect("a user elsewhere");
        let found = catalog.find_user_by_email(account.as_ref(), person.email).await;
        assert_eq!(found.expect("read"), Some(elsewhere));
    }
    assert_eq!(catalog.find_user(None, person.id).await.expect("read"), None);
    assert_eq!(
        catalog.list_users(Some(&acme)).await.expect("users"),
        std::slice::from_ref(&person)
    );
    let changed = UserRow {
        role: "auditor".to_owned(),
        body: vec![1],
        email: id(),
        ..person.clone()
    };
    catalog.put_user(&changed, at(3), false).await.expect("changed");
    conflicts(catalog.put_user(&changed, at(3), false).await);
    let found = catalog
        .find_user(Some(&acme), person.id)
        .await
        .expect("read")
        .expect("there");
    assert_eq!(
        (found.version, found.role.as_str(), found.email),
        (1, "auditor", changed.email)
    );
    assert!(
        catalog
            .delete_user(Some(&acme), person.id, at(4))
            .await
            .expect("removed")
    );
    assert!(!catalog.delete_user(Some(&acme), person.id, at(4)).await.expect("gone"));
    assert_eq!(catalog.list_users(None).await.expect("the operator's").len(), 1);
}

/// Sessions.
pub async fn sessions_end_with_what_they_hang_on(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (person, operator) = (user(Some(&acme), "owner"), user(None, "operator"));
    for user in [&person, &operator] {
        catalog.insert_user(user).await.expect("a user");
    }
    for (user, hash, seen) in [(&person, 1, 3), (&person, 2, 9), (&operator, 3, 9)] {
        catalog
            .insert_session(&session(user, hash, seen), None)
            .await
            .expect("a session");
    }
    catalog
        .insert_session(&session(&person, 4, 5), Some(&[1; 32]))
        .await
        .expect("renewed");
    assert_eq!(catalog.find_session(&[1; 32]).await.expect("read"), None);
    assert_eq!(
        catalog.find_session(&[4; 32]).await.expect("read"),
        Some(session(&person, 4, 5))
    );
    catalog.touch_session(&[4; 32], at(7)).await.expect("noted");
    catalog.touch_session(&[4; 32], at(6)).await.expect("late");
    let listed = catalog.list_sessions(Some(&acme), person.id).await.expect("sessions");
    assert_eq!(listed, [session(&person, 2, 9), session(&person, 4, 7)]);
    assert_eq!(catalog.sweep_sessions(at(2), at(0)).await.expect("swept"), 0);
    assert!(catalog.delete_session(&[4; 32]).await.expect("ended"));
    assert!(catalog.delete_session(&[2; 32]).await.expect("ended"));
    assert!(!catalog.delete_session(&[2; 32]).await.expect("ended before"));
    catalog
        .insert_session(&session(&person, 5, 9), None)
        .await
        .expect("a session");
    let spare = user(Some(&acme), "owner");
    catalog.insert_user(&spare).await.expect("another owner");
    let disabled = UserRow {
        disabled_at: Some(at(9)),
        ..person.clone()
    };
    catalog.put_user(&disabled, at(9), true).await.expect("disabled");
    assert_eq!(catalog.find_session(&[5; 32]).await.expect("read"), None);
    conflicts(catalog.insert_session(&session(&person, 6, 9), None).await);
    conflicts(
        catalog
            .insert_session(&session(&user(Some(&acme), "owner"), 6, 9), None)
            .await,
    );
    assert!(catalog.find_session(&[3; 32]).await.expect("read").is_some());
    let old = session(&operator, 9, 9);
    catalog.insert_session(&old, None).await.expect("a session");
    assert_eq!(catalog.sweep_sessions(at(3), at(0)).await.expect("swept"), 2);
    catalog
        .insert_session(&session(&operator, 3, 9), None)
        .await
        .expect("a session");
    assert_eq!(catalog.disable_all_users(at(10)).await.expect("disabled"), 2);
    assert_eq!(catalog.find_session(&[3; 32]).await.expect("read"), None);
}

/// Challenges.
pub async fn a_question_is_asked_once(backend: &impl CatalogBackend) {
    let catalog = backend.open_migrated().await;
    let (acme, _) = begin(&catalog).await;
    let (person, operator) = (user(Some(&acme), "owner"), user(None, "operator"));
    for user in [&person, &operator] {
        catalog.insert_user(user).await.expect("a user");
    }
    let asked = challenge(&person, 7);
    catalog.insert_challenge(&asked).await.expect("asked");
    catalog.insert_challenge(&challenge(&operator, 8)).await.expect("asked");
    assert_eq!(catalog.take_challenge(None, &[7; 32]).await.expect("not theirs"), None);
    let takers = join_all((0..4).map(|_| catalog.take_challenge(Some(&acme), &[7; 32]))).await;
    let taken: Vec<_> = takers.into_iter().filter_map(|taken| taken.expect("read")).collect();
    assert_eq!(taken, [asked]);
    catalog.sweep_sessions(at(0), at(300)).await.expect("swept");
    assert_eq!(catalog.take_challenge(None, &[8; 32]).await.expect("too late"), None);
}
