//! `dns-suffix`: queries for a denied suffix are dropped and others pass, in and out, of both families.

use palisade_integration::format::Protocol;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, host_endpoint};

use crate::world::{Asked, Line, PATIENCE, pair, until};

const ALLOWED: Asked = Asked {
    from: 0,
    name: "www.other.example",
};
pub(crate) const DENIED: Asked = Asked {
    from: 0,
    name: "www.denied.example",
};
/// A name that only ends in the same letters.
const ALIKE: Asked = Asked {
    from: 0,
    name: "undenied.example",
};

/// Packets that plugins answered.
pub(crate) const ANSWERED: &str = "palisade_node_queued_packets_total{outcome=\"answered\"}";
/// Answers that the kernel was told to remember.
const REMEMBERED: &str = "palisade_node_remembered_total";

/// Questions to name servers are a failsafe of hosts; only where they are not does policy judge them.
const FAILSAFES: &str = "apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec:
  failsafeOutboundHostPorts: [{protocol: TCP, port: 7600}]
---
";

pub(crate) fn policy(remember: u32) -> String {
    format!(
        "apiVersion: palisade.dev/v1
kind: GlobalNetworkPolicy
metadata: {{name: names}}
spec:
  selector: role == 'app'
  types: [Ingress, Egress]
  ingress:
  - action: Deny
    protocol: UDP
    destination: {{ports: [53]}}
    plugin:
      name: dns-suffix
      settings: {{suffixes: [denied.example], rememberSeconds: {remember}}}
      onFailure: match
  - {{action: Allow, protocol: UDP, destination: {{ports: [53, {MUST_PASS}]}}}}
  - {{action: Allow, protocol: TCP, destination: {{ports: [8055]}}}}
  egress:
  - action: Deny
    protocol: UDP
    destination: {{ports: [53]}}
    plugin:
      name: dns-suffix
      settings: {{suffixes: [denied.example], rememberSeconds: {remember}}}
      onFailure: match
  - {{action: Allow, protocol: UDP, destination: {{ports: [53]}}}}
---
",
    )
}

#[test]
fn queries_for_a_denied_suffix_are_dropped_and_others_pass() {
    let Some(pair) = pair("dns-suffix", &["dns-suffix"]) else {
        return;
    };
    pair.apply(&(policy(0) + &host_endpoint("generation", "0")))
        .expect("a policy that asks");
    let inwards = Line::inwards(&pair, &[ALLOWED, DENIED, ALIKE]);
    inwards.settles(&pair, "in", &[ALLOWED, ALIKE], PATIENCE);
    let outwards = Line::outwards(&pair, &[ALLOWED, DENIED, ALIKE]);
    outwards.settles(&pair, "failsafe", &[ALLOWED, DENIED, ALIKE], PATIENCE);
    pair.apply(FAILSAFES).expect("other failsafes");
    outwards.settles(&pair, "out", &[ALLOWED, ALIKE], PATIENCE);
    // The other rules of the same policy.
    pair.expect(Protocol::UDP, MUST_PASS, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.expect(Protocol::TCP, 8055, true);
    pair.expect(Protocol::TCP, 8056, false);
}

#[test]
fn an_answer_is_remembered_for_its_flow() {
    let Some(pair) = pair("dns-suffix remembers", &["dns-suffix"]) else {
        return;
    };
    pair.apply(&(policy(600) + &host_endpoint("generation", "0")))
        .expect("a policy that asks");
    let figure = |name| pair.deployment.figures("host0").expect("figures").get(name);
    // New sockets, so that nothing is remembered of them.
    until(&pair, "asked", || {
        let line = Line::inwards(&pair, &[ALLOWED]);
        line.ask().len() == 2 && figure(ANSWERED) > 0.0
    });
    let line = Line::inwards(&pair, &[ALLOWED, DENIED]);
    let (answered, remembered) = (figure(ANSWERED), figure(REMEMBERED));
    assert_eq!(line.ask().len(), 2, "one of two names, in both families");
    until(&pair, "remembered", || {
        figure(REMEMBERED) >= remembered + 4.0
    });
    assert_eq!(figure(ANSWERED), answered + 4.0, "each socket asks once");
    for _ in 0..3 {
        let through = line.ask();
        let right = through.len() == 2 && through.iter().all(|(asked, _)| *asked == ALLOWED);
        assert!(right, "{through:?}\n{}", pair.deployment.logs());
    }
    assert_eq!(
        figure(ANSWERED),
        answered + 4.0,
        "repetitions are not asked about"
    );
}

/// Every packet comes with a mark of its own, of 200: more than have tags that are kept. Behind us it must have that mark.
const MARKS: &str = "
table inet others {
    set given { type mark . inet_service; flags dynamic; }
    counter arrived { }
    counter changed { }
    chain before {
        type filter hook prerouting priority -150;
        udp dport 53 meta mark set numgen inc mod 200 offset 0xdeadbe00
        udp dport 53 add @given { meta mark . udp sport }
    }
    chain behind {
        type filter hook input priority 10;
        udp dport 53 counter name arrived
        udp dport 53 meta mark . udp sport != @given counter name changed
    }
}
";

#[test]
fn marks_of_others_arrive_whole_and_answers_are_remembered_for_them() {
    let Some(pair) = pair("dns-suffix beside marks", &["dns-suffix"]) else {
        return;
    };
    pair.apply(&(policy(600) + &host_endpoint("generation", "0")))
        .expect("a policy that asks");
    let host = pair.host();
    host.nft(MARKS).expect("a program that marks packets");
    let asked = [ALLOWED, DENIED];
    let line = Line::inwards(&pair, &asked);
    line.settles(&pair, "asked", &[ALLOWED], PATIENCE);
    // What was answered once is remembered for packets whose mark has a tag that is kept; others are asked about.
    for _ in 0..60 {
        let through = line.ask();
        let right = through.len() == 2 && through.iter().all(|(asked, _)| *asked == ALLOWED);
        assert!(right, "{through:?}\n{}", pair.deployment.logs());
    }
    let counted = |name: &str| {
        let listed = host.nft(&format!("list counter inet others {name}"));
        let listed = listed.expect("a counter");
        let mut words = listed
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        words.nth(1).and_then(|number| number.parse::<u64>().ok())
    };
    assert!(counted("arrived") >= Some(120));
    assert_eq!(counted("changed"), Some(0));
    let untagged = "palisade_node_queued_packets_total{outcome=\"untagged\"}";
    let figures = pair.deployment.figures("host0").expect("figures");
    assert!(figures.get(untagged) < 1.0);
}
