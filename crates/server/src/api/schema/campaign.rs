//! The form of a campaign as clients send it: `null` and an empty text are as good as nothing, counts and flags come as texts too.

use callvault_app::core::campaign::{MAX_INTERVAL_MINS, MAX_LISTS, MAX_NUMBERS, MAX_RETRIES, THROTTLE};
use serde_json::{Value, json};

/// One campaign, or up to ten.
pub(super) fn campaigns() -> Value {
    let one = campaign();
    let several = json!({
        "type": "object", "required": ["campaigns"], "description": "Up to ten, each answered for itself.",
        "properties": { "campaigns": { "type": "array", "minItems": 1, "maxItems": 10, "items": one } },
    });
    json!({ "description": "A campaign to be made.", "anyOf": [one, several] })
}

fn campaign() -> Value {
    let retries = json!({
        "type": ["object", "null"],
        "properties": {
            "number_of_retries": count(0, u32::from(MAX_RETRIES), "Further calls to a number that was not reached."),
            "interval_mins": count(1, u32::from(MAX_INTERVAL_MINS), "Minutes between them; needed with retries."),
            "mechanism": choice("`Linear` (if absent) or `Exponential`: twice the interval each time."),
            "on_status": list(4, "`busy`, `no-answer`, `failed`; all three if absent."),
        },
    });
    let schedule = json!({
        "type": ["object", "null"], "description": "Begins at once if absent; at most 180 days ahead.",
        "properties": {
            "send_at": choice("RFC 3339 with an offset."),
            "end_at": choice("RFC 3339 with an offset; what is not called by then is not called."),
        },
    });
    json!({
        "type": "object", "required": ["caller_id"],
        "description": "`from` or `lists`, and `url` or `read_via_text` are needed.",
        "properties": {
            "name": text(255, "Campaign and its moment if absent."),
            "caller_id": { "type": ["string", "number"], "description": "The ExoPhone that calls." },
            "from": list(MAX_NUMBERS, "Telephone numbers: a list, or one text with commas."),
            "lists": list(MAX_LISTS, "SIDs of lists, which are read when it begins."),
            "url": choice("The flow that a call that is answered leads into, as the platform spells it."),
            "read_via_text": text(2_000, "What is spoken; `@@Column` stands for a contact's own value."),
            "campaign_type": choice("`static` (if absent) or `dynamic`."),
            "flow_type": choice("`ivr` or `greeting`."),
            "type": choice("`trans` or `promo`."),
            "call_duplicate_numbers": {
                "type": ["boolean", "string", "null"], "description": "Whether a number that occurs twice is called twice.",
            },
            "retries": retries,
            "schedule": schedule,
            "call_status_callback": choice("Told of every call."),
            "call_schedule_callback": choice("Told of every number that is through."),
            "status_callback": choice("Told of the end, with `report_url`."),
            "mode": choice("`auto` (if absent) or `custom`, with `throttle`."),
            "throttle": count(1, THROTTLE.1, "Calls a minute."),
            "custom_field": text(128, "Comes back in callbacks."),
            "repeat_menu_attempts": count(0, 10, "How often a menu is repeated."),
        },
    })
}

fn text(most: u32, description: &str) -> Value {
    json!({ "type": ["string", "number", "null"], "maxLength": most, "description": description })
}

fn choice(description: &str) -> Value {
    json!({ "type": ["string", "null"], "description": description })
}

fn count(least: u32, most: u32, description: &str) -> Value {
    json!({ "type": ["integer", "string", "null"], "minimum": least, "maximum": most, "description": description })
}

fn list(most: usize, description: &str) -> Value {
    let item = json!({ "type": ["string", "number"] });
    json!({
        "anyOf": [{ "type": "array", "maxItems": most, "items": item }, { "type": ["string", "null"] }],
        "description": description,
    })
}
