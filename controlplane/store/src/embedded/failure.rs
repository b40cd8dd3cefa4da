//! What can go wrong between this engine and redb, before it becomes a [`StoreError`].

use std::sync::Arc;

use crate::StoreError;

/// A refusal for the caller, or a failure of the engine (which makes the store read-only).
#[derive(Debug)]
pub(super) enum Failure {
    Refused(StoreError),
    Engine(Arc<redb::Error>),
}

// === impl Failure ===

impl Failure {
    pub(super) fn damaged(what: &str) -> Self {
        Self::Engine(Arc::new(redb::Error::Corrupted(what.to_owned())))
    }

    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Engine(source) => StoreError::Unavailable { source },
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

macro_rules! engine_failure {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Engine(Arc::new(error.into()))
            }
        }
    )*};
}

engine_failure!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);
