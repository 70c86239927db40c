//! Plain Parquet: row groups of a fixed number of rows, each written once it is full.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{Int64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder},
};
use callvault_core::{
    Class, TimeUs,
    record::{Call, Message, Record},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use super::moment::push_hex;
use crate::error::{Result, VaultError};

/// Rows of a row group.
const GROUP_ROWS: usize = 16_384;
/// Bytes of free text after which a row group ends early.
const GROUP_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// Writes one file.
pub(super) struct Sheet {
    columns: Columns,
    /// Until the end.
    writer: Option<ArrowWriter<Shared>>,
    buffer: Shared,
}

/// What the writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn take(&self, out: &mut Vec<u8>) {
        out.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn refused(error: &ParquetError) -> VaultError {
    VaultError::Damaged {
        what: "export",
        reason: format!("the Parquet writer refused: {error}"),
    }
}

impl Sheet {
    pub(super) fn new(class: Class) -> Result<Self> {
        let mut columns = Columns::new(class);
        let schema = columns.take()?.schema();
        let level = ZstdLevel::try_new(1).map_err(|error| refused(&error))?;
        let properties = WriterProperties::builder()
            .set_created_by("callvault".to_owned())
            .set_compression(Compression::ZSTD(level))
            .build();
        let buffer = Shared::default();
        let writer = ArrowWriter::try_new(buffer.clone(), schema, Some(properties)).map_err(|error| refused(&error))?;
        Ok(Self {
            columns,
            writer: Some(writer),
            buffer,
        })
    }

    pub(super) fn push(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<()> {
        self.columns.push(record);
        if self.columns.rows == GROUP_ROWS || self.columns.text_bytes >= GROUP_TEXT_BYTES {
            self.write_group(out)?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.columns.rows > 0 {
            self.write_group(out)?;
        }
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(|error| refused(&error))?;
        }
        self.buffer.take(out);
        Ok(())
    }

    fn write_group(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let batch = self.columns.take()?;
        if let Some(writer) = &mut self.writer {
            writer
                .write(&batch)
                .and_then(|()| writer.flush())
                .map_err(|error| refused(&error))?;
        }
        self.buffer.take(out);
        Ok(())
    }
}

/// The columns of a row group in the making.
#[derive(Default)]
struct Columns {
    messages: bool,
    rows: usize,
    text_bytes: usize,
    sid: StringBuilder,
    at: TimestampMicrosecondBuilder,
    source_id: StringBuilder,
    direction: StringBuilder,
    from: StringBuilder,
    to: StringBuilder,
    status: StringBuilder,
    price_micros: Int64Builder,
    extra: StringBuilder,
    call: CallColumns,
    message: MessageColumns,
}

#[derive(Default)]
struct CallColumns {
    exophone: StringBuilder,
    answered_at: TimestampMicrosecondBuilder,
    ended_at: TimestampMicrosecondBuilder,
    duration_s: UInt32Builder,
    talk_s: UInt32Builder,
    caller_name: StringBuilder,
}

#[derive(Default)]
struct MessageColumns {
    status_code: UInt32Builder,
    sent_at: TimestampMicrosecondBuilder,
    units: UInt32Builder,
    body: StringBuilder,
    dlt_entity_id: StringBuilder,
    dlt_template_id: StringBuilder,
}

impl Columns {
    fn new(class: Class) -> Self {
        Self {
            messages: class == Class::Message,
            ..Self::default()
        }
    }

    fn push(&mut self, record: &Record) {
        self.rows += 1;
        let mut sid = Vec::with_capacity(32);
        push_hex(&mut sid, &record.sid().0);
        self.sid.append_value(String::from_utf8_lossy(&sid));
        self.at.append_value(record.at().0);
        self.source_id.append_option(record.source_id());
        let [from, to] = record.parties();
        self.from.append_value(from.as_str());
        self.to.append_value(to.as_str());
        match record {
            Record::Call(call) => self.push_call(call),
            Record::Message(message) => self.push_message(message),
            Record::Activity(_) | Record::ApiAccess(_) | Record::WebhookDelivery(_) | Record::CampaignReport(_) => {}
        }
    }

    fn push_call(&mut self, call: &Call) {
        self.direction.append_value(call.direction.as_str());
        self.status.append_value(call.status.as_str());
        self.price_micros.append_option(call.price_micros);
        self.extra.append_option(call.extra.as_deref());
        self.text_bytes += call.extra.as_ref().map_or(0, |text| text.len());
        let columns = &mut self.call;
        columns.exophone.append_value(call.exophone.as_str());
        columns.answered_at.append_option(micros(call.answered_at));
        columns.ended_at.append_option(micros(call.ended_at));
        columns.duration_s.append_value(call.duration_s);
        columns.talk_s.append_value(call.talk_s);
        columns.caller_name.append_option(call.caller_name.as_deref());
    }

    fn push_message(&mut self, message: &Message) {
        self.direction.append_value(message.direction.as_str());
        self.status.append_value(message.status.as_str());
        self.price_micros.append_option(message.price_micros);
        self.extra.append_option(message.extra.as_deref());
        let texts = [&message.extra, &message.body];
        self.text_bytes += texts.into_iter().flatten().map(|text| text.len()).sum::<usize>();
        let columns = &mut self.message;
        columns.status_code.append_option(message.status_code);
        columns.sent_at.append_option(micros(message.sent_at));
        columns.units.append_value(message.units);
        columns.body.append_option(message.body.as_deref());
        columns.dlt_entity_id.append_option(message.dlt_entity_id.as_deref());
        columns
            .dlt_template_id
            .append_option(message.dlt_template_id.as_deref());
    }

    /// The rows so far as a batch; begins anew.
    fn take(&mut self) -> Result<RecordBatch> {
        (self.rows, self.text_bytes) = (0, 0);
        let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("sid", Arc::new(self.sid.finish()), false),
            ("at", moments(&mut self.at), false),
            ("source_id", Arc::new(self.source_id.finish()), true),
            ("direction", Arc::new(self.direction.finish()), false),
            ("from", Arc::new(self.from.finish()), false),
            ("to", Arc::new(self.to.finish()), false),
            ("status", Arc::new(self.status.finish()), false),
            ("price_micros", Arc::new(self.price_micros.finish()), true),
        ];
        match self.messages {
            true => columns.extend(self.message.take()),
            false => columns.extend(self.call.take()),
        }
        columns.push(("extra", Arc::new(self.extra.finish()), true));
        RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| VaultError::Damaged {
            what: "export",
            reason: format!("its columns do not fit: {error}"),
        })
    }
}

impl CallColumns {
    fn take(&mut self) -> [(&'static str, ArrayRef, bool); 6] {
        [
            ("exophone", Arc::new(self.exophone.finish()), false),
            ("answered_at", moments(&mut self.answered_at), true),
            ("ended_at", moments(&mut self.ended_at), true),
            ("duration_s", Arc::new(self.duration_s.finish()), false),
            ("talk_s", Arc::new(self.talk_s.finish()), false),
            ("caller_name", Arc::new(self.caller_name.finish()), true),
        ]
    }
}

impl MessageColumns {
    fn take(&mut self) -> [(&'static str, ArrayRef, bool); 6] {
        [
            ("status_code", Arc::new(self.status_code.finish()), true),
            ("sent_at", moments(&mut self.sent_at), true),
            ("units", Arc::new(self.units.finish()), false),
            ("body", Arc::new(self.body.finish()), true),
            ("dlt_entity_id", Arc::new(self.dlt_entity_id.finish()), true),
            ("dlt_template_id", Arc::new(self.dlt_template_id.finish()), true),
        ]
    }
}

fn micros(at: Option<TimeUs>) -> Option<i64> {
    at.map(|at| at.0)
}

fn moments(builder: &mut TimestampMicrosecondBuilder) -> ArrayRef {
    Arc::new(builder.finish().with_timezone("UTC"))
}
