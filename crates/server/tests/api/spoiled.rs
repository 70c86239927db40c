//! Targets of exports that do something else than they should, or not yet.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use callvault_app::{
    core::AccountSid,
    schedule::{Destinations, PlaceError, Target},
    store::{Objects, StoreError, Upload, objects::ObjectInfo},
};
use callvault_server::destinations::Places;
use tokio::sync::Semaphore;

/// What is wrong with a target.
#[derive(Clone)]
pub(crate) enum Spoil {
    /// It loses a bit of every recording, and of a job's calls, once they are written.
    Bits,
    /// It writes when it is let: how often somebody waited, and how often it may go on.
    Waits(Arc<Semaphore>, Arc<Semaphore>),
    /// It gives back what was written when it is let.
    WaitsToRead(Arc<Semaphore>, Arc<Semaphore>),
}

/// Targets with something wrong.
pub(crate) struct Spoiled(pub(crate) Places, pub(crate) Spoil);

#[async_trait]
impl Destinations for Spoiled {
    async fn open(&self, account: &AccountSid, target: &Target) -> Result<Arc<dyn Objects>, PlaceError> {
        Ok(Arc::new(Place(self.0.open(account, target).await?, self.1.clone())))
    }
}

struct Place(Arc<dyn Objects>, Spoil);

struct SpoiledUpload {
    place: Arc<dyn Objects>,
    spoil: Spoil,
    name: String,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for SpoiledUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if let Spoil::Waits(waiting, go_on) = &self.spoil {
            waiting.add_permits(1);
            go_on.acquire().await.expect("open").forget();
        }
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.finish().await?;
        let is_export = self.name.starts_with("recordings/") || self.name.ends_with("/calls.csv");
        if matches!(self.spoil, Spoil::Bits) && is_export {
            let mut bytes = self.place.get(&self.name).await?.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            self.place.put(&self.name, bytes.into()).await?;
        }
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.inner.abort().await
    }
}

#[async_trait]
impl Objects for Place {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.0.put(name, bytes).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(SpoiledUpload {
            place: Arc::clone(&self.0),
            spoil: self.1.clone(),
            name: name.to_owned(),
            inner: self.0.begin(name).await?,
        }))
    }

    async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        self.0.get(name).await
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if let Spoil::WaitsToRead(waiting, go_on) = &self.1 {
            waiting.add_permits(1);
            go_on.acquire().await.expect("open").forget();
        }
        self.0.get_range(name, range).await
    }

    async fn find_size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.0.find_size(name).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.0.delete(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.0.list(prefix).await
    }

    fn place(&self) -> String {
        self.0.place()
    }
}
