//! What this machine can do at best, measured in the same run.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Result, Write as _},
    path::Path,
};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::report::{Results, median, seconds};

const SEGMENT_BYTES: usize = 64 * 1024;

/// Raw AES-256-GCM, syncs, sequential writing and reading.
pub(crate) fn measure(folder: &Path, results: &mut Results) -> Result<()> {
    results.put("limit.aes_gcm_gb_s", aes_gcm_gb_s());
    let path = folder.join("limits");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let page = vec![7_u8; 4096];
    let mut syncs = Vec::new();
    for _ in 0..200 {
        let (done, took) = seconds(|| file.write_all(&page).and_then(|()| file.sync_data()));
        done?;
        syncs.push(took);
    }
    results.put("limit.fsyncs_s", 1.0 / median(syncs));
    drop(file);
    let block = vec![0x5a_u8; 4 << 20];
    let mut speeds = Vec::new();
    for _ in 0..3 {
        let mut file = File::create(&path)?;
        let (done, took) = seconds(|| -> Result<()> {
            for _ in 0..64 {
                file.write_all(&block)?;
            }
            file.sync_all()
        });
        done?;
        speeds.push(64.0 * block.len() as f64 / 1e6 / took);
    }
    results.put("limit.write_mb_s", median(speeds));
    evict(&path)?;
    let (mut file, mut buffer) = (File::open(&path)?, block);
    let (done, took) = seconds(|| -> Result<u64> {
        let mut total = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(total),
                count => total += count as u64,
            }
        }
    });
    results.put("limit.read_mb_s", done? as f64 / 1e6 / took);
    results.put("limit.range_bytes", SEGMENT_BYTES as f64);
    std::fs::remove_file(path)
}

/// `ring` on segments of 64 KiB, one core, in place; the median of rounds.
pub(crate) fn aes_gcm_gb_s() -> f64 {
    let key = UnboundKey::new(&AES_256_GCM, &[9; 32])
        .map(LessSafeKey::new)
        .expect("a key of 32 bytes");
    let mut plain = vec![0x5a_u8; 16 << 20];
    let rounds = (0..21).map(|_| {
        let ((), took) = seconds(|| {
            for (number, segment) in (0_u32..).zip(plain.chunks_mut(SEGMENT_BYTES)) {
                let mut nonce = [0; 12];
                nonce[..4].copy_from_slice(&number.to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::empty(), segment)
                    .expect("it seals");
                let _ = std::hint::black_box(tag);
            }
        });
        took
    });
    let took = median(rounds.collect());
    plain.len() as f64 / took / 1e9
}

/// Drops a file, or every file below a folder, from the kernel's cache.
pub(crate) fn evict(path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            evict(&entry?.path())?;
        }
        return Ok(());
    }
    let file = File::open(path)?;
    file.sync_all()?;
    nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(())
}

/// Bytes of a file, or of every file below a folder: lengths, and what they take on the disk.
pub(crate) fn size_of(path: &Path) -> Result<(u64, u64)> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_dir() {
        return Ok((meta.len(), std::os::unix::fs::MetadataExt::blocks(&meta) * 512));
    }
    let mut sum = (0, 0);
    for entry in std::fs::read_dir(path)? {
        let (bytes, taken) = size_of(&entry?.path())?;
        sum = (sum.0 + bytes, sum.1 + taken);
    }
    Ok(sum)
}
