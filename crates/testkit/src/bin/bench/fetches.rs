//! An object store that counts what is fetched from it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_store::{
    Objects, StoreError, Upload,
    objects::{End, ObjectInfo},
};

/// Counts bytes on their way out.
pub(crate) struct Fetches {
    inner: Arc<dyn Objects>,
    bytes: AtomicU64,
}

impl Fetches {
    pub(crate) fn new(inner: Arc<dyn Objects>) -> Self {
        Self {
            inner,
            bytes: AtomicU64::new(0),
        }
    }

    /// Bytes fetched so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: Bytes) -> Bytes {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        bytes
    }
}

#[async_trait]
impl Objects for Fetches {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.put(name, bytes).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.inner.begin(name).await
    }

    async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        Ok(self.count(self.inner.get(name).await?))
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        Ok(self.count(self.inner.get_range(name, range).await?))
    }

    async fn get_ranges(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let parts = self.inner.get_ranges(name, ranges).await?;
        Ok(parts.into_iter().map(|bytes| self.count(bytes)).collect())
    }

    async fn get_end(&self, name: &str, end: End, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let (bytes, size) = self.inner.get_end(name, end, bytes).await?;
        Ok((self.count(bytes), size))
    }

    async fn find_size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.inner.find_size(name).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.inner.list(prefix).await
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}
