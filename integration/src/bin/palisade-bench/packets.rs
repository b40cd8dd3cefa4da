//! What a packet costs on its way through the ruleset: new and established UDP flows over veth, sender and receiver on
//! one processor, so that the sender's time holds everything up to the receiver's socket.

mod way;

use std::time::Duration;

use anyhow::{Context, Result};
use palisade_netfilter::Netfilter;
use palisade_ruleset::{diff, ir::Ruleset, lower, lower::LowerCache};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{Effort, table::Table, world};
use palisade_integration::netns::Namespace;
use way::{HOST, PEER, Way};

/// Above bare tracking, for a new flow: with host policy only, and with every stage in use.
const AIM: f64 = 1000.0;
const AIM_OF_STAGES: f64 = 1500.0;

const BARE: &str =
    "table inet bare { chain input { type filter hook input priority 0; policy accept;
    ct state established accept
    accept
    }
}
";

/// What a person would write for one policy.
const BY_HAND: &str = "table inet hand {
    set clients { type ipv4_addr; elements = { 10.77.0.1 } }
    chain input { type filter hook input priority 0; policy accept;
        ct state established,related accept
        iifname eth0 jump host
        accept
    }
    chain host {
        ct state invalid drop
        udp dport 9000 ip saddr @clients accept
        drop
    }
}
";

/// Figures of Calico from another machine of the same class: ns above bare tracking, new and established.
const CALICO: [(u16, u32, u32); 3] = [(1, 2300, 1060), (100, 10_200, 1200), (1000, 57_300, 1310)];

/// Which rules a way has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    None,
    Bare,
    ByHand,
    Policies(u16),
    /// The same, with untracked, pre-DNAT and forward policy and a workload.
    Stages(u16),
}

/// The least of many rounds, in ns per packet.
struct Cost {
    rules: Rules,
    new: f64,
    established: f64,
}

/// Runs and prints.
pub(crate) fn run(effort: Effort) -> Result<()> {
    let mut all = vec![
        Rules::None,
        Rules::Bare,
        Rules::ByHand,
        Rules::Policies(1),
        Rules::Policies(100),
        Rules::Policies(1000),
        Rules::Stages(1),
        Rules::Stages(1000),
    ];
    if effort.large {
        all.push(Rules::Policies(10_000));
    }
    let rounds = if effort.quick { 40 } else { 200 };
    let mut ways = all
        .iter()
        .map(|rules| Ok((*rules, Way::open(|host| install(*rules, host))?)))
        .collect::<Result<Vec<_>>>()?;
    let costs = on_one_processor(|| measure(&mut ways, rounds))?;
    print(&costs, rounds);
    Ok(())
}

fn measure(ways: &mut [(Rules, Way)], rounds: usize) -> Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = ways
        .iter()
        .map(|(rules, _)| Cost {
            rules: *rules,
            new: f64::INFINITY,
            established: f64::INFINITY,
        })
        .collect();
    for _ in 0..rounds {
        for ((_, way), cost) in ways.iter_mut().zip(&mut costs) {
            cost.new = cost.new.min(nanoseconds(way.new_flows()?));
            cost.established = cost.established.min(nanoseconds(way.established_flow()?));
        }
    }
    Ok(costs)
}

fn nanoseconds(per_packet: Duration) -> f64 {
    per_packet.as_secs_f64() * 1e9
}

fn install(rules: Rules, host: &Namespace) -> Result<()> {
    match rules {
        Rules::None => Ok(()),
        Rules::Bare => host.nft(BARE).map(drop),
        Rules::ByHand => host.nft(BY_HAND).map(drop),
        Rules::Policies(number) | Rules::Stages(number) => {
            let size = world::Size {
                policies: number - 1,
                rules: 1,
                sets: (number / 2).max(1),
                members: 100,
            };
            let mut view = world::view(size, &[PEER]);
            if matches!(rules, Rules::Stages(_)) {
                world::add_stages(&mut view);
            }
            let mut cache = LowerCache::default();
            let lowered = lower(&view, &world::environment(HOST), None, &mut cache);
            anyhow::ensure!(lowered.faults.is_empty(), "faults: {:?}", lowered.faults);
            host.run(|| {
                let mut netfilter = Netfilter::open().context("open netfilter")?;
                let plan = diff(&Ruleset::default(), &lowered.ruleset);
                netfilter.commit(&plan).context("commit the ruleset")?;
                netfilter.read_touched(&plan).context("read back")?;
                Ok(())
            })
        }
    }
}

/// Runs on a thread that stays on the last processor.
fn on_one_processor<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            let last = std::thread::available_parallelism().map_or(0, |n| n.get() - 1);
            let mut processors = CpuSet::new();
            processors.set(last);
            sched_setaffinity(None, &processors).context("stay on one processor")?;
            work()
        });
        pinned
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn print(costs: &[Cost], rounds: usize) {
    let mut table = Table::new(
        format!(
            "packets: ns per packet, least of {rounds} interleaved rounds; aim: a new flow at most {AIM:.0} above bare tracking, {AIM_OF_STAGES:.0} with every stage"
        ),
        &[
            "ruleset",
            "new",
            "above",
            "÷ aim",
            "÷ by hand",
            "established",
            "above",
            "Calico new, above *",
            "est. *",
        ],
    );
    let bare = costs.iter().find(|cost| cost.rules == Rules::Bare);
    let by_hand = costs.iter().find(|cost| cost.rules == Rules::ByHand);
    let by_hand = by_hand.map_or(f64::NAN, |cost| cost.new);
    let (bare_new, bare_established) = bare.map_or((0.0, 0.0), |c| (c.new, c.established));
    for cost in costs {
        let name = match cost.rules {
            Rules::None => "no rules, no tracking".to_owned(),
            Rules::Bare => "bare tracking".to_owned(),
            Rules::ByHand => "written by hand, 1 policy".to_owned(),
            Rules::Policies(1) => "palisade, 1 policy".to_owned(),
            Rules::Policies(number) => format!("palisade, {number} policies"),
            Rules::Stages(number) => format!("palisade, {number} policies, every stage"),
        };
        let calico = match cost.rules {
            Rules::Policies(number) => CALICO.iter().find(|(policies, ..)| *policies == number),
            _ => None,
        };
        let dash = || "-".to_owned();
        let judged = !matches!(cost.rules, Rules::None | Rules::Bare);
        let above = |value: f64, bare: f64| match judged {
            true => format!("{:+.0}", value - bare),
            false => dash(),
        };
        let aim = match cost.rules {
            Rules::Policies(_) => format!("{:.2}", (cost.new - bare_new) / AIM),
            Rules::Stages(_) => format!("{:.2}", (cost.new - bare_new) / AIM_OF_STAGES),
            _ => dash(),
        };
        let of_hand = match cost.rules {
            Rules::Policies(_) | Rules::Stages(_) => format!("{:.2}", cost.new / by_hand),
            _ => dash(),
        };
        table.row([
            name,
            format!("{:.0}", cost.new),
            above(cost.new, bare_new),
            aim,
            of_hand,
            format!("{:.0}", cost.established),
            above(cost.established, bare_established),
            calico.map_or_else(dash, |(_, new, _)| format!("{new:+}")),
            calico.map_or_else(dash, |(_, _, established)| format!("{established:+}")),
        ]);
    }
    table.print();
    println!("  * Calico (measured elsewhere)");
}
