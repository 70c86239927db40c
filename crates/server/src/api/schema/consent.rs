//! The form of a consent policy.

use serde_json::{Value, json};

pub(super) fn policy() -> Value {
    let text = |most: u32, description: &str| json!({ "type": "string", "minLength": 1, "maxLength": most, "description": description });
    let rule =
        |description: &str| json!({ "type": "string", "enum": ["announce", "opt-in"], "description": description });
    let ground = json!({
        "type": "object", "required": ["law", "asks"], "additionalProperties": false,
        "properties": { "law": text(500, "The law."), "asks": text(500, "What it asks for.") },
    });
    let jurisdiction = json!({
        "type": "object", "required": ["rule"], "additionalProperties": false,
        "properties": {
            "rule": rule("`announce`: who stays on the line after the announcement accepts it. `opt-in`: who does not say yes says no."),
            "grounds": { "type": "array", "maxItems": 20, "items": ground },
        },
    });
    json!({
        "type": "object", "required": ["text", "languages", "elsewhere"], "additionalProperties": false,
        "description": "A policy to be adopted.",
        "properties": {
            "text": text(2_000, "What callers are told."),
            "privacy_url": {
                "type": ["string", "null"], "maxLength": 2_048, "description": "Where the account's privacy policy is.",
            },
            "languages": {
                "type": "array", "minItems": 1, "maxItems": 50, "items": { "type": "string", "maxLength": 64 },
                "description": "Languages that it is said in, BCP 47 tags such as en-IN.",
            },
            "countries": {
                "type": ["object", "null"], "additionalProperties": jurisdiction,
                "description": "Rules by the called party's country, ISO 3166-1 alpha-2; India's own if absent.",
            },
            "elsewhere": rule("The rule of every other country."),
            "records_by_default": { "type": "boolean", "description": "Whether calls are recorded that say nothing of it." },
        },
    })
}
