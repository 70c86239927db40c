//! After a restore: the published log's leaves come back, and what they destroyed goes again.

use std::collections::BTreeMap;

use callvault_core::{AccountSid, KeyId, Sid, TimeUs};

use super::{Attempt, Builder, Conn, documents, garbage, keys, log, query, shred};
use crate::{failure::conflict, rows::KeyPurpose};

#[derive(Default)]
struct Found {
    account: bool,
    partitions: Vec<KeyId>,
    recordings: Vec<KeyId>,
    documents: Vec<KeyId>,
    all: Vec<KeyId>,
}

/// Appends the leaves that are not there yet and destroys the keys they name. A leaf that is there must be the same.
pub(super) async fn execute_replay(
    conn: &mut Conn,
    first: u64,
    leaves: &[Vec<u8>],
    shreds: &[KeyId],
    at: TimeUs,
) -> Attempt<u64> {
    let size = log::lock_size(conn).await?;
    if first > size {
        return Err(conflict("the log: leaves are missing before these"));
    }
    let known = log::list_leaves(conn, first..size).await?;
    if leaves.iter().zip(&known).any(|(new, old)| new != old) {
        return Err(conflict("the log: the published one differs"));
    }
    for body in leaves.iter().skip(known.len()) {
        log::append_body(conn, None, Some(at), body).await?;
    }
    let mut gone = 0;
    for (account, found) in find_named(conn, shreds).await? {
        gone += found.all.len() as u64;
        shred::delete_keys(conn, &account, &found.all).await?;
        shred::delete_partitions(conn, &account, &found.partitions).await?;
        garbage::discard_partitions(conn, &account, None, &found.partitions).await?;
        let recordings = find_recordings(conn, &account, &found.recordings).await?;
        let objects = shred::delete_recordings(conn, &account, &recordings).await?;
        garbage::insert_objects(conn, &account, None, &objects).await?;
        let documents = documents::find_keyed(conn, &account, &found.documents).await?;
        documents::delete_documents(conn, &account, &documents).await?;
        if found.account {
            shred::strip_account(conn, &account, at).await?;
        }
    }
    Ok(gone)
}

async fn find_named(conn: &mut Conn, shreds: &[KeyId]) -> Attempt<BTreeMap<AccountSid, Found>> {
    let mut sorted = shreds.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut named: BTreeMap<AccountSid, Found> = BTreeMap::new();
    for portion in query::by_portion(&sorted) {
        let mut select = Builder::new("SELECT account, key, purpose FROM data_keys WHERE key IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|key| &key.0[..]));
        for row in select.build().fetch_all(&mut *conn).await? {
            let found = named.entry(query::account(&row, 0)?).or_default();
            let key = query::key(&row, 1)?;
            found.all.push(key);
            match keys::read_purpose(&row, 2)? {
                KeyPurpose::Account => found.account = true,
                KeyPurpose::Partition => found.partitions.push(key),
                KeyPurpose::Recording => found.recordings.push(key),
                KeyPurpose::Document => found.documents.push(key),
            }
        }
    }
    Ok(named)
}

async fn find_recordings(conn: &mut Conn, account: &AccountSid, keys: &[KeyId]) -> Attempt<Vec<(Sid, KeyId)>> {
    let mut found = Vec::with_capacity(keys.len());
    for portion in query::by_portion(keys) {
        let mut select = Builder::new("SELECT sid, key FROM recordings WHERE account = ");
        select.push_bind(account.as_str()).push(" AND key IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|key| &key.0[..]));
        for row in select.build().fetch_all(&mut *conn).await? {
            found.push((Sid(query::bytes16(&row, 0)?), query::key(&row, 1)?));
        }
    }
    Ok(found)
}
