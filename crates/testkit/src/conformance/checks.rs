//! What must hold for every catalog at any moment, read from its dump.

use std::{collections::BTreeMap, sync::Arc};

use callvault_store::{Catalog, StoreError};
use serde_json::Value;

/// A catalog's whole contents, by table.
pub type Contents = BTreeMap<String, Vec<Vec<Value>>>;

/// Reads everything a catalog holds.
///
/// # Panics
/// When the dump cannot be made.
pub async fn contents(catalog: &Arc<dyn Catalog>) -> Contents {
    let mut contents = Contents::new();
    for line in dump(catalog).await.lines().skip(1) {
        let mut row: Vec<Value> = serde_json::from_str(line).expect("a row");
        let table = row.remove(0);
        contents
            .entry(table.as_str().expect("a table").to_owned())
            .or_default()
            .push(row);
    }
    contents.remove("end");
    contents
}

/// The dump as text.
///
/// # Panics
/// When it cannot be made.
pub async fn dump(catalog: &Arc<dyn Catalog>) -> String {
    let mut bytes = Vec::new();
    catalog.dump(&mut bytes).await.expect("a dump");
    String::from_utf8(bytes).expect("UTF-8")
}

/// A table's rows.
#[must_use]
pub fn table<'c>(contents: &'c Contents, name: &str) -> &'c [Vec<Value>] {
    contents.get(name).map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

/// Checks that every counter agrees with what it counts, and that keys and what they open come in pairs.
///
/// # Panics
/// When something does not.
pub async fn check(catalog: &Arc<dyn Catalog>) {
    let all = contents(catalog).await;
    let under = |name: &str, account: &Value, key: &Value| -> Vec<&Vec<Value>> {
        table(&all, name)
            .iter()
            .filter(|row| row[0] == *account && row[1] == *key)
            .collect()
    };
    for row in table(&all, "partitions") {
        let (account, key) = (&row[0], &row[3]);
        let (loose, segments) = (under("loose", account, key), under("segments", account, key));
        let tombstones = under("tombstones", account, key);
        assert_eq!(number(&row[5]), loose.len() as i64, "loose rows of {row:?}");
        assert_eq!(
            row[6].as_i64(),
            loose.iter().map(|row| number(&row[4])).min(),
            "oldest arrival of {row:?}"
        );
        assert_eq!(
            number(&row[7]),
            segments.iter().map(|row| number(&row[3])).sum::<i64>(),
            "sealed rows of {row:?}"
        );
        let bodies = loose
            .iter()
            .map(|row| row[5].as_str().expect("hex").len() as i64 / 2)
            .sum::<i64>();
        let sealed = segments.iter().map(|row| number(&row[4])).sum::<i64>();
        assert_eq!(number(&row[8]), bodies + sealed, "bytes of {row:?}");
        assert_eq!(number(&row[9]), segments.len() as i64, "segments of {row:?}");
        assert_eq!(number(&row[10]), tombstones.len() as i64, "tombstones of {row:?}");
        assert_eq!(
            row[11].as_i64(),
            tombstones.iter().map(|row| number(&row[3])).min(),
            "oldest of {row:?}"
        );
        assert_eq!(under("data_keys", account, key).len(), 1, "the key of {row:?}");
    }
    for row in table(&all, "recordings") {
        assert_eq!(under("data_keys", &row[0], &row[5]).len(), 1, "the key of {row:?}");
    }
    let members = table(&all, "members");
    for row in table(&all, "documents") {
        assert_eq!(under("data_keys", &row[0], &row[8]).len(), 1, "the key of {row:?}");
        let counted = members.iter().filter(|m| m[0] == row[0] && m[1] == row[2]).count();
        assert_eq!(number(&row[7]), counted as i64, "members of {row:?}");
    }
    for row in members {
        let is = |kind: &str, id: &Value| {
            let mut documents = table(&all, "documents").iter();
            documents.any(|d| d[0] == row[0] && d[1] == kind && d[2] == *id)
        };
        assert!(
            is("list", &row[1]) && is("contact", &row[2]),
            "a membership of what is gone: {row:?}"
        );
    }
    for row in table(&all, "data_keys") {
        let opens = match row[2].as_str() {
            Some("account") => table(&all, "accounts")
                .iter()
                .filter(|a| a[0] == row[0] && a[2] == row[1])
                .count(),
            Some("partition") => table(&all, "partitions")
                .iter()
                .filter(|p| p[0] == row[0] && p[3] == row[1])
                .count(),
            Some("document") => table(&all, "documents")
                .iter()
                .filter(|d| d[0] == row[0] && d[8] == row[1])
                .count(),
            _ => table(&all, "recordings")
                .iter()
                .filter(|r| r[0] == row[0] && r[5] == row[1])
                .count(),
        };
        assert_eq!(opens, 1, "what {row:?} opens");
        assert!(
            table(&all, "epochs").iter().any(|epoch| epoch[0] == row[3]),
            "the epoch of {row:?}"
        );
    }
    let mut days: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    for row in table(&all, "recordings") {
        let day = number(&row[3]).div_euclid(86_400_000_000);
        let sum = days.entry((row[0].to_string(), day)).or_default();
        *sum = (sum.0 + 1, sum.1 + number(&row[7]));
    }
    let summed = table(&all, "recording_days").iter();
    let summed: BTreeMap<_, _> = summed
        .map(|row| {
            (
                (row[0].to_string(), number(&row[1])),
                (number(&row[2]), number(&row[3])),
            )
        })
        .collect();
    assert_eq!(days, summed, "recordings summed up by day");
    let leaves: Vec<i64> = table(&all, "log").iter().map(|row| number(&row[0])).collect();
    assert_eq!(
        leaves,
        (0..leaves.len() as i64).collect::<Vec<_>>(),
        "leaves without a gap"
    );
    assert_eq!(catalog.log_size().await.expect("a size"), leaves.len() as u64);
}

/// Checks that something was refused because somebody else was first.
///
/// # Panics
/// When it was not.
pub fn conflicts<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Conflict { .. })), "{result:?}");
}
