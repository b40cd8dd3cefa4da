//! The kernel side of the node: a plan becomes one netlink transaction, and what the kernel holds becomes a ruleset again.
//!
//! * [`Netfilter::commit`] — one plan, one batch, one `sendto`: everything or nothing; refusals name the operation;
//! * [`Netfilter::read`] — all of our tables as a [`palisade_ruleset::ir::Ruleset`];
//! * [`Netfilter::read_touched`] — only what a plan touched, by name, with the generation it was true at;
//! * [`Netfilter::own`] — our tables, out of reach of others;
//! * [`Monitor`] — who changed nf_tables, and whether our tables were meant;
//! * [`Volatile`] — elements with a time-out, written beside all plans: heartbeat and remembered answers;
//! * [`queue`] — packets that rules queue, and what becomes of them;
//! * [`nflog`] — packets that rules log;
//! * [`Links`] — links and their addresses, whole or not at all, and notice that they may have changed;
//! * [`Netfilter::probe`] — what this kernel can do, found out without leaving a trace.
//!
//! Refuses to own: what the rules should be (`palisade-ruleset`), when to write them (the daemon).
//! The only crate of the node with `unsafe`: calls into libnftnl and libmnl, and socket options.

mod commit;
mod decode;
mod encode;
mod error;
mod holder;
mod kernel;
mod message;
mod monitor;
mod native;
pub mod nflog;
mod nfnetlink;
mod ownership;
mod passed;
mod probe;
mod program;
pub mod queue;
mod read;
mod request;
mod route;
mod socket;
mod support;
mod volatile;
mod writer;

pub use commit::{Committed, Netfilter};
pub use error::{CommitError, Failure, Mismatch, ReadError, Unfit};
pub use monitor::{Event, Monitor};
pub use ownership::OwnError;
pub use passed::passed;
pub use probe::Feature;
pub use route::{Link, LinkMaster, Links};
pub use support::{OldKernel, old_kernel};
pub use volatile::{PutError, Remembered, Tag, Volatile};
pub use writer::Writer;
