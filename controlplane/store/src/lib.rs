//! Revisioned key-value store: the [`Store`] trait and its embedded engine.
//!
//! This crate knows keys and bytes. It refuses to know kinds, JSON, labels or policy; what a key means is the control
//! plane's business. One store has one `u64` revision, and every transaction that changes something adds one to it.
//!
//! The law kept here: a transaction is durable before it is acknowledged, and before any watch shows it.
#![forbid(unsafe_code)]

mod embedded;
mod error;
mod key_value;
mod scan;
mod store;
mod txn;
mod watch;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use embedded::{EmbeddedStore, Retention};
pub use error::{OpenError, StoreError};
pub use key_value::{KeyValue, Page, Revision};
pub use scan::Scan;
pub use store::{Lease, Store, StoreIdentity};
pub use txn::{Compare, MAX_KEY, MAX_OPS, MAX_VALUE, Op, Txn, TxnOutcome};
pub use watch::{Batch, Change, Event, WatchStream};
