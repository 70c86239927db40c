//! `GET /v1/accounts/{account}/forecast`.

use std::sync::Arc;

use axum::{Json, extract::State};
use callvault_app::core::forecast::{Because, ForecastRow};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::params::Params,
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// Days looked ahead when the request does not say.
const DEFAULT_DAYS: i64 = 30;

/// What will be deleted.
#[derive(Serialize, ToSchema)]
pub struct ForecastBody {
    /// From now.
    #[schema(format = DateTime)]
    pub from: String,
    /// Up to, not including.
    #[schema(format = DateTime)]
    pub to: String,
    /// By day, class and reason.
    pub rows: Vec<ForecastRowBody>,
}

/// Records of one class that go on one day.
#[derive(Serialize, ToSchema)]
pub struct ForecastRowBody {
    /// UTC day, `YYYY-MM-DD`.
    pub day: String,
    /// Class.
    pub class: &'static str,
    /// How many.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
    /// `term_over`, `floor_over` or `hold_lifted`.
    pub because: &'static str,
}

impl From<&ForecastRow> for ForecastRowBody {
    fn from(row: &ForecastRow) -> Self {
        Self {
            day: row.day.to_string(),
            class: row.class.as_str(),
            records: row.records,
            bytes: row.bytes,
            because: match row.because {
                Because::TermOver => "term_over",
                Because::FloorOver => "floor_over",
                Because::HoldLifted => "hold_lifted",
            },
        }
    }
}

/// What will be deleted, and when
///
/// Computed by the rules that delete.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/forecast", tag = "retention", operation_id = "get_forecast",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("to" = Option<String>, Query, description = "Up to, RFC 3339; 30 days ahead if absent"),
    ),
    responses(
        (status = 200, description = "The forecast", body = ForecastBody),
        (status = 404, description = "There is none, it is gone, or it is not this token's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Refused, with the reason and the field", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, caller: Caller, mut params: Params) -> Answer<Json<ForecastBody>> {
    let now = door.vault.now();
    let to = params.take_time("to")?.unwrap_or_else(|| now.plus_days(DEFAULT_DAYS));
    params.finish()?;
    if to <= now {
        return Err(Problem::invalid("to", "Must lie ahead."));
    }
    let rows = door.vault.forecast(&caller.account, to).await?;
    let rows = rows.iter().map(ForecastRowBody::from).collect();
    Ok(Json(ForecastBody {
        from: now.to_string(),
        to: to.to_string(),
        rows,
    }))
}
