//! The enforcer against a model of the kernel, and against a real one; certificates against a real authority.

mod bound;
mod disk;
mod guests;
mod interfaces;
mod kernel;
mod link;
mod matchers;
mod model;
mod modules;
mod namespace;
mod plugins;
mod renewal;
mod saved;
mod sequences;
mod view;
