//! Against the real kernel, each test in a network namespace of its own.

mod change;
mod everything;
mod foreign;
mod namespace;
mod neighbours;
mod ownership;
mod packets;
mod queue;
mod raw;
mod refusal;
mod round_trip;
mod stages;
