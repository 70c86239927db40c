//! An object store that fails where a test wants it to.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_store::{Objects, StoreError, Upload, objects::ObjectInfo};

use super::Faults;

const STORE: &str = "object store";

/// An object store behind [`Faults`].
pub struct FaultyObjects {
    pub(super) inner: Arc<dyn Objects>,
    pub(super) faults: Faults,
}

#[async_trait]
impl Objects for FaultyObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.faults.around(STORE, "put", self.inner.put(name, bytes)).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn Upload>, StoreError> {
        let inner = self.faults.around(STORE, "begin", self.inner.begin(name)).await?;
        Ok(Box::new(FaultyUpload {
            inner,
            faults: self.faults.clone(),
        }))
    }

    async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        self.faults.around(STORE, "get", self.inner.get(name)).await
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.faults
            .around(STORE, "get_range", self.inner.get_range(name, range))
            .await
    }

    async fn find_size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.faults.around(STORE, "find_size", self.inner.find_size(name)).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.faults.around(STORE, "delete", self.inner.delete(name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.faults.around(STORE, "list", self.inner.list(prefix)).await
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

struct FaultyUpload {
    inner: Box<dyn Upload>,
    faults: Faults,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.faults.around(STORE, "write", self.inner.write(bytes)).await
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { inner, faults } = *self;
        faults.around(STORE, "finish", inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        let Self { inner, faults } = *self;
        faults.around(STORE, "abort", inner.abort()).await
    }
}
