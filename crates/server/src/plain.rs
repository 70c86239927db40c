//! Plain HTTP: never data. A redirect to the region's door, and the answers that a certificate authority asks for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use url::Url;

/// Where an authority looks for its answers (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// The longest path and query that is redirected.
const MAX_PATH_BYTES: usize = 4_096;

/// What an authority is answered, by token.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<Mutex<HashMap<String, String>>>);

impl Challenges {
    /// Answers a token from now on.
    pub fn put(&self, token: String, answer: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token, answer);
    }

    /// Answers no token any more.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn find(&self, token: &str) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(token)
            .cloned()
    }
}

/// What plain HTTP is answered with.
pub fn router(door: Url, challenges: Challenges) -> Router {
    Router::new().fallback(answer).with_state((Arc::new(door), challenges))
}

async fn answer(State((door, challenges)): State<(Arc<Url>, Challenges)>, request: Request) -> Response {
    if let Some(token) = request.uri().path().strip_prefix(CHALLENGES) {
        let found = challenges.find(token).filter(|_| *request.method() == Method::GET);
        return match found {
            Some(text) => ([(header::CONTENT_TYPE, "application/octet-stream")], text).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    // The host that was asked for says nothing: the door's own is in the configuration.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if path.len() > MAX_PATH_BYTES || !path.starts_with('/') {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    let place = format!("{}{path}", door.as_str().trim_end_matches('/'));
    match HeaderValue::from_str(&place) {
        Ok(place) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, place)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}
