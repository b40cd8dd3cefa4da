//! What a node is sent, and what it may say.

use super::*;
use palisade_policy::{
    class::{Class, ClassTier, Direction, EndpointKind, PolicyList, TierDefault},
    config::{DenyAction, EndpointToHostAction, Exemptions, NodeConfig},
    delta::Held as NodeHeld,
    endpoint::{Endpoint, InterfaceMatch},
    frame::Assembler,
    ids::{ClassId, EndpointId, IfName, PolicyId, RuleId, TierName},
    item::ItemId,
    rule::{Action, Match, Policy, Rule},
    view::View,
    wire::decode_ops,
};
use palisade_proto::google::rpc;
use std::sync::Arc;

const EPOCH: Epoch = Epoch([7; 16]);

/// Endpoint `hep/<name>` is governed by policies `gnp/<policy>`, each with one rule whose id is its version.
fn world(endpoints: &[(&str, &[(&str, u64)])]) -> ItemTable {
    let mut view = View {
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
            classes,
        };
        view.endpoints
            .insert(EndpointId::new(format!("hep/{name}")), Arc::new(endpoint));
    }
    ItemTable::from_view(&view)
}

fn policy_id(name: &str) -> PolicyId {
    PolicyId::new(format!("gnp/{name}"))
}

fn config() -> NodeConfig {
    NodeConfig {
        failsafe_inbound: Vec::new(),
        failsafe_outbound: Vec::new(),
        exemptions: Exemptions::default(),
        deny_action: DenyAction::Drop,
        endpoint_to_host_action: EndpointToHostAction::Drop,
        interface_prefixes: vec!["cali".to_owned()],
        interface_exclude: Vec::new(),
        accept_invalid: false,
        ipv6: true,
        mark_mask: 0xffff_0000,
        log_limit: None,
        allow_vxlan_from_workloads: false,
        allow_ipip_from_workloads: false,
        vxlan_port: 4789,
    }
}

/// A session with a node at its other end that applies what it gets, as the real one does.
struct Rig {
    session: Session,
    now: Duration,
    node: Option<NodeHeld>,
    position: Option<Position>,
}

impl Rig {
    fn new(memory: Memory) -> Self {
        Self {
            session: Session::new(EPOCH, memory, Duration::ZERO),
            now: Duration::ZERO,
            node: None,
            position: None,
        }
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.session.on_event(self.now, event)
    }

    fn view(&mut self, revision: u64, table: &ItemTable) -> Vec<Effect> {
        let table = table.clone();
        self.event(Event::View(Compiled { table, revision }))
    }

    fn say(&mut self, message: FromNode) -> Vec<Effect> {
        self.event(Event::Message(message))
    }

    fn hello(&mut self) -> Vec<Effect> {
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
    fn receive(&mut self, effects: Vec<Effect>) -> (Position, v1::TransactionKind) {
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
    fn accept(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let (to, _) = self.receive(effects);
        self.position = Some(to);
        self.ack(&to)
    }

    fn ack(&mut self, to: &Position) -> Vec<Effect> {
        self.say(FromNode::Ack(v1::Ack {
            applied: Some(to.into()),
            apply_micros: 5,
        }))
    }

    /// Refuses, naming items; what was held stays.
    fn refuse(&mut self, effects: Vec<Effect>, items: &[ItemId]) -> Vec<Effect> {
        let before = self.node.clone();
        let (to, _) = self.receive(effects);
        self.node = before;
        let status = rpc::Status {
            message: "the kernel said no".to_owned(),
            ..rpc::Status::default()
        };
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

    fn held(&self) -> &View {
        self.node.as_ref().expect("a view").view()
    }

    fn version_of(&self, policy: &str) -> Option<u64> {
        let policy = self.held().policies.get(&policy_id(policy))?;
        policy.ingress.first().map(|rule| rule.id.0)
    }
}

fn sends_nothing(effects: &[Effect]) -> bool {
    !effects
        .iter()
        .any(|effect| matches!(effect, Effect::Transaction(_)))
}

fn said(effects: &[Effect], wanted: impl Fn(&ToNode) -> bool) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Send(message) if wanted(message)))
}

fn policy_item(name: &str) -> ItemId {
    ItemId::from(&policy_id(name))
}

#[test]
fn a_new_node_gets_a_snapshot_then_deltas() {
    let mut rig = Rig::new(Memory::default());
    assert!(sends_nothing(
        &rig.view(3, &world(&[("eth0", &[("a", 1)])]))
    ));
    let effects = rig.hello();
    assert!(said(&effects, |m| matches!(m, ToNode::Welcome(_))));
    let (to, kind) = rig.receive(effects);
    assert_eq!((to.revision, kind), (3, v1::TransactionKind::Snapshot));
    rig.position = Some(to);
    assert!(rig.ack(&to).is_empty());
    assert_eq!(rig.session.memory().enforced, Some(to));

    let effects = rig.view(4, &world(&[("eth0", &[("a", 2)])]));
    let (to, kind) = rig.receive(effects);
    assert_eq!((to.revision, kind), (4, v1::TransactionKind::Delta));
    assert_eq!(rig.version_of("a"), Some(2));
}

#[test]
fn a_view_that_comes_after_hello_is_sent_then() {
    let mut rig = Rig::new(Memory::default());
    assert!(sends_nothing(&rig.hello()));
    let effects = rig.view(3, &world(&[]));
    rig.receive(effects);
}

#[test]
fn equal_digests_send_nothing_and_count_as_enforced() {
    let table = world(&[("eth0", &[("a", 1)])]);
    let mut rig = Rig::new(Memory::default());
    rig.position = Some(Position {
        epoch: EPOCH,
        revision: 2,
        digest: table.digest(),
    });
    rig.view(9, &table);
    let effects = rig.hello();
    assert!(sends_nothing(&effects));
    assert!(said(
        &effects,
        |m| matches!(m, ToNode::Unchanged(p) if p.revision == 9)
    ));
    assert_eq!(rig.session.memory().enforced.map(|p| p.revision), Some(9));
    assert!(rig.session.memory().acknowledged.is_some());
}

#[test]
fn a_node_that_another_replica_served_is_resumed_by_its_inventory() {
    let old = world(&[("eth0", &[("a", 1), ("b", 1)])]);
    let new = world(&[("eth0", &[("a", 1), ("b", 2)])]);
    let mut first = Rig::new(Memory::default());
    first.view(1, &old);
    let effects = first.hello();
    first.accept(effects);

    let mut rig = Rig::new(Memory::default());
    rig.node = first.node;
    rig.position = first.position;
    rig.view(5, &new);
    let effects = rig.hello();
    assert!(said(&effects, |m| matches!(m, ToNode::WantInventory(_))));
    assert!(sends_nothing(&effects));
    let hashes = rig.node.as_ref().expect("a view").hashes();
    let inventory = palisade_policy::wire::encode_inventory(hashes);
    let effects = rig.say(FromNode::Inventory(inventory));
    let (_, kind) = rig.receive(effects);
    assert_eq!(kind, v1::TransactionKind::Delta);
    assert_eq!(rig.version_of("b"), Some(2));
}

#[test]
fn an_inventory_that_does_not_add_up_brings_a_snapshot() {
    let mut rig = Rig::new(Memory::default());
    rig.position = Some(Position {
        epoch: EPOCH,
        revision: 1,
        digest: Digest([1; 32]),
    });
    rig.view(5, &world(&[]));
    rig.hello();
    let effects = rig.say(FromNode::Inventory(v1::Inventory::default()));
    let (_, kind) = rig.receive(effects);
    assert_eq!(kind, v1::TransactionKind::Snapshot);
}

#[test]
fn changes_during_a_transaction_are_one_transaction_after_it() {
    let mut rig = Rig::new(Memory::default());
    rig.view(1, &world(&[("eth0", &[("a", 1)])]));
    let effects = rig.hello();
    let (to, _) = rig.receive(effects);
    assert!(rig.view(2, &world(&[("eth0", &[("a", 2)])])).is_empty());
    assert!(rig.view(3, &world(&[("eth0", &[("a", 3)])])).is_empty());
    rig.position = Some(to);
    let effects = rig.ack(&to);
    assert_eq!(effects.len(), 1);
    assert!(rig.accept(effects).is_empty());
    assert_eq!(rig.version_of("a"), Some(3));
}

#[test]
fn a_lower_revision_of_the_same_epoch_waits() {
    let mut rig = Rig::new(Memory::default());
    rig.position = Some(Position {
        epoch: EPOCH,
        revision: 10,
        digest: Digest([1; 32]),
    });
    rig.view(9, &world(&[]));
    rig.hello();
    // The node cannot tell what it holds, so what follows is not about its position any more.
    let mut other = Rig::new(Memory::default());
    other.view(9, &world(&[("eth0", &[("a", 1)])]));
    let effects = other.hello();
    let (to, _) = other.receive(effects);
    let ahead = Position { revision: 10, ..to };
    let mut rig = Rig::new(other.session.memory().clone());
    rig.node = other.node;
    rig.position = Some(ahead);
    rig.view(9, &world(&[("eth0", &[("a", 1)])]));
    rig.hello();
    assert!(rig.view(9, &world(&[("eth0", &[("a", 2)])])).is_empty());
    assert!(rig.session.waits_for_revision());
    let effects = rig.view(11, &world(&[("eth0", &[("a", 2)])]));
    assert!(rig.accept(effects).is_empty());
    assert!(!rig.session.waits_for_revision());
}

#[test]
fn another_epoch_is_followed_whatever_its_revision() {
    let table = world(&[("eth0", &[("a", 1)])]);
    let mut rig = Rig::new(Memory::default());
    rig.position = Some(Position {
        epoch: Epoch([1; 16]),
        revision: 99,
        digest: table.digest(),
    });
    rig.view(2, &table);
    let effects = rig.hello();
    assert!(said(
        &effects,
        |m| matches!(m, ToNode::Unchanged(p) if p.revision == 2)
    ));
}

fn settled() -> Rig {
    let mut rig = Rig::new(Memory::default());
    rig.view(1, &world(&[("eth0", &[("a", 1)]), ("eth1", &[("b", 1)])]));
    let effects = rig.hello();
    assert!(rig.accept(effects).is_empty());
    rig
}

#[test]
fn a_refused_policy_is_replaced_by_the_last_good_one_and_others_go_on() {
    let mut rig = settled();
    let effects = rig.view(2, &world(&[("eth0", &[("a", 2)]), ("eth1", &[("b", 2)])]));
    let effects = rig.refuse(effects, &[policy_item("a")]);
    assert!(rig.accept(effects).is_empty());
    assert_eq!(
        (rig.version_of("a"), rig.version_of("b")),
        (Some(1), Some(2))
    );
    assert!(rig.session.memory().is_degraded());

    let effects = rig.view(3, &world(&[("eth0", &[("a", 2)]), ("eth1", &[("b", 3)])]));
    assert!(rig.accept(effects).is_empty());
    assert_eq!(
        (rig.version_of("a"), rig.version_of("b")),
        (Some(1), Some(3))
    );

    let effects = rig.view(4, &world(&[("eth0", &[("a", 4)]), ("eth1", &[("b", 3)])]));
    assert!(rig.accept(effects).is_empty());
    assert_eq!(rig.version_of("a"), Some(4));
    assert!(!rig.session.memory().is_degraded());
}

#[test]
fn a_refused_new_policy_leaves_its_endpoint_as_it_was() {
    let mut rig = settled();
    let before = rig.held().endpoints[&EndpointId::new("hep/eth0")].clone();
    let effects = rig.view(
        2,
        &world(&[("eth0", &[("a", 1), ("bad", 1)]), ("eth1", &[("b", 2)])]),
    );
    let effects = rig.refuse(effects, &[policy_item("bad")]);
    assert!(rig.accept(effects).is_empty());
    assert_eq!(rig.held().endpoints[&EndpointId::new("hep/eth0")], before);
    assert_eq!(
        (rig.version_of("bad"), rig.version_of("b")),
        (None, Some(2))
    );
}

#[test]
fn what_was_never_acknowledged_denies_and_the_rest_goes_on() {
    let mut rig = Rig::new(Memory::default());
    rig.view(2, &world(&[("eth0", &[("bad", 1)]), ("eth1", &[("b", 1)])]));
    let effects = rig.hello();
    let effects = rig.refuse(effects, &[policy_item("bad")]);
    assert!(rig.accept(effects).is_empty());
    let denied = &rig.held().endpoints[&EndpointId::new("hep/eth0")];
    for class in denied.classes.values() {
        let class = &rig.held().classes[class];
        assert!(class.tiers.is_empty() && class.profiles.is_empty());
    }
    assert_eq!(
        (rig.version_of("bad"), rig.version_of("b")),
        (None, Some(1))
    );
}

#[test]
fn a_view_refused_as_a_whole_is_not_sent_again() {
    let mut rig = settled();
    let table = world(&[("eth0", &[("a", 2)])]);
    let effects = rig.view(2, &table);
    assert!(rig.refuse(effects, &[]).is_empty());
    assert!(rig.view(3, &table).is_empty());
    assert!(rig.session.memory().is_degraded());
    let effects = rig.view(4, &world(&[("eth0", &[("a", 3)])]));
    assert!(rig.accept(effects).is_empty());
    assert!(!rig.session.memory().is_degraded());
}

#[test]
fn a_substitute_that_is_refused_too_ends_the_attempts() {
    let mut rig = settled();
    let effects = rig.view(2, &world(&[("eth0", &[("a", 2)]), ("eth1", &[("b", 2)])]));
    let effects = rig.refuse(effects, &[policy_item("a")]);
    assert!(rig.refuse(effects, &[policy_item("a")]).is_empty());
    assert!(rig.session.memory().is_degraded());
}

#[test]
fn silence_ends_the_stream_and_pings_keep_it() {
    let mut rig = settled();
    rig.now = PING_EVERY;
    assert!(said(&rig.event(Event::Tick), |m| matches!(
        m,
        ToNode::Ping(_)
    )));
    rig.say(FromNode::Pong(v1::Pong::default()));
    rig.now = PING_EVERY + SILENCE - Duration::from_secs(1);
    assert!(
        !rig.event(Event::Tick)
            .iter()
            .any(|e| matches!(e, Effect::Close(_)))
    );
    rig.now = PING_EVERY + SILENCE;
    assert!(matches!(
        rig.event(Event::Tick)[..],
        [Effect::Close(Ending::Silent)]
    ));
    assert!(rig.hello().is_empty(), "nothing follows");
}

#[test]
fn a_node_that_says_no_hello_is_sent_away() {
    let mut rig = Rig::new(Memory::default());
    rig.now = HELLO_WITHIN;
    assert!(matches!(
        rig.event(Event::Tick)[..],
        [Effect::Close(Ending::Silent)]
    ));
}

#[test]
fn an_unanswered_transaction_lags_then_ends_the_stream() {
    let mut rig = settled();
    rig.view(2, &world(&[]));
    for now in [LAGGING_AFTER / 2, LAGGING_AFTER] {
        rig.now = now;
        rig.say(FromNode::Ping(v1::Ping::default()));
    }
    rig.event(Event::Tick);
    assert!(rig.session.memory().lagging);
    rig.now = GIVE_UP_AFTER;
    rig.say(FromNode::Ping(v1::Ping::default()));
    assert!(matches!(
        rig.event(Event::Tick)[..],
        [Effect::Close(Ending::Unanswered)]
    ));
}

#[test]
fn what_breaks_the_protocol_ends_the_stream() {
    let closes = |effects: Vec<Effect>| matches!(effects[..], [Effect::Close(_)]);
    assert!(closes(
        Rig::new(Memory::default()).say(FromNode::Ping(v1::Ping::default()))
    ));
    assert!(closes(settled().hello()));
    assert!(closes(
        settled().say(FromNode::Inventory(v1::Inventory::default()))
    ));
    assert!(closes(settled().say(FromNode::Ack(v1::Ack::default()))));
    let unsent = Position {
        epoch: EPOCH,
        revision: 1,
        digest: Digest([3; 32]),
    };
    assert!(closes(settled().ack(&unsent)));
    let newer = v1::Hello {
        min_schema: 2,
        max_schema: 3,
        ..v1::Hello::default()
    };
    assert!(closes(
        Rig::new(Memory::default()).say(FromNode::Hello(newer))
    ));
}
