//! `Recordings`, `Recordings/{RecordingSid}` and `Calls/{CallSid}/Recordings`.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use callvault_app::{
    Account,
    core::{Sid, TimeUs, request::Asked, time::SECOND_US},
    read::Cursor,
    recording::{Link, RecordingView, audio_path},
    store::rows::RecordingQuery,
};

use super::{
    call::read_sid,
    calls::{Bounds, MAX_TOTAL, page_uri, read_local},
    form::Fields,
    reply::{Fault, Node, Platform},
};
use crate::{
    api::{
        params::parse_cursor,
        recordings::presigned::show_link,
        requests::{person_of, read_text},
    },
    door::{Caller, Door},
};

/// `RecordingUrlValidity`: minutes.
pub(super) fn read_validity(fields: &Fields) -> Result<Option<u32>, Fault> {
    fields.number("RecordingUrlValidity", 5..=60)
}

/// Where recordings are heard.
pub(super) struct AudioUrls<'a> {
    door: &'a Door,
    account: &'a Account,
    caller: &'a Caller,
    validity_minutes: Option<u32>,
    now: TimeUs,
}

impl<'a> AudioUrls<'a> {
    /// Addresses for this caller; with a validity, signed ones too.
    pub(super) fn new(door: &'a Door, account: &'a Account, caller: &'a Caller, validity_minutes: Option<u32>) -> Self {
        let now = door.vault.now();
        Self {
            door,
            account,
            caller,
            validity_minutes,
            now,
        }
    }

    /// `RecordingUrl`, which wants the caller's credentials, and `PreSignedRecordingUrl`, which wants none.
    pub(super) fn members(&self, recording: Option<Sid>) -> Vec<(&'static str, Node)> {
        let base = self.door.base_url();
        let plain = recording.map(|recording| format!("{base}{}", audio_path(&self.account.sid, recording)));
        let mut members = vec![("RecordingUrl", Node::text(plain))];
        if let Some(minutes) = self.validity_minutes {
            let signed = recording.map(|recording| {
                let link = Link::lasting(recording, minutes, &self.caller.signer(), self.now);
                show_link(self.door, self.account, &link)
            });
            members.push(("PreSignedRecordingUrl", Node::text(signed)));
        }
        members
    }
}

/// Recordings as the platform lists them
///
/// Newest first. XML at `/recordings`, JSON at `/recordings.json`. `Total` counts up to 10,000.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/recordings.json", tag = "platform", operation_id = "list_platform_recordings",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("CallSid" = Option<String>, Query, description = "Of this call"),
        ("DateCreated" = Option<String>, Query, description = "`gte:2019-01-01 00:00:00;lte:2019-01-31 23:59:59`, local time"),
        ("PageSize" = Option<u32>, Query, description = "1 to 100, 50 if absent"),
        ("After" = Option<String>, Query, description = "From `NextPageUri`"),
        ("RecordingUrlValidity" = Option<u32>, Query, description = "5 to 60 minutes: signed links as well"),
    ),
    responses(
        (status = 200, description = "`{\"Metadata\": {...}, \"Recordings\": [...]}`", body = Object),
        (status = 400, description = "`RestException`: a parameter is wrong", body = Object),
        (status = 404, description = "`RestException`: no such account for this token", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, platform: Platform, RawQuery(query): RawQuery) -> Response {
    let done = answer_list(&door, &platform, query.unwrap_or_default(), None).await;
    platform.finish(done)
}

/// A call's recordings
#[utoipa::path(
    get, path = "/v1/accounts/{account}/calls/{sid}/recordings.json", tag = "platform", operation_id = "list_recordings_of_call",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the call"),
        ("DateCreated" = Option<String>, Query, description = "As for all recordings"),
        ("PageSize" = Option<u32>, Query, description = "1 to 100, 50 if absent"),
        ("After" = Option<String>, Query, description = "From `NextPageUri`"),
        ("RecordingUrlValidity" = Option<u32>, Query, description = "5 to 60 minutes: signed links as well"),
    ),
    responses(
        (status = 200, description = "`{\"Metadata\": {...}, \"Recordings\": [...]}`", body = Object),
        (status = 400, description = "`RestException`: a parameter is wrong", body = Object),
        (status = 404, description = "`RestException`: no such call", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn of_call(
    State(door): State<Arc<Door>>,
    platform: Platform,
    Path(place): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let done = async {
        let call = read_sid(&place.1, "call")?;
        let account = door.vault.get_account(&platform.caller.account).await?;
        // A call that is not there has no listing, not an empty one.
        door.line.get_call(&account, call, platform.caller.reader()).await?;
        answer_list(&door, &platform, query.unwrap_or_default(), Some(call)).await
    };
    platform.finish(done.await)
}

/// A recording as the platform shows it
#[utoipa::path(
    get, path = "/v1/accounts/{account}/recordings/{sid}", tag = "platform", operation_id = "get_platform_recording",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the recording; with `.json` behind it the answer is JSON, otherwise XML"),
        ("RecordingUrlValidity" = Option<u32>, Query, description = "5 to 60 minutes: a signed link as well"),
    ),
    responses(
        (status = 200, description = "`{\"Recording\": {...}}`", content((Object = "application/json"), (String = "application/xml"))),
        (status = 400, description = "`RestException`: a parameter is wrong", content((Object = "application/json"), (String = "application/xml"))),
        (status = 404, description = "`RestException`: there is none, or it is gone", content((Object = "application/json"), (String = "application/xml"))),
        (status = 429, description = "`RestException`: over the rate limit", content((Object = "application/json"), (String = "application/xml"))),
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(door): State<Arc<Door>>,
    platform: Platform,
    Path(place): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let done = async {
        let validity = read_validity(&Fields::parse(query.unwrap_or_default().as_bytes()))?;
        let sid = read_sid(&place.1, "recording")?;
        let caller = &platform.caller;
        let account = door.vault.get_account(&caller.account).await?;
        let view = door.vault.get_recording(&account.sid, sid, caller.reader()).await?;
        let audio = AudioUrls::new(&door, &account, caller, validity);
        let node = recording_node(&door, &account, &view, &audio);
        Ok((StatusCode::OK, Node::of("Recording", node)))
    };
    platform.finish(done.await)
}

/// Ask for a recording's deletion
///
/// The platform deletes recordings through its support; here it is a request that somebody else approves, see
/// `/requests`. Nothing is deleted when this answers.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/recordings/{sid}", tag = "platform", operation_id = "delete_platform_recording",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the recording; with `.json` behind it the answer is JSON, otherwise XML"),
        ("Reason" = Option<String>, Query, description = "Why, at most 500 characters"),
    ),
    responses(
        (status = 202, description = "`{\"Status\": 202, \"Message\": \"Accepted\", \"RequestSid\": \"...\"}`: somebody else has to approve", content((Object = "application/json"), (String = "application/xml"))),
        (status = 400, description = "`RestException`: a parameter is wrong", content((Object = "application/json"), (String = "application/xml"))),
        (status = 404, description = "`RestException`: there is none, or it is gone", content((Object = "application/json"), (String = "application/xml"))),
        (status = 409, description = "`RestException`: a hold or a law keeps it, or an open request asks for the same", content((Object = "application/json"), (String = "application/xml"))),
        (status = 429, description = "`RestException`: over the rate limit", content((Object = "application/json"), (String = "application/xml"))),
    ),
    security(("token" = [])),
)]
pub async fn delete(
    State(door): State<Arc<Door>>,
    platform: Platform,
    Path(place): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let done = async {
        let fields = Fields::parse(query.unwrap_or_default().as_bytes());
        let reason = fields.find("Reason").unwrap_or("Asked for by DELETE.");
        let reason = read_text("Reason", reason)?;
        let recording = read_sid(&place.1, "recording")?;
        let account = door.vault.get_account(&platform.caller.account).await?;
        let asked = Asked::DeleteRecording { recording };
        let person = person_of(&platform.caller);
        let view = door.line.open_request(&account, asked, reason, person).await?;
        let node = Node::Map(vec![
            ("Status", Node::Number(202)),
            ("Message", Node::Text("Accepted".to_owned())),
            ("RequestSid", Node::Text(view.id.to_string())),
        ]);
        Ok((StatusCode::ACCEPTED, node))
    };
    platform.finish(done.await)
}

async fn answer_list(
    door: &Door,
    platform: &Platform,
    text: String,
    of_call: Option<Sid>,
) -> Result<(StatusCode, Node), Fault> {
    let fields = Fields::parse(text.as_bytes());
    let caller = &platform.caller;
    let account = door.vault.get_account(&caller.account).await?;
    let validity = read_validity(&fields)?;
    let page_size = fields.number("PageSize", 1..=100)?.unwrap_or(50);
    let mut query = read_query(&fields, &account, page_size)?;
    query.call_sid = of_call.or(query.call_sid);
    let counted = RecordingQuery {
        after: None,
        ..query.clone()
    };
    let reader = caller.reader();
    let total = door
        .vault
        .count_readable_recordings(&account, counted, reader, MAX_TOTAL)
        .await?;
    let (views, next) = door.vault.list_recordings(&account.sid, query, reader).await?;
    let resource = match of_call {
        Some(call) => format!("Calls/{call}/Recordings"),
        None => "Recordings".to_owned(),
    };
    let uri = |cursor| page_uri(&account, &resource, &text, cursor);
    let number = |value: usize| Node::Number(i64::try_from(value).unwrap_or(i64::MAX));
    let next = next.map(|(at, sid)| uri(Some(("After", Cursor { at, sid }))));
    let metadata = Node::Map(vec![
        ("Total", number(total)),
        ("PageSize", Node::Number(i64::from(page_size))),
        ("FirstPageUri", Node::Text(uri(None))),
        ("NextPageUri", Node::text(next)),
    ]);
    let audio = AudioUrls::new(door, &account, caller, validity);
    let nodes = views.iter().map(|view| recording_node(door, &account, view, &audio));
    let recordings = Node::List("Recording", nodes.collect());
    let node = Node::Map(vec![("Metadata", metadata), ("Recordings", recordings)]);
    Ok((StatusCode::OK, node))
}

fn read_query(fields: &Fields, account: &Account, page_size: u32) -> Result<RecordingQuery, Fault> {
    let read_call = |text: &str| {
        let sid = text.to_ascii_lowercase().parse::<Sid>();
        sid.map_err(|_| Fault::bad("CallSid", "Expected a SID of 32 hexadecimal digits."))
    };
    let read_after = |text: &str| {
        let cursor = parse_cursor(text).map_err(|_| Fault::bad("After", "Take it from the answer's page URIs."))?;
        Ok::<_, Fault>((cursor.at, cursor.sid))
    };
    let dates = fields.find("DateCreated").unwrap_or_default();
    let dates = Bounds::parse("DateCreated", dates, |text| read_local(text, account))?;
    Ok(RecordingQuery {
        from: dates.least.map(TimeUs),
        // A second that is named is meant whole.
        to: dates.most.map(|most| TimeUs(most.saturating_add(SECOND_US))),
        call_sid: fields.find("CallSid").map(read_call).transpose()?,
        call_sids: Vec::new(),
        party: None,
        after: fields.find("After").map(read_after).transpose()?,
        newest_first: true,
        limit: page_size,
    })
}

fn recording_node(door: &Door, account: &Account, view: &RecordingView, audio: &AudioUrls<'_>) -> Node {
    let time = |at| Node::Text(door.line.local_time(account, at));
    let sid = account.sid.as_str();
    let duration_s = view.meta.duration_ms.div_ceil(1_000);
    let mut members = vec![
        ("Sid", Node::Text(view.sid.to_string())),
        ("AccountSid", Node::Text(sid.to_owned())),
        ("CallSid", Node::text(view.call_sid.map(|sid| sid.to_string()))),
        ("Duration", Node::Text(duration_s.to_string())),
        ("DateCreated", time(view.at)),
        ("DateUpdated", time(view.at)),
        ("ApiVersion", Node::Text("v1".to_owned())),
        (
            "Uri",
            Node::Text(format!("/v1/Accounts/{sid}/Recordings/{}.json", view.sid)),
        ),
    ];
    members.extend(audio.members(Some(view.sid)));
    Node::Map(members)
}
