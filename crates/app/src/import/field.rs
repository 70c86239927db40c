//! The fields of our own formats, by the names the API uses.

use std::borrow::Cow;

use callvault_core::Class;

/// One field value as it was written.
#[derive(Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
}

macro_rules! fields {
    ($($variant:ident = $name:literal in $classes:ident),+ $(,)?) => {
        /// A field of a call or a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Field { $($variant),+ }

        impl Field {
            pub(crate) const COUNT: usize = [$(Self::$variant),+].len();

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The field of this class with this name.
            pub(crate) fn find(class: Class, name: &str) -> Option<Self> {
                let (field, classes) = match name {
                    $($name => (Self::$variant, Classes::$classes),)+
                    _ => return None,
                };
                let fits = match classes {
                    Classes::Both => true,
                    Classes::Call => class == Class::Call,
                    Classes::Message => class == Class::Message,
                };
                fits.then_some(field)
            }
        }
    };
}

enum Classes {
    Both,
    Call,
    Message,
}

fields! {
    Class = "class" in Both,
    Sid = "sid" in Both,
    At = "at" in Both,
    SourceId = "source_id" in Both,
    Direction = "direction" in Both,
    From = "from" in Both,
    To = "to" in Both,
    Status = "status" in Both,
    PriceMicros = "price_micros" in Both,
    Extra = "extra" in Both,
    Exophone = "exophone" in Call,
    AnsweredAt = "answered_at" in Call,
    EndedAt = "ended_at" in Call,
    DurationS = "duration_s" in Call,
    TalkS = "talk_s" in Call,
    CallerName = "caller_name" in Call,
    StatusCode = "status_code" in Message,
    SentAt = "sent_at" in Message,
    Units = "units" in Message,
    Body = "body" in Message,
    DltEntityId = "dlt_entity_id" in Message,
    DltTemplateId = "dlt_template_id" in Message,
}

/// The fields every row of an own format must have.
pub(crate) const REQUIRED: [Field; 5] = [Field::At, Field::Direction, Field::From, Field::To, Field::Status];

/// The values of one row, by field.
pub(crate) struct Draft<'a> {
    values: [Option<Scalar<'a>>; Field::COUNT],
    /// What has no field: the text of a JSON object, or empty.
    pub(crate) extra: String,
}

impl<'a> Draft<'a> {
    pub(crate) fn new() -> Self {
        Self {
            values: [const { None }; Field::COUNT],
            extra: String::new(),
        }
    }

    /// Sets a field; `false` when it was set before.
    pub(crate) fn set(&mut self, field: Field, value: Scalar<'a>) -> bool {
        self.values[field as usize].replace(value).is_none()
    }

    pub(crate) fn get(&self, field: Field) -> Option<&Scalar<'a>> {
        self.values[field as usize].as_ref()
    }
}
