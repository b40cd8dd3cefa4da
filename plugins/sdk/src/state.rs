//! Bounded memory that outlives an instance, shared by all instances of the plugin with the same settings on one node.

pub use crate::__bindings::settings::palisade::plugin::state::{StateError, get, increment, put};
