//! What was exported already, and where to: recordings by SID, calls and messages by day. One value a class and day, sealed
//! under the account's key; it goes when nothing of its day is left.

use std::collections::{BTreeMap, BTreeSet};

use callvault_core::{AccountSid, Class, Day, Sid};
use callvault_store::rows::RecordingQuery;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::{
    error::Result,
    line::{open, seal},
    vault::{Account, Vault},
};

/// What is known of a day, by target.
type Marks = BTreeMap<String, Mark>;

/// What went from a day to one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Recordings that were exported.
    #[serde(default)]
    sids: BTreeSet<Sid>,
    /// Rows that the day of calls or messages had.
    #[serde(default)]
    rows: Option<u64>,
}

fn prefix(account: &AccountSid, class: Class) -> String {
    format!("exported/{account}/{class}/")
}

fn mark_name(account: &AccountSid, class: Class, day: Day) -> String {
    // Days before 1970 count below zero; the offset keeps the order of names that of days.
    format!("{}{:08}", prefix(account, class), i64::from(day.0) + 10_000_000)
}

fn day_of(name: &str) -> Option<Day> {
    let (_, number) = name.rsplit_once('/')?;
    let number: i64 = number.parse().ok()?;
    i32::try_from(number - 10_000_000).ok().map(Day)
}

/// What of an account's was exported.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    days: BTreeMap<(Class, Day), Marks>,
}

impl Exported {
    /// Whether a recording was, to whatever target.
    #[must_use]
    pub fn has_recording(&self, sid: Sid) -> bool {
        let marks = self.days.get(&(Class::Recording, sid.day()));
        marks.is_some_and(|marks| marks.values().any(|mark| mark.sids.contains(&sid)))
    }

    /// Whether a recording was, to this target.
    pub(super) fn has_recording_at(&self, target: &Target, sid: Sid) -> bool {
        let mark = self.find_mark(target, Class::Recording, sid.day());
        mark.is_some_and(|mark| mark.sids.contains(&sid))
    }

    /// Whether a day of calls or messages was, to this target, when it had this many rows.
    pub(super) fn has_day_at(&self, target: &Target, class: Class, day: Day, rows: u64) -> bool {
        let mark = self.find_mark(target, class, day);
        mark.is_some_and(|mark| mark.rows == Some(rows))
    }

    fn find_mark(&self, target: &Target, class: Class, day: Day) -> Option<&Mark> {
        self.days.get(&(class, day))?.get(&target.place())
    }
}

impl Vault {
    /// What of an account's classes was exported on schedule.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn exported(&self, account: &Account, classes: &[Class]) -> Result<Exported> {
        let mut exported = Exported::default();
        for class in classes {
            for (name, value) in self.catalog.list_values(&prefix(&account.sid, *class)).await? {
                let marks: Marks = open(account, &name, &value)?;
                if let Some(day) = day_of(&name) {
                    exported.days.insert((*class, day), marks);
                }
            }
        }
        Ok(exported)
    }

    async fn put_marks(&self, account: &Account, class: Class, day: Day, marks: &Marks) -> Result<()> {
        let name = mark_name(&account.sid, class, day);
        let sealed = seal(account, &name, marks)?;
        Ok(self.catalog.put_value(&name, &sealed).await?)
    }

    /// Notes recordings as exported to a target.
    pub(super) async fn mark_recordings(
        &self,
        account: &Account,
        target: &Target,
        exported: &mut Exported,
        sids: &[Sid],
    ) -> Result<()> {
        let mut touched = BTreeSet::new();
        for sid in sids {
            let marks = exported.days.entry((Class::Recording, sid.day())).or_default();
            marks.entry(target.place()).or_default().sids.insert(*sid);
            touched.insert(sid.day());
        }
        for day in touched {
            if let Some(marks) = exported.days.get(&(Class::Recording, day)) {
                self.put_marks(account, Class::Recording, day, marks).await?;
            }
        }
        Ok(())
    }

    /// Notes a day of calls or messages, with this many rows, as exported to a target.
    pub(super) async fn mark_day(
        &self,
        account: &Account,
        target: &Target,
        exported: &mut Exported,
        (class, day): (Class, Day),
        rows: u64,
    ) -> Result<()> {
        let marks = exported.days.entry((class, day)).or_default();
        marks.entry(target.place()).or_default().rows = Some(rows);
        self.put_marks(account, class, day, marks).await
    }

    /// Forgets what was exported of days of which nothing is left.
    pub(super) async fn forget_gone_marks(&self, account: &Account, exported: &Exported) -> Result<()> {
        for (class, day) in exported.days.keys() {
            let is_there = match class {
                Class::Recording => {
                    let query = RecordingQuery {
                        from: Some(day.start()),
                        to: Some(day.end()),
                        limit: 1,
                        ..RecordingQuery::default()
                    };
                    !self.catalog.list_recordings(&account.sid, &query).await?.is_empty()
                }
                class => self.catalog.find_partition(&account.sid, *class, *day).await?.is_some(),
            };
            if !is_there {
                let name = mark_name(&account.sid, *class, *day);
                self.catalog.delete_value(&name).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_order_of_days() {
        let account: AccountSid = "acme".parse().expect("an account");
        let names: Vec<_> = [-400, -1, 0, 1, 20_000]
            .map(|n| mark_name(&account, Class::Call, Day(n)))
            .into();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
        assert_eq!(day_of(&names[0]), Some(Day(-400)));
    }
}
