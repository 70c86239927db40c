//! Our own NDJSON: one object a line, the fields by name, everything else into `extra`.

use std::{borrow::Cow, fmt};

use callvault_core::{Class, record::Record};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{
    Fault, SidMaker,
    context::Context,
    field::{Draft, Field, Scalar},
    json::{DUPLICATE_KEY, StrictValue},
    own::build_record,
};

/// Reads one line.
pub(crate) fn read_line<S: SidMaker>(class: Class, line: &str, cx: &mut Context<S>) -> Result<Record, Fault> {
    let mut draft = Draft::new();
    let mut fault = None;
    let mut extra = Map::new();
    let mut parser = serde_json::Deserializer::from_str(line);
    let seed = LineSeed {
        class,
        draft: &mut draft,
        extra: &mut extra,
        fault: &mut fault,
    };
    if let Err(error) = seed.deserialize(&mut parser).and_then(|()| parser.end()) {
        return Err(fault.unwrap_or_else(|| describe(&error)));
    }
    if !extra.is_empty() {
        draft.extra = Value::Object(extra).to_string();
    }
    build_record(class, &mut draft, cx)
}

/// What serde found wrong, without what it found.
pub(crate) fn describe(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    if text.starts_with("recursion limit") {
        return Fault::row("too-deep", "nested too deep");
    }
    if text.starts_with(DUPLICATE_KEY) {
        return Fault::row(
            "duplicate-key",
            format!("a key is written twice, near column {}", error.column()),
        );
    }
    if error.is_data() {
        return Fault::row("bad-json", "expected a JSON object");
    }
    Fault::row("bad-json", format!("not valid JSON at column {}", error.column()))
}

struct LineSeed<'d, 'a> {
    class: Class,
    draft: &'d mut Draft<'a>,
    extra: &'d mut Map<String, Value>,
    fault: &'d mut Option<Fault>,
}

impl<'a> DeserializeSeed<'a> for LineSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for LineSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(TextSeed)? {
            let done = match Field::find(self.class, &key) {
                Some(Field::Extra) => {
                    let StrictValue(value) = map.next_value()?;
                    self.add_extra(value)
                }
                Some(field) => {
                    let value = map.next_value_seed(ScalarSeed)?;
                    self.set(field, value)
                }
                None => {
                    let StrictValue(value) = map.next_value()?;
                    match self.extra.insert(key.into_owned(), value) {
                        None => Ok(()),
                        Some(_) => Err(Fault::row(
                            "duplicate-key",
                            "a key outside the known fields is written twice",
                        )),
                    }
                }
            };
            if let Err(fault) = done {
                *self.fault = Some(fault);
                return Err(de::Error::custom("see the fault"));
            }
        }
        Ok(())
    }
}

impl<'a> LineSeed<'_, 'a> {
    fn set(&mut self, field: Field, value: Found<'a>) -> Result<(), Fault> {
        let value = match value {
            Found::Scalar(value) => value,
            Found::Null => return Ok(()),
            Found::Other => {
                return Err(Fault::field(
                    field.name(),
                    "wrong-type",
                    "expected a text or a whole number",
                ));
            }
        };
        if self.draft.set(field, value) {
            Ok(())
        } else {
            Err(Fault::field(
                field.name(),
                "duplicate-key",
                "this field is written twice",
            ))
        }
    }

    fn add_extra(&mut self, value: Value) -> Result<(), Fault> {
        let members = match value {
            Value::Null => return Ok(()),
            Value::Object(members) => members,
            Value::String(text) => parse_extra(&text)?,
            _ => return Err(Fault::field("extra", "wrong-type", "expected an object")),
        };
        for (key, value) in members {
            if self.extra.insert(key, value).is_some() {
                return Err(Fault::field(
                    "extra",
                    "duplicate-key",
                    "a key stands both in extra and beside it",
                ));
            }
        }
        Ok(())
    }
}

/// `extra` written as text: the text of a JSON object.
pub(crate) fn parse_extra(text: &str) -> Result<Map<String, Value>, Fault> {
    match serde_json::from_str::<StrictValue>(text) {
        Ok(StrictValue(Value::Object(members))) => Ok(members),
        Ok(_) => Err(Fault::field(
            "extra",
            "wrong-type",
            "expected the text of a JSON object",
        )),
        Err(error) => {
            let fault = describe(&error);
            Err(Fault {
                field: Some(Cow::Borrowed("extra")),
                ..fault
            })
        }
    }
}

struct TextSeed;

impl<'a> DeserializeSeed<'a> for TextSeed {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for TextSeed {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

enum Found<'a> {
    Scalar(Scalar<'a>),
    Null,
    Other,
}

struct ScalarSeed;

impl<'a> DeserializeSeed<'a> for ScalarSeed {
    type Value = Found<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ScalarSeed {
    type Value = Found<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Found::Scalar(Scalar::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Found::Scalar(Scalar::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Found::Scalar(Scalar::Integer(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        // Too large for any field; as a text the field itself refuses it.
        let scalar = i64::try_from(value).map_or_else(|_| Scalar::Text(Cow::Owned(value.to_string())), Scalar::Integer);
        Ok(Found::Scalar(scalar))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Found::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Found::Null)
    }

    fn visit_seq<A: de::SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }
}
