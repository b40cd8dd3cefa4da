//! What the node computes to replace one policy among many, beside lowering the whole view.
//!
//! `cargo run --release -p palisade-ruleset --example edit_cost`. Prints medians.

use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::NodeConfig,
    delta::Change,
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, PolicyId, RuleId, SetId, TierName},
    packet::Environment,
    rule::{Action, EntityMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule},
    set::IpSet,
    view::View,
};
use palisade_ruleset::{
    apply::Actual,
    diff,
    lower::{LowerCache, lower},
    lower_change,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

const EDITS: u16 = 21;

fn main() {
    for (policies, rules) in [(1_000, 1), (500, 20), (10_000, 1)] {
        edit(policies, rules);
    }
}

fn edit(policies: u16, rules: u16) {
    let environment = Environment::default();
    let mut view = view(policies, rules);
    let mut cache = LowerCache::new();
    let begun = Instant::now();
    let ruleset = lower(&view, &environment, None, &mut cache).ruleset;
    let cold = begun.elapsed();
    let mut actual = Actual::new(ruleset);
    let (mut planned, mut applied) = (Vec::new(), Vec::new());
    let (mut lowered, mut compared) = (Vec::new(), Vec::new());
    let changed = policies / 2;
    let change = Change {
        policies: BTreeSet::from([id(changed)]),
        ..Change::default()
    };
    for round in 0..EDITS {
        let policy = policy(changed, rules, "10.9.0.0/16", u64::from(round) + 1);
        view.policies.insert(id(changed), Arc::new(policy));
        let begun = Instant::now();
        let plan = lower_change(&mut actual, &view, &change, None, &mut cache);
        planned.push(begun.elapsed());
        let begun = Instant::now();
        let plan = plan.expect("an index decides every rule");
        actual.apply(&plan).expect("it was planned for that");
        applied.push(begun.elapsed());
    }
    for round in 0..EDITS {
        let policy = policy(changed, rules, "10.8.0.0/16", u64::from(round) + 1);
        view.policies.insert(id(changed), Arc::new(policy));
        let begun = Instant::now();
        let desired = lower(&view, &environment, None, &mut cache).ruleset;
        lowered.push(begun.elapsed());
        let begun = Instant::now();
        let plan = diff(actual.ruleset(), &desired);
        compared.push(begun.elapsed());
        assert!(!plan.is_empty());
        actual = Actual::new(desired);
    }
    println!(
        "{policies} policies of {rules}: change {:?} and applied {:?}; cold {cold:?}, warm {:?} and diff {:?}",
        median(planned),
        median(applied),
        median(lowered),
        median(compared)
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn id(n: u16) -> PolicyId {
    PolicyId::new(format!("gnp/p{n:05}"))
}

/// Rules inbound, each of a port of its own.
fn policy(n: u16, rules: u16, from: &str, salt: u64) -> Policy {
    let rule = |nth: u16| {
        let source = EntityMatch {
            nets: vec![from.parse().expect("a net")],
            sets: vec![SetId::from("s:01")],
            ..EntityMatch::default()
        };
        let destination = EntityMatch {
            ports: PortMatch {
                ranges: vec![PortRange::single(n * rules + nth + 1)],
                sets: Vec::new(),
            },
            ..EntityMatch::default()
        };
        Rule {
            id: RuleId(u64::from(n * rules + nth) + 1 + (salt << 32)),
            action: Action::Allow,
            matches: Match {
                protocol: Some(Protocol::TCP),
                source,
                destination,
                ..Match::default()
            },
        }
    };
    Policy {
        ingress: (0..rules).map(rule).collect(),
        ..Policy::default()
    }
}

fn config() -> NodeConfig {
    NodeConfig {
        failsafe_inbound: Vec::new(),
        failsafe_outbound: Vec::new(),
        interface_exclude: Vec::new(),
        log_limit: None,
        ..NodeConfig::default()
    }
}

/// The default endpoint, inbound and outbound.
fn view(policies: u16, rules: u16) -> View {
    let names: Vec<PolicyId> = (0..policies).map(id).collect();
    let class = |direction| Class {
        list: PolicyList::Normal,
        direction,
        endpoint: EndpointKind::Host,
        tiers: vec![ClassTier {
            name: TierName::from("default"),
            default: TierDefault::Deny,
            policies: names.clone(),
            staged: Vec::new(),
        }],
        profiles: Vec::new(),
    };
    let (inbound, outbound) = (ClassId::from("in"), ClassId::from("out"));
    let endpoint = Endpoint {
        kind: EndpointKind::Host,
        interface: InterfaceMatch::Any,
        addresses: Vec::new(),
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes: BTreeMap::from([
            ((PolicyList::Normal, Direction::Ingress), inbound.clone()),
            ((PolicyList::Normal, Direction::Egress), outbound.clone()),
        ]),
    };
    let set = IpSet::Nets(
        ["10.0.0.5/32", "fd00::5/128"]
            .iter()
            .map(|net| net.parse().expect("a net"))
            .collect(),
    );
    View {
        plugins: std::collections::BTreeMap::new(),
        config: Arc::new(config()),
        endpoints: BTreeMap::from([("hep/all".into(), Arc::new(endpoint))]),
        classes: BTreeMap::from([
            (inbound, Arc::new(class(Direction::Ingress))),
            (outbound, Arc::new(class(Direction::Egress))),
        ]),
        policies: names
            .iter()
            .zip(0..)
            .map(|(name, n)| (name.clone(), Arc::new(policy(n, rules, "10.0.0.0/8", 0))))
            .collect(),
        sets: BTreeMap::from([("s:01".into(), Arc::new(set))]),
    }
}
