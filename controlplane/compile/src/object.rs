//! Labelled things with addresses: endpoints of any host, and network sets. What rule selectors reach, over the whole
//! fleet, whichever node they are on (specification §2.5, §2.7).

use ipnet::IpNet;
use palisade_model::{HostEndpointSpec, Metadata, Name, NetworkSetSpec, PortName, ProfileSpec};
use palisade_policy::rule::Protocol;
use std::collections::{BTreeMap, BTreeSet};

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
    /// A host endpoint; its expected addresses stand for it, not the real ones.
    pub(crate) fn host_endpoint<'a>(
        metadata: &Metadata,
        spec: &HostEndpointSpec,
        profile: impl Fn(&Name) -> Option<&'a ProfileSpec>,
    ) -> Self {
        Self {
            labels: inherited(&metadata.labels, spec.profiles.iter().filter_map(profile)),
            nets: sorted(spec.expected_ips.iter().copied().map(IpNet::from)),
            ports: spec
                .ports
                .iter()
                .map(|port| DeclaredPort {
                    name: port.name.clone(),
                    protocol: Protocol(port.protocol.number()),
                    port: port.port.get(),
                })
                .collect(),
        }
    }

    /// A network set.
    pub(crate) fn network_set(metadata: &Metadata, spec: &NetworkSetSpec) -> Self {
        Self {
            labels: metadata.labels.clone(),
            nets: sorted(spec.nets.iter().map(IpNet::trunc)),
            ports: BTreeSet::new(),
        }
    }
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

/// Own labels win, then the first profile that gives the key.
fn inherited<'a>(
    own: &EffectiveLabels,
    profiles: impl Iterator<Item = &'a ProfileSpec>,
) -> EffectiveLabels {
    let mut labels = own.clone();
    for profile in profiles {
        for (key, value) in &profile.labels_to_apply {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    labels
}
