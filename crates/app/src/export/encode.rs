//! Records to the bytes of a format. The same records in the same order give the same bytes, however they are cut into
//! batches.

use callvault_core::{Class, Record};

use super::{Format, csv_text, json_text, sheet::Sheet};
use crate::error::Result;

/// Room for a row's text.
const ROW_BYTES: usize = 256;

pub(super) struct Encoder {
    class: Class,
    begun: bool,
    kind: Kind,
}

enum Kind {
    Csv(csv_text::Rows),
    Ndjson(json_text::Objects),
    Json(json_text::Objects),
    Parquet(Box<Sheet>),
}

impl Encoder {
    pub(super) fn new(class: Class, format: Format) -> Result<Self> {
        let kind = match format {
            Format::Csv => Kind::Csv(csv_text::Rows::default()),
            Format::Ndjson => Kind::Ndjson(json_text::Objects::default()),
            Format::Json => Kind::Json(json_text::Objects::default()),
            Format::Parquet => Kind::Parquet(Box::new(Sheet::new(class)?)),
        };
        Ok(Self {
            class,
            begun: false,
            kind,
        })
    }

    pub(super) fn rows(&mut self, records: &[Record], out: &mut Vec<u8>) -> Result<()> {
        out.reserve(records.len() * ROW_BYTES);
        for record in records {
            let first = !std::mem::replace(&mut self.begun, true);
            match &mut self.kind {
                Kind::Csv(rows) => {
                    if first {
                        push_header(self.class, out);
                    }
                    rows.push(out, record);
                }
                Kind::Ndjson(objects) => {
                    objects.push(out, record);
                    out.push(b'\n');
                }
                Kind::Json(objects) => {
                    out.extend_from_slice(if first { b"[\n" } else { b",\n" });
                    objects.push(out, record);
                }
                Kind::Parquet(sheet) => sheet.push(record, out)?,
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match &mut self.kind {
            Kind::Csv(_) if !self.begun => push_header(self.class, out),
            Kind::Csv(_) | Kind::Ndjson(_) => {}
            Kind::Json(_) => out.extend_from_slice(if self.begun { b"\n]\n" } else { b"[]\n" }),
            Kind::Parquet(sheet) => sheet.end(out)?,
        }
        Ok(())
    }
}

fn push_header(class: Class, out: &mut Vec<u8>) {
    out.extend_from_slice(csv_text::header_line(class).as_bytes());
    out.extend_from_slice(b"\r\n");
}
