//! Promise 5: a policy that the kernel itself refuses holds back the endpoints that it selects, and nothing else.

use palisade_integration::format::{Probe, Protocol};
use palisade_integration::pair::{Pair, allow};
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::product::Output;

const TOPOLOGY: &str = "
hosts:
  - name: host0
    interfaces:
      - {name: eth0, address: 10.65.0.10/24, segment: left}
      - {name: eth1, address: 10.66.0.10/24, segment: right}
    protected: true
    listeners: [{proto: tcp, port: 8055}, {proto: tcp, port: 8056}]
  - name: client
    interfaces:
      - {name: eth0, address: 10.65.0.20/24, segment: left}
      - {name: eth1, address: 10.66.0.20/24, segment: right}
";

/// A host endpoint of `host0` for an interface.
fn endpoint(interface: &str, role: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata:\n  name: host0-{interface}\n  labels:\n    role: {role}\n\
         spec:\n  node: host0\n  interfaceName: {interface}\n---\n"
    )
}

/// Valid, and beyond nf_tables: each named port that is excepted takes four expressions of a rule, of which it has at
/// most 128.
fn beyond_the_kernel() -> String {
    let names: Vec<String> = (0..40).map(|n| format!("port-{n}")).collect();
    allow("beyond", 1, "TCP", &[8056]).replace(
        "    destination:",
        &format!(
            "    source:\n      notPorts: [{}]\n    destination:",
            names.join(", ")
        ),
    )
}

fn apply(pair: &Pair, documents: &str) -> Output {
    pair.deployment
        .palisadectl()
        .run(&["apply", "-f", "-", "--wait=10s"], documents)
        .expect("palisadectl starts")
}

fn expect(pair: &Pair, address: &str, port: u16, allow: bool) {
    let mut probe = Probe::new("client", "host0", Protocol::TCP, port, allow);
    probe.to_address = Some(address.parse().expect("an address"));
    let right = pair.shows(&probe).expect("a probe that can be sent");
    assert!(
        right,
        "{probe} should be {}\n{}",
        if allow { "allowed" } else { "denied" },
        pair.deployment.logs()
    );
}

/// What `nodes` says of `host0`'s conditions.
fn conditions(pair: &Pair) -> String {
    let nodes = pair
        .deployment
        .palisadectl()
        .run(&["nodes", "-o", "json"], "")
        .and_then(|output| output.success())
        .expect("nodes");
    let nodes: serde_json::Value = serde_json::from_str(&nodes).expect("JSON");
    nodes[0]["conditions"].to_string()
}

#[test]
fn a_policy_that_the_kernel_refuses_is_named_and_the_updates_of_others_are_enforced() {
    if !have(
        "refused by the kernel",
        &[Prerequisite::Netns, Prerequisite::Binaries],
    ) {
        return;
    }
    let pair = Pair::start_on(TOPOLOGY).expect("a deployment");
    let other = |ports: &[u16]| {
        allow("other", 100, "TCP", ports).replace("role == 'app'", "role == 'other'")
    };
    pair.apply(
        &(endpoint("eth0", "app")
            + &endpoint("eth1", "other")
            + &allow("web", 100, "TCP", &[8055])
            + &other(&[8055])),
    )
    .expect("the initial policy");
    expect(&pair, "10.65.0.10", 8055, true);
    expect(&pair, "10.65.0.10", 8056, false);
    expect(&pair, "10.66.0.10", 8055, true);
    expect(&pair, "10.66.0.10", 8056, false);

    // In one file: the policy, and an update of another.
    let refused = apply(&pair, &(beyond_the_kernel() + &other(&[8056])));
    assert_eq!(
        refused.code,
        Some(4),
        "{}{}\n{}",
        refused.stdout,
        refused.stderr,
        pair.deployment.logs()
    );
    assert!(refused.stderr.contains("beyond"), "{}", refused.stderr);
    assert!(
        conditions(&pair).contains("beyond"),
        "{}",
        conditions(&pair)
    );
    // The endpoint that it selects keeps its last good state, the other one has its update.
    expect(&pair, "10.65.0.10", 8055, true);
    expect(&pair, "10.65.0.10", 8056, false);
    expect(&pair, "10.66.0.10", 8056, true);
    expect(&pair, "10.66.0.10", 8055, false);

    // A write after it goes through for the other endpoint, with the policy still there.
    assert_eq!(apply(&pair, &other(&[8055])).code, Some(4));
    expect(&pair, "10.66.0.10", 8055, true);
    expect(&pair, "10.66.0.10", 8056, false);

    // Mended, it is enforced, and nothing is held back any more.
    let mended = apply(&pair, &allow("beyond", 1, "TCP", &[8056]));
    assert_eq!(mended.code, Some(0), "{}", mended.stderr);
    assert!(!conditions(&pair).contains("Degraded"));
    expect(&pair, "10.65.0.10", 8056, true);
    expect(&pair, "10.65.0.10", 8055, true);
}
