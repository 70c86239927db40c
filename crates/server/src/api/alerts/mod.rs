//! Who of an account is told by e-mail.

pub mod get;
pub mod put;

use callvault_app::line::Alerts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who is told of what by e-mail.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertsBody {
    /// Addresses, at most 10.
    pub addresses: Vec<String>,
    /// `recordings.lapsing`, `webhook.disabled`; all if absent or empty.
    #[serde(default)]
    pub events: Vec<String>,
}

impl From<Alerts> for AlertsBody {
    fn from(alerts: Alerts) -> Self {
        Self {
            addresses: alerts.addresses,
            events: alerts.events,
        }
    }
}
