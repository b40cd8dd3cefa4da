//! A daemon killed at many points of its changes: old rules are enforced while it is dead, and the next one converges.
//!
//! `PALISADE_KILLS` says how often; a seed is printed, and `PALISADE_SEED` repeats a run.

use palisade_integration::format::Protocol;
use palisade_integration::load::Load;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::pause;
use palisade_integration::prerequisite::{Prerequisite, have};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Rounds, unless more are asked for.
const KILLS: u64 = 32;
/// Opened by every second change, and closed by the others.
const TOGGLED: u16 = 8055;
/// For anything that a round waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Packets of each stream that are looked at while the daemon is dead.
const WHILE_DEAD: u64 = 20;

/// What a kill follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    /// The change being sent to the control plane: before the node has it, while, or behind.
    Sent,
    /// The change being begun in the saved view's file: before, in and behind the kernel's transactions.
    Begun,
    /// A start of the daemon: while it adopts, confirms and connects.
    Start,
    /// A whole view being begun in a file of its own, as at a rotation: its kernel transactions, its sync, its new name.
    Whole,
}

/// How far the change had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    BeforeTheFile,
    InTheFile,
    InTheKernel,
    Enforced,
}

/// Numbers for one seed (`splitmix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// A wait that the scheduler does not lengthen.
    fn spin(&mut self, limit: Duration) {
        let micros = u64::try_from(limit.as_micros()).expect("short");
        let until = Instant::now() + Duration::from_micros(self.below(micros));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Bytes in files of saved views, those that are begun included.
fn saved_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let views = entries.filter(|entry| {
        let name = entry.file_name();
        ["view.", "next."]
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
    });
    views
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

/// The change of a round: the port that marks it, and the one that it toggles.
fn change(round: u64) -> (u16, String) {
    let mark = 30_000 + u16::try_from(round).expect("few rounds");
    let mut ports = vec![mark];
    if round.is_multiple_of(2) {
        ports.push(TOGGLED);
    }
    let streams = allow("streams", 100, "UDP", &[MUST_PASS]);
    (mark, streams + &allow("toggled", 10, "TCP", &ports))
}

/// Packets of the streams are judged as ever while nobody is there.
fn judged_without_a_daemon(pair: &Pair, load: &Load) {
    let so_far = || load.so_far(&pair.sandbox).expect("counters");
    let (began, deadline) = (so_far(), Instant::now() + PATIENCE);
    loop {
        let now = so_far();
        let passed = now.sums(true).1 - began.sums(true).1;
        let (sent, leaked) = now.sums(false);
        assert_eq!(leaked, 0, "packets leaked while the daemon was dead");
        if passed >= WHILE_DEAD && sent >= began.sums(false).0 + WHILE_DEAD {
            return;
        }
        assert!(Instant::now() < deadline, "the streams stand still: {now}");
        pause();
    }
}

struct Rounds {
    pair: Pair,
    load: Load,
    random: Random,
    points: BTreeMap<(After, Point), u32>,
}

impl Rounds {
    fn kill(&mut self) {
        let node = self.pair.deployment.node("host0").expect("a daemon");
        node.kill().expect("a kill");
    }

    /// Waits until a file of saved views grows, unless the change came to its end without.
    fn until_begun(&self, before: u64, ended: impl Fn() -> bool) {
        let (dir, deadline) = (self.pair.state_dir(), Instant::now() + PATIENCE);
        while saved_bytes(&dir) <= before {
            assert!(Instant::now() < deadline, "nothing was begun");
            if ended() {
                return;
            }
        }
    }

    fn round(&mut self, round: u64, after: After) {
        let (mark, documents) = change(round);
        let dir = self.pair.state_dir();
        if after == After::Whole {
            // A node that has lost its saved view is sent a whole one.
            self.kill();
            for entry in std::fs::read_dir(&dir).expect("there").flatten() {
                if entry.file_name().to_string_lossy().starts_with("view.") {
                    std::fs::remove_file(entry.path()).expect("removed");
                }
            }
        }
        let before = saved_bytes(&dir);
        let palisadectl = self.pair.deployment.palisadectl();
        let text = documents.clone();
        let write = move || {
            let applied = palisadectl.run(&["apply", "-f", "-"], &text)?;
            applied.success().map(drop)
        };
        match after {
            After::Sent | After::Begun => {
                let writer = std::thread::spawn(write);
                if after == After::Sent {
                    self.random.spin(Duration::from_millis(400));
                } else {
                    self.until_begun(before, || false);
                    // What is before the kernel's transactions takes less time than what is behind them.
                    let limit = if round.is_multiple_of(2) { 8 } else { 1 };
                    self.random.spin(Duration::from_millis(limit));
                }
                self.kill();
                let written = writer.join().expect("a writer");
                written.expect("writes succeed without the node");
            }
            After::Start | After::Whole => {
                self.kill();
                write().expect("written");
                self.pair.deployment.begin_node("host0").expect("begun");
                if after == After::Start {
                    self.random.spin(Duration::from_millis(250));
                } else {
                    self.until_begun(before, || false);
                    self.random.spin(Duration::from_millis(8));
                }
                self.kill();
            }
        }
        let point = self.point(mark, before);
        *self.points.entry((after, point)).or_default() += 1;
        judged_without_a_daemon(&self.pair, &self.load);

        let restarted = self.pair.deployment.start_node("host0");
        restarted.unwrap_or_else(|err| panic!("round {round}, {after:?}, {point:?}: {err:#}"));
        self.pair.apply(&documents).expect("it converges");
        let open = round.is_multiple_of(2);
        // What is denied takes a second and more to see; the stream that must drop is seen in every round.
        if open || round % 8 == 5 {
            self.pair.expect(Protocol::TCP, TOGGLED, open);
        }
    }

    /// How far the change had come when the daemon was killed.
    fn point(&mut self, mark: u16, before: u64) -> Point {
        let mut list = std::process::Command::new("nft");
        let output = self
            .pair
            .host()
            .output(list.args(["-s", "list", "table", "inet", "palisade"]), "");
        let listed = String::from_utf8_lossy(&output.expect("nft").stdout).into_owned();
        let node = self.pair.deployment.node("host0").expect("a daemon");
        let enforced = node.own_log().contains("view enforced");
        let in_kernel = listed.contains(&mark.to_string());
        match (in_kernel, saved_bytes(&self.pair.state_dir()) > before) {
            (true, _) if enforced => Point::Enforced,
            (true, _) => Point::InTheKernel,
            (false, true) => Point::InTheFile,
            (false, false) => Point::BeforeTheFile,
        }
    }
}

#[test]
fn a_node_killed_at_any_point_leaves_its_rules_and_the_next_one_converges() {
    if !have("kills", &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return;
    }
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = number("PALISADE_SEED").unwrap_or(clock.map_or(1, |now| now.as_secs()));
    let kills = number("PALISADE_KILLS").unwrap_or(KILLS);
    println!("{kills} kills, seed {seed}");
    let pair = Pair::start().expect("a deployment");
    pair.apply(&(change(1).1 + &host_endpoint("generation", "0")))
        .expect("the initial policy");
    pair.expect(Protocol::UDP, MUST_PASS, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    let load = pair.load().expect("two streams");
    let mut rounds = Rounds {
        pair,
        load,
        random: Random(seed),
        points: BTreeMap::new(),
    };
    let began = Instant::now();
    for round in 2..kills + 2 {
        let after = match round % 8 {
            0 | 4 => After::Sent,
            1 => After::Start,
            2 => After::Whole,
            _ => After::Begun,
        };
        rounds.round(round, after);
    }
    println!(
        "{kills} kills in {:?}: {:?}",
        began.elapsed(),
        rounds.points
    );
    let Rounds { pair, load, .. } = rounds;
    pair.count(load)
        .expect("counters")
        .expect_none_lost_none_leaked();
}
