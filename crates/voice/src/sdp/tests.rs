//! Descriptions that come, and those that are written.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const OFFER: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio 6000 RTP/AVP 0 8 96\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-16\r\n";

fn key() -> Key {
    Key::new().expect("a key")
}

#[test]
fn a_stream_is_encrypted_where_both_say_so() {
    let theirs = Crypto { tag: 4, key: key() };
    let secure = OFFER.replace("RTP/AVP", "RTP/SAVP");
    let crypto = format!(
        "a=crypto:1 F8_128_HMAC_SHA1_80 inline:x\r\na=crypto:{}\r\n",
        theirs.write()
    );
    let offered = parse(format!("{secure}{crypto}").as_bytes()).expect("an offer");
    assert_eq!(offered.crypto, Some(theirs));
    let ours = key();
    let answered = answer(&offered, Ipv4Addr::LOCALHOST.into(), 9, &ours);
    let written = write(&answered, 1, 1);
    assert!(written.contains("m=audio 9 RTP/SAVP 0 96\r\na=crypto:4 "), "{written}");
    let read = parse(written.as_bytes()).expect("an answer");
    assert_eq!(read.crypto.expect("a key").key, ours);
    // A profile without a key, and a key without the profile.
    assert_eq!(parse(secure.as_bytes()), Err(SdpError::NoAudio));
    let plain = parse(format!("{OFFER}{crypto}").as_bytes()).expect("an offer");
    assert_eq!(plain.crypto, None);
    let own = offer(Ipv4Addr::LOCALHOST.into(), 9, Some(&ours));
    assert_eq!(parse(write(&own, 1, 1).as_bytes()), Ok(own));
}

#[test]
fn a_caller_and_its_answer() {
    let offered = parse(OFFER.as_bytes()).expect("an offer");
    assert_eq!(
        (offered.port, offered.address),
        (6_000, IpAddr::V4(Ipv4Addr::LOCALHOST))
    );
    assert_eq!(
        (offered.laws.as_slice(), offered.events),
        ([Law::Mu, Law::A].as_slice(), Some(96))
    );
    let ours = answer(&offered, "192.0.2.7".parse().expect("an address"), 40_000, &key());
    let read = parse(write(&ours, 1, 2).as_bytes()).expect("an answer");
    assert_eq!(read, ours);
    assert_eq!(ours.laws, [Law::Mu]);
    let own = offer("2001:db8::1".parse().expect("an address"), 5_004, None);
    assert_eq!(parse(write(&own, 1, 1).as_bytes()), Ok(own));
}

#[test]
fn other_streams_are_refused_in_their_place() {
    let text = OFFER.replace(
        "m=audio",
        "m=video 5000 RTP/AVP 31\r\nm=audio 7000 RTP/SAVP 0\r\nm=audio",
    );
    let offered = parse(text.as_bytes()).expect("an offer");
    assert_eq!((offered.place, offered.port), ((2, 3), 6_000));
    let written = write(&answer(&offered, Ipv4Addr::LOCALHOST.into(), 9, &key()), 1, 1);
    let streams: Vec<&str> = written.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        streams,
        ["m=audio 0 RTP/AVP 0", "m=audio 0 RTP/AVP 0", "m=audio 9 RTP/AVP 0 96"]
    );
}

#[test]
fn a_recording_session_has_labelled_streams() {
    let text = OFFER.replace("a=fmtp:96 0-16\r\n", "a=fmtp:96 0-16\r\na=label:1\r\na=sendonly\r\n")
        + "m=video 9 RTP/AVP 31\r\nm=audio 6002 RTP/AVP 8\r\na=label:two\r\na=sendonly\r\n";
    let offered = read(text.as_bytes()).expect("streams");
    let taken: Vec<Audio> = offered.into_iter().flatten().collect();
    let said = |audio: &Audio| (audio.label.clone(), audio.place, audio.direction);
    assert_eq!(
        taken.iter().map(said).collect::<Vec<_>>(),
        [
            (Some("1".to_owned()), (0, 3), Direction::SendOnly),
            (Some("two".to_owned()), (2, 3), Direction::SendOnly)
        ]
    );
    let address = "192.0.2.7".parse().expect("an address");
    let ours: Vec<Audio> = taken
        .iter()
        .map(|audio| answer(audio, address, 7_000, &key()))
        .collect();
    let written = write_all(&ours, address, 1, 1);
    let streams: Vec<&str> = written.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        streams,
        [
            "m=audio 7000 RTP/AVP 0 96",
            "m=audio 0 RTP/AVP 0",
            "m=audio 7000 RTP/AVP 8"
        ]
    );
    let read_again: Vec<Audio> = read(written.as_bytes())
        .expect("streams")
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(read_again, ours);
    assert!(ours.iter().all(|audio| audio.direction == Direction::RecvOnly));
}

#[test]
fn hold_is_a_direction_of_the_stream_or_session_or_an_old_address() {
    let direction = |text: &str| parse(text.as_bytes()).map(|audio| audio.direction);
    assert_eq!(direction(OFFER), Ok(Direction::SendRecv));
    assert_eq!(direction(&format!("{OFFER}a=sendonly\r\n")), Ok(Direction::SendOnly));
    assert_eq!(
        direction(&OFFER.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n")),
        Ok(Direction::Inactive)
    );
    assert_eq!(
        direction(&OFFER.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")),
        Ok(Direction::SendOnly)
    );
    assert_eq!(Direction::SendOnly.answered(), Direction::RecvOnly);
    assert!(Direction::RecvOnly.receives() && !Direction::SendOnly.receives());
}

#[test]
fn what_cannot_be_taken_says_why() {
    let refused = |text: &str| parse(text.as_bytes()).expect_err("refused");
    assert_eq!(refused(""), SdpError::NoAudio);
    assert_eq!(refused(&OFFER.replace("6000", "0")), SdpError::NoAudio);
    assert_eq!(refused(&OFFER.replace("c=IN IP4 127.0.0.1\r\n", "")), SdpError::NoAudio);
    assert_eq!(refused(&OFFER.replace(" 0 8 96", " 18 96")), SdpError::NoCodec);
    assert_eq!(
        refused(&OFFER.replace(" 0 8 96", " 0").replace("PCMU/8000", "OPUS/48000/2")),
        SdpError::NoCodec
    );
    assert_eq!(refused("v=0\r\nnonsense\r\n"), SdpError::Line(2));
    assert_eq!(refused(&"a=x\r\n".repeat(501)), SdpError::TooLong);
    assert_eq!(refused(&"x".repeat(MAX_BYTES + 1)), SdpError::TooLong);
    assert_eq!(parse(&[0xff, 0xfe]), Err(SdpError::Line(0)));
}

proptest! {
    #[test]
    fn any_bytes_are_a_description_or_not(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_lines_are_a_description_or_not(lines in prop::collection::vec("[macvo]=[ -~]{0,40}", 0..40)) {
        if let Ok(audio) = parse(lines.join("\n").as_bytes()) {
            let written = write(&audio, 1, 1);
            let read = parse(written.as_bytes());
            let has_address = !audio.address.is_unspecified();
            prop_assert!(read.is_ok_and(|read| read == audio || !has_address), "{written}");
        }
    }
}
