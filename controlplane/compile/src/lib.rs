//! From resources to the compiled view of a node.
//!
//! Owns what a set of resources means for a node (specification §2–§4) and refuses to own how it is stored, sent or
//! enforced. Two ways to the same views: [`compile`], from scratch, and [`Compiler`], which keeps what it knows between
//! changes. Views are functions of the present resources, whatever came before (law a), and the two ways agree after
//! every change (law b). Pure: no IO, no clock.

#![forbid(unsafe_code)]

mod config;
mod endpoint;
mod exempt;
mod incremental;
mod lower;
mod object;
mod order;
mod plugin;
mod policy;
mod profile;
mod reach;
mod scratch;
mod selectors;
mod set;
mod world;

pub use exempt::behind_failsafes;
pub use incremental::{Affected, Compiler, NodeView};
pub use object::effective_labels;
pub use policy::policy_subject;
pub use reach::{Reach, reach};
pub use scratch::compile;
pub use world::World;
