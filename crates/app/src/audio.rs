//! What a recording's file is: its container, channels, rate and true length, read from the file and not believed.
//!
//! Every frame of an MP3 is walked by its header, and every chunk of a WAV by its length, without decoding: a decoder is
//! built to forgive a file that ends early, and this is built to notice.

use std::io::{self, Read, Seek, SeekFrom};

use callvault_core::record::AudioFormat;

mod file_name;
mod mp3;
mod wav;

pub use file_name::match_recording;

/// The most channels of a recording: one a party, and room for a conference of few.
pub const MAX_CHANNELS: u16 = 8;
/// The highest sample rate taken.
pub const MAX_SAMPLE_RATE_HZ: u32 = 192_000;

/// What an audio file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioInfo {
    /// Container.
    pub format: AudioFormat,
    /// Channels.
    pub channels: u16,
    /// Samples a second.
    pub sample_rate_hz: u32,
    /// Length in milliseconds.
    pub duration_ms: u64,
    /// Bytes of audio, headers and tags left out.
    pub data_bytes: u64,
}

/// Why a file is no recording that the vault takes.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// Zero bytes.
    #[error("the file is empty")]
    Empty,
    /// Neither WAV nor MP3.
    #[error("neither a WAV nor an MP3 file")]
    NotAudio,
    /// The name says one container, the bytes another.
    #[error("the file name says {named}, but the file is {found}")]
    NameMismatch {
        /// What the name says.
        named: &'static str,
        /// What the file is.
        found: &'static str,
    },
    /// A codec the vault does not take.
    #[error("codec {0:#06x} inside WAV: PCM, A-law and mu-law are taken")]
    UnsupportedCodec(u16),
    /// MPEG audio that is no layer III.
    #[error("MPEG audio of layer I or II: layer III (MP3) is taken")]
    UnsupportedLayer,
    /// The header contradicts itself or ends early.
    #[error("the header is broken: {0}")]
    BadHeader(&'static str),
    /// No channel, or more than [`MAX_CHANNELS`].
    #[error("{0} channels: 1 to 8 are taken")]
    Channels(u16),
    /// A rate of zero or beyond [`MAX_SAMPLE_RATE_HZ`].
    #[error("{0} samples a second: 1 to 192000 are taken")]
    SampleRate(u32),
    /// The file is shorter than its header says.
    #[error("the file is cut: it says {said_bytes} bytes of audio and holds {found_bytes}")]
    Truncated {
        /// What it says.
        said_bytes: u64,
        /// What it holds.
        found_bytes: u64,
    },
    /// The RIFF length is not the file's.
    #[error("the file says it is {said_bytes} bytes long and is {found_bytes}")]
    LengthMismatch {
        /// What it says.
        said_bytes: u64,
        /// What it is.
        found_bytes: u64,
    },
    /// A header written before the recorder knew the length, and never corrected.
    #[error(
        "the header was never finished: the recorder wrote no length, so nobody can tell whether the file is whole"
    )]
    Unfinished,
    /// No audio at all.
    #[error("the file holds no audio")]
    NoAudio,
    /// Something that is no audio lies between frames, or no chunk behind the audio.
    #[error("neither audio nor anything else that belongs into the file at byte {0}")]
    Garbage(u64),
    /// Reading failed.
    #[error("reading failed")]
    Io(#[from] io::Error),
}

impl AudioError {
    /// A stable kebab-case code, listed in `docs/import.md`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty-file",
            Self::NotAudio => "not-audio",
            Self::NameMismatch { .. } => "name-mismatch",
            Self::UnsupportedCodec(_) => "unsupported-codec",
            Self::UnsupportedLayer => "unsupported-layer",
            Self::BadHeader(_) => "bad-header",
            Self::Channels(_) => "bad-channel-count",
            Self::SampleRate(_) => "bad-sample-rate",
            Self::Truncated { .. } => "truncated",
            Self::LengthMismatch { .. } => "length-mismatch",
            Self::Unfinished => "unfinished-header",
            Self::NoAudio => "no-audio",
            Self::Garbage(_) => "garbage",
            Self::Io(_) => "read-failed",
        }
    }
}

/// Reads what a file of `len` bytes holds. Reads headers alone; the memory used does not depend on the file.
///
/// # Errors
/// [`AudioError`], which names what is wrong.
pub fn probe<R: Read + Seek>(mut reader: R, len: u64, file_name: &str) -> Result<AudioInfo, AudioError> {
    if len == 0 {
        return Err(AudioError::Empty);
    }
    reader.seek(SeekFrom::Start(0))?;
    let mut start = [0; 12];
    let start = read_up_to(&mut reader, &mut start)?;
    let named = file_name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    let is_wav = start.len() == 12 && matches!(&start[..4], b"RIFF" | b"RIFX" | b"RF64") && &start[8..] == b"WAVE";
    if is_wav {
        if named.as_deref() == Some("mp3") {
            return Err(AudioError::NameMismatch {
                named: "MP3",
                found: "WAV",
            });
        }
        return wav::probe(&mut reader, len);
    }
    if start.starts_with(b"RIFF") && start.len() < 12 {
        return Err(AudioError::BadHeader("it ends early"));
    }
    let info = mp3::probe(&mut reader, len)?;
    if matches!(named.as_deref(), Some("wav" | "wave")) {
        return Err(AudioError::NameMismatch {
            named: "WAV",
            found: "MP3",
        });
    }
    Ok(info)
}

/// Reads until the buffer is full or the file ends.
fn read_up_to<'b, R: Read>(reader: &mut R, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}
