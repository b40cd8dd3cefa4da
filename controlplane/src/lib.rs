//! The control plane: store, compiler task, hub, gRPC services.
//!
//! * [`config`], [`server`], [`bootstrap`] — how it starts and ends;
//! * [`tls`], [`access`] — who comes in, and what each may do;
//! * [`resources`] — what users write, validated and stored;
//! * [`compiler`] — from the store's changes to views;
//! * [`hub`], [`session`], [`node_sync`] — from views to nodes; `session` is pure;
//! * [`enrollment`], [`tokens`] — how a machine becomes a node;
//! * [`plugins`], [`flows`] — components for nodes, records from nodes;
//! * [`namespaces`] — what orchestrators register;
//! * [`observe`], [`analysis`], [`http`] — what is so, and why;
//! * [`unreadable`], [`store_service`] — rows of the store that this build cannot read.
#![forbid(unsafe_code)]

pub mod access;
pub mod analysis;
pub mod bootstrap;
pub mod compiler;
pub mod config;
pub mod enrollment;
mod failure;
pub mod flows;
pub mod http;
pub mod hub;
pub mod namespaces;
pub mod node_sync;
pub mod observe;
pub mod plugins;
pub mod resources;
pub mod server;
pub mod session;
pub mod store_service;
pub mod tls;
pub mod tokens;
pub mod unreadable;
