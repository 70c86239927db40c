//! A body that is written while it is sent.

use std::{future::Future, ops::Range, time::Duration};

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use callvault_app::{
    Result, VaultError,
    export::{Sink, Snapshot},
};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    api::recordings::audio::{Asked, read_range},
    problem::Problem,
};

/// Pieces that are written ahead of the network.
const AHEAD: usize = 2;
/// How long a peer may take nothing of a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// Passes bytes to a body, up to a number of them.
pub(crate) struct BodySink {
    pieces: mpsc::Sender<Result<Bytes>>,
    left_bytes: u64,
}

/// Nobody takes more.
const ENOUGH: VaultError = VaultError::NotFound { what: "listener" };

#[async_trait]
impl Sink for BodySink {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        if let Ok(left) = usize::try_from(self.left_bytes) {
            bytes.truncate(left);
        }
        self.left_bytes -= bytes.len() as u64;
        match tokio::time::timeout(PATIENCE, self.pieces.send(Ok(bytes))).await {
            Ok(Ok(())) if self.left_bytes > 0 => Ok(()),
            _ => Err(ENOUGH),
        }
    }
}

/// The bytes of a response: which ones, of how many.
pub(crate) struct Part {
    /// The first and the one after the last.
    pub(crate) range: Range<u64>,
    /// Bytes of the whole, if they are known.
    pub(crate) total: Option<u64>,
}

impl Part {
    /// The whole.
    pub(crate) const fn whole(total: Option<u64>) -> Self {
        Self {
            range: 0..match total {
                Some(total) => total,
                None => u64::MAX,
            },
            total,
        }
    }

    /// The part that a `Range` header asks for.
    ///
    /// # Errors
    /// The response to a range that lies outside.
    pub(crate) fn asked(text: Option<&str>, total: u64) -> std::result::Result<Self, Box<Response>> {
        match text.map_or(Asked::Whole, |text| read_range(text, total)) {
            Asked::Whole => Ok(Self::whole(Some(total))),
            Asked::Part(range) => Ok(Self {
                range,
                total: Some(total),
            }),
            Asked::Outside => {
                let detail = format!("The export has {total} bytes.");
                let problem =
                    Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-outside", detail).in_field("range");
                let headers = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
                Err(Box::new((headers, problem).into_response()))
            }
        }
    }
}

/// The text of a `Range` header.
pub(crate) fn range_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::RANGE).and_then(|value| value.to_str().ok())
}

/// The pieces that `write` makes, while they are taken. An error ends them without their end, so that the client sees
/// that they are cut.
pub(crate) fn stream<F>(
    part: &Part,
    permit: OwnedSemaphorePermit,
    write: impl FnOnce(BodySink) -> F,
) -> BoxStream<'static, Result<Bytes>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (pieces, taken) = mpsc::channel(AHEAD);
    let work = write(BodySink {
        pieces: pieces.clone(),
        left_bytes: part.range.end - part.range.start,
    });
    let span = tracing::Span::current();
    tokio::spawn(async move {
        let _permit = permit;
        match work.await {
            Ok(()) | Err(VaultError::NotFound { what: "listener" }) => {}
            Err(error) => {
                span.in_scope(|| tracing::warn!(%error, "an export broke off"));
                // A peer that is gone has seen it.
                let _ = tokio::time::timeout(PATIENCE, pieces.send(Err(error))).await;
            }
        }
    });
    futures::stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) }).boxed()
}

/// A response whose body `write` fills while it is sent.
pub(crate) fn respond<F>(
    part: &Part,
    snapshot: Snapshot,
    media_type: &'static str,
    permit: OwnedSemaphorePermit,
    write: impl FnOnce(BodySink) -> F,
) -> Response
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let body = stream(part, permit, write);
    let mut headers = vec![
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::ETAG, format!("\"{snapshot}\"")),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let mut status = StatusCode::OK;
    if let Some(total) = part.total {
        headers.push((header::CONTENT_LENGTH, (part.range.end - part.range.start).to_string()));
        if part.range != (0..total) {
            status = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {}-{}/{total}", part.range.start, part.range.end - 1);
            headers.push((header::CONTENT_RANGE, range));
        }
    }
    let mut response = (status, Body::from_stream(body)).into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
