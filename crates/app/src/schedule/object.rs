//! Objects at a target: written, and read back.

use async_trait::async_trait;
use callvault_seal::digest::Hasher;
use callvault_store::Objects;
use futures::TryStreamExt as _;

use crate::{
    conversion::Pieces,
    error::{Result, VaultError},
};

/// Bytes read back at once.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// Hears of every piece that is written or read back: long work has to say that it lives.
#[async_trait]
pub trait Writing: Send + Sync {
    /// A piece is done.
    ///
    /// # Errors
    /// When somebody else does the work by now, or nobody is to do it any more.
    async fn piece(&mut self) -> Result<()>;
}

/// Writes an object and reads it back. Returns its length and SHA-256.
///
/// # Errors
/// Those of the pieces and the target; as [`read_back`].
pub(crate) async fn write_object(
    place: &dyn Objects,
    writing: &mut dyn Writing,
    name: &str,
    mut pieces: Pieces,
) -> Result<(u64, String)> {
    let mut upload = place.begin(name).await?;
    let (mut bytes, mut sha256) = (0, Hasher::sha256());
    let written = async {
        while let Some(piece) = pieces.try_next().await? {
            bytes += piece.len() as u64;
            sha256.update(&piece);
            upload.write(piece).await?;
            writing.piece().await?;
        }
        Ok::<_, VaultError>(())
    };
    if let Err(error) = written.await {
        let _ = upload.abort().await;
        return Err(error);
    }
    upload.finish().await?;
    let sha256 = hex::encode(sha256.finish());
    read_back(place, writing, name, bytes, &sha256).await?;
    Ok((bytes, sha256))
}

/// Reads an object and compares it with what was written.
///
/// # Errors
/// [`VaultError::Damaged`] when it is something else; those of the target.
pub(crate) async fn read_back(
    place: &dyn Objects,
    writing: &mut dyn Writing,
    name: &str,
    bytes: u64,
    sha256: &str,
) -> Result<()> {
    let differs = || VaultError::Damaged {
        what: "exported object",
        reason: "what was read back is not what was written".to_owned(),
    };
    if place.find_size(name).await? != Some(bytes) {
        return Err(differs());
    }
    let (mut found, mut at) = (Hasher::sha256(), 0);
    while at < bytes {
        let end = bytes.min(at + READ_BYTES);
        let piece = place.get_range(name, at..end).await?;
        if piece.len() as u64 != end - at {
            return Err(differs());
        }
        found.update(&piece);
        at = end;
        writing.piece().await?;
    }
    match hex::encode(found.finish()) == sha256 {
        true => Ok(()),
        false => Err(differs()),
    }
}
