//! Where an auditor's own records go: to a sink that the Plugin resource declares, by name.

pub use crate::__bindings::settings::palisade::plugin::sinks::{Severity, SinkError, emit};
