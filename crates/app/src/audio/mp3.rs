//! MPEG-1, MPEG-2 (ISO/IEC 11172-3, 13818-3) and MPEG-2.5 audio, layer III, frame by frame.

use std::io::{BufReader, Read, Seek, SeekFrom};

use callvault_core::record::AudioFormat;

use super::{AudioError, AudioInfo, read_up_to};

/// Kilobits a second by index, layer III: MPEG-1, then MPEG-2 and 2.5. Index 0 (free format) is not taken.
const BITRATES: [[u32; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    bytes: u64,
    samples: u64,
    sample_rate_hz: u32,
    channels: u16,
    /// Bytes of side information behind the header, where a Xing tag begins.
    side_bytes: usize,
}

enum Header {
    Frame(Frame),
    OtherLayer,
    None,
}

fn parse_header(head: [u8; 4]) -> Header {
    let word = u32::from_be_bytes(head);
    if word >> 21 != 0x7ff {
        return Header::None;
    }
    let (version, layer) = (word >> 19 & 3, word >> 17 & 3);
    let (bitrate, rate, padding) = (word >> 12 & 15, word >> 10 & 3, word >> 9 & 1);
    if version == 1 || layer == 0 || rate == 3 || bitrate == 0 || bitrate == 15 {
        return Header::None;
    }
    if layer != 1 {
        return Header::OtherLayer;
    }
    let first = version == 3;
    let halvings = match version {
        3 => 0,
        2 => 1,
        _ => 2,
    };
    let sample_rate_hz = SAMPLE_RATES[rate as usize] >> halvings;
    let bits = BITRATES[usize::from(!first)][bitrate as usize] * 1000;
    let samples: u32 = if first { 1152 } else { 576 };
    let channels = if word >> 6 & 3 == 3 { 1 } else { 2 };
    Header::Frame(Frame {
        bytes: u64::from(samples / 8 * bits / sample_rate_hz + padding),
        samples: u64::from(samples),
        sample_rate_hz,
        channels,
        side_bytes: match (first, channels) {
            (true, 2) => 32,
            (true, _) | (false, 2) => 17,
            (false, _) => 9,
        },
    })
}

pub(super) fn probe<R: Read + Seek>(reader: &mut R, len: u64) -> Result<AudioInfo, AudioError> {
    reader.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(32 * 1024, reader);
    let mut at = skip_id3v2(&mut reader)?;
    if at > len {
        return Err(AudioError::Truncated {
            said_bytes: at,
            found_bytes: len,
        });
    }
    let mut first: Option<Frame> = None;
    let (mut samples, mut data_bytes, mut frames, mut tagged_frames) = (0, 0, 0_u64, None);
    while at < len {
        let mut head = [0; 4];
        let found = read_up_to(&mut reader, &mut head)?.len();
        let frame = match parse_header(head) {
            Header::Frame(frame) if found == 4 => frame,
            Header::OtherLayer if first.is_none() => return Err(AudioError::UnsupportedLayer),
            _ if first.is_none() => return Err(AudioError::NotAudio),
            // ID3v1, APE and Lyrics3 tags end a file; padding zeros may.
            _ if head.starts_with(b"TAG") || &head == b"APET" || &head == b"LYRI" || head == [0; 4] => {
                break;
            }
            _ if found < 4 => {
                return Err(AudioError::Truncated {
                    said_bytes: at + 4,
                    found_bytes: len,
                });
            }
            _ => return Err(AudioError::Garbage(at)),
        };
        if at + frame.bytes > len {
            // One frame that does not fit is no sign of audio.
            return Err(if first.is_none() {
                AudioError::NotAudio
            } else {
                AudioError::Truncated {
                    said_bytes: at + frame.bytes,
                    found_bytes: len,
                }
            });
        }
        match first {
            None => {
                let mut body = [0; 64];
                let body = read_up_to(&mut reader, &mut body)?;
                let read = body.len() as u64;
                tagged_frames = tag_frames(body, &frame);
                reader.seek_relative(i64::try_from(frame.bytes).unwrap_or(0) - 4 - i64::try_from(read).unwrap_or(0))?;
                if tagged_frames.is_none() {
                    (samples, data_bytes, frames) = (frame.samples, frame.bytes, 1);
                }
                first = Some(frame);
            }
            Some(earlier) => {
                if earlier.sample_rate_hz != frame.sample_rate_hz {
                    return Err(AudioError::BadHeader("the sample rate changes inside the file"));
                }
                reader.seek_relative(i64::try_from(frame.bytes).unwrap_or(0) - 4)?;
                samples += frame.samples;
                data_bytes += frame.bytes;
                frames += 1;
            }
        }
        at += frame.bytes;
    }
    let Some(first) = first else {
        return Err(AudioError::NotAudio);
    };
    if let Some(said) = tagged_frames.filter(|&said| said > frames) {
        let average = data_bytes.checked_div(frames).unwrap_or(first.bytes);
        return Err(AudioError::Truncated {
            said_bytes: said.saturating_mul(average),
            found_bytes: data_bytes,
        });
    }
    if frames == 0 {
        return Err(AudioError::NoAudio);
    }
    Ok(AudioInfo {
        format: AudioFormat::Mp3,
        channels: first.channels,
        sample_rate_hz: first.sample_rate_hz,
        duration_ms: samples * 1000 / u64::from(first.sample_rate_hz),
        data_bytes,
    })
}

/// Passes over an ID3v2 tag; its length is four bytes of seven bits each.
fn skip_id3v2<R: Read + Seek>(reader: &mut BufReader<R>) -> Result<u64, AudioError> {
    let mut head = [0; 10];
    let head = read_up_to(reader, &mut head)?;
    let tag = if head.len() == 10 && head.starts_with(b"ID3") {
        let length = head[6..]
            .iter()
            .fold(0_u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
        let footer = if head[5] & 0x10 == 0 { 0 } else { 10 };
        10 + length + footer
    } else {
        0
    };
    reader.seek(SeekFrom::Start(tag))?;
    Ok(tag)
}

/// The number of frames a Xing/Info or VBRI tag in the first frame names. A frame with a tag holds no audio.
fn tag_frames(body: &[u8], frame: &Frame) -> Option<u64> {
    let number = |at: usize| {
        body.get(at..at + 4)
            .and_then(|four| four.try_into().ok())
            .map(u32::from_be_bytes)
    };
    let xing = body.get(frame.side_bytes..)?;
    if xing.starts_with(b"Xing") || xing.starts_with(b"Info") {
        let flags = number(frame.side_bytes + 4)?;
        return Some(if flags & 1 == 1 {
            u64::from(number(frame.side_bytes + 8)?)
        } else {
            0
        });
    }
    if body.get(32..36) == Some(b"VBRI") {
        return number(46).map(u64::from);
    }
    None
}
