//! Endpoint resources of both kinds as compilation sees them.

use crate::object::EffectiveLabels;
use ipnet::IpNet;
use palisade_model::{HostInterface, Name, Resource, ResourceId, Spec, WorkloadEndpointSpec};
use palisade_policy::{
    class::{Class, EndpointKind},
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, EndpointId, IfName},
};
use std::net::IpAddr;

/// An endpoint resource that governs something.
pub(crate) struct EndpointSource<'a> {
    /// Host or workload.
    pub(crate) kind: EndpointKind,
    /// The host it is on.
    pub(crate) node: &'a Name,
    /// Its profiles, in order; they may not exist.
    pub(crate) profiles: &'a [Name],
    /// Its item's name.
    pub(crate) id: EndpointId,
    interface: InterfaceMatch,
    addresses: &'a [IpAddr],
    source_prefixes: &'a [IpNet],
}

impl<'a> EndpointSource<'a> {
    /// `None` for other resources, and for workloads that are not there yet or have no interface.
    pub(crate) fn of(resource: &'a Resource) -> Option<Self> {
        match &resource.spec {
            Spec::HostEndpoint(spec) => Some(Self {
                kind: EndpointKind::Host,
                node: &spec.node,
                profiles: &spec.profiles,
                id: endpoint_id("hep", &resource.id()),
                interface: match &spec.interface {
                    Some(HostInterface::Any) => InterfaceMatch::Any,
                    Some(HostInterface::Named(name)) => {
                        InterfaceMatch::Named(IfName::new(name.as_str()))
                    }
                    None => InterfaceMatch::ByAddress,
                },
                addresses: &spec.expected_ips,
                source_prefixes: &[],
            }),
            Spec::WorkloadEndpoint(spec) if exists(spec) => {
                let interface = IfName::new(spec.interface.as_ref()?.as_str());
                Some(Self {
                    kind: EndpointKind::Workload,
                    node: &spec.node,
                    profiles: &spec.profiles,
                    id: endpoint_id("wep", &resource.id()),
                    interface: InterfaceMatch::Named(interface),
                    addresses: &spec.addresses,
                    source_prefixes: &spec.allowed_sources,
                })
            }
            _ => None,
        }
    }

    /// The endpoint with its classes, each under its name, and with the labels that plugins know.
    pub(crate) fn compile(
        &self,
        classes: &[(ClassId, &Class)],
        labels: EffectiveLabels,
    ) -> Endpoint {
        let mut addresses = self.addresses.to_vec();
        addresses.sort_unstable();
        addresses.dedup();
        let mut source_prefixes: Vec<IpNet> =
            self.source_prefixes.iter().map(IpNet::trunc).collect();
        source_prefixes.sort_unstable();
        source_prefixes.dedup();
        Endpoint {
            kind: self.kind,
            interface: self.interface.clone(),
            addresses,
            source_prefixes,
            labels,
            classes: classes
                .iter()
                .map(|(id, class)| ((class.list, class.direction), id.clone()))
                .collect(),
        }
    }
}

/// Without addresses a workload is not there yet. One that asks for source prefixes is there for selectors, wherever it
/// is; its own node treats it as missing unless the node's settings allow that (specification §1.8).
pub(crate) fn exists(spec: &WorkloadEndpointSpec) -> bool {
    !spec.addresses.is_empty()
}

fn endpoint_id(kind: &str, id: &ResourceId) -> EndpointId {
    EndpointId::new(match &id.namespace {
        Some(namespace) => format!("{kind}/{namespace}/{}", id.name),
        None => format!("{kind}/{}", id.name),
    })
}
