//! What packets and events are about, by number: interfaces, endpoints and rules of the view that is enforced.
//!
//! Plugins and records know ends of a packet by small numbers that mean the same as long as the generation does; names
//! are looked up by those who want them. A function of the view and of who governs what; the reconciler publishes it.

use palisade_plugin_host::{Endpoint, EndpointId, Field, InterfaceId, RuleId, Way};
use palisade_policy::{
    ids::{self, IfName},
    resolve::Resolution,
    view::View,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

mod rules;

pub use rules::Known;
use rules::Rules;

/// Everything that has a number.
#[derive(Debug, Default)]
pub struct Inventory {
    generation: u64,
    /// By number.
    interfaces: Vec<IfName>,
    /// By number.
    endpoints: Vec<Endpoint>,
    hosts: BTreeMap<IfName, EndpointId>,
    workloads: BTreeMap<IfName, EndpointId>,
    /// Of host interfaces without an endpoint of their own, but exempt ones.
    default: Option<EndpointId>,
    resolution: Resolution,
    rules: Rules,
}

/// The latest inventory, for whoever is on another thread.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<RwLock<Arc<Inventory>>>);

impl Shared {
    /// The latest.
    pub fn now(&self) -> Arc<Inventory> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces it; the generation grows.
    pub fn replace(&self, view: &View, resolution: Resolution, interfaces: Vec<IfName>) {
        let generation = self.now().generation + 1;
        let new = Arc::new(Inventory::new(generation, view, resolution, interfaces));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

impl Inventory {
    fn new(
        generation: u64,
        view: &View,
        resolution: Resolution,
        mut interfaces: Vec<IfName>,
    ) -> Self {
        interfaces.sort();
        let number: BTreeMap<&ids::EndpointId, EndpointId> =
            view.endpoints.keys().zip((0..).map(EndpointId)).collect();
        let numbered = |governed: &BTreeMap<IfName, ids::EndpointId>| {
            let known = governed.iter();
            known
                .filter_map(|(name, id)| Some((name.clone(), *number.get(id)?)))
                .collect()
        };
        Self {
            generation,
            interfaces,
            endpoints: view
                .endpoints
                .iter()
                .map(|(id, endpoint)| {
                    let (namespace, name) = split(id);
                    Endpoint {
                        name: name.to_owned(),
                        namespace: namespace.to_owned(),
                        addresses: endpoint.addresses.clone(),
                        labels: fields(&endpoint.labels),
                    }
                })
                .collect(),
            hosts: numbered(&resolution.hosts),
            workloads: numbered(&resolution.workloads),
            default: resolution
                .default
                .as_ref()
                .and_then(|id| number.get(id).copied()),
            resolution,
            rules: Rules::of(view),
        }
    }

    /// Grows whenever a number may mean something else.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of an interface.
    pub fn interface(&self, name: &IfName) -> Option<InterfaceId> {
        let at = self.interfaces.binary_search(name).ok()?;
        u32::try_from(at).ok().map(InterfaceId)
    }

    /// The name of an interface.
    pub fn interface_name(&self, id: InterfaceId) -> Option<&str> {
        let name = self.interfaces.get(usize::try_from(id.0).ok()?)?;
        Some(name.as_str())
    }

    /// An endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.endpoints.get(usize::try_from(id.0).ok()?)
    }

    /// A rule that may decide; those of no policy have a name all the same.
    pub fn rule(&self, id: RuleId) -> Option<&Known> {
        self.rules.get(ids::RuleId(id.0), &self.interfaces)
    }

    /// Endpoints of this node at the ends of a packet: source, destination.
    pub fn ends(
        &self,
        way: Way,
        input: Option<&IfName>,
        output: Option<&IfName>,
    ) -> (Option<EndpointId>, Option<EndpointId>) {
        match way {
            Way::Input => {
                let from = input.and_then(|name| self.workloads.get(name).copied());
                (from, input.and_then(|name| self.host(name)))
            }
            Way::Output => (output.and_then(|name| self.host(name)), None),
            Way::Forward => {
                let workload = |name| self.workloads.get(name).copied();
                (input.and_then(workload), output.and_then(workload))
            }
        }
    }

    fn host(&self, name: &IfName) -> Option<EndpointId> {
        self.resolution.host_endpoint(name)?;
        self.hosts.get(name).copied().or(self.default)
    }
}

fn fields(labels: &BTreeMap<String, String>) -> Vec<Field> {
    let field = |(key, value): (&String, &String)| Field {
        key: key.clone(),
        value: value.clone(),
    };
    labels.iter().map(field).collect()
}

/// Namespace (empty: a host endpoint's) and name.
fn split(id: &ids::EndpointId) -> (&str, &str) {
    match id.as_str().split_once('/') {
        Some(("wep", rest)) => rest.split_once('/').unwrap_or(("", rest)),
        Some((_, name)) => ("", name),
        None => ("", id.as_str()),
    }
}

#[cfg(test)]
mod tests;
