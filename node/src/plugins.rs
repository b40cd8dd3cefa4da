//! Plugins of the view held: from a digest to code that can be called.
//!
//! * [`crate::enforce::Wanted`] — which ones, with which settings: a function of the view;
//! * [`blobs`], [`fetch`] — their bytes, on disk and from the control plane;
//! * [`load`] — verified and compiled; [`keeper`] — the task that brings all of it about;
//! * [`loaded`] — what can be called now, and why the rest cannot; [`around`] — the node as a plugin sees it.
//!
//! Nothing here decides about a packet: a plugin that is not ready is a condition without an answer, and the rule's
//! failure policy decides. Without plugins in the view there is no engine, no thread and no file.

pub mod around;
pub mod audit;
pub mod bind_failures;
pub mod blobs;
pub mod fetch;
pub mod interface_names;
pub mod keeper;
pub mod load;
pub mod loaded;
pub mod queue;
pub mod supervisor;
