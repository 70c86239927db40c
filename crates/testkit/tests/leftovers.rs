//! Nothing is left: the raw bytes of every store are searched for what was put in, while it lives and after it is gone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "leftovers/search.rs"]
mod search;

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use callvault_app::{
    account::Role,
    bulk::ImportFile,
    contact::{Contact, List},
    document::DocumentQuery,
    import::Format,
    read::Query,
    realm::Realm,
    seal::password::PasswordHash,
    session::Method,
};
use callvault_core::{AccountSid, Cause, Class, DocumentKind, HoldScope, Plan, Reader, Record, record::AudioFormat};
use callvault_testkit::{
    conformance::checks::{contents, dump, table},
    world::{PASSPHRASE, Pair, World, at, call, message, recording},
};
use search::Needles;
use serde_json::Value;

/// Numbers of this test alone: other tests share the servers.
const FROM: u32 = 71_000;
const TO: u32 = 82_000;
const MATTER: &str = "Matter of Quillfeather against Brambleby";
const REASON: &str = "Letter of Mrs Quillfeather, 3 March";

/// Everything that the code under test and its libraries log.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn text_of(n: u32) -> String {
    format!("Your parcel {n} waits with Mr Snodgrass, code {}", n * 7_919)
}

fn audio() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..30_000).flat_map(|_| next()).collect()
}

/// The records of one day; among them message texts and names.
fn records(day: &str, first: u32, count: u32) -> Vec<Record> {
    let start = at(day);
    let one = |n: u32| match n % 3 {
        0 => message(
            start.plus_seconds(i64::from(n)),
            first + n,
            FROM + n % 100,
            TO + n % 90,
            &text_of(n),
        ),
        _ => call(start.plus_seconds(i64::from(n)), first + n, FROM + n % 100, TO + n % 90),
    };
    (0..count).map(one).collect()
}

/// A file of calls as an operator would import it.
fn file(folder: &std::path::Path, day: &str, rows: u32) -> std::path::PathBuf {
    let mut text = "at,direction,from,to,status,source_id,caller_name,agent\n".to_owned();
    for n in 0..rows {
        let (from, to) = (FROM + n % 100, TO + n % 90);
        let time = at(day).plus_seconds(i64::from(n));
        text += &format!(
            "{time},inbound,+9199000{from},+9199000{to},completed,imported-{n:06},Imported Caller {n},Agent Wigglesworth\n"
        );
    }
    let path = folder.join("calls.csv");
    std::fs::write(&path, text).unwrap();
    path
}

const EMAIL: &str = "hortensia.ravenscroft@leftover.example";
const NAME: &str = "Hortensia Ravenscroft";
const PASSWORD: &str = "seven grey herons wade";

/// Somebody is invited, joins and signs in.
async fn sign_in_somebody(vault: &callvault_app::Vault, account: &callvault_app::Account) {
    let realm = Realm::of_account(account);
    let invited = vault
        .invite_user(&realm, EMAIL, Some(NAME.to_owned()), Role::Owner, None)
        .await;
    let (user, _) = invited.unwrap();
    let password = PasswordHash::new(PASSWORD.as_bytes()).unwrap();
    let user = vault.accept_invitation(&realm, user, None, &password).await.unwrap();
    vault
        .begin_session(&realm, &user, Method::Password, Some("Wigglesworth Browser"), None)
        .await
        .unwrap();
}

fn needles(token_secret: &str) -> Needles {
    let mut needles = Needles::default();
    for n in 0..100 {
        needles.add_number(&format!("+9199000{}", FROM + n));
        needles.add_number(&format!("+9199000{}", TO + n));
        needles.add_text(&format!("Caller {}", FROM + n));
    }
    needles.add_number("+918047112233");
    for n in (0..600).step_by(3) {
        needles.add_text(&text_of(n));
    }
    for n in 0..300 {
        needles.add_bytes(format!("source-{}", 5_000_000 + n).as_bytes(), "a source's id");
    }
    for text in [
        "Snodgrass",
        "imported-000",
        "Imported Caller",
        "Agent Wigglesworth",
        "Quillfeather",
        "Brambleby",
        "Featherstonehaugh",
        "Cholmondeley",
        "Twistleton",
        "Guests of Honour",
        "objected in a letter",
    ] {
        needles.add_text(text);
    }
    needles.add_text(MATTER);
    needles.add_text(REASON);
    needles.add_text(PASSPHRASE);
    for text in [EMAIL, NAME, PASSWORD, "Wigglesworth Browser"] {
        needles.add_text(text);
    }
    needles.add_forms(token_secret.as_bytes(), "a token's secret");
    for piece in audio().chunks_exact(48).step_by(97) {
        needles.add_forms(piece, "audio");
    }
    needles
}

/// Every raw byte that the world's stores hold, searched. Returns how many bytes that were.
async fn assert_nothing_in(world: &World, needles: &Needles, when: &str) -> u64 {
    let (mut bytes, mut found) = needles.find_in_folder(&world.folder);
    let rows = dump(&world.parts.catalog).await;
    found.extend(
        needles
            .find_in(rows.as_bytes())
            .iter()
            .map(|name| format!("{name}: in the catalog")),
    );
    // The dump writes bytes in hexadecimal; they are searched as they are, too.
    for row in contents(&world.parts.catalog).await.values().flatten() {
        for value in row.iter().filter_map(Value::as_str) {
            let raw = hex::decode(value).unwrap_or_default();
            found.extend(needles.find_in(&raw).iter().map(|name| format!("{name}: in a row")));
        }
    }
    for object in world.parts.objects.list("").await.unwrap() {
        found.extend(
            needles
                .find_in(object.name.as_bytes())
                .iter()
                .map(|name| format!("{name}: {}", object.name)),
        );
        let content = world.parts.objects.get(&object.name).await.unwrap();
        found.extend(
            needles
                .find_in(&content)
                .iter()
                .map(|name| format!("{name}: in {}", object.name)),
        );
        bytes += object.bytes;
    }
    if let Some(database) = &world.database {
        // What is in the server's memory is written out: tables, indexes and write-ahead log.
        let _ = database.query("CHECKPOINT");
        let folder = std::path::PathBuf::from(database.query("SHOW data_directory").trim());
        let oid = database.query("SELECT oid FROM pg_database WHERE datname = current_database()");
        for part in [folder.join("base").join(oid.trim()), folder.join("pg_wal")] {
            let (more, inside) = needles.find_in_folder(&part);
            assert!(more > 100_000, "{part:?} is not readable");
            bytes += more;
            found.extend(inside);
        }
        let garage = std::env::var("CALLVAULT_TEST_GARAGE_CONFIG").unwrap();
        let (more, inside) = needles.find_in_folder(std::path::Path::new(&garage).parent().unwrap());
        bytes += more;
        found.extend(inside);
    }
    assert!(found.is_empty(), "{:?}, {when}: {found:#?}", world.folder);
    bytes
}

/// Rows that name the account, by table.
async fn rows_of(world: &World, account: &AccountSid) -> Vec<String> {
    let all = contents(&world.parts.catalog).await;
    let names = |row: &[Value]| {
        row.iter()
            .any(|value| value.as_str().is_some_and(|text| text.contains(account.as_str())))
    };
    // What stays: the closed account's name, the log, the statements of its certificates, when it was last swept.
    let swept = format!("recordings-swept/{account}");
    let stays = |name: &str| matches!(name, "accounts" | "log" | "destructions");
    let tables = all.keys().filter(|name| !stays(name));
    tables
        .flat_map(|name| {
            table(&all, name)
                .iter()
                .filter(|row| names(row) && row[0] != swept)
                .map(move |row| format!("{name}: {row:?}"))
        })
        .collect()
}

/// A policy, and a flow that plays what was uploaded.
async fn fill_flows(world: &World, account: &AccountSid) {
    let vault = &world.vault;
    let account = vault.get_account(account).await.unwrap();
    let mut policy = vault.get_consent_policy(&account).await.unwrap();
    policy.policy.text = "We record this call.".to_owned();
    vault.adopt_consent_policy(&account, policy).await.unwrap();
    // A second of silence, 8,000 samples of 16 bits.
    let mut wav = b"RIFF".to_vec();
    wav.extend(16_036_u32.to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    wav.extend(16_000_u32.to_le_bytes());
    wav.extend(vec![0; 16_000]);
    let prompt = vault
        .add_prompt(&account, "Welcome".to_owned(), AudioFormat::Wav, wav.into())
        .await
        .unwrap();
    let flow = serde_json::json!({
        "name": "Support", "start": "a", "applets": { "a": { "kind": "greeting", "say": { "audio": prompt.id } } },
    });
    let saved = vault
        .save_flow(&account, None, serde_json::from_value(flow).unwrap())
        .await;
    assert_eq!(saved.unwrap().version, 1);
    let kept = rows_of(world, &account.sid).await;
    for topic in ["consent-policy", "flow", "prompt", "prompt-audio"] {
        let name = format!("settings: [String(\"{topic}/");
        assert!(kept.iter().any(|row| row.starts_with(&name)), "{topic}");
    }
}

/// Contacts on a list, one of them changed since; and a number that is suppressed.
async fn fill_book(world: &World, account: &AccountSid) {
    let vault = &world.vault;
    let opened = vault.get_account(account).await.unwrap();
    let list = List {
        name: "Guests of Honour".to_owned(),
        tag: None,
    };
    let list = vault
        .create_lists(&opened, vec![list])
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap();
    let contacts = (0..20).map(|n| Contact {
        number: callvault_core::Number(format!("+9199000{}", FROM + n).into()),
        first_name: Some("Featherstonehaugh".to_owned()),
        last_name: None,
        company_name: None,
        email: Some("Twistleton@example.org".to_owned()),
        tag: None,
        custom: None,
    });
    let made = vault
        .create_contacts(&opened, contacts.collect(), Some(list.id))
        .await
        .unwrap();
    let changed = made.into_iter().next().unwrap().unwrap().id;
    let change = |old: &Contact| Contact {
        first_name: Some("Cholmondeley".to_owned()),
        ..old.clone()
    };
    vault.update_contact(&opened, changed, change).await.unwrap();
    let number = callvault_core::Number(format!("+9199000{}", FROM + 2).into());
    vault.suppress(&opened, &number, "objected in a letter").await.unwrap();
    assert_eq!(vault.get_list(&opened, list.id).await.unwrap().members, 19);
}

/// Deletes the list and every contact.
async fn empty_book(world: &World, account: &AccountSid) {
    for kind in [DocumentKind::List, DocumentKind::Contact] {
        let opened = world.vault.get_account(account).await.unwrap();
        let query = DocumentQuery {
            limit: 100,
            ..DocumentQuery::default()
        };
        let reader = Reader::Account;
        let found = world
            .vault
            .list_documents::<Value>(&opened, kind, &query, reader)
            .await
            .unwrap();
        let ids: Vec<_> = found.iter().map(|document| document.id).collect();
        world
            .vault
            .delete_documents(account, kind, &ids, Cause::Request)
            .await
            .unwrap();
    }
}

async fn fill(world: &World, account: &AccountSid, day: &str) -> String {
    let vault = &world.vault;
    fill_book(world, account).await;
    vault.ingest(account, &records(day, 5_000_000, 300)).await.unwrap();
    for n in 0..3 {
        let new = recording(at(day).plus_seconds(i64::from(n)), 6_000_000 + n, FROM + n, TO + n);
        vault.put_recording(account, new, &audio()).await.unwrap();
    }
    let opened = vault.get_account(account).await.unwrap();
    let held = callvault_core::Number(format!("+9199000{}", FROM + 1).into());
    let scope = HoldScope::Number(opened.number_hash(&held));
    let hold = vault
        .place_hold(account, scope, MATTER, REASON, at("2031-01-01T00:00:00Z"))
        .await
        .unwrap();
    vault.lift_hold(account, hold).await.unwrap();
    let secret = vault.create_token(account, Role::Developer).await.unwrap().secret;
    sign_in_somebody(vault, &opened).await;
    let outside = tempfile::tempdir().unwrap();
    for (day, rows) in [("2027-02-20T08:00:00Z", 6_000), ("2027-02-21T08:00:00Z", 40)] {
        let import = ImportFile {
            path: file(outside.path(), day, rows),
            format: Format::Csv(Class::Call),
            time_zone: jiff::tz::TimeZone::UTC,
            rejects: outside.path().join("rejects.csv"),
            from_start: false,
        };
        let progress = vault.import_file(account, import, &mut |_| {}).await.unwrap();
        assert_eq!(
            (progress.stored, progress.rejected),
            (u64::from(rows), 0),
            "{progress:?}"
        );
    }
    secret
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing_subscriber::util::SubscriberInitExt::init(subscriber);
    let mut reports = String::new();
    for pair in Pair::all() {
        let mut world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let day = "2027-03-01T09:00:00Z";
        let (closed, lapsed) = (
            world.account("closing", Plan::Growth).await,
            world.account("lapsing", Plan::Growth).await,
        );
        let secret = fill(&world, &closed, day).await;
        fill(&world, &lapsed, day).await;
        let needles = needles(&secret);

        // Alive: all of it is readable, and none of it stands anywhere.
        assert_nothing_in(&world, &needles, "loose").await;
        let report = world.tick_at(at("2027-03-02T02:00:00Z")).await;
        assert!(report.sealed >= 2, "{report:?}");
        reports += &format!("{report:?}");
        world.restart().await;
        let query = Query {
            limit: 1_000,
            ..Query::default()
        };
        for account in [&closed, &lapsed] {
            let page = world
                .vault
                .list_records(account, Class::Message, &query, Reader::Account)
                .await
                .unwrap();
            assert_eq!(page.records.len(), 100);
        }
        let bytes = assert_nothing_in(&world, &needles, "sealed").await;
        assert!(bytes > 2_000_000, "too little was searched: {bytes}");
        let alive = contents(&world.parts.catalog).await;
        let wrapped: Vec<Vec<u8>> = table(&alive, "data_keys")
            .iter()
            .map(|row| hex::decode(row[4].as_str().unwrap()).unwrap())
            .collect();
        assert!(wrapped.len() >= 10);
        let mut sealed = Needles::default();
        for bytes in &wrapped {
            sealed.add_bytes(&bytes[bytes.len() - 32..], "a wrapped key");
        }
        for row in table(&alive, "segments") {
            // A packed segment's body.
            for value in row.iter().filter_map(Value::as_str).filter(|text| text.len() > 1_000) {
                sealed.add_bytes(&hex::decode(value).unwrap()[64..96], "a packed segment");
            }
        }
        if pair == Pair::Embedded {
            assert!(
                !sealed.find_in_folder(&world.folder).1.is_empty(),
                "the search finds what is there"
            );
        }

        // One account is closed, the other's records lapse, one of its recordings is deleted.
        fill_flows(&world, &closed).await;
        world.vault.close_account(&closed).await.unwrap();
        let first = recording(at(day), 6_000_000, FROM, TO).sid;
        world
            .vault
            .delete_recordings(&lapsed, &[first], Cause::Request)
            .await
            .unwrap();
        empty_book(&world, &lapsed).await;
        for days in 1..=32 {
            world.tick_at(at("2027-03-02T02:00:00Z").plus_days(days)).await;
        }
        assert_eq!(rows_of(&world, &closed).await, Vec::<String>::new(), "{pair:?}");
        assert_nothing_in(&world, &needles, "closed").await;
        assert!(
            world
                .parts
                .objects
                .list(&format!("accounts/{closed}/"))
                .await
                .unwrap()
                .is_empty()
        );
        let report = world.tick_at(at("2028-03-02T00:00:00Z")).await;
        assert!(!report.shredded.is_empty());
        for days in 1..=32 {
            let report = world.tick_at(at("2028-03-02T00:00:00Z").plus_days(days)).await;
            reports += &format!("{report:?}");
        }
        let left: Vec<String> = rows_of(&world, &lapsed).await;
        // The account lives on: its own key, its import jobs, its holds, its token, its user and whom it may not call.
        let own = [
            "data_keys",
            "jobs",
            "holds",
            "tokens",
            "users",
            "sessions",
            "settings: [String(\"suppressed/",
        ];
        let left: Vec<&String> = left
            .iter()
            .filter(|row| own.iter().all(|table| !row.starts_with(table)))
            .collect();
        assert_eq!(table(&contents(&world.parts.catalog).await, "data_keys").len(), 1);
        assert_eq!(left, Vec::<&String>::new(), "{pair:?}");
        assert!(world.parts.objects.list("accounts/").await.unwrap().is_empty());
        assert_nothing_in(&world, &needles, "gone").await;
        if pair == Pair::Embedded {
            let (_, found) = sealed.find_in_folder(&world.folder);
            assert!(found.is_empty(), "ciphertext of what is gone: {found:#?}");
        }
        let findings = world.vault.doctor().await.unwrap();
        assert!(
            findings
                .iter()
                .all(|f| f.severity == callvault_app::doctor::Severity::Good),
            "{findings:?}"
        );
        reports += &format!("{findings:?}");

        let logs = logged.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(
            needles.find_in(&logs).is_empty(),
            "in the log: {:?}",
            needles.find_in(&logs)
        );
        assert!(needles.find_in(reports.as_bytes()).is_empty());
    }
    tracing::trace!("+919900071000");
    let logs = logged.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(
        !needles("0123456789abcdef").find_in(&logs).is_empty(),
        "what is logged is caught"
    );
}
