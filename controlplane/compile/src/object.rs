//! Labelled things with addresses: endpoints of any host, and network sets. What rule selectors reach, over the whole
//! fleet, whichever node they are on (specification §2.5, §2.7).

use crate::{endpoint, profile};
use ipnet::IpNet;
use palisade_model::{
    EndpointPort, Metadata, NAMESPACE_LABEL, Name, PortName, ProfileSpec, Resource, Spec,
};
use palisade_policy::rule::Protocol;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Labels after inheritance.
pub(crate) type EffectiveLabels = BTreeMap<String, String>;

/// A labelled thing as sets see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Object {
    /// Labels after inheritance.
    pub(crate) labels: EffectiveLabels,
    /// Its addresses, as prefixes; sorted, without repetition. A set may have very many of them.
    pub(crate) nets: Vec<IpNet>,
    /// Ports it declares; none for network sets.
    pub(crate) ports: BTreeSet<DeclaredPort>,
}

/// A port that rules may name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct DeclaredPort {
    pub(crate) name: PortName,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

impl Object {
    /// `None` for resources that no rule selector reaches, and for workloads that are not there yet.
    pub(crate) fn of<'a>(
        resource: &Resource,
        profile: impl Fn(&Name) -> Option<&'a ProfileSpec>,
    ) -> Option<Self> {
        let labels = effective_labels(resource, profile)?;
        let (nets, ports) = match &resource.spec {
            // Expected addresses stand for a host endpoint, not the real ones.
            Spec::HostEndpoint(spec) => {
                let addresses = spec.expected_ips.iter().copied();
                (sorted(addresses.map(IpNet::from)), declared(&spec.ports))
            }
            Spec::WorkloadEndpoint(spec) => {
                let addresses = spec.addresses.iter().copied();
                (sorted(addresses.map(IpNet::from)), declared(&spec.ports))
            }
            Spec::GlobalNetworkSet(spec) | Spec::NetworkSet(spec) => {
                (sorted(spec.nets.iter().map(IpNet::trunc)), BTreeSet::new())
            }
            _ => return None,
        };
        Some(Self {
            labels,
            nets,
            ports,
        })
    }
}

/// The labels that selectors see: own ones, and those inherited from profiles (specification §2.5). `None` for
/// resources that no selector picks.
pub fn effective_labels<'a>(
    resource: &Resource,
    profile: impl Fn(&Name) -> Option<&'a ProfileSpec>,
) -> Option<BTreeMap<String, String>> {
    let metadata = &resource.metadata;
    let mut labels = match &resource.spec {
        Spec::HostEndpoint(_) | Spec::GlobalNetworkSet(_) => metadata.labels.clone(),
        Spec::NetworkSet(_) => in_namespace(metadata),
        Spec::WorkloadEndpoint(spec) if endpoint::exists(spec) => spec.labels(metadata),
        _ => return None,
    };
    // Own labels win, then the first profile that gives the key.
    for inherited in ancestors(resource).iter().filter_map(profile) {
        for (key, value) in &inherited.labels_to_apply {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Some(labels)
}

/// The profiles that a resource inherits labels from, in order; they may not exist.
pub(crate) fn ancestors(resource: &Resource) -> Cow<'_, [Name]> {
    match &resource.spec {
        Spec::HostEndpoint(spec) => Cow::Borrowed(&spec.profiles),
        Spec::WorkloadEndpoint(spec) => Cow::Borrowed(&spec.profiles),
        Spec::NetworkSet(_) => {
            let namespace = resource.metadata.namespace.as_ref();
            Cow::Owned(
                namespace
                    .and_then(profile::of_namespace)
                    .into_iter()
                    .collect(),
            )
        }
        _ => Cow::Borrowed(&[]),
    }
}

fn in_namespace(metadata: &Metadata) -> EffectiveLabels {
    let mut labels = metadata.labels.clone();
    if let Some(namespace) = &metadata.namespace {
        labels.insert(NAMESPACE_LABEL.to_owned(), namespace.to_string());
    }
    labels
}

fn declared(ports: &[EndpointPort]) -> BTreeSet<DeclaredPort> {
    ports
        .iter()
        .map(|port| DeclaredPort {
            name: port.name.clone(),
            protocol: Protocol(port.protocol.number()),
            port: port.port.get(),
        })
        .collect()
}

fn sorted(nets: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = nets.collect();
    nets.sort_unstable();
    nets.dedup();
    nets
}

/// What only the first of two sorted lists has, and what only the second has.
pub(crate) fn difference(old: &[IpNet], new: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => return (gone, come),
            (Some(a), Some(b)) if a == b => {
                old.next();
                new.next();
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => gone.extend(old.next()),
            _ => come.extend(new.next()),
        }
    }
}
