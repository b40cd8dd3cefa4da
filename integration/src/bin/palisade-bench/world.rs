//! A compiled view as the control plane would send it: one host endpoint on eth0, many policies that differ in port
//! with sources by selector, and a last one that allows UDP 9000 from the members of a set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Context, Result};
use ipnet::IpNet;
use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::{Failsafe, NodeConfig},
    delta::Held,
    digest::ItemHash,
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, EndpointId, IfName, PolicyId, SetId, TierName},
    item::ItemId,
    packet::{Environment, Interface},
    rule::{Action, EntityMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule},
    rule_id,
    set::IpSet,
    view::{Digest, View},
    wire::Op,
};

/// The port that the last policy opens, for UDP.
pub(crate) const OPEN_PORT: u16 = 9000;
/// The first TCP port of the other policies.
const FIRST_PORT: u16 = 10_000;

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Policies beside the last one.
    pub(crate) policies: u16,
    /// Rules in each of them.
    pub(crate) rules: u16,
    /// Sets that their sources are picked from.
    pub(crate) sets: u16,
    /// Members of the set of the last policy, beside those named.
    pub(crate) members: u16,
}

/// The policy with this number, with its rules at a generation: another generation is another policy of the same size.
pub(crate) fn policy(size: Size, number: u16, generation: u8) -> (PolicyId, Policy) {
    let id = PolicyId::new(format!("gnp/p{number:05}"));
    let rule = |at: u16| {
        let nth = u32::from(number) * u32::from(size.rules) + u32::from(at);
        let set = nth % u32::from(size.sets.max(1));
        let port = FIRST_PORT + u16::try_from(nth % 50_000).unwrap_or(0);
        let source = EntityMatch {
            sets: vec![source_set(set)],
            // Makes every rule of the policy another one.
            not_nets: match generation {
                0 => Vec::new(),
                other => vec![host(Ipv4Addr::new(192, 0, 2, other))],
            },
            ..EntityMatch::default()
        };
        allow(&id, Protocol::TCP, port, source)
    };
    let policy = Policy {
        ingress: (0..size.rules).map(rule).collect(),
        ..Policy::default()
    };
    (id, policy)
}

/// The set that the last policy allows from.
pub(crate) fn open_set() -> SetId {
    SetId::new("s:0000000000000000000000000000ffff")
}

/// A view of that size; `clients` are members of the set of the last policy.
pub(crate) fn view(size: Size, clients: &[Ipv4Addr]) -> View {
    let mut policies: BTreeMap<PolicyId, Arc<Policy>> = (0..size.policies)
        .map(|number| policy(size, number, 0))
        .map(|(id, policy)| (id, Arc::new(policy)))
        .collect();
    let last = PolicyId::new("gnp/z-open");
    let source = EntityMatch {
        sets: vec![open_set()],
        ..EntityMatch::default()
    };
    let open = Policy {
        ingress: vec![allow(&last, Protocol::UDP, OPEN_PORT, source)],
        ..Policy::default()
    };
    policies.insert(last, Arc::new(open));
    let classes: BTreeMap<Direction, Class> = [Direction::Ingress, Direction::Egress]
        .map(|direction| (direction, class(direction, policies.keys())))
        .into();
    let endpoint = Endpoint {
        kind: EndpointKind::Host,
        interface: InterfaceMatch::Named(IfName::new("eth0")),
        addresses: Vec::new(),
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes: classes
            .iter()
            .map(|(direction, class)| ((PolicyList::Normal, *direction), ClassId::of(class)))
            .collect(),
    };
    View {
        plugins: BTreeMap::new(),
        config: Arc::new(config()),
        endpoints: BTreeMap::from([(EndpointId::new("hep/host0"), Arc::new(endpoint))]),
        classes: classes
            .into_values()
            .map(|class| (ClassId::of(&class), Arc::new(class)))
            .collect(),
        policies,
        sets: sets(size, clients),
    }
}

/// Makes a view ask for every stage: untracked, pre-DNAT and forward policy that denies one port, and a workload.
pub(crate) fn add_stages(view: &mut View) {
    let (early, workload) = (PolicyId::new("gnp/early"), EndpointId::new("wep/w0"));
    let matches = Match {
        protocol: Some(Protocol::UDP),
        destination: EntityMatch {
            ports: PortMatch {
                ranges: vec![PortRange::single(OPEN_PORT - 1)],
                sets: Vec::new(),
            },
            ..EntityMatch::default()
        },
        ..Match::default()
    };
    let deny = |direction| Rule {
        id: rule_id::of_rule(&early, direction, &Action::Deny, &matches, 0),
        action: Action::Deny,
        matches: matches.clone(),
    };
    let policy = Policy {
        ingress: vec![deny(Direction::Ingress)],
        egress: vec![deny(Direction::Egress)],
        staged: false,
    };
    view.policies.insert(early.clone(), Arc::new(policy));
    let lists = [
        (PolicyList::Untracked, Direction::Ingress),
        (PolicyList::Untracked, Direction::Egress),
        (PolicyList::PreDnat, Direction::Ingress),
        (PolicyList::Forward, Direction::Ingress),
        (PolicyList::Forward, Direction::Egress),
    ];
    for endpoint in view.endpoints.values_mut() {
        for (list, direction) in lists {
            let mut class = class(Direction::Ingress, [&early].into_iter());
            (class.list, class.direction) = (list, direction);
            for tier in &mut class.tiers {
                tier.default = TierDefault::Pass;
            }
            let id = ClassId::of(&class);
            view.classes.insert(id.clone(), Arc::new(class));
            let classes = &mut Arc::make_mut(endpoint).classes;
            classes.insert((list, direction), id);
        }
    }
    let classes = [Direction::Ingress, Direction::Egress].map(|direction| {
        let mut class = class(direction, [&early].into_iter());
        class.endpoint = EndpointKind::Workload;
        let id = ClassId::of(&class);
        view.classes.insert(id.clone(), Arc::new(class));
        ((PolicyList::Normal, direction), id)
    });
    let endpoint = Endpoint {
        kind: EndpointKind::Workload,
        interface: InterfaceMatch::Named(IfName::new("cali0")),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 66, 0, 2))],
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes: classes.into(),
    };
    view.endpoints.insert(workload, Arc::new(endpoint));
}

/// A host with that interface.
pub(crate) fn environment(address: Ipv4Addr) -> Environment {
    let interface = |address: Ipv4Addr| Interface {
        up: true,
        addresses: vec![IpAddr::V4(address)],
        master: None,
    };
    Environment {
        interfaces: BTreeMap::from([
            (IfName::new("eth0"), interface(address)),
            (IfName::new("lo"), interface(Ipv4Addr::LOCALHOST)),
        ]),
        control_plane: Vec::new(),
    }
}

/// The view as a node holds it.
pub(crate) fn held(view: &View) -> Result<Held> {
    let mut digest = Digest::default();
    let mut ops = Vec::new();
    for (id, body) in view.bodies() {
        let hash = ItemHash::of_body(&body.encode());
        digest.add_item(&id, &hash);
        ops.push(Op::Put { id, hash, body });
    }
    for (id, set) in &view.sets {
        let members: Vec<_> = set.members().collect();
        digest.add_item(&ItemId::from(id), &ItemHash::of_members(&members));
        ops.push(Op::PutSet {
            id: id.clone(),
            set: Arc::clone(set),
        });
    }
    Held::from_snapshot(ops, &digest).context("a valid view")
}

/// The net of one address.
pub(crate) fn host(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::V4(address))
}

fn allow(owner: &PolicyId, protocol: Protocol, port: u16, source: EntityMatch) -> Rule {
    let matches = Match {
        protocol: Some(protocol),
        source,
        destination: EntityMatch {
            ports: PortMatch {
                ranges: vec![PortRange::single(port)],
                sets: Vec::new(),
            },
            ..EntityMatch::default()
        },
        ..Match::default()
    };
    Rule {
        id: rule_id::of_rule(owner, Direction::Ingress, &Action::Allow, &matches, 0),
        action: Action::Allow,
        matches,
    }
}

fn class<'a>(direction: Direction, policies: impl Iterator<Item = &'a PolicyId>) -> Class {
    let tiers = match direction {
        Direction::Ingress => vec![ClassTier {
            name: TierName::new("default"),
            default: TierDefault::Deny,
            policies: policies.cloned().collect(),
            staged: Vec::new(),
        }],
        Direction::Egress => Vec::new(),
    };
    Class {
        list: PolicyList::Normal,
        direction,
        endpoint: EndpointKind::Host,
        tiers,
        profiles: Vec::new(),
    }
}

fn source_set(number: u32) -> SetId {
    SetId::new(format!("s:{number:032x}"))
}

fn sets(size: Size, clients: &[Ipv4Addr]) -> BTreeMap<SetId, Arc<IpSet>> {
    let nets = |addresses: BTreeSet<IpNet>| Arc::new(IpSet::Nets(addresses));
    let source = |number: u16| {
        let base = Ipv4Addr::new(10, 128, 0, 0).to_bits() + u32::from(number) * 32;
        let members = (0..20).map(|n| host(Ipv4Addr::from_bits(base + n)));
        (source_set(number.into()), nets(members.collect()))
    };
    let base = Ipv4Addr::new(10, 192, 0, 0).to_bits();
    let members = (0..size.members)
        .map(|n| Ipv4Addr::from_bits(base + u32::from(n)))
        .chain(clients.iter().copied())
        .map(host);
    let used = if size.policies == 0 { 0 } else { size.sets };
    (0..used)
        .map(source)
        .chain([(open_set(), nets(members.collect()))])
        .collect()
}

/// Calico's defaults.
fn config() -> NodeConfig {
    let failsafes = |ports: &[(Protocol, u16)]| {
        let failsafe = |&(protocol, port)| Failsafe {
            protocol,
            port,
            net: None,
        };
        let mut failsafes: Vec<Failsafe> = ports.iter().map(failsafe).collect();
        failsafes.sort();
        failsafes
    };
    let tcp = |ports: [u16; 8]| ports.map(|port| (Protocol::TCP, port));
    let both = tcp([179, 2379, 2380, 5473, 6443, 6666, 6667, 7600]);
    let ssh = (Protocol::TCP, 22);
    let (dhcp, dns) = ((Protocol::UDP, 68), (Protocol::UDP, 53));
    let dhcp_server = (Protocol::UDP, 67);
    let enrolment = (Protocol::TCP, 7601);
    NodeConfig {
        failsafe_inbound: failsafes(&[&both[..], &[ssh, dhcp, enrolment]].concat()),
        failsafe_outbound: failsafes(&[&both[..], &[dns, dhcp_server, enrolment]].concat()),
        log_limit: None,
        ..NodeConfig::default()
    }
}
