//! Compiled policy of one node: the validated twin of `palisade.v1` policy messages.
//!
//! The control plane's compiler produces these types, the node enforces them, and the evaluator judges packets by
//! them. Past this door no string is an address, a port or a prefix: everything was parsed once, here.
//!
//! * [`ids`], [`rule`], [`class`], [`endpoint`], [`config`], [`set`] — what a view is made of;
//! * [`view`] — the whole of it, and its position in time;
//! * [`packet`] — facts about a packet and about the machine it travels through.
//!
//! Pure: no IO, no clock, no async.

#![forbid(unsafe_code)]

pub mod class;
pub mod config;
pub mod endpoint;
pub mod ids;
pub mod packet;
pub mod rule;
pub mod set;
pub mod view;
