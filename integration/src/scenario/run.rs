//! Running one scenario: a sandbox and a deployment of its own, then step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result};

use crate::format::{Protocol, Scenario, Step};
use crate::product::{Binaries, Deployment};
use crate::sandbox::Sandbox;
use crate::traffic::connection::Connection;
use crate::traffic::probe::observe_all;

/// What a run found wrong, with the logs of the daemons.
#[derive(Debug)]
pub struct Failure {
    /// One line per expectation that was not met, or the error that ended the run.
    pub reasons: Vec<String>,
    /// What the daemons logged; empty where none was started.
    pub logs: String,
}

/// Runs the scenario on the real binaries.
///
/// # Errors
///
/// With everything that went wrong in the first step where anything did.
pub fn run(scenario: &Scenario, binaries: &Binaries) -> Result<(), Failure> {
    let broken = |error: anyhow::Error, logs: String| Failure {
        reasons: vec![format!("{error:#}")],
        logs,
    };
    let sandbox = Sandbox::build(&scenario.topology, &raw_protocols(scenario))
        .map_err(|error| broken(error, String::new()))?;
    let deployment =
        Deployment::start(&sandbox, binaries).map_err(|error| broken(error, String::new()))?;
    let mut run = Run {
        sandbox,
        deployment,
        open: BTreeMap::new(),
    };
    if let Err(error) = run.prepare(scenario) {
        return Err(broken(error, run.deployment.logs()));
    }
    for (step, number) in scenario.steps.iter().zip(1..) {
        match run.step(step) {
            Ok(wrong) if wrong.is_empty() => {}
            Ok(wrong) => {
                let reasons = wrong
                    .into_iter()
                    .map(|what| format!("step {number}: {what}"))
                    .collect();
                return Err(Failure {
                    reasons,
                    logs: run.deployment.logs(),
                });
            }
            Err(error) => {
                return Err(broken(
                    error.context(format!("step {number}")),
                    run.deployment.logs(),
                ));
            }
        }
    }
    Ok(())
}

/// A scenario under way.
struct Run {
    sandbox: Sandbox,
    deployment: Deployment,
    open: BTreeMap<String, Connection>,
}

impl Run {
    /// Configuration, nodes with their labels, and their daemons: all of it before the first step.
    fn prepare(&mut self, scenario: &Scenario) -> Result<()> {
        // Nodes come into being here, and nobody is there yet to enforce anything.
        self.deployment
            .palisadectl()
            .run(&["apply", "-f", "-"], &initial_documents(scenario))?
            .success()
            .context("apply")?;
        for host in scenario.topology.hosts.iter().filter(|host| host.protected) {
            self.deployment.enrol(&self.sandbox, &host.name)?;
        }
        Ok(())
    }

    /// What the step found wrong.
    fn step(&mut self, step: &Step) -> Result<Vec<String>> {
        for change in &step.network {
            self.sandbox.change(change)?;
        }
        let palisadectl = self.deployment.palisadectl();
        if let Some(documents) = &step.apply {
            palisadectl.apply(documents)?;
        }
        for reference in &step.delete {
            palisadectl.delete(reference)?;
        }
        let mut wrong = Vec::new();
        for established in &step.established {
            let connection = self
                .open
                .get(&established.id)
                .with_context(|| format!("no open connection `{}`", established.id))?;
            if connection.flows() != established.flows {
                let word = if established.flows {
                    "no longer carries data"
                } else {
                    "still carries data"
                };
                wrong.push(format!("the open connection {} {word}", established.id));
            }
        }
        let keep: BTreeSet<u16> = self.open.values().map(Connection::source_port).collect();
        let results = observe_all(&self.sandbox, &step.expect, &keep)?;
        for probe in step
            .expect
            .iter()
            .zip(results)
            .filter_map(|(probe, right)| (!right).then_some(probe))
        {
            let mut line = format!(
                "{probe} should be {}",
                if probe.allow { "allowed" } else { "denied" }
            );
            if let Some(note) = &probe.note {
                write!(line, " ({note})")?;
            }
            wrong.push(line);
        }
        for open in &step.open {
            let connection = Connection::open(&self.sandbox, open)
                .with_context(|| format!("open {}", open.id))?;
            self.open.insert(open.id.clone(), connection);
        }
        Ok(wrong)
    }
}

fn raw_protocols(scenario: &Scenario) -> BTreeSet<u8> {
    let probes = scenario.steps.iter().flat_map(|step| &step.expect);
    probes
        .filter_map(|probe| match probe.proto {
            Protocol::Number(number) => Some(number),
            Protocol::Named(_) => None,
        })
        .collect()
}

/// The resources that are there before the first step, as JSON documents, which are YAML too.
fn initial_documents(scenario: &Scenario) -> String {
    let document = |group: &str,
                    kind: &str,
                    name: &str,
                    labels: serde_json::Value,
                    spec: serde_json::Value| {
        let metadata = serde_json::json!({"name": name, "labels": labels});
        serde_json::json!({"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec})
    };
    let none = || serde_json::json!({});
    let mut documents = Vec::new();
    if let Some(config) = &scenario.config {
        documents.push(document(
            "projectcalico.org/v3",
            "FelixConfiguration",
            "default",
            none(),
            config.clone(),
        ));
    }
    if let Some(exemptions) = &scenario.exemptions {
        let spec = serde_json::json!({"exemptions": exemptions});
        documents.push(document(
            "palisade.dev/v1",
            "PalisadeConfiguration",
            "default",
            none(),
            spec,
        ));
    }
    for host in scenario.topology.hosts.iter().filter(|host| host.protected) {
        documents.push(document(
            "projectcalico.org/v3",
            "Node",
            &host.name,
            serde_json::json!(host.labels),
            none(),
        ));
    }
    documents
        .iter()
        .map(|document| format!("---\n{document}\n"))
        .collect()
}
