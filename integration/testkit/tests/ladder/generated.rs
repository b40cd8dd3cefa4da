//! Generated worlds and packets, on all pure rungs; what differs is shrunk and printed.

use crate::rungs::{Rungs, SCOPE, enforceable};
use crate::wanted::wanted;
use palisade_testkit::{
    coverage::Coverage,
    document::World,
    generate::{Dice, packets, world},
    packet::Packet,
    scenario::Case,
    shrink::shrink,
};
use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// An ordinary run has at least so many pairs of world and packet.
const PAIRS: u64 = 100_000;
/// Worlds in an ordinary run.
const WORLDS: u64 = 2_500;
/// Packets for a world: lowering costs more than asking.
const PACKETS: usize = 100;

/// When to end.
#[derive(Clone, Copy)]
enum Until {
    Worlds(u64),
    Time(Instant),
}

#[test]
fn all_rungs_say_the_same() {
    let seconds = number("PALISADE_LADDER_SECONDS");
    let random = || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap_or_default()
    };
    let first = number("PALISADE_LADDER_SEED").unwrap_or_else(|| match seconds {
        None => 0,
        Some(_) => random(),
    });

    let until = match seconds {
        None => Until::Worlds(WORLDS),
        Some(seconds) => Until::Time(Instant::now() + Duration::from_secs(seconds)),
    };
    let began = Instant::now();
    let coverage = climb(first, until);
    let pairs = coverage.get("pairs", "agreed");
    println!(
        "{coverage}{pairs} pairs from seed {first} in {:?}",
        began.elapsed()
    );
    assert!(pairs >= PAIRS || seconds.is_some(), "only {pairs} pairs");
    let wanted = wanted();
    let missing = coverage.missing(&wanted);
    assert!(missing.is_empty(), "never reached: {missing:#?}");
}

/// Climbs on every processor; panics with the differences, made small.
fn climb(first: u64, until: Until) -> Coverage {
    let differences = Differences::default();
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut coverage = Coverage::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let is_over = differences.is_enough()
                || match until {
                    Until::Worlds(count) => index >= count,
                    Until::Time(end) => Instant::now() >= end,
                };
            if is_over {
                return coverage;
            }
            one_world(first.wrapping_add(index), &mut coverage, &differences);
        }
    };
    let coverage = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut coverage = Coverage::new();
        for worker in workers {
            match worker.join() {
                Ok(counted) => coverage.merge(counted),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        coverage
    });
    differences.tell();
    coverage
}

/// The first of each kind of difference; after several kinds it is enough.
#[derive(Default)]
struct Differences(Mutex<BTreeMap<String, (u64, World, Packet)>>);

impl Differences {
    const ENOUGH: usize = 6;

    fn add(&self, kind: String, seed: u64, world: &World, packet: Packet) {
        let mut found = self.0.lock().expect("nobody panicked");
        found
            .entry(kind)
            .or_insert_with(|| (seed, world.clone(), packet));
    }

    fn is_enough(&self) -> bool {
        self.0.lock().expect("nobody panicked").len() >= Self::ENOUGH
    }

    fn tell(self) {
        let found = self.0.into_inner().expect("nobody panicked");
        let told: Vec<String> = found
            .into_iter()
            .map(|(kind, (seed, world, packet))| format!("{kind}\n{}", tell(seed, world, packet)))
            .collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    }
}

fn one_world(seed: u64, coverage: &mut Coverage, differences: &Differences) {
    let mut world = world(seed, SCOPE);
    enforceable(&mut world, coverage);
    coverage.world(&world);
    let rungs = match Rungs::new(&world) {
        Ok(rungs) => rungs,
        Err(refusal) => panic!("seed {seed}: {refusal}"),
    };
    let evaluator = rungs.evaluator();
    for packet in packets(&world, &mut Dice::new(!seed), PACKETS) {
        let answers = rungs.ask(&evaluator, &packet);
        if !answers.agree() {
            differences.add(answers.kind(), seed, &world, packet);
            continue;
        }
        if answers.oracle.impossible {
            coverage.count("pairs", "impossible packets");
            continue;
        }
        coverage.count("pairs", "agreed");
        coverage.judgement(&answers.oracle);
    }
}

fn differs(world: &World, packet: &Packet) -> bool {
    Rungs::new(world).is_ok_and(|rungs| !rungs.ask(&rungs.evaluator(), packet).agree())
}

/// The difference, as small as it gets, with everything needed to name it.
fn tell(seed: u64, world: World, packet: Packet) -> String {
    let (world, packet) = shrink(world, packet, differs);
    let rungs = Rungs::new(&world).unwrap_or_else(|refusal| panic!("{refusal}"));
    let verdict = rungs.oracle.judge(&packet).verdict;
    let case = Case::new(
        format!("found at seed {seed}"),
        world,
        packet.clone(),
        verdict,
    );
    format!(
        "seed {seed}: the rungs differ\n{}\ncase file:\n{}\nscenario:\n{}",
        rungs.explain(&packet),
        case.to_json(),
        case.to_scenario()
    )
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
}
