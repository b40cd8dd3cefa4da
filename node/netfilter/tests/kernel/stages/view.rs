//! Views for the network of these tests: policy by hand.

use palisade_netfilter::Netfilter;
use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::{EndpointToHostAction, Failsafe, NodeConfig},
    endpoint::{Endpoint, InterfaceMatch},
    ids::{ClassId, PolicyId, RuleId, TierName},
    packet::Environment,
    plugin::{OnFailure, Plugin, PluginCondition, PluginDigest, PluginKind},
    rule::{Action, EntityMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule},
    view::View,
};
use palisade_ruleset::{
    diff,
    ir::Ruleset,
    lower::{LowerCache, lower},
    plugins::Asking,
};
use std::{collections::BTreeMap, sync::Arc};

/// Adds an auditor.
pub(super) fn with_auditor(view: &mut View) {
    let auditor = Arc::new(plugin(PluginKind::Auditor));
    view.plugins.insert("plugin/auditor".into(), auditor);
}

fn plugin(kind: PluginKind) -> Plugin {
    Plugin {
        kind,
        digest: PluginDigest([7; 32]),
        size: 1,
        fuel: 1,
        memory: 1,
        payload: 0,
        settings: String::new(),
        sinks: BTreeMap::new(),
    }
}

/// An empty view: one inbound failsafe, TCP 22 and UDP 7.
pub(super) fn nothing() -> View {
    let failsafe = |protocol, port| Failsafe {
        protocol,
        port,
        net: None,
    };
    View {
        plugins: BTreeMap::from([("plugin/judge".into(), Arc::new(plugin(PluginKind::Matcher)))]),
        config: Arc::new(NodeConfig {
            failsafe_inbound: vec![failsafe(Protocol::TCP, 22), failsafe(Protocol::UDP, 7)],
            failsafe_outbound: Vec::new(),
            endpoint_to_host_action: EndpointToHostAction::Accept,
            interface_exclude: Vec::new(),
            log_limit: None,
            ..NodeConfig::default()
        }),
        endpoints: BTreeMap::new(),
        classes: BTreeMap::new(),
        policies: BTreeMap::new(),
        sets: BTreeMap::new(),
    }
}

/// Which ends of which ports a list lets through.
pub(super) enum Open {
    /// None.
    Nothing,
    /// UDP to these ports.
    To(&'static [u16]),
    /// UDP from this port.
    From(u16),
    /// It denies TCP.
    NoTcp,
    /// UDP to this port, where a plugin says so.
    Asking(u16, OnFailure),
}

/// What a plugin is asked.
fn condition(on_failure: OnFailure) -> PluginCondition {
    PluginCondition {
        plugin: "plugin/judge".into(),
        settings: "{}".to_owned(),
        on_failure,
    }
}

/// In front of an endpoint's normal ingress policy: what a plugin says is denied.
pub(super) fn asking_rule(view: &mut View, interface: &str, port: u16, on_failure: OnFailure) {
    let name = format!(
        "gnp/{interface}-{:?}-{:?}",
        PolicyList::Normal,
        Direction::Ingress
    );
    let policy = view.policies.get_mut(&PolicyId::from(name.as_str()));
    let policy = Arc::make_mut(policy.expect("the policy"));
    let mut asks = rules(&Open::Asking(port, on_failure));
    for rule in &mut asks {
        rule.action = Action::Deny;
    }
    policy.ingress.splice(0..0, asks);
}

/// What a list says.
pub(super) type Listed = (PolicyList, Direction, Open);

/// Adds an endpoint; of lists that are not given the normal ones are closed, the others absent.
pub(super) fn endpoint(view: &mut View, interface: &str, addresses: &[&str], lists: &[Listed]) {
    let kind = if interface.starts_with("cali") {
        EndpointKind::Workload
    } else {
        EndpointKind::Host
    };
    let mut classes = BTreeMap::new();
    let closed = [Direction::Ingress, Direction::Egress]
        .map(|direction| (PolicyList::Normal, direction, Open::Nothing));
    for (list, direction, open) in closed.iter().chain(lists) {
        let name = PolicyId::from(format!("gnp/{interface}-{list:?}-{direction:?}").as_str());
        let policy = Policy {
            ingress: rules(open),
            egress: rules(open),
            staged: false,
        };
        view.policies.insert(name.clone(), Arc::new(policy));
        let early = matches!(list, PolicyList::Untracked | PolicyList::PreDnat);
        let class = Class {
            list: *list,
            direction: *direction,
            endpoint: kind,
            tiers: vec![ClassTier {
                name: TierName::from("default"),
                default: if early {
                    TierDefault::Pass
                } else {
                    TierDefault::Deny
                },
                policies: vec![name],
                staged: Vec::new(),
            }],
            profiles: Vec::new(),
        };
        let id = ClassId::of(&class);
        classes.insert((*list, *direction), id.clone());
        view.classes.insert(id, Arc::new(class));
    }
    let endpoint = Endpoint {
        kind,
        interface: InterfaceMatch::Named(interface.into()),
        addresses: addresses
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect(),
        source_prefixes: Vec::new(),
        labels: BTreeMap::new(),
        classes,
    };
    view.endpoints.insert(
        format!("ep/{interface}").as_str().into(),
        Arc::new(endpoint),
    );
}

fn rules(open: &Open) -> Vec<Rule> {
    let ports = |ports: &[u16]| EntityMatch {
        ports: PortMatch {
            ranges: ports.iter().copied().map(PortRange::single).collect(),
            sets: Vec::new(),
        },
        ..EntityMatch::default()
    };
    let mut matches = Match {
        protocol: Some(Protocol::UDP),
        ..Match::default()
    };
    let action = match open {
        Open::Nothing => return Vec::new(),
        Open::To(to) => {
            matches.destination = ports(to);
            Action::Allow
        }
        Open::From(from) => {
            matches.source = ports(&[*from]);
            Action::Allow
        }
        Open::Asking(port, on_failure) => {
            matches.destination = ports(&[*port]);
            matches.plugin = Some(condition(*on_failure));
            Action::Allow
        }
        Open::NoTcp => {
            matches.protocol = Some(Protocol::TCP);
            Action::Deny
        }
    };
    vec![Rule {
        id: RuleId(1),
        action,
        matches,
    }]
}

/// Enforces a view; what is read back is what was wanted.
pub(super) fn enforce(kernel: &mut Netfilter, view: &View) -> Ruleset {
    enforce_asking(kernel, view).0
}

/// The same, and what plugins are asked.
pub(super) fn enforce_asking(kernel: &mut Netfilter, view: &View) -> (Ruleset, Asking) {
    assert_eq!(view.check(), vec![]);
    let lowered = lower(view, &Environment::default(), None, &mut LowerCache::new());
    assert_eq!(lowered.faults, vec![]);
    let actual = kernel.read().expect("read");
    for transaction in diff(&actual, &lowered.ruleset).transactions() {
        kernel.commit(&transaction).expect("committed");
        kernel.read_touched(&transaction).expect("as planned");
    }
    let actual = kernel.read().expect("read");
    assert!(diff(&actual, &lowered.ruleset).is_empty());
    (lowered.ruleset, lowered.asking)
}

/// Changes the configuration.
pub(super) fn to_host(view: &mut View, action: EndpointToHostAction) {
    Arc::make_mut(&mut view.config).endpoint_to_host_action = action;
}
