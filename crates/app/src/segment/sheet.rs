//! The Parquet form: one file under Parquet modular encryption, footer included.
//!
//! No statistics and no bloom filters are written: crate `parquet` leaves bloom filters in clear. The times at which
//! pages begin are kept in the encrypted footer instead.

use std::sync::Arc;

use bytes::Bytes;
use callvault_core::Class;
use callvault_seal::SecretKey;
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::columns::{Column, Shape, Values};
use super::encode::class_code;
use super::varint::{put, put_signed};
use super::{Part, Result, SegmentError, key_check, part_key};

/// Rows of a page: the least that is decoded to read one row.
pub(super) const PAGE_ROWS: usize = 1_024;
/// Rows of a row group, which bounds what a writer buffers.
pub(super) const GROUP_ROWS: usize = 256 * PAGE_ROWS;
/// The footer's entry that holds class, rows and the fence.
pub(super) const FENCE_ENTRY: &str = "callvault.segment.v1";

impl From<ParquetError> for SegmentError {
    fn from(error: ParquetError) -> Self {
        Self::Write(error.to_string())
    }
}

pub(super) fn seal(
    class: Class,
    rows: usize,
    columns: &[Column],
    key: &SecretKey,
    segment_id: &[u8; 16],
) -> Result<Vec<u8>> {
    let key = part_key(key, Part::File, segment_id);
    let encryption = FileEncryptionProperties::builder(key.expose().to_vec())
        .with_footer_key_metadata(key_check(&key).to_vec())
        .with_aad_prefix(segment_id.to_vec())
        .with_aad_prefix_storage(false)
        .build()?;
    let mut properties = WriterProperties::builder()
        .set_created_by("callvault".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .with_file_encryption_properties(encryption);
    for column in columns {
        let path = || ColumnPath::from(column.name());
        properties = match column.shape() {
            Shape::Near => properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED),
            Shape::Wide => properties.set_column_encoding(path(), Encoding::BYTE_STREAM_SPLIT),
            Shape::Few => properties.set_column_encoding(path(), Encoding::PLAIN),
            Shape::Random(_) => properties
                .set_column_encoding(path(), Encoding::PLAIN)
                .set_column_compression(path(), Compression::UNCOMPRESSED),
            Shape::Text => properties.set_column_encoding(path(), Encoding::DELTA_LENGTH_BYTE_ARRAY),
        };
    }
    let out = Vec::with_capacity(rows * 56);
    let mut writer = SerializedFileWriter::new(out, schema(columns, rows)?, Arc::new(properties.build()))?;
    let mut sources: Vec<_> = columns.iter().map(Source::new).collect();
    let mut start = 0;
    while start < rows {
        let end = rows.min(start + GROUP_ROWS);
        let mut group = writer.next_row_group()?;
        for source in &mut sources {
            let Some(mut column) = group.next_column()? else {
                return Err(SegmentError::Write("a column is missing".to_owned()));
            };
            source.write(&mut column, start..end, rows)?;
            column.close()?;
        }
        group.close()?;
        start = end;
    }
    let fence = fence_entry(class, rows, columns);
    writer.append_key_value_metadata(KeyValue::new(FENCE_ENTRY.to_owned(), hex::encode(fence)));
    Ok(writer.into_inner()?)
}

fn schema(columns: &[Column], rows: usize) -> Result<TypePtr> {
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        let repetition = if column.present() == rows {
            Repetition::REQUIRED
        } else {
            Repetition::OPTIONAL
        };
        let builder = match &column.values {
            Values::Ints(_) => Type::primitive_type_builder(column.name(), Physical::INT64),
            Values::Fixed(width, _) => {
                let width = i32::try_from(*width).map_err(|_| SegmentError::Unfit("a value is too wide"))?;
                Type::primitive_type_builder(column.name(), Physical::FIXED_LEN_BYTE_ARRAY).with_length(width)
            }
            Values::Texts(..) => Type::primitive_type_builder(column.name(), Physical::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String)),
        };
        fields.push(Arc::new(builder.with_repetition(repetition).build()?));
    }
    Ok(Arc::new(
        Type::group_type_builder("callvault").with_fields(fields).build()?,
    ))
}

/// Class, rows, and the time of each page's first row and of the last row.
fn fence_entry(class: Class, rows: usize, columns: &[Column]) -> Vec<u8> {
    let mut out = vec![class_code(class).unwrap_or(0)];
    put(&mut out, rows as u64);
    if let Some(Values::Ints(at)) = columns
        .iter()
        .find(|column| column.name() == "at")
        .map(|column| &column.values)
    {
        let mut before = 0;
        for value in at.iter().step_by(PAGE_ROWS).chain(at.last()) {
            put_signed(&mut out, value.wrapping_sub(before));
            before = *value;
        }
    }
    out
}

/// A column and how many of its values are written.
struct Source<'a> {
    column: &'a Column,
    written: usize,
    /// The column's texts or fixed values, shared so that no value is copied twice.
    shared: Bytes,
}

impl<'a> Source<'a> {
    fn new(column: &'a Column) -> Self {
        let shared = match &column.values {
            Values::Fixed(_, bytes) | Values::Texts(bytes, _) => Bytes::copy_from_slice(bytes),
            Values::Ints(_) => Bytes::new(),
        };
        Self {
            column,
            written: 0,
            shared,
        }
    }

    fn write(
        &mut self,
        writer: &mut SerializedColumnWriter<'_>,
        range: std::ops::Range<usize>,
        rows: usize,
    ) -> Result<()> {
        const LOST: SegmentError = SegmentError::Unfit("a column is shorter than the others");
        let levels = self.column.levels.get(range).ok_or(LOST)?;
        let count = levels.iter().filter(|level| **level != 0).count();
        let (start, end) = (self.written, self.written + count);
        self.written = end;
        let levels = (self.column.present() != rows).then_some(levels);
        match &self.column.values {
            Values::Ints(values) => {
                let values = values.get(start..end).ok_or(LOST)?;
                writer.typed::<Int64Type>().write_batch(values, levels, None)?;
            }
            Values::Fixed(width, _) => {
                let values: Vec<FixedLenByteArray> = (start..end)
                    .map(|index| ByteArray::from(self.shared.slice(index * width..(index + 1) * width)).into())
                    .collect();
                writer
                    .typed::<FixedLenByteArrayType>()
                    .write_batch(&values, levels, None)?;
            }
            Values::Texts(_, ends) => {
                let mut from = start
                    .checked_sub(1)
                    .and_then(|last| ends.get(last).copied())
                    .unwrap_or(0);
                let values: Vec<ByteArray> = ends
                    .get(start..end)
                    .ok_or(LOST)?
                    .iter()
                    .map(|end| ByteArray::from(self.shared.slice(std::mem::replace(&mut from, *end)..*end)))
                    .collect();
                writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
            }
        }
        Ok(())
    }
}
