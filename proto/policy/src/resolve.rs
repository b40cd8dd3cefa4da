//! Which endpoint governs which interface (specification §5.1, with the exemptions of loopback).
//!
//! A function of the view and of the live interfaces, so that ruleset, evaluator and status agree by construction.
//! An endpoint that names its interface governs it even while the interface is absent: when it appears there is no
//! moment without policy.

use crate::{
    class::EndpointKind,
    endpoint::InterfaceMatch,
    ids::{EndpointId, IfName},
    packet::{Environment, Master},
    view::View,
};
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet};

mod addresses;
mod precedence;

pub use addresses::{Disagreement, disagreements};
use precedence::precedes;

/// Who governs what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolution {
    /// Host interfaces governed by an endpoint of their own, by name or by address.
    pub hosts: BTreeMap<IfName, EndpointId>,
    /// Workload interfaces with an endpoint.
    pub workloads: BTreeMap<IfName, EndpointId>,
    /// The endpoint of all other host interfaces.
    pub default: Option<EndpointId>,
    /// Host interfaces that the default endpoint leaves alone: `lo` if exempt. Excluded ones are not among them: their
    /// addresses are not looked at, so no other endpoint claims them, and the default one remains (specification §5.1).
    pub exempt: BTreeSet<IfName>,
    /// Prefixes of workload interfaces.
    pub workload_prefixes: Vec<String>,
    /// How each endpoint of the view fares.
    pub status: BTreeMap<EndpointId, EndpointStatus>,
}

/// How an endpoint fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointStatus {
    /// Up, down or in error.
    pub state: EndpointState,
    /// The present interfaces it governs; empty for a default endpoint.
    pub interfaces: Vec<IfName>,
}

/// State of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndpointState {
    /// It governs interfaces, all of which are up; or it is the default.
    Up,
    /// Some interface it governs is down.
    Down,
    /// It governs nothing, or an interface on which its rules do not judge what they say.
    Error(Idle),
}

/// Why an endpoint governs nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Idle {
    /// The interface it names is absent; it takes over once there.
    #[error("interface `{0}` is absent")]
    Absent(IfName),
    /// No interface has any of its addresses.
    #[error("no interface carries an expected address")]
    NoAddress,
    /// An endpoint with a smaller name governs.
    #[error("endpoint `{0}` governs instead")]
    Outranked(EndpointId),
    /// A host endpoint names a workload interface.
    #[error("`{0}` is a workload interface")]
    WorkloadInterface(IfName),
    /// A workload's interface has no workload prefix.
    #[error("`{0}` has no workload prefix")]
    HostInterface(IfName),
    /// A workload asks for source prefixes, which the node's configuration allows to nobody.
    #[error(
        "it counts as missing: allowSpoofedSourcePrefixes needs a FelixConfiguration with workloadSourceSpoofing Any"
    )]
    SourcePrefixes,
    /// Excluded by configuration.
    #[error("interface `{0}` is excluded")]
    Excluded(IfName),
    /// Its interface is a port of another device, whose name packets show instead. The rules stay in the kernel, so that
    /// there is no moment without policy when the interface leaves the device.
    #[error(
        "`{interface}` is a port of {master}, and packets that arrive there show `{}`: name `{}` instead",
        master.name, master.name
    )]
    Port {
        /// The interface that it governs.
        interface: IfName,
        /// The device.
        master: Master,
    },
}

impl Resolution {
    /// Whether the interface is a workload's, known or not.
    pub fn is_workload(&self, interface: &IfName) -> bool {
        self.workload_prefixes
            .iter()
            .any(|prefix| interface.as_str().starts_with(prefix.as_str()))
    }

    /// The host endpoint that judges local traffic of the interface. Workload interfaces have none.
    pub fn host_endpoint(&self, interface: &IfName) -> Option<&EndpointId> {
        if self.is_workload(interface) {
            return None;
        }
        self.hosts.get(interface).or_else(|| {
            self.default
                .as_ref()
                .filter(|_| !self.exempt.contains(interface))
        })
    }

    /// The host endpoint that judges what is forwarded through the interface: workload interfaces fall to the default.
    pub fn forward_endpoint(&self, interface: &IfName) -> Option<&EndpointId> {
        if self.is_workload(interface) {
            return self.default.as_ref();
        }
        self.host_endpoint(interface)
    }
}

/// Whether text is a name, or a regular expression between slashes that compiles.
pub fn is_exclude_pattern(pattern: &str) -> bool {
    Exclude::parse(pattern).is_some()
}

enum Exclude {
    Name(String),
    Pattern(Regex),
}

impl Exclude {
    fn parse(pattern: &str) -> Option<Self> {
        let inner = pattern
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'));
        match inner {
            Some(expression) => Regex::new(expression).ok().map(Self::Pattern),
            None if pattern.is_empty() || pattern.contains('/') => None,
            None => Some(Self::Name(pattern.to_owned())),
        }
    }

    fn covers(&self, interface: &IfName) -> bool {
        match self {
            Self::Name(name) => name == interface.as_str(),
            Self::Pattern(regex) => regex.is_match(interface.as_str()),
        }
    }
}

/// Decides who governs what.
pub fn resolve(view: &View, environment: &Environment) -> Resolution {
    let excludes: Vec<Exclude> = view
        .config
        .interface_exclude
        .iter()
        .filter_map(|pattern| Exclude::parse(pattern))
        .collect();
    let excluded = |name: &IfName| excludes.iter().any(|e| e.covers(name));
    let mut resolution = Resolution {
        workload_prefixes: view.config.interface_prefixes.clone(),
        ..Resolution::default()
    };
    if view.config.exemptions.loopback {
        resolution.exempt.insert(IfName::new("lo"));
    }
    // Endpoints come in order of their ids, so the first claim is that of the smallest name.
    for (id, endpoint) in &view.endpoints {
        let claimed = match (endpoint.kind, &endpoint.interface) {
            (EndpointKind::Workload, _)
                if !endpoint.source_prefixes.is_empty() && !view.config.allow_source_prefixes =>
            {
                Err(Idle::SourcePrefixes)
            }
            (_, InterfaceMatch::Any) => claim_default(&mut resolution, id),
            (EndpointKind::Workload, InterfaceMatch::Named(name)) => {
                if resolution.is_workload(name) {
                    claim_workload(&mut resolution, id, name)
                } else {
                    Err(Idle::HostInterface(name.clone()))
                }
            }
            (EndpointKind::Host, InterfaceMatch::Named(name)) if resolution.is_workload(name) => {
                Err(Idle::WorkloadInterface(name.clone()))
            }
            (EndpointKind::Host, InterfaceMatch::Named(name)) if excluded(name) => {
                Err(Idle::Excluded(name.clone()))
            }
            (EndpointKind::Host, InterfaceMatch::Named(name)) => {
                claim(&mut resolution.hosts, id, [name.clone()])
            }
            (_, InterfaceMatch::ByAddress) => {
                let carriers: Vec<IfName> = environment
                    .interfaces
                    .iter()
                    .filter(|(name, interface)| {
                        !resolution.is_workload(name)
                            && !excluded(name)
                            && interface
                                .addresses
                                .iter()
                                .any(|address| endpoint.addresses.contains(address))
                    })
                    .map(|(name, _)| name.clone())
                    .collect();
                claim(&mut resolution.hosts, id, carriers)
            }
        };
        resolution
            .status
            .insert(id.clone(), status(claimed, environment));
    }
    resolution
}

fn claim_default(resolution: &mut Resolution, id: &EndpointId) -> Result<Vec<IfName>, Idle> {
    match &resolution.default {
        Some(other) => Err(Idle::Outranked(other.clone())),
        None => {
            resolution.default = Some(id.clone());
            Ok(Vec::new())
        }
    }
}

fn claim_workload(
    resolution: &mut Resolution,
    id: &EndpointId,
    name: &IfName,
) -> Result<Vec<IfName>, Idle> {
    match resolution.workloads.get(name).cloned() {
        Some(other) if precedes(&other, id) => return Err(Idle::Outranked(other)),
        Some(other) => {
            let outranked = EndpointStatus {
                state: EndpointState::Error(Idle::Outranked(id.clone())),
                interfaces: Vec::new(),
            };
            resolution.status.insert(other, outranked);
        }
        None => {}
    }
    resolution.workloads.insert(name.clone(), id.clone());
    Ok(vec![name.clone()])
}

fn claim(
    governed: &mut BTreeMap<IfName, EndpointId>,
    id: &EndpointId,
    wanted: impl IntoIterator<Item = IfName>,
) -> Result<Vec<IfName>, Idle> {
    let mut idle = Idle::NoAddress;
    let mut won = Vec::new();
    for name in wanted {
        match governed.get(&name) {
            Some(other) => idle = Idle::Outranked(other.clone()),
            None => {
                governed.insert(name.clone(), id.clone());
                won.push(name);
            }
        }
    }
    if won.is_empty() { Err(idle) } else { Ok(won) }
}

fn status(claimed: Result<Vec<IfName>, Idle>, environment: &Environment) -> EndpointStatus {
    let interfaces = match claimed {
        Ok(interfaces) => interfaces,
        Err(idle) => {
            return EndpointStatus {
                state: EndpointState::Error(idle),
                interfaces: Vec::new(),
            };
        }
    };
    let absent = interfaces
        .iter()
        .find(|name| !environment.interfaces.contains_key(name));
    let port = interfaces
        .iter()
        .find_map(|name| Some((name, environment.master(name)?)));
    let state = if let Some(name) = absent {
        EndpointState::Error(Idle::Absent(name.clone()))
    } else if let Some((interface, master)) = port {
        EndpointState::Error(Idle::Port {
            interface: interface.clone(),
            master: master.clone(),
        })
    } else if interfaces.iter().all(|name| {
        environment
            .interfaces
            .get(name)
            .is_some_and(|interface| interface.up)
    }) {
        EndpointState::Up
    } else {
        EndpointState::Down
    };
    EndpointStatus {
        interfaces: if absent.is_some() {
            Vec::new()
        } else {
            interfaces
        },
        state,
    }
}

#[cfg(test)]
mod tests;
