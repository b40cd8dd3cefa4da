//! Tables, chains, rules, sets and maps of nftables, closed over exactly what Palisade emits.
//!
//! Every expression has one meaning, one nft text and one encoding; two equal values are the same in the kernel, so
//! that what was read back can be compared with what is desired.

use palisade_policy::{
    ids::{IfName, RuleId},
    rule::{Family, PortRange, Protocol},
    view::Position,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

mod expression;
mod set;

pub use expression::{End, Expression, IcmpTest, Key, LogTo, Rule, Side, State, Verdict};
pub use set::{Element, Map, Set, Shape, Value};

/// Our tables, all in family inet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TableName {
    /// Normal and forward lists.
    Main,
    /// Untracked and pre-DNAT lists.
    Raw,
    /// Boot and quarantine.
    Guard,
}

impl TableName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Main, Self::Raw, Self::Guard];

    /// The name in the kernel.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "palisade",
            Self::Raw => "palisade-raw",
            Self::Guard => "palisade-guard",
        }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name; at most 127 bytes of `[A-Za-z0-9_-]`.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name in the kernel.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A chain: a stage's name for base chains, `<role>_<32 hex>` for immutable ones.
    ChainName
}
name! {
    /// A set or map; they share one namespace within a table.
    SetName
}

/// Where a base chain hangs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To a local process.
    Input,
    /// Through the host.
    Forward,
    /// From a local process.
    Output,
    /// After routing.
    Postrouting,
}

/// Makes a chain a base chain: type filter, policy accept (its rules end in an explicit verdict).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Base {
    /// Where.
    pub hook: Hook,
    /// When, among the base chains of the hook.
    pub priority: i32,
}

/// A chain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chain {
    /// Present: a base chain.
    pub base: Option<Base>,
    /// In order. Shared: immutable chains are compared and kept by pointer.
    pub rules: Arc<Vec<Rule>>,
}

/// One table of ours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    /// Base chains and regular ones.
    pub chains: BTreeMap<ChainName, Chain>,
    /// Membership sets.
    pub sets: BTreeMap<SetName, Arc<Set>>,
    /// Verdict maps.
    pub maps: BTreeMap<SetName, Arc<Map>>,
}

/// Everything of ours in the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ruleset {
    /// Only tables that exist.
    pub tables: BTreeMap<TableName, Table>,
}

/// Names that the node looks for in the kernel.
pub mod names {
    use super::{Protocol, SetName};

    /// The set in the main table whose one element is the position that the kernel enforces.
    /// (`position` itself is a keyword of nft, which then could not read what it lists.)
    pub const POSITION: &str = "enforced_position";

    /// The volatile set in the main table that has the families while a daemon answers for plugins: the heartbeat.
    pub const PLUGIN_ALIVE: &str = "plugin_alive";

    /// In front of names of volatile sets of remembered answers: flows for which a condition holds, by family.
    pub const MATCH: [&str; 2] = ["match4_", "match6_"];
    /// The same, of flows for which it does not.
    pub const NO_MATCH: [&str; 2] = ["nomatch4_", "nomatch6_"];
    /// Those of [`MATCH`] whose flows are told apart by source port, too.
    pub const SOCKET_MATCH: [&str; 2] = ["match4s_", "match6s_"];
    /// Those of [`NO_MATCH`] whose flows are told apart by source port, too.
    pub const SOCKET_NO_MATCH: [&str; 2] = ["nomatch4s_", "nomatch6s_"];

    /// The volatile set of tags: marks with which a running daemon sends packets back, upper bits of them.
    pub const TAGS: &str = "tags";
    /// The volatile map from the mark of a packet to the tag that stands for it.
    pub const TAG_OF: &str = "tag_of";
    /// The volatile map from a tag to the mark that it stands for.
    pub const RESTORE: &str = "restore";

    /// The map of wider ranges of a protocol beside the map of single ports with this name; `None`: it is another map.
    pub(crate) fn ranges_beside(ports: &SetName, protocol: Protocol) -> Option<SetName> {
        let frame = ports.as_str().strip_prefix("port_")?;
        Some(SetName::new(format!("range{}_{frame}", protocol.0)))
    }

    /// Whether a set of this name is volatile, if it is ours.
    pub fn is_volatile(name: &str) -> bool {
        let mut remembered = [MATCH, NO_MATCH, SOCKET_MATCH, SOCKET_NO_MATCH]
            .into_iter()
            .flatten();
        [PLUGIN_ALIVE, TAGS, TAG_OF, RESTORE].contains(&name)
            || remembered.any(|prefix| name.starts_with(prefix))
    }
}
