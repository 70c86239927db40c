//! Exports: streams that go on where they broke off.

pub mod body;
pub mod contacts;
pub mod jobs;
pub mod manifest;
pub mod recordings;
pub mod records;
pub mod schedule;
pub mod vcon;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use callvault_app::{
    core::{AccountSid, TimeUs},
    export::Snapshot,
};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    api::params::Params,
    door::Door,
    problem::{Answer, Problem},
};

/// Exports that a region's door writes at once. Each has its own buffers.
pub const AT_ONCE: usize = 8;

/// Room for one more export.
pub(crate) fn begin(door: &Door) -> Answer<OwnedSemaphorePermit> {
    let detail = "As many exports as there may be are being written; try again.";
    Arc::clone(&door.exports)
        .try_acquire_owned()
        .map_err(|_| Problem::busy(detail))
}

/// Which state of an export a request names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// None: the present one.
    None,
    /// This one, by `If-Range`: the whole of the present one if it is gone.
    Preferred(Snapshot),
    /// This one, by `snapshot` or `If-Match`, and no other.
    Only(Snapshot),
}

impl Named {
    /// What a request names.
    pub(crate) fn read(params: &mut Params, headers: &HeaderMap) -> Answer<Self> {
        let bad = |_| {
            Problem::invalid(
                "snapshot",
                "Expected a snapshot, 48 hexadecimal digits; an export's ETag has it.",
            )
        };
        if let Some(text) = params.take("snapshot") {
            return text.parse().map(Self::Only).map_err(bad);
        }
        let tag = |name| {
            let text = headers.get(name)?.to_str().ok()?.trim();
            // `*` asks for whatever is there.
            (text != "*").then_some(())?;
            Some(text.trim_start_matches('"').trim_end_matches('"').parse::<Snapshot>())
        };
        if let Some(named) = tag(header::IF_MATCH) {
            // What is no tag of an export matches none.
            return named.map(Self::Only).map_err(|_| gone());
        }
        Ok(match tag(header::IF_RANGE) {
            Some(Ok(snapshot)) => Self::Preferred(snapshot),
            _ => Self::None,
        })
    }

    /// The snapshot.
    pub(crate) const fn snapshot(&self) -> Option<Snapshot> {
        match self {
            Self::None => None,
            Self::Preferred(snapshot) | Self::Only(snapshot) => Some(*snapshot),
        }
    }
}

/// The export that was asked for is not what it was: 412.
pub(crate) fn gone() -> Problem {
    let detail = "Something of this export was deleted or lapsed, or came in, since; begin it anew.";
    Problem::new(StatusCode::PRECONDITION_FAILED, "export-changed", detail)
}

/// Path and query that give an export's bytes, as long as they are what they were.
pub(crate) fn path_of(
    account: &AccountSid,
    file: &str,
    format: Option<&str>,
    (from, to): (Option<TimeUs>, TimeUs),
    snapshot: &str,
) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(from) = from {
        query.append_pair("from", &from.to_string());
    }
    query.append_pair("to", &to.to_string());
    if let Some(format) = format {
        query.append_pair("format", format);
    }
    query.append_pair("snapshot", snapshot);
    format!("/v1/accounts/{account}/exports/{file}?{}", query.finish())
}
