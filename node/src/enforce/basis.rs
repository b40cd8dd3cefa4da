//! What a verdict follows from, taken from the enforcing thread at one moment, so that packets are judged elsewhere.

use palisade_policy::{
    packet::Environment,
    view::{Position, View},
};

/// View, machine, and what is not certain about them. Items of the view are shared, so this is cheap to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Basis {
    /// The view that is acknowledged, and its position; if there is none, what stands instead.
    pub view: Result<(View, Position), String>,
    /// The machine as the ruleset takes it into account.
    pub environment: Environment,
    /// Why the kernel may do something else than this view says, one sentence each.
    pub caveats: Vec<String>,
}
