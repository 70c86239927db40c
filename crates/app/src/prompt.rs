//! Prompts of accounts: audio that was uploaded for their call flows. A prompt never changes: another one has another id.

use bytes::Bytes;
use callvault_core::{Refusal, Sid, TimeUs, record::AudioFormat};
use callvault_seal::envelope;
use serde::{Deserialize, Serialize};

use crate::{
    conversion::decode_short,
    error::{Result, VaultError},
    line::open,
    vault::{Account, Vault},
};

/// Prompts that an account may have.
pub const MAX_PROMPTS: usize = 100;
/// The longest file.
pub const MAX_PROMPT_BYTES: usize = 2 * 1024 * 1024;
/// The longest prompt, in seconds.
pub const MAX_PROMPT_S: u64 = 120;

/// A prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Identifier.
    pub id: Sid,
    /// What people call it.
    pub name: String,
    /// When it was uploaded.
    pub at: TimeUs,
    /// Format of the file.
    pub format: AudioFormat,
    /// Bytes of the file.
    pub bytes: u64,
    /// How long it is.
    pub duration_ms: u64,
}

fn prompt_name(account: &Account, id: Sid) -> String {
    format!("prompt/{}/{id}", account.sid)
}

fn audio_name(account: &Account, id: Sid) -> String {
    format!("prompt-audio/{}/{id}", account.sid)
}

impl Vault {
    /// Keeps a prompt: a WAV or MP3 file of at most [`MAX_PROMPT_BYTES`] and [`MAX_PROMPT_S`].
    ///
    /// # Errors
    /// [`VaultError::Invalid`]; [`VaultError::Refused`] when it is no such audio, or when the account has [`MAX_PROMPTS`].
    pub async fn add_prompt(
        &self,
        account: &Account,
        name: String,
        format: AudioFormat,
        file: Bytes,
    ) -> Result<Prompt> {
        if name.trim().is_empty() || name.chars().count() > 255 || name.chars().any(char::is_control) {
            return Err(VaultError::invalid(
                "name",
                "has 1 to 255 characters, no control characters",
            ));
        }
        if file.len() > MAX_PROMPT_BYTES {
            return Err(VaultError::invalid(
                "body",
                format!("has at most {MAX_PROMPT_BYTES} bytes"),
            ));
        }
        let decoded = decode_short(file.clone(), format).await;
        let no_audio = |_| VaultError::invalid("body", format!("is no {} file that can be played", format.as_str()));
        let (shape, samples) = decoded.map_err(no_audio)?;
        let frames = samples.len() as u64 / u64::from(shape.channels.max(1));
        let duration_ms = frames * 1_000 / u64::from(shape.sample_rate_hz.max(1));
        if duration_ms == 0 || duration_ms > MAX_PROMPT_S * 1_000 {
            let reason = format!("lasts {duration_ms} ms; a prompt lasts up to {MAX_PROMPT_S} s, and is not empty");
            return Err(VaultError::invalid("body", reason));
        }
        if self.list_prompts(account).await?.len() >= MAX_PROMPTS {
            let reason = format!("An account has at most {MAX_PROMPTS} prompts; delete one.");
            return Err(Refusal::new("too-many-prompts", reason).into());
        }
        let at = self.now();
        let prompt = Prompt {
            id: Account::fresh_sid(at)?,
            name,
            at,
            format,
            bytes: file.len() as u64,
            duration_ms,
        };
        let audio = audio_name(account, prompt.id);
        let sealed = envelope::seal(&account.keys.notes, audio.as_bytes(), &file)?;
        self.catalog.put_value(&audio, &sealed).await?;
        self.put_note(account, &prompt_name(account, prompt.id), &prompt)
            .await?;
        Ok(prompt)
    }

    /// An account's prompts, by their names.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_prompts(&self, account: &Account) -> Result<Vec<Prompt>> {
        let values = self.catalog.list_values(&format!("prompt/{}/", account.sid)).await?;
        let prompts = values.iter().map(|(name, value)| open(account, name, value));
        let mut prompts: Vec<Prompt> = prompts.collect::<Result<_>>()?;
        prompts.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(prompts)
    }

    /// A prompt, and its file as it was uploaded.
    ///
    /// # Errors
    /// [`VaultError::NotFound`] when there is none.
    pub async fn read_prompt(&self, account: &Account, id: Sid) -> Result<(Prompt, Bytes)> {
        let none = || VaultError::NotFound { what: "prompt" };
        let prompt = self
            .find_note(account, &prompt_name(account, id))
            .await?
            .ok_or_else(none)?;
        let name = audio_name(account, id);
        let sealed = self.catalog.find_value(&name).await?.ok_or_else(none)?;
        let file = envelope::open(&account.keys.notes, name.as_bytes(), &sealed)?;
        Ok((prompt, file.into()))
    }

    /// Whether a prompt is there.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(crate) async fn has_prompt(&self, account: &Account, id: Sid) -> Result<bool> {
        Ok(self.catalog.find_value(&prompt_name(account, id)).await?.is_some())
    }

    /// Deletes a prompt.
    ///
    /// # Errors
    /// [`VaultError::NotFound`]; [`VaultError::Refused`] while a flow says it.
    pub async fn delete_prompt(&self, account: &Account, id: Sid) -> Result<()> {
        if !self.has_prompt(account, id).await? {
            return Err(VaultError::NotFound { what: "prompt" });
        }
        let flows = self.list_flows(account).await?;
        let mut said = flows.iter().flat_map(|saved| saved.flow.applets.values());
        if said.any(|applet| applet.clip() == Some(id)) {
            let reason = "A flow of the account says this prompt; change the flow first.";
            return Err(Refusal::new("prompt-in-use", reason).into());
        }
        self.catalog.delete_value(&prompt_name(account, id)).await?;
        self.catalog.delete_value(&audio_name(account, id)).await?;
        Ok(())
    }
}
