//! Host endpoints and interfaces that change under them, with real packets, and what people are told of it.

use palisade_integration::format::{Probe, Protocol};
use palisade_integration::pair::{Pair, allow};
use palisade_integration::prerequisite::{Prerequisite, have};
use serde_json::Value;
use std::time::{Duration, Instant};

/// For a report to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

fn endpoint(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata:\n  name: {name}\n  labels:\n    role: app\n\
         spec:\n  node: host0\n  {spec}\n---\n"
    )
}

fn palisadectl(pair: &Pair, arguments: &[&str]) -> String {
    pair.deployment
        .palisadectl()
        .run(arguments, "")
        .and_then(|output| output.success())
        .expect("palisadectl succeeds")
}

fn node(pair: &Pair) -> Value {
    let nodes = palisadectl(pair, &["nodes", "host0", "-o", "json"]);
    let mut nodes: Value = serde_json::from_str(&nodes).expect("JSON");
    nodes[0].take()
}

/// Waits until the node is reported as expected.
fn until(pair: &Pair, what: &str, fits: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let node = node(pair);
        if fits(&node) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: still {node:#}\n{}",
            pair.deployment.logs()
        );
    }
}

/// State and reason of an endpoint.
fn fares(node: &Value, name: &str) -> (String, String) {
    let endpoints = node["endpoints"].as_array().expect("a list");
    let id = format!("hep/{name}");
    let endpoint = endpoints.iter().find(|e| e["endpoint"] == id.as_str());
    let text = |field: &str| {
        endpoint
            .and_then(|e| e[field].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    (text("state"), text("reason"))
}

fn ip(pair: &Pair, commands: &str) {
    let host = pair.sandbox.station("host0").expect("host0");
    host.namespace().ip(commands).expect("ip succeeds");
}

fn pair(test: &str) -> Option<Pair> {
    if !have(test, &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return None;
    }
    let pair = Pair::start().expect("a deployment");
    Some(pair)
}

/// Commands that give `eth0`'s link another name. Renaming needs it down, which takes its IPv6 address away.
fn rename(from: &str, to: &str) -> String {
    format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up\n")
}

#[test]
fn policy_follows_the_name_of_a_renamed_interface_and_status_says_so() {
    let Some(pair) = pair("renamed interface") else {
        return;
    };
    pair.apply(
        &(allow("web", 100, "TCP", &[8055])
            + &endpoint("by-name", "interfaceName: eth0")
            + &endpoint("later", "interfaceName: wan0")),
    )
    .expect("the policy");
    pair.expect(Protocol::TCP, 8055, true);
    pair.expect(Protocol::TCP, 8056, false);
    until(&pair, "first", |node| {
        fares(node, "by-name").0 == "up" && fares(node, "later").1.contains("wan0")
    });

    // Nobody governs `lan0`: it is left alone.
    ip(&pair, &rename("eth0", "lan0"));
    pair.expect(Protocol::TCP, 8056, true);
    until(&pair, "renamed", |node| {
        fares(node, "by-name").0 == "error" && fares(node, "later").0 == "error"
    });

    // Another endpoint waits for this name.
    ip(&pair, &rename("lan0", "wan0"));
    pair.expect(Protocol::TCP, 8056, false);
    pair.expect(Protocol::TCP, 8055, true);
    until(&pair, "taken over", |node| {
        fares(node, "later").0 == "up" && fares(node, "by-name").0 == "error"
    });

    ip(&pair, &rename("wan0", "eth0"));
    pair.expect(Protocol::TCP, 8056, false);
    until(&pair, "back", |node| fares(node, "by-name").0 == "up");
    let shown = palisadectl(&pair, &["get", "hostendpoints", "-o", "wide"]);
    let line = |name: &str| {
        shown
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
    };
    assert!(line("by-name").contains("up"), "{shown}");
    assert!(line("later").contains("`wan0` is absent"), "{shown}");
    let status: Value =
        serde_json::from_str(&palisadectl(&pair, &["status", "-o", "json"])).expect("JSON");
    assert_eq!(status["endpoints"]["up"], 1, "{status:#}");
    assert_eq!(status["endpoints"]["error"], 1, "{status:#}");
}

#[test]
fn an_address_that_is_not_expected_is_a_condition_and_policy_goes_on() {
    let Some(pair) = pair("unexpected address") else {
        return;
    };
    let expected = "interfaceName: eth0\n  expectedIPs: [10.65.0.10, 'fd00:65::10']";
    pair.apply(&(allow("web", 100, "TCP", &[8055]) + &endpoint("e", expected)))
        .expect("the policy");
    let told = |node: &Value| node["conditions"].to_string().contains("AddressMismatch");
    until(&pair, "first", |node| {
        fares(node, "e").0 == "up" && !told(node)
    });
    ip(&pair, "addr add 10.65.0.77/24 dev eth0\n");
    until(&pair, "one more address", |node| {
        told(node) && node["conditions"].to_string().contains("10.65.0.77")
    });
    let mut probe = Probe::new("client", "host0", Protocol::TCP, 8055, true);
    probe.to_address = Some([10, 65, 0, 10].into());
    assert!(pair.shows(&probe).expect("a probe"));
    pair.expect(Protocol::TCP, 8056, false);
    ip(&pair, "addr del 10.65.0.77/24 dev eth0\n");
    until(&pair, "gone again", |node| !told(node));
}
