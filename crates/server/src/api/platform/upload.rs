//! `/v2/accounts/{account}/contacts/csv-upload`: a file of contacts becomes a list.

use std::sync::Arc;

use axum::{
    extract::{Multipart, Path, State, multipart::MultipartRejection},
    http::StatusCode,
    response::Response,
};
use callvault_app::{Account, contact::upload::Upload, document::Document};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::envelope::{Envelope, Failure, Item, V2, read_sid, show_moment};
use crate::{api::MAX_JSON_BYTES, door::Door, problem::Problem};

/// A file of contacts, as `multipart/form-data`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form")]
pub struct UploadForm {
    /// The list that the contacts become members of; made if there is none of this name.
    #[schema(max_length = 255)]
    list_name: String,
    /// The CSV file: a header line with `number` and any of `first_name`, `last_name`, `company_name`, `email`, `tag`,
    /// `custom`.
    #[schema(value_type = String, format = Binary)]
    file_name: Vec<u8>,
    /// `static` or `dynamic`; both become the same kind of list.
    r#type: Option<String>,
}

/// How far an upload is.
#[derive(Serialize, ToSchema)]
pub struct UploadData {
    /// Identifier, for `csv-status`.
    pub upload_id: String,
    /// `completed`: an upload is answered when it is done.
    pub status: &'static str,
    /// The list.
    pub list_sid: String,
    /// Contacts that are new.
    pub success_count: u64,
    /// Contacts that were there already; they are on the list now.
    pub duplicate_count: u64,
    /// Rows that are no contact, or may not be added.
    pub failure_count: u64,
    /// The first hundred of them.
    pub failures: Vec<FailedRow>,
    /// When it was done.
    #[schema(format = DateTime)]
    pub date_created: String,
}

/// A row that was refused.
#[derive(Serialize, ToSchema)]
pub struct FailedRow {
    /// Row number; the header is row 1.
    pub row: u64,
    /// What is wrong, with the field's name.
    pub reason: String,
}

impl UploadData {
    fn of(account: &Account, upload: Document<Upload>) -> Self {
        let body = upload.body;
        let failures = body.failures.into_iter();
        Self {
            upload_id: upload.id.to_string(),
            status: "completed",
            list_sid: body.list.to_string(),
            success_count: body.success,
            duplicate_count: body.duplicate,
            failure_count: body.failure,
            failures: failures
                .map(|bad| FailedRow {
                    row: bad.row,
                    reason: bad.reason,
                })
                .collect(),
            date_created: show_moment(account, upload.at),
        }
    }
}

/// Upload contacts
///
/// At most 16 MiB and 200,000 rows. A bad row is told and costs itself alone; sending the file again adds nothing twice.
#[utoipa::path(
    post, path = "/v2/accounts/{account}/contacts/csv-upload", tag = "contacts", operation_id = "upload_contacts",
    params(("account" = String, Path, description = "Account SID")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "Done", body = Envelope<Item<UploadData>>),
        (status = 400, description = "The form or the file is wrong", body = Envelope<Item<Value>>),
        (status = 404, description = "No such account for this token", body = Envelope<Item<Value>>),
        (status = 409, description = "The account has as many lists as it may have", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn upload(State(door): State<Arc<Door>>, v2: V2, form: Result<Multipart, MultipartRejection>) -> Response {
    let done = async {
        let form = form.map_err(|rejection| match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::BAD_REQUEST => Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-a-form",
                "Send multipart/form-data.",
            ),
            _ => Problem::internal().into(),
        })?;
        let (list_name, file) = read_form(form).await?;
        let account = door.vault.get_account(&v2.caller.account).await?;
        let upload = door.vault.upload_contacts(&account, &list_name, &file).await?;
        Ok(UploadData::of(&account, upload))
    };
    v2.one(done.await)
}

async fn read_form(mut form: Multipart) -> Result<(String, Vec<u8>), Failure> {
    let broken = |error: &axum::extract::multipart::MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(MAX_JSON_BYTES).into(),
        _ => Failure::bad("body", "The form broke off, or is malformed."),
    };
    let (mut list_name, mut file) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = field.name().unwrap_or_default().to_ascii_lowercase();
        let is_file = field.file_name().is_some();
        let bytes = field.bytes().await.map_err(|error| broken(&error))?;
        match name.as_str() {
            "list_name" => list_name = String::from_utf8(bytes.to_vec()).ok(),
            "file_name" | "file" if is_file || file.is_none() => file = Some(bytes.to_vec()),
            "type" if !matches!(bytes.as_ref(), b"static" | b"dynamic" | b"") => {
                return Err(Failure::bad("type", "Expected static or dynamic."));
            }
            "type" | "file_name" | "file" => {}
            _ => {
                return Err(Failure::bad(
                    "body",
                    "The form has a field that is none of list_name, file_name, type.",
                ));
            }
        }
    }
    let list_name = list_name.ok_or_else(|| Failure::bad("list_name", "Mandatory parameter missing."))?;
    let file = file.ok_or_else(|| Failure::bad("file_name", "Mandatory parameter missing."))?;
    Ok((list_name, file))
}

/// How far an upload is
#[utoipa::path(
    get, path = "/v2/accounts/{account}/csv-status/{id}", tag = "contacts", operation_id = "get_upload",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("id" = String, Path, description = "`upload_id` of the upload's answer"),
    ),
    responses(
        (status = 200, description = "What became of it", body = Envelope<Item<UploadData>>),
        (status = 404, description = "There is none, or it is gone", body = Envelope<Item<Value>>),
        (status = 429, description = "Over the rate limit", body = Envelope<Item<Value>>),
    ),
    security(("token" = [])),
)]
pub async fn status(State(door): State<Arc<Door>>, v2: V2, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let account = door.vault.get_account(&v2.caller.account).await?;
        let upload = door.vault.get_upload(&account, read_sid(&place.1, "upload")?).await?;
        Ok(UploadData::of(&account, upload))
    };
    v2.one(done.await)
}
