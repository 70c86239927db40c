//! `GET /docs`: the description for people. One page, made here, without a script.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::{HeaderName, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use callvault_app::seal::digest::sha256;
use serde_json::{Map, Value};
use utoipa::OpenApi as _;

use crate::problem::{Answer, Problem};

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:52rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}\
    code{font-family:ui-monospace,monospace;overflow-wrap:anywhere}nav ul{display:flex;flex-wrap:wrap;gap:.5rem 1rem;padding:0;list-style:none}\
    article{border-top:1px solid #ccc;padding:.5rem 0}h3,h4{margin:.75rem 0 .25rem}dl{margin:0}dt{margin-top:.4rem}dd{margin:0 0 0 1rem}\
    small{color:#555}.line{background:#f2f2f2;padding:.4rem .6rem;border-radius:.25rem}\
    @media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}small{color:#aaa}.line{background:#262626}a{color:#8ab4ff}}";

#[derive(Template)]
#[template(path = "docs.html")]
struct Page<'a> {
    title: &'a str,
    paragraphs: Vec<String>,
    style: &'a str,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

struct Group {
    tag: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    paragraphs: Vec<String>,
    parameters: Vec<Parameter>,
    bodies: Vec<Body>,
    answers: Vec<Reply>,
}

struct Parameter {
    name: String,
    place: String,
    required: bool,
    form: String,
    description: String,
}

struct Body {
    kind: String,
    schema: String,
    form: String,
    description: String,
}

struct Reply {
    status: String,
    schema: String,
    description: String,
}

struct Schema {
    name: String,
    description: String,
    ways: Vec<Way>,
}

/// One of the forms that a schema's values have; most schemas have one, without a title.
struct Way {
    title: String,
    members: Vec<Member>,
}

struct Member {
    name: String,
    form: String,
    required: bool,
    description: String,
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn paragraphs(text: &str) -> Vec<String> {
    let parts = text.split("\n\n").filter(|paragraph| !paragraph.is_empty());
    parts.map(ToOwned::to_owned).collect()
}

#[expect(unreachable_pub, reason = "what the macro makes of a filter")]
mod filters {
    use askama::filters::{Html, Safe, escape};

    /// Escapes a text, and marks what stands between backticks as code.
    #[askama::filter_fn]
    pub(super) fn code(text: impl std::fmt::Display, _: &dyn askama::Values) -> askama::Result<Safe<String>> {
        let text = escape(text.to_string(), Html)?.to_string();
        let parts = text.split('`').enumerate().map(|(n, part)| match n % 2 {
            0 => part.to_owned(),
            _ => format!("<code>{part}</code>"),
        });
        Ok(Safe(parts.collect()))
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The schema that a body or answer refers to.
fn referred(schema: &Value) -> String {
    let path = schema["$ref"].as_str().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A schema in a few words.
fn form_of(schema: &Value) -> String {
    let mut words = match (&schema["type"], schema["$ref"].as_str()) {
        (_, Some(_)) => vec![referred(schema)],
        (Value::Array(kinds), _) => vec![items_text(kinds)],
        (Value::String(kind), _) => vec![kind.clone()],
        _ => Vec::new(),
    };
    for (name, said) in [
        ("format", ""),
        ("minimum", "at least "),
        ("maximum", "at most "),
        ("minLength", "from "),
        ("maxLength", "up to "),
        ("minItems", "from "),
        ("maxItems", "up to "),
        ("default", "default "),
    ] {
        let unit = match name {
            "minLength" | "maxLength" => " characters",
            _ => "",
        };
        match &schema[name] {
            Value::String(text) => words.push(format!("{said}{text}")),
            Value::Number(number) => words.push(format!("{said}{number}{unit}")),
            _ => {}
        }
    }
    let values = items_text(schema["enum"].as_array().map_or(&[], Vec::as_slice));
    if !values.is_empty() {
        words.push(values);
    }
    if schema["items"].is_object() {
        words.push(format!("of {}", form_of(&schema["items"])));
    }
    let ways: Vec<_> = ways_of(schema).map(form_of).filter(|form| !form.is_empty()).collect();
    if !ways.is_empty() {
        words.push(ways.join(", or "));
    }
    words.join(", ")
}

fn ways_of(schema: &Value) -> impl Iterator<Item = &Value> {
    items(&schema["oneOf"]).chain(items(&schema["anyOf"]))
}

fn items_text(values: &[Value]) -> String {
    let texts: Vec<_> = values.iter().filter_map(Value::as_str).collect();
    texts.join(" | ")
}

fn read_operation(method: &str, path: &str, operation: &Value) -> Operation {
    let first_schema = |content: &Value| {
        members(content)
            .map(|(_, content)| referred(&content["schema"]))
            .next()
            .unwrap_or_default()
    };
    Operation {
        id: text(operation, "operationId"),
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        summary: text(operation, "summary"),
        paragraphs: paragraphs(&text(operation, "description")),
        parameters: items(&operation["parameters"])
            .map(|parameter| Parameter {
                name: text(parameter, "name"),
                place: text(parameter, "in"),
                required: parameter["required"] == true,
                form: form_of(&parameter["schema"]),
                description: text(parameter, "description"),
            })
            .collect(),
        bodies: members(&operation["requestBody"]["content"])
            .map(|(kind, content)| Body {
                kind: kind.clone(),
                schema: referred(&content["schema"]),
                form: form_of(&content["schema"]),
                description: text(&operation["requestBody"], "description"),
            })
            .collect(),
        answers: members(&operation["responses"])
            .map(|(status, answer)| Reply {
                status: status.clone(),
                schema: first_schema(&answer["content"]),
                description: text(answer, "description"),
            })
            .collect(),
    }
}

fn read_groups(described: &Value) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (path, methods) in members(&described["paths"]) {
        let operations = members(methods).filter(|(_, operation)| operation["responses"].is_object());
        for (method, operation) in operations {
            let tag = operation["tags"][0].as_str().unwrap_or("other");
            let read = read_operation(method, path, operation);
            match groups.iter_mut().find(|group| group.tag == tag) {
                Some(group) => group.operations.push(read),
                None => groups.push(Group {
                    tag: tag.to_owned(),
                    operations: vec![read],
                }),
            }
        }
    }
    groups.sort_by(|a, b| a.tag.cmp(&b.tag));
    groups
}

fn read_schemas(described: &Value) -> Vec<Schema> {
    members(&described["components"]["schemas"])
        .map(|(name, schema)| Schema {
            name: name.clone(),
            description: text(schema, "description"),
            ways: read_ways(schema),
        })
        .collect()
}

fn read_ways(schema: &Value) -> Vec<Way> {
    let mut ways: Vec<_> = ways_of(schema)
        .map(|way| Way {
            title: match text(way, "description") {
                said if said.is_empty() => items_text(way["required"].as_array().map_or(&[], Vec::as_slice)),
                said => said,
            },
            members: read_members(way, ""),
        })
        .collect();
    if ways.is_empty() {
        ways.push(Way {
            title: String::new(),
            members: read_members(schema, ""),
        });
    }
    ways
}

/// A schema's members, those of objects inside it with the path that leads there.
fn read_members(schema: &Value, path: &str) -> Vec<Member> {
    let mut read = Vec::new();
    if schema["items"].is_object() {
        read.extend(read_members(&schema["items"], &format!("{path}[]")));
    }
    for (name, form) in members(&schema["properties"]) {
        let dot = if path.is_empty() { "" } else { "." };
        let name_here = format!("{path}{dot}{name}");
        read.push(Member {
            name: name_here.clone(),
            form: form_of(form),
            required: items(&schema["required"]).any(|needed| needed == name),
            description: text(form, "description"),
        });
        read.extend(read_members(form, &name_here));
    }
    read
}

/// The page; it is the same for everybody.
static PAGE: LazyLock<Option<String>> = LazyLock::new(|| {
    let described = serde_json::to_value(crate::api::ApiDoc::openapi()).ok()?;
    let page = Page {
        title: described["info"]["title"].as_str()?,
        paragraphs: paragraphs(described["info"]["description"].as_str()?),
        style: STYLE,
        groups: read_groups(&described),
        schemas: read_schemas(&described),
    };
    page.render().ok()
});

/// This description, for people
///
/// One page of HTML without scripts.
#[utoipa::path(
    get, path = "/docs", tag = "status",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
pub async fn docs() -> Answer<Response> {
    let page = PAGE.as_deref().ok_or_else(Problem::internal)?;
    let style = STANDARD.encode(sha256(&[STYLE.as_bytes()]));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin".to_owned(),
        ),
    ];
    Ok((headers, Html(page)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_schema_is_on_the_page_and_no_script() {
        let page = PAGE.as_deref().expect("a page");
        let described = serde_json::to_value(crate::api::ApiDoc::openapi()).expect("JSON");
        let mut operations = 0;
        for (path, methods) in members(&described["paths"]) {
            for (method, operation) in members(methods).filter(|(_, operation)| operation["responses"].is_object()) {
                operations += 1;
                let line = format!("<b>{}</b> <code>{path}</code>", method.to_ascii_uppercase());
                assert!(page.contains(&line), "{line}");
                let id = operation["operationId"].as_str().expect("an id");
                assert_eq!(page.matches(&format!("<article id=\"{id}\">")).count(), 1, "{id}");
                for parameter in items(&operation["parameters"]) {
                    let name = parameter["name"].as_str().expect("a name");
                    assert!(page.contains(&format!("<dt><code>{name}</code>")), "{id} {name}");
                }
            }
        }
        assert!(operations > 40, "{operations}");
        for (name, _) in members(&described["components"]["schemas"]) {
            assert!(page.contains(&format!("id=\"schema-{name}\"")), "{name}");
        }
        for said in [
            "<dt><code>sids</code> <small>array, from 1, of string, needed</small></dt>",
            "<dt><code>sms[].Body</code>",
            "<dt><code>[].direction</code>",
            "recording | call | message",
        ] {
            assert!(page.contains(said), "{said}");
        }
        for forbidden in ["<script", "javascript:", " onclick", " style=", "http://"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("width=device-width"));
    }
}
