//! Recordings as recorders write them, whole and broken.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends here when it fails")]

use std::io::Cursor;

use callvault_app::audio::{AudioError, AudioInfo, probe};
use callvault_core::record::AudioFormat;
use proptest::prelude::*;
use symphonia::core::{
    formats::{FormatOptions, probe::Hint},
    io::{MediaSourceStream, MediaSourceStreamOptions},
    meta::MetadataOptions,
};

fn wav(codec: u16, channels: u16, rate: u32, bits: u16, samples: u32) -> Vec<u8> {
    let block = channels * bits / 8;
    let data = samples * u32::from(block);
    let mut out = b"RIFF".to_vec();
    out.extend((36 + data).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0");
    out.extend(codec.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(block)).to_le_bytes());
    out.extend(block.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(data.to_le_bytes());
    out.resize(44 + data as usize, 0x55);
    out
}

/// MPEG-2 layer III, mono: one header for each bit rate index. The frames hold silence.
fn mp3(bitrate_indexes: &[u8]) -> Vec<u8> {
    let kbps = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let mut out = Vec::new();
    for &index in bitrate_indexes {
        // 16 kHz: index 2 of MPEG-2.
        out.extend([0xff, 0xf3, index << 4 | 2 << 2, 0xc0]);
        let bytes = 72 * kbps[usize::from(index)] * 1000 / 16_000;
        out.resize(out.len() + bytes - 4, 0);
    }
    out
}

fn look(bytes: &[u8], name: &str) -> Result<AudioInfo, AudioError> {
    probe(Cursor::new(bytes), bytes.len() as u64, name)
}

fn code(bytes: &[u8], name: &str) -> &'static str {
    look(bytes, name).expect_err("refused").code()
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn telephony_wavs() {
    for (codec, channels, bits) in [(1, 1, 16), (1, 2, 16), (6, 1, 8), (7, 2, 8)] {
        let info = look(&wav(codec, channels, 8000, bits, 12_004), "a.wav").expect("good");
        assert_eq!(
            (info.format, info.channels, info.sample_rate_hz, info.duration_ms),
            (AudioFormat::Wav, channels, 8000, 1500)
        );
        assert_eq!(info.data_bytes, 12_004 * u64::from(channels * bits / 8));
    }
    let mut listed = wav(1, 1, 8000, 16, 80);
    listed.splice(36..36, *b"LIST\x05\0\0\0INFOx\0");
    let len = listed.len() as u32;
    put(&mut listed, 4, len - 8);
    assert_eq!(
        look(&listed, "a.wav")
            .expect("other chunks are passed over")
            .duration_ms,
        10
    );
}

#[test]
fn wavs_that_lie() {
    let good = wav(1, 1, 8000, 16, 8000);
    let with = |at, value| {
        let mut bytes = good.clone();
        put(&mut bytes, at, value);
        bytes
    };
    assert_eq!(code(&good[..good.len() - 2], "a.wav"), "truncated");
    assert_eq!(code(&good[..44], "a.wav"), "truncated");
    assert_eq!(code(&with(40, 16_004), "a.wav"), "truncated");
    assert_eq!(code(&with(4, 5), "a.wav"), "length-mismatch");
    assert_eq!(code(&with(4, u32::MAX), "a.wav"), "length-mismatch");
    assert_eq!(code(&with(40, u32::MAX), "a.wav"), "unfinished-header");
    assert_eq!(code(&with(40, 0), "a.wav"), "unfinished-header");
    assert_eq!(code(&wav(1, 1, 8000, 16, 0), "a.wav"), "no-audio");
    assert_eq!(code(&with(24, 0), "a.wav"), "bad-sample-rate");
    assert_eq!(code(&with(24, u32::MAX), "a.wav"), "bad-sample-rate");
    assert_eq!(
        code(&with(20, 0x0001_0031), "a.wav"),
        "unsupported-codec",
        "GSM 6.10, as wav49"
    );
    for channels in [0, 9, 65_535] {
        assert_eq!(
            code(&with(20, channels << 16 | 1), "a.wav"),
            "bad-channel-count",
            "{channels}"
        );
    }
    assert_eq!(code(&with(16, 4), "a.wav"), "bad-header");
    for len in 12..36 {
        assert_eq!(code(&good[..len], "a.wav"), "bad-header", "{len}");
    }
}

#[test]
fn mp3_of_constant_and_variable_rate_agree_with_symphonia() {
    for indexes in [vec![4; 100], (0..100).map(|n| 2 + n % 9).collect::<Vec<u8>>()] {
        let bytes = mp3(&indexes);
        let info = look(&bytes, "a.mp3").expect("good");
        assert_eq!(
            (info.format, info.channels, info.sample_rate_hz),
            (AudioFormat::Mp3, 1, 16_000)
        );
        assert_eq!((info.duration_ms, info.data_bytes), (3600, bytes.len() as u64));

        let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), MediaSourceStreamOptions::default());
        let mut peer = symphonia::default::get_probe()
            .probe(
                Hint::new().with_extension("mp3"),
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
            .expect("symphonia reads it");
        let mut packets = 0;
        while peer.next_packet().expect("a packet").is_some() {
            packets += 1;
        }
        assert_eq!(packets * 36, info.duration_ms, "576 samples at 16 kHz are 36 ms");
    }
}

#[test]
fn mp3_tags_are_no_audio() {
    let frames = mp3(&[4; 20]);
    let mut tagged = b"ID3\x04\0\0\0\0\x01\x02".to_vec();
    tagged.resize(10 + 130, b'x');
    tagged.extend(&frames);
    tagged.extend(b"TAG");
    tagged.resize(tagged.len() + 125, b' ');
    let info = look(&tagged, "a.mp3").expect("good");
    assert_eq!((info.duration_ms, info.data_bytes), (720, frames.len() as u64));
}

#[test]
fn mp3_that_ends_early() {
    let frames = mp3(&[4; 20]);
    assert_eq!(code(&frames[..frames.len() - 1], "a.mp3"), "truncated");
    assert_eq!(
        code(&frames[..frames.len() - 142], "a.mp3"),
        "truncated",
        "two bytes of a header"
    );
    // Cut between two frames: only the Xing tag's count can tell.
    let mut xing = mp3(&[4; 20]);
    xing[4 + 9..4 + 9 + 12].copy_from_slice(b"Xing\0\0\0\x01\0\0\0\x13");
    assert_eq!(look(&xing, "a.mp3").expect("good").duration_ms, 19 * 36);
    assert_eq!(code(&xing[..144 * 15], "a.mp3"), "truncated");
    let mut broken = frames.clone();
    broken[144 * 3..144 * 3 + 4].copy_from_slice(b"oops");
    assert_eq!(code(&broken, "a.mp3"), "garbage");
}

#[test]
fn other_files() {
    assert_eq!(code(b"", "a.wav"), "empty-file");
    assert_eq!(code(b"RIFF", "a.wav"), "bad-header");
    assert_eq!(code(b"hello, this is a text", "a.wav"), "not-audio");
    assert_eq!(code(&[0; 4096], "a.mp3"), "not-audio");
    assert_eq!(code(b"OggS\0\x02", "a.mp3"), "not-audio");
    assert_eq!(code(&[0xff, 0xfd, 0x90, 0xc0, 0, 0], "a.mp3"), "unsupported-layer");
    assert_eq!(code(&wav(1, 1, 8000, 16, 8), "a.mp3"), "name-mismatch");
    assert_eq!(code(&mp3(&[4; 3]), "a.wav"), "name-mismatch");
}

proptest! {
    #[test]
    fn mutated_files_never_panic_and_never_claim_more_than_they_hold(
        is_wav in any::<bool>(),
        edits in prop::collection::vec((0..200_usize, any::<u8>()), 0..4),
        cut in 0..1500_usize,
    ) {
        let mut bytes = if is_wav { wav(1, 1, 8000, 16, 600) } else { mp3(&[4; 10]) };
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        if let Ok(info) = look(&bytes, "a") {
            prop_assert!(info.data_bytes <= bytes.len() as u64);
            prop_assert!(info.channels > 0 && info.sample_rate_hz > 0);
        }
    }
}

#[test]
fn behind_the_audio_come_chunks_or_nothing() {
    let whole = wav(1, 1, 8000, 16, 80);
    let with = |rest: &[u8], said: u32| {
        let mut file = whole.clone();
        file.extend_from_slice(rest);
        let len = file.len() as u32;
        put(&mut file, 4, len - 8);
        put(&mut file, 40, said);
        file
    };
    for rest in [
        &b"LIST\x06\0\0\0INFOx\0"[..],
        b"LIST\x05\0\0\0INFOx\0",
        b"id3 \x02\0\0\0xx",
        b"LIST\x05\0\0\0INFOx",
    ] {
        let info = look(&with(rest, 160), "a.wav").expect("a chunk behind the audio is passed over");
        assert_eq!(info.data_bytes, 160);
    }
    for rest in [
        &b"junk that is no chunk"[..],
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"LIST\xff\0\0\0INFO",
        b"LIST\x04\0\0\0INFOmore",
        b"data\x04\0\0\0\x55\x55\x55\x55",
        b"LIS",
    ] {
        assert_eq!(code(&with(rest, 160), "a.wav"), "garbage", "{rest:?}");
    }
    // A length that keeps audio silent.
    assert_eq!(code(&with(&[], 100), "a.wav"), "garbage");
}
