//! What has to be so whatever comes from the network. The fuzzers look for bytes for which it is not; `cargo nextest` tries those that were
//! found, and mutations of real ones.

use callvault_voice::{digits::Events, rtp::Packet, sdp, siprec, srtp::Key, timeline::Timeline, tones::Ear};

/// A description that can be read is answered, and the answer is read as it was meant.
pub(crate) fn description(bytes: &[u8]) {
    let Ok(streams) = sdp::read(bytes) else { return };
    let key = Key::new().expect("a key");
    let address = "192.0.2.7".parse().expect("an address");
    let answers: Vec<sdp::Audio> = streams
        .into_iter()
        .flatten()
        .map(|audio| sdp::answer(&audio, address, 40_000, &key))
        .collect();
    if answers.is_empty() {
        return;
    }
    let written = sdp::write_all(&answers, address, 1, 1);
    let read: Vec<sdp::Audio> = sdp::read(written.as_bytes())
        .expect("ours")
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(read, answers, "{written}");
}

/// Packets of a leg, each after its length in words and the samples since the one before: keys in them are heard, and what is passed on
/// keeps up with time.
pub(crate) fn media(bytes: &[u8]) {
    let (mut events, mut ear, mut timeline) = (Events::default(), Ear::default(), Timeline::new(0xd5));
    let (mut arrived, mut passed) = (0_i64, Vec::new());
    let mut rest = bytes;
    while let [words, apart, more @ ..] = rest {
        let (packet, others) = more.split_at(more.len().min(usize::from(*words) * 4));
        (rest, arrived) = (others, arrived + i64::from(*apart));
        let Ok(packet) = Packet::parse(packet) else { continue };
        let mut written = Vec::new();
        packet.write(&mut written);
        assert_eq!(Packet::parse(&written), Ok(packet));
        if packet.payload_type == 96 {
            let key = events.hear(packet.timestamp, packet.payload);
            assert!(key.is_none_or(|key| "0123456789*#ABCD".contains(key)));
            continue;
        }
        let samples = packet.payload.iter().map(|byte| i16::from(*byte) << 7);
        assert!(ear.hear(samples).len() <= packet.payload.len());
        timeline.put(arrived, &packet);
        timeline.pass(arrived - 800, &mut passed);
    }
    // A packet lies two seconds ahead at most, and is 120 ms long.
    let most = arrived + 16_000 + 960;
    timeline.pass(most, &mut passed);
    assert_eq!(i64::try_from(passed.len()), Ok(most));
    passed.clear();
    timeline.pass(most + 100_000, &mut passed);
    assert!(passed.iter().all(|byte| *byte == 0xd5), "more waits than was said");
}

/// The body of a recording session, after a line with its type.
pub(crate) fn session(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let kind = String::from_utf8_lossy(&bytes[..end]);
    let Ok(parts) = siprec::read(&kind, bytes.get(end + 1..).unwrap_or_default()) else {
        return;
    };
    if let Some(described) = parts.description {
        description(&described);
    }
    if let Some(metadata) = parts.metadata {
        assert!(metadata.participants.len() <= 32 && metadata.senders.len() <= 32);
        for (id, who) in &metadata.participants {
            let name = who.name.as_deref().unwrap_or_default();
            assert!(
                [id, who.aor.as_str(), who.user(), name]
                    .iter()
                    .all(|text| text.len() <= 255)
            );
        }
    }
}
