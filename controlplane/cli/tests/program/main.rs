//! The program against a control plane of this process: what an operator types, and what comes back.

mod harness;
mod plugins;
mod unreadable;
mod workflow;
