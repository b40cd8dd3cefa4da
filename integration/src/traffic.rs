//! Real packets: servers that answer, probes that ask, connections that stay open.
//!
//! Judges nothing. A probe says what arrived; whether that is right is for the caller.

pub mod connection;
mod craft;
pub mod datagram;
pub mod probe;
pub mod responder;
mod sctp;
mod socket;

/// What one sender puts into a packet, so that its answer cannot be mistaken for another's.
fn token() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}.{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What a sender sends. Marked apart from answers, so that two stations never answer each other for ever.
fn question(token: &str) -> String {
    format!("ask {token}\n")
}

/// What the station of that name answers.
fn answer(station: &str, token: &str) -> String {
    format!("got {station} {token}\n")
}

/// The token of a question, or `None` for anything else.
fn asked(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()?
        .strip_prefix("ask ")?
        .strip_suffix('\n')
}
