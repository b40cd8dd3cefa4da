//! The demonstration: two protected hosts and a client in network namespaces, the real control plane and daemons,
//! the worker-node policy of the host protection guide, real packets, and which rule decided about each. Then two plugins
//! on top of it.
//!
//! Everything happens in namespaces of its own; the ruleset of the machine is never touched.

mod plugins;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use palisade_integration::explain::{Explanation, explain};
use palisade_integration::format::{Probe, Protocol, Topology};
use palisade_integration::prerequisite::Prerequisite;
use palisade_integration::product::{Binaries, Deployment};
use palisade_integration::sandbox::Sandbox;
use palisade_integration::traffic::probe::{attempt, observe_all};

const TOPOLOGY: &str = include_str!("../../demo/topology.yaml");
const POLICY: &str = include_str!("../../demo/policy.yaml");
const ENDPOINTS: &str = include_str!("../../demo/endpoints.yaml");
const PROTECTED: [&str; 2] = ["worker1", "worker2"];
/// Time between two rounds of the live demonstration.
const ROUND: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let once = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [only] if only == "--once" => true,
        _ => {
            eprintln!("usage: palisade-demo [--once]");
            return ExitCode::from(2);
        }
    };
    match demonstrate(once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(once: bool) -> Result<()> {
    if let Some(reason) = Prerequisite::Netns.missing() {
        bail!("the demonstration cannot run here: {reason}");
    }
    let interrupted = interruption()?;
    let binaries = Binaries::find()?;
    let plugins = plugins::Built::from_source()?;
    println!(
        "Laying out worker1, worker2 (protected), client and resolver in network namespaces of their own."
    );
    let topology: Topology = serde_saphyr::from_str(TOPOLOGY).context("read the topology")?;
    let sandbox = Sandbox::build(&topology, &BTreeSet::new())?;
    println!(
        "Starting the control plane and, on each worker, the node daemon, enrolled with a single-use token."
    );
    let mut deployment = Deployment::start(&sandbox, &binaries)?;
    for host in PROTECTED {
        deployment.enrol(&sandbox, host)?;
    }
    let show = Show {
        sandbox: &sandbox,
        deployment: &deployment,
    };
    let outcome = show.act().and_then(|()| plugins.act(&show)).and_then(|()| {
        if once {
            Ok(())
        } else {
            show.live(&interrupted)
        }
    });
    outcome
        .map_err(|error| error.context(format!("what the daemons logged:\n{}", deployment.logs())))
}

/// What is shown, and on what.
struct Show<'a> {
    sandbox: &'a Sandbox,
    deployment: &'a Deployment,
}

impl Show<'_> {
    fn act(&self) -> Result<()> {
        println!("\nBefore any policy, hosts are left alone:");
        self.table(&before())?;
        println!(
            "\nThe worker-node policy of the guide (integration/src/demo/policy.yaml), then a host endpoint for each worker's eth0:"
        );
        for (what, documents) in [("policy", POLICY), ("host endpoints", ENDPOINTS)] {
            let began = Instant::now();
            self.deployment.palisadectl().apply(documents)?;
            println!(
                "  palisadectl apply --wait: {what} enforced and read back on both workers after {} ms",
                began.elapsed().as_millis()
            );
        }
        println!("\nReal packets, and what `palisadectl explain` says decided:");
        self.table(&after())?;
        println!(
            "\nNo rule lets client in by SSH, but a failsafe does: a policy cannot lock you out."
        );
        Ok(())
    }

    /// Sends every probe and prints what came of it; an error where that is not what should.
    fn table(&self, probes: &[Probe]) -> Result<()> {
        let results = observe_all(self.sandbox, probes, &BTreeSet::new())?;
        let mut wrong = 0;
        for (probe, right) in probes.iter().zip(results) {
            let passed = probe.allow == right;
            let explanations = explain(
                &self.deployment.palisadectl(),
                self.sandbox,
                &PROTECTED,
                "eth0",
                probe,
            )?;
            let agreed = explanations.iter().all(|explanation| explanation.allowed) == passed;
            println!("  {}", line(probe, passed, &explanations));
            if !right {
                println!(
                    "          ^ should have {}",
                    if probe.allow {
                        "passed"
                    } else {
                        "been dropped"
                    }
                );
            }
            if !agreed {
                println!("          ^ explain says otherwise");
            }
            wrong += usize::from(!right) + usize::from(!agreed);
        }
        if wrong > 0 {
            bail!("{wrong} packets did not fare as they should");
        }
        Ok(())
    }

    /// Goes on probing and prints what changes, until interrupted.
    fn live(&self, interrupted: &Receiver<()>) -> Result<()> {
        println!(
            "\nGoing on live; a line appears when a packet fares differently. Ctrl-C ends it and cleans up. In another terminal, try:\n"
        );
        println!(
            "  {} get globalnetworkpolicies",
            self.deployment.palisadectl()
        );
        println!(
            "  {} delete globalnetworkpolicy k8s-worker",
            self.deployment.palisadectl()
        );
        println!("  {} flows --follow", self.deployment.palisadectl());
        println!(
            "  ip netns exec {} nft list table inet palisade\n",
            self.sandbox.station("worker1")?.namespace().name()
        );
        let probes = after();
        // Not as the table above: by now a plugin decides about what goes to port 53, and takes no nonsense.
        let fare = |probe| attempt(self.sandbox, probe);
        let mut fared = probes.iter().map(fare).collect::<Result<Vec<bool>>>()?;
        while let Err(RecvTimeoutError::Timeout) = interrupted.recv_timeout(ROUND) {
            for (probe, before) in probes.iter().zip(&mut fared) {
                let passed = attempt(self.sandbox, probe)?;
                if passed != *before {
                    // A live change may be under way, so what explain says is shown and not judged.
                    let explanations = explain(
                        &self.deployment.palisadectl(),
                        self.sandbox,
                        &PROTECTED,
                        "eth0",
                        probe,
                    )?;
                    println!("  {}", line(probe, passed, &explanations));
                    *before = passed;
                }
                if interrupted.try_recv().is_ok() {
                    return Ok(());
                }
            }
        }
        println!("\nCleaning up.");
        Ok(())
    }
}

fn line(probe: &Probe, passed: bool, explanations: &[Explanation]) -> String {
    let reasons: Vec<String> = explanations
        .iter()
        .filter(|explanation| passed || !explanation.allowed)
        .map(|explanation| format!("{}: {}", explanation.node, explanation.reason))
        .collect();
    format!(
        "{} {:36} {}",
        if passed { "passed " } else { "dropped" },
        probe.to_string(),
        reasons.join("; ")
    )
}

fn before() -> Vec<Probe> {
    vec![
        Probe::new("client", "worker1", Protocol::TCP, 8055, true),
        Probe::new("worker1", "client", Protocol::TCP, 443, true),
    ]
}

fn after() -> Vec<Probe> {
    let six = |probe: Probe| Probe {
        family: Some(6),
        ..probe
    };
    vec![
        Probe::new("client", "worker1", Protocol::TCP, 22, true),
        Probe::new("client", "worker1", Protocol::TCP, 10250, true),
        six(Probe::new("client", "worker1", Protocol::TCP, 10250, true)),
        Probe::new("client", "worker1", Protocol::ICMP, 0, true),
        Probe::new("client", "worker1", Protocol::UDP, 10250, false),
        Probe::new("client", "worker1", Protocol::TCP, 8055, false),
        six(Probe::new("client", "worker1", Protocol::TCP, 8055, false)),
        Probe::new("client", "worker2", Protocol::TCP, 22, true),
        Probe::new("client", "worker2", Protocol::TCP, 8055, false),
        Probe::new("worker1", "client", Protocol::UDP, 53, true),
        Probe::new("worker1", "client", Protocol::TCP, 443, false),
        Probe::new("worker1", "client", Protocol::ICMP, 0, false),
        Probe::new("worker1", "worker2", Protocol::TCP, 10250, false),
    ]
}

/// Hears of Ctrl-C and SIGTERM, so that namespaces and daemons are gone afterwards.
fn interruption() -> Result<Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (told, interrupted) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime for signals")?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        // The other end is gone where the demonstration has ended by itself.
        let _ = told.send(());
    });
    Ok(interrupted)
}
