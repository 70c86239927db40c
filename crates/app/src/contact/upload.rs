//! A file of contacts that becomes a list.

use callvault_core::{DocumentKind, Sid, hold::Reader};
use serde::{Deserialize, Serialize};

use super::{
    Contact, List, MAX_BATCH,
    sheet::{BadRow, Row, read_upload},
};
use crate::{
    document::{Document, NewDocument},
    error::{Result, VaultError},
    vault::{Account, Vault},
};

/// Rows of one upload.
pub const MAX_ROWS: usize = 200_000;
/// Bad rows that are told one by one.
pub const MAX_TOLD: usize = 100;

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The list.
    pub list: Sid,
    /// Contacts that are new.
    pub success: u64,
    /// Contacts that were there already; they are on the list now.
    pub duplicate: u64,
    /// Rows that are no contact, or may not be added.
    pub failure: u64,
    /// The first of them.
    pub failures: Vec<BadRow>,
}

impl Vault {
    /// Takes in a CSV file of contacts as members of a list, which is made if there is none of this name. It is done when
    /// this returns; an upload that broke off can be sent again.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for a header line that names no number, too many rows, or a wrong list name.
    pub async fn upload_contacts(&self, account: &Account, list_name: &str, text: &[u8]) -> Result<Document<Upload>> {
        let rows = read_upload(account, text).map_err(|reason| VaultError::invalid("file", reason))?;
        if rows.len() > MAX_ROWS {
            return Err(VaultError::invalid(
                "file",
                format!("more than {MAX_ROWS} rows; send several files"),
            ));
        }
        let mut upload = Upload {
            list: self.open_list(account, list_name).await?,
            success: 0,
            duplicate: 0,
            failure: 0,
            failures: Vec::new(),
        };
        let mut batch = Vec::new();
        for row in rows {
            match row {
                Row::Ok(row) => batch.push(row),
                Row::Err(bad) => upload.fail(bad),
            }
            if batch.len() == MAX_BATCH {
                self.upload_batch(account, &mut upload, std::mem::take(&mut batch))
                    .await?;
            }
        }
        if !batch.is_empty() {
            self.upload_batch(account, &mut upload, batch).await?;
        }
        let now = self.now();
        let new = NewDocument {
            id: Account::fresh_sid(now)?,
            at: now,
            name: None,
            body: upload,
        };
        let new = std::slice::from_ref(&new);
        self.insert_documents(account, DocumentKind::Upload, new, None).await?;
        let id = new.first().map_or(Sid([0; 16]), |new| new.id);
        self.get_upload(account, id).await
    }

    /// The list of this name, made if there is none.
    async fn open_list(&self, account: &Account, name: &str) -> Result<Sid> {
        if let Some(list) = self.find_list(account, name).await? {
            return Ok(list.id);
        }
        let list = List {
            name: name.trim().to_owned(),
            tag: None,
        };
        list.check()
            .map_err(|_| VaultError::invalid("list_name", "expected a name of at most 255 characters"))?;
        match self.create_lists(account, vec![list]).await?.pop() {
            Some(Ok(made)) => Ok(made.id),
            // Somebody else made it meanwhile.
            _ => match self.find_list(account, name).await? {
                Some(list) => Ok(list.id),
                None => Err(VaultError::NotFound { what: "list" }),
            },
        }
    }

    async fn upload_batch(&self, account: &Account, upload: &mut Upload, batch: Vec<(u64, Contact)>) -> Result<()> {
        let contacts = batch.iter().map(|(_, contact)| contact.clone()).collect();
        let outcomes = self.create_contacts(account, contacts, Some(upload.list)).await?;
        let mut known = Vec::new();
        for ((row, contact), outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => upload.success += 1,
                Err(VaultError::Refused(refusal)) if refusal.code == "duplicate" => {
                    match self.find_contact(account, &contact.number).await? {
                        Some(there) => {
                            upload.duplicate += 1;
                            known.push(there.id);
                        }
                        None => upload.fail(BadRow {
                            row,
                            reason: refusal.reason,
                        }),
                    }
                }
                Err(error) => upload.fail(BadRow {
                    row,
                    reason: error.to_string(),
                }),
            }
        }
        if !known.is_empty() {
            self.add_to_list(account, upload.list, &known).await?;
        }
        Ok(())
    }

    /// What became of an upload.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn get_upload(&self, account: &Account, id: Sid) -> Result<Document<Upload>> {
        let found = self
            .find_document(account, DocumentKind::Upload, id, Reader::Account)
            .await?;
        found.ok_or(VaultError::NotFound { what: "upload" })
    }
}

impl Upload {
    fn fail(&mut self, bad: BadRow) {
        self.failure += 1;
        if self.failures.len() < MAX_TOLD {
            self.failures.push(bad);
        }
    }
}
