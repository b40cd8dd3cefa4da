//! What others are told of this node: the report to the control plane, and HTTP for the machine itself.

pub mod http;
pub mod report;
