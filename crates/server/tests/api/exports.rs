//! Exports over HTTPS: whole, by range, cut and gone on, refused.

use callvault_app::core::TimeUs;
use callvault_app::seal::digest::sha256;
use callvault_server::demo::generate::tones;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{CALLER, NOW, World, call, world};

/// An answer with its headers.
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) etag: String,
    range: String,
    pub(crate) bytes: Vec<u8>,
}

impl Got {
    pub(crate) fn problem(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

impl World {
    pub(crate) async fn export(&self, path: &str, headers: &[(header::HeaderName, &str)]) -> Got {
        let mut request = self.client.get(self.url(&format!("/v1/accounts/acme/exports/{path}")));
        request = request.basic_auth(&self.acme.token_key, Some(&self.acme.secret));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = request.send().await.expect("an answer");
        let of = |name: header::HeaderName| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Got {
            status: answer.status(),
            etag: of(header::ETAG),
            range: of(header::CONTENT_RANGE),
            bytes: answer.bytes().await.expect("a body").to_vec(),
        }
    }

    /// Stores calls, one a minute, the last one a minute ago.
    pub(crate) async fn calls(&self, count: i64) {
        let now = TimeUs::parse(NOW).expect("a time");
        let records: Vec<Value> = (1..=count).map(|n| call(now.plus_seconds(-60 * n), n)).collect();
        let (status, answer) = self.post("/v1/accounts/acme/records", json!(records)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    pub(crate) async fn record(&self, call: &str, n: u32) -> String {
        let path = format!("/v1/accounts/acme/records/recordings?call_sid={call}&consent=contract&consent_version=7");
        let request = self.client.post(self.url(&path)).header("content-type", "audio/wav");
        let request = request.basic_auth(&self.acme.token_key, Some(&self.acme.secret));
        let answer = request.body(tones(n.into(), 1)).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["sid"].as_str().expect("a SID").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_export_goes_on_to_the_same_checksum() {
    let world = world().await;
    world.calls(500).await;
    for format in ["csv", "ndjson", "json", "parquet"] {
        let (_, manifest) = world
            .get(&format!(
                "/v1/accounts/acme/exports/manifest?class=call&format={format}"
            ))
            .await;
        let path = manifest["path"].as_str().expect("a path");
        let path = path.strip_prefix("/v1/accounts/acme/exports/").expect("an export");
        let whole = world.export(path, &[]).await;
        assert_eq!(whole.status, StatusCode::OK);
        assert_eq!(
            whole.etag,
            format!("\"{}\"", manifest["snapshot"].as_str().expect("one"))
        );
        assert_eq!(manifest["records"], 500);
        assert_eq!(manifest["bytes"], whole.bytes.len());
        assert_eq!(manifest["sha256"], hex::encode(sha256(&[&whole.bytes])));

        // Cut at 60 %; time goes by, and the loose rows are sealed.
        let cut = whole.bytes.len() * 6 / 10;
        world.clock.advance_to(world.now().plus_seconds(60));
        let vault = world.site.open_vault("in").await.expect("a vault");
        assert!(vault.tick().await.failures.is_empty());
        let from = format!("bytes={cut}-");
        let plain = format!("calls.{format}");
        for (path, validator) in [
            (plain.as_str(), Some(header::IF_RANGE)),
            (plain.as_str(), Some(header::IF_MATCH)),
            (path, None),
        ] {
            let mut headers = vec![(header::RANGE, from.as_str())];
            headers.extend(validator.map(|name| (name, whole.etag.as_str())));
            let rest = world.export(path, &headers).await;
            assert_eq!(rest.status, StatusCode::PARTIAL_CONTENT, "{path} {:?}", rest.problem());
            let total = whole.bytes.len();
            assert_eq!(rest.range, format!("bytes {cut}-{}/{total}", total - 1));
            assert!([&whole.bytes[..cut], &rest.bytes].concat() == whole.bytes, "{format}");
        }
        let middle = [(header::RANGE, "bytes=10-29"), (header::IF_RANGE, whole.etag.as_str())];
        assert_eq!(world.export(&plain, &middle).await.bytes, whole.bytes[10..30]);
        let outside = [
            (header::RANGE, "bytes=99999999-"),
            (header::IF_RANGE, whole.etag.as_str()),
        ];
        assert_eq!(
            world.export(&plain, &outside).await.status,
            StatusCode::RANGE_NOT_SATISFIABLE
        );
        // Without its name no part is given: it might be of another state.
        let blind = world.export(&plain, &[(header::RANGE, &from)]).await;
        assert_eq!(blind.status, StatusCode::OK);
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_begins_anew() {
    let world = world().await;
    world.calls(20).await;
    let whole = world.export("calls.csv", &[]).await;
    let late = call(TimeUs::parse(NOW).expect("a time").plus_seconds(-90), 900);
    world.post("/v1/accounts/acme/records", late).await;
    let tag = whole.etag.as_str();
    let ranged = [(header::RANGE, "bytes=100-"), (header::IF_RANGE, tag)];
    let anew = world.export("calls.csv", &ranged).await;
    assert_eq!(anew.status, StatusCode::OK);
    assert_ne!(anew.etag, whole.etag);
    assert!(anew.bytes.len() > whole.bytes.len());
    let only = [(header::RANGE, "bytes=100-"), (header::IF_MATCH, tag)];
    let refused = world.export("calls.csv", &only).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(refused.problem()["type"], "/problems/export-changed");
    let named = world
        .export(&format!("calls.csv?snapshot={}", tag.trim_matches('"')), &[])
        .await;
    assert_eq!(named.status, StatusCode::PRECONDITION_FAILED);
    // An export of the past does not change by what comes today.
    let past = world.export("calls.csv?to=2026-11-23T11:50:00Z", &[]).await;
    world.call(2).await;
    let again = [(header::IF_MATCH, past.etag.as_str())];
    let again = world.export("calls.csv?to=2026-11-23T11:50:00Z", &again).await;
    assert_eq!((again.status, again.bytes), (StatusCode::OK, past.bytes));
    for (path, field) in [
        ("calls.csv?from=x", "from"),
        ("calls.csv?from=2026-11-23&to=2026-11-22", "to"),
        ("calls.csv?snapshot=x", "snapshot"),
        ("calls.csv?format=csv", "format"),
        ("manifest?class=contact", "class"),
        ("manifest?class=call&format=xml", "format"),
        ("recordings.tar?format=ogg", "format"),
    ] {
        let refused = world.export(path, &[]).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert_eq!(refused.problem()["field"], field, "{path}");
    }
    for path in ["calls.xml", "persons.csv", "calls", "calls/x", "calls/x.vcon.json"] {
        assert_eq!(world.export(path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_come_as_one_archive() {
    let world = world().await;
    let mut stored = Vec::new();
    for n in 1..=5_u32 {
        let call = world.call(i64::from(n) * 10).await;
        let sid = world.record(&call, n).await;
        stored.push((call, sid, tones(n.into(), 1)));
    }
    stored.reverse();
    let whole = world.export("recordings.tar", &[]).await;
    assert_eq!(whole.status, StatusCode::OK);
    let members = read_tar(&whole.bytes);
    assert_eq!(members.len(), 6);
    let manifest: Value = serde_json::from_slice(&members[5].1).expect("a manifest");
    assert_eq!(members[5].0, "manifest.json");
    for (n, (call, sid, audio)) in stored.iter().enumerate() {
        assert_eq!(members[n].0, format!("recordings/{sid}.wav"));
        assert!(members[n].1 == *audio);
        let entry = &manifest["recordings"][n];
        assert_eq!((&entry["sid"], &entry["call_sid"]), (&json!(sid), &json!(call)));
        assert_eq!(entry["sha256"], hex::encode(sha256(&[audio])));
        assert_eq!(entry["bytes"], audio.len());
        assert_eq!(entry["consent"], json!({"decision": "contract", "version": "7"}));
        assert_eq!(entry["parties"][0], CALLER);
    }
    let cut = whole.bytes.len() * 6 / 10;
    let from = format!("bytes={cut}-");
    let headers = [(header::RANGE, from.as_str()), (header::IF_RANGE, whole.etag.as_str())];
    let rest = world.export("recordings.tar", &headers).await;
    assert_eq!(rest.status, StatusCode::PARTIAL_CONTENT);
    assert!([&whole.bytes[..cut], &rest.bytes].concat() == whole.bytes);
    // A span takes those that began in it; a deletion ends what was begun.
    let last = world.export("recordings.tar?from=2026-11-23T11:45:00Z", &[]).await;
    assert_eq!(read_tar(&last.bytes).len(), 2);
    let (_, opened) = world.ask(&world.acme, &stored[0].1).await;
    let (status, answer) = world.reply(&world.acme_officer, &opened, "approve").await;
    assert!(status.is_success(), "{status} {answer}");
    let anew = world.export("recordings.tar", &headers).await;
    assert_eq!(anew.status, StatusCode::OK);
    assert_eq!(read_tar(&anew.bytes).len(), 5);
    world.serving.close().await;
}

/// The members of a tar archive, by the two fields that matter.
pub(crate) fn read_tar(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    loop {
        let (header, rest) = bytes.split_at(512);
        if header.iter().all(|byte| *byte == 0) {
            assert!(
                rest.len() == 512 && rest.iter().all(|byte| *byte == 0),
                "two blocks of zeros"
            );
            return members;
        }
        let text = |range: std::ops::Range<usize>| {
            let field = String::from_utf8(header[range].to_vec()).expect("ASCII");
            field.trim_end_matches('\0').to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).expect("a size");
        let sum: u32 = (0..512)
            .map(|at| {
                if (148..156).contains(&at) {
                    32
                } else {
                    u32::from(header[at])
                }
            })
            .sum();
        assert_eq!(u32::from_str_radix(&text(148..154), 8), Ok(sum));
        members.push((text(0..100), rest[..size].to_vec()));
        bytes = &rest[size.next_multiple_of(512)..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_comes_as_a_vcon() {
    let world = world().await;
    let call = world.call(10).await;
    let bare = world.export(&format!("calls/{call}.vcon.json"), &[]).await.problem();
    assert_eq!(bare["dialog"][0]["type"], "recording", "{bare}");
    let sid = world.record(&call, 1).await;
    let vcon = world.export(&format!("calls/{call}.vcon.json"), &[]).await.problem();
    assert_eq!(vcon["vcon"], "0.4.0", "{vcon}");
    assert_eq!(vcon["parties"][0]["tel"], CALLER);
    let dialog = &vcon["dialog"][0];
    assert_eq!(
        (&dialog["mediatype"], &dialog["encoding"], &dialog["filename"]),
        (&json!("audio/x-wav"), &json!("base64url"), &json!(format!("{sid}.wav")))
    );
    let body = dialog["body"].as_str().expect("audio");
    let standard = body.replace('-', "+").replace('_', "/");
    let standard = format!("{standard}{}", "=".repeat((4 - standard.len() % 4) % 4));
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    assert!(STANDARD.decode(standard).expect("base64") == tones(1, 1));
    let basis = &vcon["attachments"][0];
    assert_eq!(basis["purpose"], "lawful_basis");
    assert_eq!(basis["body"]["lawful_basis"], "contract");
    assert_eq!(basis["body"]["metadata"]["terms_version"], "7");
    assert_eq!(basis["body"]["purpose_grants"][0]["granted"], true);

    let vcon = world
        .export(&format!("calls/{call}.vcon.json?audio=url"), &[])
        .await
        .problem();
    let dialog = &vcon["dialog"][0];
    assert!(dialog["body"].is_null(), "{dialog}");
    let url = dialog["url"].as_str().expect("an address");
    assert!(
        url.starts_with("https://") && url.ends_with(&format!("/{sid}/audio")),
        "{url}"
    );
    let hash = dialog["content_hash"].as_str().expect("a hash");
    assert!(hash.starts_with("sha512-") && hash.len() == 7 + 86, "{hash}");
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_lapsed_is_not_exported() {
    let world = world().await;
    world.calls(10).await;
    let rows = async || {
        let got = world.export("calls.ndjson", &[]).await;
        got.bytes.iter().filter(|byte| **byte == b'\n').count()
    };
    assert_eq!(rows().await, 10);
    let tag = world.export("calls.ndjson", &[]).await.etag;
    let number = json!({"number": CALLER, "matter": "7", "reason": "x", "review_at": "2029-01-01T00:00:00Z"});
    let (status, answer) = world
        .send(
            Method::POST,
            "/v1/accounts/acme/holds",
            Some(&world.acme_officer),
            Some(number),
        )
        .await;
    assert!(status.is_success(), "{answer}");
    // The oldest three have lapsed to the second, held or not.
    world
        .clock
        .advance_to(TimeUs::parse("2027-11-23T11:52:00Z").expect("a time"));
    assert_eq!(rows().await, 7);
    let gone = world.export("calls.ndjson", &[(header::IF_MATCH, tag.as_str())]).await;
    assert_eq!(gone.status, StatusCode::PRECONDITION_FAILED);
    let request = world.client.get(world.url("/v1/accounts/acme/exports/calls.ndjson"));
    let request = request.basic_auth(&world.acme_officer.token_key, Some(&world.acme_officer.secret));
    let text = request.send().await.expect("an answer").text().await.expect("text");
    assert_eq!(text.lines().count(), 10, "the compliance role sees what is held");
    world.serving.close().await;
}
