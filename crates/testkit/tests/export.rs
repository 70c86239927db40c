//! Exports on every pair of stores: they come back by the import, go on where they broke off, hold what may be read and
//! nothing else, and other programs read them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use async_trait::async_trait;
use bytes::Bytes;
use callvault_app::{
    bulk::ImportFile,
    export::{Export, Format, Passage, Request, Sink, Written},
    import,
    read::Query,
};
use callvault_core::{AccountSid, Cause, Class, Day, Plan, Reader, Record, TimeUs};
use callvault_testkit::world::{Pair, World, at, call, message, number};

#[path = "export/python.rs"]
mod python;

/// Keeps the bytes, up to a number of them.
struct Kept {
    bytes: Vec<u8>,
    room: usize,
}

#[async_trait]
impl Sink for Kept {
    async fn write(&mut self, bytes: Bytes) -> callvault_app::Result<()> {
        self.bytes.extend_from_slice(&bytes);
        if self.bytes.len() > self.room {
            self.bytes.truncate(self.room);
            return Err(callvault_app::VaultError::invalid("sink", "full"));
        }
        Ok(())
    }
}

async fn write(world: &World, export: &Export, skip_bytes: u64) -> (Vec<u8>, Written) {
    let mut sink = Kept {
        bytes: Vec::new(),
        room: usize::MAX,
    };
    let passage = Passage {
        skip_bytes,
        sha256: true,
    };
    let written = export.write(&world.vault, passage, &mut sink).await.unwrap();
    (sink.bytes, written)
}

async fn plan(world: &World, account: &AccountSid, request: &Request) -> Export {
    let account = world.vault.get_account(account).await.unwrap();
    world.vault.plan_export(account, request).await.unwrap()
}

async fn bytes_of(world: &World, account: &AccountSid, request: &Request) -> Vec<u8> {
    write(world, &plan(world, account, request).await, 0).await.0
}

fn request(class: Class, format: Format) -> Request {
    Request {
        class,
        format,
        from: None,
        to: None,
        reader: Reader::Account,
    }
}

async fn all(world: &World, account: &AccountSid, class: Class) -> Vec<Record> {
    let mut query = Query {
        limit: 1_000,
        newest_first: false,
        ..Query::default()
    };
    let mut all = Vec::new();
    loop {
        let page = world
            .vault
            .list_records(account, class, &query, Reader::Account)
            .await
            .unwrap();
        all.extend(page.records);
        query.after = page.next;
        if query.after.is_none() {
            return all;
        }
    }
}

/// Texts that a format may stumble over.
const TEXTS: &[&str] = &[
    "=HYPERLINK(\"x\",\"y\")",
    "'=already",
    "+91 is India",
    "-",
    "@all",
    "\ttab",
    "plain, with comma",
    "two\r\nlines",
    "\"quoted\"",
    "नमस्ते 🙂",
    "back\\slash \u{1} \u{2028}",
    " blanks ",
    "'",
];

/// Calls and messages of several days: loose rows, small and large segments that lie across each other, erased rows.
async fn fill(world: &World, account: &AccountSid) {
    let base = at("2027-02-20T00:00:00Z");
    let mut records = Vec::new();
    for n in 0..400_u32 {
        let moment = TimeUs(base.plus_seconds(i64::from(n) * 1_000).0 + i64::from(n % 3) * 120_450);
        let text = TEXTS[n as usize % TEXTS.len()];
        let mut call = call(moment, n, n % 7, 100 + n);
        if let Record::Call(call) = &mut call {
            call.caller_name = Some(text.into());
            call.source_id = (n % 5 > 0).then(|| format!("{text}{n}").into());
            call.price_micros = [None, Some(-15), Some(1_500_000)][n as usize % 3];
            call.answered_at = (n % 2 > 0).then(|| moment.plus_seconds(3));
            call.extra = (n % 4 == 0).then(|| r#"{"a":{"b":[1,2.5,"x\ny"]},"from":"x"}"#.into());
            if n % 11 == 0 {
                call.from = Default::default();
                call.to = callvault_core::Number("-agent".into());
            }
        }
        let mut message = message(moment, n, n % 7, 100 + n, text);
        if let Record::Message(message) = &mut message {
            message.dlt_entity_id = (n % 2 > 0).then(|| text.into());
            message.status_code = (n % 3 > 0).then_some(n);
        }
        records.extend([call, message]);
    }
    // Every other one now, the rest after those are sealed: segments that lie across each other, and loose rows.
    let (first, rest): (Vec<_>, Vec<_>) = records.chunks(2).enumerate().partition(|(n, _)| n % 2 == 0);
    for (n, part) in [first, rest].into_iter().enumerate() {
        let part: Vec<Record> = part.into_iter().flat_map(|(_, records)| records.to_vec()).collect();
        for batch in part.chunks(100) {
            world.vault.ingest(account, batch).await.unwrap();
        }
        if n == 0 {
            world.tick_at(at("2027-03-01T13:00:00Z")).await;
        }
    }
    let erased = [records[20].sid(), records[240].sid()];
    world
        .vault
        .erase_records(account, Class::Call, &erased, Cause::IngestError)
        .await
        .unwrap();
}

async fn import(world: &World, account: &AccountSid, format: import::Format, bytes: &[u8]) {
    let path = world.folder.join(format!("{account}.import"));
    std::fs::write(&path, bytes).unwrap();
    let file = ImportFile {
        path: path.clone(),
        format,
        time_zone: jiff::tz::TimeZone::UTC,
        rejects: world.folder.join("rejects"),
        from_start: true,
    };
    let done = world.vault.import_file(account, file, &mut |_| {}).await.unwrap();
    let rejects = std::fs::read_to_string(world.folder.join("rejects")).unwrap_or_default();
    assert_eq!(done.rejected, 0, "{rejects}");
}

#[tokio::test]
async fn what_is_exported_is_imported_as_the_same_records() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        fill(&world, &account).await;
        for (class, records) in [(Class::Call, 398), (Class::Message, 400)] {
            let known = all(&world, &account, class).await;
            assert_eq!(known.len(), records);
            for (format, read) in [
                (Format::Csv, import::Format::Csv(class)),
                (Format::Ndjson, import::Format::Ndjson(class)),
            ] {
                let bytes = bytes_of(&world, &account, &request(class, format)).await;
                let name = format!("copy-{class}-{}", format.as_str());
                let copy = world.account(&name, Plan::Growth).await;
                import(&world, &copy, read, &bytes).await;
                let copied = all(&world, &copy, class).await;
                assert!(known == copied, "{pair:?} {name}");
                assert_eq!(bytes_of(&world, &copy, &request(class, format)).await, bytes);
            }
        }
    }
}

#[tokio::test]
async fn an_export_goes_on_where_it_broke_off() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let account = world.account("acme", Plan::Growth).await;
        fill(&world, &account).await;
        let open = || async { world.vault.get_account(&account).await.unwrap() };
        for format in Format::ALL {
            let request = request(Class::Call, format);
            let export = plan(&world, &account, &request).await;
            let (whole, written) = write(&world, &export, 0).await;
            assert_eq!((written.records, written.bytes), (398, whole.len() as u64));
            assert_eq!(export.records_at_most(), 398);
            let room = whole.len() * 6 / 10;
            let mut cut = Kept {
                bytes: Vec::new(),
                room,
            };
            let broke = export.write(&world.vault, Passage::default(), &mut cut).await;
            assert!(broke.is_err());
            assert_eq!(cut.bytes.len(), room);

            // Time goes by and loose rows are sealed; the bytes are the same.
            world.tick_at(world.vault.now().plus_seconds(3_600)).await;
            let again = world.vault.resume_export(open().await, &request, export.snapshot());
            let again = again.await.unwrap().expect("nothing changed");
            let (rest, resumed) = write(&world, &again, cut.bytes.len() as u64).await;
            assert_eq!(resumed, written, "{format:?}");
            cut.bytes.extend(rest);
            assert!(cut.bytes == whole, "{pair:?} {format:?}");

            // A snapshot is of one request, and of this account.
            let mut other = request;
            other.to = Some(at("2027-02-21T00:00:00Z"));
            let other = world.vault.resume_export(open().await, &other, export.snapshot());
            assert!(other.await.unwrap().is_none());
            let mut made_up = export.snapshot();
            made_up.mark[0] ^= 1;
            let made_up = world.vault.resume_export(open().await, &request, made_up);
            assert!(made_up.await.unwrap().is_none());
        }
        what_changes_ends_it(&world, &account).await;
    }
}

async fn what_changes_ends_it(world: &World, account: &AccountSid) {
    let open = || async { world.vault.get_account(account).await.unwrap() };
    let request = request(Class::Call, Format::Csv);
    let resume = |export: &Export| {
        let snapshot = export.snapshot();
        async move {
            let export = world.vault.resume_export(open().await, &request, snapshot).await;
            export.unwrap().is_some()
        }
    };
    // A record that comes later, after the snapshot's moment, belongs to another export.
    let export = plan(world, account, &request).await;
    let now = world.vault.now();
    world.clock.advance_to(now.plus_seconds(10));
    world
        .vault
        .ingest(account, &[call(now.plus_seconds(5), 9_000, 1, 2)])
        .await
        .unwrap();
    assert!(resume(&export).await, "what happened later is not of it");
    world
        .vault
        .ingest(account, &[call(at("2027-02-21T01:00:00Z"), 9_001, 1, 2)])
        .await
        .unwrap();
    assert!(!resume(&export).await, "a late arrival is seen");
    let broke = export
        .write(&world.vault, Passage::default(), &mut callvault_app::export::Nowhere)
        .await;
    assert!(broke.is_err_and(|error| error.is_conflict()));

    let export = plan(world, account, &request).await;
    let known = all(world, account, Class::Call).await;
    world
        .vault
        .erase_records(account, Class::Call, &[known[7].sid()], Cause::IngestError)
        .await
        .unwrap();
    assert!(!resume(&export).await, "a deletion is seen");

    // The first one lapses: to the second.
    let export = plan(world, account, &request).await;
    let end = known[0].at().plus_years(1);
    world.clock.advance_to(TimeUs(end.0 - 1));
    assert!(resume(&export).await);
    world.clock.advance_to(end);
    assert!(!resume(&export).await, "a lapse is seen");
}

#[tokio::test]
async fn what_may_not_be_read_is_not_exported() {
    for pair in Pair::all() {
        let world = World::new(pair, at("2027-03-01T12:00:00Z")).await;
        let (account, records, hold) = world.hold_ten_of_fifty().await;
        let first = records[0].at();
        let rows = |reader: Reader| {
            let (world, account) = (&world, &account);
            async move {
                let request = Request {
                    reader,
                    ..request(Class::Call, Format::Ndjson)
                };
                let text = String::from_utf8(bytes_of(world, account, &request).await).unwrap();
                text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
            }
        };
        assert_eq!(rows(Reader::Account).await.len(), 50);
        // Half of them lapsed: what is held is there for compliance alone.
        world.clock.advance_to(first.plus_years(1).plus_seconds(24));
        assert_eq!(rows(Reader::Account).await.len(), 25);
        assert_eq!(rows(Reader::Compliance).await.len(), 30);
        world.tick_at(at("2028-03-02T00:00:00Z")).await;
        assert_eq!(rows(Reader::Account).await.len(), 0);
        let held = rows(Reader::Compliance).await;
        assert_eq!(held.len(), 10);
        assert!(held.iter().all(|row| row.contains(number(2).as_str())));
        // Lifted while it is written: nothing more of it is given.
        let request = Request {
            reader: Reader::Compliance,
            ..request(Class::Call, Format::Ndjson)
        };
        let export = plan(&world, &account, &request).await;
        world.vault.lift_hold(&account, hold).await.unwrap();
        let nowhere = &mut callvault_app::export::Nowhere;
        let broke = export.write(&world.vault, Passage::default(), nowhere).await;
        assert!(broke.is_err_and(|error| error.is_conflict()));
        assert_eq!(rows(Reader::Compliance).await.len(), 0);
    }
}

#[tokio::test]
async fn an_empty_export_is_whole_in_every_format() {
    let world = World::new(Pair::Embedded, at("2027-03-01T12:00:00Z")).await;
    let account = world.account("acme", Plan::Growth).await;
    for (format, want) in [(Format::Ndjson, ""), (Format::Json, "[]\n")] {
        let bytes = bytes_of(&world, &account, &request(Class::Call, format)).await;
        assert_eq!(String::from_utf8(bytes).unwrap(), want);
    }
    let csv = bytes_of(&world, &account, &request(Class::Message, Format::Csv)).await;
    assert!(String::from_utf8(csv).unwrap().ends_with(",extra\r\n"));
    let parquet = bytes_of(&world, &account, &request(Class::Call, Format::Parquet)).await;
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    for (class, from, to, field) in [
        (Class::Recording, None, None, "class"),
        (Class::Call, Some(Day(2).start()), Some(Day(1).start()), "to"),
    ] {
        let opened = world.vault.get_account(&account).await.unwrap();
        let request = Request {
            from,
            to,
            ..request(class, Format::Csv)
        };
        let refused = world.vault.plan_export(opened, &request).await.err().unwrap();
        assert!(refused.to_string().starts_with(field), "{refused}");
    }
}

#[tokio::test]
async fn other_programs_read_every_format() {
    let world = World::new(Pair::Embedded, at("2027-03-01T12:00:00Z")).await;
    let account = world.account("acme", Plan::Growth).await;
    fill(&world, &account).await;
    for class in [Class::Call, Class::Message] {
        let mut files = Vec::new();
        for format in Format::ALL {
            let path = world.folder.join(format!("{class}.{}", format.as_str()));
            std::fs::write(&path, bytes_of(&world, &account, &request(class, format)).await).unwrap();
            files.push(path);
        }
        python::same_rows(&files, all(&world, &account, class).await.len());
    }
}
