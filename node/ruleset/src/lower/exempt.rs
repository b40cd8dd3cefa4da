//! What stays open on a governed host interface, whatever policy says.

use super::{
    Lowering,
    fragment::{immutable, nets_test},
    rule,
};
use crate::{
    ir::{Element, End, Expression, IcmpTest, Key, Rule, Set, SetName, Shape, Value, Verdict},
    stage::Dispatch,
};
use palisade_policy::{
    class::{Direction, PolicyList},
    rule::{Family, PortRange, Protocol, family_of},
    rule_id::{self, Exemption},
};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

/// Multicast listeners, routers, neighbours, redirects; multicast listeners again (version 2).
const NEIGHBOUR_DISCOVERY: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];
const DHCP6_CLIENT: u16 = 546;
const DHCP6_SERVER: u16 = 547;

impl Lowering<'_> {
    /// In order: neighbour discovery, DHCPv6, failsafes, the control plane.
    pub(super) fn exemptions(&mut self, dispatch: Dispatch) -> Vec<Rule> {
        let config = Arc::clone(&self.view.config);
        let mut rules = Vec::new();
        if config.ipv6 && config.exemptions.neighbour_discovery && dispatch.again.is_none() {
            rules.push(self.neighbour_discovery(dispatch));
        }
        if config.ipv6 && config.exemptions.dhcp6 {
            rules.extend(dhcp6(dispatch));
        }
        let destination = dispatch.again.unwrap_or(End::Destination);
        rules.extend(self.failsafes(dispatch, dispatch.direction, destination));
        if dispatch.list == PolicyList::Untracked {
            // Before connection tracking a reply is a packet like any other: it comes from the other side's port.
            let other = match dispatch.direction {
                Direction::Ingress => Direction::Egress,
                Direction::Egress => Direction::Ingress,
            };
            rules.extend(self.failsafes(dispatch, other, End::Source));
        }
        if config.exemptions.control_plane {
            match (dispatch.direction, dispatch.list) {
                (Direction::Egress, _) => {
                    rules.extend(self.control_plane(dispatch, End::Destination));
                }
                (Direction::Ingress, PolicyList::Untracked) => {
                    rules.extend(self.control_plane(dispatch, End::Source));
                }
                (Direction::Ingress, _) => {}
            }
        }
        rules
    }

    /// Behind a jump, so that everything else pays two tests.
    fn neighbour_discovery(&mut self, dispatch: Dispatch) -> Rule {
        let types = discovery_types(&NEIGHBOUR_DISCOVERY, dispatch.otherwise());
        let chain = immutable(&mut self.table, "discovery", dispatch.name, types);
        of_icmpv6(Verdict::Jump(chain))
    }

    /// Puts neighbour discovery in front of a list that is judged again. A return from a chain that it jumps to would come
    /// back to the list; so both ways are gotos.
    pub(super) fn behind_discovery(&mut self, dispatch: Dispatch, list: &mut Vec<Rule>) {
        let config = &self.view.config;
        if !(config.ipv6 && config.exemptions.neighbour_discovery) {
            return;
        }
        let mut add = |role, rules| immutable(&mut self.table, role, dispatch.name, rules);
        let rest = Verdict::Goto(add("class", std::mem::take(list)));
        let rest = rule([Expression::Verdict(rest)]);
        let mut types = discovery_types(&NEIGHBOUR_DISCOVERY, dispatch.otherwise());
        types.push(rest.clone());
        let discovery = Verdict::Goto(add("discovery", types));
        list.extend([of_icmpv6(discovery), rest]);
    }

    /// By protocol and port in one lookup; those of a network one by one. `of` says whose failsafes, `end` where their
    /// port stands.
    fn failsafes(&mut self, dispatch: Dispatch, of: Direction, end: End) -> Vec<Rule> {
        let config = Arc::clone(&self.view.config);
        let (name, all) = match of {
            Direction::Ingress => ("failsafe_in", &config.failsafe_inbound),
            Direction::Egress => ("failsafe_out", &config.failsafe_outbound),
        };
        let peer = match dispatch.direction {
            Direction::Ingress => End::Source,
            Direction::Egress => End::Destination,
        };
        let mut rules = Vec::new();
        let mut elements = BTreeSet::new();
        for failsafe in all {
            let family = failsafe.net.as_ref().map(family_of);
            match family {
                Some(Family::V6) if !self.view.config.ipv6 => continue,
                // nft cannot read a lookup of protocol and original port together.
                None if end != End::Original => {
                    let key = Value::ProtocolPort(failsafe.protocol, failsafe.port);
                    elements.insert(Element::single(key));
                    continue;
                }
                _ => {}
            }
            let mut expressions: Vec<_> = family.map(Expression::Family).into_iter().collect();
            expressions.extend([protocol(failsafe.protocol), port(end, failsafe.port)]);
            if let (Some(family), Some(net)) = (family, failsafe.net) {
                expressions.extend(nets_test(&mut self.table, family, peer, &[net], false));
            }
            expressions.push(Expression::Verdict(dispatch.otherwise()));
            let id = rule_id::failsafe(of, failsafe);
            rules.push(Rule::new(expressions).of(id));
        }
        if !elements.is_empty() {
            let set = SetName::new(name);
            self.add_set(set.clone(), Shape::ProtocolPort, elements);
            let key = Key::ProtocolPort(end);
            rules.insert(0, let_through(dispatch, key, set));
        }
        rules
    }

    /// The node's own connection; `end` says where the control plane stands.
    fn control_plane(&mut self, dispatch: Dispatch, end: End) -> Vec<Rule> {
        let id = rule_id::exemption(Exemption::ControlPlane);
        let mut rules = Vec::new();
        for (family, name, shape) in [
            (Family::V4, "control_plane4", Shape::Address4ProtocolPort),
            (Family::V6, "control_plane6", Shape::Address6ProtocolPort),
        ] {
            let of_family = |address: &&SocketAddr| address.is_ipv4() == (family == Family::V4);
            let elements: BTreeSet<Element> = self
                .environment
                .control_plane
                .iter()
                .filter(of_family)
                .map(|a| Value::AddressProtocolPort(a.ip(), Protocol::TCP, a.port()))
                .map(Element::single)
                .collect();
            if elements.is_empty() || (family == Family::V6 && !self.view.config.ipv6) {
                continue;
            }
            let set = SetName::new(name);
            self.add_set(set.clone(), shape, elements);
            let key = Key::AddressProtocolPort(family, end);
            let mut accept = let_through(dispatch, key, set).of(id);
            accept.expressions.insert(0, Expression::Family(family));
            rules.push(accept);
        }
        rules
    }

    fn add_set(&mut self, name: SetName, shape: Shape, elements: BTreeSet<Element>) {
        let set = Set {
            shape,
            interval: false,
            elements,
        };
        self.table.sets.insert(name, Arc::new(set));
    }
}

/// The verdict for each of these types.
pub(super) fn discovery_types(types: &[u8], verdict: Verdict) -> Vec<Rule> {
    let id = rule_id::exemption(Exemption::NeighbourDiscovery);
    let of_type = |icmp_type: &u8| {
        let icmp_type = *icmp_type;
        rule([
            protocol(Protocol::ICMPV6),
            Expression::Icmp(IcmpTest {
                icmp_type,
                code: None,
                not: false,
            }),
            Expression::Verdict(verdict.clone()),
        ])
        .of(id)
    };
    types.iter().map(of_type).collect()
}

pub(super) fn of_icmpv6(verdict: Verdict) -> Rule {
    rule([
        Expression::Family(Family::V6),
        protocol(Protocol::ICMPV6),
        Expression::Verdict(verdict),
    ])
}

/// Either way between client and server.
fn dhcp6(dispatch: Dispatch) -> [Rule; 2] {
    let id = rule_id::exemption(Exemption::Dhcp6);
    [(DHCP6_CLIENT, DHCP6_SERVER), (DHCP6_SERVER, DHCP6_CLIENT)].map(|(source, destination)| {
        rule([
            Expression::Family(Family::V6),
            protocol(Protocol::UDP),
            port(End::Source, source),
            port(dispatch.again.unwrap_or(End::Destination), destination),
            Expression::Verdict(dispatch.otherwise()),
        ])
        .of(id)
    })
}

/// By one lookup; which of the members it was, the rule does not know.
fn let_through(dispatch: Dispatch, key: Key, set: SetName) -> Rule {
    let not = false;
    rule([
        Expression::Lookup { key, set, not },
        Expression::Verdict(dispatch.otherwise()),
    ])
}

pub(super) const fn protocol(protocol: Protocol) -> Expression {
    Expression::Protocol {
        protocol,
        not: false,
    }
}

pub(super) const fn port(end: End, port: u16) -> Expression {
    Expression::Port {
        end,
        range: PortRange::single(port),
        not: false,
    }
}
