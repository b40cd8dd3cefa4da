//! Why a store refuses. A variant is what the caller can do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Revision;

/// Why an operation on an open store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The request breaks a limit every engine has; correct it.
    #[error("invalid store request: {reason}")]
    Invalid {
        /// Which limit.
        reason: &'static str,
    },
    /// That revision's history is gone; list again and go on from there.
    #[error("the history before revision {oldest} was compacted")]
    Compacted {
        /// The oldest revision still readable, and the oldest a watch can start after.
        oldest: Revision,
    },
    /// The store has not reached that revision: it was learnt from another store, or another life of this one.
    #[error("revision {requested} is in the future; the store is at {current}")]
    Future {
        /// What was asked for.
        requested: Revision,
        /// Where the store is.
        current: Revision,
    },
    /// The store takes no writes, or cannot be read; an operator must act. Of a write that meets the first failure it
    /// is unknown whether it happened; it is not shown until the store is opened again.
    #[error("the store is unavailable")]
    Unavailable {
        /// What the engine said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the store open.
    #[error("the store `{path}` is in use by another process")]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is not a Palisade store; it was left as it is.
    #[error("the file `{path}` is not a palisade store")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The store was written by a version of Palisade with another layout.
    #[error("the store `{path}` has layout `{found}`, this build reads `{expected}`")]
    Layout {
        /// The store's file.
        path: PathBuf,
        /// The layout it has.
        found: String,
        /// The layout this build has.
        expected: &'static str,
    },
    /// The file could not be opened, read or created.
    #[error("cannot open the store `{path}`")]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The engine refused the file: it is damaged.
    #[error("the store `{path}` is damaged")]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
