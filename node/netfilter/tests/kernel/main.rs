//! Against the real kernel, each test in a network namespace of its own.

mod everything;
mod namespace;
mod round_trip;
