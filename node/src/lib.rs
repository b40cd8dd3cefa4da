//! The node daemon.
pub mod arguments;
pub mod backoff;
pub mod durable;
pub mod interfaces;
pub mod saved;
pub mod session;
