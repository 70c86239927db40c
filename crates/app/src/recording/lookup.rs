//! Which recordings there are, without their descriptions.

use std::collections::HashMap;

use callvault_core::{
    Sid,
    hold::{Reader, access, may_read},
};
use callvault_store::rows::{RecordingQuery, RecordingRow};

use crate::{
    deletion::facts_of,
    error::Result,
    vault::{Account, Vault},
};

/// Calls that are asked about at once.
const CALLS_ASKED: usize = 100;
/// Rows asked for at once.
const PAGE: u32 = 1_000;

impl Vault {
    fn is_readable_row(&self, account: &Account, row: &RecordingRow, reader: Reader) -> bool {
        may_read(
            access(&account.policy, &account.holds, &facts_of(row), self.now()),
            reader,
        )
    }

    /// The first recording of each of these calls that this reader may hear.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn find_recordings_of(
        &self,
        account: &Account,
        calls: &[Sid],
        reader: Reader,
    ) -> Result<HashMap<Sid, Sid>> {
        let mut found = HashMap::with_capacity(calls.len());
        for calls in calls.chunks(CALLS_ASKED) {
            let mut query = RecordingQuery {
                call_sids: calls.to_vec(),
                limit: PAGE,
                ..RecordingQuery::default()
            };
            loop {
                let rows = self.catalog.list_recordings(&account.sid, &query).await?;
                let readable = rows.iter().filter(|row| self.is_readable_row(account, row, reader));
                for (call, row) in readable.filter_map(|row| Some((row.call_sid?, row))) {
                    found.entry(call).or_insert(row.sid);
                }
                match rows.last() {
                    Some(last) if rows.len() == PAGE as usize => query.after = Some((last.at, last.sid)),
                    _ => break,
                }
            }
        }
        Ok(found)
    }

    /// How many recordings a query finds for this reader, up to `most`.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn count_readable_recordings(
        &self,
        account: &Account,
        mut query: RecordingQuery,
        reader: Reader,
        most: usize,
    ) -> Result<usize> {
        query.limit = PAGE;
        let mut count = 0;
        loop {
            let rows = self.catalog.list_recordings(&account.sid, &query).await?;
            count += rows
                .iter()
                .filter(|row| self.is_readable_row(account, row, reader))
                .count();
            match rows.last() {
                Some(last) if count < most && rows.len() == PAGE as usize => query.after = Some((last.at, last.sid)),
                _ => return Ok(count.min(most)),
            }
        }
    }
}
