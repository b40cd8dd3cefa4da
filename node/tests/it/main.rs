//! The enforcer against a model of the kernel, and against a real one; certificates against a real authority.

mod kernel;
mod model;
mod renewal;
mod view;
