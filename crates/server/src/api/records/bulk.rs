//! `POST /v1/accounts/{account}/records/bulk`: NDJSON of any length.

use std::{io::Read, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
};
use callvault_app::{
    Account, VaultError,
    core::Class,
    import::{Format, ImportError, Options, Reader},
    ingest::{MAX_BATCH, Taken},
};
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Rejects that an answer lists; all are counted.
const MAX_LISTED: usize = 1_000;
/// Pieces of the body read ahead.
const READ_AHEAD: usize = 16;

/// What became of a bulk request.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Summary {
    /// Lines read.
    pub rows: u64,
    /// Records stored.
    pub stored: u64,
    /// Records that were there already, with the same content.
    pub known: u64,
    /// Lines refused.
    pub rejected: u64,
    /// The first thousand refused lines.
    pub rejects: Vec<RejectedLine>,
}

/// A refused line.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedLine {
    /// Its number, counted from 1.
    pub line: u64,
    /// The field at fault, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Stable code.
    pub code: String,
    /// What is wrong.
    pub reason: String,
}

/// Store records in bulk
///
/// NDJSON of one class, one record a line, of any length. Good lines are stored, batch by batch; bad ones are listed with
/// line and field. Sending the same lines again stores nothing twice, so that a broken request is simply repeated; another
/// record with the id of one that is there is refused as `duplicate-id`.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/records/bulk", tag = "records",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("class" = String, Query, description = "`call` or `message`"),
    ),
    request_body(content = String, content_type = "application/x-ndjson", description = "One JSON object a line"),
    responses(
        (status = 200, description = "Read to its end; look at `rejected`", body = Summary),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a class that is taken in bulk", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn bulk(
    State(door): State<Arc<Door>>,
    caller: Caller,
    mut params: Params,
    body: Body,
) -> Answer<Json<Summary>> {
    let class: Option<Class> = params.take_as("class", "call or message")?;
    let class = class.filter(|class| matches!(class, Class::Call | Class::Message));
    let class = class.ok_or_else(|| Problem::invalid("class", "Expected call or message."))?;
    params.finish()?;
    let account = door.vault.get_account(&caller.account).await?;
    let (pieces, waiting) = mpsc::channel(READ_AHEAD);
    let (batches, mut parsed) = mpsc::channel(1);
    let parser = Parser {
        account: &account,
        class,
        now: door.vault.now(),
    }
    .start(waiting, batches);
    let feeder = tokio::spawn(feed(body, pieces));
    let mut summary = Summary::default();
    while let Some(batch) = parsed.recv().await {
        store(&door, &account, batch, &mut summary).await?;
    }
    // The parser ends when the body does; an error of it is the client's.
    parser
        .await
        .map_err(|_| Problem::internal())?
        .map_err(|error| Problem::new(axum::http::StatusCode::BAD_REQUEST, error.code(), format!("{error}.")))?;
    feeder.await.map_err(|_| Problem::internal())??;
    summary.rejects.sort_by_key(|reject| reject.line);
    summary.rejects.truncate(MAX_LISTED);
    Ok(Json(summary))
}

/// Passes the body on, piece by piece.
async fn feed(body: Body, pieces: mpsc::Sender<Bytes>) -> Answer<()> {
    let mut stream = body.into_data_stream();
    loop {
        let cut = |what: &str| Problem::new(axum::http::StatusCode::BAD_REQUEST, "body-cut", what);
        match stream.next().await {
            None => return Ok(()),
            Some(Err(_)) => return Err(cut("The body broke off or stalled; what came before is stored.")),
            // A parser that has ended says why itself.
            Some(Ok(bytes)) => {
                if pieces.send(bytes).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Pieces of a body as a blocking reader.
struct Pieces {
    waiting: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.waiting.blocking_recv() {
                Some(bytes) => self.current = bytes,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        let piece = self.current.split_to(count);
        if let Some(place) = buffer.get_mut(..count) {
            place.copy_from_slice(&piece);
        }
        Ok(count)
    }
}

struct Parser<'a> {
    account: &'a Account,
    class: Class,
    now: callvault_app::core::TimeUs,
}

impl Parser<'_> {
    fn start(
        self,
        waiting: mpsc::Receiver<Bytes>,
        batches: mpsc::Sender<callvault_app::import::Batch>,
    ) -> tokio::task::JoinHandle<Result<(), ImportError>> {
        let options = Options::new(self.account.country, jiff::tz::TimeZone::UTC, self.now);
        let sids = super::create::sid_maker(self.account);
        let format = Format::Ndjson(self.class);
        tokio::task::spawn_blocking(move || {
            let mut reader = Reader::new(
                Pieces {
                    waiting,
                    current: Bytes::new(),
                },
                format,
                &options,
                sids,
            )?;
            while let Some(batch) = reader.next_batch(MAX_BATCH)? {
                if batches.blocking_send(batch).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        })
    }
}

async fn store(
    door: &Door,
    account: &Account,
    batch: callvault_app::import::Batch,
    summary: &mut Summary,
) -> Result<(), VaultError> {
    let (lines, records): (Vec<u64>, Vec<_>) = batch.records.into_iter().unzip();
    let taken = door.vault.ingest_into(account, &records).await?;
    door.metrics.count_taken(&taken);
    summary.rows += (lines.len() + batch.rejects.len()) as u64;
    for reject in batch.rejects {
        let error = reject.error;
        let field = error.field.map(std::borrow::Cow::into_owned);
        summary.note(RejectedLine {
            line: error.row,
            field,
            code: error.code.to_owned(),
            reason: error.message.into(),
        });
    }
    for (line, taken) in lines.into_iter().zip(taken) {
        match taken {
            Taken::New { .. } => summary.stored += 1,
            Taken::Known { .. } => summary.known += 1,
            Taken::Rejected { code, reason } => {
                let field = reason.split_once(": ").map(|(field, _)| field.to_owned());
                summary.note(RejectedLine {
                    line,
                    field,
                    code: code.to_owned(),
                    reason,
                });
            }
        }
    }
    Ok(())
}

impl Summary {
    fn note(&mut self, reject: RejectedLine) {
        self.rejected += 1;
        if self.rejects.len() < 2 * MAX_LISTED {
            self.rejects.push(reject);
        }
    }
}
