//! The documents of a catalog that fails where a test wants it to.

use async_trait::async_trait;
use callvault_core::{AccountSid, DocumentKind, Sid, TimeUs};
use callvault_store::{
    Documents, StoreError,
    rows::{DocumentQuery, DocumentRow, KeyRow, Replaced},
};

use super::FaultyCatalog;

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl Documents for FaultyCatalog {
    async fn insert_documents(&self, new: &[(DocumentRow, KeyRow)], list: Option<Sid>) -> Result<Vec<bool>> {
        self.faults
            .around("catalog", "insert_documents", self.inner.insert_documents(new, list))
            .await
    }

    async fn find_documents(&self, account: &AccountSid, kind: DocumentKind, ids: &[Sid]) -> Result<Vec<DocumentRow>> {
        self.faults
            .around(
                "catalog",
                "find_documents",
                self.inner.find_documents(account, kind, ids),
            )
            .await
    }

    async fn find_named(
        &self,
        account: &AccountSid,
        kind: DocumentKind,
        name: [u8; 16],
    ) -> Result<Option<DocumentRow>> {
        self.faults
            .around("catalog", "find_named", self.inner.find_named(account, kind, name))
            .await
    }

    async fn list_documents(
        &self,
        account: &AccountSid,
        kind: DocumentKind,
        query: &DocumentQuery,
    ) -> Result<Vec<DocumentRow>> {
        self.faults
            .around(
                "catalog",
                "list_documents",
                self.inner.list_documents(account, kind, query),
            )
            .await
    }

    async fn count_documents(&self, account: &AccountSid, kind: DocumentKind) -> Result<(u64, u64)> {
        self.faults
            .around(
                "catalog",
                "list_count_documents",
                self.inner.count_documents(account, kind),
            )
            .await
    }

    async fn list_documents_before(
        &self,
        kind: DocumentKind,
        before: TimeUs,
        after: Option<(TimeUs, &AccountSid, Sid)>,
        limit: u32,
    ) -> Result<Vec<DocumentRow>> {
        let listed = self.inner.list_documents_before(kind, before, after, limit);
        self.faults.around("catalog", "list_documents_before", listed).await
    }

    async fn replace_document(&self, row: &DocumentRow, key: &KeyRow) -> Result<Replaced> {
        self.faults
            .around("catalog", "replace_document", self.inner.replace_document(row, key))
            .await
    }

    async fn add_members(
        &self,
        account: &AccountSid,
        list: Sid,
        kind: DocumentKind,
        members: &[Sid],
        at: TimeUs,
    ) -> Result<Vec<bool>> {
        let added = self.inner.add_members(account, list, kind, members, at);
        self.faults.around("catalog", "add_members", added).await
    }

    async fn remove_member(&self, account: &AccountSid, list: Sid, member: Sid) -> Result<bool> {
        self.faults
            .around(
                "catalog",
                "remove_member",
                self.inner.remove_member(account, list, member),
            )
            .await
    }

    async fn list_memberships(&self, account: &AccountSid, members: &[Sid]) -> Result<Vec<(Sid, Sid)>> {
        self.faults
            .around(
                "catalog",
                "list_memberships",
                self.inner.list_memberships(account, members),
            )
            .await
    }
}
