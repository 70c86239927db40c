//! An object store that is full when so many bytes were written: how a full disk is tested without a small disk.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_store::{Objects, StoreError, Upload, objects::ObjectInfo};

/// An object store with room for a number of bytes to be written.
#[derive(Clone)]
pub struct Quota {
    inner: Arc<dyn Objects>,
    left: Arc<AtomicU64>,
}

impl Quota {
    /// Gives a store room for this many more bytes.
    #[must_use]
    pub fn new(inner: Arc<dyn Objects>, bytes: u64) -> Self {
        Self {
            inner,
            left: Arc::new(AtomicU64::new(bytes)),
        }
    }

    /// Changes the room.
    pub fn set_room(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }
}

fn take(left: &AtomicU64, bytes: usize) -> Result<(), StoreError> {
    left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(bytes as u64)
    })
    .map(|_| ())
    .map_err(|_| StoreError::Full { store: "object store" })
}

#[async_trait]
impl Objects for Quota {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        take(&self.left, bytes.len())?;
        self.inner.put(name, bytes).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(QuotaUpload {
            inner: self.inner.begin(name).await?,
            left: self.left.clone(),
        }))
    }

    async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        self.inner.get(name).await
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.get_range(name, range).await
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

struct QuotaUpload {
    inner: Box<dyn Upload>,
    left: Arc<AtomicU64>,
}

#[async_trait]
impl Upload for QuotaUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        take(&self.left, bytes.len())?;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.abort().await
    }
}
