//! Small views, made by hand.

use palisade_policy::{
    class::{Class, ClassProfile, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::{Failsafe, LogLimit, NodeConfig},
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, PolicyId, RuleId, SetId, TierName},
    rule::{Action, EntityMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule},
    set::{IpSet, PortMember},
    view::View,
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) fn node_config() -> NodeConfig {
    let failsafe = |protocol, port, net: Option<&str>| Failsafe {
        protocol,
        port,
        net: net.map(|net| net.parse().expect("a net")),
    };
    NodeConfig {
        failsafe_inbound: vec![
            failsafe(Protocol::TCP, 22, None),
            failsafe(Protocol::UDP, 68, None),
        ],
        failsafe_outbound: vec![
            failsafe(Protocol::TCP, 7600, None),
            failsafe(Protocol::UDP, 53, Some("10.0.0.0/8")),
        ],
        log_limit: Some(LogLimit {
            rate: 10,
            seconds: 60,
            burst: 5,
        }),
        ..NodeConfig::default()
    }
}

pub(crate) fn rule(id: u64, action: Action, matches: Match) -> Rule {
    Rule {
        id: RuleId(id),
        action,
        matches,
    }
}

fn tcp(ranges: &[(u16, u16)]) -> Match {
    Match {
        protocol: Some(Protocol::TCP),
        destination: EntityMatch {
            ports: PortMatch {
                ranges: ranges
                    .iter()
                    .filter_map(|(a, b)| PortRange::new(*a, *b))
                    .collect(),
                sets: Vec::new(),
            },
            ..EntityMatch::default()
        },
        ..Match::default()
    }
}

/// One destination port of a protocol.
pub(crate) fn port(protocol: Protocol, port: u16) -> Match {
    Match {
        protocol: Some(protocol),
        ..tcp(&[(port, port)])
    }
}

pub(crate) fn from(mut matches: Match, set: &str) -> Match {
    matches.source.sets = vec![SetId::from(set)];
    matches
}

/// Allows one TCP port from a set.
pub(crate) fn port_policy(port: u16, set: &str) -> Policy {
    Policy {
        ingress: vec![rule(
            u64::from(port) + 1,
            Action::Allow,
            from(tcp(&[(port, port)]), set),
        )],
        ..Policy::default()
    }
}

fn sets() -> BTreeMap<SetId, Arc<IpSet>> {
    let nets =
        |nets: &[&str]| IpSet::Nets(nets.iter().map(|n| n.parse().expect("a net")).collect());
    let web = PortMember {
        address: "10.0.0.7".parse().expect("an address"),
        protocol: Protocol::TCP,
        port: 8080,
    };
    BTreeMap::from([
        (
            "s:01".into(),
            Arc::new(nets(&["10.0.0.5/32", "fd00::5/128"])),
        ),
        (
            "s:02".into(),
            Arc::new(nets(&[
                "10.1.0.0/16",
                "10.1.2.0/24",
                "10.2.0.0/16",
                "10.4.0.1/32",
            ])),
        ),
        ("p:01".into(), Arc::new(IpSet::Ports([web].into()))),
    ])
}

/// One `eth0` with these tiers inbound, and nothing outbound.
pub(crate) fn view(policies: Vec<(String, Policy)>, profiles: Vec<ClassProfile>) -> View {
    let class = |direction, tiers, profiles| Class {
        list: PolicyList::Normal,
        direction,
        endpoint: EndpointKind::Host,
        tiers,
        profiles,
    };
    let tier = ClassTier {
        name: TierName::from("default"),
        default: TierDefault::Deny,
        policies: policies
            .iter()
            .filter(|(name, _)| name.starts_with("gnp/"))
            .map(|(name, _)| PolicyId::from(name.as_str()))
            .collect(),
        staged: Vec::new(),
    };
    let classes = [
        class(Direction::Ingress, vec![tier], profiles),
        class(Direction::Egress, Vec::new(), Vec::new()),
    ];
    let of = |class: &Class| ((class.list, class.direction), ClassId::of(class));
    let endpoint = Endpoint {
        kind: EndpointKind::Host,
        interface: InterfaceMatch::Named("eth0".into()),
        addresses: Vec::new(),
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes: classes.iter().map(of).collect(),
    };
    View {
        plugins: BTreeMap::new(),
        config: Arc::new(node_config()),
        endpoints: BTreeMap::from([("hep/h0".into(), Arc::new(endpoint))]),
        classes: classes
            .into_iter()
            .map(|class| (ClassId::of(&class), Arc::new(class)))
            .collect(),
        policies: policies
            .into_iter()
            .map(|(name, policy)| (PolicyId::from(name.as_str()), Arc::new(policy)))
            .collect(),
        sets: sets(),
    }
}

/// Something of everything.
pub(crate) fn small_view() -> View {
    let named = Match {
        protocol: Some(Protocol::TCP),
        destination: EntityMatch {
            ports: PortMatch {
                ranges: vec![PortRange::single(443)],
                sets: vec!["p:01".into()],
            },
            ..EntityMatch::default()
        },
        ..Match::default()
    };
    let log = Action::Log {
        prefix: "seen: ".to_owned(),
    };
    let policy = Policy {
        ingress: vec![
            rule(1, Action::Deny, from(Match::default(), "s:02")),
            rule(2, log, tcp(&[(80, 80)])),
            rule(
                3,
                Action::Allow,
                from(tcp(&[(80, 80), (8000, 8100)]), "s:01"),
            ),
            rule(4, Action::Pass, tcp(&[(8050, 8050)])),
            rule(5, Action::Allow, named),
            rule(
                6,
                Action::Allow,
                Match {
                    protocol: Some(Protocol::UDP),
                    ..Match::default()
                },
            ),
        ],
        ..Policy::default()
    };
    let allow = Policy {
        ingress: vec![rule(7, Action::Allow, Match::default())],
        ..Policy::default()
    };
    view(
        vec![
            ("gnp/web".to_owned(), policy),
            ("profile/open".to_owned(), allow),
        ],
        vec![ClassProfile::Present("profile/open".into())],
    )
}

/// So many policies of one port each.
pub(crate) fn wide_view(policies: u16) -> View {
    let one = |n: u16| (format!("gnp/p{n:04}"), port_policy(n, "s:01"));
    view((0..policies).map(one).collect(), Vec::new())
}

/// A second class of the endpoint of [`small_view`], with the policy that it has.
pub(crate) fn add_list(view: &mut View, list: PolicyList, direction: Direction) {
    let mut endpoint = (*view.endpoints[&"hep/h0".into()]).clone();
    let normal = &endpoint.classes[&(PolicyList::Normal, Direction::Ingress)];
    let mut class = (*view.classes[normal]).clone();
    (class.list, class.direction) = (list, direction);
    class.profiles.clear();
    class.tiers[0].default = TierDefault::Pass;
    let id = ClassId::of(&class);
    endpoint.classes.insert((list, direction), id.clone());
    view.classes.insert(id, Arc::new(class));
    view.endpoints.insert("hep/h0".into(), Arc::new(endpoint));
}

/// A workload that may do what the endpoint of [`small_view`] may.
pub(crate) fn add_workload(view: &mut View) {
    let mut classes = BTreeMap::new();
    for (place, id) in view.endpoints[&"hep/h0".into()].classes.clone() {
        let mut class = (*view.classes[&id]).clone();
        class.endpoint = EndpointKind::Workload;
        let id = ClassId::of(&class);
        view.classes.insert(id.clone(), Arc::new(class));
        classes.insert(place, id);
    }
    let address = |text: &str| text.parse().expect("an address");
    let endpoint = Endpoint {
        kind: EndpointKind::Workload,
        interface: InterfaceMatch::Named("cali1".into()),
        addresses: vec![address("10.66.0.2"), address("fd00:66::2")],
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes,
    };
    view.endpoints.insert("wep/w0".into(), Arc::new(endpoint));
}
