//! The packed form: every column in one compressed, sealed blob, for segments too small for a Parquet file.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray, builder::FixedSizeBinaryBuilder};
use callvault_core::{Class, record::Record};
use callvault_seal::{SecretKey, envelope};

use super::columns::{COLUMNS, Column, Shape, Values};
use super::encode::{class_code, class_from};
use super::restore::{Batch, push_records};
use super::varint::{Cursor, len, put, put_signed, zigzag};
use super::{Part, Result, SegmentError, key_check, part_key};

const MAGIC: &[u8; 5] = b"CVSP\x01";
const HEAD_BYTES: usize = MAGIC.len() + 8;
/// Rows a packed segment may have: far above what the writer packs, far below what would exhaust memory.
const MAX_ROWS: usize = 1 << 20;
/// Uncompressed bytes a packed segment may have.
const MAX_PLAIN_BYTES: usize = 1 << 30;
const ZSTD_LEVEL: i32 = 3;

const ALL_PRESENT: u8 = 0;
const SOME_PRESENT: u8 = 1;
const AS_IS: u8 = 0;
const AS_DIFFERENCES: u8 = 1;

fn aad(head: &[u8], segment_id: &[u8; 16]) -> Vec<u8> {
    [head, segment_id].concat()
}

pub(super) fn seal(
    class: Class,
    rows: usize,
    columns: &[Column],
    key: &SecretKey,
    segment_id: &[u8; 16],
) -> Result<Vec<u8>> {
    if rows > MAX_ROWS {
        return Err(SegmentError::Unfit("there are too many to pack"));
    }
    let mut plain = Vec::with_capacity(rows * 48);
    plain.push(class_code(class).unwrap_or(0));
    put(&mut plain, rows as u64);
    put(&mut plain, columns.len() as u64);
    for column in columns {
        put_column(&mut plain, column, rows);
    }
    if plain.len() > MAX_PLAIN_BYTES {
        return Err(SegmentError::Unfit("they are too large to pack"));
    }
    let mut body = Vec::with_capacity(plain.len() / 2);
    put(&mut body, plain.len() as u64);
    let packed = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(|error| SegmentError::Write(error.to_string()))?;
    body.extend_from_slice(&packed);

    let key = part_key(key, Part::Packed, segment_id);
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&key_check(&key));
    let sealed = envelope::seal(&key, &aad(&out, segment_id), &body)?;
    out.extend_from_slice(&sealed);
    Ok(out)
}

fn put_column(out: &mut Vec<u8>, column: &Column, rows: usize) {
    put(out, column.number as u64);
    if column.present() == rows {
        out.push(ALL_PRESENT);
    } else {
        out.push(SOME_PRESENT);
        out.extend(column.levels.chunks(8).map(|bits| {
            bits.iter()
                .enumerate()
                .fold(0_u8, |byte, (bit, level)| byte | (u8::from(*level != 0) << bit))
        }));
    }
    match &column.values {
        Values::Ints(values) => put_ints(out, values),
        Values::Fixed(_, bytes) => out.extend_from_slice(bytes),
        Values::Texts(bytes, ends) => {
            let mut start = 0;
            for end in ends {
                put(out, (end - start) as u64);
                start = *end;
            }
            out.extend_from_slice(bytes);
        }
    }
}

fn put_ints(out: &mut Vec<u8>, values: &[i64]) {
    let differences = || {
        let before = std::iter::once(0).chain(values.iter().copied());
        values
            .iter()
            .zip(before)
            .map(|(value, before)| value.wrapping_sub(before))
    };
    let bytes_as_is: usize = values.iter().map(|value| len(zigzag(*value))).sum();
    let bytes_as_differences: usize = differences().map(|value| len(zigzag(value))).sum();
    if bytes_as_is <= bytes_as_differences {
        out.push(AS_IS);
        values.iter().for_each(|value| put_signed(out, *value));
    } else {
        out.push(AS_DIFFERENCES);
        differences().for_each(|value| put_signed(out, value));
    }
}

/// Opens a packed segment.
pub(super) fn open(bytes: &[u8], key: &SecretKey, segment_id: &[u8; 16]) -> Result<(Class, Vec<Record>)> {
    let (head, sealed) = bytes
        .split_at_checked(HEAD_BYTES)
        .ok_or(SegmentError::Damaged("it is cut short"))?;
    let check = head
        .strip_prefix(MAGIC)
        .ok_or(SegmentError::Damaged("it is no packed segment"))?;
    let key = part_key(key, Part::Packed, segment_id);
    if check != key_check(&key) {
        return Err(SegmentError::WrongKey);
    }
    let body = envelope::open(&key, &aad(head, segment_id), sealed)
        .map_err(|_| SegmentError::Damaged("its contents are not authentic"))?;
    let mut cursor = Cursor(&body);
    let plain_bytes = cursor.count(MAX_PLAIN_BYTES)?;
    let plain = zstd::bulk::decompress(cursor.0, plain_bytes)
        .map_err(|_| SegmentError::Damaged("its contents do not decompress"))?;

    let mut cursor = Cursor(&plain);
    let class = class_from(cursor.byte()?).ok_or(SegmentError::Damaged("its class is unknown"))?;
    let rows = cursor.count(MAX_ROWS)?;
    let count = cursor.count(COLUMNS.len())?;
    let columns = (0..count)
        .map(|_| take_column(&mut cursor, rows))
        .collect::<Result<_>>()?;
    if !cursor.0.is_empty() {
        return Err(SegmentError::Damaged("bytes are left over"));
    }
    let mut records = Vec::with_capacity(rows);
    push_records(class, &Batch { rows, columns }, &|_| true, &mut records)?;
    Ok((class, records))
}

fn take_column(cursor: &mut Cursor<'_>, rows: usize) -> Result<(String, ArrayRef)> {
    let number = cursor.count(COLUMNS.len())?;
    let (name, shape) = COLUMNS
        .get(number)
        .ok_or(SegmentError::Damaged("a column is unknown"))?;
    let bitmap = match cursor.byte()? {
        ALL_PRESENT => None,
        SOME_PRESENT => Some(cursor.take(rows.div_ceil(8))?),
        _ => return Err(SegmentError::Damaged("a column is malformed")),
    };
    let is_present =
        |row: usize| bitmap.is_none_or(|bits| bits.get(row / 8).is_some_and(|byte| (byte >> (row % 8)) & 1 == 1));
    let array: ArrayRef = match shape {
        Shape::Near | Shape::Wide | Shape::Few => {
            let differences = cursor.byte()? == AS_DIFFERENCES;
            let mut before = 0_i64;
            let mut next = || -> Result<i64> {
                let value = cursor.signed()?;
                before = if differences { before.wrapping_add(value) } else { value };
                Ok(before)
            };
            let values = (0..rows).map(|row| is_present(row).then(&mut next).transpose());
            Arc::new(Int64Array::from(values.collect::<Result<Vec<_>>>()?))
        }
        Shape::Random(width) => {
            let size = i32::try_from(*width).map_err(|_| SegmentError::Damaged("a column is malformed"))?;
            let mut builder = FixedSizeBinaryBuilder::with_capacity(rows, size);
            for row in 0..rows {
                if is_present(row) {
                    let bytes = cursor.take(*width)?;
                    builder
                        .append_value(bytes)
                        .map_err(|_| SegmentError::Damaged("a column is malformed"))?;
                } else {
                    builder.append_null();
                }
            }
            Arc::new(builder.finish())
        }
        Shape::Text => {
            let lengths = (0..rows).map(|row| is_present(row).then(|| cursor.count(MAX_PLAIN_BYTES)).transpose());
            let lengths = lengths.collect::<Result<Vec<_>>>()?;
            let mut texts = Vec::with_capacity(rows);
            for length in lengths {
                let text = length.map(|length| cursor.take(length)).transpose()?;
                let text = text.map(std::str::from_utf8).transpose();
                texts.push(text.map_err(|_| SegmentError::Damaged("a text is not UTF-8"))?);
            }
            Arc::new(StringArray::from(texts))
        }
    };
    Ok(((*name).to_owned(), array))
}
