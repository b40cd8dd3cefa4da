//! Policies as written. One shape for all kinds; each kind takes the fields it has and refuses the others.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize, Serializer};

use crate::rule::RawRule;

/// Fields of every kind of policy; which of them a kind has is said by its wrapper below.
#[derive(Debug, Clone, Default, PartialEq, Serialize, DeriveDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) staged_action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tier: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "plain_number"
    )]
    pub(super) order: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ingress: Option<Vec<RawRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) egress: Option<Vec<RawRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) do_not_track: Option<bool>,
    #[serde(rename = "preDNAT", skip_serializing_if = "Option::is_none")]
    pub(super) pre_dnat: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) apply_on_forward: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_account_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) performance_hints: Option<Vec<String>>,
    /// Whether the kind is one of the staged; never read or written.
    #[serde(skip)]
    pub(super) staged: bool,
}

/// A whole number is written as one: `100`, not `100.0`.
pub(crate) fn plain_number<S: Serializer>(
    value: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        None => serializer.serialize_none(),
        // Below 2^53 every whole f64 has an exact decimal form without exponent.
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
            match format!("{value:.0}").parse::<i64>() {
                Ok(whole) => serializer.serialize_i64(whole),
                Err(_) => serializer.serialize_f64(*value),
            }
        }
        Some(value) => serializer.serialize_f64(*value),
    }
}

macro_rules! policy_kind {
    ($name:ident, [$($field:literal),+ $(,)?]) => {
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        #[serde(transparent)]
        pub(crate) struct $name(pub(super) RawPolicy);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                RawPolicy::deserialize(Narrowed(deserializer, &[$($field),+])).map(Self)
            }
        }
    };
}

policy_kind!(
    RawGlobalNetworkPolicy,
    [
        "tier",
        "order",
        "ingress",
        "egress",
        "selector",
        "types",
        "doNotTrack",
        "preDNAT",
        "applyOnForward",
        "serviceAccountSelector",
        "namespaceSelector",
        "performanceHints",
    ]
);
policy_kind!(
    RawNetworkPolicy,
    [
        "tier",
        "order",
        "ingress",
        "egress",
        "selector",
        "types",
        "serviceAccountSelector",
        "performanceHints",
    ]
);
policy_kind!(
    RawStagedGlobalNetworkPolicy,
    [
        "stagedAction",
        "tier",
        "order",
        "ingress",
        "egress",
        "selector",
        "types",
        "doNotTrack",
        "preDNAT",
        "applyOnForward",
        "serviceAccountSelector",
        "namespaceSelector",
        "performanceHints",
    ]
);
policy_kind!(
    RawStagedNetworkPolicy,
    [
        "stagedAction",
        "tier",
        "order",
        "ingress",
        "egress",
        "selector",
        "types",
        "serviceAccountSelector",
        "performanceHints",
    ]
);

/// A deserializer that offers a struct some of its fields only.
struct Narrowed<D>(D, &'static [&'static str]);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Narrowed<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, self.1, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
