//! The contract of Palisade: `palisade.v1` messages and, behind features, their gRPC stubs.
//!
//! Messages and stubs are generated from `palisade/v1/*.proto`; the meaning of every message is documented there.
//! Written by hand is how records of what happened and explanations are said as JSON and as text, behind a feature.
//! This crate owns no rules of its own: what a message must satisfy is checked by `palisade-policy` (compiled
//! policy) and `palisade-model` (resources).

/// `palisade`: the packages of this product.
pub mod palisade {
    /// `palisade.v1`: resources, policy, sync, enrolment, tokens, observe, analysis, namespaces, plugins, flows, store.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        rustdoc::all,
        reason = "generated; the proto files carry the documentation"
    )]
    pub mod v1 {
        include!("generated/palisade.v1.rs");
    }
}

pub use palisade::v1;

#[cfg(feature = "json")]
pub mod explained;
#[cfg(feature = "json")]
pub mod line;

/// `google.rpc`: the error model.
pub mod google {
    /// `google.rpc.Status`.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated; the proto files carry the documentation"
    )]
    pub mod rpc {
        include!("generated/google.rpc.rs");
    }
}

/// The descriptor set of every file, for gRPC reflection and for tests that walk all methods.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
