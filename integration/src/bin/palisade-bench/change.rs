//! End to end with the real daemons: from before the write to the first packet that the new rule judges, what a change
//! costs in processor time, and what the daemons hold in memory.

mod daemon;
mod documents;
mod stream;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use palisade_integration::format::Topology;
use palisade_integration::prerequisite::Prerequisite;
use palisade_integration::product::{Api, Binaries, Deployment};
use palisade_integration::sandbox::Sandbox;
use rustix::process::Pid;

use crate::{
    Effort,
    figures::{Figures, milliseconds},
    hosts::{CLIENT, HOST, TOPOLOGY},
    table::Table,
};

use documents::Size;
use stream::Stream;

/// For one change.
const PATIENCE: Duration = Duration::from_secs(30);
/// For a whole world.
const LONG_PATIENCE: Duration = Duration::from_secs(300);

/// A world, and what Calico needed for it on another machine of the same class.
struct World {
    size: Size,
    calico: [&'static str; 5],
}

const WORLDS: [World; 3] = [
    World {
        size: Size {
            policies: 0,
            members: 0,
            sets: 0,
        },
        calico: ["5.8 (9.7)", "5.8", "-", "77", "7"],
    },
    World {
        size: Size {
            policies: 1000,
            members: 10_000,
            sets: 500,
        },
        calico: ["53 (82)", "55", "32 (49)", "115", "20"],
    },
    World {
        size: Size {
            policies: 10_000,
            members: 100_000,
            sets: 2000,
        },
        calico: ["707 (2470)", "760", "97", "267", "281"],
    },
];

/// What was seen of one kind of change.
#[derive(Default)]
struct Changes {
    written: Figures,
    first: Figures,
    last: Figures,
    node_time: Duration,
    controlplane_time: Duration,
}

/// What was seen of one world.
struct Seen {
    enforced: Duration,
    node_memory: u64,
    controlplane_memory: u64,
    member: Changes,
    rule: Changes,
}

/// Both daemons.
#[derive(Clone, Copy)]
struct Daemons {
    node: Pid,
    controlplane: Pid,
}

/// Runs and prints.
pub(crate) fn run(effort: Effort) -> Result<()> {
    if let Some(reason) = Prerequisite::Binaries.missing() {
        println!("\nSKIPPED change: {reason}");
        return Ok(());
    }
    let changes = if effort.quick { 20 } else { 100 };
    let worlds = if effort.large { 3 } else { 2 };
    let mut table = Table::new(
        format!(
            "change: ms from before the write to the first packet judged by the new rule, {changes} changes each, UDP at 10,000/s; aim: p50 at most 10"
        ),
        &[
            "policies, members, sets",
            "change",
            "write p50",
            "first p50",
            "(p99)",
            "last p50",
            "(p99)",
            "node CPU",
            "control plane CPU",
            "Calico first *",
            "last *",
            "CPU *",
        ],
    );
    let mut memory = Table::new(
        "change: daemon memory (RssAnon, MiB), and time from the last object to enforced",
        &[
            "policies, members, sets",
            "node",
            "control plane",
            "enforced ms",
            "Calico daemon *",
        ],
    );
    for world in WORLDS.iter().take(worlds) {
        let Size {
            policies,
            members,
            sets,
        } = world.size;
        let name = format!("{policies}, {members}, {sets}");
        let seen = observe(world.size, changes).with_context(|| format!("world {name}"))?;
        let [first, last, rule, rss, processor] = world.calico;
        table.row(
            seen.member
                .row(&name, "member", [first, last, processor], changes),
        );
        table.row(seen.rule.row(&name, "rule", [rule, "-", "-"], changes));
        memory.row([
            name,
            mebibytes(seen.node_memory),
            mebibytes(seen.controlplane_memory),
            milliseconds(seen.enforced),
            rss.to_owned(),
        ]);
    }
    table.print();
    memory.print();
    println!("  * Calico (measured elsewhere; its write is a bare put into etcd)");
    Ok(())
}

fn observe(size: Size, changes: u32) -> Result<Seen> {
    let topology: Topology = serde_saphyr::from_str(TOPOLOGY).context("read the topology")?;
    let sandbox = Sandbox::build(&topology, &BTreeSet::new())?;
    let mut deployment = Deployment::start(&sandbox, &Binaries::find()?)?;
    deployment.enrol(&sandbox, "host0")?;
    let daemons = Daemons {
        node: deployment.node("host0")?.pid()?,
        controlplane: deployment.controlplane()?.pid()?,
    };
    look(&sandbox, &deployment, daemons, size, changes)
        .with_context(|| format!("what the daemons logged:\n{}", deployment.logs()))
}

fn look(
    sandbox: &Sandbox,
    deployment: &Deployment,
    daemons: Daemons,
    size: Size,
    changes: u32,
) -> Result<Seen> {
    let mut client = Api::connect(deployment)?;
    let stream = |port| {
        let from = sandbox.station("client")?.namespace();
        let to = sandbox.station("host0")?.namespace();
        Stream::start((from, CLIENT), (to, HOST), port)
    };
    let members = stream(9000)?;
    client.apply_all(&documents::world(size))?;
    let endpoint = documents::endpoint("host0");
    let enforced = members.observe(false, LONG_PATIENCE, || client.apply(&[endpoint]).map(drop))?;
    daemons.wait_until_quiet()?;
    let node_memory = daemon::memory(daemons.node)?;
    let controlplane_memory = daemon::memory(daemons.controlplane)?;
    let member = measure(changes, daemons, &members, |pass| {
        client
            .apply(&[documents::small_set(pass.then_some(CLIENT))])
            .map(drop)
    })?;
    drop(members);
    let rules = stream(9001)?;
    let rule = measure(changes, daemons, &rules, |pass| {
        client
            .apply(&[documents::small_policy(pass.then_some(CLIENT))])
            .map(drop)
    })?;
    Ok(Seen {
        enforced: enforced.last,
        node_memory,
        controlplane_memory,
        member,
        rule,
    })
}

/// Makes a change and takes it back, again and again.
fn measure(
    changes: u32,
    daemons: Daemons,
    stream: &Stream,
    mut write: impl FnMut(bool) -> Result<()>,
) -> Result<Changes> {
    let mut seen = Changes::default();
    let (node, controlplane) = daemons.processor_time()?;
    for number in 0..changes {
        let pass = number % 2 == 0;
        let observed = stream.observe(pass, PATIENCE, || write(pass))?;
        seen.written.add(observed.written);
        seen.first.add(observed.first);
        seen.last.add(observed.last);
    }
    let after = daemons.processor_time()?;
    seen.node_time = after.0.saturating_sub(node);
    seen.controlplane_time = after.1.saturating_sub(controlplane);
    Ok(seen)
}

impl Changes {
    fn row(&self, world: &str, kind: &str, calico: [&str; 3], changes: u32) -> Vec<String> {
        let [first, last, processor] = calico.map(ToOwned::to_owned);
        vec![
            world.to_owned(),
            kind.to_owned(),
            milliseconds(self.written.p50()),
            milliseconds(self.first.p50()),
            format!("({})", milliseconds(self.first.p99())),
            milliseconds(self.last.p50()),
            format!("({})", milliseconds(self.last.p99())),
            milliseconds(self.node_time / changes.max(1)),
            milliseconds(self.controlplane_time / changes.max(1)),
            first,
            last,
            processor,
        ]
    }
}

impl Daemons {
    fn processor_time(self) -> Result<(Duration, Duration)> {
        Ok((
            daemon::processor_time(self.node)?,
            daemon::processor_time(self.controlplane)?,
        ))
    }

    /// Until both have used next to nothing for a while.
    fn wait_until_quiet(self) -> Result<()> {
        let deadline = Instant::now() + LONG_PATIENCE;
        loop {
            let before = self.processor_time()?;
            std::thread::sleep(Duration::from_millis(500));
            let after = self.processor_time()?;
            let used = after.0.saturating_sub(before.0) + after.1.saturating_sub(before.1);
            if used <= Duration::from_millis(20) || Instant::now() > deadline {
                return Ok(());
            }
        }
    }
}

fn mebibytes(kibibytes: u64) -> String {
    let tenths = kibibytes * 10 / 1024;
    format!("{}.{}", tenths / 10, tenths % 10)
}
