//! The enforcer on a model of the kernel that can refuse, lose answers and be changed by others.

use crate::{
    disk::{self, SimulatedDisk},
    view::{machine, position, refused, transaction, view},
};
use palisade_netfilter::{CommitError, Event, Failure, Mismatch, OwnError, ReadError, Writer};
use palisade_node::enforce::{
    Enforcer, Kernel, NotEnforced, Notifications, kernel_position, transaction::code,
};
use palisade_policy::{
    ids::RuleId,
    item::{ItemId, ItemKind},
    packet::Environment,
    plugin::{OnFailure, PluginCondition, PluginKind},
    view::View,
};
use palisade_ruleset::{
    apply,
    ir::{ChainName, Expression, Ruleset, Set, TableName},
    lower,
    lower::{LowerCache, Lowered},
    lower_without_queue,
    plan::{Op, Plan},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    cell::RefCell, collections::VecDeque, io, os::fd::OwnedFd, path::Path, rc::Rc, sync::Arc,
};

/// What the machine keeps while daemons come and go.
#[derive(Default)]
struct Machine {
    ruleset: Ruleset,
    commits: usize,
    /// Refuses rules of this policy rule.
    refuses: Option<RuleId>,
    /// What fails next.
    faults: Faults,
    /// The process dies once this many more commits were made.
    dies_after: Option<usize>,
    /// It can hand packets to a daemon.
    queues: bool,
    /// What the daemon found out about that; forgotten when a rule that queues is refused.
    believed: Option<bool>,
}

/// A call that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A whole read: others are at work.
    Read,
    /// A commit is refused, for want of something: nothing happened.
    Refused(i32),
    /// A commit stands, and its answer is lost.
    AnswerLost,
    /// What was committed cannot be read back.
    ReadBack,
    /// What was read back differs: somebody was faster.
    Differs,
    /// A commit cannot be sent.
    Socket,
}

/// Which calls fail: named ones in order, then some of all.
#[derive(Default)]
pub(crate) struct Faults {
    next: VecDeque<Fault>,
    percent: u32,
    rng: Option<StdRng>,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// These, each at the first call that can fail so.
    pub(crate) fn these(faults: &[Fault]) -> Self {
        Self {
            next: faults.iter().copied().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn some(percent: u32, seed: u64) -> Self {
        Self {
            next: VecDeque::new(),
            percent,
            rng: Some(StdRng::seed_from_u64(seed)),
        }
    }

    /// The fault of a call that can fail in these ways.
    fn at(&mut self, ways: &[Fault]) -> Option<Fault> {
        if let Some(next) = self.next.front().copied() {
            let same = |way: &Fault| std::mem::discriminant(way) == std::mem::discriminant(&next);
            return ways
                .iter()
                .any(same)
                .then(|| self.next.pop_front())
                .flatten();
        }
        let rng = self.rng.as_mut()?;
        let fails = rng.random_range(0..100) < self.percent;
        fails.then(|| ways[rng.random_range(0..ways.len())])
    }
}

fn socket() -> io::Error {
    io::Error::from_raw_os_error(libc_errno::ENOBUFS)
}

/// As the kernel has them.
mod libc_errno {
    pub(super) const ENOBUFS: i32 = 105;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EMFILE: i32 = 24;
}

/// A kernel that can fail at every step.
#[derive(Clone, Default)]
pub(crate) struct Model(Rc<RefCell<Machine>>);

impl Notifications for Model {
    fn listen(&mut self) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn next_event(&mut self) -> io::Result<Option<Event>> {
        Ok(None)
    }
}

fn refusal(op: Option<usize>, element: Option<usize>, errno: i32, message: &str) -> CommitError {
    let failure = Failure {
        op,
        element,
        errno,
        message: message.to_owned(),
    };
    CommitError::Refused {
        failures: vec![failure],
    }
}

impl Kernel for Model {
    fn own(&mut self) -> Result<bool, OwnError> {
        Ok(false)
    }

    fn read(&mut self) -> Result<Ruleset, ReadError> {
        let mut machine = self.0.borrow_mut();
        match machine.faults.at(&[Fault::Read]) {
            None => Ok(machine.ruleset.clone()),
            Some(_) => Err(ReadError::Changing),
        }
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), CommitError> {
        let mut machine = self.0.borrow_mut();
        let refused = [
            Fault::Refused(libc_errno::ENOMEM),
            Fault::Refused(libc_errno::EMFILE),
            Fault::Socket,
            Fault::AnswerLost,
        ];
        let fault = machine.faults.at(&refused);
        match fault {
            Some(Fault::Refused(errno)) => return Err(refusal(None, None, errno, "all of it")),
            Some(Fault::Socket) => return Err(CommitError::Socket(socket())),
            _ => {}
        }
        if let Some(refused) = machine.refuses {
            for (op, step) in plan.ops.iter().enumerate() {
                let Op::AddRules { rules, .. } = step else {
                    continue;
                };
                if let Some(element) = rules.iter().position(|rule| rule.id == Some(refused)) {
                    return Err(refusal(Some(op), Some(element), 95, "a rule"));
                }
            }
        }
        if !machine.queues && queues(plan) {
            machine.believed = None;
            return Err(refusal(None, None, 2, "a rule that queues"));
        }
        // All or nothing.
        let mut after = machine.ruleset.clone();
        if let Err(err) = apply(&mut after, plan) {
            return Err(refusal(None, None, 2, &err.to_string()));
        }
        machine.ruleset = after;
        machine.commits += 1;
        match &mut machine.dies_after {
            Some(0) => panic!("killed"),
            Some(left) => *left -= 1,
            None => {}
        }
        match fault {
            Some(Fault::AnswerLost) => Err(CommitError::Overrun),
            _ => Ok(()),
        }
    }

    fn verify(&mut self, _: &Plan) -> Result<(), Mismatch> {
        let mut machine = self.0.borrow_mut();
        let fault = machine.faults.at(&[Fault::ReadBack, Fault::Differs]);
        match fault {
            None => Ok(()),
            Some(Fault::Differs) => Err(Mismatch::Differs {
                table: TableName::Main,
                what: "a chain".to_owned(),
            }),
            Some(_) => Err(ReadError::Changing.into()),
        }
    }

    fn can_queue(&mut self) -> Result<bool, ReadError> {
        let mut machine = self.0.borrow_mut();
        let queues = machine.believed == Some(true) || machine.queues;
        machine.believed = Some(queues);
        Ok(queues)
    }

    fn writer(&self) -> Option<Writer> {
        None
    }
}

fn queues(plan: &Plan) -> bool {
    let rules = plan.ops.iter().flat_map(|op| match op {
        Op::AddRules { rules, .. } => rules.as_slice(),
        _ => &[],
    });
    let mut expressions = rules.flat_map(|rule| &rule.expressions);
    expressions.any(|expression| matches!(expression, Expression::Queue(_)))
}

/// Kinds and reasons of what people are told.
fn told(enforcer: &Enforcer<Model>) -> Vec<(&'static str, &'static str)> {
    let conditions = enforcer.observed().conditions;
    let kinds = conditions.iter().map(|told| (told.kind, told.reason));
    kinds.collect()
}

impl Model {
    pub(crate) fn start(&self, dir: &Path) -> Enforcer<Self> {
        Enforcer::start(dir, self.clone(), machine()).expect("started")
    }

    pub(crate) fn fail(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    pub(crate) fn reboot(&self) {
        self.0.borrow_mut().ruleset = Ruleset::default();
    }

    /// Somebody else changes our tables, in some way. False: there is nothing to change.
    pub(crate) fn damage(&self, how: u8) -> bool {
        let ruleset = &mut self.0.borrow_mut().ruleset;
        let Some(table) = ruleset.tables.get_mut(&TableName::Main) else {
            return false;
        };
        match how % 3 {
            0 => *ruleset = Ruleset::default(),
            1 => {
                let chain = table.chains.get_mut(&ChainName::new("input"));
                chain.expect("a base chain").rules = Arc::default();
            }
            _ => {
                let full = |set: &&mut Arc<Set>| !set.elements.is_empty();
                let Some(set) = table.sets.values_mut().find(full) else {
                    return false;
                };
                Arc::make_mut(set).elements.pop_first();
            }
        }
        true
    }

    fn commits(&self) -> usize {
        self.0.borrow().commits
    }

    /// Whether the kernel holds exactly what the view at the revision asks for.
    fn enforces(&self, view: &View, revision: u64) -> bool {
        let position = position(view, revision);
        let lowered = lower(view, &machine(), Some(&position), &mut LowerCache::new());
        self.0.borrow().ruleset == lowered.ruleset
    }

    /// Whether the kernel holds what the view asks for on this machine, at whatever revision of the same content.
    pub(crate) fn holds(&self, view: &View, environment: &Environment) -> bool {
        let ruleset = &self.0.borrow().ruleset;
        let Some(named) = kernel_position(ruleset) else {
            return false;
        };
        let lowered = lower(view, environment, Some(&named), &mut LowerCache::new());
        named.digest == position(view, 0).digest && ruleset == &lowered.ruleset
    }
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("tempdir")
}

#[test]
fn without_a_view_nothing_is_written() {
    let (dir, kernel) = (dir(), Model::default());
    let mut enforcer = kernel.start(dir.path());
    enforcer.set_environment(Default::default());
    enforcer.repair("nft");
    assert_eq!(kernel.commits(), 0);
    assert_eq!(enforcer.positions().enforced, None);
}

#[test]
fn snapshot_and_deltas_are_enforced_kept_and_adopted_without_a_write() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b, c) = (
        view(&[80], &["10.0.0.2/32"]),
        view(&[80, 443], &["10.0.0.2/32"]),
        view(&[80, 443], &["10.0.0.2/32", "10.0.0.3/32"]),
    );
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    assert!(kernel.enforces(&a, 1));
    enforcer
        .transact(transaction(Some(&a), &b, 2))
        .expect("taken");
    assert!(kernel.enforces(&b, 2));
    enforcer
        .transact(transaction(Some(&b), &c, 3))
        .expect("taken");
    assert!(kernel.enforces(&c, 3));
    // The new rule needs a chain that is there before anything leads into it: two transactions.
    assert_eq!(kernel.commits(), 4);
    drop(enforcer);

    let enforcer = kernel.start(dir.path());
    assert_eq!(enforcer.positions().enforced, Some(position(&c, 3)));
    assert_eq!(kernel.commits(), 4, "adopted");
    drop(enforcer);

    // A reboot: the kernel is empty, one transaction brings all of it back.
    kernel.0.borrow_mut().ruleset = Ruleset::default();
    let enforcer = kernel.start(dir.path());
    assert_eq!(enforcer.positions().enforced, Some(position(&c, 3)));
    assert!(kernel.enforces(&c, 3));
    assert_eq!(kernel.commits(), 5);
}

/// [`view`] with a condition before each port, and its matcher.
fn asking(ports: &[u16]) -> View {
    let mut view = view(ports, &[]);
    let condition = PluginCondition {
        plugin: "plugin/p".into(),
        settings: "{}".to_owned(),
        on_failure: OnFailure::Deny,
    };
    for policy in view.policies.values_mut() {
        for rule in &mut Arc::make_mut(policy).ingress {
            rule.matches.plugin = Some(condition.clone());
        }
    }
    let plugin = crate::guests::plugin(PluginKind::Matcher, b"not fetched");
    view.plugins.insert(condition.plugin, Arc::new(plugin));
    view
}

#[test]
fn a_kernel_that_cannot_queue_takes_rules_that_ask_and_people_are_told_until_it_can() {
    let (dir, kernel) = (dir(), Model::default());
    let holds = |lowered: Lowered| kernel.0.borrow().ruleset == lowered.ruleset;
    let a = asking(&[80]);
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    assert_eq!(told(&enforcer), [("PluginsUnavailable", "NoQueue")]);
    let (at, cache) = (position(&a, 1), &mut LowerCache::new());
    assert!(holds(lower_without_queue(&a, &machine(), Some(&at), cache)));
    assert!(!*enforcer.feed().asked().borrow());
    enforcer.look_for_queue();
    assert_eq!(told(&enforcer), [("PluginsUnavailable", "NoQueue")]);
    assert_eq!(kernel.commits(), 1);

    // Its module is there, and nobody changes the policy.
    kernel.0.borrow_mut().queues = true;
    assert!(enforcer.misses_queue());
    enforcer.look_for_queue();
    assert!(!enforcer.misses_queue());
    assert_eq!(told(&enforcer), []);
    assert!(kernel.enforces(&a, 1));
    assert!(*enforcer.feed().asked().borrow());
}

#[test]
fn a_kernel_that_no_longer_queues_is_noticed_when_it_refuses_and_is_not_the_views_fault() {
    let (dir, kernel) = (dir(), Model::default());
    kernel.0.borrow_mut().queues = true;
    let (a, b) = (asking(&[80]), asking(&[80, 443]));
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    assert_eq!(told(&enforcer), []);

    // Someone flushes all rules and unloads the module.
    kernel.0.borrow_mut().ruleset = Ruleset::default();
    kernel.0.borrow_mut().queues = false;
    assert!(enforcer.repair("nft"));
    let without = ("PluginsUnavailable", "NoQueue");
    assert_eq!(told(&enforcer), [("ForeignChange", "Repaired"), without]);
    assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));

    // The same, met by a transaction before anybody heard of it.
    enforcer.forget_foreign();
    kernel.0.borrow_mut().queues = true;
    enforcer.look_for_queue();
    assert_eq!(told(&enforcer), []);
    kernel.0.borrow_mut().ruleset = Ruleset::default();
    kernel.0.borrow_mut().queues = false;
    enforcer
        .transact(transaction(Some(&a), &b, 2))
        .expect("taken");
    assert_eq!(told(&enforcer), [without]);
    assert_eq!(enforcer.positions().enforced, Some(position(&b, 2)));
}

#[test]
fn a_newer_revision_of_the_same_view_writes_nothing_now_or_at_restart() {
    let (dir, kernel) = (dir(), Model::default());
    let a = view(&[80], &[]);
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    enforcer.unchanged(position(&a, 9));
    enforcer.settle();
    assert_eq!(enforcer.positions().enforced, Some(position(&a, 9)));
    drop(enforcer);
    let enforcer = kernel.start(dir.path());
    assert_eq!(enforcer.positions().enforced, Some(position(&a, 9)));
    assert_eq!(kernel.commits(), 1);
}

#[test]
fn a_ruleset_the_kernel_refuses_names_the_policy_and_leaves_the_last_good_one() {
    let (dir, kernel) = (dir(), Model::default());
    let (good, bad) = (view(&[80], &[]), view(&[80, 443], &["10.0.0.2/32"]));
    let mut enforcer = kernel.start(dir.path());
    enforcer
        .transact(transaction(None, &good, 1))
        .expect("taken");
    kernel.0.borrow_mut().refuses = Some(RuleId(443));
    let rejection = refused(enforcer.transact(transaction(Some(&good), &bad, 2)));
    let blamed: Vec<_> = rejection
        .items
        .iter()
        .map(|(item, _)| item.clone())
        .collect();
    assert_eq!(blamed, [ItemId::new(ItemKind::Policy, "gnp/p443")]);
    assert!(kernel.enforces(&good, 1));
    assert_eq!(enforcer.positions().enforced, Some(position(&good, 1)));
    assert!(!enforcer.is_troubled());

    // Without the culprit the rest goes through, and the refused change is not on disk.
    let rest = view(&[80], &["10.0.0.2/32"]);
    enforcer
        .transact(transaction(Some(&good), &rest, 2))
        .expect("taken");
    drop(enforcer);
    let enforcer = kernel.start(dir.path());
    assert_eq!(enforcer.positions().enforced, Some(position(&rest, 2)));
}

#[test]
fn a_first_view_that_is_refused_leaves_nothing_held() {
    let (dir, kernel) = (dir(), Model::default());
    kernel.0.borrow_mut().refuses = Some(RuleId(443));
    let mut enforcer = kernel.start(dir.path());
    let bad = view(&[443], &[]);
    let rejection = refused(enforcer.transact(transaction(None, &bad, 1)));
    assert!(!rejection.items.is_empty());
    assert_eq!(enforcer.positions(), Default::default());
    assert_eq!(kernel.0.borrow().ruleset, Ruleset::default());
    drop(enforcer);
    assert_eq!(kernel.start(dir.path()).positions(), Default::default());
}

#[test]
fn a_delta_that_does_not_fit_changes_nothing_and_asks_for_a_snapshot() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b, c) = (
        view(&[80], &["10.0.0.2/32"]),
        view(&[80], &["10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32"]),
        view(
            &[80],
            &["10.0.0.3/32", "10.0.0.4/32", "10.0.0.5/32", "10.0.0.6/32"],
        ),
    );
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    let mut announced = transaction(Some(&a), &b, 2);
    announced.to = position(&c, 2);
    for transaction in [announced, transaction(Some(&b), &c, 2)] {
        let rejection = refused(enforcer.transact(transaction));
        assert!(rejection.want_snapshot);
        assert!(kernel.enforces(&a, 1));
    }
}

#[test]
fn a_lost_answer_is_read_back() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b) = (view(&[80], &[]), view(&[443], &[]));
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    kernel.fail(Faults::these(&[Fault::AnswerLost]));
    enforcer
        .transact(transaction(Some(&a), &b, 2))
        .expect("taken");
    assert!(kernel.enforces(&b, 2));
    // One of them before; new chains, whose answer was lost; the rest.
    assert_eq!(kernel.commits(), 3);
}

#[test]
fn a_foreign_flush_is_repaired_and_does_not_fail_the_next_change() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b) = (view(&[80], &["10.0.0.2/32"]), view(&[80], &["10.0.0.3/32"]));
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    kernel.0.borrow_mut().ruleset = Ruleset::default();
    assert!(enforcer.repair("nft (pid 5)"));
    assert!(kernel.enforces(&a, 1));
    assert_eq!(enforcer.observed().conditions[0].kind, "ForeignChange");
    assert!(!enforcer.repair("nft (pid 5)"), "nothing left to repair");

    // The same, with a change of members before the notification was heard.
    kernel.0.borrow_mut().ruleset = Ruleset::default();
    enforcer
        .transact(transaction(Some(&a), &b, 2))
        .expect("taken");
    assert!(kernel.enforces(&b, 2));
}

#[test]
fn packets_are_explained_by_the_acknowledged_view_and_doubts_are_told() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b) = (view(&[80], &[]), view(&[80, 443], &["10.0.0.2/32"]));
    let mut enforcer = kernel.start(dir.path());
    let nothing = enforcer.basis().view.expect_err("no view is held");
    assert!(nothing.contains("nothing is enforced"), "{nothing}");
    enforcer.close().expect("closed");
    let closed = enforcer.basis().view.expect_err("no view is held");
    assert!(closed.contains("every interface is closed"), "{closed}");

    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    let basis = enforcer.basis();
    assert_eq!(basis.view, Ok((a.clone(), position(&a, 1))));
    assert_eq!(basis.environment, machine());
    assert_eq!(basis.caveats, Vec::<String>::new());

    // A change waits, as a delta and as a whole view: what is acknowledged is explained.
    let delta = || transaction(Some(&a), &b, 2);
    for change in [delta(), transaction(None, &b, 2)] {
        kernel.fail(Faults::these(&[Fault::Refused(12); 4]));
        let waits = enforcer.transact(change);
        assert!(matches!(waits, Err(NotEnforced::Waiting)), "{waits:?}");
        let basis = enforcer.basis();
        assert_eq!(basis.view, Ok((a.clone(), position(&a, 1))));
        let told = basis.caveats.join("\n");
        for part in ["a change to revision 2 waits", "Degraded"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        kernel.fail(Faults::none());
        enforcer.give_up().expect("it waited");
        enforcer.settle();
        assert_eq!(enforcer.basis().caveats, Vec::<String>::new());
    }
    enforcer.transact(delta()).expect("taken");
    assert_eq!(enforcer.basis().view, Ok((b.clone(), position(&b, 2))));

    // Somebody flushed it, and it cannot be repaired.
    kernel.0.borrow_mut().refuses = Some(RuleId(80));
    kernel.0.borrow_mut().ruleset = Ruleset::default();
    assert!(enforcer.repair("nft"));
    let basis = enforcer.basis();
    assert_eq!(basis.view, Ok((b.clone(), position(&b, 2))));
    let told = basis.caveats.join("\n");
    for part in ["it is not known what the kernel enforces", "NotEnforced"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    kernel.0.borrow_mut().refuses = None;
    enforcer.uninstall().expect("removed");
    let gone = enforcer.basis().view.expect_err("no view is held");
    assert!(gone.contains("our tables are removed"), "{gone}");
}

#[test]
fn a_repair_that_the_kernel_refuses_is_said_and_made_good_later() {
    let (dir, kernel) = (dir(), Model::default());
    let a = view(&[80], &[]);
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    kernel.0.borrow_mut().refuses = Some(RuleId(80));
    kernel.0.borrow_mut().ruleset = Ruleset::default();
    assert!(enforcer.repair("nft"));
    assert!(enforcer.is_troubled());
    assert_eq!(enforcer.positions().enforced, None);
    kernel.0.borrow_mut().refuses = None;
    enforcer.settle();
    assert!(!enforcer.is_troubled());
    assert!(kernel.enforces(&a, 1));
}

#[test]
fn a_repair_whose_read_fails_is_not_forgotten() {
    let (dir, kernel) = (dir(), Model::default());
    let a = view(&[80], &["10.0.0.2/32"]);
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    // Somebody empties a base chain, and the read that should find it fails.
    assert!(kernel.damage(1));
    kernel.fail(Faults::these(&[Fault::Read]));
    assert!(!enforcer.repair("nft"));
    assert_eq!(enforcer.positions().enforced, None, "nobody knows");
    assert_eq!(told(&enforcer), [("Degraded", "NotEnforced")]);
    // The next attempt reads again, and finds it.
    enforcer.settle();
    assert!(kernel.enforces(&a, 1));
    assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
    assert_eq!(told(&enforcer), [("ForeignChange", "Repaired")]);
}

#[test]
fn what_cannot_be_read_back_is_not_enforced_until_it_is_read() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b) = (view(&[80], &[]), view(&[443], &[]));
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    // The commit stands; neither the read-back nor any read after it succeeds.
    kernel.fail(Faults::these(&[Fault::ReadBack, Fault::Read]));
    let waits = enforcer.transact(transaction(Some(&a), &b, 2));
    assert!(matches!(waits, Err(NotEnforced::Waiting)), "{waits:?}");
    assert_eq!(enforcer.positions().enforced, None);
    assert_eq!(enforcer.positions().have, Some(position(&a, 1)));
    // Given up: the view before is enforced again, though the kernel had the new one.
    kernel.fail(Faults::these(&[Fault::Read]));
    let rejection = enforcer.give_up().expect("it waited");
    assert_eq!(rejection.code, code::UNAVAILABLE);
    assert_eq!(enforcer.positions().enforced, None);
    enforcer.settle();
    assert!(kernel.enforces(&a, 1));
    assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
    assert!(!enforcer.is_troubled());
}

#[test]
fn a_fault_of_the_machine_is_nobodys_fault_and_the_transaction_waits_for_its_end() {
    for errno in [4, 12, 23, 24, 28, 105] {
        let (dir, kernel) = (dir(), Model::default());
        let (a, b) = (view(&[80], &[]), view(&[80, 443], &["10.0.0.2/32"]));
        let mut enforcer = kernel.start(dir.path());
        enforcer.transact(transaction(None, &a, 1)).expect("taken");
        kernel.fail(Faults::these(&[Fault::Refused(errno); 4]));
        let waits = enforcer.transact(transaction(Some(&a), &b, 2));
        assert!(
            matches!(waits, Err(NotEnforced::Waiting)),
            "{errno}: {waits:?}"
        );
        assert_eq!(enforcer.positions().have, Some(position(&a, 1)));
        assert!(enforcer.is_troubled());
        kernel.fail(Faults::none());
        enforcer.settle();
        assert_eq!(enforcer.decided(), Some(Ok(())), "{errno}");
        assert!(kernel.enforces(&b, 2));
        assert_eq!(enforcer.positions().enforced, Some(position(&b, 2)));
        assert_eq!(told(&enforcer), []);
        drop(enforcer);
        let enforcer = kernel.start(dir.path());
        assert_eq!(
            enforcer.positions().have,
            Some(position(&b, 2)),
            "it is on disk"
        );
    }
}

fn start_on(disk: &SimulatedDisk, kernel: &Model) -> Enforcer<Model> {
    Enforcer::start_on(disk.process(), kernel.clone(), machine()).expect("started")
}

#[test]
fn a_change_that_waits_for_the_disk_takes_nothing_from_what_is_enforced() {
    let (disk, kernel) = (SimulatedDisk::new(1), Model::default());
    let (a, b) = (view(&[80], &[]), view(&[443], &[]));
    let mut enforcer = start_on(&disk, &kernel);
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    disk.set_faults(disk::Faults {
        writes: 1000,
        ..disk::Faults::default()
    });
    for _ in 0..2 {
        let waits = enforcer.transact(transaction(Some(&a), &b, 2));
        assert!(matches!(waits, Err(NotEnforced::Waiting)), "{waits:?}");
        let at = Some(position(&a, 1));
        assert_eq!(enforcer.positions().have, at);
        assert_eq!(enforcer.positions().enforced, at);
        assert!(kernel.enforces(&a, 1));
        let waits = [
            ("Degraded", "MachineFault"),
            ("NotDurable", "StateDirectory"),
        ];
        assert_eq!(told(&enforcer), waits);
    }
    disk.set_faults(disk::Faults::default());
    enforcer.settle();
    assert_eq!(enforcer.decided(), Some(Ok(())));
    assert!(kernel.enforces(&b, 2));
    assert_eq!(told(&enforcer), []);
}

#[test]
fn a_saved_view_that_the_disk_gives_later_is_enforced_later() {
    let (disk, kernel) = (SimulatedDisk::new(1), Model::default());
    let (a, b) = (view(&[80], &[]), view(&[443], &[]));
    let mut enforcer = start_on(&disk, &kernel);
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    drop(enforcer);
    // A reboot: the kernel is empty, and the directory cannot even be listed.
    let kernel = Model::default();
    disk.set_faults(disk::Faults {
        reads: 1000,
        ..disk::Faults::default()
    });
    let mut enforcer = start_on(&disk, &kernel);
    assert_eq!(enforcer.positions().have, None);
    assert!(enforcer.wants_retry(), "there may be a view");
    enforcer.settle();
    assert_eq!(enforcer.positions().have, None);
    disk.set_faults(disk::Faults::default());
    enforcer.settle();
    assert!(kernel.enforces(&a, 1));
    assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
    assert_eq!(told(&enforcer), []);
    assert!(!enforcer.wants_retry());
    enforcer
        .transact(transaction(Some(&a), &b, 2))
        .expect("taken");
    drop(enforcer);
    assert_eq!(
        start_on(&disk, &kernel).positions().have,
        Some(position(&b, 2))
    );
}

#[test]
fn what_is_removed_from_the_disk_is_written_again_without_a_change() {
    let (disk, kernel) = (SimulatedDisk::new(1), Model::default());
    let a = view(&[80], &[]);
    let mut enforcer = start_on(&disk, &kernel);
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    disk.process().remove("view.1").expect("removed");
    enforcer.look_at_disk();
    assert_eq!(told(&enforcer), [("NotDurable", "StateDirectory")]);
    assert!(enforcer.wants_retry());
    enforcer.settle();
    assert_eq!(told(&enforcer), []);
    assert!(kernel.enforces(&a, 1));
    drop(enforcer);
    let enforcer = start_on(&disk, &Model::default());
    assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
}

#[test]
fn an_interface_that_moves_changes_the_ruleset_without_a_control_plane() {
    let (dir, kernel) = (dir(), Model::default());
    let a = view(&[80], &[]);
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    let mut moved = machine();
    moved.control_plane = vec!["10.0.0.8:7600".parse().expect("address")];
    enforcer.set_environment(moved);
    assert_eq!(kernel.commits(), 2);
    assert!(!kernel.enforces(&a, 1));
    enforcer.set_environment(machine());
    assert!(kernel.enforces(&a, 1));
}

#[test]
fn killed_right_after_any_commit_a_restart_converges_on_what_the_kernel_has() {
    let views = [
        view(&[80], &["10.0.0.2/32"]),
        view(&[80], &["10.0.0.2/32", "10.0.0.3/32"]),
        view(&[80, 443], &["10.0.0.2/32", "10.0.0.3/32"]),
        view(&[443], &[]),
    ];
    // More transactions than views: some are made in two.
    let mut whole = 0;
    for dies_after in 0.. {
        let (dir, kernel) = (dir(), Model::default());
        kernel.0.borrow_mut().dies_after = Some(dies_after);
        let path = dir.path().to_owned();
        let at = kernel.clone();
        let run = std::panic::AssertUnwindSafe(|| {
            let mut enforcer = at.start(&path);
            let mut before = None;
            for (revision, view) in (1..).zip(&views) {
                enforcer
                    .transact(transaction(before, view, revision))
                    .expect("taken");
                before = Some(view);
            }
        });
        if std::panic::catch_unwind(run).is_ok() {
            break;
        }
        kernel.0.borrow_mut().dies_after = None;
        let enforced = (1..)
            .zip(&views)
            .find(|(revision, view)| kernel.enforces(view, *revision));
        whole += usize::from(enforced.is_some());
        let commits = kernel.commits();
        let mut enforcer = kernel.start(dir.path());
        let positions = enforcer.positions().enforced.expect("a view is enforced");
        let (revision, held) = (1..)
            .zip(&views)
            .find(|(revision, view)| position(view, *revision) == positions)
            .expect("one of ours");
        assert!(kernel.enforces(held, revision));
        if let Some((there, _)) = enforced {
            assert_eq!(revision, there, "the rules stay");
            assert_eq!(kernel.commits(), commits, "adopted");
        }
        let last = view(&[22], &["10.0.0.9/32"]);
        enforcer
            .transact(transaction(Some(held), &last, 99))
            .expect("taken");
        assert!(kernel.enforces(&last, 99));
    }
    assert_eq!(whole, views.len(), "every view was seen whole");
}

#[test]
fn a_saved_view_that_is_lost_takes_nothing_back_while_the_kernel_has_it() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b, c) = (view(&[80], &[]), view(&[80, 443], &[]), view(&[22], &[]));
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    drop(enforcer);
    let kept = std::fs::read(dir.path().join("view.1")).expect("a generation");
    let mut enforcer = kernel.start(dir.path());
    enforcer
        .transact(transaction(Some(&a), &b, 2))
        .expect("taken");
    drop(enforcer);
    // Whatever came after the first view is damaged.
    std::fs::write(dir.path().join("view.1"), kept).expect("damaged");
    let mut enforcer = kernel.start(dir.path());
    assert!(kernel.enforces(&b, 2), "the rules stay");
    assert_eq!(enforcer.positions().have, Some(position(&a, 1)));
    assert_eq!(enforcer.positions().enforced, None);
    assert_eq!(told(&enforcer), [("Degraded", "SavedViewLost")]);
    enforcer.set_environment(Environment::default());
    assert!(kernel.enforces(&b, 2));
    // A reboot has nothing better, and the control plane has.
    kernel.reboot();
    enforcer.set_environment(machine());
    enforcer.repair("somebody");
    assert!(kernel.enforces(&a, 1));
    enforcer
        .transact(transaction(Some(&a), &c, 3))
        .expect("taken");
    assert!(kernel.enforces(&c, 3));
    assert_eq!(told(&enforcer), [("ForeignChange", "Repaired")]);
}

#[test]
fn a_saved_view_whose_file_is_removed_is_written_again_before_anything_is_acknowledged() {
    let (dir, kernel) = (dir(), Model::default());
    let (a, b) = (view(&[80], &["10.0.0.2/32"]), view(&[80], &["10.0.0.3/32"]));
    let mut enforcer = kernel.start(dir.path());
    enforcer.transact(transaction(None, &a, 1)).expect("taken");
    std::fs::remove_file(dir.path().join("view.1")).expect("removed");
    if let Err(NotEnforced::Waiting) = enforcer.transact(transaction(Some(&a), &b, 2)) {
        enforcer.settle();
        assert_eq!(enforcer.decided(), Some(Ok(())));
    }
    assert_eq!(enforcer.positions().have, Some(position(&b, 2)));
    drop(enforcer);
    kernel.reboot();
    let enforcer = kernel.start(dir.path());
    assert_eq!(enforcer.positions().enforced, Some(position(&b, 2)));
}
