//! The last rung: real packets through the kernel that enforces the lowered ruleset, in namespaces of their own.
//!
//! A host with all interfaces of the world, and one namespace at the other end of its wires. Packets are written header
//! and all, so that they come from and go to any address. Where they go is said by their type of service: `In` is local,
//! the others leave by an interface. What passes every hook of ours is seen by a table behind them.

mod craft;
mod network;

use crate::rungs::{Rungs, SCOPE, enforceable};
use craft::Mark;
use network::Network;
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_testkit::{
    coverage::Coverage,
    document::World,
    generate::{Dice, packets, world},
    oracle::{Judgement, Reason, Verdict},
    packet::{Packet, Tracking, Way},
    scenario::Case,
};
use std::collections::BTreeSet;

/// Worlds, each in namespaces of its own.
const WORLDS: u64 = 64;
/// Packets for a world, of which this many are looked at to find those that a wire can carry.
const PACKETS: usize = 60;
const CANDIDATES: usize = 4_000;
/// Pairs that must be compared in all.
const PAIRS: u64 = 1_000;
/// Where the seeds begin: other worlds than the pure rungs have.
const FIRST: u64 = 2_000_000;

#[test]
fn the_kernel_does_what_the_oracle_says() {
    if !have("the kernel rung of the ladder", &[Prerequisite::Netns]) {
        return;
    }
    let mut coverage = Coverage::new();
    let mut differences = Vec::new();
    for seed in FIRST..FIRST + WORLDS {
        let mut world = world(seed, SCOPE);
        enforceable(&mut world, &mut coverage);
        let rungs = Rungs::new(&world).unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
        let mut all = packets(&world, &mut Dice::new(!seed), CANDIDATES);
        // No daemon is there, so failure policies decide.
        all.iter_mut().for_each(|packet| packet.answers.clear());
        let sent = chosen(&rungs, all, &mut Dice::new(seed));
        let network = Network::lay(&world.machine, &rungs.ruleset)
            .unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
        let passed = network
            .send(&sent)
            .unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
        for (packet, passed) in sent.into_iter().zip(passed) {
            let judgement = rungs.oracle.judge(&packet);
            if passed != (judgement.verdict == Verdict::Accept) {
                differences.push(tell(seed, &world, &rungs, packet, passed));
            }
            coverage.count("pairs", "agreed");
            coverage.judgement(&judgement);
        }
    }
    println!("{coverage}");
    let shown: Vec<String> = differences.iter().take(5).cloned().collect();
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        shown.join("\n")
    );
    let pairs = coverage.get("pairs", "agreed");
    println!("{pairs} pairs in the kernel");
    assert!(pairs >= PAIRS, "only {pairs} pairs");
    let wanted = wanted();
    let missing = coverage.missing(&wanted);
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

fn wanted() -> Vec<(&'static str, String)> {
    let reasons = [
        "Input: Failsafe",
        "Input: Invalid",
        "Input: TierEnd",
        "Input: EndOfProfiles",
        "Input: Rule of GlobalNetworkPolicy",
        "Input: Exempt(\"neighbourDiscovery\")",
        "Input: AllowedBefore",
        "UntrackedIn: Spoofed",
        "UntrackedIn: UnknownWorkload",
        "UntrackedIn: Rule of GlobalNetworkPolicy",
        "PreDnat: Rule of GlobalNetworkPolicy",
        "ForwardHostIn: TierEnd",
        "ForwardHostOut: TierEnd",
        "ForwardWorkloadFrom: TierEnd",
        "ForwardWorkloadTo: TierEnd",
        "Output: Rule of GlobalNetworkPolicy",
        "Output: HostToWorkload",
    ];
    let failures = [
        "rule.plugin, without answer: match held",
        "rule.plugin, without answer: no-match missed",
        "rule.plugin, without answer: deny held",
        "rule.plugin, without answer: allow held",
    ];
    let reasons = reasons.iter().map(|what| ("stage", (*what).to_owned()));
    let failures = failures
        .iter()
        .map(|what| ("condition", (*what).to_owned()));
    reasons.chain(failures).collect()
}

/// Those that can be sent, each opening a flow of its own: half of them, where there are so many, reach a rule; of the
/// others mostly those about which policy has something to say.
fn chosen(rungs: &Rungs, all: Vec<Packet>, dice: &mut Dice) -> Vec<Packet> {
    let mut flows = BTreeSet::new();
    let mut chosen = Vec::new();
    let sendable = all.into_iter().filter(can_be_sent);
    let (mut told, rest): (Vec<_>, Vec<_>) = sendable.partition(|packet| {
        let judgement = rungs.oracle.judge(packet);
        let decided = judgement.decided();
        asks(&judgement) || matches!(decided, Some((_, Reason::Rule { .. })))
    });
    told.sort_by_key(|packet| !asks(&rungs.oracle.judge(packet)));
    told.truncate(PACKETS / 2);
    for packet in told.into_iter().chain(rest) {
        if chosen.len() == PACKETS {
            break;
        }
        let judgement = rungs.oracle.judge(&packet);
        let is_dull = matches!(judgement.decided(), Some((_, Reason::NotGoverned)));
        if judgement.impossible || (is_dull && dice.chance(85)) {
            continue;
        }
        let (a, b) = packet.ports.unwrap_or_default();
        let mut ends = [(packet.source, a), (packet.destination, b)];
        ends.sort_unstable();
        if flows.insert((packet.protocol, ends)) {
            chosen.push(packet);
        }
    }
    chosen
}

fn asks(judgement: &Judgement) -> bool {
    let mut looks = judgement.looks.iter();
    looks.any(|look| look.field.starts_with("plugin"))
}

fn can_be_sent(packet: &Packet) -> bool {
    let (from, to) = match &packet.way {
        Way::In(interface) => (Some(interface), None),
        Way::Out(interface) => (None, Some(interface)),
        Way::Forward(from, to) => (Some(from), Some(to)),
    };
    let is_wire = |name: &String| name != "lo";
    let leads_there = |name: &String| network::code(name).is_some();
    let is_carried = from.is_none_or(is_wire) && to.is_none_or(leads_there);
    is_carried
        && packet.translated.is_none()
        && is_routable(packet)
        && craft::mark(packet).is_some_and(|mark| match mark {
            // The stack makes no such packets, and tracks what it makes itself before it is asked about flags.
            Mark::Invalid => matches!(packet.tracking, Tracking::Invalid),
            Mark::New => matches!(packet.tracking, Tracking::New),
            Mark::Untracked => matches!(packet.tracking, Tracking::Untracked),
        })
}

/// Addresses that a wire may carry from and to anywhere.
fn is_routable(packet: &Packet) -> bool {
    let routable = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(v4) => {
            !v4.is_loopback() && v4.octets()[0] != 0 && !v4.is_multicast() && v4.octets()[0] < 224
        }
        std::net::IpAddr::V6(v6) => {
            let is_global = matches!(v6.segments()[0], 0x2000..=0x3fff | 0xfc00..=0xfdff);
            is_global && !v6.is_multicast()
        }
    };
    routable(packet.source) && routable(packet.destination) && packet.source != packet.destination
}

fn tell(seed: u64, world: &World, rungs: &Rungs, packet: Packet, passed: bool) -> String {
    let verdict = rungs.oracle.judge(&packet).verdict;
    let name = format!("found in the kernel at seed {seed}");
    let case = Case::new(name, world.clone(), packet.clone(), verdict);
    format!(
        "seed {seed}: the kernel {} it\n{packet:?}\n{}\n{}",
        if passed { "passes" } else { "drops" },
        rungs.explain(&packet),
        case.to_scenario()
    )
}
