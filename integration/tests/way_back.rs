//! Promise 7: the way back to the control plane is open, whatever policy says. A host whose certificate expired, and whose
//! policy denies everything without any failsafe port, enrols again with a new token.

use jiff::{SignedDuration, Timestamp};
use palisade_identity::{Authority, Identity, PrivateKey};
use palisade_integration::format::Protocol;
use palisade_integration::pair::{Pair, allow};
use palisade_integration::prerequisite::{Prerequisite, have};
use std::time::{Duration, Instant};

/// Nothing in and nothing out of the host, whatever the interface, and no failsafe port, as a file may set it that was
/// written for Calico.
const CLOSED: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: host0-all
  labels: {role: app}
spec:
  node: host0
  interfaceName: '*'
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec:
  failsafeInboundHostPorts: []
  failsafeOutboundHostPorts: []
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: closed}
spec:
  order: 1000
  selector: role == 'app'
  types: [Ingress, Egress]
---
";

/// Nothing takes longer, unless it never happens.
const DEADLINE: Duration = Duration::from_secs(60);

/// The host's certificate becomes one that expired an hour ago.
fn let_expire(pair: &Pair) {
    let authority = Authority::load(&pair.deployment.file("controlplane")).expect("the authority");
    let key = PrivateKey::generate().expect("a key");
    let identity = Identity::Node("host0".parse().expect("a name"));
    let request = key.request().expect("a request");
    let then = Timestamp::now() - SignedDuration::from_hours(3);
    let chain = authority
        .issue_client(&identity, &request, SignedDuration::from_hours(2), then)
        .expect("a certificate");
    let file = pair.deployment.file("host0").join("identity.pem");
    std::fs::write(file, format!("{chain}\n{}", key.pem())).expect("written");
}

fn is_connected(pair: &Pair) -> bool {
    let nodes = pair
        .deployment
        .palisadectl()
        .run(&["nodes", "host0", "-o", "json"], "")
        .and_then(|output| output.success())
        .expect("palisadectl nodes");
    let nodes: serde_json::Value = serde_json::from_str(&nodes).expect("JSON");
    nodes[0]["connected"] == true
}

/// Polls, as nothing tells.
fn becomes_connected(pair: &Pair, connected: bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        if is_connected(pair) == connected {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_closed_host_whose_certificate_expired_enrols_again() {
    if !have("way back", &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return;
    }
    let mut pair = Pair::start().expect("a deployment");
    pair.apply(CLOSED).expect("a policy that closes everything");
    pair.expect(Protocol::TCP, 22, false);
    pair.expect(Protocol::TCP, 8055, false);
    assert!(is_connected(&pair), "its own connection is exempt");

    pair.deployment
        .node("host0")
        .and_then(|node| node.terminate())
        .expect("an end");
    let_expire(&pair);
    assert!(becomes_connected(&pair, false));
    pair.deployment
        .enrol(&pair.sandbox, "host0")
        .expect("the saved policy is enforced");
    assert!(
        becomes_connected(&pair, true),
        "no way back\n{}",
        pair.deployment.logs()
    );

    // It takes changes again, and is as closed as before for everybody else.
    pair.apply(&allow("open", 10, "TCP", &[8055]))
        .expect("a change");
    pair.expect(Protocol::TCP, 8055, true);
    pair.expect(Protocol::TCP, 8056, false);
    pair.expect(Protocol::TCP, 22, false);
}
