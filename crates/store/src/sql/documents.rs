//! Documents, and which are members of which list.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use callvault_core::{AccountSid, DocumentKind, KeyId, Sid, TimeUs};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Attempt, Backend, Builder, Conn, Result, Row, dialect, keys, query, read, shred, transact};
use crate::{
    Documents, StoreError,
    failure::{conflict, damaged},
    rows::{DocumentQuery, DocumentRow, KeyRow, Replaced},
};

/// Columns of a document, of table `d`.
const DOCUMENT: &str = "d.account, d.kind, d.id, d.name, d.at, d.updated_at, d.version, d.members, d.key, d.body";

fn read_document(row: &Row) -> Attempt<DocumentRow> {
    let name: Option<&[u8]> = row.try_get(3)?;
    let name = name.map(<[u8; 16]>::try_from).transpose();
    let kind = row.try_get::<&str, _>(1)?.parse();
    Ok(DocumentRow {
        account: query::account(row, 0)?,
        kind: kind.map_err(|_| damaged("a document has an unknown kind"))?,
        id: Sid(query::bytes16(row, 2)?),
        name: name.map_err(|_| damaged("a name's hash has another length"))?,
        at: TimeUs(row.try_get(4)?),
        updated_at: TimeUs(row.try_get(5)?),
        version: row.try_get(6)?,
        members: query::count(row, 7)?,
        key: query::key(row, 8)?,
        body: row.try_get(9)?,
    })
}

/// Adds the documents whose id and name are free; returns their ids.
async fn insert_rows(conn: &mut Conn, new: &[&(DocumentRow, KeyRow)]) -> Attempt<HashSet<Sid>> {
    let mut added = HashSet::new();
    for portion in query::by_portion(new) {
        let mut insert = Builder::new(
            "INSERT INTO documents (account, kind, id, name, at, updated_at, version, members, key, body) ",
        );
        insert.push_values(portion, |mut values, (row, _)| {
            values
                .push_bind(row.account.as_str())
                .push_bind(row.kind.as_str())
                .push_bind(&row.id.0[..])
                .push_bind(row.name.as_ref().map(|name| &name[..]))
                .push_bind(row.at.0)
                .push_bind(row.updated_at.0)
                .push_bind(row.version)
                .push_bind(0_i64)
                .push_bind(&row.key.0[..])
                .push_bind(&row.body);
        });
        insert.push(" ON CONFLICT DO NOTHING RETURNING id");
        for row in insert.build().fetch_all(&mut *conn).await? {
            added.insert(Sid(query::bytes16(&row, 0)?));
        }
    }
    Ok(added)
}

async fn insert_documents(conn: &mut Conn, new: &[(DocumentRow, KeyRow)], list: Option<Sid>) -> Attempt<Vec<bool>> {
    let Some((first, _)) = new.first() else {
        return Ok(Vec::new());
    };
    let account = first.account.clone();
    query::require_open_account(conn, &account).await?;
    if let Some(list) = list {
        lock_list(conn, &account, list).await?;
    }
    // In the order of their names, so that two requests with the same names do not wait for each other.
    let mut sorted: Vec<&(DocumentRow, KeyRow)> = new.iter().collect();
    sorted.sort_by_key(|(row, _)| (row.name, row.id));
    sorted.dedup_by_key(|(row, _)| row.id);
    let added = insert_rows(conn, &sorted).await?;
    let kept: Vec<KeyRow> = sorted
        .iter()
        .filter(|(row, _)| added.contains(&row.id))
        .map(|(_, key)| key.clone())
        .collect();
    keys::insert_keys(conn, &kept).await?;
    if let Some(list) = list {
        let members: Vec<Sid> = added.iter().copied().collect();
        insert_members(conn, &account, list, &members, first.at).await?;
    }
    let mut left = added;
    Ok(new.iter().map(|(row, _)| left.remove(&row.id)).collect())
}

/// Checks that there is such a list, and keeps it until the end of the transaction.
async fn lock_list(conn: &mut Conn, account: &AccountSid, list: Sid) -> Attempt<()> {
    let select = format!(
        "SELECT id FROM documents WHERE account = $1 AND kind = $2 AND id = $3{}",
        dialect::FOR_UPDATE
    );
    let found = sqlx::query(AssertSqlSafe(select))
        .bind(account.as_str())
        .bind(DocumentKind::List.as_str())
        .bind(&list.0[..])
        .fetch_optional(conn)
        .await?;
    match found {
        Some(_) => Ok(()),
        None => Err(StoreError::NotFound { what: "list" }.into()),
    }
}

/// Adds members to a list that is locked; returns those that are new there.
async fn insert_members(
    conn: &mut Conn,
    account: &AccountSid,
    list: Sid,
    members: &[Sid],
    at: TimeUs,
) -> Attempt<HashSet<Sid>> {
    let mut added = HashSet::new();
    for portion in query::by_portion(members) {
        let mut insert = Builder::new("INSERT INTO members (account, list, member, added_at) ");
        insert.push_values(portion, |mut values, member| {
            values
                .push_bind(account.as_str())
                .push_bind(&list.0[..])
                .push_bind(&member.0[..])
                .push_bind(at.0);
        });
        insert.push(" ON CONFLICT DO NOTHING RETURNING member");
        for row in insert.build().fetch_all(&mut *conn).await? {
            added.insert(Sid(query::bytes16(&row, 0)?));
        }
    }
    count_members(conn, account, list, query::stored_len(added.len())).await?;
    Ok(added)
}

async fn count_members(conn: &mut Conn, account: &AccountSid, list: Sid, change: i64) -> Attempt<()> {
    sqlx::query("UPDATE documents SET members = members + $1 WHERE account = $2 AND kind = $3 AND id = $4")
        .bind(change)
        .bind(account.as_str())
        .bind(DocumentKind::List.as_str())
        .bind(&list.0[..])
        .execute(conn)
        .await?;
    Ok(())
}

async fn add_members(
    conn: &mut Conn,
    account: &AccountSid,
    list: Sid,
    kind: DocumentKind,
    members: &[Sid],
    at: TimeUs,
) -> Attempt<Vec<bool>> {
    query::require_open_account(conn, account).await?;
    lock_list(conn, account, list).await?;
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut there = Vec::with_capacity(sorted.len());
    for portion in query::by_portion(&sorted) {
        let mut select = Builder::new("SELECT id FROM documents WHERE account = ");
        select
            .push_bind(account.as_str())
            .push(" AND kind = ")
            .push_bind(kind.as_str())
            .push(" AND id IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|id| &id.0[..]));
        // A member is not deleted while it is added.
        select.push(" ORDER BY id").push(dialect::FOR_SHARE);
        for row in select.build().fetch_all(&mut *conn).await? {
            there.push(Sid(query::bytes16(&row, 0)?));
        }
    }
    let mut added = insert_members(conn, account, list, &there, at).await?;
    Ok(members.iter().map(|member| added.remove(member)).collect())
}

async fn remove_member(conn: &mut Conn, account: &AccountSid, list: Sid, member: Sid) -> Attempt<bool> {
    let done = sqlx::query("DELETE FROM members WHERE account = $1 AND list = $2 AND member = $3")
        .bind(account.as_str())
        .bind(&list.0[..])
        .bind(&member.0[..])
        .execute(&mut *conn)
        .await?;
    let removed = done.rows_affected() == 1;
    if removed {
        count_members(conn, account, list, -1).await?;
    }
    Ok(removed)
}

async fn list_memberships(conn: &mut Conn, account: &AccountSid, members: &[Sid]) -> Attempt<Vec<(Sid, Sid)>> {
    let mut found = Vec::new();
    for portion in query::by_portion(members) {
        let mut select = Builder::new("SELECT member, list FROM members WHERE account = ");
        select.push_bind(account.as_str()).push(" AND member IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|id| &id.0[..]));
        select.push(" ORDER BY member, added_at, list");
        for row in select.build().fetch_all(&mut *conn).await? {
            found.push((Sid(query::bytes16(&row, 0)?), Sid(query::bytes16(&row, 1)?)));
        }
    }
    Ok(found)
}

async fn find_documents(
    conn: &mut Conn,
    account: &AccountSid,
    kind: DocumentKind,
    ids: &[Sid],
) -> Attempt<Vec<DocumentRow>> {
    let mut found = Vec::with_capacity(ids.len());
    for portion in query::by_portion(ids) {
        let mut select = Builder::new(format!("SELECT {DOCUMENT} FROM documents AS d WHERE d.account = "));
        select
            .push_bind(account.as_str())
            .push(" AND d.kind = ")
            .push_bind(kind.as_str())
            .push(" AND d.id IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|id| &id.0[..]));
        for row in select.build().fetch_all(&mut *conn).await? {
            found.push(read_document(&row)?);
        }
    }
    Ok(found)
}

async fn find_named(
    conn: &mut Conn,
    account: &AccountSid,
    kind: DocumentKind,
    name: [u8; 16],
) -> Attempt<Option<DocumentRow>> {
    let select = format!("SELECT {DOCUMENT} FROM documents AS d WHERE d.account = $1 AND d.kind = $2 AND d.name = $3");
    let row = sqlx::query(AssertSqlSafe(select))
        .bind(account.as_str())
        .bind(kind.as_str())
        .bind(&name[..])
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_document).transpose()
}

async fn list_documents(
    conn: &mut Conn,
    account: &AccountSid,
    kind: DocumentKind,
    wanted: &DocumentQuery,
) -> Attempt<Vec<DocumentRow>> {
    let mut select = Builder::new(format!("SELECT {DOCUMENT} FROM "));
    match &wanted.list {
        Some(list) => {
            select.push(
                "members AS m JOIN documents AS d ON d.account = m.account AND d.id = m.member WHERE m.account = ",
            );
            select
                .push_bind(account.as_str())
                .push(" AND m.list = ")
                .push_bind(&list.0[..]);
        }
        None => {
            select
                .push("documents AS d WHERE d.account = ")
                .push_bind(account.as_str());
        }
    }
    select.push(" AND d.kind = ").push_bind(kind.as_str());
    if let Some((at, id)) = &wanted.after {
        select.push(if wanted.newest_first {
            " AND (d.at, d.id) < ("
        } else {
            " AND (d.at, d.id) > ("
        });
        select.push_bind(at.0).push(", ").push_bind(&id.0[..]).push(")");
    }
    let order = if wanted.newest_first {
        "d.at DESC, d.id DESC"
    } else {
        "d.at, d.id"
    };
    select
        .push(format!(" ORDER BY {order} LIMIT "))
        .push_bind(i64::from(wanted.limit));
    select.push(" OFFSET ").push_bind(i64::from(wanted.offset));
    let rows = select.build().fetch_all(conn).await?;
    rows.iter().map(read_document).collect()
}

async fn count_documents(conn: &mut Conn, account: &AccountSid, kind: DocumentKind) -> Attempt<(u64, u64)> {
    let select = "SELECT COUNT(*), CAST(COALESCE(SUM(length(body)), 0) AS BIGINT) FROM documents \
                  WHERE account = $1 AND kind = $2";
    let row = sqlx::query(select)
        .bind(account.as_str())
        .bind(kind.as_str())
        .fetch_one(conn)
        .await?;
    Ok((query::count(&row, 0)?, query::count(&row, 1)?))
}

async fn list_documents_before(
    conn: &mut Conn,
    kind: DocumentKind,
    before: TimeUs,
    after: Option<(TimeUs, &AccountSid, Sid)>,
    limit: u32,
) -> Attempt<Vec<DocumentRow>> {
    let mut select = Builder::new(format!("SELECT {DOCUMENT} FROM documents AS d WHERE d.kind = "));
    select.push_bind(kind.as_str()).push(" AND d.at < ").push_bind(before.0);
    if let Some((at, account, id)) = &after {
        select
            .push(" AND (d.at, d.account, d.id) > (")
            .push_bind(at.0)
            .push(", ");
        select
            .push_bind(account.as_str())
            .push(", ")
            .push_bind(&id.0[..])
            .push(")");
    }
    select
        .push(" ORDER BY d.at, d.account, d.id LIMIT ")
        .push_bind(i64::from(limit));
    let rows = select.build().fetch_all(conn).await?;
    rows.iter().map(read_document).collect()
}

async fn replace_document(conn: &mut Conn, row: &DocumentRow, key: &KeyRow) -> Attempt<Replaced> {
    query::require_open_account(conn, &row.account).await?;
    let select = format!(
        "SELECT key FROM documents WHERE account = $1 AND kind = $2 AND id = $3 AND version = $4{}",
        dialect::FOR_UPDATE
    );
    let there = sqlx::query(AssertSqlSafe(select))
        .bind(row.account.as_str())
        .bind(row.kind.as_str())
        .bind(&row.id.0[..])
        .bind(row.version - 1)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(there) = there else {
        return Err(conflict("a document"));
    };
    let old = query::key(&there, 0)?;
    if let Some(name) = row.name {
        let holder = find_named(conn, &row.account, row.kind, name).await?;
        if holder.is_some_and(|holder| holder.id != row.id) {
            return Ok(Replaced::NameTaken);
        }
    }
    keys::insert_keys(conn, std::slice::from_ref(key)).await?;
    let update = "UPDATE documents SET name = $1, updated_at = $2, version = $3, key = $4, body = $5 \
                  WHERE account = $6 AND kind = $7 AND id = $8";
    sqlx::query(update)
        .bind(row.name.as_ref().map(|name| &name[..]))
        .bind(row.updated_at.0)
        .bind(row.version)
        .bind(&row.key.0[..])
        .bind(&row.body)
        .bind(row.account.as_str())
        .bind(row.kind.as_str())
        .bind(&row.id.0[..])
        .execute(&mut *conn)
        .await?;
    shred::delete_keys(conn, &row.account, &[old]).await?;
    Ok(Replaced::Done)
}

/// The documents that have these keys.
pub(super) async fn find_keyed(
    conn: &mut Conn,
    account: &AccountSid,
    keys: &[KeyId],
) -> Attempt<Vec<(DocumentKind, Sid, KeyId)>> {
    let mut found = Vec::with_capacity(keys.len());
    for portion in query::by_portion(keys) {
        let mut select = Builder::new(format!("SELECT {DOCUMENT} FROM documents AS d WHERE d.account = "));
        select.push_bind(account.as_str()).push(" AND d.key IN ");
        query::push_bytes_list(&mut select, portion.iter().map(|key| &key.0[..]));
        for row in select.build().fetch_all(&mut *conn).await? {
            let row = read_document(&row)?;
            found.push((row.kind, row.id, row.key));
        }
    }
    Ok(found)
}

/// Deletes documents, each of which must have the key named with it, and their memberships.
pub(super) async fn delete_documents(
    conn: &mut Conn,
    account: &AccountSid,
    documents: &[(DocumentKind, Sid, KeyId)],
) -> Attempt<()> {
    let mut kinds: BTreeMap<DocumentKind, HashMap<Sid, KeyId>> = BTreeMap::new();
    for (kind, id, key) in documents {
        kinds.entry(*kind).or_default().insert(*id, *key);
    }
    for (kind, expected) in kinds {
        let mut ids: Vec<Sid> = expected.keys().copied().collect();
        ids.sort_unstable();
        let mut gone = 0;
        for portion in query::by_portion(&ids) {
            let mut delete = Builder::new("DELETE FROM documents WHERE account = ");
            delete
                .push_bind(account.as_str())
                .push(" AND kind = ")
                .push_bind(kind.as_str())
                .push(" AND id IN ");
            query::push_bytes_list(&mut delete, portion.iter().map(|id| &id.0[..]));
            delete.push(" RETURNING id, key");
            for row in delete.build().fetch_all(&mut *conn).await? {
                if expected.get(&Sid(query::bytes16(&row, 0)?)) != Some(&query::key(&row, 1)?) {
                    return Err(conflict("a document"));
                }
                gone += 1;
            }
            match kind {
                DocumentKind::List => delete_lists(conn, account, portion).await?,
                DocumentKind::Contact => delete_memberships(conn, account, portion).await?,
                DocumentKind::Upload
                | DocumentKind::Campaign
                | DocumentKind::CampaignPage
                | DocumentKind::Exophone
                | DocumentKind::Request => {}
            }
        }
        if gone != ids.len() {
            return Err(conflict("a document"));
        }
    }
    Ok(())
}

async fn delete_lists(conn: &mut Conn, account: &AccountSid, lists: &[Sid]) -> Attempt<()> {
    let mut delete = Builder::new("DELETE FROM members WHERE account = ");
    delete.push_bind(account.as_str()).push(" AND list IN ");
    query::push_bytes_list(&mut delete, lists.iter().map(|id| &id.0[..]));
    delete.build().execute(conn).await?;
    Ok(())
}

async fn delete_memberships(conn: &mut Conn, account: &AccountSid, members: &[Sid]) -> Attempt<()> {
    let mut delete = Builder::new("DELETE FROM members WHERE account = ");
    delete.push_bind(account.as_str()).push(" AND member IN ");
    query::push_bytes_list(&mut delete, members.iter().map(|id| &id.0[..]));
    delete.push(" RETURNING list");
    let mut lists: BTreeMap<Sid, i64> = BTreeMap::new();
    for row in delete.build().fetch_all(&mut *conn).await? {
        *lists.entry(Sid(query::bytes16(&row, 0)?)).or_default() += 1;
    }
    for (list, count) in lists {
        count_members(conn, account, list, -count).await?;
    }
    Ok(())
}

#[async_trait]
impl Documents for Backend {
    async fn insert_documents(&self, new: &[(DocumentRow, KeyRow)], list: Option<Sid>) -> Result<Vec<bool>> {
        transact!(self, |conn| insert_documents(conn, new, list))
    }

    async fn find_documents(&self, account: &AccountSid, kind: DocumentKind, ids: &[Sid]) -> Result<Vec<DocumentRow>> {
        read!(self, |conn| find_documents(conn, account, kind, ids))
    }

    async fn find_named(
        &self,
        account: &AccountSid,
        kind: DocumentKind,
        name: [u8; 16],
    ) -> Result<Option<DocumentRow>> {
        read!(self, |conn| find_named(conn, account, kind, name))
    }

    async fn list_documents(
        &self,
        account: &AccountSid,
        kind: DocumentKind,
        query: &DocumentQuery,
    ) -> Result<Vec<DocumentRow>> {
        read!(self, |conn| list_documents(conn, account, kind, query))
    }

    async fn count_documents(&self, account: &AccountSid, kind: DocumentKind) -> Result<(u64, u64)> {
        read!(self, |conn| count_documents(conn, account, kind))
    }

    async fn list_documents_before(
        &self,
        kind: DocumentKind,
        before: TimeUs,
        after: Option<(TimeUs, &AccountSid, Sid)>,
        limit: u32,
    ) -> Result<Vec<DocumentRow>> {
        read!(self, |conn| list_documents_before(conn, kind, before, after, limit))
    }

    async fn replace_document(&self, row: &DocumentRow, key: &KeyRow) -> Result<Replaced> {
        transact!(self, |conn| replace_document(conn, row, key))
    }

    async fn add_members(
        &self,
        account: &AccountSid,
        list: Sid,
        kind: DocumentKind,
        members: &[Sid],
        at: TimeUs,
    ) -> Result<Vec<bool>> {
        transact!(self, |conn| add_members(conn, account, list, kind, members, at))
    }

    async fn remove_member(&self, account: &AccountSid, list: Sid, member: Sid) -> Result<bool> {
        transact!(self, |conn| remove_member(conn, account, list, member))
    }

    async fn list_memberships(&self, account: &AccountSid, members: &[Sid]) -> Result<Vec<(Sid, Sid)>> {
        read!(self, |conn| list_memberships(conn, account, members))
    }
}
