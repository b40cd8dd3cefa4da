//! Names of the items of a view. Cheap to clone; ordered as bytes.

use std::{fmt, sync::Arc};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps an id; ids are compared and ordered as bytes.
            pub fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id's text, shared.
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }
    };
}

text_id! {
    /// An endpoint: `hep/<name>` or `wep/<namespace>/<name>`.
    EndpointId
}
text_id! {
    /// A policy or profile: `gnp/<name>`, `np/<namespace>/<name>`, `profile/<name>`; staged kinds `sgnp/…`, `snp/…`.
    PolicyId
}
text_id! {
    /// A class, named by its content: 32 hex digits.
    ClassId
}
text_id! {
    /// A set: `s:<hex>` holds prefixes, `p:<hex>` holds (address, protocol, port).
    SetId
}
text_id! {
    /// A plugin: `plugin/<name>`.
    PluginId
}
text_id! {
    /// A tier's name.
    TierName
}
text_id! {
    /// A network interface's name, 1..=15 bytes.
    IfName
}

/// A rule of a policy, stable as long as owner, direction, content and occurrence are: 64 bits of a digest, never 0.
/// It is the log prefix of the rule and names its counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u64);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleId({self})")
    }
}
