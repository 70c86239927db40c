//! Prompts: texts as they are spoken, 8,000 samples a second. The synthesiser is a program of the operator's choice that reads a text
//! and writes a WAV file, as `espeak-ng --stdin --stdout` does. Or audio that was uploaded. What was said lately is remembered.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use callvault_app::{
    Account, Vault, VaultError,
    conversion::decode_short,
    core::{Sid, record::AudioFormat},
    seal::digest::sha256,
};
use rubato::{Resampler as _, SincFixedIn, SincInterpolationParameters, SincInterpolationType, WindowFunction};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::g711::RATE_HZ;

/// The longest that a text may take to be spoken by the synthesiser.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest prompt, in seconds; what is longer is cut off.
const MOST_S: usize = 300;
/// Samples that are remembered: 32 MiB, more than half an hour.
const REMEMBERED: usize = 16 * 1024 * 1024;

/// Why a text cannot be spoken.
#[derive(Debug, Clone, thiserror::Error)]
#[error("prompt: {0}")]
pub struct PromptError(String);

/// Samples of a prompt.
pub type Prompt = Arc<[i16]>;

/// Speaks.
pub struct Prompts {
    program: PathBuf,
    known: Mutex<Known>,
}

/// What is remembered.
#[derive(Default)]
struct Known {
    prompts: HashMap<[u8; 32], Prompt>,
    samples: usize,
}

impl Prompts {
    /// Prompts spoken by a program that is called as `espeak-ng` is: `-v LANGUAGE --stdin --stdout`.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            known: Mutex::default(),
        }
    }

    /// A text as it is spoken.
    ///
    /// # Errors
    /// When the synthesiser cannot be run, or writes something else than a WAV file.
    pub async fn speak(&self, language: &str, text: &str) -> Result<Prompt, PromptError> {
        let id = sha256(&[language.as_bytes(), b"\0", text.as_bytes()]);
        if let Some(known) = self.recall(&id) {
            return Ok(known);
        }
        let wav = tokio::time::timeout(PATIENCE, self.run(language, text))
            .await
            .map_err(|_| PromptError("the synthesiser is too slow".to_owned()))??;
        Ok(self.remember(id, read_wav(wav).await?))
    }

    /// Audio that an account uploaded.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when it is gone; [`VaultError::Damaged`] when it can no longer be read.
    pub async fn find_clip(&self, vault: &Vault, account: &Account, clip: Sid) -> Result<Prompt, VaultError> {
        let sid = clip.to_string();
        let id = sha256(&[b"clip\0", account.sid.as_str().as_bytes(), b"\0", sid.as_bytes()]);
        if let Some(known) = self.recall(&id) {
            return Ok(known);
        }
        let (prompt, file) = vault.read_prompt(account, clip).await?;
        let samples = read_audio(file, prompt.format)
            .await
            .map_err(|error| VaultError::Damaged {
                what: "prompt",
                reason: error.to_string(),
            })?;
        Ok(self.remember(id, samples))
    }

    /// Audio of somebody else, remembered by what is in it.
    ///
    /// # Errors
    /// When it is no audio.
    pub async fn read(&self, file: Vec<u8>, format: AudioFormat) -> Result<Prompt, PromptError> {
        let id = sha256(&[b"file\0", &file]);
        match self.recall(&id) {
            Some(known) => Ok(known),
            None => Ok(self.remember(id, read_audio(file.into(), format).await?)),
        }
    }

    fn recall(&self, id: &[u8; 32]) -> Option<Prompt> {
        self.known().prompts.get(id).cloned()
    }

    fn remember(&self, id: [u8; 32], samples: Vec<i16>) -> Prompt {
        let prompt: Prompt = samples.into();
        let mut known = self.known();
        if known.samples + prompt.len() > REMEMBERED {
            *known = Known::default();
        }
        known.samples += prompt.len();
        if let Some(before) = known.prompts.insert(id, Arc::clone(&prompt)) {
            known.samples -= before.len();
        }
        prompt
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, language: &str, text: &str) -> Result<Vec<u8>, PromptError> {
        let failed =
            |what: &str, error: std::io::Error| PromptError(format!("{what} the synthesiser: {}", error.kind()));
        let mut child = Command::new(&self.program)
            .args(["-v", language, "--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("cannot run", error))?;
        let mut stdin = child.stdin.take().ok_or_else(|| PromptError("no input".to_owned()))?;
        let text = text.to_owned();
        // The texts are short: a pipe holds them.
        let written = async move { stdin.write_all(text.as_bytes()).await };
        written.await.map_err(|error| failed("cannot write to", error))?;
        let output = child.wait_with_output().await;
        let output = output.map_err(|error| failed("cannot read from", error))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(PromptError("the synthesiser failed".to_owned())),
        }
    }
}

/// Reads a WAV file whose writer did not know how long it would be.
async fn read_wav(mut wav: Vec<u8>) -> Result<Vec<i16>, PromptError> {
    let no_wav = || PromptError("what the synthesiser wrote is no WAV file".to_owned());
    let data = wav.windows(4).position(|window| window == b"data").ok_or_else(no_wav)?;
    let [file, audio] = [8, data + 8].map(|start| u32::try_from(wav.len().saturating_sub(start)).unwrap_or(0));
    wav.get_mut(4..8)
        .ok_or_else(no_wav)?
        .copy_from_slice(&file.to_le_bytes());
    wav.get_mut(data + 4..data + 8)
        .ok_or_else(no_wav)?
        .copy_from_slice(&audio.to_le_bytes());
    read_audio(wav.into(), AudioFormat::Wav).await
}

/// The first channel of a file, as telephones have it.
async fn read_audio(file: Bytes, format: AudioFormat) -> Result<Vec<i16>, PromptError> {
    let decoded = decode_short(file, format).await;
    let (shape, samples) = decoded.map_err(|_| PromptError(format!("no {} file", format.as_str())))?;
    let channels = usize::from(shape.channels.max(1));
    let most = MOST_S.saturating_mul(usize::try_from(shape.sample_rate_hz).unwrap_or(usize::MAX));
    let first: Vec<i16> = samples.into_iter().step_by(channels).take(most).collect();
    if shape.sample_rate_hz == RATE_HZ {
        return Ok(first);
    }
    // Some seconds of work for two minutes of it: not on a thread that packets wait for.
    let resampled = tokio::task::spawn_blocking(move || resample(&first, shape.sample_rate_hz));
    resampled
        .await
        .map_err(|_| PromptError("it cannot be converted".to_owned()))?
}

/// Samples as [`RATE_HZ`] has them.
fn resample(samples: &[i16], rate_hz: u32) -> Result<Vec<i16>, PromptError> {
    let failed = |_| PromptError("what the synthesiser wrote has another rate than can be converted".to_owned());
    let parameters = SincInterpolationParameters {
        sinc_len: 128,
        f_cutoff: 0.95,
        oversampling_factor: 128,
        interpolation: SincInterpolationType::Linear,
        window: WindowFunction::BlackmanHarris2,
    };
    let ratio = f64::from(RATE_HZ) / f64::from(rate_hz.max(1));
    let mut resampler = SincFixedIn::<f32>::new(ratio, 1.0, parameters, samples.len().max(1), 1)
        .map_err(|_| PromptError("what the synthesiser wrote has another rate than can be converted".to_owned()))?;
    let input: Vec<f32> = samples.iter().map(|sample| f32::from(*sample)).collect();
    let mut channels = resampler.process(&[input], None).map_err(failed)?;
    let output = channels.pop().unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    Ok(output.into_iter().map(|sample| sample.round() as i16).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_keeps_its_pitch_and_its_length() {
        let tone = |rate: f64, count: usize| -> Vec<i16> {
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "samples")]
            (0..count)
                .map(|n| ((n as f64 * 440.0 * std::f64::consts::TAU / rate).sin() * 8_000.0) as i16)
                .collect()
        };
        let resampled = resample(&tone(22_050.0, 22_050), 22_050).expect("resampled");
        assert!((7_900..=8_100).contains(&resampled.len()), "{}", resampled.len());
        let ups = resampled[400..7_600]
            .windows(2)
            .filter(|pair| pair[0] < 0 && pair[1] >= 0)
            .count();
        assert!((394..=398).contains(&ups), "0.9 s of 440 Hz, {ups}");
        let peak = resampled[400..7_600].iter().map(|sample| sample.unsigned_abs()).max();
        assert!(peak.is_some_and(|peak| (7_700..8_300).contains(&peak)), "{peak:?}");
    }

    #[tokio::test]
    async fn a_text_is_spoken_once_and_a_program_that_fails_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = folder.path().join("said");
        let script = format!(
            "#!/bin/sh\ncat >> {}\nexec espeak-ng -v en --stdout x\n",
            said.display()
        );
        let program = folder.path().join("speak");
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("executable");
        let prompts = Prompts::new(program);
        let first = prompts.speak("en", "Good day.").await.expect("spoken");
        assert!(first.len() > 1_000 && first.iter().any(|sample| sample.unsigned_abs() > 1_000));
        prompts.speak("en", "Good day.").await.expect("remembered");
        assert_eq!(std::fs::read_to_string(&said).expect("said"), "Good day.");
        for program in ["/nowhere", "/bin/false", "/bin/true"] {
            assert!(
                Prompts::new(program.into()).speak("en", "x").await.is_err(),
                "{program}"
            );
        }
    }
}
