//! `PUT /v1/accounts/{account}/exports/schedule`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use callvault_app::{
    conversion::parse_format,
    core::{Class, TimeUs},
    export::Format,
    schedule::{Bucket, Schedule, Target},
};

use super::body::{NewSchedule, ScheduleBody};
use crate::{
    api::params::{JsonBody, read_json},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Export on schedule
///
/// Every six hours, what lapses within `days_before` days is written to the account's own bucket or folder, read back, listed
/// in a manifest, and left out of the warnings of `recordings.lapsing`. Something is written and read back before this
/// answers; the first run begins at once. An attempt that fails is tried again, and told in the activity log, by the
/// webhook event `export.failed`, and to the operator.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/exports/schedule", tag = "exports", operation_id = "set_export_schedule",
    params(("account" = String, Path, description = "Account SID")),
    request_body = NewSchedule,
    responses(
        (status = 200, description = "Set; a bucket's keys are not shown again", body = ScheduleBody),
        (status = 404, description = "No such account for this token", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A wrong field, a target that may not be one, or one that cannot be written and read", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn put(
    State(door): State<Arc<Door>>,
    caller: Caller,
    body: JsonBody<NewSchedule>,
) -> Answer<Json<ScheduleBody>> {
    let schedule = read(read_json(body)?)?;
    let account = door.vault.get_account(&caller.account).await?;
    door.line.set_schedule(&account, schedule).await?;
    let schedule = door.vault.find_schedule(&account).await?;
    let schedule = schedule.ok_or_else(|| Problem::not_found("schedule"))?;
    let runs = door.vault.list_export_runs(&account).await?;
    Ok(Json(ScheduleBody::new(&schedule, runs)))
}

fn read(new: NewSchedule) -> Answer<Schedule> {
    let target = match (new.bucket, new.folder) {
        (Some(bucket), None) => Target::Bucket(Bucket {
            endpoint: bucket.endpoint,
            region: bucket.region,
            bucket: bucket.name,
            prefix: bucket.prefix.trim_matches('/').to_owned(),
            access_key: bucket.access_key,
            secret_key: bucket.secret_key,
        }),
        (None, Some(folder)) => Target::Folder(folder),
        _ => return Err(Problem::invalid("bucket", "Name either a bucket or a folder.")),
    };
    let all = || vec!["recording".to_owned(), "call".to_owned(), "message".to_owned()];
    let classes: BTreeSet<Class> = new
        .classes
        .unwrap_or_else(all)
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| Problem::invalid("classes", "Expected recording, call and message, or some of them."))?;
    let format = new.records_format.map(|text| text.parse::<Format>()).transpose();
    let expected = |_| Problem::invalid("records_format", "Expected csv, ndjson, json or parquet.");
    let audio = new.audio_format.map(|text| parse_format(&text)).transpose();
    Ok(Schedule {
        target,
        classes,
        records_format: format.map_err(expected)?.unwrap_or(Format::Csv),
        audio_format: audio
            .map_err(|_| Problem::invalid("audio_format", "Expected original, wav or mp3."))?
            .flatten(),
        days_before: new.days_before,
        set_at: TimeUs::default(),
    })
}
