//! The workflow that administrators know: export the settings, edit one, apply them, and see it in packets.

use palisade_integration::format::{Probe, Protocol};
use palisade_integration::pair::Pair;
use palisade_integration::prerequisite::{Prerequisite, have};

const TOPOLOGY: &str = "
hosts:
  - name: host0
    interfaces: [{name: eth0, address: 10.65.0.10/24}]
    protected: true
    forwards: true
    listeners: [{proto: tcp, port: 8055}, {proto: tcp, port: 8056}]
    workloads: [{name: w0, interface: cali00, address: 10.66.0.2/32}]
  - name: client
    interfaces: [{name: eth0, address: 10.65.0.20/24}]
";

/// The workload may send to port 8055 only.
const WORKLOAD: &str = "
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata:
  name: host0-libvirt-w0-eth0
  namespace: default
  labels: {role: work}
spec:
  node: host0
  orchestrator: libvirt
  workload: w0
  endpoint: eth0
  interfaceName: cali00
  ipNetworks: [10.66.0.2/32]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: work}
spec:
  selector: role == 'work'
  types: [Egress]
  egress:
  - action: Allow
    protocol: TCP
    destination: {ports: [8055]}
";

fn expect(pair: &Pair, port: u16, allow: bool, when: &str) {
    let probe = Probe::new("w0", "host0", Protocol::TCP, port, allow);
    let right = pair.shows(&probe).expect("a probe that can be sent");
    let word = if allow { "allowed" } else { "denied" };
    assert!(
        right,
        "{when}: {probe} should be {word}\n{}",
        pair.deployment.logs()
    );
}

#[test]
fn settings_that_are_exported_edited_and_applied_decide_about_a_workload() {
    if !have("settings", &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return;
    }
    let pair = Pair::start_on(TOPOLOGY).expect("a deployment");
    pair.apply(WORKLOAD).expect("a workload and its policy");
    expect(&pair, 8055, false, "by default");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("felix.yaml");
    let path = file.to_str().expect("a path in UTF-8");
    let palisadectl = pair.deployment.palisadectl();
    let run = |arguments: &[&str]| {
        palisadectl
            .run(arguments, "")
            .and_then(|output| output.success())
            .unwrap_or_else(|error| panic!("{arguments:?}: {error:#}"))
    };
    for (action, allow) in [("Accept", true), ("Drop", false), ("Return", true)] {
        let exported = run(&[
            "get",
            "felixconfiguration",
            "default",
            "--export",
            "-o",
            "yaml",
        ]);
        std::fs::write(&file, edited(&exported, action)).expect("write the file");
        run(&["apply", "-f", path, "--wait=30s"]);
        expect(&pair, 8055, allow, action);
        // Whatever the action, the workload's own policy comes first.
        expect(&pair, 8056, false, action);
    }
}

/// What an editor would make of it.
fn edited(exported: &str, action: &str) -> String {
    let setting = format!("  defaultEndpointToHostAction: {action}\n");
    let mut lines = String::new();
    for line in exported.lines() {
        match line {
            "spec: {}" => lines.push_str(&format!("spec:\n{setting}")),
            _ if line
                .trim_start()
                .starts_with("defaultEndpointToHostAction:") =>
            {
                lines.push_str(&setting);
            }
            _ => lines.push_str(&format!("{line}\n")),
        }
    }
    assert!(
        lines.contains(&setting),
        "no place for the setting in:\n{exported}"
    );
    lines
}
