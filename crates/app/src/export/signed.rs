//! Signed vCons, and the region's key and certificate that sign them.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use callvault_core::{Refusal, TimeUs};
use callvault_seal::{
    jws::{CertifiedSigner, make_self_signed},
    provider::Root,
};
use serde::{Deserialize, Serialize};

use super::{Sink, Vcon, VconAudio};
use crate::{
    error::{Result, VaultError},
    vault::Vault,
};

/// The longest audio that is signed inside a vCon. A signature is made over the whole, which is in memory then.
pub const MAX_SIGNED_AUDIO_BYTES: u64 = 8 * 1024 * 1024;
const SIGNER: &str = "vcon-signer";
const VCON: &str = "application/vcon";

/// The region's own signer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// DER, in base64.
    certificate: String,
    /// PKCS#8 wrapped by the region's permanent root, in base64.
    key: String,
}

impl Vault {
    /// The same vault with another key and certificate for signed vCons than its own.
    #[must_use]
    pub fn with_vcon_signer(self, signer: CertifiedSigner) -> Self {
        // A vault that was just opened has none yet.
        let _ = self.vcon_signer.set(Arc::new(signer));
        self
    }

    /// What signs vCons: the operator's key, or one that the region makes once and keeps under its root.
    ///
    /// # Errors
    /// Those of the catalog and the key provider.
    pub async fn vcon_signer(&self) -> Result<Arc<CertifiedSigner>> {
        let signer = self.vcon_signer.get_or_try_init(|| self.open_vcon_signer()).await?;
        Ok(Arc::clone(signer))
    }

    async fn open_vcon_signer(&self) -> Result<Arc<CertifiedSigner>> {
        let context = format!("callvault {SIGNER}/{}", self.region).into_bytes();
        let provider = self.keys.provider();
        let kept = match self.catalog.find_value(SIGNER).await? {
            Some(kept) => kept,
            None => {
                let name = format!("callvault region {}, vCon signer", self.region);
                let made = make_self_signed(&name, date(self.now())).map_err(unfit)?;
                let fresh = Kept {
                    certificate: STANDARD.encode(&made.certificate),
                    key: STANDARD.encode(provider.wrap(Root::Permanent, &context, &made.key)?),
                };
                let fresh = serde_json::to_vec(&fresh).map_err(unfit)?;
                // Whoever was first is everybody's.
                self.catalog.init_value(SIGNER, &fresh).await?
            }
        };
        let kept: Kept = serde_json::from_slice(&kept).map_err(unfit)?;
        let wrapped = STANDARD.decode(&kept.key).map_err(unfit)?;
        let key = provider.unwrap(Root::Permanent, &context, &wrapped)?;
        let certificate = STANDARD.decode(&kept.certificate).map_err(unfit)?;
        let signer = CertifiedSigner::new(&key, vec![certificate]).map_err(unfit)?;
        Ok(Arc::new(signer))
    }
}

fn unfit(error: impl std::fmt::Display) -> VaultError {
    VaultError::Damaged {
        what: "signer of vCons",
        reason: error.to_string(),
    }
}

/// Year, month and day in UTC.
fn date(at: TimeUs) -> (i32, u8, u8) {
    let text = at.to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u16>().ok());
    let small = |range| part(range).and_then(|part| u8::try_from(part).ok()).unwrap_or(1);
    (i32::from(part(0..4).unwrap_or(1970)), small(5..7), small(8..10))
}

impl Vcon {
    /// Whether it can be signed with its audio there.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when the audio inside is longer than [`MAX_SIGNED_AUDIO_BYTES`].
    pub fn check_signable(&self, audio: &VconAudio) -> Result<()> {
        let bytes: u64 = self.recordings.iter().map(|view| view.bytes).sum();
        if *audio != VconAudio::Inline || bytes <= MAX_SIGNED_AUDIO_BYTES {
            return Ok(());
        }
        let reason = format!(
            "The call has {bytes} bytes of audio, and at most {MAX_SIGNED_AUDIO_BYTES} are signed inside a vCon: ask for \
             `audio=url`, whose SHA-512 is signed instead."
        );
        Err(Refusal::new("too-large-to-sign", reason).in_field("audio").into())
    }

    /// Writes it signed, as a JSON Web Signature with the certificate beside it.
    ///
    /// # Errors
    /// As [`Vcon::write`] and [`Vcon::check_signable`].
    pub async fn write_signed(&self, vault: &Vault, audio: &VconAudio, sink: &mut dyn Sink) -> Result<()> {
        self.check_signable(audio)?;
        let signer = vault.vcon_signer().await?;
        let mut whole = Whole::default();
        self.write(vault, audio, &mut whole).await?;
        let text = signer.sign_general(&whole.0, &self.uuid(), VCON).map_err(unfit)?;
        drop(whole);
        sink.write(Bytes::from(text)).await
    }
}

/// Keeps all of it; how much that may be was checked before.
#[derive(Default)]
struct Whole(Vec<u8>);

#[async_trait]
impl Sink for Whole {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_begins_on_the_day_it_is_made() {
        assert_eq!(
            date(TimeUs::parse("2026-11-23T12:00:00Z").expect("a time")),
            (2026, 11, 23)
        );
    }
}
