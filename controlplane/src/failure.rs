//! What the store refuses, as gRPC says it.

use palisade_store::StoreError;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A store's error as a status.
pub(crate) fn of_store(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { oldest } => {
            let metadata = HashMap::from([("oldest".to_owned(), oldest.to_string())]);
            let details = ErrorDetails::with_error_info("COMPACTED", "palisade.dev", metadata);
            Status::with_error_details(Code::OutOfRange, error.to_string(), details)
        }
        StoreError::Future { .. } => Status::out_of_range(error.to_string()),
        StoreError::Invalid { .. } => Status::resource_exhausted(error.to_string()),
        StoreError::Unavailable { .. } => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "store unavailable"
            );
            Status::unavailable(error.to_string())
        }
        StoreError::Closed => Status::unavailable(error.to_string()),
    }
}

/// Someone else was faster too often.
pub(crate) fn contended() -> Status {
    Status::aborted("the resource kept changing meanwhile; try again")
}

/// Something of ours that cannot be: logged in full, told in brief.
pub(crate) fn internal(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error, "{what}");
    Status::internal(what)
}
