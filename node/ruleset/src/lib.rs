//! The ruleset of a node: what the kernel's tables should hold, as plain data.
//!
//! * [`ir`] — tables, chains, rules, sets and maps, closed over exactly what Palisade emits;
//! * [`lower`] — a view becomes a ruleset, by the table of stages;
//! * [`plugins`] — what plugins are asked about a packet, and in which bits they answer;
//! * [`plan`] — the ordered steps of a change, cut into kernel transactions;
//! * [`diff`] — the plan from what is to what should be, [`apply`] its reference model, [`patch`] the short way for
//!   members of sets and rules of policies;
//! * [`text`] — a ruleset as `nft -f` reads it;
//! * [`interpret`] — what the kernel will do with a packet, and by which rules.
//!
//! Pure: no IO, no clock, no netlink. `palisade-netfilter` encodes and reads back; nothing here knows how.

#![forbid(unsafe_code)]

pub mod apply;
pub mod diff;
pub mod interpret;
pub mod ir;
pub mod lower;
pub mod patch;
pub mod plan;
pub mod plugins;
mod reference;
mod stage;
pub mod text;

pub use self::{
    apply::apply,
    diff::diff,
    interpret::judge,
    lower::{lower, lower_without_queue},
    patch::{lower_change, lower_members},
};
