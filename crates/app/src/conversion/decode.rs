//! WAV (PCM, A-law, mu-law) and MP3 to samples, on a thread of its own, as fast as they are taken.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use callvault_core::{Refusal, record::AudioFormat};
use futures::{StreamExt as _, stream};
use symphonia::core::{
    codecs::audio::{AudioDecoder, AudioDecoderOptions},
    errors::Error,
    formats::{FormatOptions, FormatReader, TrackType, probe::Hint},
    io::{MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource},
    meta::MetadataOptions,
};
use tokio::{runtime::Handle, sync::mpsc};

use super::{Pieces, Shape};
use crate::error::{Result, VaultError};

/// Bytes of samples that are passed on at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that are decoded ahead of whoever takes them.
const AHEAD: usize = 2;

/// A recording that cannot be decoded.
pub(super) fn not_audio(why: &str) -> VaultError {
    let reason = format!("The recording cannot be converted, {why}: ask for the original.");
    Refusal::new("not-convertible", reason).in_field("format").into()
}

/// A decoder, with what reads for it.
struct Open {
    shape: Shape,
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    /// Why its source failed, if it did: it says more than what the decoder makes of it.
    failure: Failure,
}

type Failure = Arc<Mutex<Option<VaultError>>>;

fn cause(failure: &Failure, error: VaultError) -> VaultError {
    let cause = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    cause.unwrap_or(error)
}

/// Decodes audio.
///
/// # Errors
/// [`VaultError::Refused`] when it is none that can be decoded; those of its source.
pub(super) async fn decode(audio: Pieces, format: AudioFormat) -> Result<(Shape, Pieces)> {
    let failure = Failure::default();
    let source = Source {
        audio: Mutex::new(audio),
        piece: Bytes::new(),
        runtime: Handle::current(),
        failure: Arc::clone(&failure),
    };
    let opened = tokio::task::spawn_blocking(move || open(source, format).map_err(|error| cause(&failure, error)));
    let opened = opened.await.map_err(|_| not_audio("its decoder stopped"))??;
    let shape = opened.shape;
    let (pieces, taken) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let failure = Arc::clone(&opened.failure);
        if let Err(error) = run(opened, &pieces) {
            // Nobody may be there any more.
            let _ = pieces.blocking_send(Err(cause(&failure, error)));
        }
    });
    let samples = stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    Ok((shape, samples.boxed()))
}

fn open(source: Source, format: AudioFormat) -> Result<Open> {
    let failure = Arc::clone(&source.failure);
    let stream = MediaSourceStream::new(
        Box::new(ReadOnlySource::new(source)),
        MediaSourceStreamOptions::default(),
    );
    let mut hint = Hint::new();
    hint.with_extension(format.as_str());
    let reader = symphonia::default::get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|_| not_audio("its header is not one that is understood"))?;
    let track = reader.default_track(TrackType::Audio);
    let params = track.and_then(|track| track.codec_params.as_ref()?.audio());
    let params = params.ok_or_else(|| not_audio("it holds no audio"))?;
    let channels = params
        .channels
        .as_ref()
        .and_then(|channels| u16::try_from(channels.count()).ok());
    let (Some(channels), Some(sample_rate_hz)) = (channels.filter(|count| *count > 0), params.sample_rate) else {
        return Err(not_audio("its header names no channels or rate"));
    };
    // Nothing is cut off at the ends: a WAV's length was said before.
    let options = AudioDecoderOptions::default().gapless(false);
    let decoder = symphonia::default::get_codecs().make_audio_decoder(params, &options);
    Ok(Open {
        shape: Shape {
            channels,
            sample_rate_hz,
        },
        decoder: decoder.map_err(|_| not_audio("its codec is not one that is understood"))?,
        reader,
        failure,
    })
}

/// Passes samples on until the end, or until nobody takes them.
fn run(mut open: Open, pieces: &mpsc::Sender<Result<Bytes>>) -> Result<()> {
    let broken = || not_audio("its bytes are not what its header says");
    let channels = usize::from(open.shape.channels);
    let (mut samples, mut gathered): (Vec<i16>, _) = (Vec::new(), Vec::with_capacity(PIECE_BYTES * 2));
    while let Some(packet) = open.reader.next_packet().map_err(|_| broken())? {
        match open.decoder.decode(&packet) {
            Ok(buffer) => {
                let spec = buffer.spec();
                if spec.rate() != open.shape.sample_rate_hz || spec.channels().count() != channels {
                    return Err(not_audio("its channels or rate change inside"));
                }
                buffer.copy_to_vec_interleaved(&mut samples);
            }
            // A frame of an MP3 that needs one that is missing: silence of its length.
            Err(Error::DecodeError(_)) => {
                let frames = usize::try_from(packet.dur.get()).unwrap_or(0).min(PIECE_BYTES);
                samples.clear();
                samples.resize(frames * channels, 0);
            }
            Err(_) => return Err(broken()),
        }
        gathered.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        if gathered.len() >= PIECE_BYTES {
            let piece = std::mem::replace(&mut gathered, Vec::with_capacity(PIECE_BYTES * 2));
            if pieces.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
        }
    }
    if !gathered.is_empty() {
        let _ = pieces.blocking_send(Ok(gathered.into()));
    }
    Ok(())
}

/// A stream of pieces as a reader of a thread that may wait.
struct Source {
    /// In a mutex because a source has to be `Sync`; one thread alone uses it.
    audio: Mutex<Pieces>,
    piece: Bytes,
    runtime: Handle,
    failure: Failure,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let audio = self.audio.get_mut().unwrap_or_else(PoisonError::into_inner);
            match self.runtime.block_on(audio.next()) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Err(io::Error::other("the source failed"));
                }
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        let part = self.piece.split_to(count);
        for (to, from) in buffer.iter_mut().zip(&part) {
            *to = *from;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::TryStreamExt as _;

    use super::*;

    /// A WAV of some gigabytes that counts the pieces taken of it.
    fn endless(taken: &Arc<AtomicUsize>) -> Pieces {
        let head = super::super::wav_head(
            Shape {
                channels: 1,
                sample_rate_hz: 8_000,
            },
            2_000_000_000,
        );
        let taken = Arc::clone(taken);
        let silence = stream::repeat_with(move || {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from(vec![0; PIECE_BYTES]))
        });
        stream::iter([Ok(Bytes::from(head))]).chain(silence).boxed()
    }

    #[tokio::test]
    async fn no_more_is_decoded_than_is_taken() {
        let taken = Arc::new(AtomicUsize::new(0));
        let (shape, mut samples) = decode(endless(&taken), AudioFormat::Wav).await.expect("audio");
        assert_eq!((shape.channels, shape.sample_rate_hz), (1, 8_000));
        for _ in 0..20 {
            let piece = samples.try_next().await.expect("good").expect("more");
            assert!(piece.len() <= 2 * PIECE_BYTES, "{}", piece.len());
        }
        // Whoever decodes ahead has had all the time it wants.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let ahead = taken.load(Ordering::Relaxed);
        assert!((15..20 * 2 + 10).contains(&ahead), "{ahead}");
    }

    #[tokio::test]
    async fn what_is_no_audio_is_refused_and_what_breaks_is_told() {
        let noise: Pieces = stream::iter([Ok(Bytes::from(vec![7; 5_000]))]).boxed();
        let refused = decode(noise, AudioFormat::Wav).await.err().expect("refused");
        assert!(matches!(refused, VaultError::Refused(refusal) if refusal.code == "not-convertible"));
        let counted = Arc::new(AtomicUsize::new(0));
        let gone = stream::iter([Err(VaultError::NotFound { what: "recording" })]);
        let audio = endless(&counted).take(4).chain(gone).boxed();
        let (_, samples) = decode(audio, AudioFormat::Wav).await.expect("its beginning is good");
        let ended: Result<Vec<Bytes>> = samples.try_collect().await;
        assert!(matches!(ended, Err(VaultError::NotFound { what: "recording" })));
    }
}
