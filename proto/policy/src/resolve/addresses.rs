//! Where an endpoint's expected addresses, which stand for it in the selectors of others, are not those of its
//! interfaces. In Calico nothing tells (specification §5.1, "a wrong expectedIP is not detected").

use super::Resolution;
use crate::{
    class::EndpointKind,
    endpoint::{Endpoint, InterfaceMatch},
    ids::EndpointId,
    packet::Environment,
    view::View,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

/// What selectors get wrong about an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Disagreement {
    /// Expected, and on no interface that the endpoint governs: selectors admit whoever has them. Sorted.
    pub absent: Vec<IpAddr>,
    /// On an interface that the endpoint governs, and not expected: selectors miss them. Sorted.
    pub unexpected: Vec<IpAddr>,
}

/// The host endpoints that expect addresses, govern something, and do not have just those. Addresses that never leave
/// their link do not count. Of a default endpoint only absent addresses are told: a host has bridges and tunnels that
/// nobody else sees.
pub fn disagreements(
    view: &View,
    environment: &Environment,
    resolution: &Resolution,
) -> BTreeMap<EndpointId, Disagreement> {
    let expecting = view.endpoints.iter().filter(|(_, endpoint)| {
        endpoint.kind == EndpointKind::Host && !endpoint.addresses.is_empty()
    });
    expecting
        .filter_map(|(id, endpoint)| {
            let told = disagreement(id, endpoint, environment, resolution)?;
            Some((id.clone(), told))
        })
        .collect()
}

fn disagreement(
    id: &EndpointId,
    endpoint: &Endpoint,
    environment: &Environment,
    resolution: &Resolution,
) -> Option<Disagreement> {
    let is_default = endpoint.interface == InterfaceMatch::Any;
    let governed = environment
        .interfaces
        .iter()
        .filter(|(name, _)| resolution.host_endpoint(name) == Some(id));
    let present: BTreeSet<IpAddr> = governed
        .flat_map(|(_, interface)| interface.addresses.iter().copied())
        .collect();
    // An endpoint that governs nothing has a status that says so.
    if present.is_empty() {
        return None;
    }
    let expected: BTreeSet<IpAddr> = endpoint.addresses.iter().copied().collect();
    let told = Disagreement {
        absent: expected.difference(&present).copied().collect(),
        unexpected: present
            .difference(&expected)
            .copied()
            .filter(|address| !is_default && leaves_the_link(*address))
            .collect(),
    };
    (told != Disagreement::default()).then_some(told)
}

fn leaves_the_link(address: IpAddr) -> bool {
    let stays = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(stays || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &[IpAddr]| {
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        if !self.absent.is_empty() {
            write!(f, "none of its interfaces has {}", list(&self.absent))?;
        }
        if !self.unexpected.is_empty() {
            let separator = if self.absent.is_empty() { "" } else { "; " };
            write!(
                f,
                "{separator}its expected addresses lack {}",
                list(&self.unexpected)
            )?;
        }
        Ok(())
    }
}
