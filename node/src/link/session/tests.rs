use super::*;
use crate::enforce::transaction::{Transaction, code};
use palisade_policy::{
    frame::{Chunks, delimited},
    item::{ItemId, ItemKind},
    view::{Digest, Epoch},
};
use palisade_proto::v1::view_op;

const START: Duration = Duration::ZERO;

fn at(revision: u64, digest: u8) -> Position {
    Position {
        epoch: Epoch([1; 16]),
        revision,
        digest: Digest([digest; 32]),
    }
}

fn down(message: down::Message) -> Event {
    Event::Message(v1::StreamViewResponse {
        message: Some(message),
    })
}

/// A session after `Welcome`, holding and enforcing `have`.
fn welcome(have: Option<Position>) -> Session {
    let positions = Positions {
        have,
        enforced: have,
    };
    let (mut session, hello) = Session::begin(positions, Greeting::default(), START);
    let Some(up::Message::Hello(hello)) = hello.message else {
        panic!("a session begins with hello");
    };
    assert_eq!(hello.have, have.as_ref().map(Into::into));
    let welcome = v1::Welcome {
        schema: SCHEMA,
        current: None,
        ping_seconds: 10,
        silence_seconds: 30,
    };
    let effects = session.on_event(down(down::Message::Welcome(welcome)), START);
    assert_eq!(effects, vec![]);
    session
}

fn ops() -> Vec<v1::ViewOp> {
    let remove = v1::Remove {
        kind: v1::ItemKind::Policy.into(),
        id: "gnp/a".into(),
    };
    vec![v1::ViewOp {
        op: Some(view_op::Op::Remove(remove)),
    }]
}

fn begin(kind: v1::TransactionKind, from: Option<Position>, to: Position) -> down::Message {
    down::Message::Begin(v1::Begin {
        kind: kind.into(),
        from: from.as_ref().map(Into::into),
        to: Some((&to).into()),
        total_bytes: Chunks::new(ops().iter().map(delimited)).total_bytes(),
    })
}

/// Begin, chunks, commit; the effects of the last.
fn transact(
    session: &mut Session,
    kind: v1::TransactionKind,
    from: Option<Position>,
    to: Position,
) -> Vec<Effect> {
    let effects = session.on_event(down(begin(kind, from, to)), START);
    if !effects.is_empty() {
        return effects;
    }
    for data in Chunks::new(ops().iter().map(delimited)) {
        let chunk = down::Message::Chunk(v1::Chunk { data });
        assert_eq!(session.on_event(down(chunk), START), vec![]);
    }
    let commit = v1::Commit {
        to: Some((&to).into()),
    };
    session.on_event(down(down::Message::Commit(commit)), START)
}

fn applied(to: Position) -> Event {
    Event::Decided {
        outcome: Outcome::Applied { micros: 7 },
        enforced: Some(to),
    }
}

fn sent(effects: &[Effect]) -> &up::Message {
    match effects {
        [
            Effect::Send(v1::StreamViewRequest {
                message: Some(message),
            }),
        ] => message,
        other => panic!("one message, not {other:?}"),
    }
}

#[test]
fn a_snapshot_is_handed_on_whole_and_acknowledged_once_applied() {
    let mut session = welcome(None);
    let to = at(5, 5);
    let effects = transact(&mut session, v1::TransactionKind::Snapshot, None, to);
    let transaction = Transaction {
        kind: v1::TransactionKind::Snapshot,
        to,
        ops: ops(),
    };
    assert_eq!(effects, vec![Effect::Apply(transaction)]);
    let effects = session.on_event(applied(to), START);
    let up::Message::Ack(ack) = sent(&effects) else {
        panic!("an ack");
    };
    assert_eq!(ack.applied, Some((&to).into()));
}

#[test]
fn a_delta_from_another_view_is_refused_and_asks_for_a_snapshot() {
    let held = at(4, 4);
    let mut session = welcome(Some(held));
    let effects = transact(
        &mut session,
        v1::TransactionKind::Delta,
        Some(at(4, 9)),
        at(5, 5),
    );
    let up::Message::Nack(nack) = sent(&effects) else {
        panic!("a nack");
    };
    assert!(nack.want_snapshot);
    assert_eq!(nack.still_enforcing, Some((&held).into()));
    // The stream goes on.
    let effects = transact(
        &mut session,
        v1::TransactionKind::Delta,
        Some(held),
        at(5, 5),
    );
    assert!(matches!(effects[..], [Effect::Apply(_)]));
}

#[test]
fn a_rejection_names_the_items_and_what_is_still_enforced() {
    let held = at(4, 4);
    let mut session = welcome(Some(held));
    transact(
        &mut session,
        v1::TransactionKind::Delta,
        Some(held),
        at(5, 5),
    );
    let rejection = Rejection {
        code: code::INVALID_ARGUMENT,
        message: "no".into(),
        items: vec![(ItemId::new(ItemKind::Policy, "gnp/a"), "why".into())],
        want_snapshot: false,
    };
    let rejected = Event::Decided {
        outcome: Outcome::Rejected(rejection),
        enforced: Some(held),
    };
    let effects = session.on_event(rejected, START);
    let up::Message::Nack(nack) = sent(&effects) else {
        panic!("a nack");
    };
    assert_eq!(nack.items[0].id, "gnp/a");
    assert_eq!(nack.still_enforcing, Some((&held).into()));
    assert_eq!(nack.rejected, Some((&at(5, 5)).into()));
}

#[test]
fn a_lower_revision_of_the_same_epoch_is_refused_and_one_of_a_new_epoch_is_not() {
    let held = at(9, 4);
    let older = at(8, 5);
    let mut session = welcome(Some(held));
    let effects = transact(&mut session, v1::TransactionKind::Delta, Some(held), older);
    assert!(matches!(
        effects[..],
        [Effect::Close(Closed::WentBack {
            offered: 8,
            held: 9
        })]
    ));
    let mut session = welcome(Some(held));
    let restored = Position {
        epoch: Epoch([2; 16]),
        ..older
    };
    let effects = transact(&mut session, v1::TransactionKind::Snapshot, None, restored);
    assert!(matches!(effects[..], [Effect::Apply(_)]));
}

#[test]
fn an_equal_view_counts_at_its_newer_revision() {
    let held = at(4, 4);
    let mut session = welcome(Some(held));
    let unchanged = |at: &Position| down(down::Message::Unchanged(at.into()));
    let effects = session.on_event(unchanged(&at(6, 4)), START);
    assert_eq!(effects, vec![Effect::Unchanged(at(6, 4))]);
    let effects = session.on_event(unchanged(&at(7, 5)), START);
    assert!(matches!(effects[..], [Effect::Close(Closed::OutOfTurn(_))]));
}

#[test]
fn more_or_fewer_bytes_than_announced_are_refused() {
    for data in [vec![], vec![0; 1000]] {
        let mut session = welcome(None);
        let to = at(5, 5);
        session.on_event(down(begin(v1::TransactionKind::Snapshot, None, to)), START);
        let chunk = v1::Chunk { data: data.into() };
        session.on_event(down(down::Message::Chunk(chunk)), START);
        let commit = v1::Commit {
            to: Some((&to).into()),
        };
        let effects = session.on_event(down(down::Message::Commit(commit)), START);
        assert!(matches!(sent(&effects), up::Message::Nack(_)));
    }
}

#[test]
fn messages_out_of_turn_end_the_session() {
    let commit = down::Message::Commit(v1::Commit::default());
    let chunk = down::Message::Chunk(v1::Chunk::default());
    for message in [commit, chunk] {
        let mut session = welcome(None);
        let effects = session.on_event(down(message.clone()), START);
        assert!(matches!(effects[..], [Effect::Close(_)]), "{message:?}");
        assert_eq!(session.on_event(Event::Tick, START), vec![]);
    }
}

#[test]
fn silence_ends_the_session_and_any_word_prolongs_it() {
    let mut session = welcome(None);
    let second = Duration::from_secs;
    assert_eq!(session.deadline(), second(10));
    let effects = session.on_event(Event::Tick, second(10));
    assert!(matches!(sent(&effects), up::Message::Ping(_)));
    session.on_event(down(down::Message::Pong(v1::Pong { nonce: 1 })), second(11));
    assert_ne!(
        session.on_event(Event::Tick, second(40)),
        vec![Effect::Close(Closed::Silence(second(30)))]
    );
    assert_eq!(
        session.on_event(Event::Tick, second(41)),
        vec![Effect::Close(Closed::Silence(second(30)))]
    );
}

#[test]
fn pings_are_answered_while_a_transaction_is_applied() {
    let mut session = welcome(None);
    transact(&mut session, v1::TransactionKind::Snapshot, None, at(5, 5));
    let effects = session.on_event(down(down::Message::Ping(v1::Ping { nonce: 3 })), START);
    assert_eq!(sent(&effects), &up::Message::Pong(v1::Pong { nonce: 3 }));
}

#[test]
fn no_welcome_in_time_ends_the_session() {
    let (mut session, _) = Session::begin(Positions::default(), Greeting::default(), START);
    let effects = session.on_event(Event::Tick, WELCOME);
    assert!(matches!(effects[..], [Effect::Close(Closed::Silence(_))]));
}

fn reports(session: &mut Session, enforced: Option<Position>) -> Vec<Effect> {
    let report = v1::NodeReport::default();
    session.on_event(Event::Report { report, enforced }, START)
}

#[test]
fn a_report_says_what_the_kernel_enforces_now() {
    let held = at(4, 4);
    let mut session = welcome(Some(held));
    assert!(!session.owes(Some(&held)));
    assert!(session.owes(None), "it was told that the view is enforced");
    let effects = reports(&mut session, None);
    let up::Message::Report(report) = sent(&effects) else {
        panic!("a report");
    };
    assert_eq!(report.enforced, None);
    assert!(!session.owes(None));
    assert!(session.owes(Some(&held)));
    let effects = reports(&mut session, Some(held));
    let up::Message::Report(report) = sent(&effects) else {
        panic!("a report");
    };
    assert_eq!(report.enforced, Some((&held).into()));
}

#[test]
fn an_ack_under_way_needs_no_report_beside_it_and_what_is_lost_meanwhile_does() {
    let (held, to) = (at(4, 4), at(5, 5));
    let mut session = welcome(Some(held));
    transact(&mut session, v1::TransactionKind::Delta, Some(held), to);
    assert!(!session.owes(Some(&held)) && !session.owes(Some(&to)));
    assert!(session.owes(None));
    session.on_event(applied(to), START);
    assert!(!session.owes(Some(&to)));
    assert!(session.owes(None) && session.owes(Some(&held)));
}

#[test]
fn a_nack_does_not_claim_what_the_kernel_is_not_known_to_enforce() {
    let (held, to) = (at(4, 4), at(5, 5));
    let mut session = welcome(Some(held));
    transact(&mut session, v1::TransactionKind::Delta, Some(held), to);
    let rejected = Event::Decided {
        outcome: Outcome::Rejected(Rejection::unavailable("no memory")),
        enforced: None,
    };
    let effects = session.on_event(rejected, START);
    let up::Message::Nack(nack) = sent(&effects) else {
        panic!("a nack");
    };
    assert_eq!(nack.still_enforcing, None);
    assert!(!session.owes(None));
}

#[test]
fn only_an_ack_or_half_a_minute_with_a_view_makes_a_stream_good() {
    let second = Duration::from_secs;
    let (empty, holding) = (welcome(None), welcome(Some(at(4, 4))));
    assert_eq!(holding.life(second(29)), Life::Brief);
    assert_eq!(holding.life(second(30)), Life::Good);
    assert_eq!(empty.life(second(30)), Life::Brief, "it has no view");
    assert_eq!(empty.life(second(600)), Life::Uncontested);
    let mut session = welcome(None);
    transact(&mut session, v1::TransactionKind::Snapshot, None, at(5, 5));
    assert_eq!(session.life(second(0)), Life::Brief);
    session.on_event(applied(at(5, 5)), START);
    assert_eq!(session.life(second(0)), Life::Good);
    let (greeting, _) = Session::begin(Positions::default(), Greeting::default(), START);
    assert_eq!(greeting.life(second(600)), Life::Brief, "never welcome");
}
