//! `POST /v1/accounts/{account}/exports/jobs`.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use callvault_app::{
    conversion::parse_format,
    core::Class,
    export::{ExportOrder, Format, JobContent, JobDelivery, JobState},
};

use super::body::{ExportJobBody, NewExportJob};
use crate::{
    api::params::{JsonBody, parse_time, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Export in the background
///
/// A job writes the export once, counts it and computes its checksum; `GET` shows how far it is. With `delivery: "target"` it
/// goes to the account's own bucket or folder and is read back; otherwise `path` of the result gives exactly these bytes, and the
/// vault keeps no copy. An attempt that fails is followed by four more within three hours; one whose records come in,
/// lapse or are deleted meanwhile is begun anew four times at most. The webhook events `export.done` and `export.failed` tell the
/// end. An account has ten jobs at most that are not over; the latest thirty that are over are remembered.
#[utoipa::path(
    post, path = "/v1/accounts/{account}/exports/jobs", tag = "exports", operation_id = "create_export_job",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewExportJob,
    responses(
        (status = 202, description = "Accepted", body = ExportJobBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Too many jobs that are not over", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewExportJob>,
) -> Answer<(StatusCode, Json<ExportJobBody>)> {
    let new = read_json(body)?;
    let order = read(&caller, &new)?;
    let account = door.vault.get_account(&caller.account).await?;
    let job = door.line.order_export(&account, order).await?;
    let body = ExportJobBody::new(&account.sid, &job, JobState::default());
    Ok((StatusCode::ACCEPTED, Json(body)))
}

fn read(caller: &Caller, new: &NewExportJob) -> Answer<ExportOrder> {
    let format = new.format.as_deref();
    let content = match new.class.parse() {
        Ok(Class::Recording) => JobContent::Recordings {
            format: parse_format(format.unwrap_or("original"))?,
        },
        Ok(class @ (Class::Call | Class::Message | Class::CampaignReport)) => JobContent::Records {
            class,
            format: format.unwrap_or("csv").parse::<Format>()?,
        },
        _ => {
            let detail = "Expected call, message, campaign_report or recording.";
            return Err(Problem::invalid("class", detail));
        }
    };
    let time = |field, text: &Option<String>| text.as_deref().map(|text| parse_time(field, text)).transpose();
    let delivery = match new.delivery.as_deref() {
        None | Some("download") => JobDelivery::Download,
        Some("target") => JobDelivery::Target,
        Some(_) => return Err(Problem::invalid("delivery", "Expected download or target.")),
    };
    Ok(ExportOrder {
        content,
        from: time("from", &new.from)?,
        to: time("to", &new.to)?,
        reader: caller.reader(),
        delivery,
    })
}
