//! Answers in the platform's envelopes: one tree, written as JSON or as XML.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::limits::Allowance;
use crate::{
    api::layers::FullPath,
    door::{Caller, Door},
    problem::Problem,
};

/// A value of an answer. Members keep their order, which is the platform's.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`; an empty element.
    Nothing,
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Members by name.
    Map(Vec<(&'static str, Self)>),
    /// Items, and the name that each has in XML.
    List(&'static str, Vec<Self>),
}

impl Node {
    /// Text, or nothing.
    pub fn text(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::Nothing, |text| Self::Text(text.into()))
    }

    /// A map with one member.
    #[must_use]
    pub fn of(name: &'static str, node: Self) -> Self {
        Self::Map(vec![(name, node)])
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Flag(on) => serializer.serialize_bool(*on),
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, node) in members {
                    map.serialize_entry(name, node)?;
                }
                map.end()
            }
            Self::List(_, items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
        }
    }
}

/// Whether XML 1.0 allows a character at all.
const fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn write_xml(writer: &mut Writer<Vec<u8>>, name: &str, node: &Node) -> std::io::Result<()> {
    if *node == Node::Nothing {
        return writer.write_event(Event::Empty(BytesStart::new(name)));
    }
    writer.write_event(Event::Start(BytesStart::new(name)))?;
    match node {
        Node::Nothing => {}
        Node::Text(text) => {
            let text: String = text.chars().filter(|c| is_xml_char(*c)).collect();
            writer.write_event(Event::Text(BytesText::new(&text)))?;
        }
        Node::Number(number) => writer.write_event(Event::Text(BytesText::new(&number.to_string())))?,
        Node::Flag(on) => writer.write_event(Event::Text(BytesText::new(if *on { "true" } else { "false" })))?,
        Node::Map(members) => {
            for (name, node) in members {
                write_xml(writer, name, node)?;
            }
        }
        Node::List(item, items) => {
            for node in items {
                write_xml(writer, item, node)?;
            }
        }
    }
    writer.write_event(Event::End(BytesEnd::new(name)))
}

fn xml_of(node: &Node) -> std::io::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new());
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    write_xml(&mut writer, "TwilioResponse", node)?;
    Ok(writer.into_inner())
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `.json`
    Json,
    /// The default of version 1.
    Xml,
}

impl Form {
    /// The form that a path asks for; above version 1 there is JSON alone.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if path.ends_with(".json") || path.contains(".json/") || path.starts_with("/v2") {
            Self::Json
        } else {
            Self::Xml
        }
    }

    /// An answer.
    #[must_use]
    pub fn answer(self, status: StatusCode, node: &Node) -> Response {
        let (kind, body) = match self {
            Self::Json => ("application/json", serde_json::to_vec(node).unwrap_or_default()),
            Self::Xml => ("application/xml; charset=utf-8", xml_of(node).unwrap_or_default()),
        };
        (status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }

    fn refuse(self, status: StatusCode, code: &str, message: &str) -> Response {
        let exception = Node::Map(vec![
            ("Status", Node::Number(i64::from(status.as_u16()))),
            ("Message", Node::Text(message.to_owned())),
            ("Code", Node::Text(code.to_owned())),
        ]);
        self.answer(status, &Node::of("RestException", exception))
    }
}

/// A refusal, before it is known how it is written.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    code: String,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Fault {
    /// 400 for a parameter that is wrong; the parameter's name begins the message.
    #[must_use]
    pub fn bad(name: &str, reason: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "BAD_REQUEST".to_owned(),
            message: format!("{name}: {reason}"),
            headers: Vec::new(),
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The platform knows no 422.
        let status = match status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        let name = status.canonical_reason().unwrap_or("error");
        Self {
            status,
            code: name.to_ascii_uppercase().replace(' ', "_"),
            message: match &problem.field {
                Some(field) => format!("{field}: {}", problem.detail),
                None => problem.detail.clone(),
            },
            headers: problem.own_header().into_iter().collect(),
        }
    }
}

impl From<callvault_app::VaultError> for Fault {
    fn from(error: callvault_app::VaultError) -> Self {
        Problem::from(error).into()
    }
}

/// A caller of the platform's API: authenticated, within the account's rate, and the form of the answer.
pub struct Platform {
    /// Who asks.
    pub caller: Caller,
    /// How it is answered.
    pub form: Form,
    allowance: Allowance,
}

impl Platform {
    /// Writes a handler's result.
    pub fn finish(&self, result: Result<(StatusCode, Node), Fault>) -> Response {
        let mut response = match result {
            Ok((status, node)) => self.form.answer(status, &node),
            Err(fault) => write_fault(self.form, fault),
        };
        self.allowance.write(response.headers_mut());
        response
    }
}

/// A refusal in the form that the path asks for.
#[must_use]
pub fn refuse(path: &str, problem: Problem) -> Response {
    write_fault(Form::of_path(path), problem.into())
}

fn write_fault(form: Form, fault: Fault) -> Response {
    let mut response = form.refuse(fault.status, &fault.code, &fault.message);
    response.headers_mut().extend(fault.headers);
    response
}

impl FromRequestParts<Arc<Door>> for Platform {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Response> {
        // Nested routers see a part of the path only.
        let path = parts
            .extensions
            .get::<FullPath>()
            .map_or_else(|| parts.uri.path().to_owned(), |path| path.0.clone());
        let form = Form::of_path(&path);
        let caller = Caller::from_request_parts(parts, door).await;
        let caller = caller.map_err(|problem| refuse(&path, problem))?;
        let allowance = door
            .limits
            .take(&caller.account, &parts.method, &path, door.vault.now());
        if allowance.is_over() {
            let message = "Rate limit exceeded; try again after the seconds that Retry-After says.";
            let mut response = form.refuse(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED", message);
            allowance.write(response.headers_mut());
            return Err(response);
        }
        Ok(Self {
            caller,
            form,
            allowance,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tree_is_json_and_xml() {
        let node = Node::of(
            "Calls",
            Node::List(
                "Call",
                vec![Node::Map(vec![
                    ("Sid", Node::Text("a<b&\u{1}c".to_owned())),
                    ("Price", Node::Nothing),
                    ("Id", Node::Number(1)),
                ])],
            ),
        );
        assert_eq!(
            serde_json::to_string(&node).expect("JSON"),
            r#"{"Calls":[{"Sid":"a<b&\u0001c","Price":null,"Id":1}]}"#
        );
        let xml = String::from_utf8(xml_of(&node).expect("XML")).expect("UTF-8");
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><TwilioResponse><Calls><Call><Sid>a&lt;b&amp;c</Sid><Price/>\
             <Id>1</Id></Call></Calls></TwilioResponse>"
        );
    }
}
