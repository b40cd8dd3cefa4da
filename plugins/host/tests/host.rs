//! The host against real components, built from source by these tests (`host/guests.rs`).

#[path = "host/guests.rs"]
mod guests;

#[path = "host/auditors.rs"]
mod auditors;
#[path = "host/code_cache.rs"]
mod code_cache;
#[path = "host/fixtures.rs"]
mod fixtures;
#[path = "host/matchers.rs"]
mod matchers;
#[path = "host/misbehaviour.rs"]
mod misbehaviour;
#[path = "host/refused.rs"]
mod refused;
#[path = "host/set_aside.rs"]
mod set_aside;
#[path = "host/template.rs"]
mod template;
