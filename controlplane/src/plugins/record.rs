//! What is known of a stored component, and where it is kept: its record under `/p/<hex>`, its bytes under
//! `/b/<hex>/<index>`.

use crate::failure::internal;
use bytes::Bytes;
use jiff::Timestamp;
use palisade_model::stored::{self, Unreadable};
use palisade_plugin_host::{Digest, Kind, Verified};
use serde::{Deserialize, Serialize};
use tonic::Status;

/// Bytes of a stored chunk; the last may be shorter.
pub(crate) const CHUNK: u64 = 256 << 10;
/// Under it are all records.
pub(crate) const RECORDS: &str = "/p/";
/// Under it are all bytes.
pub(super) const CHUNKS: &str = "/b/";

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
    /// Since when no resource is known to name it, or when it was last uploaded while none did: seconds since 1970.
    pub(crate) unused_since: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredRecord {
    size: u64,
    matcher: bool,
    auditor: bool,
    name: String,
    version: String,
    description: String,
    sinks: Vec<String>,
    stored: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unused_since: Option<u64>,
}

// === impl Record ===

impl Record {
    pub(super) fn of(verified: &Verified) -> Self {
        let manifest = verified.manifest();
        Self {
            size: verified.bytes().len() as u64,
            kinds: verified.kinds().iter().collect(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            description: manifest.description.clone(),
            sinks: manifest.sinks.clone(),
            stored: now(),
            unused_since: Some(now()),
        }
    }

    /// How many chunks its bytes are in.
    pub(super) fn chunks(&self) -> u64 {
        self.size.div_ceil(CHUNK)
    }

    pub(super) fn encode(&self) -> Result<Bytes, Status> {
        let row = StoredRecord {
            size: self.size,
            matcher: self.kinds.contains(&Kind::Matcher),
            auditor: self.kinds.contains(&Kind::Auditor),
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            sinks: self.sinks.clone(),
            stored: self.stored,
            unused_since: self.unused_since,
        };
        stored::encode(&row)
            .map(Into::into)
            .map_err(|error| internal("cannot encode a component's record", &error))
    }

    /// Reads the record at a key, and the digest that the key names.
    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<(Digest, Self), Unreadable> {
        let row: StoredRecord = stored::read_record(key, value)?;
        let hex = std::str::from_utf8(key).ok();
        let hex = hex.and_then(|key| key.strip_prefix(RECORDS));
        let digest = hex.and_then(|hex| format!("sha256:{hex}").parse().ok());
        let digest =
            digest.ok_or_else(|| Unreadable::new(key, "its key is not that of a component"))?;
        let kinds = [(Kind::Matcher, row.matcher), (Kind::Auditor, row.auditor)];
        let kinds = kinds.into_iter().filter(|(_, has)| *has);
        let record = Self {
            size: row.size,
            kinds: kinds.map(|(kind, _)| kind).collect(),
            name: row.name,
            version: row.version,
            description: row.description,
            sinks: row.sinks,
            stored: row.stored,
            unused_since: row.unused_since,
        };
        Ok((digest, record))
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

pub(super) fn hex(digest: &Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").to_owned()
}

pub(super) fn record_key(digest: &Digest) -> Bytes {
    format!("{RECORDS}{}", hex(digest)).into()
}

pub(super) fn chunk_key(digest: &Digest, index: u64) -> Bytes {
    format!("{CHUNKS}{}/{index:04}", hex(digest)).into()
}
