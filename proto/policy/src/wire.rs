//! The wire form of items: encoding is deterministic, decoding validates everything and skips nothing.
//!
//! A body is accepted only if it encodes to the same bytes again. So a field that this version does not know, which may
//! well narrow a rule, refuses the item instead of being ignored (law g), and what is held can be written out again
//! under the same hash.

mod address;
mod class;
mod config;
mod endpoint;
mod member;
mod op;
mod plugin;
mod position;
mod rule;

pub use self::{
    member::{decode_member, encode_member, member_message},
    op::{Op, decode_ops},
    position::{encode_inventory, report_environment},
};

use crate::{
    class::Class,
    config::NodeConfig,
    endpoint::Endpoint,
    fault::{FieldFault, FieldReason, Reason},
    ids::{ClassId, IfName},
    item::{ItemId, ItemKind},
    plugin::Plugin,
    rule::Policy,
};
use palisade_proto::v1;
use prost::Message;
use std::sync::Arc;

type Field<T> = Result<T, FieldFault>;

/// The content of an item that is not a set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// What a node is told beside policy.
    Config(Arc<NodeConfig>),
    /// An endpoint.
    Endpoint(Arc<Endpoint>),
    /// A class.
    Class(Arc<Class>),
    /// A policy or profile.
    Policy(Arc<Policy>),
    /// A plugin.
    Plugin(Arc<Plugin>),
}

impl Body {
    /// Its kind.
    pub const fn kind(&self) -> ItemKind {
        match self {
            Self::Config(_) => ItemKind::Config,
            Self::Endpoint(_) => ItemKind::Endpoint,
            Self::Class(_) => ItemKind::Class,
            Self::Policy(_) => ItemKind::Policy,
            Self::Plugin(_) => ItemKind::Plugin,
        }
    }

    /// Its canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Config(config) => config::encode(config).encode_to_vec(),
            Self::Endpoint(endpoint) => endpoint::encode(endpoint).encode_to_vec(),
            Self::Class(class) => class::encode(class).encode_to_vec(),
            Self::Policy(policy) => rule::encode_policy(policy).encode_to_vec(),
            Self::Plugin(plugin) => plugin::encode(plugin).encode_to_vec(),
        }
    }

    /// Reads and validates.
    ///
    /// # Errors
    /// Everything that [`Reason`] says of one item; references to other items are judged later.
    pub fn decode(id: &ItemId, bytes: &[u8]) -> Result<Self, Reason> {
        let body = match id.kind {
            ItemKind::Config => Self::Config(Arc::new(config::decode(message(bytes)?)?)),
            ItemKind::Endpoint => Self::Endpoint(Arc::new(endpoint::decode(message(bytes)?)?)),
            ItemKind::Class => Self::Class(Arc::new(class::decode(message(bytes)?)?)),
            ItemKind::Policy => Self::Policy(Arc::new(rule::decode_policy(message(bytes)?)?)),
            ItemKind::Plugin => Self::Plugin(Arc::new(plugin::decode(message(bytes)?)?)),
            ItemKind::Set => return Err(Reason::Shape),
        };
        if body.encode() != bytes {
            return Err(Reason::NotCanonical);
        }
        if !body.may_be_named(&id.id, bytes) {
            return Err(Reason::Id);
        }
        Ok(body)
    }

    fn may_be_named(&self, id: &str, bytes: &[u8]) -> bool {
        use crate::class::EndpointKind;
        let (prefix, rest) = id.split_once('/').unwrap_or((id, ""));
        match self {
            Self::Config(_) => id == ItemId::CONFIG,
            Self::Plugin(_) => !rest.is_empty() && prefix == "plugin",
            Self::Class(_) => id == ClassId::of_body(bytes).as_str(),
            Self::Endpoint(endpoint) => {
                !rest.is_empty()
                    && match endpoint.kind {
                        EndpointKind::Host => prefix == "hep",
                        EndpointKind::Workload => prefix == "wep",
                    }
            }
            Self::Policy(policy) => {
                !rest.is_empty()
                    && match policy.staged {
                        false => matches!(prefix, "gnp" | "np" | "profile"),
                        true => matches!(prefix, "sgnp" | "snp"),
                    }
            }
        }
    }
}

impl ClassId {
    /// Of a class, by its content.
    pub fn of(class: &Class) -> Self {
        Self::of_body(&class::encode(class).encode_to_vec())
    }

    fn of_body(body: &[u8]) -> Self {
        let hash = blake3::hash(body).to_hex();
        Self::new(&hash.as_str()[..32])
    }
}

/// The canonical bytes of a match and an action, which rule ids are made of.
pub(crate) fn encode_rule_content(rule: &crate::rule::Rule) -> Vec<u8> {
    let mut message = rule::encode_rule(rule);
    message.id = 0;
    message.encode_to_vec()
}

fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, Reason> {
    M::decode(bytes).map_err(|err| Reason::Undecodable(err.to_string()))
}

fn fault<T>(field: &str, reason: FieldReason) -> Field<T> {
    Err(FieldFault::new(field, reason))
}

/// Reads a list, each element under its index.
fn list<M, T>(
    field: &str,
    messages: impl IntoIterator<Item = M>,
    read: impl Fn(M) -> Field<T>,
) -> Field<Vec<T>> {
    messages
        .into_iter()
        .enumerate()
        .map(|(i, m)| read(m).map_err(|f| f.within(format!("{field}[{i}]"))))
        .collect()
}

/// Reads a message that must be there.
fn present<M, T>(field: &str, message: Option<M>, read: impl Fn(M) -> Field<T>) -> Field<T> {
    match message {
        Some(message) => read(message).map_err(|f| f.within(field)),
        None => fault(field, FieldReason::Missing),
    }
}

/// Reads a message that may be missing.
fn optional<M, T>(
    field: &str,
    message: Option<M>,
    read: impl Fn(M) -> Field<T>,
) -> Field<Option<T>> {
    message
        .map(|m| read(m).map_err(|f| f.within(field)))
        .transpose()
}

/// A number within bounds.
fn number<T: TryFrom<u32>>(field: &str, value: u32, first: u32, last: u32) -> Field<T> {
    match T::try_from(value) {
        Ok(number) if (first..=last).contains(&value) => Ok(number),
        _ => fault(
            field,
            FieldReason::Number {
                value: value.into(),
                first: first.into(),
                last: last.into(),
            },
        ),
    }
}

fn text(field: &str, value: String, allowed: impl Fn(&str) -> bool) -> Field<String> {
    if allowed(&value) {
        Ok(value)
    } else {
        fault(field, FieldReason::Text(value))
    }
}

fn interface_name(field: &str, name: String) -> Field<IfName> {
    text(field, name, |name| {
        (1..=15).contains(&name.len())
            && name != "."
            && name != ".."
            && name
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
    })
    .map(IfName::new)
}

impl From<ItemKind> for v1::ItemKind {
    fn from(kind: ItemKind) -> Self {
        match kind {
            ItemKind::Config => Self::Config,
            ItemKind::Endpoint => Self::Endpoint,
            ItemKind::Class => Self::Class,
            ItemKind::Policy => Self::Policy,
            ItemKind::Set => Self::Set,
            ItemKind::Plugin => Self::Plugin,
        }
    }
}
