//! Components by their digest: a record, and the bytes in chunks. The record is written last, so that what has one is
//! whole; chunks without one are written again by the next upload of the same bytes, or removed as garbage.
//!
//! Also where plugins run in the control plane: to judge settings, with the limits of the contract and nothing around.

use super::{
    record::{RECORDS, chunk_key, now, record_key},
    room::Room,
};
use crate::failure::{internal, of_store};
use bytes::Bytes;
use palisade_plugin_host::{
    Digest, Host, HostConfig, HostError, Plugin, Refusal, SettingsError, verify,
};
use palisade_store::{Compare, Op, Revision, Scan, Store, Txn, TxnOutcome};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Chunks written in one transaction.
const BATCH: usize = 16;
/// Records read at once.
pub(super) const PAGE: usize = 500;
/// Plugins kept compiled; beyond, all are compiled anew when they are needed.
const LOADED: usize = 32;

pub(crate) use super::record::{CHUNK, Record};

/// What settings are judged by: the component, and the settings as canonical JSON.
pub(crate) type Question = (Digest, String);

/// The stored components.
pub struct Components {
    pub(super) store: Arc<dyn Store>,
    room: Room,
    host: Host,
    loaded: Mutex<HashMap<Digest, Plugin>>,
    // Held while chunks without a record are written or looked for, and while it is said what still fits.
    pub(super) storing: tokio::sync::Mutex<()>,
}

// === impl Components ===

impl Components {
    /// In this store.
    ///
    /// # Errors
    /// WebAssembly does not run here.
    pub fn new(store: Arc<dyn Store>, room: Room) -> Result<Self, HostError> {
        Ok(Self {
            store,
            room,
            host: Host::new(HostConfig::default())?,
            loaded: Mutex::default(),
            storing: tokio::sync::Mutex::default(),
        })
    }

    /// Whether a component of this size still fits.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`.
    pub(crate) async fn judge_room(&self, size: u64) -> Result<(), Status> {
        let stored = self.list().await?;
        let sizes = stored.iter().map(|(_, record)| record.size);
        self.room.judge(sizes, size)
    }

    /// What is known of a component; `None` if it is not stored.
    pub(crate) async fn find(&self, digest: &Digest) -> Result<Option<Record>, Status> {
        let found = self.store.get(&record_key(digest), None).await;
        let found = found.map_err(of_store)?;
        found.map(|item| Record::decode(&item.value)).transpose()
    }

    /// All records, by digest.
    pub(crate) async fn list(&self) -> Result<Vec<(Digest, Record)>, Status> {
        let records = self.records().await?.into_iter();
        Ok(records
            .map(|(digest, record, _)| (digest, record))
            .collect())
    }

    /// All records, by digest, each with the revision that it was last written at.
    pub(super) async fn records(&self) -> Result<Vec<(Digest, Record, Revision)>, Status> {
        let mut records = Vec::new();
        let mut scan = Scan::new(&*self.store, RECORDS);
        while let Some(items) = scan.next().await.map_err(of_store)? {
            for item in &items {
                let hex = std::str::from_utf8(&item.key).unwrap_or_default();
                let hex = hex.trim_start_matches(RECORDS);
                let digest = format!("sha256:{hex}").parse::<Digest>();
                let digest = digest.map_err(|error| internal("a record's key is wrong", &error))?;
                records.push((digest, Record::decode(&item.value)?, item.modified));
            }
        }
        Ok(records)
    }

    /// Verifies a component and stores it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with the reason and the fix, the store's.
    pub(crate) async fn put(&self, digest: Digest, bytes: Vec<u8>) -> Result<Record, Status> {
        let host = self.host.clone();
        let judged = tokio::task::spawn_blocking(move || {
            let verified = verify(bytes, Some(digest))?;
            let plugin = host.load(&verified)?;
            Ok::<_, Refusal>((verified, plugin))
        });
        let judged = judged
            .await
            .map_err(|error| internal("a component could not be judged", &error))?;
        let (verified, plugin) = judged.map_err(|refusal| refused(&refusal, refusal.fix()))?;
        let record = Record::of(&verified);
        let _storing = self.storing.lock().await;
        self.judge_room(record.size).await?;
        let mut written = Vec::new();
        for (batch, chunks) in chunked(verified.bytes()).chunks(BATCH).enumerate() {
            let ops = chunks.iter().enumerate().map(|(index, chunk)| {
                let key = chunk_key(&digest, (batch * BATCH + index) as u64);
                written.push(Compare::Present(key.clone()));
                Op::Put(key, Bytes::copy_from_slice(chunk))
            });
            let txn = Txn::unconditional(ops.collect());
            self.store.txn(txn).await.map_err(of_store)?;
        }
        // Another replica may have taken the chunks for leftovers.
        let txn = Txn {
            compare: written,
            then: vec![Op::Put(record_key(&digest), record.encode()?)],
        };
        match self.store.txn(txn).await.map_err(of_store)? {
            TxnOutcome::Committed { .. } => {}
            TxnOutcome::Failed { .. } => return Err(Status::aborted("try again")),
        }
        self.remember(digest, plugin);
        Ok(record)
    }

    /// Somebody uploads what is stored: it is kept for as long as if it were new.
    pub(crate) async fn renew(&self, digest: &Digest, record: &Record) -> Result<(), Status> {
        if record.unused_since.is_none() {
            return Ok(());
        }
        let renewed = Record {
            unused_since: Some(now()),
            ..record.clone()
        };
        let key = record_key(digest);
        let txn = Txn {
            compare: vec![Compare::Present(key.clone())],
            then: vec![Op::Put(key, renewed.encode()?)],
        };
        match self.store.txn(txn).await.map_err(of_store)? {
            TxnOutcome::Committed { .. } => Ok(()),
            TxnOutcome::Failed { .. } => Err(Status::aborted("it was removed just now; try again")),
        }
    }

    /// A condition of a transaction: the component is stored.
    pub(crate) fn is_stored(digest: &Digest) -> Compare {
        Compare::Present(record_key(digest))
    }

    /// What was compiled of it is not needed any more.
    pub(super) fn forget(&self, digest: &Digest) {
        self.loaded().remove(digest);
    }

    /// A chunk of a component that is stored.
    pub(crate) async fn chunk(&self, digest: &Digest, index: u64) -> Result<Bytes, Status> {
        let found = self.store.get(&chunk_key(digest, index), None).await;
        let found = found.map_err(of_store)?;
        found
            .map(|item| item.value)
            .ok_or_else(|| Status::data_loss("a stored component lacks a part"))
    }

    /// Lets plugins judge settings; `Ok` where the component accepts them. Gives an answer for every question.
    pub(crate) async fn judge(
        &self,
        questions: Vec<Question>,
    ) -> Result<BTreeMap<Question, Result<(), SettingsError>>, Status> {
        let mut asked = Vec::with_capacity(questions.len());
        for (digest, settings) in questions {
            let plugin = self.plugin(&digest).await?;
            asked.push(((digest, settings), plugin));
        }
        let judge = move || {
            let answers = asked.into_iter().map(|(question, plugin)| {
                let answer = plugin.validate(&question.1);
                (question, answer)
            });
            answers.collect()
        };
        tokio::task::spawn_blocking(judge)
            .await
            .map_err(|error| internal("settings could not be judged", &error))
    }

    async fn plugin(&self, digest: &Digest) -> Result<Plugin, Status> {
        let known = self.loaded().get(digest).cloned();
        if let Some(plugin) = known {
            return Ok(plugin);
        }
        let record = self.find(digest).await?;
        let mut bytes = Vec::new();
        for index in 0..record.map_or(0, |record| record.chunks()) {
            bytes.extend_from_slice(&self.chunk(digest, index).await?);
        }
        let (host, named) = (self.host.clone(), *digest);
        let load = move || host.load(&verify(bytes, Some(named))?);
        let plugin = tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| internal("a component could not be loaded", &error))?
            .map_err(|refusal| internal("a stored component is refused", &refusal))?;
        self.remember(*digest, plugin.clone());
        Ok(plugin)
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<Digest, Plugin>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, digest: Digest, plugin: Plugin) {
        let mut loaded = self.loaded();
        if loaded.len() >= LOADED {
            loaded.clear();
        }
        loaded.insert(digest, plugin);
    }
}

fn chunked(bytes: &[u8]) -> Vec<&[u8]> {
    let length = usize::try_from(CHUNK).unwrap_or(usize::MAX);
    bytes.chunks(length).collect()
}

/// Why a component is refused, and what to do about it.
pub(super) fn refused(reason: &impl Display, fix: String) -> Status {
    let message = format!("{reason}: {fix}");
    let metadata = HashMap::from([("fix".to_owned(), fix)]);
    let details = ErrorDetails::with_error_info("COMPONENT", "palisade.dev", metadata);
    Status::with_error_details(Code::InvalidArgument, message, details)
}
