//! Objects: immutable encrypted bytes under random names.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;

use crate::StoreError;

/// An object's name and size, as [`Objects::list`] finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Path-like name, `/` between parts.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// One of an object's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it begins.
    First,
    /// Where it ends.
    Last,
}

impl End {
    /// The range of at most `bytes` bytes at this end of an object of `size` bytes.
    #[must_use]
    pub const fn range(self, bytes: u64, size: u64) -> Range<u64> {
        match self {
            Self::First => 0..if bytes < size { bytes } else { size },
            Self::Last => size.saturating_sub(bytes)..size,
        }
    }
}

/// An object store. Commit state lives in the catalog alone: an object exists for the vault when a catalog row names
/// it, whatever the store lists.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Writes a whole object, durably. An object of this name is replaced.
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Begins an object that is written piece by piece. Until [`Upload::finish`] returns, no reader sees it.
    async fn begin(&self, name: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// The whole object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none.
    async fn get(&self, name: &str) -> Result<Bytes, StoreError>;

    /// The bytes of a range; shorter when the object ends inside it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such object.
    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Several ranges of one object, each as [`Objects::get_range`] answers it. They are fetched at once.
    ///
    /// # Errors
    /// As [`Objects::get_range`].
    async fn get_ranges(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        try_join_all(ranges.iter().map(|range| self.get_range(name, range.clone()))).await
    }

    /// At most `bytes` bytes of one end of an object, and the object's size.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such object.
    async fn get_end(&self, name: &str, end: End, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let size = self.find_size(name).await?;
        let size = size.ok_or(StoreError::NotFound { what: "object" })?;
        Ok((self.get_range(name, end.range(bytes, size)).await?, size))
    }

    /// The size in bytes, or nothing when there is no such object.
    async fn find_size(&self, name: &str) -> Result<Option<u64>, StoreError>;

    /// Removes an object. Removing what is not there succeeds.
    async fn delete(&self, name: &str) -> Result<(), StoreError>;

    /// Every object whose name begins with `prefix` (a whole path part, such as `log/`), in no order.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Where the bytes are, for people: a folder or a bucket, without credentials.
    fn place(&self) -> String;
}

/// An object being written.
#[async_trait]
pub trait Upload: Send {
    /// Adds bytes. Pieces may have any size; the upload gathers what the store needs.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes the object visible and durable.
    async fn finish(self: Box<Self>) -> Result<(), StoreError>;

    /// Gives up; nothing stays behind. Dropping an upload leaves parts that [`Objects`] cleans up when it can.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// Checks an object's name: parts of letters, digits, `.`, `_`, `-`, none of which begins with a dot.
///
/// # Errors
/// [`StoreError::Damaged`] when it is something else: names are made by the vault, so a wrong one was not.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let part = |part: &str| (1..=200).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(good);
    if name.len() <= 800 && name.split('/').all(part) {
        Ok(())
    } else {
        Err(StoreError::Damaged {
            store: "object store",
            reason: "a name is not an object's name".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_stay_inside_the_store() {
        for bad in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", ".hidden", "a/.b", "a b", "a\\b", "a\0", "å", "%2e",
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in [
            "a",
            "log/tile/0/x001/067.p/12",
            "accounts/acme_1/recordings/00ff",
            "A-b_c.d",
        ] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }
}
