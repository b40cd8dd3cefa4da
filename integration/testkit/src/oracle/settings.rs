//! What a node is told beside policy (§1.11, §5.5, §5.8), field by field.

use crate::document::{Body, Document, Exemptions, Failsafe, Felix, World};
use ipnet::IpNet;
use std::collections::BTreeMap;

pub(super) struct Settings {
    pub(super) inbound: Vec<Port>,
    pub(super) outbound: Vec<Port>,
    pub(super) to_host: ToHost,
    pub(super) prefixes: Vec<String>,
    pub(super) excluded: Vec<String>,
    pub(super) reject: bool,
    pub(super) accept_invalid: bool,
    pub(super) ipv6: bool,
    pub(super) vxlan_from_workloads: bool,
    pub(super) ipip_from_workloads: bool,
    pub(super) vxlan_port: u16,
    pub(super) source_spoofing: bool,
    pub(super) exempt: Exempt,
}

/// A failsafe.
pub(super) struct Port {
    pub(super) protocol: u8,
    pub(super) port: u16,
    pub(super) net: Option<IpNet>,
}

#[derive(PartialEq)]
pub(super) enum ToHost {
    Drop,
    Accept,
}

pub(super) struct Exempt {
    pub(super) loopback: bool,
    pub(super) neighbour_discovery: bool,
    pub(super) dhcp6: bool,
    pub(super) control_plane: bool,
}

/// The defaults of §5.5, and this product's own ports.
const INBOUND: &[(u8, u16)] = &[
    (6, 22),
    (17, 68),
    (6, 179),
    (6, 2379),
    (6, 2380),
    (6, 5473),
    (6, 6443),
    (6, 6666),
    (6, 6667),
    (6, 7600),
    (6, 7601),
];
const OUTBOUND: &[(u8, u16)] = &[
    (17, 53),
    (17, 67),
    (6, 179),
    (6, 2379),
    (6, 2380),
    (6, 5473),
    (6, 6443),
    (6, 6666),
    (6, 6667),
    (6, 7600),
    (6, 7601),
];

pub(super) fn of_node(world: &World) -> Settings {
    let scopes = scopes(world);
    let text = |get: fn(&Felix) -> &Option<String>| {
        let set = |felix: &&Felix| get(felix).clone().filter(|text| !text.is_empty());
        scopes.iter().find_map(set)
    };
    let truth = |get: fn(&Felix) -> Option<bool>, or: bool| {
        scopes.iter().find_map(|felix| get(felix)).unwrap_or(or)
    };
    let is = |set: Option<String>, word: &str| set.is_some_and(|s| s.eq_ignore_ascii_case(word));
    let to_host = text(|felix| &felix.default_endpoint_to_host_action);
    let open = |get: fn(&Felix) -> &Option<Vec<Failsafe>>, or: &[(u8, u16)]| {
        let set = scopes.iter().find_map(|felix| get(felix).as_ref());
        match set {
            Some(list) => list.iter().map(failsafe).collect(),
            None => or
                .iter()
                .map(|&(protocol, port)| Port {
                    protocol,
                    port,
                    net: None,
                })
                .collect(),
        }
    };
    let list = |text: String| {
        let words = text.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect()
    };
    Settings {
        inbound: open(|felix| &felix.failsafe_inbound_host_ports, INBOUND),
        outbound: open(|felix| &felix.failsafe_outbound_host_ports, OUTBOUND),
        // Return leads to what follows in the base chain, which in a table of our own is acceptance (§5.6).
        to_host: match is(to_host.clone(), "accept") || is(to_host, "return") {
            true => ToHost::Accept,
            false => ToHost::Drop,
        },
        prefixes: list(text(|felix| &felix.interface_prefix).unwrap_or("cali".to_owned())),
        excluded: list(text(|felix| &felix.interface_exclude).unwrap_or("kube-ipvs0".to_owned())),
        reject: is(text(|felix| &felix.nftables_filter_deny_action), "reject"),
        accept_invalid: truth(|felix| felix.disable_conntrack_invalid_check, false),
        ipv6: truth(|felix| felix.ipv6_support, true),
        vxlan_from_workloads: truth(|felix| felix.allow_vxlan_packets_from_workloads, false),
        ipip_from_workloads: truth(|felix| felix.allow_ipip_packets_from_workloads, false),
        vxlan_port: scopes
            .iter()
            .find_map(|felix| felix.vxlan_port)
            .unwrap_or(4789),
        source_spoofing: is(text(|felix| &felix.workload_source_spoofing), "any"),
        exempt: exempt(world),
    }
}

/// The configurations that bear on the node, the strongest first: its own, the oldest that selects it, `default`.
fn scopes(world: &World) -> Vec<&Felix> {
    let node = &world.machine.node;
    let labels = world
        .documents
        .iter()
        .find_map(|document| match document.body {
            Body::Node(_) if document.metadata.name == *node => Some(&document.metadata.labels),
            _ => None,
        });
    let none = BTreeMap::new();
    let labels = labels.unwrap_or(&none);
    let mut own = None;
    let mut global = None;
    let mut selecting: Vec<(&Document, &Felix)> = Vec::new();
    for document in &world.documents {
        let Body::FelixConfiguration(felix) = &document.body else {
            continue;
        };
        match document.metadata.name.as_str() {
            "default" => global = Some(felix),
            name if name.strip_prefix("node.") == Some(node) => own = Some(felix),
            name if name.starts_with("node.") => {}
            _ => match &felix.node_selector {
                Some(selector) if selector.expression.is_true_of(labels) => {
                    selecting.push((document, felix));
                }
                _ => {}
            },
        }
    }
    let age = |document: &Document| {
        let metadata = &document.metadata;
        (metadata.creation_timestamp.clone(), metadata.name.clone())
    };
    selecting.sort_by_key(|(document, _)| age(document));
    let oldest = selecting.first().map(|(_, felix)| *felix);
    [own, oldest, global].into_iter().flatten().collect()
}

fn failsafe(failsafe: &Failsafe) -> Port {
    let protocol = match failsafe.protocol.to_ascii_lowercase().as_str() {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        other => panic!("no failsafe has the protocol {other}"),
    };
    Port {
        protocol,
        port: failsafe.port,
        net: failsafe.net,
    }
}

fn exempt(world: &World) -> Exempt {
    let written = world
        .documents
        .iter()
        .find_map(|document| match &document.body {
            Body::PalisadeConfiguration(spec) => Some(spec.exemptions),
            _ => None,
        });
    let Exemptions {
        loopback,
        neighbour_discovery,
        dhcp6,
        control_plane,
    } = written.unwrap_or_default();
    Exempt {
        loopback: loopback.unwrap_or(true),
        neighbour_discovery: neighbour_discovery.unwrap_or(true),
        dhcp6: dhcp6.unwrap_or(true),
        control_plane: control_plane.unwrap_or(true),
    }
}

impl Settings {
    pub(super) fn is_workload(&self, interface: &str) -> bool {
        let prefixes = &self.prefixes;
        prefixes.iter().any(|p| interface.starts_with(p.as_str()))
    }

    /// Names, and regular expressions between slashes; of the latter only an anchored beginning is understood.
    pub(super) fn is_excluded(&self, interface: &str) -> bool {
        self.excluded.iter().any(|word| {
            match word.strip_prefix("/^").and_then(|w| w.strip_suffix('/')) {
                Some(beginning) => interface.starts_with(beginning),
                None => interface == word,
            }
        })
    }
}
