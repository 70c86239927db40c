//! Recordings as the platform shows them, and links that work without credentials.

use callvault_app::core::{Cause, TimeUs};
use callvault_server::demo::generate::tones;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{NOW, World, sid, world};

impl World {
    /// Stores a recording of a call and returns its SID.
    pub(crate) async fn store_recording(&self, call: &str, audio: Vec<u8>) -> String {
        let path = format!("/v1/accounts/acme/records/recordings?call_sid={call}&consent=announced");
        let request = self.client.post(self.url(&path)).header("content-type", "audio/wav");
        let request = request.basic_auth(&self.acme.token_key, Some(&self.acme.secret));
        let answer = request.body(audio).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["sid"].as_str().expect("a SID").to_owned()
    }

    /// Fetches an address of an answer, which names the door by its configured address.
    async fn fetch(&self, url: &str, with_credentials: bool, range: Option<&str>) -> (StatusCode, Vec<u8>) {
        let at = url.find("/v1/").or_else(|| url.find("/presigned/")).expect("a path");
        let mut request = self.client.get(self.url(&url[at..]));
        if with_credentials {
            request = request.basic_auth(&self.acme.token_key, Some(&self.acme.secret));
        }
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.bytes().await.expect("a body").to_vec())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_listed_and_heard_as_the_platform_has_them() {
    let world = world().await;
    let mut stored = Vec::new();
    for n in [30, 20, 10] {
        let call = world.call(n).await;
        let audio = tones(n.unsigned_abs(), 2);
        let recording = world.store_recording(&call, audio.clone()).await;
        stored.insert(0, (call, recording, audio));
    }
    let silent = world.call(5).await;
    let (status, page) = world.get("/v1/Accounts/acme/Recordings.json?PageSize=2").await;
    assert_eq!(
        (status, &page["Metadata"]["Total"]),
        (StatusCode::OK, &json!(3)),
        "{page}"
    );
    let sids = |page: &Value| -> Vec<String> {
        let all = page["Recordings"].as_array().expect("recordings").iter();
        all.map(|one| text(&one["Sid"]).to_owned()).collect()
    };
    assert_eq!(sids(&page), [stored[0].1.clone(), stored[1].1.clone()], "newest first");
    let one = &page["Recordings"][0];
    assert_eq!(
        [
            &one["AccountSid"],
            &one["CallSid"],
            &one["Duration"],
            &one["DateCreated"]
        ],
        ["acme", stored[0].0.as_str(), "2", "2026-11-23 17:20:00"]
    );
    assert!(one.get("PreSignedRecordingUrl").is_none(), "nobody asked for one");
    let (_, rest) = world.get(text(&page["Metadata"]["NextPageUri"])).await;
    assert_eq!(
        (sids(&rest), &rest["Metadata"]["NextPageUri"]),
        (vec![stored[2].1.clone()], &Value::Null)
    );
    // By its own URI, in XML, by call, and through the call.
    let (status, again) = world.get(text(&one["Uri"])).await;
    assert_eq!((status, &again["Recording"]), (StatusCode::OK, one));
    let (_, xml) = world
        .get(&format!("/v1/Accounts/acme/Recordings/{}", stored[0].1))
        .await;
    let start = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><TwilioResponse><Recording><Sid>{}</Sid>",
        stored[0].1
    );
    assert!(text(&xml).starts_with(&start), "{xml}");
    let (call, recording, audio) = &stored[1];
    for path in [
        format!("/v1/Accounts/acme/Recordings.json?CallSid={call}"),
        format!("/v1/Accounts/acme/Calls/{call}/Recordings.json"),
        "/v1/Accounts/acme/Recordings.json?DateCreated=gte:2026-11-23%2017:10:00;lte:2026-11-23%2017:10:00".to_owned(),
    ] {
        let (status, page) = world.get(&path).await;
        assert_eq!(
            (status, sids(&page)),
            (StatusCode::OK, vec![recording.clone()]),
            "{path}"
        );
    }
    let (_, none) = world
        .get(&format!("/v1/Accounts/acme/Calls/{silent}/Recordings.json"))
        .await;
    assert_eq!(none["Recordings"], json!([]));
    let (status, _) = world
        .get("/v1/Accounts/acme/Calls/00000000000000000000000000000000/Recordings.json")
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, details) = world.get(&format!("/v1/Accounts/acme/Calls/{call}.json")).await;
    let url = text(&details["Call"]["RecordingUrl"]);
    assert_eq!(world.fetch(url, true, None).await, (StatusCode::OK, audio.clone()));
    assert_eq!(world.fetch(url, false, None).await.0, StatusCode::UNAUTHORIZED);
    let (_, calls) = world.get("/v1/Accounts/acme/Calls.json").await;
    let heard = |n: usize| calls["Calls"][n]["RecordingUrl"].as_str().map(ToOwned::to_owned);
    assert_eq!((heard(0), heard(2).as_deref()), (None, Some(url)));
    for (path, field) in [
        ("Recordings.json?RecordingUrlValidity=4", "RecordingUrlValidity"),
        ("Recordings.json?PageSize=101", "PageSize"),
        ("Recordings.json?CallSid=x", "CallSid"),
        ("Recordings.json?After=x", "After"),
        ("Recordings.json?DateCreated=x", "DateCreated"),
    ] {
        let (status, answer) = world.get(&format!("/v1/Accounts/acme/{path}")).await;
        let message = text(&answer["RestException"]["Message"]);
        assert!(
            status == StatusCode::BAD_REQUEST && message.starts_with(field),
            "{path}: {answer}"
        );
    }
    world.serving.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_link_opens_one_recording_for_a_while() {
    let world = world().await;
    let call = world.call(30).await;
    let (mine, theirs) = (tones(1, 2), tones(2, 2));
    let recording = world.store_recording(&call, mine.clone()).await;
    let other = world.store_recording(&call, theirs).await;
    let signed = async |minutes: u32| {
        let path = format!("/v1/Accounts/acme/Recordings/{recording}.json?RecordingUrlValidity={minutes}");
        let (status, answer) = world.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        text(&answer["Recording"]["PreSignedRecordingUrl"]).to_owned()
    };
    let link = signed(5).await;
    assert!(!link.contains("9900011111"), "no personal data: {link}");
    assert_eq!(world.fetch(&link, false, None).await, (StatusCode::OK, mine.clone()));
    let part = world.fetch(&link, false, Some("bytes=100-199")).await;
    assert_eq!(part, (StatusCode::PARTIAL_CONTENT, mine[100..200].to_vec()));
    // Whatever is changed in it, it is another link, and nobody made that one.
    let longer = link.replacen("until=", "until=9", 1);
    for forged in [
        link.replacen(&recording, &other, 1),
        longer,
        link.replacen("/presigned/acme/", "/presigned/other/", 1),
        link.replacen("/presigned/acme/", "/presigned/nobody/", 1),
        link.replacen("by=", "by=0", 1),
        link.replacen("signature=", "signature=00", 1),
    ] {
        assert_eq!(
            world.fetch(&forged, false, None).await.0,
            StatusCode::FORBIDDEN,
            "{forged}"
        );
    }
    // A parameter that links do not have is named, to who has a good one alone.
    let unknown = [
        (format!("{link}&format=mp3"), StatusCode::UNPROCESSABLE_ENTITY),
        (format!("{link}0&format=mp3"), StatusCode::FORBIDDEN),
    ];
    for (asked, answer) in unknown {
        assert_eq!(world.fetch(&asked, false, None).await.0, answer, "{asked}");
    }
    // Every use is an access of the account, by the token that gave it out; the signature is in no log.
    let (_, log) = world
        .send(
            Method::GET,
            "/v1/accounts/acme/logs/api_access",
            Some(&world.acme_officer),
            None,
        )
        .await;
    let uses: Vec<_> = log["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter(|entry| entry["name"] == "recordings.presigned")
        .collect();
    assert_eq!(uses.len(), 2, "{log}");
    assert_eq!(
        [&uses[0]["detail"]["place"]["sid"], &uses[0]["detail"]["key"]],
        [recording.as_str(), world.acme.token_key.as_str()]
    );
    let signature = link.split("signature=").nth(1).expect("a signature");
    assert!(!log.to_string().contains(signature));
    // It ends on its second.
    let now = TimeUs::parse(NOW).expect("a time");
    world.clock.advance_to(TimeUs(now.plus_seconds(300).0 - 1));
    assert_eq!(world.fetch(&link, false, None).await.0, StatusCode::OK);
    world.clock.advance_to(now.plus_seconds(300));
    assert_eq!(world.fetch(&link, false, None).await.0, StatusCode::FORBIDDEN);
    // It goes with the recording, and with the token.
    let vault = world.site.open_vault("in").await.expect("a vault");
    let link = signed(60).await;
    let doomed = recording.parse().expect("a SID");
    vault
        .delete_recordings(&sid("acme"), &[doomed], Cause::IngestError)
        .await
        .expect("deleted");
    assert_eq!(world.fetch(&link, false, None).await.0, StatusCode::NOT_FOUND);
    let path = format!("/v1/Accounts/acme/Recordings/{other}.json?RecordingUrlValidity=60");
    let (_, answer) = world.get(&path).await;
    let link = text(&answer["Recording"]["PreSignedRecordingUrl"]).to_owned();
    vault
        .revoke_token(&sid("acme"), &world.acme.token_key)
        .await
        .expect("revoked");
    assert_eq!(world.fetch(&link, false, None).await.0, StatusCode::FORBIDDEN);
    world.serving.close().await;
}
