//! Endpoints and network sets with their effective labels (§1.8, §2.5), and who governs an interface (§5.1).

use super::Oracle;
use crate::document::{Body, Document, Labels, Profile, World};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) const NAMESPACE: &str = "projectcalico.org/namespace";
pub(super) const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
const ORCHESTRATOR: &str = "projectcalico.org/orchestrator";

/// An endpoint that policy applies to.
#[derive(Clone, PartialEq, Debug)]
pub struct Endpoint {
    /// Its name, which orders host endpoints.
    pub name: String,
    /// A host endpoint; a workload otherwise.
    pub is_host: bool,
    /// Own and inherited labels.
    pub labels: Labels,
    /// By name, in order.
    pub profiles: Vec<String>,
    /// Where it is.
    pub node: String,
    /// Its interface; empty or `*` for some host endpoints.
    pub interface: String,
    /// Expected addresses, or the addresses of the workload.
    pub addresses: Vec<IpAddr>,
    /// What a workload may send from beside its addresses.
    pub spoofs: Vec<IpNet>,
    /// Orchestrator, workload (which is one of its namespace) and endpoint: the first in this order has the interface.
    pub order: (String, String, String, String),
}

/// Whom rule selectors can mean: labels, addresses, and named ports.
pub(super) struct Object {
    pub(super) labels: Labels,
    pub(super) nets: Vec<IpNet>,
    pub(super) ports: Vec<(String, u8, u16)>,
}

pub(super) struct Known {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) objects: Vec<Object>,
}

/// Profiles by name, the built-in one too.
pub(super) fn profiles(world: &World) -> BTreeMap<String, Profile> {
    let allow = || vec![crate::document::Rule::new(crate::document::Action::Allow)];
    let built_in = Profile {
        ingress: allow(),
        egress: allow(),
        labels_to_apply: Labels::new(),
    };
    let mut all = BTreeMap::from([("projectcalico-default-allow".to_owned(), built_in)]);
    for document in &world.documents {
        if let Body::Profile(profile) = &document.body {
            all.insert(document.metadata.name.clone(), profile.clone());
        }
    }
    all
}

/// Own labels, then what the first profile that has the key says (§2.5).
fn effective(mut labels: Labels, names: &[String], profiles: &BTreeMap<String, Profile>) -> Labels {
    for profile in names.iter().filter_map(|name| profiles.get(name)) {
        for (key, value) in &profile.labels_to_apply {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    labels
}

pub(super) fn known(world: &World) -> Known {
    let profiles = profiles(world);
    let mut known = Known {
        endpoints: Vec::new(),
        objects: Vec::new(),
    };
    for document in &world.documents {
        known.learn(document, &profiles);
    }
    known
}

impl Known {
    fn learn(&mut self, document: &Document, profiles: &BTreeMap<String, Profile>) {
        let metadata = &document.metadata;
        let mut labels = metadata.labels.clone();
        match &document.body {
            Body::HostEndpoint(spec) => {
                let labels = effective(labels, &spec.profiles, profiles);
                let number = |protocol: &crate::document::Protocol| protocol.number().unwrap_or(0);
                self.objects.push(Object {
                    labels: labels.clone(),
                    nets: spec.expected_ips.iter().map(|ip| (*ip).into()).collect(),
                    ports: spec
                        .ports
                        .iter()
                        .map(|p| (p.name.clone(), number(&p.protocol), p.port))
                        .collect(),
                });
                self.endpoints.push(Endpoint {
                    name: metadata.name.clone(),
                    is_host: true,
                    labels,
                    profiles: spec.profiles.clone(),
                    node: spec.node.clone(),
                    interface: spec.interface_name.clone(),
                    addresses: spec.expected_ips.clone(),
                    spoofs: Vec::new(),
                    order: Default::default(),
                });
            }
            // One without addresses does not exist yet (§1.8).
            Body::WorkloadEndpoint(spec) if !spec.ip_networks.is_empty() => {
                labels.retain(|key, _| !key.starts_with("pcns.") && !key.starts_with("pcsa."));
                labels.insert(NAMESPACE.to_owned(), metadata.namespace.clone());
                labels.insert(ORCHESTRATOR.to_owned(), spec.orchestrator.clone());
                if !spec.service_account_name.is_empty() {
                    labels.insert(
                        SERVICE_ACCOUNT.to_owned(),
                        spec.service_account_name.clone(),
                    );
                }
                let labels = effective(labels, &spec.profiles, profiles);
                let nets: Vec<IpNet> = spec.ip_networks.iter().filter_map(|t| net(t)).collect();
                let addresses = nets.iter().map(IpNet::addr).collect();
                let named = spec.ports.iter().filter(|port| !port.name.is_empty());
                self.objects.push(Object {
                    labels: labels.clone(),
                    nets,
                    ports: named
                        .map(|p| (p.name.clone(), p.protocol.number().unwrap_or(0), p.port))
                        .collect(),
                });
                self.endpoints.push(Endpoint {
                    name: format!("{}/{}", metadata.namespace, metadata.name),
                    is_host: false,
                    labels,
                    profiles: spec.profiles.clone(),
                    node: spec.node.clone(),
                    interface: spec.interface_name.clone(),
                    addresses,
                    spoofs: spec
                        .allow_spoofed_source_prefixes
                        .iter()
                        .filter_map(|text| net(text))
                        .collect(),
                    order: (
                        spec.orchestrator.clone(),
                        metadata.namespace.clone(),
                        spec.workload.clone(),
                        spec.endpoint.clone(),
                    ),
                });
            }
            Body::GlobalNetworkSet(spec) => self.objects.push(Object {
                labels,
                nets: spec.nets.iter().filter_map(|text| net(text)).collect(),
                ports: Vec::new(),
            }),
            Body::NetworkSet(spec) => {
                labels.insert(NAMESPACE.to_owned(), metadata.namespace.clone());
                let namespace = [format!("kns.{}", metadata.namespace)];
                self.objects.push(Object {
                    labels: effective(labels, &namespace, profiles),
                    nets: spec.nets.iter().filter_map(|text| net(text)).collect(),
                    ports: Vec::new(),
                });
            }
            _ => {}
        }
    }
}

/// An address or a net, host bits masked off.
fn net(text: &str) -> Option<IpNet> {
    let net: Option<IpNet> = text.parse().ok();
    net.map(|net| net.trunc())
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

impl Oracle {
    /// The endpoint of its own that a host interface has: by name or by address, the smallest name wins.
    pub(super) fn named(&self, interface: &str) -> Option<&Endpoint> {
        if self.settings.is_workload(interface) || self.settings.is_excluded(interface) {
            return None;
        }
        let live = self.machine.interfaces.get(interface);
        let carries = |ip: &IpAddr| live.is_some_and(|addresses| addresses.contains(ip));
        self.host_endpoints()
            .filter(|ep| match ep.interface.as_str() {
                "" => ep.addresses.iter().any(carries),
                name => name == interface,
            })
            .min_by_key(|ep| &ep.name)
    }

    /// The endpoint of every interface that has none of its own.
    pub(super) fn star(&self, interface: &str) -> Option<&Endpoint> {
        if interface == "lo" && self.settings.exempt.loopback {
            return None;
        }
        self.host_endpoints()
            .filter(|ep| ep.interface == "*")
            .min_by_key(|ep| &ep.name)
    }

    /// Named, or else `*`.
    pub(super) fn host(&self, interface: &str) -> Option<&Endpoint> {
        self.named(interface).or_else(|| self.star(interface))
    }

    fn host_endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let node = &self.machine.node;
        let mine = move |ep: &&Endpoint| ep.is_host && ep.node == *node;
        self.known.endpoints.iter().filter(mine)
    }

    /// The workload behind an interface.
    pub(super) fn workload(&self, interface: &str) -> Option<&Endpoint> {
        let all = self.workloads().filter(|ep| ep.interface == interface);
        all.min_by_key(|ep| &ep.order)
    }

    /// Workloads of this node. One that would spoof where nobody may is missing (§1.8).
    pub(super) fn workloads(&self) -> impl Iterator<Item = &Endpoint> {
        let node = &self.machine.node;
        let mine = move |ep: &&Endpoint| !ep.is_host && ep.node == *node;
        let there = |ep: &&Endpoint| ep.spoofs.is_empty() || self.settings.source_spoofing;
        let named = |ep: &&Endpoint| self.settings.is_workload(&ep.interface);
        let all = self.known.endpoints.iter();
        all.filter(mine).filter(there).filter(named)
    }
}
