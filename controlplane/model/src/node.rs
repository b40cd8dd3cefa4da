//! Node. Source: Calico, `node.go`; specification §1.12. For hosts, a name and labels are enough.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metadata::RawMetadata;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};

/// A validated node. Its labels are those of its metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// Addresses as somebody wrote them; automatic host endpoints take them as expected ones.
    pub addresses: Vec<NodeAddress>,
}

/// An address of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    /// The address.
    pub address: IpAddr,
    /// What for.
    pub role: NodeAddressRole,
}

/// What a node's address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeAddressRole {
    /// `CalicoNodeIP`
    Calico,
    /// `InternalIP`
    Internal,
    /// `ExternalIP`
    External,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawNode {
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<RawNodeAddress>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interfaces: Option<Vec<RawNodeInterface>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bgp: Option<RawBgp>,
    #[serde(
        rename = "ipv4VXLANTunnelAddr",
        skip_serializing_if = "Option::is_none"
    )]
    ipv4_vxlan_tunnel_addr: Option<String>,
    #[serde(
        rename = "ipv6VXLANTunnelAddr",
        skip_serializing_if = "Option::is_none"
    )]
    ipv6_vxlan_tunnel_addr: Option<String>,
    #[serde(rename = "vxlanTunnelMACAddr", skip_serializing_if = "Option::is_none")]
    vxlan_tunnel_mac_addr: Option<String>,
    #[serde(
        rename = "vxlanTunnelMACAddrV6",
        skip_serializing_if = "Option::is_none"
    )]
    vxlan_tunnel_mac_addr_v6: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orch_refs: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wireguard: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawNodeAddress {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawNodeInterface {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawBgp {
    #[serde(skip_serializing_if = "Option::is_none")]
    as_number: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4_address: Option<String>,
    #[serde(rename = "ipv4IPIPTunnelAddr", skip_serializing_if = "Option::is_none")]
    ipv4_ipip_tunnel_addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6_address: Option<String>,
    #[serde(
        rename = "routeReflectorClusterID",
        skip_serializing_if = "Option::is_none"
    )]
    route_reflector_cluster_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inter_domain_routing_enabled: Option<bool>,
}

impl RawSpec for RawNode {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let bgp_at = at.field("bgp");
        if self
            .bgp
            .as_ref()
            .is_some_and(|bgp| *bgp == RawBgp::default())
        {
            report.add(&bgp_at, "bgp must not be empty");
        }
        let bgp = self.bgp.clone().unwrap_or_default();
        for (name, text) in [
            ("ipv4Address", &bgp.ipv4_address),
            ("ipv6Address", &bgp.ipv6_address),
        ] {
            if text.as_deref().is_some_and(|text| address(text).is_none()) {
                report.add(
                    &bgp_at.field(name),
                    "not an address, with or without prefix length",
                );
            }
        }
        let addresses_at = at.field("addresses");
        let mut addresses = Vec::new();
        for (index, raw) in self.addresses.iter().flatten().enumerate() {
            addresses.extend(raw.parse(&addresses_at.index(index), report));
        }
        Some(Spec::Node(NodeSpec { addresses }))
    }
}

impl RawNodeAddress {
    fn parse(&self, at: &At<'_>, report: &mut Report) -> Option<NodeAddress> {
        let text = self.address.as_deref().unwrap_or_default();
        let address = address(text);
        if address.is_none() {
            report.add(
                &at.field("address"),
                format!("`{text}` is not an address, with or without prefix length"),
            );
        }
        let role = match self.role.as_deref() {
            None | Some("" | "CalicoNodeIP") => NodeAddressRole::Calico,
            Some("InternalIP") => NodeAddressRole::Internal,
            Some("ExternalIP") => NodeAddressRole::External,
            Some(other) => {
                report.add(
                    &at.field("type"),
                    format!("`{other}` is not CalicoNodeIP, InternalIP or ExternalIP"),
                );
                return None;
            }
        };
        Some(NodeAddress {
            address: address?,
            role,
        })
    }
}

/// An address, or the address part of a CIDR with host bits, as Calico writes its own.
fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}
