//! Recordings in another format than they came in: decoded piece by piece, encoded while they are sent.
//!
//! What is needed of a recording is in memory, a few pieces at a time, and nowhere else: no temporary file.

mod decode;

use async_trait::async_trait;
use bytes::Bytes;
use callvault_core::{
    AccountSid, Refusal,
    hold::Reader,
    record::{AudioFormat, RecordingMeta},
};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use crate::{
    error::{Result, VaultError},
    recording::RecordingView,
    vault::Vault,
};

/// Bytes of a WAV header as written here: RIFF, `fmt ` of PCM, `data`.
const WAV_HEAD_BYTES: u64 = 44;
/// Bytes of a sample.
const SAMPLE_BYTES: u64 = 2;
/// The most channels of an MP3 (ISO/IEC 11172-3).
const MP3_CHANNELS: u16 = 2;

/// Audio or encoded bytes, piece by piece.
pub type Pieces = BoxStream<'static, Result<Bytes>>;

/// What samples look like: interleaved, 16 bits, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: u16,
    /// Samples of a channel a second.
    pub sample_rate_hz: u32,
}

/// Encodes MP3. The vault brings none of its own: LAME, which is under the LGPL, is replaced by replacing this.
#[async_trait]
pub trait Mp3Encoder: Send + Sync {
    /// Encodes samples while they come. The same samples give the same bytes.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when there is no encoder; the stream ends with an error when it fails.
    async fn encode(&self, shape: Shape, samples: Pieces) -> Result<Pieces>;

    /// Whether there is an encoder.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when there is none.
    async fn check(&self) -> Result<()>;
}

/// No encoder: MP3 is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEncoder;

#[async_trait]
impl Mp3Encoder for NoEncoder {
    async fn encode(&self, _: Shape, _: Pieces) -> Result<Pieces> {
        Err(no_encoder())
    }

    async fn check(&self) -> Result<()> {
        Err(no_encoder())
    }
}

/// The refusal of a vault that has no encoder.
#[must_use]
pub fn no_encoder() -> VaultError {
    let reason = "This vault has no MP3 encoder: ask for `wav` or the original, or have its operator install `lame`.";
    Refusal::new("no-mp3-encoder", reason).in_field("format").into()
}

/// A recording in the format that was asked for.
pub struct Converted {
    /// Its length, where it is known before the end.
    pub bytes: Option<u64>,
    /// Its bytes.
    pub audio: Pieces,
}

/// What a recording will be in another format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    /// What it is delivered in.
    pub to: AudioFormat,
    /// How long that is, where it is known before the end.
    pub bytes: Option<u64>,
    /// Frames (a sample of every channel) of a WAV.
    frames: u64,
}

/// Reads the format that recordings are asked for in: `wav`, `mp3`, or `original`, which is none.
///
/// # Errors
/// [`VaultError::Invalid`].
pub fn parse_format(text: &str) -> Result<Option<AudioFormat>> {
    match text {
        "original" => Ok(None),
        "wav" => Ok(Some(AudioFormat::Wav)),
        "mp3" => Ok(Some(AudioFormat::Mp3)),
        _ => Err(VaultError::invalid("format", "expected original, wav or mp3")),
    }
}

/// Whether a recording can be had in a format, and how long it is then. Nothing when it is in that format already.
///
/// # Errors
/// A [`Refusal`] that says what stands in the way.
pub fn decide_conversion(meta: &RecordingMeta, to: AudioFormat) -> std::result::Result<Option<Conversion>, Refusal> {
    let refuse = |reason: String| Err(Refusal::new("not-convertible", reason).in_field("format"));
    match (meta.format, to) {
        (AudioFormat::Wav, AudioFormat::Wav) | (AudioFormat::Mp3, AudioFormat::Mp3) => Ok(None),
        (AudioFormat::Wav, AudioFormat::Mp3) if meta.channels > MP3_CHANNELS => refuse(format!(
            "The recording has {} channels, and an MP3 has one or two: ask for `wav`.",
            meta.channels
        )),
        (AudioFormat::Wav, AudioFormat::Mp3) => Ok(Some(Conversion {
            to,
            bytes: None,
            frames: 0,
        })),
        (AudioFormat::Mp3, AudioFormat::Wav) => {
            let frames = frames_of_mp3(meta);
            let data_bytes = frames * u64::from(meta.channels) * SAMPLE_BYTES;
            match u32::try_from(data_bytes + WAV_HEAD_BYTES) {
                Ok(_) => Ok(Some(Conversion {
                    to,
                    bytes: Some(WAV_HEAD_BYTES + data_bytes),
                    frames,
                })),
                Err(_) => refuse("The recording is longer than a WAV file can be (4 GiB): ask for `mp3`.".to_owned()),
            }
        }
    }
}

/// Samples of a channel in an MP3: whole frames of 1,152 (MPEG-1) or 576. Its length in milliseconds is cut, and names
/// their number nonetheless: no two numbers of whole frames are within a millisecond.
fn frames_of_mp3(meta: &RecordingMeta) -> u64 {
    let frame = if meta.sample_rate_hz >= 32_000 { 1_152 } else { 576 };
    let at_least = u128::from(meta.duration_ms) * u128::from(meta.sample_rate_hz);
    let frames = u64::try_from(at_least.div_ceil(1_000)).unwrap_or(u64::MAX / 64);
    frames.min(u64::MAX / 64).next_multiple_of(frame)
}

pub(crate) fn wav_head(shape: Shape, data_bytes: u64) -> Vec<u8> {
    // The length was decided to fit.
    let data_bytes = u32::try_from(data_bytes).unwrap_or(u32::MAX);
    let block = shape.channels.saturating_mul(2);
    let mut head = Vec::with_capacity(44);
    head.extend_from_slice(b"RIFF");
    head.extend_from_slice(&data_bytes.saturating_add(36).to_le_bytes());
    head.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
    head.extend_from_slice(&shape.channels.to_le_bytes());
    head.extend_from_slice(&shape.sample_rate_hz.to_le_bytes());
    head.extend_from_slice(&shape.sample_rate_hz.saturating_mul(u32::from(block)).to_le_bytes());
    head.extend_from_slice(&block.to_le_bytes());
    head.extend_from_slice(b"\x10\0data");
    head.extend_from_slice(&data_bytes.to_le_bytes());
    head
}

/// Decodes a short piece of audio, such as a prompt: samples of 16 bits of all channels in turn.
///
/// # Errors
/// [`VaultError::Refused`] when it is none that can be decoded.
pub async fn decode_short(audio: Bytes, format: AudioFormat) -> Result<(Shape, Vec<i16>)> {
    let (shape, pieces) = decode::decode(futures::stream::iter([Ok(audio)]).boxed(), format).await?;
    let bytes: Vec<Bytes> = pieces.try_collect().await?;
    let samples = bytes
        .concat()
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Ok((shape, samples))
}

impl Vault {
    /// A recording in another format, as [`decide_conversion`] allowed it. What cannot be decoded is refused here, before
    /// anything of it was given.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] as in [`Vault::get_recording`]; [`VaultError::Refused`] when it cannot be decoded, or
    /// when there is no encoder; the stream ends with an error when the bytes are damaged or the recording goes.
    pub async fn convert_recording(
        &self,
        account: &AccountSid,
        view: &RecordingView,
        conversion: Conversion,
        reader: Reader,
    ) -> Result<Converted> {
        let audio = self.read_recording(account, view.sid, 0..view.bytes, reader).await?;
        let (shape, samples) = decode::decode(audio.boxed(), view.meta.format).await?;
        let audio = match conversion.to {
            AudioFormat::Mp3 if shape.channels > MP3_CHANNELS => {
                return Err(decode::not_audio("it has more channels than an MP3"));
            }
            AudioFormat::Mp3 => self.mp3_encoder.encode(shape, samples).await?,
            AudioFormat::Wav => {
                let said = Shape {
                    channels: view.meta.channels,
                    sample_rate_hz: view.meta.sample_rate_hz,
                };
                if shape != said {
                    return Err(decode::not_audio("it is not what its description says"));
                }
                wav(shape, conversion.frames, samples)
            }
        };
        Ok(Converted {
            bytes: conversion.bytes,
            audio,
        })
    }
}

/// A WAV of this many frames: cut, or filled up with silence.
fn wav(shape: Shape, frames: u64, samples: Pieces) -> Pieces {
    let data_bytes = frames * u64::from(shape.channels) * SAMPLE_BYTES;
    let head = stream::iter([Ok(Bytes::from(wav_head(shape, data_bytes)))]);
    let data = stream::try_unfold((samples, data_bytes), |(mut samples, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = match samples.try_next().await? {
            Some(piece) => piece,
            None => Bytes::from(vec![
                0;
                usize::try_from(left).unwrap_or(SILENCE_BYTES).min(SILENCE_BYTES)
            ]),
        };
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - piece.len() as u64;
        Ok(Some((piece, (samples, left))))
    });
    head.chain(data).boxed()
}

/// Silence at once.
const SILENCE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use callvault_core::record::Consent;

    use super::*;

    fn meta(format: AudioFormat, channels: u16, sample_rate_hz: u32, duration_ms: u64) -> RecordingMeta {
        RecordingMeta {
            parties: Default::default(),
            format,
            channels,
            sample_rate_hz,
            duration_ms,
            consent: Consent::Announced,
            policy_version: None,
            file_name: None,
        }
    }

    #[test]
    fn an_mp3s_frames_are_known_from_its_length() {
        for (rate, frame) in [
            (8_000, 576),
            (11_025, 576),
            (24_000, 576),
            (44_100, 1_152),
            (48_000, 1_152),
        ] {
            for count in [1, 2, 3, 7, 1_000, 99_991, 1_234_567] {
                let samples: u64 = count * frame;
                let meta = meta(AudioFormat::Mp3, 1, rate, samples * 1_000 / u64::from(rate));
                assert_eq!(frames_of_mp3(&meta), samples, "{rate} {count}");
            }
        }
    }

    #[test]
    fn what_cannot_be_converted_is_refused_with_the_reason() {
        let of = |format, channels, ms, to| decide_conversion(&meta(format, channels, 8_000, ms), to);
        assert_eq!(of(AudioFormat::Wav, 1, 1, AudioFormat::Wav), Ok(None));
        let crowd = of(AudioFormat::Wav, 3, 1, AudioFormat::Mp3).expect_err("three channels");
        assert_eq!((crowd.code, crowd.field), ("not-convertible", Some("format")));
        let endless = of(AudioFormat::Mp3, 2, u64::MAX, AudioFormat::Wav).expect_err("too long");
        assert!(endless.reason.contains("4 GiB"));
        let short = of(AudioFormat::Mp3, 1, 72, AudioFormat::Wav)
            .expect("allowed")
            .expect("converted");
        assert_eq!(short.bytes, Some(44 + 576 * 2));
    }
}
