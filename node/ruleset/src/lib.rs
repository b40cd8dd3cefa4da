//! The ruleset of a node: what the kernel's tables should hold, as plain data.
//!
//! * [`ir`] — tables, chains, rules, sets and maps, closed over exactly what Palisade emits;
//! * [`plan`] — the ordered steps of one kernel transaction.
//!
//! Pure: no IO, no clock, no netlink. `palisade-netfilter` encodes and reads back; nothing here knows how.

#![forbid(unsafe_code)]

pub mod ir;
pub mod plan;
