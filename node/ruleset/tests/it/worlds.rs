//! Random views, machines and packets, from pools so small that things meet.

use palisade_policy::{
    class::{Class, ClassProfile, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, IfName, PolicyId, TierName},
    view::{Digest, Epoch, Position, View},
};
use proptest::{collection::vec, option, prelude::*};
use std::{collections::BTreeMap, sync::Arc};

mod asking;
mod config;
mod pools;
mod rules;
mod traffic;

pub(crate) use asking::{add_auditor, add_plugins, asked_packet, asking_view, conditions};
pub(crate) use config::config;
pub(crate) use pools::POLICIES;
use rules::sets;
pub(crate) use rules::{member_net, policy, port_member};
pub(crate) use traffic::{environment, interface, mark, packet};

/// Tiers and profiles of a class, by place in the pool of policies.
#[derive(Clone, Debug)]
struct Shape {
    tiers: Vec<(bool, Vec<usize>)>,
    profiles: Vec<Option<usize>>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let tier = (any::<bool>(), vec(0..POLICIES.len(), 0..4));
    (
        vec(tier, 0..3),
        vec(option::weighted(0.8, 0..POLICIES.len()), 0..3),
    )
        .prop_map(|(tiers, profiles)| Shape { tiers, profiles })
}

fn class(kind: EndpointKind, list: PolicyList, direction: Direction, shape: &Shape) -> Class {
    let policy = |at: &usize| PolicyId::from(POLICIES[*at]);
    let early = matches!(list, PolicyList::Untracked | PolicyList::PreDnat);
    let tier = |(n, (pass, policies)): (usize, &(bool, Vec<usize>))| ClassTier {
        name: TierName::from(format!("tier{n}").as_str()),
        default: if *pass || early {
            TierDefault::Pass
        } else {
            TierDefault::Deny
        },
        policies: policies.iter().map(policy).collect(),
        staged: Vec::new(),
    };
    let profile = |at: &Option<usize>| match at {
        Some(at) => ClassProfile::Present(policy(at)),
        None => ClassProfile::Missing(PolicyId::from("profile/gone")),
    };
    Class {
        list,
        direction,
        endpoint: kind,
        tiers: shape.tiers.iter().enumerate().map(tier).collect(),
        profiles: if list == PolicyList::Normal {
            shape.profiles.iter().map(profile).collect()
        } else {
            Vec::new()
        },
    }
}

const ENDPOINTS: [(&str, Option<&str>); 7] = [
    ("hep/a", Some("eth0")),
    ("hep/b", Some("eth1")),
    ("hep/c", None),
    ("hep/d", Some("*")),
    ("hep/e", Some("lo")),
    ("wep/a", Some("cali1")),
    ("wep/b", Some("cali2")),
];
const PLACES: [(PolicyList, Direction); 7] = [
    (PolicyList::Normal, Direction::Ingress),
    (PolicyList::Normal, Direction::Egress),
    (PolicyList::Forward, Direction::Ingress),
    (PolicyList::Forward, Direction::Egress),
    (PolicyList::Untracked, Direction::Ingress),
    (PolicyList::Untracked, Direction::Egress),
    (PolicyList::PreDnat, Direction::Ingress),
];

/// The shapes of an endpoint's classes, by place; which of them are there depends on what the world uses.
type Shapes = [Option<Shape>; PLACES.len()];
/// Which endpoints are there.
type Governed = Vec<Option<Shapes>>;

fn governed() -> impl Strategy<Value = Governed> {
    let maybe = |list| (option::weighted(0.5, shape()), Just(list));
    let classes = (
        shape(),
        shape(),
        PLACES[2..]
            .iter()
            .map(|place| maybe(*place))
            .collect::<Vec<_>>(),
    );
    // Most worlds use only some of the lists.
    let lists = (any::<[bool; 3]>(), any::<bool>());
    (vec(option::weighted(0.6, classes), ENDPOINTS.len()), lists).prop_map(
        |(endpoints, ([forward, untracked, pre_dnat], workloads))| {
            let used = |list| match list {
                PolicyList::Normal => true,
                PolicyList::Forward => forward,
                PolicyList::Untracked => untracked,
                PolicyList::PreDnat => pre_dnat,
            };
            let shapes = |(ingress, egress, others): (Shape, Shape, Vec<_>)| {
                let mut shapes: Shapes = Default::default();
                shapes[0] = Some(ingress);
                shapes[1] = Some(egress);
                for (at, (shape, (list, _))) in shapes[2..].iter_mut().zip(others) {
                    *at = if used(list) { shape } else { None };
                }
                shapes
            };
            endpoints
                .into_iter()
                .zip(ENDPOINTS)
                .map(|(classes, (id, _))| {
                    let there = workloads || id.starts_with("hep/");
                    classes.filter(|_| there).map(shapes)
                })
                .collect()
        },
    )
}

pub(crate) fn view() -> impl Strategy<Value = View> {
    let policies: Vec<_> = POLICIES.iter().map(|name| policy(name).boxed()).collect();
    (config(), policies, sets(), governed()).prop_map(|(config, policies, sets, governed)| {
        let mut view = View {
            plugins: BTreeMap::new(),
            config: Arc::new(config),
            endpoints: BTreeMap::new(),
            classes: BTreeMap::new(),
            policies: POLICIES
                .iter()
                .zip(policies)
                .map(|(name, policy)| (PolicyId::from(*name), Arc::new(policy)))
                .collect(),
            sets,
        };
        for ((id, interface), shapes) in ENDPOINTS.iter().zip(governed) {
            if let Some(shapes) = shapes {
                add_endpoint(&mut view, id, *interface, &shapes);
            }
        }
        view
    })
}

fn add_endpoint(view: &mut View, id: &str, interface: Option<&str>, shapes: &Shapes) {
    let kind = if id.starts_with("wep/") {
        EndpointKind::Workload
    } else {
        EndpointKind::Host
    };
    let mut classes = BTreeMap::new();
    for ((list, direction), shape) in PLACES.into_iter().zip(shapes) {
        if kind == EndpointKind::Workload && list != PolicyList::Normal {
            continue;
        }
        if let Some(shape) = shape {
            let class = class(kind, list, direction, shape);
            let id = ClassId::of(&class);
            view.classes.insert(id.clone(), Arc::new(class));
            classes.insert((list, direction), id);
        }
    }
    let addresses: &[&str] = match id {
        "wep/a" => &["10.0.0.1", "10.0.0.2", "192.0.2.1", "fd00::1", "fd00::2"],
        "wep/b" => &["10.0.0.3", "10.0.1.1", "fd00::3"],
        _ => &["10.0.0.9"],
    };
    let endpoint = Endpoint {
        kind,
        interface: match interface {
            Some("*") => InterfaceMatch::Any,
            Some(name) => InterfaceMatch::Named(IfName::from(name)),
            None => InterfaceMatch::ByAddress,
        },
        addresses: addresses
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect(),
        labels: BTreeMap::new(),
        source_prefixes: match id {
            "wep/b" => ["10.0.0.0/30", "10.0.2.0/24", "fd00:0:0:1::/64"]
                .map(|net| net.parse().expect("a prefix"))
                .into(),
            _ => Vec::new(),
        },
        classes,
    };
    view.endpoints.insert(id.into(), Arc::new(endpoint));
}

pub(crate) fn position(revision: u64) -> Position {
    Position {
        epoch: Epoch([7; 16]),
        revision,
        digest: Digest([9; 32]),
    }
}
