//! New connections a second through protected hosts that differ in what their rules ask and who answers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use palisade_integration::format::Topology;
use palisade_integration::netns::Namespace;
use palisade_integration::product::{Binaries, Deployment};
use palisade_integration::sandbox::Sandbox;
use serde_json::{Value, json};

use super::{
    cores,
    flows::{Clients, Flows, TOGETHER},
    metrics,
    noop::Noop,
    push, wait_until_active,
};
use crate::{Effort, figures::Figures, hosts::CLIENT, table::Table};

/// What a host's rules ask, and who answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Rules ask nothing.
    Plain,
    /// Rules ask, and a program accepts without a look.
    Noop,
    /// Rules ask, and the daemon asks the plugin each time.
    Asked,
    /// The same, and the answer is remembered.
    Remembered,
}

const CASES: [Case; 4] = [Case::Plain, Case::Noop, Case::Asked, Case::Remembered];

/// What was seen of a case.
#[derive(Default)]
struct Seen {
    bursts: Figures,
    /// The middle burst of each round: rounds of cases follow each other closely, so that what slows the machine down for
    /// a while slows all of them.
    rounds: Vec<Duration>,
    /// The same, until the queries had arrived.
    arrivals: Vec<Duration>,
    connections: u64,
    lost: usize,
    asked: u64,
}

/// Runs and prints.
pub(super) fn run(effort: Effort) -> Result<()> {
    let topology: Topology = serde_saphyr::from_str(&topology()).context("read the topology")?;
    let sandbox = Sandbox::build(&topology, &BTreeSet::new())?;
    let mut deployment = Deployment::start(&sandbox, &Binaries::find()?)?;
    for case in CASES {
        deployment.enrol(&sandbox, case.host())?;
    }
    let rounds = if effort.quick { 30 } else { 150 };
    let seen = look(&sandbox, &mut deployment, rounds)
        .with_context(|| format!("what the daemons logged:\n{}", deployment.logs()))?;
    print(&seen, rounds);
    Ok(())
}

fn look(sandbox: &Sandbox, deployment: &mut Deployment, rounds: u32) -> Result<Vec<(Case, Seen)>> {
    let plugin = json!({
        "apiVersion": "palisade.dev/v1", "kind": "Plugin",
        "metadata": {"name": "dns-suffix"},
        "spec": {"kind": "matcher", "digest": push(deployment, "dns-suffix")?},
    });
    let mut documents = vec![format!("{plugin}\n")];
    documents.extend(CASES.iter().flat_map(|case| case.documents()));
    deployment.palisadectl().apply(&documents.join("---\n"))?;
    wait_until_active(&deployment.palisadectl())?;
    let station = |name: &str| -> Result<&Namespace> { Ok(sandbox.station(name)?.namespace()) };
    let client = station("client")?;
    deployment.node(Case::Noop.host())?.kill()?;
    let noop = Noop::start(station(Case::Noop.host())?)?;
    for case in CASES.into_iter().filter(|case| *case != Case::Noop) {
        cores::answer(deployment.node(case.host())?.pid()?)?;
    }
    cores::send_here()?;
    let clients = Clients::open(client)?;
    let mut cases = Vec::new();
    for case in CASES {
        let flows = Flows::open(
            &clients,
            client,
            station(case.host())?,
            case.address(),
            case.net(),
        )?;
        // Neighbours are found, and answers remembered.
        for _ in 0..2 {
            flows.round()?;
        }
        cases.push((case, flows, Seen::default()));
    }
    for (case, flows, seen) in &mut cases {
        seen.asked = case.asked(flows.host(), &noop)?;
    }
    for _ in 0..rounds {
        for (_, flows, seen) in &mut cases {
            let round = flows.round()?;
            seen.lost += round.lost;
            seen.connections += u64::try_from(round.bursts.len() * TOGETHER)?;
            seen.bursts.extend(round.bursts.iter().copied());
            seen.rounds.push(Figures::from_iter(round.bursts).p50());
            seen.arrivals.push(Figures::from_iter(round.arrivals).p50());
        }
    }
    cores::anywhere()?;
    cases
        .into_iter()
        .map(|(case, flows, mut seen)| {
            seen.asked = case.asked(flows.host(), &noop)? - seen.asked;
            Ok((case, seen))
        })
        .collect()
}

fn print(cases: &[(Case, Seen)], rounds: u32) {
    let mut table = Table::new(
        format!(
            "plugins: new connections a second (a DNS query and its answer), {rounds} interleaved rounds, ratios of rounds side by side; aims: asked ÷ no-op at least 0.90, remembered ÷ no plugin at least 0.95"
        ),
        &[
            "host",
            "connections/s",
            "best",
            "÷ no plugin",
            "÷ no-op",
            "query alone ÷ no plugin",
            "÷ no-op",
            "packets asked about",
            "lost",
        ],
    );
    for (case, seen) in cases {
        let ratio = |to: Case, of: fn(&Seen) -> &[Duration]| {
            let other = cases.iter().find(|(case, _)| *case == to);
            let ratio = other.and_then(|(_, other)| times_faster(of(seen), of(other)));
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
        };
        table.row([
            case.name().to_owned(),
            format!("{:.0}", rate(seen.bursts.p50())),
            format!("{:.0}", rate(seen.bursts.least())),
            ratio(Case::Plain, |seen| &seen.rounds),
            ratio(Case::Noop, |seen| &seen.rounds),
            ratio(Case::Plain, |seen| &seen.arrivals),
            ratio(Case::Noop, |seen| &seen.arrivals),
            format!("{} of {}", seen.asked, seen.connections),
            seen.lost.to_string(),
        ]);
    }
    table.print();
}

fn rate(burst: Duration) -> f64 {
    TOGETHER as f64 / burst.as_secs_f64()
}

/// The middle of all rounds, each beside the other's.
fn times_faster(rounds: &[Duration], others: &[Duration]) -> Option<f64> {
    let pairs = rounds.iter().zip(others);
    let mut ratios: Vec<f64> = pairs
        .filter(|(this, _)| !this.is_zero())
        .map(|(this, other)| other.as_secs_f64() / this.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

impl Case {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "no plugin",
            Self::Noop => "queue, no-op program",
            Self::Asked => "queue, dns-suffix asked each time",
            Self::Remembered => "dns-suffix, answer remembered",
        }
    }

    const fn host(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Noop => "noop",
            Self::Asked => "asked",
            Self::Remembered => "remembered",
        }
    }

    const fn number(self) -> u8 {
        self as u8 + 2
    }

    const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number())
    }

    const fn net(self) -> u8 {
        200 + self.number()
    }

    /// The endpoint of its host, and its policy.
    fn documents(self) -> [String; 2] {
        let host = self.host();
        let endpoint = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": format!("{host}-eth0"), "labels": {"case": host}},
            "spec": {"node": host, "interfaceName": "eth0"},
        });
        let rule = |action: &str| json!({"action": action, "protocol": "UDP", "destination": {"ports": [super::flows::PORT]}});
        let mut rules: Vec<Value> = vec![rule("Allow")];
        let seconds = match self {
            Self::Plain => None,
            Self::Noop | Self::Asked => Some(0),
            Self::Remembered => Some(3600),
        };
        if let Some(seconds) = seconds {
            let mut asking = rule("Deny");
            asking["plugin"] = json!({
                "name": "dns-suffix",
                "settings": {"suffixes": ["blocked.example"], "rememberSeconds": seconds},
            });
            rules.insert(0, asking);
        }
        let policy = json!({
            "apiVersion": "palisade.dev/v1", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": host},
            "spec": {"selector": format!("case == '{host}'"), "types": ["Ingress"], "ingress": rules},
        });
        [endpoint, policy].map(|document| format!("{document}\n"))
    }

    /// Packets that somebody was asked about on its host.
    fn asked(self, host: &Namespace, noop: &Noop) -> Result<u64> {
        match self {
            Self::Noop => Ok(noop.accepted()),
            Self::Plain | Self::Asked | Self::Remembered => metrics::read(host, metrics::ASKED),
        }
    }
}

fn topology() -> String {
    let host = |name: &str, protected: bool, address: Ipv4Addr| {
        format!(
            "  - name: {name}\n    protected: {protected}\n    interfaces: [{{name: eth0, address: {address}/24}}]\n"
        )
    };
    let hosts = CASES.map(|case| host(case.host(), true, case.address()));
    format!(
        "hosts:\n{}{}",
        hosts.concat(),
        host("client", false, CLIENT)
    )
}
