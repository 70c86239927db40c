//! The object store suite's cases.

use bytes::Bytes;
use callvault_store::{StoreError, objects::End};

use super::backends::ObjectsBackend;

fn pattern(length: usize) -> Bytes {
    (0..length).map(|place| (place % 251) as u8).collect::<Vec<u8>>().into()
}

fn is_missing<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::NotFound { .. })), "{result:?}");
}

/// Whole objects.
pub async fn objects_come_back_whole(backend: &impl ObjectsBackend) {
    let objects = backend.open().await;
    is_missing(objects.get("a/b").await);
    is_missing(objects.get_range("a/b", 0..4).await);
    assert_eq!(objects.find_size("a/b").await.expect("read"), None);
    for length in [0, 1, 70_000, 9 * 1024 * 1024] {
        objects.put("a/b", pattern(length)).await.expect("put");
        assert_eq!(objects.find_size("a/b").await.expect("read"), Some(length as u64));
        assert!(
            backend.open().await.get("a/b").await.expect("read") == pattern(length),
            "{length} bytes"
        );
    }
    objects.delete("a/b").await.expect("deleted");
    objects.delete("a/b").await.expect("deleted before");
    is_missing(objects.get("a/b").await);
    assert!(!objects.place().is_empty());
}

/// Ranges.
pub async fn ranges_end_with_the_object(backend: &impl ObjectsBackend) {
    let objects = backend.open().await;
    let whole = pattern(5_000);
    objects.put("r", whole.clone()).await.expect("put");
    for (range, expected) in [
        (0..10, 0..10),
        (4_990..6_000, 4_990..5_000),
        (5_000..5_001, 0..0),
        (9_000..9_999, 0..0),
        (7..7, 0..0),
    ] {
        let found = objects.get_range("r", range.clone()).await.expect("a range");
        assert_eq!(found, whole.slice(expected), "{range:?}");
    }
    let ranges = [0..10, 100..200, 4_990..6_000, 9_000..9_999];
    let found = objects.get_ranges("r", &ranges).await.expect("ranges");
    let expected = [0..10, 100..200, 4_990..5_000, 0..0].map(|range| whole.slice(range));
    assert_eq!(found, expected);
    is_missing(objects.get_ranges("none", &ranges).await);
    for (end, bytes, expected) in [
        (End::First, 100, 0..100),
        (End::Last, 100, 4_900..5_000),
        (End::First, 9_000, 0..5_000),
        (End::Last, 9_000, 0..5_000),
    ] {
        let found = objects.get_end("r", end, bytes).await.expect("an end");
        assert_eq!(found, (whole.slice(expected), 5_000), "{end:?} {bytes}");
    }
    is_missing(objects.get_end("none", End::First, 1).await);
    objects.put("empty", Bytes::new()).await.expect("put");
    assert_eq!(
        objects.get_end("empty", End::Last, 5).await.expect("an end"),
        (Bytes::new(), 0)
    );
    assert_eq!(objects.get_range("empty", 0..5).await.expect("a range"), Bytes::new());
}

/// Uploads.
pub async fn uploads_appear_when_finished(backend: &impl ObjectsBackend) {
    let objects = backend.open().await;
    for (length, piece) in [(0, 1), (1_000, 7), (20 * 1024 * 1024 + 5, 300_000)] {
        let mut upload = objects.begin("u/x").await.expect("an upload");
        let whole = pattern(length);
        for start in (0..length).step_by(piece) {
            upload
                .write(whole.slice(start..length.min(start + piece)))
                .await
                .expect("written");
        }
        assert_eq!(
            objects.find_size("u/x").await.expect("read"),
            None,
            "no reader sees it before its end"
        );
        upload.finish().await.expect("finished");
        assert!(objects.get("u/x").await.expect("read") == whole, "{length} bytes");
        objects.delete("u/x").await.expect("deleted");
    }
}

/// Aborts and drops.
pub async fn aborted_uploads_leave_nothing(backend: &impl ObjectsBackend) {
    let objects = backend.open().await;
    let mut upload = objects.begin("u/x").await.expect("an upload");
    upload.write(pattern(17 * 1024 * 1024)).await.expect("written");
    upload.abort().await.expect("aborted");
    let mut upload = objects.begin("u/x").await.expect("an upload");
    upload.write(pattern(17 * 1024 * 1024)).await.expect("written");
    drop(upload);
    assert_eq!(objects.find_size("u/x").await.expect("read"), None);
    assert!(objects.list("").await.expect("objects").is_empty());
    assert!(backend.open().await.list("").await.expect("objects").is_empty());
}

/// Lists.
pub async fn lists_find_a_prefix(backend: &impl ObjectsBackend) {
    let objects = backend.open().await;
    assert!(objects.list("log/").await.expect("objects").is_empty());
    for name in ["log/1", "log/tile/2", "logs/3", "other"] {
        objects.put(name, pattern(name.len())).await.expect("put");
    }
    let mut found = objects.list("log/").await.expect("objects");
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = found.iter().map(|info| (info.name.as_str(), info.bytes)).collect();
    assert_eq!(found, [("log/1", 5), ("log/tile/2", 10)]);
    assert_eq!(objects.list("").await.expect("objects").len(), 4);
}

/// Names.
pub async fn wrong_names_are_refused(backend: &impl ObjectsBackend) {
    let objects = backend.open().await;
    for name in ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", ".x"] {
        assert!(objects.put(name, pattern(1)).await.is_err(), "{name:?}");
        assert!(objects.get(name).await.is_err(), "{name:?}");
        assert!(objects.delete(name).await.is_err(), "{name:?}");
        assert!(objects.begin(name).await.is_err(), "{name:?}");
    }
    assert!(objects.list("").await.expect("objects").is_empty());
}

/// Many at once.
pub async fn many_writers_do_not_mix(backend: &impl ObjectsBackend) {
    let objects = backend.open().await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..16_usize {
        let objects = objects.clone();
        writers.spawn(async move {
            for _ in 0..3 {
                objects
                    .put("same", Bytes::from(vec![number as u8; 10_000]))
                    .await
                    .expect("put");
                objects
                    .put(&format!("own/{number}"), pattern(number))
                    .await
                    .expect("put");
            }
        });
    }
    writers.join_all().await;
    let same = objects.get("same").await.expect("read");
    assert!(
        same.len() == 10_000 && same.iter().all(|byte| *byte == same[0]),
        "one writer's bytes, whole"
    );
    assert_eq!(objects.list("own/").await.expect("objects").len(), 16);
}
