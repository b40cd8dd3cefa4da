//! Workloads: where they may send from, their way to the host, their interfaces without endpoint, tunnels.

use super::{
    Lowering, accept, exempt,
    fragment::{immutable, nets_test},
    rule,
    rule::audit,
};
use crate::{
    ir::{
        ChainName, Element, End, Expression, Key, Map, Rule, Set, SetName, Shape, Table, Value,
        Verdict,
    },
    plugins::LogAction,
    stage::Dispatch,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use palisade_policy::{
    config::EndpointToHostAction,
    rule::{Family, Protocol, family_of},
    rule_id,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// What a workload may always ask of its host; not router advertisements and redirects.
const DISCOVERY: [u8; 6] = [130, 131, 132, 133, 135, 136];
const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
const NO_ADDRESS4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 32);
const NO_ADDRESS6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128);
const BROADCAST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32);
const IPIP: Protocol = Protocol(4);

impl Lowering<'_> {
    /// Workload interfaces go through a chain that knows who may send from which address.
    pub(super) fn source_check(&mut self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (family, name, shape) in [
            (Family::V4, "sources4", Shape::InterfaceAddress4),
            (Family::V6, "sources6", Shape::InterfaceAddress6),
        ] {
            if family == Family::V6 && !self.view.config.ipv6 {
                continue;
            }
            let set = SetName::new(name);
            let elements = self.sources(family);
            let interval = false;
            let content = Arc::new(Set {
                shape,
                interval,
                elements,
            });
            self.table.sets.insert(set.clone(), content);
            let key = Key::InterfaceAddress(Dispatch::INPUT.side, family, End::Source);
            let not = false;
            rules.push(rule([
                Expression::Family(family),
                Expression::Lookup { key, set, not },
                Expression::Verdict(Verdict::Accept),
            ]));
        }
        rules.extend(self.source_prefixes());
        // Who has no address yet asks for one.
        rules.push(rule([
            Expression::Family(Family::V4),
            exempt::protocol(Protocol::UDP),
            net(End::Source, NO_ADDRESS4),
            net(End::Destination, BROADCAST),
            Expression::Verdict(Verdict::Accept),
        ]));
        if self.view.config.ipv6 {
            rules.push(rule([
                Expression::Family(Family::V6),
                net(End::Source, LINK_LOCAL),
                Expression::Verdict(Verdict::Accept),
            ]));
            rules.push(rule([
                Expression::Family(Family::V6),
                exempt::protocol(Protocol::ICMPV6),
                net(End::Source, NO_ADDRESS6),
                Expression::Verdict(Verdict::Accept),
            ]));
        }
        rules.push(self.deny(Dispatch::UNTRACKED_IN, rule_id::source_check()));
        let name = ChainName::new("source_check");
        self.regular(&name, rules);
        self.per_prefix(Dispatch::INPUT, &rule([goto(name)]))
    }

    /// After the addresses: few workloads have prefixes, and they ask for one chain more only where no address matched.
    fn source_prefixes(&mut self) -> Option<Rule> {
        let mut elements = BTreeMap::new();
        for (interface, id) in &self.resolution.workloads {
            let endpoint = self.view.endpoints.get(id);
            let prefixes = endpoint.map_or(&[][..], |endpoint| &endpoint.source_prefixes);
            let families = [Family::V4, Family::V6];
            let used = families
                .iter()
                .filter(|family| **family == Family::V4 || self.view.config.ipv6);
            let rules: Vec<Rule> = used
                .filter_map(|family| prefix_rule(&mut self.table, *family, prefixes))
                .collect();
            if !rules.is_empty() {
                let chain = immutable(&mut self.table, "prefixes", "source_check", rules);
                let interface = Element::single(Value::Interface(interface.clone()));
                elements.insert(interface, Verdict::Jump(chain));
            }
        }
        if elements.is_empty() {
            return None;
        }
        let map = SetName::new("sources_if");
        let content = Map {
            shape: Shape::Interface,
            interval: false,
            elements,
        };
        self.table.maps.insert(map.clone(), Arc::new(content));
        let key = Key::Interface(Dispatch::INPUT.side);
        Some(rule([Expression::VerdictMap { key, map }]))
    }

    fn sources(&self, family: Family) -> BTreeSet<Element> {
        self.resolution
            .workloads
            .iter()
            .filter_map(|(interface, id)| Some((interface, self.view.endpoints.get(id)?)))
            .flat_map(|(interface, endpoint)| {
                let of_family =
                    move |address: &&std::net::IpAddr| address.is_ipv4() == (family == Family::V4);
                let addresses = endpoint.addresses.iter().filter(of_family);
                addresses.map(|a| Value::InterfaceAddress(interface.clone(), *a))
            })
            .map(Element::single)
            .collect()
    }

    /// Neighbour discovery; the action, where it drops; the workload's egress policy. Host endpoints have no say.
    pub(super) fn workload_to_host(&mut self) -> Vec<Rule> {
        let mut rules = Vec::new();
        if self.view.config.ipv6 {
            rules.push(self.workload_discovery());
        }
        if self.view.config.endpoint_to_host_action == EndpointToHostAction::Drop {
            let id = rule_id::endpoint_to_host();
            let log = self.audits.then(|| audit(LogAction::Deny, id));
            let drop = Expression::Verdict(Verdict::Drop);
            rules.push(Rule::new(log.into_iter().chain([drop]).collect()).of(id));
        } else {
            if self.in_use.workloads {
                rules.push(self.workload_map(Dispatch::WORKLOAD_FROM));
            }
            rules.push(self.deny_unknown(Dispatch::WORKLOAD_FROM));
        }
        let name = ChainName::new("workload_to_host");
        self.regular(&name, rules);
        self.per_prefix(Dispatch::INPUT, &rule([goto(name)]))
    }

    fn workload_discovery(&mut self) -> Rule {
        let types = exempt::discovery_types(&DISCOVERY, Verdict::Accept);
        let chain = immutable(&mut self.table, "discovery", "workload_to_host", types);
        exempt::of_icmpv6(Verdict::Jump(chain))
    }

    /// A workload interface that no endpoint has.
    pub(super) fn unknown_workloads(&self, dispatch: Dispatch) -> Vec<Rule> {
        self.per_prefix(dispatch, &self.deny_unknown(dispatch))
    }

    fn deny_unknown(&self, dispatch: Dispatch) -> Rule {
        // Without an id: it would say which interface, and the rule does not know that.
        rule([self.denial(dispatch)])
    }

    /// What goes from the host to its workloads is not the host endpoint's business.
    pub(super) fn to_workloads(&self, dispatch: Dispatch) -> Vec<Rule> {
        self.per_prefix(dispatch, &accept())
    }

    /// Workloads send no tunnels, unless they may.
    pub(super) fn tunnel_block(&self, dispatch: Dispatch) -> Vec<Rule> {
        let config = &self.view.config;
        let mut blocked = Vec::new();
        if !config.allow_vxlan_from_workloads {
            let port = exempt::port(End::Destination, config.vxlan_port);
            blocked.push(vec![exempt::protocol(Protocol::UDP), port]);
        }
        if !config.allow_ipip_from_workloads {
            blocked.push(vec![exempt::protocol(IPIP)]);
        }
        blocked
            .into_iter()
            .map(|mut tests| {
                let id = rule_id::tunnel();
                tests.extend(self.deny(dispatch, id).expressions);
                Rule::new(tests).of(id)
            })
            .collect()
    }

    /// The rule, for each prefix of workload interfaces.
    fn per_prefix(&self, dispatch: Dispatch, then: &Rule) -> Vec<Rule> {
        let rule = |prefix: &String| {
            let mut rule = then.clone();
            let side = dispatch.side;
            let prefix = prefix.clone();
            rule.expressions
                .insert(0, Expression::InterfacePrefix { side, prefix });
            rule
        };
        self.resolution.workload_prefixes.iter().map(rule).collect()
    }
}

/// Accepts what comes from the prefixes of a family; `None` where there are none.
fn prefix_rule(part: &mut Table, family: Family, prefixes: &[IpNet]) -> Option<Rule> {
    let nets: Vec<IpNet> = prefixes
        .iter()
        .filter(|net| family_of(net) == family)
        .copied()
        .collect();
    if nets.is_empty() {
        return None;
    }
    let mut expressions = vec![Expression::Family(family)];
    expressions.extend(nets_test(part, family, End::Source, &nets, false));
    expressions.push(Expression::Verdict(Verdict::Accept));
    Some(Rule::new(expressions))
}

const fn goto(chain: ChainName) -> Expression {
    Expression::Verdict(Verdict::Goto(chain))
}

fn net(end: End, net: impl Into<IpNet>) -> Expression {
    Expression::Net {
        end,
        net: net.into(),
        not: false,
    }
}
