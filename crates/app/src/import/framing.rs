//! Where rows and documents begin and end, found without trusting them: in bounded memory, and so that a broken row
//! costs itself and not its neighbours.

use std::io::{self, Read};

use super::{Fault, Reject, window::Window};

/// The deepest nesting of a JSON document.
pub(crate) const MAX_DEPTH: u32 = 64;

/// What stands at the front of the window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A row: its bytes without the line break, what it takes with it, and how many lines that is.
    Row {
        len: usize,
        consumed: usize,
        lines: u64,
        /// Whether a line break follows; without one the file may have been cut.
        terminated: bool,
    },
    /// A broken row; `len` of its bytes stand at the front of the window.
    Bad {
        fault: Fault,
        len: usize,
        consumed: usize,
        lines: u64,
    },
    /// A broken row too long to hold. It is consumed already; this is its beginning.
    Skipped { fault: Fault, raw: Vec<u8>, lines: u64 },
    /// Nothing is left.
    End,
}

fn too_long(max_bytes: usize) -> Fault {
    Fault::row("line-too-long", format!("longer than the limit of {max_bytes} bytes"))
}

/// The next line, or the next CSV row when `quotes` says that quoted fields may span lines.
pub(crate) fn next_row<R: Read>(window: &mut Window<R>, max_bytes: usize, quotes: bool) -> io::Result<Frame> {
    let mut searched = 0;
    let newline = loop {
        let data = window.data();
        match memchr::memchr(b'\n', &data[searched..]) {
            Some(at) => break Some(searched + at),
            None if data.len() > max_bytes => return skip_line(window, max_bytes),
            None if window.at_end() => break None,
            None => {
                searched = data.len();
                window.fill()?;
            }
        }
    };
    let data = window.data();
    let Some(newline) = newline else {
        return Ok(match data.len() {
            0 => Frame::End,
            len if quotes && ends_inside_quotes(data) => Frame::Bad {
                fault: Fault::row("truncated", "the file ends inside a quoted field"),
                len,
                consumed: len,
                lines: 1,
            },
            len => Frame::Row {
                len,
                consumed: len,
                lines: 1,
                terminated: false,
            },
        });
    };
    if newline > max_bytes {
        return Ok(Frame::Bad {
            fault: too_long(max_bytes),
            len: newline,
            consumed: newline + 1,
            lines: 1,
        });
    }
    let line = without_cr(&data[..newline]);
    if !quotes || memchr::memchr(b'"', line).is_none() {
        return Ok(Frame::Row {
            len: line.len(),
            consumed: newline + 1,
            lines: 1,
            terminated: true,
        });
    }
    next_quoted_row(window, newline, max_bytes)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn ends_inside_quotes(row: &[u8]) -> bool {
    scan_quoted(row) == Quoted::Open
}

#[derive(Debug, PartialEq, Eq)]
enum Quoted {
    /// The row ends at this line break.
    Ends(usize),
    /// The data end outside quotes, before a line break.
    Unended,
    /// The data end inside a quoted field.
    Open,
    /// A closing quote is followed by something else than a comma or a line break.
    Malformed,
}

/// Finds the end of a CSV row (RFC 4180): a quote opens a field only at its start, and is doubled inside it.
fn scan_quoted(data: &[u8]) -> Quoted {
    let mut at = 0;
    loop {
        if data.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let Some(quote) = memchr::memchr(b'"', &data[at..]) else {
                    return Quoted::Open;
                };
                at += quote + 1;
                if data.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
            match (data.get(at), data.get(at + 1)) {
                (None, _) | (Some(b'\r'), None) => return Quoted::Unended,
                (Some(b','), _) => at += 1,
                (Some(b'\n'), _) => return Quoted::Ends(at),
                (Some(b'\r'), Some(b'\n')) => return Quoted::Ends(at + 1),
                _ => return Quoted::Malformed,
            }
        } else {
            match memchr::memchr2(b',', b'\n', &data[at..]) {
                None => return Quoted::Unended,
                Some(found) if data[at + found] == b'\n' => return Quoted::Ends(at + found),
                Some(found) => at += found + 1,
            }
        }
    }
}

/// A row whose first line (up to `newline`) holds a quote. When its quotes make no row, only that line is given up.
fn next_quoted_row<R: Read>(window: &mut Window<R>, newline: usize, max_bytes: usize) -> io::Result<Frame> {
    let bad = |code, message| Frame::Bad {
        fault: Fault::row(code, message),
        len: newline,
        consumed: newline + 1,
        lines: 1,
    };
    loop {
        let data = window.data();
        match scan_quoted(data) {
            Quoted::Ends(at) if at <= max_bytes => {
                let row = without_cr(&data[..at]);
                let lines = 1 + memchr::memchr_iter(b'\n', row).count() as u64;
                return Ok(Frame::Row {
                    len: row.len(),
                    consumed: at + 1,
                    lines,
                    terminated: true,
                });
            }
            Quoted::Malformed => {
                return Ok(bad(
                    "bad-quotes",
                    "a quoted field does not end at a comma or line break: a quote is missing or not doubled",
                ));
            }
            Quoted::Unended if window.at_end() && data.len() <= max_bytes => {
                let lines = 1 + memchr::memchr_iter(b'\n', data).count() as u64;
                return Ok(Frame::Row {
                    len: data.len(),
                    consumed: data.len(),
                    lines,
                    terminated: false,
                });
            }
            Quoted::Open | Quoted::Unended if !window.at_end() && data.len() <= max_bytes => window.fill()?,
            _ => {
                return Ok(bad(
                    "unterminated-quote",
                    "a quoted field that begins on this line does not end within the row limit or the file",
                ));
            }
        }
    }
}

/// Passes over a line that is too long to hold, in constant memory.
fn skip_line<R: Read>(window: &mut Window<R>, max_bytes: usize) -> io::Result<Frame> {
    let raw = window.data()[..window.data().len().min(Reject::MAX_RAW_BYTES)].to_vec();
    loop {
        let data = window.data();
        if let Some(newline) = memchr::memchr(b'\n', data) {
            window.consume(newline + 1);
            break;
        }
        let len = data.len();
        window.consume(len);
        if window.at_end() {
            break;
        }
        window.fill()?;
    }
    Ok(Frame::Skipped {
        fault: too_long(max_bytes),
        raw,
        lines: 1,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Document {
    Complete(usize),
    Open,
    Bad(&'static str, &'static str),
}

/// Finds the end of the JSON object at the front of `data`, and stops at the first sign that it is none: what serde
/// would find later, this finds before a broken document swallows the next.
fn scan_document(data: &[u8]) -> Document {
    let (mut kinds, mut depth, mut before, mut at) = (0_u64, 0_u32, b' ', 0);
    while let Some(&byte) = data.get(at) {
        at += 1;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'"' => loop {
                let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', &data[at..]) else {
                    return Document::Open;
                };
                at += found + 1;
                match data[at - 1] {
                    b'"' => break,
                    b'\n' => return Document::Bad("bad-json", "a line break inside a string"),
                    _ => at += 1,
                }
                if at > data.len() {
                    return Document::Open;
                }
            },
            b'{' | b'[' => {
                if depth > 0 && kinds & 1 == 1 && before != b':' {
                    return Document::Bad(
                        "bad-json",
                        "an object or array where a key belongs: the document is cut or a bracket is missing",
                    );
                }
                if depth == MAX_DEPTH {
                    return Document::Bad("too-deep", "nested deeper than 64 levels");
                }
                kinds = kinds << 1 | u64::from(byte == b'{');
                depth += 1;
            }
            b'}' | b']' => {
                if (kinds & 1 == 1) != (byte == b'}') {
                    return Document::Bad("bad-json", "a closing bracket of the wrong kind");
                }
                kinds >>= 1;
                depth -= 1;
                if depth == 0 {
                    return Document::Complete(at);
                }
            }
            _ => {}
        }
        before = byte;
    }
    Document::Open
}

/// The next JSON document of a stream of them: separated by anything of space, commas, and the brackets of an array.
pub(crate) fn next_document<R: Read>(window: &mut Window<R>, max_bytes: usize) -> io::Result<Frame> {
    let mut before = None;
    loop {
        let data = window.data();
        let blank = data.iter().take_while(|byte| b" \t\r\n,[]".contains(byte)).count();
        let all = blank == data.len();
        let last = data[..blank].iter().rev().find(|byte| b",[]".contains(byte));
        before = last.copied().or(before);
        window.consume(blank);
        match (all, window.at_end()) {
            (false, _) => break,
            (true, true) if matches!(before, Some(b',' | b'[')) => {
                return Ok(Frame::Skipped {
                    fault: Fault::row("truncated", "the file ends inside an array of documents"),
                    raw: before.into_iter().collect(),
                    lines: 1,
                });
            }
            (true, true) => return Ok(Frame::End),
            (true, false) => window.fill()?,
        }
    }
    if window.data().first() != Some(&b'{') {
        return skip_document(window, Fault::row("bad-json", "expected a JSON object here"));
    }
    loop {
        let data = window.data();
        match scan_document(data) {
            Document::Complete(len) if len <= max_bytes => {
                return Ok(Frame::Row {
                    len,
                    consumed: len,
                    lines: 1,
                    terminated: true,
                });
            }
            Document::Bad(code, message) => {
                return skip_document(window, Fault::row(code, message));
            }
            Document::Open if data.len() <= max_bytes && !window.at_end() => window.fill()?,
            Document::Open if data.len() <= max_bytes => {
                let mut frame = skip_document(window, Fault::row("truncated", "the file ends inside a document"))?;
                if let Frame::Skipped { fault, .. } = &mut frame
                    && !window.data().is_empty()
                {
                    *fault = Fault::row("bad-json", "the document is cut: the next one begins inside it");
                }
                return Ok(frame);
            }
            Document::Complete(_) | Document::Open => {
                return skip_document(window, too_long(max_bytes));
            }
        }
    }
}

/// Passes over a broken document: to the next line that begins with `{`, in constant memory.
fn skip_document<R: Read>(window: &mut Window<R>, fault: Fault) -> io::Result<Frame> {
    let mut raw = window.data()[..window.data().len().min(Reject::MAX_RAW_BYTES)].to_vec();
    let start = window.offset();
    let mut at_line_start = false;
    loop {
        let data = window.data();
        if data.is_empty() {
            if window.at_end() {
                break;
            }
            window.fill()?;
            continue;
        }
        let len = data.len();
        if at_line_start {
            let blank = data.iter().take_while(|byte| b" \t\r\n,[".contains(byte)).count();
            match data.get(blank) {
                Some(b'{') => {
                    window.consume(blank);
                    break;
                }
                Some(_) => at_line_start = false,
                None => {
                    window.consume(len);
                    continue;
                }
            }
        }
        match memchr::memchr(b'\n', window.data()) {
            Some(newline) => {
                window.consume(newline + 1);
                at_line_start = true;
            }
            None => window.consume(len),
        }
    }
    raw.truncate(usize::try_from(window.offset() - start).unwrap_or(usize::MAX));
    Ok(Frame::Skipped { fault, raw, lines: 1 })
}
