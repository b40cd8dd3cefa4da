//! Runs plugins: WebAssembly components that judge packets (matchers) or read what happened (auditors).
//!
//! The way of a plugin: bytes → [`verify`] → [`Verified`] → [`Host::load`] → [`Plugin`] → [`Plugin::with_settings`] →
//! [`Configured`] → one [`Matcher`] or [`Auditor`] for each worker. Every step refuses with a reason ([`Refusal`],
//! [`Problem`]), every call ends within its [`Limits`] or with a [`Fault`], and no fault of a plugin is a fault of the
//! host.
//!
//! The same crate serves the control plane (verify, validate settings), the node (run) and `palisadectl` (test), so that
//! all judge alike. It opens no file but those of its compiled-code [`Cache`], gives a plugin no file, socket, variable
//! or clock, and has `unsafe` in one place, where compiled code is loaded.
//!
//! No type of the engine appears in these doors.

#![deny(unsafe_code)]

mod auditor;
mod bindings;
mod cache;
mod configured;
mod console;
mod digest;
mod engine;
mod fault;
pub mod fixture;
mod guest;
mod health;
mod limits;
mod manifest;
mod matcher;
mod memory;
pub mod packet;
mod plugin;
mod problem;
mod state;
mod surroundings;
pub mod template;
mod verify;
mod wasi;
mod worker;

pub use auditor::{
    Action, Amendment, Auditor, Body, Event, Field, Flow, Last, Outcome, Part, Parts, Phase,
};
pub use cache::{Cache, CacheError};
pub use configured::{Configured, Options, Status};
pub use digest::{Digest, DigestError};
pub use engine::{Host, HostConfig, HostError};
pub use fault::{Fault, FaultKind};
pub use health::{BackOff, Condition};
pub use limits::{Budget, Ceilings, Limits};
pub use manifest::{KeyPart, Manifest, OnFault};
pub use matcher::{Answer, EndpointId, InterfaceId, Matcher, Packet, RuleId, Way};
pub use plugin::Plugin;
pub use problem::{Problem, SettingsError};
pub use surroundings::{Endpoint, Isolated, Level, Rule, Severity, SinkError, Surroundings};
pub use verify::{Kind, Kinds, MAX_SIZE, Refusal, Verified, verify};
