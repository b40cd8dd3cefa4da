//! Small views, and the transactions between them.

use ipnet::IpNet;
use palisade_node::enforce::{
    NotEnforced,
    transaction::{Rejection, Transaction},
};
use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::NodeConfig,
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, PolicyId, RuleId, SetId},
    packet::{Environment, Interface},
    rule::{Action, EntityMatch, Family, Match, Policy, PortMatch, PortRange, Protocol, Rule},
    set::IpSet,
    table::{ItemTable, diff, snapshot},
    view::{Epoch, Position, View},
};
use palisade_proto::v1::{TransactionKind, ViewOp};
use prost::Message;
use std::{collections::BTreeMap, sync::Arc};

/// `eth0` lets TCP to each port in from the members of the set.
pub(crate) fn view(ports: &[u16], members: &[&str]) -> View {
    let set = SetId::from("s:0a");
    let policies: BTreeMap<PolicyId, Arc<Policy>> = ports
        .iter()
        .map(|port| {
            let policy = Policy {
                ingress: vec![allow(*port, &set)],
                ..Policy::default()
            };
            (PolicyId::new(format!("gnp/p{port}")), Arc::new(policy))
        })
        .collect();
    let class = |direction, policies: Vec<PolicyId>| Class {
        list: PolicyList::Normal,
        direction,
        endpoint: EndpointKind::Host,
        tiers: vec![ClassTier {
            name: "default".into(),
            default: TierDefault::Deny,
            policies,
            staged: vec![],
        }],
        profiles: vec![],
    };
    let mut ingress = class(Direction::Ingress, policies.keys().cloned().collect());
    let mut egress = class(Direction::Egress, vec![]);
    egress.tiers.clear();
    if ports.is_empty() {
        ingress.tiers.clear();
    }
    let ids = [ClassId::of(&ingress), ClassId::of(&egress)];
    let endpoint = Endpoint {
        kind: EndpointKind::Host,
        interface: InterfaceMatch::Named("eth0".into()),
        addresses: vec![],
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes: BTreeMap::from([
            ((PolicyList::Normal, Direction::Ingress), ids[0].clone()),
            ((PolicyList::Normal, Direction::Egress), ids[1].clone()),
        ]),
    };
    let nets = members.iter().map(|net| net.parse::<IpNet>().expect("net"));
    View {
        plugins: BTreeMap::new(),
        config: Arc::new(config()),
        endpoints: BTreeMap::from([("hep/eth0".into(), Arc::new(endpoint))]),
        classes: BTreeMap::from([
            (ids[0].clone(), Arc::new(ingress)),
            (ids[1].clone(), Arc::new(egress)),
        ]),
        sets: if ports.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([(set, Arc::new(IpSet::Nets(nets.collect())))])
        },
        policies,
    }
}

/// The same with a policy that no kernel takes, which allows `port` to all but those named: tests of a rule end at 128
/// expressions (`NFT_RULE_MAXEXPRS`), and each named port that is excepted takes four.
pub(crate) fn beyond_the_kernel(mut view: View, port: u16) -> View {
    let names: Vec<SetId> = (0..40).map(|n| SetId::new(format!("p:{n:02x}"))).collect();
    let mut rule = allow(port, &names[0]);
    rule.matches.family = Some(Family::V4);
    rule.matches.source.sets.clear();
    rule.matches.source.not_ports.sets.clone_from(&names);
    let policy = Policy {
        ingress: vec![rule],
        ..Policy::default()
    };
    let id = PolicyId::new(format!("gnp/p{port}"));
    view.policies.insert(id.clone(), Arc::new(policy));
    for name in names {
        view.sets.insert(name, Arc::new(IpSet::empty(true)));
    }
    let old = ingress_class(&view);
    let mut class = Class::clone(&view.classes[&old]);
    class.tiers[0].policies.push(id);
    let new = ClassId::of(&class);
    view.classes.remove(&old);
    view.classes.insert(new.clone(), Arc::new(class));
    let endpoint = view.endpoints.values_mut().next().expect("one");
    Arc::make_mut(endpoint)
        .classes
        .insert((PolicyList::Normal, Direction::Ingress), new);
    view
}

fn ingress_class(view: &View) -> ClassId {
    let endpoint = view.endpoints.values().next().expect("one");
    endpoint.classes[&(PolicyList::Normal, Direction::Ingress)].clone()
}

fn allow(port: u16, from: &SetId) -> Rule {
    Rule {
        id: RuleId(u64::from(port)),
        action: Action::Allow,
        matches: Match {
            protocol: Some(Protocol::TCP),
            source: EntityMatch {
                sets: vec![from.clone()],
                ..EntityMatch::default()
            },
            destination: EntityMatch {
                ports: PortMatch {
                    ranges: vec![PortRange::single(port)],
                    sets: vec![],
                },
                ..EntityMatch::default()
            },
            ..Match::default()
        },
    }
}

fn config() -> NodeConfig {
    NodeConfig {
        failsafe_inbound: vec![],
        failsafe_outbound: vec![],
        log_limit: None,
        ..NodeConfig::default()
    }
}

/// Where a view stands.
pub(crate) fn position(view: &View, revision: u64) -> Position {
    Position {
        epoch: Epoch([7; 16]),
        revision,
        digest: ItemTable::from_view(view).digest(),
    }
}

/// The transaction to a view, from another if there is one.
pub(crate) fn transaction(from: Option<&View>, to: &View, revision: u64) -> Transaction {
    let table = ItemTable::from_view(to);
    let (kind, bytes) = match from {
        None => (TransactionKind::Snapshot, snapshot(&table)),
        Some(from) => (
            TransactionKind::Delta,
            diff(&ItemTable::from_view(from), &table),
        ),
    };
    let ops = bytes
        .into_iter()
        .map(|bytes| ViewOp::decode_length_delimited(bytes).expect("an operation"))
        .collect();
    Transaction {
        kind,
        to: position(to, revision),
        ops,
    }
}

/// A machine with `lo` and `eth0`.
pub(crate) fn machine() -> Environment {
    let up = |address: &str| Interface {
        up: true,
        addresses: vec![address.parse().expect("address")],
        master: None,
    };
    Environment {
        interfaces: BTreeMap::from([
            ("lo".into(), up("127.0.0.1")),
            ("eth0".into(), up("10.0.0.1")),
        ]),
        control_plane: vec!["10.0.0.9:7600".parse().expect("address")],
    }
}

/// The rejection of a transaction that is refused.
pub(crate) fn refused(result: Result<(), NotEnforced>) -> Rejection {
    match result {
        Err(NotEnforced::Refused(rejection)) => rejection,
        other => panic!("{other:?}"),
    }
}
