//! Components by their digest: a record, and the bytes in chunks. The record is written last, so that what has one is
//! whole; chunks without one are written again by the next upload of the same bytes, or removed as garbage.
//!
//! Also where plugins run in the control plane: to judge settings, with the limits of the contract and nothing around.

use super::{
    record::{RECORDS, chunk_key, now, record_key},
    room::Room,
};
use crate::{
    failure::{internal, of_store},
    unreadable,
};
use bytes::Bytes;
use palisade_model::stored::Unreadable;
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

/// All records there are.
#[derive(Default)]
pub(super) struct Records {
    /// By digest, each with the revision that it was last written at.
    pub(super) readable: Vec<(Digest, Record, Revision)>,
    /// Those that cannot be read: their components are there, of whatever size.
    pub(super) unreadable: Vec<Unreadable>,
}

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
        let records = self.records().await?;
        let sizes = records.readable.iter().map(|(_, record, _)| record.size);
        // Nobody knows how long these are; they count at least.
        let unknown = records.unreadable.iter().map(|_| 0);
        self.room.judge(sizes.chain(unknown), size)
    }

    /// What is known of a component, and the revision that this was last written at; `None` if it is not stored.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` if its record cannot be read; the store's.
    pub(crate) async fn find(&self, digest: &Digest) -> Result<Option<(Record, Revision)>, Status> {
        let found = self.store.get(&record_key(digest), None).await;
        let Some(item) = found.map_err(of_store)? else {
            return Ok(None);
        };
        let (_, record) = Record::read(&item.key, &item.value)
            .map_err(|row| unreadable::refusal(&[row], "so nobody knows what the component is"))?;
        Ok(Some((record, item.modified)))
    }

    /// All records.
    pub(super) async fn records(&self) -> Result<Records, Status> {
        let mut records = Records::default();
        let mut scan = Scan::new(&*self.store, RECORDS);
        while let Some(items) = scan.next().await.map_err(of_store)? {
            for item in &items {
                match Record::read(&item.key, &item.value) {
                    Ok((digest, record)) => {
                        records.readable.push((digest, record, item.modified));
                    }
                    Err(row) => records.unreadable.push(row),
                }
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
        // What stands at the key by now was written by somebody else, and may be what this build cannot read.
        written.push(Compare::Absent(record_key(&digest)));
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
    pub(crate) async fn renew(
        &self,
        digest: &Digest,
        record: &Record,
        modified: Revision,
    ) -> Result<(), Status> {
        if record.unused_since.is_none() {
            return Ok(());
        }
        let renewed = Record {
            unused_since: Some(now()),
            ..record.clone()
        };
        let key = record_key(digest);
        let txn = Txn {
            compare: vec![Compare::ModifiedAt(key.clone(), modified)],
            then: vec![Op::Put(key, renewed.encode()?)],
        };
        match self.store.txn(txn).await.map_err(of_store)? {
            TxnOutcome::Committed { .. } => Ok(()),
            TxnOutcome::Failed { .. } => Err(Status::aborted("it changed just now; try again")),
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
        for index in 0..record.map_or(0, |(record, _)| record.chunks()) {
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
