//! What a change costs on the node between the stream and the acknowledgement, without the disk: one member among 10,000
//! rules, and one policy of 20 rules replaced among 500; beside the kernel's part alone and `nft -f`.

mod script;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use palisade_integration::netns::Namespace;
use palisade_netfilter::Netfilter;
use palisade_policy::{
    delta::Held,
    digest::ItemHash,
    item::ItemId,
    packet::Environment,
    set::Member,
    view::{Epoch, Position},
    wire::{Body, Op},
};
use palisade_ruleset::{
    apply::Actual, diff, ir::Ruleset, lower, lower::LowerCache, lower_change, plan::Plan,
};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    Effort,
    figures::{Figures, milliseconds, ratio},
    table::Table,
    world,
};

const SIZE: world::Size = world::Size {
    policies: 500,
    rules: 20,
    sets: 500,
    members: 100,
};
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const MEMBER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
/// The policy that is replaced, in the middle.
const REPLACED: u16 = 250;

/// A change and the way back: `done` tells which of the two is next.
type Change = fn(&Held, done: bool) -> Result<Op>;

/// Where the time of one change went: processor time of this thread, which neighbours do not stretch.
#[derive(Default)]
struct Parts {
    view: Duration,
    plan: Duration,
    commit: Duration,
    read_back: Duration,
    remember: Duration,
    /// The kernel's part by the clock.
    kernel: Duration,
    bytes: usize,
}

/// All times of one kind of change.
#[derive(Default)]
struct Times {
    whole: Figures,
    kernel: Figures,
    nft: Figures,
    processor: [Figures; 6],
    bytes: usize,
}

/// What a node holds, without daemon, stream and disk.
struct Node {
    held: Held,
    actual: Actual,
    cache: LowerCache,
    environment: Environment,
    netfilter: Netfilter,
    namespace: Namespace,
    revision: u64,
}

/// Runs and prints.
pub(crate) fn run(effort: Effort) -> Result<()> {
    let rounds = if effort.quick { 20 } else { 200 };
    let mut node = Node::start()?;
    let member = node.measure(member, rounds)?;
    let policy = node.measure(policy, rounds)?;
    let whole = node.netfilter.read().context("read everything")?;
    ensure!(
        &whole == node.actual.ruleset(),
        "the kernel holds something else in the end"
    );
    print(&[("one member", &member), ("one policy of 20 rules", &policy)]);
    Ok(())
}

impl Node {
    fn start() -> Result<Self> {
        let namespace = Namespace::create("commit")?;
        let netfilter = namespace.run(Netfilter::open).context("open netfilter")?;
        let held = world::held(&world::view(SIZE, &[]))?;
        let mut node = Self {
            held,
            actual: Actual::default(),
            cache: LowerCache::default(),
            environment: world::environment(HOST),
            netfilter,
            namespace,
            revision: 0,
        };
        let (plan, desired) = node.whole()?;
        node.netfilter.commit(&plan).context("the first commit")?;
        node.netfilter.read_touched(&plan).context("read back")?;
        node.actual = Actual::new(desired);
        Ok(node)
    }

    /// Makes the change by ourselves and takes it back by `nft -f`, then the other way round.
    fn measure(&mut self, change: Change, rounds: usize) -> Result<Times> {
        let mut times = Times::default();
        let mut done = false;
        for _ in 0..2 {
            for _ in 0..rounds / 2 {
                let op = change(&self.held, done)?;
                let began = Instant::now();
                let parts = self.enforce(op)?;
                times.add(began.elapsed(), &parts);
                let op = change(&self.held, !done)?;
                times.nft.add(self.by_nft(op)?);
            }
            // What was begun by one is now begun by the other.
            let op = change(&self.held, done)?;
            self.enforce(op)?;
            done = !done;
        }
        Ok(times)
    }

    /// As the daemon does it: the view, the plan, one transaction, read-back.
    fn enforce(&mut self, op: Op) -> Result<Parts> {
        let mut clock = Clock::start();
        let mut parts = Parts::default();
        let change = self.take(op)?;
        parts.view = clock.lap();
        let plan = self.plan(&change)?;
        parts.plan = clock.lap();
        let committed = self.netfilter.commit(&plan).context("commit")?;
        parts.commit = clock.lap();
        (parts.kernel, parts.bytes) = (committed.commit, committed.bytes);
        self.netfilter.read_touched(&plan).context("read back")?;
        parts.read_back = clock.lap();
        self.remember(&plan, &change)?;
        parts.remember = clock.lap();
        Ok(parts)
    }

    /// The same kind of change as a script. The process is part of it: that is how a script is applied.
    fn by_nft(&mut self, op: Op) -> Result<Duration> {
        let change = self.take(op)?;
        let plan = self.plan(&change)?;
        let script = script::render(&plan);
        let begun = Instant::now();
        self.namespace.nft(&script)?;
        let time = begun.elapsed();
        self.netfilter
            .read_touched(&plan)
            .context("read back what nft wrote")?;
        self.remember(&plan, &change)?;
        Ok(time)
    }

    fn take(&mut self, op: Op) -> Result<palisade_policy::delta::Change> {
        let mut digest = self.held.digest();
        let id = op.item();
        let hashes = self.held.hashes();
        let old = *hashes.get(&id).context("the item is held")?;
        digest.remove_item(&id, &old);
        digest.add_item(&id, &hash_after(&op, old));
        let (change, _) = self
            .held
            .apply(vec![op], &digest)
            .context("a valid change")?;
        self.revision += 1;
        Ok(change)
    }

    /// The short way, which both kinds of change go.
    fn plan(&mut self, change: &palisade_policy::delta::Change) -> Result<Plan> {
        let position = self.position();
        let (view, cache) = (self.held.view(), &mut self.cache);
        lower_change(&mut self.actual, view, change, Some(&position), cache)
            .context("no short way for the change")
    }

    fn remember(&mut self, plan: &Plan, change: &palisade_policy::delta::Change) -> Result<()> {
        self.actual.apply(plan).context("apply")?;
        let view = self.held.view();
        self.cache
            .remember_members(view, self.actual.ruleset(), change.sets.keys());
        Ok(())
    }

    fn whole(&mut self) -> Result<(Plan, Ruleset)> {
        let position = self.position();
        let view = self.held.view();
        let lowered = lower(view, &self.environment, Some(&position), &mut self.cache);
        ensure!(lowered.faults.is_empty(), "faults: {:?}", lowered.faults);
        Ok((
            diff(self.actual.ruleset(), &lowered.ruleset),
            lowered.ruleset,
        ))
    }

    fn position(&self) -> Position {
        Position {
            epoch: Epoch([1; 16]),
            revision: self.revision,
            digest: self.held.digest(),
        }
    }
}

impl Times {
    fn add(&mut self, whole: Duration, parts: &Parts) {
        self.whole.add(whole);
        self.kernel.add(parts.kernel);
        self.bytes = parts.bytes;
        let steps = [
            parts.view,
            parts.plan,
            parts.commit,
            parts.read_back,
            parts.remember,
        ];
        let sum = steps.iter().sum();
        let all = steps.into_iter().chain([sum]);
        for (figures, time) in self.processor.iter_mut().zip(all) {
            figures.add(time);
        }
    }
}

/// Processor time of this thread, lap by lap.
struct Clock(Duration);

impl Clock {
    fn start() -> Self {
        Self(Self::now())
    }

    fn lap(&mut self) -> Duration {
        let now = Self::now();
        let before = std::mem::replace(&mut self.0, now);
        now.saturating_sub(before)
    }

    fn now() -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(now).unwrap_or_default()
    }
}

fn hash_after(op: &Op, before: ItemHash) -> ItemHash {
    match op {
        Op::PatchSet { add, remove, .. } => {
            let mut hash = before;
            add.iter().for_each(|member| hash.add_member(member));
            remove.iter().for_each(|member| hash.remove_member(member));
            hash
        }
        Op::Put { hash, .. } => *hash,
        Op::PutSet { set, .. } => ItemHash::of_members(&set.members().collect::<Vec<_>>()),
        Op::Remove { .. } => before,
    }
}

fn member(held: &Held, done: bool) -> Result<Op> {
    let id = world::open_set();
    let member = vec![Member::Net(world::host(MEMBER))];
    let base = held.hashes().get(&ItemId::from(&id));
    let (add, remove) = if done {
        (Vec::new(), member)
    } else {
        (member, Vec::new())
    };
    Ok(Op::PatchSet {
        base: *base.context("the set is held")?,
        id,
        add,
        remove,
    })
}

fn policy(_: &Held, done: bool) -> Result<Op> {
    let (id, policy) = world::policy(SIZE, REPLACED, u8::from(!done));
    let body = Body::Policy(Arc::new(policy));
    Ok(Op::Put {
        id: (&id).into(),
        hash: ItemHash::of_body(&body.encode()),
        body,
    })
}

fn print(kinds: &[(&str, &Times)]) {
    let rules = u32::from(SIZE.policies) * u32::from(SIZE.rules);
    let count = kinds.first().map_or(0, |(_, times)| times.whole.len());
    let mut table = Table::new(
        format!(
            "commit: ms per change among {rules} rules, {count} changes; the floor is the kernel's part of the same batch alone"
        ),
        &[
            "change",
            "p50",
            "p99",
            "÷ floor",
            "floor p50",
            "p99",
            "nft -f p50",
            "p99",
            "÷ floor",
            "bytes",
        ],
    );
    for (name, times) in kinds {
        let floor = times.kernel.p50();
        table.row([
            (*name).to_owned(),
            milliseconds(times.whole.p50()),
            milliseconds(times.whole.p99()),
            ratio(times.whole.p50(), floor),
            milliseconds(floor),
            milliseconds(times.kernel.p99()),
            milliseconds(times.nft.p50()),
            milliseconds(times.nft.p99()),
            ratio(times.nft.p50(), floor),
            times.bytes.to_string(),
        ]);
    }
    table.print();
    let mut table = Table::new(
        "  where ours goes, p50 in ms of processor time; commit is the encoding and the kernel, and the floor of all",
        &[
            "change",
            "view",
            "lower + diff",
            "commit",
            "read-back",
            "remember",
            "whole",
            "÷ commit",
        ],
    );
    for (name, times) in kinds {
        let cells = times.processor.iter().map(|part| milliseconds(part.p50()));
        let [_, _, commit, _, _, whole] = &times.processor;
        let of_commit = ratio(whole.p50(), commit.p50());
        table.row(
            [(*name).to_owned()]
                .into_iter()
                .chain(cells)
                .chain([of_commit]),
        );
    }
    table.print();
}
