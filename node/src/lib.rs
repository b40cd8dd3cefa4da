//! The node daemon: takes the compiled policy of its node from the control plane, and keeps the kernel in agreement.
//!
//! Each folder is a room, and imports only rooms that stand above it here:
//!
//! * [`enforce`] — the one owner of kernel state: saved views, links and addresses, transactions, repairs;
//! * [`plugins`] — WebAssembly plugins, and the threads that ask them: packets in a queue, events for auditors;
//! * [`observe`] — what others are told;
//! * [`link`] — the control plane: certificate, stream;
//! * [`local`], [`guard`], [`purge`] — what this host's own people ask for;
//! * [`run`] — what starts when.
//!
//! Beside them: [`condition`], [`metrics`], [`backoff`], [`durable`], [`cause`], [`clock`], [`log`], `readiness`, [`service_manager`] and [`wake`], which import none.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod backoff;
pub mod cause;
pub mod clock;
pub mod condition;
pub mod durable;
pub mod enforce;
pub mod guard;
pub mod link;
pub mod local;
pub mod log;
pub mod metrics;
pub mod observe;
pub mod plugins;
pub mod purge;
mod readiness;
pub mod run;
pub mod service_manager;
pub mod wake;
