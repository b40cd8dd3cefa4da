//! The node daemon: takes the compiled policy of its node from the control plane, and keeps the kernel in agreement.
//!
//! * [`run`] — what starts when;
//! * [`sync`], [`session`] — the stream, and its protocol as a state machine;
//! * [`reconcile`] — the one owner of kernel state; [`saved`] — the last good view on disk;
//! * [`plugins`], [`queue`], [`audit`], [`crew`] — plugins, and the threads that ask them; [`unbound`] — what those could not have;
//! * [`interfaces`], [`machine`] — links and addresses; [`servers`], [`connect`], [`certificate`] — the control plane and who we are to it;
//! * [`http`], [`metrics`], [`report`] — what others are told.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod audit;
pub mod backoff;
pub mod certificate;
pub mod connect;
pub mod crew;
pub mod durable;
pub mod http;
pub mod interfaces;
pub mod inventory;
pub mod machine;
pub mod metrics;
pub mod names;
pub mod plugins;
pub mod queue;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod saved;
pub mod servers;
pub mod session;
pub mod sync;
pub mod unbound;
pub mod wake;
