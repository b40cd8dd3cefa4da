//! Endpoints of a node, and which classes judge them.

use crate::{
    class::{Direction, EndpointKind, PolicyList},
    ids::{ClassId, IfName},
};
use ipnet::IpNet;
use std::{collections::BTreeMap, net::IpAddr};

/// How an endpoint names the interface it governs (specification §5.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum InterfaceMatch {
    /// This one.
    Named(IfName),
    /// Every interface that no other endpoint governs.
    Any,
    /// Those that carry one of the endpoint's addresses.
    ByAddress,
}

/// An endpoint of this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// What sits behind it.
    pub kind: EndpointKind,
    /// Where it is.
    pub interface: InterfaceMatch,
    /// Expected addresses of a host endpoint, addresses of a workload; sorted.
    pub addresses: Vec<IpAddr>,
    /// Sources that a workload may use beside its addresses; sorted, host bits zero. Where there are any and the node's
    /// configuration allows none, the endpoint governs nothing (specification §1.8).
    pub source_prefixes: Vec<IpNet>,
    /// For plugins; empty while there are none. No verdict depends on them.
    pub labels: BTreeMap<String, String>,
    /// The class of each list and direction. `Normal` is there for both directions; another list only where policy of
    /// that list and direction selects the endpoint.
    pub classes: BTreeMap<(PolicyList, Direction), ClassId>,
}

impl Endpoint {
    /// Whether the address is its own, or in one of its source prefixes.
    pub fn may_send_from(&self, source: IpAddr) -> bool {
        self.addresses.contains(&source)
            || self.source_prefixes.iter().any(|net| net.contains(&source))
    }
}
