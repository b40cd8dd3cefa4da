//! A control plane as its users meet it: real TLS on loopback, a real store, nodes that apply what they are sent.

mod author;
mod components;
mod explained;
mod flows;
#[path = "../../../plugins/host/tests/host/components.rs"]
mod guests;
mod harness;
mod kinds;
mod namespaces;
mod nodes;
mod plugins;
mod process;
mod refused;
mod resources;
mod security;
mod unreadable;
mod unreadable_law;
mod unsteady;
mod untracked;
