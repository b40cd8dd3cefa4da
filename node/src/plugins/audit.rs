//! What happened, for those who watch: packets that rules denied or logged or that begin a flow, changes of policy,
//! faults of plugins.
//!
//! ```text
//! kernel ── NFLOG ──▶ [`thread`] ──▶ [`observe`] ─┐
//! reconciler, queue ─▶ [`bus`] ───────────────────┴▶ [`chain`] of auditors ─▶ [`sink`]s
//!                                                                          └▶ [`flows`] ─▶ control plane
//! ```
//!
//! Everything is bounded; what does not fit is counted and said to be lost. No packet waits for any of it. Without an
//! auditor in the view there is no thread and no rule logs here.

pub mod bus;
pub mod chain;
mod emit;
pub mod flows;
pub mod observe;
pub mod record;
pub mod sink;
pub mod thread;

pub use bus::Bus;
pub use emit::Emit;
