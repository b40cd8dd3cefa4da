//! Compiled policy of one node: the validated twin of `palisade.v1` policy messages.
//!
//! The control plane's compiler produces these types, the node enforces them, and the evaluator judges packets by
//! them. Past this door no string is an address, a port or a prefix: everything was parsed once, here.
//!
//! * [`ids`], [`rule`], [`class`], [`endpoint`], [`config`], [`set`], [`plugin`] — what a view is made of;
//! * [`view`] — the whole of it, and its position in time;
//! * [`packet`] — facts about a packet and about the machine it travels through;
//! * [`item`], [`digest`], [`wire`], [`fault`] — its items as addressed, hashed, encoded and refused;
//! * [`delta`], [`table`], [`members`], [`frame`] — change: what a node holds, what the control plane sends;
//! * [`resolve`], [`rule_id`], [`evaluate`] — who governs an interface, names of all that decides, and verdicts;
//! * [`explain`] — from a question about a packet to the answer, as control plane and node give it.
//!
//! Pure: no IO, no clock, no async.

#![forbid(unsafe_code)]

pub mod check;
pub mod class;
pub mod config;
pub mod delta;
pub mod digest;
pub mod endpoint;
pub mod evaluate;
pub mod explain;
pub mod fault;
pub mod frame;
pub mod ids;
pub mod item;
pub mod members;
pub mod packet;
pub mod plugin;
pub mod resolve;
pub mod rule;
pub mod rule_id;
pub mod set;
pub mod table;
pub mod view;
pub mod wire;
