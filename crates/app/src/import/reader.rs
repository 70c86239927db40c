//! Reads a file row by row.

use std::io::{Read, Seek};

use callvault_core::{Class, record::Record};

use super::{
    Batch, Fault, Format, ImportError, Options, Position, Reject, SidMaker, asterisk,
    context::Context,
    detection::check_readable,
    framing::{self, Frame},
    freeswitch, ndjson,
    own_csv::Header,
    window::Window,
};

/// Streams the records of one file. Memory is bounded by the row limit and the batch size.
pub struct Reader<R, S> {
    window: Window<R>,
    grammar: Grammar,
    max_line_bytes: usize,
    row: u64,
    begun: bool,
    cx: Context<S>,
}

enum Grammar {
    Asterisk,
    Freeswitch,
    Ndjson(Class),
    /// Its header is read with the first batch.
    CsvUnread(Class),
    Csv(Header),
}

impl Grammar {
    fn new(format: Format) -> Result<Self, ImportError> {
        match format {
            Format::AsteriskCsv => Ok(Self::Asterisk),
            Format::FreeswitchJson => Ok(Self::Freeswitch),
            Format::Ndjson(class @ (Class::Call | Class::Message)) => Ok(Self::Ndjson(class)),
            Format::Csv(class @ (Class::Call | Class::Message)) => Ok(Self::CsvUnread(class)),
            Format::Ndjson(class) | Format::Csv(class) => Err(ImportError::UnsupportedClass(class)),
        }
    }
}

impl<R: Read, S: SidMaker> Reader<R, S> {
    /// A reader of a whole file, from its first byte.
    ///
    /// # Errors
    /// [`ImportError::UnsupportedClass`].
    pub fn new(reader: R, format: Format, options: &Options, sid_maker: S) -> Result<Self, ImportError> {
        Ok(Self {
            window: Window::new(reader, 0),
            grammar: Grammar::new(format)?,
            max_line_bytes: options.max_line_bytes,
            row: 0,
            begun: false,
            cx: Context::new(options, sid_maker),
        })
    }

    /// Reads on until `max_rows` rows are seen, good and bad together. `None` when nothing is left.
    ///
    /// # Errors
    /// [`ImportError`]: what lies behind it in the file is not read.
    pub fn next_batch(&mut self, max_rows: usize) -> Result<Option<Batch>, ImportError> {
        if !self.begun {
            self.begin()?;
            self.begun = true;
        }
        let mut batch = Batch {
            position: self.position(),
            ..Batch::default()
        };
        while batch.records.len() + batch.rejects.len() < max_rows.max(1) {
            let quotes = matches!(self.grammar, Grammar::Asterisk | Grammar::Csv(_));
            let frame = match self.grammar {
                Grammar::Freeswitch => framing::next_document(&mut self.window, self.max_line_bytes)?,
                _ => framing::next_row(&mut self.window, self.max_line_bytes, quotes)?,
            };
            let ended = frame == Frame::End;
            // Behind a cut row comes nothing but the end.
            batch.cut = batch.cut || self.take(frame, &mut batch);
            if !batch.cut {
                batch.position = self.position();
            }
            if ended {
                break;
            }
        }
        batch.shortened = std::mem::take(&mut self.cx.shortened);
        let empty = batch.records.is_empty() && batch.rejects.is_empty();
        Ok((!empty).then_some(batch))
    }

    const fn position(&self) -> Position {
        Position {
            offset: self.window.offset(),
            row: self.row,
        }
    }

    /// Looks at the first bytes: what is no text of ours is named before it is taken for bad rows.
    fn begin(&mut self) -> Result<(), ImportError> {
        while self.window.data().len() < 16 && !self.window.at_end() {
            self.window.fill()?;
        }
        if self.window.offset() == 0 {
            let data = self.window.data();
            check_readable(data)?;
            if data.starts_with(b"\xef\xbb\xbf") {
                self.window.consume(3);
            }
            if self.window.data().is_empty() {
                return Err(ImportError::Empty);
            }
        }
        if let Grammar::CsvUnread(class) = self.grammar {
            self.grammar = Grammar::Csv(self.read_header(class)?);
        }
        Ok(())
    }

    fn read_header(&mut self, class: Class) -> Result<Header, ImportError> {
        let frame = framing::next_row(&mut self.window, self.max_line_bytes, true)?;
        let Frame::Row {
            len, consumed, lines, ..
        } = frame
        else {
            let reason = match frame {
                Frame::Bad { fault, .. } | Frame::Skipped { fault, .. } => {
                    format!("cannot be read: {}", fault.message)
                }
                _ => "is missing".to_owned(),
            };
            return Err(ImportError::Header(reason));
        };
        let line = std::str::from_utf8(&self.window.data()[..len])
            .map_err(|_| ImportError::Header("is not UTF-8".to_owned()))?;
        let header = Header::read(class, line).map_err(ImportError::Header)?;
        self.window.consume(consumed);
        self.row += lines;
        Ok(header)
    }

    /// Puts one frame into the batch; `true` when it was cut by the end of the file.
    fn take(&mut self, frame: Frame, batch: &mut Batch) -> bool {
        let row = self.row + 1;
        let (refused, consumed, lines) = match frame {
            Frame::End => return false,
            Frame::Skipped { fault, raw, lines } => (Some((fault, raw)), 0, lines),
            Frame::Bad {
                fault,
                len,
                consumed,
                lines,
            } => (Some((fault, cap(&self.window.data()[..len]))), consumed, lines),
            Frame::Row {
                len,
                consumed,
                lines,
                terminated,
            } => {
                let bytes = &self.window.data()[..len];
                let refused = if bytes.iter().all(u8::is_ascii_whitespace) {
                    None
                } else {
                    match read_row(&self.grammar, bytes, terminated, &mut self.cx) {
                        Ok(record) => {
                            batch.records.push((row, record));
                            None
                        }
                        Err(fault) => Some((fault, cap(bytes))),
                    }
                };
                (refused, consumed, lines)
            }
        };
        self.window.consume(consumed);
        self.row += lines;
        let Some((fault, raw)) = refused else {
            return false;
        };
        let cut = fault.code == "truncated";
        batch.rejects.push(Reject {
            error: fault.at(row),
            raw,
        });
        cut
    }
}

impl<R: Read + Seek, S: SidMaker> Reader<R, S> {
    /// A reader that goes on at an earlier batch's [`Batch::position`]. The header of an own CSV is read again.
    ///
    /// # Errors
    /// [`ImportError`], also when the header has changed into none.
    pub fn resume(
        reader: R,
        format: Format,
        options: &Options,
        sid_maker: S,
        position: Position,
    ) -> Result<Self, ImportError> {
        let mut this = Self::new(reader, format, options, sid_maker)?;
        if position.offset == 0 {
            return Ok(this);
        }
        if matches!(this.grammar, Grammar::CsvUnread(_)) {
            this.begin()?;
        }
        this.begun = true;
        this.window.seek(position.offset)?;
        this.row = position.row;
        Ok(this)
    }
}

fn cap(row: &[u8]) -> Vec<u8> {
    row[..row.len().min(Reject::MAX_RAW_BYTES)].to_vec()
}

/// Reads one row. A row at the end of the file, without a line break, that is not good is called truncated; of
/// `Master.csv`, whose writer ends every row with a line break, even a good one.
fn read_row<S: SidMaker>(
    grammar: &Grammar,
    bytes: &[u8],
    terminated: bool,
    cx: &mut Context<S>,
) -> Result<Record, Fault> {
    if !terminated && matches!(grammar, Grammar::Asterisk) {
        return Err(Fault::row(
            "truncated",
            "the last row has no line break: the file is cut, or still being written",
        ));
    }
    let read = read_whole_row(grammar, bytes, cx);
    match read {
        Err(fault) if !terminated => Err(Fault {
            code: "truncated",
            message: format!("the last row has no line break and is not good: {}", fault.message).into(),
            ..fault
        }),
        read => read,
    }
}

fn read_whole_row<S: SidMaker>(grammar: &Grammar, bytes: &[u8], cx: &mut Context<S>) -> Result<Record, Fault> {
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(Fault::row("nul-byte", format!("a NUL byte at byte {}", at + 1)));
    }
    let row = std::str::from_utf8(bytes).map_err(|error| {
        Fault::row(
            "invalid-utf8",
            format!("not UTF-8 from byte {}", error.valid_up_to() + 1),
        )
    })?;
    match grammar {
        Grammar::Asterisk => asterisk::read_row(row, cx),
        Grammar::Freeswitch => freeswitch::read_document(row, cx),
        Grammar::Ndjson(class) => ndjson::read_line(*class, row, cx),
        Grammar::Csv(header) => header.read_row(row, cx),
        Grammar::CsvUnread(_) => Err(Fault::row("bad-header", "the header line is not read")),
    }
}
