use proptest::prelude::*;

use super::*;

const SEGMENT: usize = 100;
const AAD: &[u8] = b"recording 1";

fn key() -> SecretKey {
    SecretKey::from_bytes([9; 32])
}

fn plain(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 7 % 251) as u8).collect()
}

/// Cuts a stream into its segments, the header apart.
fn parts(stream: &[u8]) -> Vec<Vec<u8>> {
    let layout = Layout::of_ciphertext(stream.len() as u64, SEGMENT).unwrap();
    let segment = |n| layout.find_segment(n).unwrap();
    (0..layout.segments())
        .map(|n| stream[segment(n).start as usize..segment(n).end as usize].to_vec())
        .collect()
}

fn sequential(stream: &[u8], step: usize) -> Result<Vec<u8>, SealError> {
    let (mut decryptor, mut out) = (SequentialDecryptor::new(&key(), AAD, SEGMENT)?, Vec::new());
    for piece in stream.chunks(step) {
        decryptor.push(piece, &mut out)?;
    }
    decryptor.finish(&mut out)?;
    Ok(out)
}

fn refused(stream: &[u8]) {
    assert!(decrypt_all(&key(), AAD, stream, SEGMENT).is_err());
    assert!(sequential(stream, 33).is_err());
}

#[test]
fn every_length_around_every_edge() {
    for bytes in 0..600 {
        let plain = plain(bytes);
        let stream = encrypt_all(&key(), AAD, &plain, SEGMENT).unwrap();
        let layout = Layout::of_ciphertext(stream.len() as u64, SEGMENT).unwrap();
        assert_eq!(layout, Layout::of_plaintext(bytes as u64, SEGMENT).unwrap());
        assert_eq!(layout.plaintext_bytes(), bytes as u64);
        assert_eq!(decrypt_all(&key(), AAD, &stream, SEGMENT).unwrap(), plain);
        assert_eq!(sequential(&stream, 1 + bytes % 130).unwrap(), plain);
    }
}

#[test]
fn every_range() {
    for bytes in [0, 1, 44, 45, 128, 129, 300] {
        let plain = plain(bytes);
        let stream = encrypt_all(&key(), AAD, &plain, SEGMENT).unwrap();
        let decryptor = Decryptor::new(&key(), AAD, &stream[..HEADER_BYTES], stream.len() as u64, SEGMENT).unwrap();
        for start in 0..=bytes {
            for end in start..=bytes {
                let fetch = decryptor.layout().plan_fetch(start as u64..end as u64).unwrap();
                let cipher = &stream[fetch.ciphertext.start as usize..fetch.ciphertext.end as usize];
                assert!(cipher.len() <= (end - start).div_ceil(SEGMENT - TAG_BYTES).max(1) * SEGMENT + SEGMENT);
                let opened = decryptor.open_range(fetch.first_segment, cipher).unwrap();
                let mut in_place = cipher.to_vec();
                decryptor.open_in_place(fetch.first_segment, &mut in_place).unwrap();
                assert_eq!(in_place, opened);
                in_place = cipher.to_vec();
                *in_place.last_mut().unwrap() ^= 1;
                assert!(decryptor.open_in_place(fetch.first_segment, &mut in_place).is_err() && in_place.is_empty());
                assert_eq!(opened[fetch.keep], plain[start..end]);
            }
        }
        assert_eq!(
            decryptor.layout().plan_fetch(0..bytes as u64 + 1),
            Err(SealError::Range)
        );
    }
}

#[test]
fn changed_cut_moved_and_swapped_streams_are_refused() {
    let stream = encrypt_all(&key(), AAD, &plain(300), SEGMENT).unwrap();
    for at in 0..stream.len() {
        let mut bad = stream.clone();
        bad[at] ^= 1;
        refused(&bad);
        refused(&stream[..at]);
    }
    let segments = parts(&stream);
    assert_eq!(segments.len(), 5);
    let join = |order: &[usize]| {
        [
            stream[..HEADER_BYTES].to_vec(),
            order.iter().flat_map(|n| segments[*n].clone()).collect(),
        ]
        .concat()
    };
    assert_eq!(join(&[0, 1, 2, 3, 4]), stream);
    for order in [
        &[0, 1, 2, 3][..],
        &[0, 2, 1, 3, 4],
        &[0, 1, 2, 2, 3, 4],
        &[0, 1, 3, 4],
        &[0, 1, 2, 4],
        &[0, 1, 2, 3, 4, 4],
        &[0],
        &[4],
    ] {
        refused(&join(order));
    }
    refused(&[stream.clone(), vec![0]].concat());
    // The last segment of a longer stream under the same key does not end this one.
    let other = encrypt_all(&key(), AAD, &plain(300), SEGMENT).unwrap();
    let swapped = [join(&[0, 1, 2, 3]), parts(&other)[4].clone()].concat();
    refused(&swapped);
    assert!(decrypt_all(&key(), b"recording 2", &stream, SEGMENT).is_err());
    assert!(decrypt_all(&SecretKey::from_bytes([8; 32]), AAD, &stream, SEGMENT).is_err());
}

#[test]
fn a_length_that_lies_is_found_out_at_the_last_segment() {
    let stream = encrypt_all(&key(), AAD, &plain(300), SEGMENT).unwrap();
    let short = Decryptor::new(&key(), AAD, &stream[..HEADER_BYTES], 300, SEGMENT).unwrap();
    assert!(short.open_range(0, &stream[HEADER_BYTES..100]).is_ok());
    assert_eq!(short.open_range(2, &stream[200..300]), Err(SealError::NotAuthentic));
    assert_eq!(short.open_range(3, &stream[300..400]), Err(SealError::Range));
    let mut out = b"kept".to_vec();
    assert!(short.open_into(1, &stream[100..300], &mut out).is_err());
    assert_eq!(out, b"kept");
}

#[test]
fn segment_sizes_and_lengths_no_stream_has() {
    for bytes in [0, 56, 1 << 31] {
        assert_eq!(Encryptor::new(&key(), AAD, bytes).unwrap_err(), SealError::SegmentSize);
    }
    assert!(Encryptor::new(&key(), AAD, 57).is_ok());
    for bytes in [0, 55, 101, 116, 201, 216] {
        assert!(Layout::of_ciphertext(bytes, SEGMENT).is_err(), "{bytes}");
    }
    assert!(Layout::of_ciphertext(117, SEGMENT).is_ok());
    assert_eq!(Layout::of_plaintext(u64::MAX, SEGMENT), Err(SealError::TooLarge));
    assert_eq!(Layout::of_plaintext(84 << 32, SEGMENT), Err(SealError::TooLarge));
}

#[test]
fn holds_at_most_one_segment() {
    let mut encryptor = Encryptor::new(&key(), AAD, SEGMENT).unwrap();
    let (mut taken, mut out) = (0, Vec::new());
    for byte in plain(1_000) {
        encryptor.push(&[byte], &mut out).unwrap();
        taken += 1;
        let given = if out.len() > HEADER_BYTES {
            out.len() / SEGMENT * (SEGMENT - TAG_BYTES) - HEADER_BYTES
        } else {
            0
        };
        assert!(taken - given <= SEGMENT - TAG_BYTES);
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..250), 0..12), step in 1_usize..300) {
        let (mut encryptor, mut stream) = (Encryptor::new(&key(), AAD, SEGMENT).unwrap(), Vec::new());
        for piece in &pieces {
            encryptor.push(piece, &mut stream).unwrap();
        }
        encryptor.finish(&mut stream).unwrap();
        let plain = pieces.concat();
        prop_assert_eq!(stream.len() as u64, Layout::of_plaintext(plain.len() as u64, SEGMENT).unwrap().ciphertext_bytes());
        prop_assert_eq!(decrypt_all(&key(), AAD, &stream, SEGMENT).unwrap(), plain.clone());
        prop_assert_eq!(sequential(&stream, step).unwrap(), plain);
    }
}
