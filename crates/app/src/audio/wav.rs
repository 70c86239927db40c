//! RIFF/WAVE (Microsoft and IBM, *Multimedia Programming Interface and Data Specifications 1.0*).

use std::io::{Read, Seek, SeekFrom};

use callvault_core::record::AudioFormat;

use super::{AudioError, AudioInfo, MAX_CHANNELS, MAX_SAMPLE_RATE_HZ, read_up_to};

const PCM: u16 = 0x0001;
const A_LAW: u16 = 0x0006;
const MU_LAW: u16 = 0x0007;
const EXTENSIBLE: u16 = 0xfffe;
/// What a recorder writes for a length that it does not know yet.
const UNKNOWN: u32 = 0xffff_ffff;
/// More chunks than any recorder writes.
const MAX_CHUNKS: u32 = 1000;

struct Layout {
    channels: u16,
    sample_rate_hz: u32,
    block_bytes: u16,
}

/// The reader stands behind the first twelve bytes, `RIFF`, a length, `WAVE`.
pub(super) fn probe<R: Read + Seek>(reader: &mut R, len: u64) -> Result<AudioInfo, AudioError> {
    reader.seek(SeekFrom::Start(0))?;
    let mut head = [0; 8];
    reader.read_exact(&mut head)?;
    match &head[..4] {
        b"RIFF" => {}
        _ => return Err(AudioError::BadHeader("RIFX and RF64 are not taken")),
    }
    let riff_bytes = u32_at(&head, 4);
    let mut at = 12_u64;
    let mut layout = None;
    for _ in 0..MAX_CHUNKS {
        reader.seek(SeekFrom::Start(at))?;
        let mut head = [0; 8];
        let head = read_up_to(reader, &mut head)?;
        if head.len() < 8 {
            return Err(if layout.is_some() {
                AudioError::NoAudio
            } else {
                AudioError::BadHeader("it has no fmt chunk")
            });
        }
        let bytes = u32_at(head, 4);
        match &head[..4] {
            b"fmt " => layout = Some(read_layout(reader, bytes)?),
            b"data" => {
                let layout = layout.ok_or(AudioError::BadHeader("data comes before fmt"))?;
                let info = finish(&layout, riff_bytes, bytes, at + 8, len)?;
                check_rest(reader, at + 8 + u64::from(bytes), bytes & 1, len)?;
                return Ok(info);
            }
            _ => {}
        }
        // Chunks are padded to an even length.
        at += 8 + u64::from(bytes) + u64::from(bytes & 1);
        if at > len {
            return Err(AudioError::Truncated {
                said_bytes: at,
                found_bytes: len,
            });
        }
    }
    Err(AudioError::BadHeader("it has too many chunks"))
}

fn read_layout<R: Read>(reader: &mut R, bytes: u32) -> Result<Layout, AudioError> {
    let mut body = [0; 40];
    let body = read_up_to(reader, &mut body)?;
    if bytes < 16 || body.len() < 16 {
        return Err(AudioError::BadHeader("the fmt chunk is too short"));
    }
    let mut codec = u16_at(body, 0);
    let (channels, sample_rate_hz) = (u16_at(body, 2), u32_at(body, 4));
    let (block_bytes, bits) = (u16_at(body, 12), u16_at(body, 14));
    if codec == EXTENSIBLE && bytes >= 40 && body.len() >= 26 {
        codec = u16_at(body, 24);
    }
    if !matches!(codec, PCM | A_LAW | MU_LAW) {
        return Err(AudioError::UnsupportedCodec(codec));
    }
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(AudioError::Channels(channels));
    }
    if sample_rate_hz == 0 || sample_rate_hz > MAX_SAMPLE_RATE_HZ {
        return Err(AudioError::SampleRate(sample_rate_hz));
    }
    let bits_fit = if codec == PCM {
        matches!(bits, 8 | 16 | 24 | 32)
    } else {
        bits == 8
    };
    if !bits_fit || block_bytes != channels * (bits / 8) {
        return Err(AudioError::BadHeader("bits a sample, channels and block size disagree"));
    }
    Ok(Layout {
        channels,
        sample_rate_hz,
        block_bytes,
    })
}

fn finish(layout: &Layout, riff_bytes: u32, data_bytes: u32, data_at: u64, len: u64) -> Result<AudioInfo, AudioError> {
    let present = len.saturating_sub(data_at);
    if data_bytes == UNKNOWN || (data_bytes == 0 && present > 0) {
        return Err(AudioError::Unfinished);
    }
    let said = u64::from(data_bytes);
    if said > present {
        return Err(AudioError::Truncated {
            said_bytes: said,
            found_bytes: present,
        });
    }
    if said == 0 {
        return Err(AudioError::NoAudio);
    }
    // Some writers count the last pad byte in, some leave it out of the file.
    let riff_len = u64::from(riff_bytes) + 8;
    if riff_len.abs_diff(len) > 1 {
        return Err(AudioError::LengthMismatch {
            said_bytes: riff_len,
            found_bytes: len,
        });
    }
    let samples = said / u64::from(layout.block_bytes);
    Ok(AudioInfo {
        format: AudioFormat::Wav,
        channels: layout.channels,
        sample_rate_hz: layout.sample_rate_hz,
        duration_ms: samples * 1000 / u64::from(layout.sample_rate_hz),
        data_bytes: said,
    })
}

/// Behind the audio come whole chunks or nothing. Anything else is audio that the length keeps silent about, or no part
/// of a recording. The last chunk may lack its pad byte.
fn check_rest<R: Read + Seek>(reader: &mut R, data_end: u64, pad: u32, len: u64) -> Result<(), AudioError> {
    let mut at = data_end + u64::from(pad);
    for _ in 0..MAX_CHUNKS {
        if at >= len {
            return Ok(());
        }
        reader.seek(SeekFrom::Start(at))?;
        let mut head = [0; 8];
        let head = read_up_to(reader, &mut head)?;
        let named = head.len() == 8 && head[..4].iter().all(|byte| (0x20..0x7f).contains(byte));
        let bytes = u64::from(u32_at(head, 4));
        if !named || &head[..4] == b"data" || at + 8 + bytes > len {
            return Err(AudioError::Garbage(at));
        }
        at += 8 + bytes + (bytes & 1);
    }
    Err(AudioError::BadHeader("it has too many chunks"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|two| two.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
