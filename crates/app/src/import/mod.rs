//! The reading side of import: bytes as switches write them become [`Record`]s. Nothing here knows about storage.
//!
//! A [`Reader`] streams: its memory is bounded by the longest row it accepts, whatever the file holds. A bad row never
//! ends an import; it becomes a [`Reject`] with its row, its field and a stable code, and reading goes on with the
//! next row. What ends an import is an [`ImportError`]: a file that is no such file at all, or one that cannot be read.
//!
//! The formats, the mappings and the codes are described in `docs/import.md`.

use std::{borrow::Cow, fmt};

use callvault_core::{Class, Sid, TimeUs, record::Record};
use jiff::tz::{Offset, TimeZone};

mod asterisk;
mod context;
mod detection;
mod directory;
mod field;
pub(crate) mod framing;
mod freeswitch;
mod json;
mod moment;
mod ndjson;
mod own;
pub(crate) mod own_csv;
mod reader;
pub(crate) mod window;

pub use detection::{check_readable, detect};
pub use directory::DirectoryStream;
pub use reader::Reader;

/// What a file of call or message records is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `Master.csv` of Asterisk's `cdr_csv`: no header, 16 to 21 columns, local time.
    AsteriskCsv,
    /// Documents of FreeSWITCH's `mod_json_cdr`: one, an array of them, one after the other, or one a line.
    FreeswitchJson,
    /// Our own fields, one JSON object a line.
    Ndjson(Class),
    /// Our own fields, comma-separated with a header line, the columns in any order.
    Csv(Class),
}

/// How a file is to be read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The country that national telephone numbers are read in.
    pub country: phonenumber::country::Id,
    /// The zone of times that carry none. Asterisk writes the switch's local time, or UTC with `usegmtime=yes`.
    pub time_zone: TimeZone,
    /// The present. A record more than five minutes after it is refused.
    pub now: TimeUs,
    /// The longest row or document accepted, in bytes.
    pub max_line_bytes: usize,
}

impl Options {
    /// The default for [`Options::max_line_bytes`]: 1 MiB.
    pub const MAX_LINE_BYTES: usize = 1 << 20;

    /// Options with the default row limit.
    #[must_use]
    pub const fn new(country: phonenumber::country::Id, time_zone: TimeZone, now: TimeUs) -> Self {
        Self {
            country,
            time_zone,
            now,
            max_line_bytes: Self::MAX_LINE_BYTES,
        }
    }
}

/// A name that is no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such time zone: expected UTC, an offset such as +05:30, or a name such as Asia/Kolkata that this system's zone database holds"
)]
pub struct NoSuchTimeZone;

/// Reads a time zone as an operator writes it: `UTC`, an offset (`+05:30`), or an IANA name (`Asia/Kolkata`).
///
/// # Errors
/// [`NoSuchTimeZone`] when the text is something else, or the system's zone database lacks the name.
pub fn parse_time_zone(text: &str) -> Result<TimeZone, NoSuchTimeZone> {
    if text.eq_ignore_ascii_case("utc") || text == "Z" {
        return Ok(TimeZone::UTC);
    }
    if let Some(sign) = text
        .strip_prefix(['+', '-'])
        .map(|_| if text.starts_with('-') { -1 } else { 1 })
    {
        let (hours, minutes) = text[1..].split_once(':').ok_or(NoSuchTimeZone)?;
        let two_digits = |part: &str| (part.len() == 2).then(|| part.parse::<u8>().ok()).flatten();
        let (hours, minutes) = two_digits(hours).zip(two_digits(minutes)).ok_or(NoSuchTimeZone)?;
        if hours > 14 || minutes > 59 {
            return Err(NoSuchTimeZone);
        }
        let seconds = sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60);
        return Offset::from_seconds(seconds)
            .map(TimeZone::fixed)
            .map_err(|_| NoSuchTimeZone);
    }
    TimeZone::get(text).map_err(|_| NoSuchTimeZone)
}

/// Makes the SID of a record from what identifies it at its source.
///
/// The caller supplies a keyed hash, so that the same source row always gets the same SID and a SID tells nothing. The
/// text holds the format, then the source's id or the whole normalised row; it is personal data.
pub trait SidMaker {
    /// The SID of the record that `source` identifies and that happened `at` this moment.
    fn make_sid(&self, source: &str, at: TimeUs) -> Sid;
}

impl<F: Fn(&str, TimeUs) -> Sid> SidMaker for F {
    fn make_sid(&self, source: &str, at: TimeUs) -> Sid {
        self(source, at)
    }
}

/// Why a row is refused. Never repeats what the row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The line (or, of FreeSWITCH, the document), counted from 1.
    pub row: u64,
    /// The field or column at fault, if it is one.
    pub field: Option<Cow<'static, str>>,
    /// A stable kebab-case code, listed in `docs/import.md`.
    pub code: &'static str,
    /// What is wrong, in words.
    pub message: Cow<'static, str>,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        if let Some(field) = &self.field {
            write!(f, ", field {field}")?;
        }
        write!(f, ": {} ({})", self.message, self.code)
    }
}

/// A refused row with its bytes, for the reject file.
#[derive(Clone, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub error: RowError,
    /// The row as it was read, at most [`Reject::MAX_RAW_BYTES`] of it. Personal data.
    pub raw: Vec<u8>,
}

impl Reject {
    /// How much of a refused row is kept: 4 KiB.
    pub const MAX_RAW_BYTES: usize = 4096;
}

impl fmt::Debug for Reject {
    /// Never the row: debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reject")
            .field("error", &self.error)
            .field("raw_bytes", &self.raw.len())
            .finish()
    }
}

/// Where reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Bytes of the file that are done.
    pub offset: u64,
    /// Lines (or documents) that are done.
    pub row: u64,
}

/// Some rows, in file order.
#[derive(Clone, Default)]
pub struct Batch {
    /// The good rows, each with its row number.
    pub records: Vec<(u64, Record)>,
    /// The refused rows.
    pub rejects: Vec<Reject>,
    /// Whether the last of them is cut by the end of the file.
    pub cut: bool,
    /// How many records lost a part of their `extra` to its limit; each names the parts in `extra` under `_dropped`.
    pub shortened: u64,
    /// The resume point behind these rows. It stays in front of a truncated last row, so that a file that has grown
    /// since is read from there.
    pub position: Position,
}

/// Why a file cannot be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Packed.
    #[error("the file is {0}-compressed: unpack it first")]
    Compressed(&'static str),
    /// Not UTF-8 throughout.
    #[error("the file is written in {0}: convert it to UTF-8 first")]
    Encoding(&'static str),
    /// An own format for a class that import does not take.
    #[error("records of class {0} cannot be imported: call and message can")]
    UnsupportedClass(Class),
    /// A switch's file where messages are wanted.
    #[error("the file is written by {0}, and so holds calls: use `import calls`")]
    CallsOnly(&'static str),
    /// The header line of an own CSV is no header.
    #[error("the header line {0}")]
    Header(String),
    /// Reading failed.
    #[error("reading failed")]
    Io(#[from] std::io::Error),
}

impl ImportError {
    /// A stable kebab-case code, listed in `docs/import.md`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty-file",
            Self::Compressed(_) => "compressed-file",
            Self::Encoding(_) => "wrong-encoding",
            Self::UnsupportedClass(_) | Self::CallsOnly(_) => "unsupported-class",
            Self::Header(_) => "bad-header",
            Self::Io(_) => "read-failed",
        }
    }
}

/// A fault in a row, before its row number is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: Option<Cow<'static, str>>,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn row(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: None,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn field(field: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: Some(Cow::Borrowed(field)),
            code,
            message: message.into(),
        }
    }

    pub(crate) fn at(self, row: u64) -> RowError {
        RowError {
            row,
            field: self.field,
            code: self.code,
            message: self.message,
        }
    }
}
