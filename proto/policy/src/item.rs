//! Names of a view's items: what digests, deltas, inventories and refusals speak of.

use crate::ids::{ClassId, EndpointId, PluginId, PolicyId, SetId};
use std::{fmt, sync::Arc};

/// The kind of an item. The numbers are those of `palisade.v1.ItemKind` and enter the digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ItemKind {
    /// `NodeConfig`; exactly one, named `default`.
    Config = 1,
    /// An endpoint.
    Endpoint = 2,
    /// A class.
    Class = 3,
    /// A policy or profile.
    Policy = 4,
    /// A set.
    Set = 5,
    /// A plugin.
    Plugin = 6,
}

impl ItemKind {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Config => 1,
            Self::Endpoint => 2,
            Self::Class => 3,
            Self::Policy => 4,
            Self::Set => 5,
            Self::Plugin => 6,
        }
    }

    /// `None`: unspecified, or of a newer version.
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Config),
            2 => Some(Self::Endpoint),
            3 => Some(Self::Class),
            4 => Some(Self::Policy),
            5 => Some(Self::Set),
            6 => Some(Self::Plugin),
            _ => None,
        }
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Endpoint => "endpoint",
            Self::Class => "class",
            Self::Policy => "policy",
            Self::Set => "set",
            Self::Plugin => "plugin",
        })
    }
}

/// Address of an item within a view. Ordered by kind, then by id as bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ItemId {
    /// Its kind.
    pub kind: ItemKind,
    /// Its id within the kind.
    pub id: Arc<str>,
}

impl ItemId {
    /// The id of the only config item.
    pub const CONFIG: &'static str = "default";

    /// Names an item.
    pub fn new(kind: ItemKind, id: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }

    /// The config item.
    pub fn config() -> Self {
        Self::new(ItemKind::Config, Self::CONFIG)
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.id)
    }
}

macro_rules! item_of {
    ($id:ident, $kind:ident) => {
        impl From<&$id> for ItemId {
            fn from(id: &$id) -> Self {
                Self::new(ItemKind::$kind, id.shared())
            }
        }
    };
}

item_of!(EndpointId, Endpoint);
item_of!(ClassId, Class);
item_of!(PolicyId, Policy);
item_of!(SetId, Set);
item_of!(PluginId, Plugin);
