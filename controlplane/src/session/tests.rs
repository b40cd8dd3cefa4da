//! What a node is sent, and what it may say.

mod rig;

use self::rig::{Rig, policy_id, world};
use super::*;
use palisade_policy::{
    ids::{EndpointId, PolicyId},
    view::Digest,
};

const EPOCH: Epoch = Epoch([7; 16]);

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
    // A view that has not come to the stream yet already says what is no longer refused.
    let told = |a| {
        let latest = world(&[("eth0", &[("a", a)]), ("eth1", &[("b", 3)])]);
        !rig.session.memory().conditions(Some(&latest)).is_empty()
    };
    assert!(told(2) && !told(4));

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
fn a_fault_of_the_machine_is_told_and_the_view_is_sent_again_with_growing_pauses() {
    for code in [tonic::Code::Unavailable, tonic::Code::Internal] {
        let mut rig = settled();
        let table = world(&[("eth0", &[("a", 2)])]);
        let mut effects = rig.view(2, &table);
        for pause in [5, 10, 20, 40, 60, 60].map(Duration::from_secs) {
            assert!(rig.fail(effects, code).is_empty());
            let conditions = rig.session.memory().conditions(Some(&table));
            let [condition] = &conditions[..] else {
                panic!("{conditions:?}");
            };
            assert_eq!(
                (&*condition.r#type, &*condition.reason),
                ("Degraded", "MachineFault")
            );
            assert_eq!(condition.message, "no space left on device");
            assert!(rig.session.memory().is_degraded());
            // The same view at a later revision is no reason to hurry.
            assert!(sends_nothing(&rig.view(3, &table)));
            rig.now += pause - Duration::from_secs(1);
            rig.say(FromNode::Ping(v1::Ping::default()));
            assert!(sends_nothing(&rig.event(Event::Tick)), "{pause:?}");
            rig.now += Duration::from_secs(1);
            effects = rig.event(Event::Tick);
        }
        assert!(rig.accept(effects).is_empty());
        assert_eq!(rig.version_of("a"), Some(2));
        assert!(!rig.session.memory().is_degraded());
    }
}

#[test]
fn another_view_is_sent_at_once_after_a_fault_of_the_machine() {
    let mut rig = settled();
    let effects = rig.view(2, &world(&[("eth0", &[("a", 2)])]));
    assert!(rig.fail(effects, tonic::Code::Unavailable).is_empty());
    let effects = rig.view(3, &world(&[("eth0", &[("a", 3)])]));
    assert!(rig.accept(effects).is_empty());
    assert_eq!(rig.version_of("a"), Some(3));
    assert!(!rig.session.memory().is_degraded());
}

#[test]
fn the_latest_of_hello_ack_nack_and_report_says_what_is_enforced() {
    let mut rig = settled();
    let enforced = |rig: &Rig| rig.session.memory().enforced.map(|at| at.revision);
    let report = |enforced: Option<Position>| {
        FromNode::Report(v1::NodeReport {
            enforced: enforced.as_ref().map(Into::into),
            ..v1::NodeReport::default()
        })
    };
    let acknowledged = rig.position;
    assert_eq!(enforced(&rig), Some(1));
    rig.session.take_changed();
    rig.say(report(None));
    assert_eq!(enforced(&rig), None, "the node does not know any more");
    assert!(rig.session.take_changed());
    assert!(rig.session.memory().acknowledged.is_some());
    rig.say(report(acknowledged));
    assert_eq!(enforced(&rig), Some(1));
    assert!(rig.session.take_changed());

    // The kernel is not known after a fault; then it is repaired.
    let effects = rig.view(2, &world(&[("eth0", &[("a", 2)])]));
    rig.position = None;
    rig.fail(effects, tonic::Code::Unavailable);
    assert_eq!(enforced(&rig), None);
    rig.say(report(acknowledged));
    assert_eq!(enforced(&rig), Some(1));
    let malformed = v1::Position::default();
    let closes = rig.say(FromNode::Report(v1::NodeReport {
        enforced: Some(malformed),
        ..v1::NodeReport::default()
    }));
    assert!(matches!(closes[..], [Effect::Close(_)]));
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
