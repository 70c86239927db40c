//! A batch's records by partition, judged and sorted before anything is written.

use std::{collections::BTreeMap, sync::Arc};

use callvault_core::{Class, Day, Record, Sid, TimeUs};

use crate::{
    import::{Batch, Position, Reject, RowError},
    ingest::{Taken, find_expired, find_misfit},
    vault::Account,
};

/// A refused row and what the source wrote.
pub(super) type Refused = (RowError, Vec<u8>);

/// What is to be stored of one batch.
pub(super) struct Days {
    /// By class and day.
    pub(super) days: Vec<DayRows>,
    pub(super) refused: Vec<Refused>,
    /// The file's last row, where it is cut; not among the refused.
    pub(super) cut: Option<Refused>,
    /// Rows that say what an earlier row of the batch says.
    pub(super) known: u64,
    /// The resume point behind the batch.
    pub(super) position: Position,
}

/// The records of one partition, each SID once.
pub(super) struct DayRows {
    pub(super) class: Class,
    pub(super) day: Day,
    /// In a segment's order.
    pub(super) records: Arc<Vec<Record>>,
    /// The row number of each record.
    pub(super) rows: Vec<u64>,
}

/// Sorts a batch. Of several rows with one SID the first counts.
pub(super) fn plan_days(account: &Account, batch: Batch, now: TimeUs) -> Days {
    let mut refused: Vec<Refused> = batch
        .rejects
        .into_iter()
        .map(|Reject { error, raw }| (error, raw))
        .collect();
    let cut = if batch.cut { refused.pop() } else { None };
    let mut found: BTreeMap<(Class, Day), Vec<(u64, Record)>> = BTreeMap::new();
    for (row, record) in batch.records {
        match find_misfit(&record, now) {
            Some(fault) => refused.extend(refusal(row, &record, fault)),
            None => found
                .entry((record.class(), record.at().day()))
                .or_default()
                .push((row, record)),
        }
    }
    let (mut days, mut known) = (Vec::with_capacity(found.len()), 0);
    for ((class, day), mut rows) in found {
        refuse_expired(account, class, &mut rows, &mut refused, now);
        let (rows, records) = sort_day(rows, &mut refused, &mut known);
        if !rows.is_empty() {
            let records = Arc::new(records);
            days.push(DayRows {
                class,
                day,
                records,
                rows,
            });
        }
    }
    Days {
        days,
        refused,
        cut,
        known,
        position: batch.position,
    }
}

/// Refuses the rows whose term is over. A later record is never kept shorter than an earlier one, so a day whose first
/// moment is kept is kept whole.
fn refuse_expired(
    account: &Account,
    class: Class,
    rows: &mut Vec<(u64, Record)>,
    refused: &mut Vec<Refused>,
    now: TimeUs,
) {
    let first = rows.iter().map(|(_, record)| record.at()).min();
    if first.is_none_or(|first| find_expired(account, class, first, now).is_none()) {
        return;
    }
    rows.retain(|(row, record)| match find_expired(account, class, record.at(), now) {
        Some(fault) => {
            refused.extend(refusal(*row, record, fault));
            false
        }
        None => true,
    });
}

/// The rows in the order of a segment, without those whose SID an earlier one has.
fn sort_day(rows: Vec<(u64, Record)>, refused: &mut Vec<Refused>, known: &mut u64) -> (Vec<u64>, Vec<Record>) {
    // Places are sorted rather than the records, which are large.
    let mut order: Vec<(Sid, usize)> = rows.iter().map(|(_, record)| record.sid()).zip(0..).collect();
    order.sort_unstable();
    order.dedup_by(|later, first| {
        let again = later.0 == first.0;
        if again {
            match (rows.get(first.1), rows.get(later.1)) {
                (Some(first), Some((_, later))) if first.1 == *later => *known += 1,
                (_, Some((row, later))) => refused.push(duplicate(*row, later)),
                _ => {}
            }
        }
        again
    });
    let at = |place: usize| rows.get(place).map(|(_, record)| record.at());
    // SIDs know milliseconds, and nothing before 1970.
    if !order.is_sorted_by_key(|(_, place)| at(*place)) {
        order.sort_unstable_by_key(|(sid, place)| (at(*place), *sid));
    }
    if order.len() == rows.len() && order.is_sorted_by_key(|(_, place)| *place) {
        return rows.into_iter().unzip();
    }
    let mut rows: Vec<Option<(u64, Record)>> = rows.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|(_, place)| rows.get_mut(place).and_then(Option::take))
        .unzip()
}

fn refusal(row: u64, record: &Record, fault: Taken) -> Option<Refused> {
    match fault {
        Taken::Rejected { code, reason } => Some((row_error(row, "at", code, reason), raw_of(record))),
        Taken::New { .. } | Taken::Known { .. } => None,
    }
}

fn row_error(row: u64, field: &'static str, code: &'static str, message: String) -> RowError {
    RowError {
        row,
        field: Some(field.into()),
        code,
        message: message.into(),
    }
}

/// A row whose SID another record has.
pub(super) fn duplicate(row: u64, record: &Record) -> Refused {
    let message = "another record has this id, and says something else".to_owned();
    (row_error(row, "source_id", "duplicate-id", message), raw_of(record))
}

/// A row whose SID a record has that was erased and is not wiped yet.
pub(super) fn erased(row: u64, record: &Record) -> Refused {
    let (code, message) = crate::ingest::ERASED;
    (row_error(row, "source_id", code, message.to_owned()), raw_of(record))
}

/// A record that is refused after it was understood, as our own JSON.
fn raw_of(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use callvault_core::record::{Call, CallStatus, Direction};

    use super::*;

    fn call(at: i64, tail: u8, talk_s: u32) -> Record {
        Record::Call(Call {
            sid: Sid::new(TimeUs(at), [tail; 10]),
            at: TimeUs(at),
            source_id: None,
            direction: Direction::Inbound,
            from: callvault_core::Number("+919000000001".into()),
            to: callvault_core::Number("+919000000002".into()),
            exophone: callvault_core::Number::default(),
            status: CallStatus::Completed,
            answered_at: None,
            ended_at: None,
            duration_s: 9,
            talk_s,
            price_micros: None,
            caller_name: None,
            extra: None,
        })
    }

    #[test]
    fn a_day_is_in_a_segments_order_and_has_each_sid_once() {
        let rows = vec![
            (1, call(5_000_900, 7, 1)),
            (2, call(5_000_100, 8, 1)),
            (3, call(2_000_000, 9, 1)),
            // The same SID as row 1, in the same millisecond: once the same record, once another.
            (4, call(5_000_900, 7, 1)),
            (5, call(5_000_200, 7, 2)),
            (6, call(2_000_000, 3, 1)),
        ];
        let (mut refused, mut known) = (Vec::new(), 0);
        let (numbers, records) = sort_day(rows, &mut refused, &mut known);
        assert_eq!(numbers, [6, 3, 2, 1]);
        assert!(records.is_sorted_by_key(|record| (record.at(), record.sid())));
        assert_eq!(known, 1);
        let rows: Vec<_> = refused.iter().map(|(error, _)| (error.row, error.code)).collect();
        assert_eq!(rows, [(5, "duplicate-id")]);
    }
}
