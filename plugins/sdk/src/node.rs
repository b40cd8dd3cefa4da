//! What a plugin may ask of its node, and tell it.
//!
//! Ids of endpoints, interfaces and rules are opaque; what was looked up may be remembered until [`generation`] changes.

pub use crate::__bindings::settings::palisade::plugin::host::{Level, count, log, observe};
pub use crate::__bindings::settings::palisade::plugin::inventory::{
    Endpoint, Rule, describe, describe_rule, generation, interface_name, label, set_contains,
};
