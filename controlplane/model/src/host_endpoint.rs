//! HostEndpoint. Source: Calico v3, `hostendpoint.go`; specification §1.7.

use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::metadata::RawMetadata;
use crate::name::{InterfaceName, Name, PortName};
use crate::net::parse_address;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};
use crate::shape::IntOrText;

/// A validated host endpoint.
///
/// INVARIANT: it has an interface or at least one expected address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEndpointSpec {
    /// The host it is on.
    pub node: Name,
    /// Which interfaces; `None` finds them by expected address.
    pub interface: Option<HostInterface>,
    /// Addresses that selectors resolve to.
    pub expected_ips: Vec<IpAddr>,
    /// Profiles, in order; they may not exist.
    pub profiles: Vec<Name>,
    /// Named ports. One name may stand for several protocols.
    pub ports: Vec<EndpointPort>,
}

/// Interfaces a host endpoint governs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostInterface {
    /// `*`: every interface without an endpoint of its own.
    Any,
    /// One by name.
    Named(InterfaceName),
}

/// A port that rules may name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPort {
    /// What rules call it.
    pub name: PortName,
    /// Its protocol.
    pub protocol: PortProtocol,
    /// Its number.
    pub port: NonZeroU16,
}

/// A protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortProtocol {
    /// 6
    Tcp,
    /// 17
    Udp,
    /// 132
    Sctp,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawHostEndpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface_name: Option<String>,
    #[serde(rename = "expectedIPs", skip_serializing_if = "Option::is_none")]
    expected_ips: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profiles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<RawEndpointPort>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawEndpointPort {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<IntOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i64>,
}

impl RawSpec for RawHostEndpoint {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let node = parse_node(self.node.as_deref(), &at.field("node"), report);
        let interface = self
            .interface_name
            .as_deref()
            .filter(|text| !text.is_empty());
        let expected = self.expected_ips.as_deref().unwrap_or_default();
        if interface.is_none() && expected.is_empty() {
            report.add(
                at,
                "at least one of interfaceName or expectedIPs must be specified",
            );
        }
        let interface =
            interface.and_then(|text| parse_interface(text, &at.field("interfaceName"), report));
        report.unique(self.expected_ips.as_deref(), &at.field("expectedIPs"));
        report.unique(self.profiles.as_deref(), &at.field("profiles"));
        let expected_ips = report.each(expected, &at.field("expectedIPs"), |text, at, report| {
            report.take(parse_address(text), at)
        });
        let profiles = profiles(self.profiles.as_deref(), &at.field("profiles"), report);
        let ports = self.ports.as_deref().unwrap_or_default();
        let ports = report.each(ports, &at.field("ports"), parse_port);
        Some(Spec::HostEndpoint(HostEndpointSpec {
            node: node?,
            interface,
            expected_ips,
            profiles,
            ports,
        }))
    }
}

/// Names of profiles, in order.
pub(crate) fn profiles(texts: Option<&[String]>, at: &At<'_>, report: &mut Report) -> Vec<Name> {
    report.each(texts.unwrap_or_default(), at, |text, at, report| {
        report.name(text, "profile name", at)
    })
}

fn parse_node(text: Option<&str>, at: &At<'_>, report: &mut Report) -> Option<Name> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        report.missing(at, "a host endpoint needs a node");
        return None;
    };
    report.name(text, "node name", at)
}

pub(crate) fn parse_interface(
    text: &str,
    at: &At<'_>,
    report: &mut Report,
) -> Option<HostInterface> {
    if text == "*" {
        return Some(HostInterface::Any);
    }
    let name = InterfaceName::new(text);
    if name.is_none() {
        report.add(
            at,
            format!("`{text}` is not an interface name: `*`, or 1 to 15 of `A-Za-z0-9_.-`"),
        );
    }
    name.map(HostInterface::Named)
}

fn parse_port(raw: &RawEndpointPort, at: &At<'_>, report: &mut Report) -> Option<EndpointPort> {
    let name = raw.name.as_deref().unwrap_or_default();
    let parsed_name = PortName::new(name);
    if parsed_name.is_none() {
        let message = "a port needs a name: at most 15 of `a-z`, `0-9` and `-`, with a letter, no `-` at an edge or beside another";
        report.add(&at.field("name"), message);
    }
    let protocol = PortProtocol::parse(raw.protocol.as_ref());
    if protocol.is_none() {
        report.add(
            &at.field("protocol"),
            "a port needs protocol TCP, UDP or SCTP",
        );
    }
    let port = raw
        .port
        .and_then(|port| u16::try_from(port).ok())
        .and_then(NonZeroU16::new);
    if port.is_none() {
        report.add(&at.field("port"), "a port needs a number, 1 to 65535");
    }
    Some(EndpointPort {
        name: parsed_name?,
        protocol: protocol?,
        port: port?,
    })
}

impl PortProtocol {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Name or number, as an endpoint writes it.
    pub(crate) fn parse(raw: Option<&IntOrText>) -> Option<Self> {
        match raw? {
            IntOrText::Int(6) => Some(Self::Tcp),
            IntOrText::Int(17) => Some(Self::Udp),
            IntOrText::Int(132) => Some(Self::Sctp),
            IntOrText::Int(_) => None,
            IntOrText::Text(text) => match text.as_str() {
                "TCP" | "6" => Some(Self::Tcp),
                "UDP" | "17" => Some(Self::Udp),
                "SCTP" | "132" => Some(Self::Sctp),
                _ => None,
            },
        }
    }

    /// Name in any case, as failsafes write it.
    pub(crate) fn parse_any_case(text: &str) -> Option<Self> {
        let named = [("tcp", Self::Tcp), ("udp", Self::Udp), ("sctp", Self::Sctp)];
        named
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, protocol)| *protocol)
    }
}
