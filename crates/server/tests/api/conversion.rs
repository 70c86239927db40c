//! Recordings in another format, judged by ffmpeg.

use std::{path::Path, process::Command};

use callvault_app::seal::digest::sha256;
use callvault_server::{demo::generate::tones, lame::Lame};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use crate::{World, exports::read_tar, world};

/// Runs a program and returns what it says.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(program).args(arguments).output();
    let done = done.expect("ffmpeg is installed by ./test");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
    done.stdout
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// Speech-like tones in another codec, channels and rate, written by ffmpeg.
fn recorded(folder: &Path, name: &str, options: &str) -> Vec<u8> {
    let (source, target) = (path(folder, "source.wav"), path(folder, name));
    std::fs::write(&source, tones(7, 5)).expect("written");
    let mut arguments = vec!["-v", "error", "-y", "-i", &source];
    arguments.extend(options.split(' '));
    arguments.push(&target);
    run("ffmpeg", &arguments);
    std::fs::read(&target).expect("read")
}

/// Codec, channels, samples a second and seconds, as ffprobe reads them.
fn probed(file: &str) -> (String, u64, String, f64) {
    let said = run(
        "ffprobe",
        &["-v", "error", "-show_streams", "-show_format", "-of", "json", file],
    );
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    let stream = &said["streams"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&stream["codec_name"]),
        stream["channels"].as_u64().expect("channels"),
        text(&stream["sample_rate"]),
        text(&stream["duration"]).parse().expect("a duration"),
    )
}

/// The first channel at 8 kHz, decoded by ffmpeg.
fn samples(file: &str) -> Vec<f64> {
    let filter = "pan=mono|c0=c0";
    let raw = run(
        "ffmpeg",
        &[
            "-v", "error", "-i", file, "-af", filter, "-ar", "8000", "-f", "s16le", "-",
        ],
    );
    let pairs = raw.chunks_exact(2);
    pairs
        .map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])))
        .collect()
}

/// The best normalised correlation of two recordings over the delays that codecs have.
fn correlation(one: &[f64], two: &[f64]) -> f64 {
    // Two seconds from the middle are enough.
    let of = |delay: usize| {
        let pairs = || one.iter().zip(two.iter().skip(delay)).skip(8_000).take(16_000);
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        dot / (norm(&mut pairs().map(|(a, _)| *a)) * norm(&mut pairs().map(|(_, b)| *b)) + 1.0)
    };
    (0..2_500).map(of).fold(-1.0, f64::max)
}

impl World {
    async fn store(&self, n: i64, audio: &[u8], kind: &str) -> String {
        let call = self.call(n).await;
        let place = format!("/v1/accounts/acme/records/recordings?call_sid={call}&consent=contract&consent_version=7");
        let request = self.client.post(self.url(&place)).header("content-type", kind);
        let request = request.basic_auth(&self.acme.token_key, Some(&self.acme.secret));
        let answer = request.body(audio.to_vec()).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::CREATED);
        let answer: Value = answer.json().await.expect("JSON");
        answer["sid"].as_str().expect("a SID").to_owned()
    }

    async fn audio(&self, sid: &str, query: &str) -> (StatusCode, header::HeaderMap, Vec<u8>) {
        let place = self.url(&format!("/v1/accounts/acme/records/recordings/{sid}/audio{query}"));
        let request = self
            .client
            .get(place)
            .basic_auth(&self.acme.token_key, Some(&self.acme.secret));
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.bytes().await.expect("a body").to_vec())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn telephony_wavs_are_delivered_as_mp3() {
    let world = world().await;
    let folder = tempfile::tempdir().expect("a folder");
    for (n, (name, options, channels, rate)) in (1..).zip([
        ("a-law.wav", "-c:a pcm_alaw -ac 1 -ar 8000", 1, "8000"),
        ("mu-law.wav", "-c:a pcm_mulaw -ac 2 -ar 8000", 2, "8000"),
        ("pcm.wav", "-c:a pcm_s16le -ac 1 -ar 8000", 1, "8000"),
        ("wide.wav", "-c:a pcm_s24le -ac 2 -ar 44100", 2, "44100"),
        ("eight-bits.wav", "-c:a pcm_u8 -ac 1 -ar 11025", 1, "11025"),
    ]) {
        let original = recorded(folder.path(), name, options);
        let sid = world.store(n, &original, "audio/wav").await;
        let (status, headers, mp3) = world.audio(&sid, "?format=mp3").await;
        assert_eq!(status, StatusCode::OK, "{name}");
        assert_eq!(headers["content-type"], "audio/mpeg");
        let file = path(folder.path(), "out.mp3");
        std::fs::write(&file, &mp3).expect("written");
        let (codec, found, hz, seconds) = probed(&file);
        assert_eq!((codec.as_str(), found, hz.as_str()), ("mp3", channels, rate), "{name}");
        assert!((seconds - 5.0).abs() < 0.25, "{name}: {seconds} s");
        let alike = correlation(&samples(&path(folder.path(), name)), &samples(&file));
        assert!(alike > 0.9, "{name}: {alike}");
        // It is a WAV: asked for one, it is what came in.
        for same in ["", "?format=wav", "?format=original"] {
            assert!(world.audio(&sid, same).await.2 == original, "{name} {same}");
        }
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp3_is_delivered_as_a_wav_of_known_length() {
    let world = world().await;
    let folder = tempfile::tempdir().expect("a folder");
    for (n, (name, options, channels, rate)) in (1..).zip([
        ("phone.mp3", "-c:a libmp3lame -b:a 32k -ac 1 -ar 8000", 1, "8000"),
        ("variable.mp3", "-c:a libmp3lame -q:a 4 -ac 2 -ar 44100", 2, "44100"),
    ]) {
        let original = recorded(folder.path(), name, options);
        let sid = world.store(n, &original, "audio/mpeg").await;
        let (status, headers, wav) = world.audio(&sid, "?format=wav").await;
        assert_eq!(
            (status, &headers["content-type"]),
            (StatusCode::OK, &"audio/wav".parse().expect("a value"))
        );
        assert_eq!(headers["content-length"], wav.len().to_string());
        let file = path(folder.path(), "out.wav");
        std::fs::write(&file, &wav).expect("written");
        let (codec, found, hz, seconds) = probed(&file);
        assert_eq!((codec.as_str(), found, hz.as_str()), ("pcm_s16le", channels, rate));
        assert!((seconds - 5.0).abs() < 0.25, "{seconds} s");
        // The vault's own reader, which believes no header, finds it whole.
        let info = callvault_app::audio::probe(std::io::Cursor::new(&wav), wav.len() as u64, "a.wav");
        assert_eq!(info.expect("a whole WAV").data_bytes, wav.len() as u64 - 44);
        let alike = correlation(&samples(&path(folder.path(), "source.wav")), &samples(&file));
        assert!(alike > 0.9, "{name}: {alike}");
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_converted_and_says_so() {
    let world = world().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mp3 = recorded(folder.path(), "phone.mp3", "-c:a libmp3lame -b:a 32k -ac 1 -ar 8000");
    let crowd = recorded(folder.path(), "crowd.wav", "-c:a pcm_s16le -ac 3 -ar 8000");
    let kept = world.store(3, &mp3, "audio/mpeg").await;
    let wav = world.store(2, &tones(9, 3), "audio/wav").await;
    let three = world.store(1, &crowd, "audio/wav").await;

    let whole = world.export("recordings.tar?format=mp3", &[]).await;
    assert_eq!(whole.status, StatusCode::OK, "{}", whole.problem());
    let members = read_tar(&whole.bytes);
    let names: Vec<_> = members.iter().map(|member| member.0.clone()).collect();
    let of = |sid: &str, kind: &str| format!("recordings/{sid}.{kind}");
    assert_eq!(
        names,
        [
            of(&kept, "mp3"),
            of(&wav, "mp3"),
            of(&three, "wav"),
            "manifest.json".to_owned()
        ]
    );
    assert!(members[0].1 == mp3 && members[2].1 == crowd);
    let manifest: Value = serde_json::from_slice(&members[3].1).expect("a manifest");
    for (n, (_, bytes)) in members.iter().take(3).enumerate() {
        let entry = &manifest["recordings"][n];
        assert_eq!(
            (&entry["bytes"], &entry["sha256"]),
            (&json!(bytes.len()), &json!(hex::encode(sha256(&[bytes]))))
        );
    }
    let [first, second, third] = [0, 1, 2].map(|n| &manifest["recordings"][n]);
    assert_eq!(first["converted_from"], Value::Null);
    assert_eq!(
        (&second["format"], &second["converted_from"]),
        (&json!("mp3"), &json!("wav"))
    );
    assert!(
        third["not_converted"]
            .as_str()
            .expect("a reason")
            .contains("3 channels"),
        "{third}"
    );
    let (status, _, answer) = world.audio(&three, "?format=mp3").await;
    let answer: Value = serde_json::from_slice(&answer).expect("a problem");
    assert_eq!(
        (status, &answer["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("format"))
    );
    assert_eq!(answer["type"], "/problems/not-convertible");

    // Cut at 60 %, it goes on to the same bytes: encoding anew gives what it gave.
    let cut = whole.bytes.len() * 6 / 10;
    let from = format!("bytes={cut}-");
    let headers = [(header::RANGE, from.as_str()), (header::IF_RANGE, whole.etag.as_str())];
    let rest = world.export("recordings.tar?format=mp3", &headers).await;
    assert_eq!(rest.status, StatusCode::PARTIAL_CONTENT);
    assert!([&whole.bytes[..cut], &rest.bytes].concat() == whole.bytes);
    // The same span in another format is another export.
    let other = world.export("recordings.tar?format=wav", &headers).await;
    assert_eq!(other.status, StatusCode::OK);
    let members = read_tar(&other.bytes);
    assert_eq!(members[0].0, of(&kept, "wav"));
    assert!(members[1].1 == tones(9, 3));
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_encoder_mp3_is_refused_before_anything_is_sent() {
    use callvault_app::{Vault, conversion::Mp3Encoder as _, core::hold::Reader, export::ArchiveRequest};
    let world = world().await;
    let sid = world.store(1, &tones(1, 1), "audio/wav").await;
    assert!(Lame::new("/nonexistent/lame").check().await.is_err());
    assert!(Lame::new("lame").check().await.is_ok());
    let parts = world.site.open_parts("in").await.expect("parts");
    let bare = Vault::open(parts).await.expect("a vault");
    let account = bare.get_account(&crate::sid("acme")).await.expect("an account");
    let request = ArchiveRequest {
        from: None,
        to: None,
        format: Some(callvault_app::core::record::AudioFormat::Mp3),
        reader: Reader::Account,
    };
    let refused = bare.plan_archive(account, &request).await.err().expect("refused");
    assert!(refused.to_string().contains("no MP3 encoder"), "{refused}");
    for query in ["?format=ogg", "?format=mp3&format=wav", "?kind=mp3"] {
        assert_eq!(
            world.audio(&sid, query).await.0,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{query}"
        );
    }
    world.serving.close().await;
}
