//! Components by their digest: a record under `/p/<hex>`, the bytes under `/b/<hex>/<index>`. The record is written last,
//! so that what has one is whole; chunks without one are written again by the next upload of the same bytes.
//!
//! Also where plugins run in the control plane: to judge settings, with the limits of the contract and nothing around.

use crate::failure::{internal, of_store};
use bytes::Bytes;
use jiff::Timestamp;
use palisade_plugin_host::{
    Digest, Host, HostConfig, HostError, Kind, Plugin, Refusal, SettingsError, Verified, verify,
};
use palisade_store::{Op, Store, Txn};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Bytes of a stored chunk; the last may be shorter.
pub(crate) const CHUNK: u64 = 256 << 10;
/// Chunks written in one transaction.
const BATCH: usize = 16;
/// Records read at once.
const PAGE: usize = 500;
/// Plugins kept compiled; beyond, all are compiled anew when they are needed.
const LOADED: usize = 32;

const RECORDS: &str = "/p/";

/// What is known of a stored component.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Bytes.
    pub(crate) size: u64,
    /// At least one.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    /// Names of sinks that it emits to.
    pub(crate) sinks: Vec<String>,
    /// Seconds since 1970.
    pub(crate) stored: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRecord {
    size: u64,
    matcher: bool,
    auditor: bool,
    name: String,
    version: String,
    description: String,
    sinks: Vec<String>,
    stored: u64,
}

/// What settings are judged by: the component, and the settings as canonical JSON.
pub(crate) type Question = (Digest, String);

/// The stored components.
pub struct Components {
    store: Arc<dyn Store>,
    host: Host,
    loaded: Mutex<HashMap<Digest, Plugin>>,
}

// === impl Components ===

impl Components {
    /// In this store.
    ///
    /// # Errors
    /// WebAssembly does not run here.
    pub fn new(store: Arc<dyn Store>) -> Result<Self, HostError> {
        Ok(Self {
            store,
            host: Host::new(HostConfig::default())?,
            loaded: Mutex::default(),
        })
    }

    /// What is known of a component; `None` if it is not stored.
    pub(crate) async fn find(&self, digest: &Digest) -> Result<Option<Record>, Status> {
        let found = self.store.get(&record_key(digest), None).await;
        let found = found.map_err(of_store)?;
        found.map(|item| Record::decode(&item.value)).transpose()
    }

    /// All records, by digest.
    pub(crate) async fn list(&self) -> Result<Vec<(Digest, Record)>, Status> {
        let mut records = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .store
                .range(RECORDS.as_bytes(), after.as_deref(), PAGE, None);
            let page = page.await.map_err(of_store)?;
            for item in &page.items {
                let hex = std::str::from_utf8(&item.key).unwrap_or_default();
                let hex = hex.trim_start_matches(RECORDS);
                let digest = format!("sha256:{hex}").parse::<Digest>();
                let digest = digest.map_err(|error| internal("a record's key is wrong", &error))?;
                records.push((digest, Record::decode(&item.value)?));
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more || after.is_none() {
                return Ok(records);
            }
        }
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
        let (verified, plugin) = judged.map_err(|refusal| refused(&refusal))?;
        let record = Record::of(&verified);
        for (batch, chunks) in chunked(verified.bytes()).chunks(BATCH).enumerate() {
            let ops = chunks.iter().enumerate().map(|(index, chunk)| {
                let index = (batch * BATCH + index) as u64;
                Op::Put(chunk_key(&digest, index), Bytes::copy_from_slice(chunk))
            });
            let txn = Txn::unconditional(ops.collect());
            self.store.txn(txn).await.map_err(of_store)?;
        }
        let put = Op::Put(record_key(&digest), record.encode()?);
        let txn = Txn::unconditional(vec![put]);
        self.store.txn(txn).await.map_err(of_store)?;
        self.remember(digest, plugin);
        Ok(record)
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
        let size = record.map_or(0, |record| record.size);
        let mut bytes = Vec::new();
        for index in 0..size.div_ceil(CHUNK) {
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

// === impl Record ===

impl Record {
    fn of(verified: &Verified) -> Self {
        let manifest = verified.manifest();
        Self {
            size: verified.bytes().len() as u64,
            kinds: verified.kinds().iter().collect(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            description: manifest.description.clone(),
            sinks: manifest.sinks.clone(),
            stored: u64::try_from(Timestamp::now().as_second()).unwrap_or_default(),
        }
    }

    fn encode(&self) -> Result<Bytes, Status> {
        let stored = StoredRecord {
            size: self.size,
            matcher: self.kinds.contains(&Kind::Matcher),
            auditor: self.kinds.contains(&Kind::Auditor),
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            sinks: self.sinks.clone(),
            stored: self.stored,
        };
        serde_json::to_vec(&stored)
            .map(Into::into)
            .map_err(|error| internal("cannot encode a component's record", &error))
    }

    fn decode(value: &[u8]) -> Result<Self, Status> {
        let stored: StoredRecord = serde_json::from_slice(value)
            .map_err(|error| internal("cannot read a component's record", &error))?;
        let kinds = [
            (Kind::Matcher, stored.matcher),
            (Kind::Auditor, stored.auditor),
        ];
        let kinds = kinds.into_iter().filter(|(_, has)| *has);
        Ok(Self {
            size: stored.size,
            kinds: kinds.map(|(kind, _)| kind).collect(),
            name: stored.name,
            version: stored.version,
            description: stored.description,
            sinks: stored.sinks,
            stored: stored.stored,
        })
    }
}

fn chunked(bytes: &[u8]) -> Vec<&[u8]> {
    let length = usize::try_from(CHUNK).unwrap_or(usize::MAX);
    bytes.chunks(length).collect()
}

fn hex(digest: &Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").to_owned()
}

fn record_key(digest: &Digest) -> Bytes {
    format!("{RECORDS}{}", hex(digest)).into()
}

fn chunk_key(digest: &Digest, index: u64) -> Bytes {
    format!("/b/{}/{index:04}", hex(digest)).into()
}

/// Why a component is refused, and what to do about it.
fn refused(refusal: &Refusal) -> Status {
    let metadata = HashMap::from([("fix".to_owned(), refusal.fix())]);
    let details = ErrorDetails::with_error_info("COMPONENT", "palisade.dev", metadata);
    let message = format!("{refusal}: {}", refusal.fix());
    Status::with_error_details(Code::InvalidArgument, message, details)
}
