//! Conditions that plugins decide: the ladder with a daemon that answers and without one, remembered answers, audit
//! events, and what of the mark is left behind.

use crate::{
    ladder::{givens, logged, written},
    views::{add_list, port, rule, small_view, view},
    worlds,
};
use palisade_policy::{
    class::{Direction, PolicyList},
    evaluate::{self, Evaluator, Outcome, Stage, Subject, Verdict as Judged},
    fault::Reason,
    ids::{PluginId, PolicyId},
    packet::{CtState, Packet, Way},
    plugin::{Answer, OnFailure, PluginCondition},
    rule::{Action, Policy, Protocol},
    view::View,
};
use palisade_ruleset::{
    apply::Actual,
    diff,
    interpret::{Daemon, Did, Given, Judgement, judge_given},
    ir::{
        ChainName, Element, Expression, Rule, Ruleset, SetName, TableName, Value, Verdict, names,
    },
    lower::{LowerCache, Lowered, lower, lower_without_queue},
    lower_change,
    plugins::{Alike, Asking, LogAction},
};
use proptest::{
    collection::vec, prelude::*, sample::Index, strategy::ValueTree, test_runner::TestRunner,
};
use std::{collections::BTreeMap, sync::Arc};

fn lowered(view: &View) -> Lowered {
    lower(view, &worlds::environment(), None, &mut LowerCache::new())
}

/// With every answer that there is remembered for the packet's flow, or its socket.
fn remembering(lowered: &Lowered, packet: &Packet) -> Ruleset {
    let mut ruleset = lowered.ruleset.clone();
    let (Some(from), Some(port), true) = (
        packet.source_port,
        packet.destination_port,
        packet.protocol.has_ports(),
    ) else {
        return ruleset;
    };
    let (source, destination) = (packet.source, packet.destination);
    let flow = Value::Flow(source, destination, packet.protocol, port);
    let socket = Value::Socket(source, destination, packet.protocol, from, port);
    let family = if source.is_ipv4() {
        palisade_policy::rule::Family::V4
    } else {
        palisade_policy::rule::Family::V6
    };
    let main = ruleset.tables.get_mut(&TableName::Main).expect("a table");
    for (number, question) in lowered.asking.all().enumerate() {
        let holds = match packet.answers.get(&question.condition) {
            Some(Answer::Match) => true,
            Some(Answer::NoMatch) => false,
            Some(Answer::Failed) | None => continue,
        };
        let (alike, value) = if number % 2 == 0 {
            (Alike::Flow, &flow)
        } else {
            (Alike::Socket, &socket)
        };
        let name = question.remembered(family, alike, holds);
        if let Some(set) = main.sets.get_mut(&name) {
            let set = Arc::make_mut(set);
            set.elements.insert(Element::single(value.clone()));
        }
    }
    ruleset
}

/// A packet that arrives has the mark that it came with, or that another program gave it last: all 32 bits.
fn left_clean(done: &Judgement) -> bool {
    done.verdict != Judged::Accept || done.mark == done.written
}

/// One that has met a packet with this mark.
fn knowing(asking: &Arc<Asking>, mark: u32) -> Daemon {
    let mut daemon = Daemon::new(Arc::clone(asking));
    daemon.tag(mark);
    daemon
}

fn has_auditor(view: &View) -> bool {
    view.plugins.contains_key(&PluginId::from("plugin/auditor"))
}

/// Prefixes told to auditors.
fn events(done: &Judgement) -> Vec<&String> {
    let told = done.trace.iter().filter_map(|step| match &step.did {
        Did::Event(prefix) => Some(prefix),
        _ => None,
    });
    told.collect()
}

/// The same by policy: rules that allow, but for untracked ones and what comes after them, rules that log, and what denies.
fn told(said: &evaluate::Judgement, packet: &Packet) -> Vec<String> {
    let mut begins = packet.ct == CtState::New;
    let mut told = Vec::new();
    for step in &said.trace {
        let early = matches!(step.stage, Stage::UntrackedIn | Stage::UntrackedOut);
        match (&step.subject, &step.outcome) {
            // From here on no flow is known to begin.
            (Subject::Rule { .. }, Outcome::Accept) if early => begins = false,
            (Subject::Rule { id, .. }, Outcome::Accept) if begins => {
                told.push(LogAction::Allow.prefix(*id));
            }
            (Subject::Rule { id, .. }, Outcome::Log { .. }) => {
                told.push(LogAction::Log.prefix(*id));
            }
            (_, Outcome::Deny) => told.extend(said.rule.map(|id| LogAction::Deny.prefix(id))),
            _ => {}
        }
    }
    told
}

/// Whether any rule hands packets to a daemon.
fn queues(ruleset: &Ruleset) -> bool {
    let chains = ruleset
        .tables
        .values()
        .flat_map(|table| table.chains.values());
    let mut expressions =
        chains.flat_map(|chain| chain.rules.iter().flat_map(|rule| &rule.expressions));
    expressions.any(|expression| matches!(expression, Expression::Queue(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_does_what_plugins_and_policy_say(
        view in worlds::asking_view(),
        packets in vec((worlds::asked_packet(), worlds::mark(), worlds::interface()), 40),
    ) {
        prop_assert_eq!(view.check(), vec![]);
        let environment = worlds::environment();
        let lowered = lowered(&view);
        prop_assert_eq!(&lowered.faults, &vec![]);
        let evaluator = Evaluator::new(&view, &environment);
        let asking = Arc::new(lowered.asking.clone());
        for (packet, mark, routed) in &packets {
            let silent = Packet { answers: BTreeMap::new(), ..packet.clone() };
            let remembering = remembering(&lowered, packet);
            for given in givens(&lowered.ruleset, *mark, routed) {
                let alive = |daemon| Given { daemon: Some(daemon), ..given.clone() };
                for (ruleset, facts, given) in [
                    (&lowered.ruleset, packet, &alive(Daemon::new(Arc::clone(&asking)))),
                    (&lowered.ruleset, &silent, &given),
                    (&remembering, packet, &alive(knowing(&asking, *mark))),
                ] {
                    let said = evaluator.judge(facts);
                    let done = judge_given(ruleset, facts, given)
                        .map_err(|err| TestCaseError::fail(err.to_string()))?;
                    prop_assert_eq!(
                        said.verdict,
                        done.verdict,
                        "{:?} {:?}\npolicy: {:#?}\nkernel: {:#?}\n{}",
                        facts,
                        given,
                        said,
                        done,
                        palisade_ruleset::text::render(ruleset)
                    );
                    prop_assert!(left_clean(&done), "{:?} of {:x}", done, mark);
                    prop_assert_eq!(logged(&said), written(&done));
                    if !has_auditor(&view) {
                        prop_assert_eq!(events(&done), Vec::<&String>::new());
                    } else if !matches!(said.reason, Subject::UnknownWorkload(_)) {
                        let told = told(&said, facts);
                        prop_assert_eq!(events(&done), told.iter().collect::<Vec<_>>());
                    }
                }
            }
        }
    }

    #[test]
    fn a_kernel_that_cannot_queue_does_what_failure_comes_to(
        view in worlds::asking_view(),
        packets in vec((worlds::packet(), worlds::mark(), worlds::interface()), 40),
    ) {
        let environment = worlds::environment();
        let lowered = lower_without_queue(&view, &environment, None, &mut LowerCache::new());
        prop_assert_eq!(&lowered.faults, &vec![]);
        prop_assert!(lowered.asking.is_empty());
        prop_assert!(!queues(&lowered.ruleset));
        let evaluator = Evaluator::new(&view, &environment);
        for (packet, mark, routed) in &packets {
            for given in givens(&lowered.ruleset, *mark, routed) {
                let said = evaluator.judge(packet);
                let done = judge_given(&lowered.ruleset, packet, &given)
                    .map_err(|err| TestCaseError::fail(err.to_string()))?;
                prop_assert_eq!(said.verdict, done.verdict, "{:?} {:?}", packet, given);
                prop_assert_eq!(done.mark, done.written);
            }
        }
    }

    #[test]
    fn what_asks_goes_the_short_way_to_the_same_place_or_not_at_all(
        first in worlds::asking_view(),
        edits in vec((any::<Index>(), worlds::policy("gnp/new"), any::<Index>()), 1..6),
    ) {
        let mut view = first;
        let mut cache = LowerCache::new();
        let environment = worlds::environment();
        let mut actual = Actual::new(lower(&view, &environment, None, &mut cache).ruleset);
        for (at, mut policy, asks) in edits {
            let id = PolicyId::from(*at.get(&worlds::POLICIES));
            let condition = worlds::conditions()[asks.index(worlds::conditions().len())].clone();
            for rule in policy.ingress.iter_mut().step_by(2) {
                rule.matches.plugin = Some(condition.clone());
            }
            view.policies.insert(id.clone(), Arc::new(policy));
            let mut change = palisade_policy::delta::Change::default();
            change.policies.insert(id);
            let desired = lowered(&view).ruleset;
            match lower_change(&mut actual, &view, &change, None, &mut cache) {
                Some(plan) => {
                    actual.apply(&plan).map_err(|err| TestCaseError::fail(err.to_string()))?;
                    prop_assert!(actual.ruleset() == &desired, "{:#?}", diff(actual.ruleset(), &desired));
                }
                None => {
                    let warm = lower(&view, &environment, None, &mut cache).ruleset;
                    prop_assert!(warm == desired, "{:#?}", diff(&warm, &desired));
                    actual = Actual::new(warm);
                }
            }
        }
    }
}

/// A view of one endpoint, whose ingress allows DNS where a plugin says so, and TCP 80 to all.
pub(crate) fn dns(on_failure: OnFailure, action: Action) -> View {
    let condition = PluginCondition {
        on_failure,
        ..worlds::conditions()[0].clone()
    };
    let mut asks = rule(1, action, port(Protocol::UDP, 53));
    asks.matches.plugin = Some(condition);
    let open = rule(2, Action::Allow, port(Protocol::TCP, 80));
    let policy = Policy {
        ingress: vec![asks, open],
        ..Policy::default()
    };
    let mut view = view(vec![("gnp/only".to_owned(), policy)], Vec::new());
    worlds::add_plugins(&mut view);
    assert_eq!(view.check(), vec![]);
    view
}

fn arriving(protocol: Protocol, port: u16) -> Packet {
    Packet {
        answers: BTreeMap::new(),
        way: Way::In {
            interface: "eth0".into(),
        },
        source: "10.0.0.2".parse().expect("an address"),
        destination: "10.0.0.3".parse().expect("an address"),
        protocol,
        source_port: Some(40_000),
        destination_port: Some(port),
        icmp: None,
        ct: CtState::New,
        original_destination: None,
    }
}

fn judged(lowered: &Lowered, packet: &Packet, alive: bool, mark: u32) -> Judgement {
    let given = Given {
        mark,
        daemon: alive.then(|| Daemon::new(Arc::new(lowered.asking.clone()))),
        ..Given::default()
    };
    judge_given(&lowered.ruleset, packet, &given).expect("a ruleset of ours")
}

#[test]
fn without_daemon_every_failure_is_what_its_rule_says() {
    use Judged::{Accept, Drop};
    for (action, on_failure, verdict) in [
        (Action::Allow, OnFailure::Match, Accept),
        (Action::Allow, OnFailure::NoMatch, Drop),
        (Action::Allow, OnFailure::Deny, Drop),
        (Action::Allow, OnFailure::Allow, Accept),
        (Action::Deny, OnFailure::Match, Drop),
        (Action::Deny, OnFailure::NoMatch, Drop),
        (Action::Pass, OnFailure::Allow, Accept),
        (Action::Pass, OnFailure::Deny, Drop),
    ] {
        let lowered = lowered(&dns(on_failure, action.clone()));
        assert_eq!(lowered.faults, vec![]);
        let done = judged(&lowered, &arriving(Protocol::UDP, 53), false, 0);
        assert_eq!(done.verdict, verdict, "{action:?} {on_failure:?}");
        let other = judged(&lowered, &arriving(Protocol::TCP, 80), false, 0);
        assert_eq!(other.verdict, Accept);
    }
}

#[test]
fn only_packets_that_a_rule_with_a_condition_may_match_are_asked_about() {
    let view = dns(OnFailure::NoMatch, Action::Allow);
    let lowered = lowered(&view);
    let asked = |packet: &Packet| {
        let done = judged(&lowered, packet, true, 0);
        done.trace
            .iter()
            .any(|step| matches!(step.did, Did::Queue(_)))
    };
    assert!(asked(&arriving(Protocol::UDP, 53)));
    assert!(!asked(&arriving(Protocol::UDP, 54)));
    assert!(!asked(&arriving(Protocol::TCP, 53)));
    assert!(!asked(&arriving(Protocol::TCP, 80)));
    let mut known = arriving(Protocol::UDP, 53);
    known.ct = CtState::Established;
    assert!(!asked(&known), "the flow was judged before");
}

#[test]
fn a_mark_with_answers_that_someone_else_wrote_opens_nothing() {
    let view = dns(OnFailure::NoMatch, Action::Allow);
    let lowered = lowered(&view);
    for mark in [u32::MAX, 1, 0xfff, 0x0009_0000, 0xfff9_0001] {
        for alive in [false, true] {
            let done = judged(&lowered, &arriving(Protocol::UDP, 53), alive, mark);
            assert_eq!(done.verdict, Judged::Drop, "{mark:x} {alive}");
        }
    }
}

#[test]
fn an_answer_for_an_endpoint_that_is_gone_drops() {
    let lowered = lowered(&dns(OnFailure::Match, Action::Allow));
    let given = Given {
        daemon: Some(Daemon::new(Arc::default())),
        ..Given::default()
    };
    let done = judge_given(&lowered.ruleset, &arriving(Protocol::UDP, 53), &given);
    assert_eq!(done.expect("a ruleset of ours").verdict, Judged::Drop);
}

#[test]
fn more_conditions_than_bits_are_a_fault_of_the_policy() {
    // Twelve bits for answers; where failure denies a condition takes two.
    for (conditions, fits) in [(6, true), (7, false)] {
        let mut view = dns(OnFailure::Deny, Action::Allow);
        let id = PolicyId::from("gnp/only");
        let policy = Arc::make_mut(view.policies.get_mut(&id).expect("a policy"));
        let first = policy.ingress[0].clone();
        for number in 1..conditions {
            let mut more = first.clone();
            let condition = more.matches.plugin.as_mut().expect("a condition");
            condition.settings = format!("{{\"number\":{number}}}");
            policy.ingress.push(more);
        }
        let faults = lowered(&view).faults;
        if fits {
            assert_eq!(faults, vec![]);
            continue;
        }
        let [fault] = faults.as_slice() else {
            panic!("{faults:?}");
        };
        assert_eq!(fault.reason, Reason::TooManyConditions);
        assert_eq!(fault.item, (&id).into());
        let denied = judged(&lowered(&view), &arriving(Protocol::TCP, 80), true, 0);
        assert_eq!(denied.verdict, Judged::Drop, "nothing is half enforced");
    }
}

#[test]
fn an_untracked_policy_that_asks_is_a_fault() {
    let mut view = dns(OnFailure::Deny, Action::Allow);
    add_list(&mut view, PolicyList::Untracked, Direction::Ingress);
    let faults = lowered(&view).faults;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].reason, Reason::EarlyPlugin);
}

#[test]
fn without_auditor_nothing_is_told() {
    let mut view = dns(OnFailure::Deny, Action::Allow);
    let logs = |lowered: &Lowered| {
        let tables = lowered.ruleset.tables.values();
        let chains = tables.flat_map(|table| table.chains.values());
        let rules = chains.flat_map(|chain| chain.rules.iter().cloned());
        let mut expressions = rules.flat_map(|rule| rule.expressions);
        expressions.any(|e| matches!(e, Expression::Log { .. }))
    };
    assert!(!logs(&lowered(&view)));
    worlds::add_auditor(&mut view);
    assert!(logs(&lowered(&view)));
}

#[test]
fn a_view_without_conditions_has_no_heartbeat() {
    let mut view = small_view();
    worlds::add_plugins(&mut view);
    let alive = SetName::new(names::PLUGIN_ALIVE);
    let main = &lowered(&view).ruleset.tables[&TableName::Main];
    assert!(!main.sets.contains_key(&alive));
    assert!(lowered(&view).asking.is_empty());
}

/// What could be wrong with how plugins are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// Without heartbeat nothing says what failure comes to.
    NothingWhereNobodyAnswers,
    /// Rules that deny or allow where there is no answer are missing.
    NoSecondBit,
    /// A mark that no daemon made is taken for answers.
    MarksBelieved,
    /// The tag outlives the base chain.
    TagKept,
    /// Some accept does not give the mark back.
    AcceptedWithTag,
    /// One remembered answer is taken for all.
    HalfRemembered,
    /// A packet waits with its tag.
    QueuedWithTag,
}

impl Fault {
    const ALL: [Self; 7] = [
        Self::NothingWhereNobodyAnswers,
        Self::NoSecondBit,
        Self::MarksBelieved,
        Self::TagKept,
        Self::AcceptedWithTag,
        Self::HalfRemembered,
        Self::QueuedWithTag,
    ];

    /// The ruleset, made wrong. `failed`: the second bits.
    fn put_into(self, ruleset: &Ruleset, failed: u32) -> Ruleset {
        let mut ruleset = ruleset.clone();
        let main = ruleset.tables.get_mut(&TableName::Main).expect("a table");
        for (name, chain) in &mut main.chains {
            let role = name.as_str().split('_').next().unwrap_or_default();
            let rules = Arc::make_mut(&mut chain.rules);
            match (self, role) {
                (Self::NothingWhereNobodyAnswers, "head" | "ask") => {
                    rules.pop();
                }
                (Self::MarksBelieved, "head") => {
                    let (mask, value) = (1, 1);
                    let believed = Expression::Verdict(Verdict::Return);
                    rules.insert(0, Rule::new(vec![Expression::Mark { mask, value }, believed]));
                }
                (Self::TagKept, "accepted") => {
                    rules.remove(0);
                }
                (Self::AcceptedWithTag, "tier" | "bucket" | "rest" | "tail") => {
                    for rule in rules {
                        if let Some(Expression::Verdict(then @ Verdict::Goto(_))) = rule.expressions.last_mut()
                            && *then == Verdict::Goto(ChainName::new("accepted"))
                        {
                            *then = Verdict::Accept;
                        }
                    }
                }
                (Self::NoSecondBit, _) => rules.retain(|rule| {
                    let second = |e: &Expression| {
                        matches!(e, Expression::Mark { mask, value } if mask == value && mask & failed != 0)
                    };
                    role == "head" || role == "ask" || !rule.expressions.iter().any(second)
                }),
                (Self::QueuedWithTag, "ask") => {
                    for rule in rules {
                        let restores = |e: &Expression| matches!(e, Expression::MapMark { .. });
                        rule.expressions.retain(|e| !restores(e));
                    }
                }
                (Self::HalfRemembered, "ask") => {
                    for rule in rules {
                        if let Some(Expression::Verdict(then)) = rule.expressions.last_mut() {
                            *then = Verdict::Return;
                        }
                    }
                }
                _ => {}
            }
        }
        ruleset
    }
}

#[test]
fn the_ladder_finds_every_fault_of_asking() {
    const WORLDS: usize = 400;
    let mut runner = TestRunner::deterministic();
    let environment = worlds::environment();
    let worlds = (
        worlds::asking_view(),
        vec((worlds::asked_packet(), worlds::mark()), 40),
    );
    let mut hidden = Fault::ALL.to_vec();
    for _ in 0..WORLDS {
        let (view, packets) = worlds.new_tree(&mut runner).expect("a world").current();
        let right = lowered(&view);
        let failed = right.asking.all().filter_map(|q| q.failed);
        let failed = failed.fold(0, |all, bit| all | bit);
        let evaluator = Evaluator::new(&view, &environment);
        let asking = Arc::new(right.asking.clone());
        hidden.retain(|fault| {
            !packets.iter().any(|(packet, mark)| {
                let remembering = Lowered {
                    ruleset: remembering(&right, packet),
                    ..right.clone()
                };
                let silent = Packet {
                    answers: BTreeMap::new(),
                    ..packet.clone()
                };
                [
                    (&right, packet, Some(Daemon::new(Arc::clone(&asking)))),
                    (&right, &silent, None),
                    (&remembering, packet, Some(knowing(&asking, *mark))),
                ]
                .into_iter()
                .any(|(lowered, facts, daemon)| {
                    let given = Given {
                        mark: *mark,
                        daemon,
                        ..Given::default()
                    };
                    let wrong = fault.put_into(&lowered.ruleset, failed);
                    let said = evaluator.judge(facts).verdict;
                    let right = judge_given(&lowered.ruleset, facts, &given);
                    assert_eq!(right.map(|done| done.verdict), Ok(said));
                    judge_given(&wrong, facts, &given)
                        .map_or(true, |done| done.verdict != said || !left_clean(&done))
                })
            })
        });
        if hidden.is_empty() {
            return;
        }
    }
    panic!("the ladder does not find {hidden:?} in {WORLDS} worlds");
}
