//! Prints how fast streams are sealed and opened beside raw `ring` AES-256-GCM on segments of the same size.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures wall time and prints it"
)]

use std::{error::Error, time::Instant};

use callvault_seal::{
    SecretKey,
    stream::{Decryptor, Encryptor, HEADER_BYTES, Layout},
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const SEGMENT_BYTES: usize = 64 * 1024;
const PLAIN_BYTES: usize = 16 * 1024 * 1024;
const ROUNDS: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let (key, plain) = (SecretKey::generate()?, vec![0x5a_u8; PLAIN_BYTES]);
    let layout = Layout::of_plaintext(PLAIN_BYTES as u64, SEGMENT_BYTES)?;
    let mut out = Vec::with_capacity(usize::try_from(layout.ciphertext_bytes())?);
    let (mut raw, mut seal, mut pieces, mut open, mut copy) = (f64::MAX, f64::MAX, f64::MAX, f64::MAX, f64::MAX);
    let raw_key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| "key")?);
    let mut raw_buffer = plain.clone();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for (number, segment) in (0_u32..).zip(raw_buffer.chunks_mut(SEGMENT_BYTES)) {
            let mut nonce = [0; 12];
            nonce[..4].copy_from_slice(&number.to_be_bytes());
            let _tag = raw_key
                .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), segment)
                .map_err(|_| "seal")?;
        }
        raw = raw.min(start.elapsed().as_secs_f64());

        out.clear();
        let start = Instant::now();
        let mut encryptor = Encryptor::new(&key, b"bench", SEGMENT_BYTES)?;
        encryptor.push(&plain, &mut out)?;
        encryptor.finish(&mut out)?;
        seal = seal.min(start.elapsed().as_secs_f64());

        // As a writer to disk does it: pieces in, and each piece's ciphertext taken away at once.
        let mut piece_out = Vec::with_capacity(2 * SEGMENT_BYTES);
        let start = Instant::now();
        let mut encryptor = Encryptor::new(&key, b"bench", SEGMENT_BYTES)?;
        for piece in plain.chunks(4 * SEGMENT_BYTES) {
            piece_out.clear();
            encryptor.push(piece, &mut piece_out)?;
        }
        encryptor.finish(&mut piece_out)?;
        pieces = pieces.min(start.elapsed().as_secs_f64());

        let start = Instant::now();
        raw_buffer.clear();
        for segment in plain.chunks(SEGMENT_BYTES) {
            raw_buffer.extend_from_slice(std::hint::black_box(segment));
        }
        copy = copy.min(start.elapsed().as_secs_f64());

        let start = Instant::now();
        let decryptor = Decryptor::new(&key, b"bench", &out[..HEADER_BYTES], out.len() as u64, SEGMENT_BYTES)?;
        raw_buffer.clear();
        decryptor.open_into(0, &out[HEADER_BYTES..], &mut raw_buffer)?;
        open = open.min(start.elapsed().as_secs_f64());
    }
    let speed = |seconds: f64| PLAIN_BYTES as f64 / seconds / 1e9;
    let mut in_place = f64::MAX;
    for _ in 0..ROUNDS {
        let mut buffer = out[HEADER_BYTES..].to_vec();
        let decryptor = Decryptor::new(&key, b"bench", &out[..HEADER_BYTES], out.len() as u64, SEGMENT_BYTES)?;
        let start = Instant::now();
        decryptor.open_in_place(0, &mut buffer)?;
        in_place = in_place.min(start.elapsed().as_secs_f64());
    }
    println!(
        "open in place {:4.2} GB/s, {:3.0} % of raw",
        speed(in_place),
        100.0 * raw / in_place
    );
    println!(
        "in pieces   {:6.2} GB/s, {:3.0} % of raw",
        speed(pieces),
        100.0 * raw / pieces
    );
    println!("memory copy {:6.2} GB/s", speed(copy));
    println!("raw ring    {:6.2} GB/s", speed(raw));
    println!(
        "stream seal {:6.2} GB/s, {:3.0} % of raw",
        speed(seal),
        100.0 * raw / seal
    );
    println!(
        "stream open {:6.2} GB/s, {:3.0} % of raw",
        speed(open),
        100.0 * raw / open
    );
    Ok(())
}
