//! `POST /v1/accounts/{account}/records`: records, a few at a time.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use callvault_app::{
    Account,
    core::{Class, Record, Sid, TimeUs},
    import::{Format, Options, Reader, RowError},
    ingest::{MAX_BATCH, Taken},
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use crate::{
    api::{MAX_JSON_BYTES, params::read_bytes},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What became of each record, in the order they were sent.
#[derive(Serialize, ToSchema)]
pub struct Outcomes {
    /// One for each record.
    pub records: Vec<Outcome>,
}

/// What became of a record.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is stored.
    New {
        /// Its SID.
        sid: String,
    },
    /// The same record was there already, with the same content; nothing changed.
    Known {
        /// Its SID.
        sid: String,
    },
    /// It is not stored.
    Rejected {
        /// Stable code.
        code: String,
        /// The field at fault, if it is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

/// Store records
///
/// One JSON object or an array of at most 10,000. Each has `class` (`call` or `message`) and the fields of that class;
/// unknown fields are kept in `extra`. What is acknowledged is durable. The same record sent twice is stored once; another
/// one with its id is refused as `duplicate-id`.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/records", tag = "records",
    params(("account" = String, Path, description = "Account SID")),
    request_body(content = Object, content_type = "application/json", description = "One record or an array of records"),
    responses(
        (status = 200, description = "Every record is stored or was known", body = Outcomes),
        (status = 422, description = "A record is not stored; the others are", body = Outcomes),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Answer<(StatusCode, Json<Outcomes>)> {
    let body = read_bytes(body, MAX_JSON_BYTES)?;
    let values = split(&body)?;
    if values.len() > MAX_BATCH {
        let detail = format!("At most {MAX_BATCH} records in one request; use /records/bulk.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-records", detail));
    }
    let account = door.vault.get_account(&caller.account).await?;
    let (mut outcomes, records) = read_records(&account, &values, door.vault.now())?;
    let (places, records): (Vec<usize>, Vec<Record>) = records.into_iter().unzip();
    if !records.is_empty() {
        let taken = door.batcher.ingest(caller.account, records).await?;
        door.metrics.count_taken(&taken);
        for (place, taken) in places.into_iter().zip(taken) {
            if let Some(outcome) = outcomes.get_mut(place) {
                *outcome = Some(Outcome::from(taken));
            }
        }
    }
    let records: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    let all_good = !records
        .iter()
        .any(|outcome| matches!(outcome, Outcome::Rejected { .. }));
    Ok((
        if all_good {
            StatusCode::OK
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        },
        Json(Outcomes { records }),
    ))
}

/// The records of a body as they were written: what a key says twice is for the reader to refuse.
fn split(body: &[u8]) -> Answer<Vec<&RawValue>> {
    let not_json =
        |error: serde_json::Error| malformed(format!("Not JSON, at line {} column {}.", error.line(), error.column()));
    let whole: &RawValue = serde_json::from_slice(body).map_err(not_json)?;
    match whole.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(whole.get()).map_err(not_json),
        Some(b'{') => Ok(vec![whole]),
        _ => Err(malformed("Expected a JSON object or an array of them.".to_owned())),
    }
}

/// The class that a record says it is of. Of a class said twice the reader complains.
fn class_of(value: &RawValue) -> Result<Option<String>, Outcome> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Said {
        Object(BTreeMap<String, Value>),
        Other(serde::de::IgnoredAny),
    }
    match serde_json::from_str(value.get()) {
        Ok(Said::Object(mut fields)) => Ok(fields
            .remove("class")
            .and_then(|class| class.as_str().map(ToOwned::to_owned))),
        Ok(Said::Other(_)) => Ok(None),
        Err(_) => Err(Outcome::Rejected {
            code: "bad-json".to_owned(),
            field: None,
            reason: "nested too deep, or a number that no reader can hold".to_owned(),
        }),
    }
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-json", detail)
}

type ReadRecords = (Vec<Option<Outcome>>, Vec<(usize, Record)>);

/// Reads the records through the importer of our own NDJSON, so that both doors have one set of rules.
fn read_records(account: &Account, values: &[&RawValue], now: TimeUs) -> Answer<ReadRecords> {
    let mut outcomes = vec![None; values.len()];
    let mut classes = Vec::with_capacity(values.len());
    for (value, outcome) in values.iter().zip(&mut outcomes) {
        classes.push(class_of(value).unwrap_or_else(|refused| {
            *outcome = Some(refused);
            None
        }));
    }
    let mut records = Vec::with_capacity(values.len());
    for class in [Class::Call, Class::Message] {
        let mut text = Vec::new();
        let mut places = Vec::new();
        for (place, (value, said)) in values.iter().zip(&classes).enumerate() {
            if said.as_deref() == Some(class.as_str()) {
                // Outside of strings, where JSON allows none, a line break is a blank.
                let bytes = value.get().bytes();
                text.extend(bytes.map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
                text.push(b'\n');
                places.push(place);
            }
        }
        if places.is_empty() {
            continue;
        }
        let place_of = |row: u64| {
            usize::try_from(row)
                .ok()
                .and_then(|row| places.get(row.checked_sub(1)?))
                .copied()
        };
        let options = Options::new(account.country, jiff::tz::TimeZone::UTC, now);
        let mut reader = Reader::new(text.as_slice(), Format::Ndjson(class), &options, sid_maker(account))
            .map_err(|_| Problem::internal())?;
        while let Some(batch) = reader
            .next_batch(MAX_BATCH)
            .map_err(|error| malformed(error.to_string()))?
        {
            for reject in batch.rejects {
                if let Some(outcome) = place_of(reject.error.row).and_then(|place| outcomes.get_mut(place)) {
                    *outcome = Some(Outcome::from(reject.error));
                }
            }
            records.extend(
                batch
                    .records
                    .into_iter()
                    .filter_map(|(row, record)| Some((place_of(row)?, record))),
            );
        }
    }
    let stored: std::collections::HashSet<usize> = records.iter().map(|record| record.0).collect();
    for (place, outcome) in outcomes.iter_mut().enumerate() {
        if outcome.is_none() && !stored.contains(&place) {
            *outcome = Some(Outcome::Rejected {
                code: "unknown-class".to_owned(),
                field: Some("class".to_owned()),
                reason: "expected an object whose class is call or message".to_owned(),
            });
        }
    }
    records.sort_by_key(|record| record.0);
    Ok((outcomes, records))
}

/// Makes the SIDs that an import of the same rows makes, so that a record sent both ways is stored once.
pub(crate) fn sid_maker(account: &Account) -> impl Fn(&str, TimeUs) -> Sid + Send + use<> {
    let keys = Arc::clone(&account.keys);
    move |source, at| Sid::new(at, keys.blind.tail("source-id", source))
}

impl From<Taken> for Outcome {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken::New { sid } => Self::New { sid: sid.to_string() },
            Taken::Known { sid } => Self::Known { sid: sid.to_string() },
            Taken::Rejected { code, reason } => {
                let field = reason.split_once(": ").map(|(field, _)| field.to_owned());
                Self::Rejected {
                    code: code.to_owned(),
                    field,
                    reason,
                }
            }
        }
    }
}

impl From<RowError> for Outcome {
    fn from(error: RowError) -> Self {
        Self::Rejected {
            code: error.code.to_owned(),
            field: error.field.map(std::borrow::Cow::into_owned),
            reason: error.message.into_owned(),
        }
    }
}
