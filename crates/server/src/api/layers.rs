//! Around every request: an id, one log line without personal data, a time limit, and an answer to a panic.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, stream};
use tracing::Instrument;

use crate::{api::MAX_AUDIO_BYTES, clock::Stopwatch, door::Door, problem::Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long a peer may send nothing of a body.
pub const IDLE: Duration = Duration::from_secs(30);
/// How long a request without a stream may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The request's path as it came, before nested routers cut it.
#[derive(Debug, Clone)]
pub struct FullPath(pub String);

/// Gives the request an id, counts it and logs it. The log has the route, not the path: what a caller writes into a path
/// or query may be personal data.
pub async fn observe(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let path = FullPath(request.uri().path().to_owned());
    request.extensions_mut().insert(path);
    let watch = Stopwatch::start();
    let id = callvault_app::seal::random_bytes::<8>()
        .map(hex::encode)
        .unwrap_or_default();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("(none)", MatchedPath::as_str)
        .to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request",
        id,
        region = door.vault.region(),
        account = tracing::field::Empty
    );
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let took = watch.elapsed();
    door.metrics.count_request(status, took);
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::info!(%method, route, status, took_us, "answered"));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The most that is read of a body that nobody wants, and how long that may take.
const MAX_UNWANTED_BYTES: usize = 64 * 1024 * 1024;
const UNWANTED: Duration = Duration::from_secs(5);

/// Reads a refused request's body to its end: a peer that is still sending when the connection closes never sees the answer.
pub async fn drain_refused(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    // Who asks before sending has sent nothing; what is too long is not waited for.
    let waits = parts.headers.contains_key(header::EXPECT) || length.is_some_and(|bytes| bytes > MAX_UNWANTED_BYTES);
    let sent = Arc::new(Mutex::new(body.into_data_stream()));
    let pieces = |sent: Arc<Mutex<BodyDataStream>>| {
        stream::poll_fn(move |context| {
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent.poll_next_unpin(context)
        })
    };
    let body = Body::from_stream(pieces(Arc::clone(&sent)));
    let response = next.run(Request::from_parts(parts, body)).await;
    if response.status().is_client_error() && !waits {
        let mut rest = pieces(sent);
        let mut left_bytes = MAX_UNWANTED_BYTES;
        let read = async {
            while let Some(Ok(piece)) = rest.next().await {
                left_bytes = left_bytes.saturating_sub(piece.len());
                if left_bytes == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(UNWANTED, read).await;
    }
    response
}

/// Refuses audio that says it is too long before any of it is read.
pub async fn limit_audio(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|bytes| bytes > MAX_AUDIO_BYTES as u64) {
        return Problem::too_large(MAX_AUDIO_BYTES).into_response();
    }
    next.run(request).await
}

/// Ends requests that take too long. What they began in the catalog is whole or did not happen.
pub async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "The request took too long; try again, or ask for less at once.";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).into_response()
        }
    }
}

/// Answers for a handler that panicked. The panic's text stays out of answer and log: it may repeat what was sent.
pub fn answer_panic(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    Problem::internal().into_response()
}

/// Paths are compared in lower case: the platform writes `Accounts` and `Calls`.
#[must_use]
pub fn lower_path<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    if request.uri().path().bytes().any(|byte| byte.is_ascii_uppercase()) {
        let mut parts = request.uri().clone().into_parts();
        let lower = request.uri().path().to_ascii_lowercase();
        let full = match request.uri().query() {
            Some(query) => format!("{lower}?{query}"),
            None => lower,
        };
        parts.path_and_query = full.parse().ok().or(parts.path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_lowered_and_queries_are_not() {
        let request = axum::http::Request::builder()
            .uri("https://h/v1/Accounts/acme/Calls?after=AB")
            .body(())
            .expect("ok");
        assert_eq!(lower_path(request).uri(), "https://h/v1/accounts/acme/calls?after=AB");
    }
}
