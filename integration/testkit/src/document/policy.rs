//! Policies, rules, tiers and profiles.

use super::{Labels, MaybeSelector, PluginCondition, absent};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A policy of any kind: global or not, enforced or staged.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of specification §1.3 to §1.5")]
pub struct Policy {
    #[serde(skip_serializing_if = "absent")]
    pub tier: Option<String>,
    #[serde(skip_serializing_if = "absent")]
    pub order: Option<f64>,
    #[serde(skip_serializing_if = "absent")]
    pub selector: MaybeSelector,
    #[serde(skip_serializing_if = "absent")]
    pub namespace_selector: MaybeSelector,
    #[serde(skip_serializing_if = "absent")]
    pub service_account_selector: MaybeSelector,
    #[serde(skip_serializing_if = "absent")]
    pub types: Vec<Direction>,
    #[serde(skip_serializing_if = "absent")]
    pub ingress: Vec<Rule>,
    #[serde(skip_serializing_if = "absent")]
    pub egress: Vec<Rule>,
    #[serde(skip_serializing_if = "absent")]
    pub do_not_track: bool,
    #[serde(rename = "preDNAT", skip_serializing_if = "absent")]
    pub pre_dnat: bool,
    #[serde(skip_serializing_if = "absent")]
    pub apply_on_forward: bool,
    #[serde(skip_serializing_if = "absent")]
    pub staged_action: Option<String>,
}

/// Which way policy judges.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "words of the specification")]
pub enum Direction {
    Ingress,
    Egress,
}

/// What a rule asks for.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "words of the specification")]
pub enum Action {
    Allow,
    Deny,
    Pass,
    Log,
}

/// A line of a policy or profile.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields of specification §3.1")]
pub struct Rule {
    pub action: Action,
    #[serde(default, skip_serializing_if = "absent")]
    pub ip_version: Option<u8>,
    #[serde(default, skip_serializing_if = "absent")]
    pub protocol: Option<Protocol>,
    #[serde(default, skip_serializing_if = "absent")]
    pub not_protocol: Option<Protocol>,
    #[serde(default, skip_serializing_if = "absent")]
    pub icmp: Option<Icmp>,
    #[serde(default, rename = "notICMP", skip_serializing_if = "absent")]
    pub not_icmp: Option<Icmp>,
    #[serde(default, skip_serializing_if = "absent")]
    pub source: Entity,
    #[serde(default, skip_serializing_if = "absent")]
    pub destination: Entity,
    #[serde(default, skip_serializing_if = "absent")]
    pub plugin: Option<PluginCondition>,
}

impl Rule {
    /// A rule that matches everything.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Entity::default(),
            destination: Entity::default(),
            plugin: None,
        }
    }
}

/// A transport protocol, by name or number.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(untagged)]
pub enum Protocol {
    /// 1-255.
    Number(u8),
    /// `TCP`, `UDP`, `ICMP`, `ICMPv6`, `SCTP` or `UDPLite`.
    Name(String),
}

impl Protocol {
    /// Its number; none for a name that is unknown.
    pub fn number(&self) -> Option<u8> {
        Some(match self {
            Self::Number(number) => *number,
            Self::Name(name) => match name.as_str() {
                "ICMP" => 1,
                "TCP" => 6,
                "UDP" => 17,
                "ICMPv6" => 58,
                "SCTP" => 132,
                "UDPLite" => 136,
                _ => return None,
            },
        })
    }
}

/// An ICMP type, or type with code.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "words of the specification")]
pub struct Icmp {
    #[serde(rename = "type")]
    pub kind: u8,
    #[serde(default, skip_serializing_if = "absent")]
    pub code: Option<u8>,
}

/// Whom a rule is about, on one end.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of specification §3.1")]
pub struct Entity {
    #[serde(skip_serializing_if = "absent")]
    pub nets: Vec<IpNet>,
    #[serde(skip_serializing_if = "absent")]
    pub not_nets: Vec<IpNet>,
    #[serde(skip_serializing_if = "absent")]
    pub selector: MaybeSelector,
    #[serde(skip_serializing_if = "absent")]
    pub not_selector: MaybeSelector,
    #[serde(skip_serializing_if = "absent")]
    pub namespace_selector: MaybeSelector,
    #[serde(skip_serializing_if = "absent")]
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "absent")]
    pub not_ports: Vec<Port>,
    #[serde(skip_serializing_if = "absent")]
    pub service_accounts: Option<ServiceAccounts>,
}

/// A number, a range `lo:hi`, or a name.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(untagged)]
pub enum Port {
    /// One port.
    Number(u16),
    /// A range or a name.
    Text(String),
}

/// Service accounts of a rule.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "words of the specification")]
pub struct ServiceAccounts {
    #[serde(skip_serializing_if = "absent")]
    pub names: Vec<String>,
    #[serde(skip_serializing_if = "absent")]
    pub selector: MaybeSelector,
}

/// An ordered group of policies.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of specification §1.6")]
pub struct Tier {
    #[serde(skip_serializing_if = "absent")]
    pub order: Option<f64>,
    #[serde(skip_serializing_if = "absent")]
    pub default_action: Option<String>,
}

/// Rules and labels that endpoints name.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of specification §1.10")]
pub struct Profile {
    #[serde(skip_serializing_if = "absent")]
    pub ingress: Vec<Rule>,
    #[serde(skip_serializing_if = "absent")]
    pub egress: Vec<Rule>,
    #[serde(skip_serializing_if = "absent")]
    pub labels_to_apply: Labels,
}
