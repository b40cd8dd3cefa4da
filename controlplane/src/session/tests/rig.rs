//! A node at the other end of a session, and small worlds for it.

use super::*;
use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::NodeConfig,
    delta::Held as NodeHeld,
    endpoint::{Endpoint, InterfaceMatch},
    frame::Assembler,
    ids::{ClassId, IfName, RuleId, TierName},
    rule::{Action, Match, Policy, Rule},
    view::View,
    wire::decode_ops,
};
use palisade_proto::google::rpc;
use std::sync::Arc;

/// Endpoint `hep/<name>` is governed by policies `gnp/<policy>`, each with one rule whose id is its version.
pub(super) fn world(endpoints: &[(&str, &[(&str, u64)])]) -> ItemTable {
    let mut view = View {
        plugins: BTreeMap::new(),
        config: Arc::new(config()),
        endpoints: BTreeMap::new(),
        classes: BTreeMap::new(),
        policies: BTreeMap::new(),
        sets: BTreeMap::new(),
    };
    for (name, policies) in endpoints {
        let mut classes = BTreeMap::new();
        for direction in [Direction::Ingress, Direction::Egress] {
            let class = Class {
                list: PolicyList::Normal,
                direction,
                endpoint: EndpointKind::Host,
                tiers: vec![ClassTier {
                    name: TierName::new("default"),
                    default: TierDefault::Deny,
                    policies: policies.iter().map(|(p, _)| policy_id(p)).collect(),
                    staged: Vec::new(),
                }],
                profiles: Vec::new(),
            };
            let id = ClassId::of(&class);
            view.classes.insert(id.clone(), Arc::new(class));
            classes.insert((PolicyList::Normal, direction), id);
        }
        for (policy, version) in *policies {
            let rule = Rule {
                id: RuleId(*version),
                action: Action::Allow,
                matches: Match::default(),
            };
            let policy_body = Policy {
                ingress: vec![rule.clone()],
                egress: vec![rule],
                staged: false,
            };
            view.policies
                .insert(policy_id(policy), Arc::new(policy_body));
        }
        let endpoint = Endpoint {
            kind: EndpointKind::Host,
            interface: InterfaceMatch::Named(IfName::new(*name)),
            addresses: Vec::new(),
            source_prefixes: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            classes,
        };
        view.endpoints
            .insert(EndpointId::new(format!("hep/{name}")), Arc::new(endpoint));
    }
    ItemTable::from_view(&view)
}

pub(super) fn policy_id(name: &str) -> PolicyId {
    PolicyId::new(format!("gnp/{name}"))
}

pub(super) fn config() -> NodeConfig {
    NodeConfig {
        failsafe_inbound: Vec::new(),
        failsafe_outbound: Vec::new(),
        interface_exclude: Vec::new(),
        log_limit: None,
        ..NodeConfig::default()
    }
}

/// A session with a node at its other end that applies what it gets, as the real one does.
pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Duration,
    pub(super) node: Option<NodeHeld>,
    pub(super) position: Option<Position>,
}

impl Rig {
    pub(super) fn new(memory: Memory) -> Self {
        let mut session = Session::new(EPOCH, Duration::ZERO);
        session.recall(memory);
        Self {
            session,
            now: Duration::ZERO,
            node: None,
            position: None,
        }
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        self.session.on_event(self.now, event)
    }

    pub(super) fn view(&mut self, revision: u64, table: &ItemTable) -> Vec<Effect> {
        let table = table.clone();
        self.event(Event::View(Compiled { table, revision }))
    }

    pub(super) fn say(&mut self, message: FromNode) -> Vec<Effect> {
        self.event(Event::Message(Box::new(message)))
    }

    pub(super) fn hello(&mut self) -> Vec<Effect> {
        let position = self.position.as_ref().map(Into::into);
        self.say(FromNode::Hello(v1::Hello {
            min_schema: 1,
            max_schema: 1,
            have: position.clone(),
            enforced: position,
            ..v1::Hello::default()
        }))
    }

    /// Takes the only transaction of effects in; the view it makes must be valid.
    pub(super) fn receive(&mut self, effects: Vec<Effect>) -> (Position, v1::TransactionKind) {
        let transaction = effects.into_iter().find_map(|effect| match effect {
            Effect::Transaction(transaction) => Some(transaction),
            Effect::Send(_) | Effect::Close(_) => None,
        });
        let transaction = transaction.expect("a transaction");
        let kind = transaction.begin.kind();
        let mut assembler =
            Assembler::new(transaction.begin.total_bytes, 1 << 20).expect("short enough");
        for chunk in transaction.chunks {
            assert!(chunk.len() <= palisade_policy::frame::CHUNK);
            assembler.push(&chunk).expect("well formed");
        }
        let ops = decode_ops(assembler.finish().expect("complete")).expect("valid");
        let to = transaction.commit.to.as_ref().expect("a position");
        let to = Position::try_from(to).expect("well formed");
        if let Some(old) = &self.position {
            assert!(
                to.revision >= old.revision || to.epoch != old.epoch,
                "never back"
            );
        }
        match &mut self.node {
            Some(node) if kind == v1::TransactionKind::Delta => {
                drop(node.apply(ops, &to.digest).expect("applies"));
            }
            node => *node = Some(NodeHeld::from_snapshot(ops, &to.digest).expect("a view")),
        }
        (to, kind)
    }

    /// Receives and acknowledges; gives what is sent next.
    pub(super) fn accept(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let (to, _) = self.receive(effects);
        self.position = Some(to);
        self.ack(&to)
    }

    pub(super) fn ack(&mut self, to: &Position) -> Vec<Effect> {
        self.say(FromNode::Ack(v1::Ack {
            applied: Some(to.into()),
            apply_micros: 5,
        }))
    }

    /// Refuses, naming items; what was held stays.
    pub(super) fn refuse(&mut self, effects: Vec<Effect>, items: &[ItemId]) -> Vec<Effect> {
        let status = rpc::Status {
            code: tonic::Code::InvalidArgument.into(),
            message: "the kernel said no".to_owned(),
            ..rpc::Status::default()
        };
        self.nack(effects, status, items)
    }

    /// The machine fails at what is sent; what was held stays.
    pub(super) fn fail(&mut self, effects: Vec<Effect>, code: tonic::Code) -> Vec<Effect> {
        let status = rpc::Status {
            code: code.into(),
            message: "no space left on device".to_owned(),
            ..rpc::Status::default()
        };
        self.nack(effects, status, &[])
    }

    fn nack(&mut self, effects: Vec<Effect>, status: rpc::Status, items: &[ItemId]) -> Vec<Effect> {
        let before = self.node.clone();
        let (to, _) = self.receive(effects);
        self.node = before;
        self.say(FromNode::Nack(v1::Nack {
            rejected: Some((&to).into()),
            still_enforcing: self.position.as_ref().map(Into::into),
            status: Some(status.clone()),
            items: items
                .iter()
                .map(|id| v1::ItemError {
                    kind: v1::ItemKind::from(id.kind).into(),
                    id: id.id.to_string(),
                    status: Some(status.clone()),
                })
                .collect(),
            want_snapshot: false,
        }))
    }

    pub(super) fn held(&self) -> &View {
        self.node.as_ref().expect("a view").view()
    }

    pub(super) fn version_of(&self, policy: &str) -> Option<u64> {
        let policy = self.held().policies.get(&policy_id(policy))?;
        policy.ingress.first().map(|rule| rule.id.0)
    }
}
