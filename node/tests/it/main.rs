//! The enforcer against a model of the kernel, and against a real one.

mod kernel;
mod model;
mod view;
