//! A window that slides over a stream: what is not consumed yet stays in one contiguous buffer of bounded size.

use std::io::{self, Read, Seek, SeekFrom};

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

pub(crate) struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    at_end: bool,
}

impl<R: Read> Window<R> {
    /// A window whose first byte is byte `offset` of the file.
    pub(crate) const fn new(reader: R, offset: u64) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset,
            at_end: false,
        }
    }

    /// What is read and not consumed.
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The file offset of the first byte of [`Window::data`].
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the stream has ended: `data` is all there will be.
    pub(crate) const fn at_end(&self) -> bool {
        self.at_end
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.start);
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads more behind what is there; the buffer grows only when what is not consumed fills it.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        if self.at_end {
            return Ok(());
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < CHUNK_BYTES / 2 {
            let grown = (self.buffer.len() * 2).max(CHUNK_BYTES);
            self.buffer.resize(grown, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

impl<R: Seek> Window<R> {
    /// Goes on at another byte of the file.
    pub(crate) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(offset))?;
        (self.start, self.end, self.offset, self.at_end) = (0, 0, offset, false);
        Ok(())
    }
}
