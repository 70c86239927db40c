//! The form of a call flow.

use callvault_app::core::flow::{MAX_APPLETS, MAX_DIGITS, MAX_MESSAGE_S, MAX_NUMBERS, MAX_TALK_S, MAX_TEXT_CHARS};
use serde_json::{Value, json};

use super::target;

pub(super) fn flow() -> Value {
    let address = |description: &str| {
        json!({
            "type": "object", "required": ["url"], "additionalProperties": false, "description": description,
            "properties": { "url": target(), "fallback_url": { "anyOf": [target(), { "type": "null" }], "description": "Asked when the first says nothing of use." } },
        })
    };
    let clip = json!({
        "type": "object", "required": ["audio"], "additionalProperties": false, "description": "Uploaded audio.",
        "properties": { "audio": { "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The prompt." } },
    });
    let say = |description: &str| {
        json!({
            "description": description,
            "anyOf": [
                { "type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS, "description": "A text." },
                clip, address("What an address answers (docs/calls.md)."),
            ],
        })
    };
    let optional = |form: Value| json!({ "anyOf": [form, { "type": "null" }] });
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 32 });
    let next = json!({ "anyOf": [name, { "type": "null" }], "description": "The applet that follows; without it the call ends." });
    let count = |least: u32, most: u32, description: &str| json!({ "type": "integer", "minimum": least, "maximum": most, "description": description });
    let timeout = count(
        1,
        60,
        "Seconds until it is repeated, or taken as not answered; 5 if absent.",
    );
    let repeats = count(0, 5, "How often it is repeated; 2 if absent.");
    let applet = |kind: &str, description: &str, needed: &[&str], properties: Value| {
        let mut required = vec!["kind"];
        required.extend(needed);
        let mut all = json!({ "kind": { "type": "string", "enum": [kind] } });
        if let (Some(all), Value::Object(properties)) = (all.as_object_mut(), properties) {
            all.extend(properties);
        }
        json!({
            "type": "object", "description": description, "required": required, "additionalProperties": false, "properties": all,
        })
    };
    let party = json!({ "type": "string", "pattern": "^[A-Za-z0-9+._-]{1,64}$" });
    let applets = json!({ "oneOf": [
        applet("greeting", "Says something; it announces the recording.", &[], json!({
            "say": optional(say("What; the consent policy's announcement if absent.")), "next": next,
        })),
        applet("gather", "Asks whether the call may be recorded: 1 is yes, 2 is no, no answer is what the policy says.", &[], json!({
            "say": optional(say("The question; \"Press 1 to continue with call recording, or press 2 to opt out.\" if absent.")),
            "timeout_s": timeout, "repeats": repeats, "next": next,
        })),
        applet("menu", "Lets the caller choose.", &["say", "keys"], json!({
            "say": say("The choices, as they are said."), "timeout_s": timeout, "repeats": repeats,
            "keys": {
                "type": "object", "minProperties": 1, "propertyNames": { "type": "string", "pattern": "^[0-9*#]$" }, "additionalProperties": name,
                "description": "The applet that follows each key.",
            },
            "otherwise": next,
        })),
        applet("digits", "Takes keys, for the addresses that are asked later.", &["say"], json!({
            "say": say("What is wanted."), "timeout_s": timeout, "repeats": count(0, 5, "How often it is repeated while no key comes; 0 if absent."),
            "most": count(1, u32::from(MAX_DIGITS), "Keys at most; 255 if absent."),
            "finish_on_key": { "type": "string", "pattern": "^[0-9*#]?$", "description": "The key that ends them; `#` if absent, none if empty." },
            "next": next,
        })),
        applet("passthru", "Tells an address of the call, and goes where its answer says.", &["ask"], json!({
            "ask": address("Which."),
            "async": { "type": "boolean", "description": "Whether the call goes on to `next` at once; then there is no `otherwise`." },
            "next": next, "otherwise": next,
        })),
        applet("connect", "Connects the caller with the first number that answers. `numbers` or `ask` is needed.", &[], json!({
            "numbers": {
                "type": "array", "maxItems": MAX_NUMBERS, "items": party,
                "description": "Numbers, or names that the trunk knows; with `ask`, for when it answers nothing of use.",
            },
            "ask": optional(address("Who says whom to connect with.")),
            "record": { "type": ["boolean", "null"], "description": "Whether it is recorded, consent allowing; the account's default if absent." },
            "channels": { "type": "string", "enum": ["single", "dual"], "description": "Mixed, or the agent left and the customer right; `single` if absent." },
            "ring_s": count(1, 120, "Seconds that each number rings; 30 if absent."),
            "talk_s": optional(count(1, u32::from(MAX_TALK_S), "The longest conversation, in seconds.")), "next": next,
        })),
        applet("voicemail", "Takes a message, which is a recording.", &[], json!({
            "say": optional(say("What is said before the tone; it has to say that the message is recorded.")),
            "most_s": count(1, u32::from(MAX_MESSAGE_S), "The longest message, in seconds; 120 if absent."),
            "url": { "anyOf": [target(), { "type": "null" }], "description": "Who is told of the recording." }, "next": next,
        })),
        applet("hangup", "Ends the call.", &[], json!({})),
    ] });
    json!({
        "type": "object", "required": ["name", "start", "applets"], "additionalProperties": false, "description": "A flow to be saved.",
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 255, "description": "What people call it." },
            "start": { "type": "string", "minLength": 1, "maxLength": 32, "description": "The applet that a call begins with." },
            "applets": {
                "type": "object", "minProperties": 1, "maxProperties": MAX_APPLETS, "additionalProperties": applets,
                "propertyNames": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$" }, "description": "Applets by their names.",
            },
        },
    })
}
