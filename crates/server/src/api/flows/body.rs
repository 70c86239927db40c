//! Flows as JSON.

use callvault_app::{
    core::flow::{Applet, Flow},
    flow::SavedFlow,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::platform::form::{TARGET, read_target},
    problem::{Answer, Problem},
};

/// A flow to be saved.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFlow {
    /// What people call it.
    pub name: String,
    /// The applet that a call begins with.
    pub start: String,
    /// Applets by their names.
    #[schema(value_type = Object)]
    pub applets: Map<String, Value>,
}

impl NewFlow {
    /// Reads it. What an applet lacks is said with its name.
    pub(super) fn read(self) -> Answer<Flow> {
        let mut applets = std::collections::BTreeMap::new();
        for (name, applet) in self.applets {
            let read = serde_json::from_value(applet);
            let wrong = |reason: String| {
                let name: String = name.chars().filter(|c| !c.is_control()).take(32).collect();
                Problem::invalid("applets", format!("applet `{name}`: {reason}"))
            };
            let applet: Applet = read.map_err(|error: serde_json::Error| wrong(error.to_string()))?;
            if applet.urls().any(|url| read_target(url).is_none()) {
                return Err(wrong(format!("`url` and `fallback_url`: {TARGET}")));
            }
            applets.insert(name, applet);
        }
        Ok(Flow {
            name: self.name,
            start: self.start,
            applets,
        })
    }
}

/// A flow.
#[derive(Serialize, ToSchema)]
pub struct FlowBody {
    /// Identifier; the same for all its versions.
    pub id: String,
    /// Counts from 1.
    pub version: u32,
    /// When it was saved.
    #[schema(format = DateTime)]
    pub saved_at: String,
    /// What people call it.
    pub name: String,
    /// The applet that a call begins with.
    pub start: String,
    /// Applets by their names, as they were saved.
    #[schema(value_type = Object)]
    pub applets: Value,
}

impl From<SavedFlow> for FlowBody {
    fn from(saved: SavedFlow) -> Self {
        Self {
            id: saved.id.to_string(),
            version: saved.version,
            saved_at: saved.saved_at.to_string(),
            name: saved.flow.name,
            start: saved.flow.start,
            applets: serde_json::to_value(saved.flow.applets).unwrap_or_default(),
        }
    }
}
