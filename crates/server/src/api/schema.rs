//! What the derived description cannot say: the forms of parameters by their names, and of bodies that are read by hand.
//!
//! A parameter of one name has one form in every operation, as it has one reader in [`super::params`].

mod campaign;
mod consent;
mod flow;

use serde_json::{Value, json};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, Parameter, ParameterIn},
    request_body::RequestBody,
    schema::Schema,
};

/// Formats beside JSON Schema's own: a telephone number in any spelling, an extension, a SIP user or a sender's name.
const PARTY: &str = "telephone";

/// Writes the forms into a description.
pub(super) fn refine(openapi: &mut OpenApi) {
    for (path, item) in &mut openapi.paths.paths {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            refine_operation(path, operation);
        }
    }
    let components = openapi.components.get_or_insert_with(Default::default);
    for (name, schema) in &mut components.schemas {
        if name.starts_with("Envelope_") {
            allow_no_data(schema);
        }
    }
    for (name, property, form) in properties() {
        if let (Some(RefOr::T(Schema::Object(object))), Some(form)) =
            (components.schemas.get_mut(name), read_schema(form))
        {
            let form = match object.properties.get(property).and_then(said_of) {
                Some(said) => with_description(form, &said),
                None => form,
            };
            object.properties.insert(property.to_owned(), form);
        }
    }
    for (name, schema) in bodies() {
        if let Some(schema) = read_schema(schema) {
            components.schemas.insert(name.to_owned(), schema);
        }
    }
}

/// An item of version 2 that failed has `null` for its data.
fn allow_no_data(schema: &mut RefOr<Schema>) {
    let Ok(mut json) = serde_json::to_value(&*schema) else {
        return;
    };
    for place in [
        "/properties/response/properties/data",
        "/properties/response/items/properties/data",
    ] {
        if let Some(data) = json.pointer_mut(place) {
            *data = json!({ "oneOf": [{ "type": "null" }, data.take()] });
        }
    }
    if let Some(schema_with_null) = read_schema(json) {
        *schema = schema_with_null;
    }
}

/// The forms of single properties of derived bodies: body, property, form.
fn properties() -> Vec<(&'static str, &'static str, Value)> {
    let scopes: Vec<&str> = callvault_app::scope::Scope::ALL
        .iter()
        .map(|scope| scope.as_str())
        .collect();
    let classes = json!({ "type": "array", "minItems": 1, "items": { "type": "string", "enum": ["recording", "call", "message"] } });
    vec![
        (
            "TokenRequest",
            "scopes",
            json!({ "type": "array", "items": { "type": "string", "enum": scopes } }),
        ),
        (
            "NewRequest",
            "kind",
            json!({ "type": "string", "enum": ["delete_recording"] }),
        ),
        ("NewSuppression", "number", party()),
        (
            "NewSuppression",
            "reason",
            json!({ "type": "string", "maxLength": 500, "pattern": "\\S" }),
        ),
        (
            "UploadForm",
            "type",
            json!({ "type": "string", "enum": ["static", "dynamic"] }),
        ),
        (
            "UploadForm",
            "list_name",
            json!({ "type": "string", "maxLength": 255, "pattern": "^[!-~][ -~]*$" }),
        ),
        ("NewSchedule", "classes", classes),
        (
            "NewExportJob",
            "class",
            one_of(&["call", "message", "campaign_report", "recording"]),
        ),
        (
            "NewExportJob",
            "format",
            or_null(one_of(&["csv", "ndjson", "json", "parquet", "original", "wav", "mp3"])),
        ),
        ("NewExportJob", "delivery", or_null(one_of(&["download", "target"]))),
        ("NewExportJob", "from", given_moment()),
        ("NewExportJob", "to", given_moment()),
    ]
}

/// What the derived description says of a property.
fn said_of(schema: &RefOr<Schema>) -> Option<Value> {
    let mut json = serde_json::to_value(schema).ok()?;
    json.get_mut("description").map(Value::take)
}

fn with_description(schema: RefOr<Schema>, said: &Value) -> RefOr<Schema> {
    let json = serde_json::to_value(&schema)
        .ok()
        .filter(|json| json["description"].is_null());
    let described = json.and_then(|mut json| {
        json["description"] = said.clone();
        read_schema(json)
    });
    described.unwrap_or(schema)
}

fn read_schema(json: Value) -> Option<RefOr<Schema>> {
    serde_json::from_value(json).ok()
}

fn refine_operation(path: &str, operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let form = match parameter.parameter_in {
            ParameterIn::Path => path_form(path, &parameter.name),
            ParameterIn::Query => query_form(&id, parameter),
            _ => None,
        };
        if let Some(form) = form.and_then(read_schema) {
            parameter.schema = Some(form);
        }
    }
    if let Some((kind, name)) = body_of(&id) {
        let description = match &operation.request_body {
            Some(RefOr::T(body)) => body.description.clone(),
            _ => None,
        };
        let body = json!({
            "required": true, "description": description.unwrap_or_default(),
            "content": { kind: { "schema": { "$ref": format!("#/components/schemas/{name}") } } },
        });
        if let Ok(body) = serde_json::from_value::<RequestBody>(body) {
            operation.request_body = Some(RefOr::T(body));
        }
    }
}

fn path_form(path: &str, name: &str) -> Option<Value> {
    let below = path.strip_prefix(crate::access::ACCOUNT_PATH);
    Some(match name {
        "account" => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{3,64}$" }),
        "sid" if below.is_some_and(|below| below.starts_with("/calls/") || below.starts_with("/sms/")) => {
            json!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}(\\.json)?$" })
        }
        "sid" => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}$" }),
        "index" => json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
        _ => return None,
    })
}

/// The form of a query's parameter: what [`super::params::Params`] reads under this name.
fn query_form(id: &str, parameter: &Parameter) -> Option<Value> {
    let is_platform = parameter.name.starts_with(|first: char| first.is_ascii_uppercase());
    if is_platform {
        return platform_form(&parameter.name);
    }
    Some(match parameter.name.as_str() {
        "limit" if matches!(id, "list_contacts" | "list_lists" | "list_contacts_of_list") => {
            json!({ "type": "integer", "minimum": 1, "maximum": 20 })
        }
        "limit" if matches!(id, "list_campaigns" | "list_campaign_calls") => {
            json!({ "type": "integer", "minimum": 1, "maximum": 500 })
        }
        "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 1000 }),
        "offset" => {
            let none = json!({ "type": "string", "maxLength": 0 });
            json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": u32::MAX }, none] })
        }
        "sort_by" => one_of(&["date_created:asc", "date_created:desc", "name:asc", "name:desc"]),
        "filter" => one_of(&["show_list"]),
        "list" => json!({ "type": "string", "pattern": "^([0-9a-fA-F]{32})?$" }),
        "recording" => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}$" }),
        "list_sids" => json!({ "type": "string", "pattern": "^([0-9a-f]{32}(,[0-9a-f]{32}){0,4})?$" }),
        "overlap_s" => json!({ "type": "integer", "minimum": 0, "maximum": 2_592_000 }),
        "after" if id == "list_suppressions" => json!({ "type": "string", "pattern": "^[0-9a-fA-F]{0,32}$" }),
        "before" if id == "list_deletions" => json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
        "after" => json!({ "type": "string", "pattern": "^([0-7][0-9a-f]{47})?$" }),
        "snapshot" => json!({ "type": "string", "pattern": "^([0-7][0-9a-f]{47})?$" }),
        "call_sid" => json!({ "type": "string", "pattern": "^([0-9a-fA-F]{32})?$" }),
        "from" | "to" if id == "create_recording" => party(),
        "since" => moment(),
        "from" | "to" | "at" => asked_moment(),
        "number" => party(),
        "direction" => one_of(&["inbound", "outbound-dial", "outbound-api"]),
        "status" if id == "list_messages" => {
            one_of(&["queued", "sending", "submitted", "sent", "failed", "failed-dnd"])
        }
        "status" if id == "list_calls" => one_of(CALL_STATUSES),
        "class" if id == "get_export_manifest" => one_of(&["call", "message", "campaign_report"]),
        "class" if id == "bulk" => one_of(&["call", "message"]),
        "format" if id == "get_export_manifest" => one_of(&["csv", "ndjson", "json", "parquet"]),
        "format" if id == "export_recordings" => one_of(&["original", "wav", "mp3"]),
        "consent" => one_of(&["announced", "accepted", "contract", "attested"]),
        "consent_version" | "consent_by" | "file_name" => {
            json!({ "type": "string", "maxLength": 200, "pattern": "^[ -~]*$" })
        }
        "name" if id == "create_prompt" => text(1, 255),
        "recording_days" => json!({ "type": "integer", "minimum": 1, "maximum": 365 }),
        "details" => one_of(&["true", "false"]),
        _ => return None,
    })
}

const CALL_STATUSES: &[&str] = &[
    "completed",
    "no-answer",
    "busy",
    "failed",
    "canceled",
    "queued",
    "ringing",
    "in-progress",
];

fn platform_form(name: &str) -> Option<Value> {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    Some(match name {
        "Page" => json!({ "type": "integer", "minimum": 0, "maximum": 100_000 }),
        "PageSize" => json!({ "type": "integer", "minimum": 1, "maximum": 100 }),
        "RecordingUrlValidity" => json!({ "type": "integer", "minimum": 5, "maximum": 60 }),
        "Direction" => json!({ "type": "string", "enum": ["inbound", "outbound-dial", "outbound-api"] }),
        "From" | "To" | "PhoneNumber" => party(),
        "Sid" => text("^([0-9a-fA-F]{32}(,[0-9a-fA-F]{32}){0,99})?$"),
        "Before" | "After" => text("^([0-7][0-9a-f]{47})?$"),
        _ => return None,
    })
}

fn party() -> Value {
    json!({ "type": "string", "maxLength": 64, "format": PARTY })
}

fn moment() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn one_of(values: &[&str]) -> Value {
    json!({ "type": "string", "enum": values })
}

/// A moment or a day in a body.
fn given_moment() -> Value {
    or_null(json!({ "anyOf": [moment(), { "type": "string", "format": "date" }] }))
}

fn or_null(form: Value) -> Value {
    json!({ "anyOf": [form, { "type": "null" }] })
}

/// A moment or a day in a query; an empty one is none.
fn asked_moment() -> Value {
    let none = json!({ "type": "string", "maxLength": 0 });
    json!({ "anyOf": [moment(), { "type": "string", "format": "date" }, none] })
}

/// The bodies that handlers read by hand: media type and schema.
fn body_of(id: &str) -> Option<(&'static str, &'static str)> {
    Some(match id {
        "connect_call" => ("application/x-www-form-urlencoded", "ConnectForm"),
        "send_message" => ("application/x-www-form-urlencoded", "MessageForm"),
        "send_messages" => ("application/json", "BulkMessages"),
        "create" => ("application/json", "NewRecords"),
        "create_campaigns" => ("application/json", "NewCampaigns"),
        _ => return None,
    })
}

fn text(least: u32, most: u32) -> Value {
    json!({ "type": "string", "minLength": least, "maxLength": most })
}

/// An address that is told something: a name or an address of numbers, and any port.
fn target() -> Value {
    let label = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9_])?";
    let last = "[A-Za-z]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?";
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let v6 = "\\[([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){7}|([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){0,3})?::([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){0,2})?)\\]";
    let host = format!("(({label}\\.)*{last}|{byte}(\\.{byte}){{3}}|{v6})");
    let port = "(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4}))?";
    json!({ "type": "string", "maxLength": 2000, "pattern": format!("^https?://{host}{port}([/?#][!-~]*)?$") })
}

/// As [`target`]; an empty one is none.
fn asked_target() -> Value {
    json!({ "anyOf": [target(), { "type": "string", "maxLength": 0 }] })
}

fn bodies() -> Vec<(&'static str, Value)> {
    let mut bodies = form_bodies();
    bodies.extend(json_bodies());
    bodies
}

fn form_bodies() -> Vec<(&'static str, Value)> {
    let seconds = json!({ "type": "integer", "minimum": 1, "maximum": 14_400 });
    let kind = json!({ "type": "string", "enum": ["multipart/form-data", "application/json"] });
    let flag = json!({ "type": "string", "enum": ["true", "false"] });
    let connect = |other: &str, form: Value| {
        json!({
            "type": "object", "required": ["From", "CallerId", other],
            "properties": {
                "From": party(), "CallerId": party(), other: form, "TimeLimit": seconds, "TimeOut": seconds,
                "Record": flag, "CustomField": text(0, 128), "StatusCallback": asked_target(),
                "StatusCallbackContentType": kind,
            },
        })
    };
    let message = json!({
        "type": "object", "required": ["From", "To", "Body"],
        "properties": {
            "From": party(), "To": party(), "Body": text(1, 2_000),
            "EncodingType": { "type": "string", "enum": ["plain", "unicode"] },
            "Priority": { "type": "string", "enum": ["normal", "high"] },
            "SmsType": { "type": "string", "enum": ["transactional", "transactional_opt_in", "promotional"] },
            "DltEntityId": text(0, 64), "DltTemplateId": text(0, 64), "CustomField": text(0, 128), "StatusCallback": asked_target(),
        },
    });
    let form = json!({
        "description": "A call between two numbers, or between a number and a flow.",
        "oneOf": [connect("To", party()), connect("Url", target())],
    });
    vec![("ConnectForm", form), ("MessageForm", message)]
}

fn json_bodies() -> Vec<(&'static str, Value)> {
    let maybe = |most: u32| json!({ "type": ["string", "null"], "maxLength": most });
    let message = json!({
        "type": "object", "required": ["From", "To", "Body"],
        "properties": {
            "From": party(), "To": party(), "Body": text(1, 2_000), "DltEntityId": maybe(64), "DltTemplateId": maybe(64),
            "CustomField": maybe(128),
        },
    });
    let bulk = json!({
        "type": "object", "required": ["sms"],
        "properties": { "sms": { "type": "array", "minItems": 1, "maxItems": 100, "items": message } },
    });
    let record = json!({
        "type": "object", "required": ["class", "at", "direction", "from", "to", "status"],
        "description": "A call or a message with its class's fields; unknown ones are kept in `extra`.",
        "properties": {
            "class": { "type": "string", "enum": ["call", "message"] }, "at": moment(),
            "direction": { "type": "string", "enum": ["inbound", "outbound-dial", "outbound-api"] },
            "from": party(), "to": party(), "status": { "type": "string" },
        },
    });
    let records = json!({
        "description": "One record, or up to 10,000.",
        "oneOf": [record, { "type": "array", "maxItems": 10_000, "items": record }],
    });
    let event = json!({ "type": "string", "enum": callvault_app::line::EVENTS });
    let endpoint = json!({
        "type": "object", "required": ["url"], "description": "An endpoint to be made.", "additionalProperties": false,
        "properties": {
            "url": target(), "events": { "type": "array", "items": event, "description": "All if absent or empty." },
        },
    });
    let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?";
    let address = format!("^[A-Za-z0-9_%+-]{{1,20}}(\\.[A-Za-z0-9_%+-]{{1,20}}){{0,2}}@{label}(\\.{label}){{1,6}}$");
    let address = json!({ "type": "string", "maxLength": 254, "pattern": address });
    let alert = json!({ "type": "string", "enum": callvault_app::line::ALERTS });
    let alerts = json!({
        "type": "object", "required": ["addresses"], "description": "Who is told of what by e-mail.",
        "additionalProperties": false,
        "properties": {
            "addresses": { "type": "array", "maxItems": callvault_app::line::MAX_ADDRESSES, "items": address },
            "events": { "type": "array", "items": alert, "description": "All if absent or empty." },
        },
    });
    vec![
        ("AlertsBody", alerts),
        ("BulkMessages", bulk),
        ("NewCampaigns", campaign::campaigns()),
        ("NewConsentPolicy", consent::policy()),
        ("NewEndpoint", endpoint),
        ("NewFlow", flow::flow()),
        ("NewHold", hold()),
        ("NewRecords", records),
    ]
}

/// A hold names what it covers in one of three ways.
fn hold() -> Value {
    let way = |names: &[&str], forms: Value, optional: Value| {
        let mut required = vec!["matter", "reason", "review_at"];
        required.extend(names);
        let mut properties = json!({ "matter": text(1, 2_000), "reason": text(1, 2_000), "review_at": moment() });
        for more in [forms, optional] {
            if let (Some(known), Some(more)) = (properties.as_object_mut(), more.as_object()) {
                known.extend(more.clone());
            }
        }
        json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
    };
    let sid = json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
    let sids = json!({ "sids": { "type": "array", "minItems": 1, "items": sid, "description": "These records; a call's SID also covers its recordings." } });
    let class = json!({ "class": { "type": "string", "enum": ["recording", "call", "message", "activity", "api_access", "webhook_delivery"] } });
    json!({
        "description": "A hold to place: on `sids`, on a `number` or name, or on the time `from` .. `to`.",
        "oneOf": [
            way(&["sids"], sids, json!({})),
            way(&["number"], json!({ "number": party() }), json!({})),
            way(&["from", "to"], json!({ "from": moment(), "to": moment() }), class),
        ],
    })
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;

    use super::*;

    #[test]
    fn every_form_is_a_schema_and_is_in_the_description() {
        for (name, body) in bodies() {
            assert!(read_schema(body).is_some(), "{name}");
        }
        let described = serde_json::to_value(super::super::ApiDoc::openapi()).expect("JSON");
        let limit = described["paths"]["/v1/accounts/{account}/records/calls"]["get"]["parameters"]
            .as_array()
            .expect("parameters")
            .iter()
            .find(|parameter| parameter["name"] == "limit");
        assert_eq!(limit.expect("a limit")["schema"]["maximum"], 1000);
        assert_eq!(
            described["components"]["schemas"]["NewHold"]["oneOf"][2]["required"][3],
            "from"
        );
    }
}
