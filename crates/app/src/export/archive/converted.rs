//! Members in another format than the recording came in.

use bytes::Bytes;
use futures::{TryStreamExt as _, stream};

use super::{Archive, Delivered, Writer};
use crate::{
    conversion::{Conversion, Pieces},
    error::{Result, VaultError},
    recording::RecordingView,
    vault::Vault,
};

/// Encoded bytes that are kept until their length is known. What is longer is encoded twice.
const KEPT_BYTES: u64 = 8 * 1024 * 1024;

impl Archive {
    /// A tar says how long a member is before it comes. Where nobody knows, the recording is encoded for its length.
    pub(super) async fn write_converted(
        &self,
        vault: &Vault,
        view: &RecordingView,
        conversion: Conversion,
        writer: &mut Writer<'_>,
    ) -> Result<Delivered> {
        let convert = || vault.convert_recording(&self.account.sid, view, conversion, self.request.reader);
        let (bytes, audio) = match conversion.bytes {
            Some(bytes) => (bytes, convert().await?.audio),
            None => {
                let measured = match convert().await {
                    Ok(converted) => measure(converted.audio).await,
                    Err(error) => Err(error),
                };
                match measured {
                    Ok((bytes, Some(kept))) => {
                        let kept: Pieces = Box::pin(stream::iter(kept.into_iter().map(Ok)));
                        (bytes, kept)
                    }
                    Ok((bytes, None)) => (bytes, convert().await?.audio),
                    // One that cannot be decoded does not keep the others from being exported.
                    Err(VaultError::Refused(refusal)) if refusal.code == "not-convertible" => {
                        return self.write_original(vault, view, Some(refusal.reason), writer).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let sha256 = writer.member(view, conversion.to, bytes, audio).await?;
        Ok(Delivered {
            format: conversion.to,
            bytes,
            sha256,
            not_converted: None,
        })
    }
}

/// How long something is, and its bytes while they are few.
async fn measure(mut audio: Pieces) -> Result<(u64, Option<Vec<Bytes>>)> {
    let (mut bytes, mut kept) = (0, Some(Vec::new()));
    while let Some(piece) = audio.try_next().await? {
        bytes += piece.len() as u64;
        if bytes > KEPT_BYTES {
            kept = None;
        }
        if let Some(kept) = &mut kept {
            kept.push(piece);
        }
    }
    Ok((bytes, kept))
}
