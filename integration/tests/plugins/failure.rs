//! What happens to packets when nobody answers: the rule's `onFailure`, within the heartbeat's time, and nothing else.

use std::fs;
use std::time::Duration;

use palisade_integration::format::Protocol;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, host_endpoint};
use rustix::process::{Signal, kill_process};

use crate::world::{Asked, Line, PATIENCE, pair, until};

/// The heartbeat lasts a second; the rest is for machines that are busy.
const SOON: Duration = Duration::from_secs(3);

const ALLOWED: &str = "www.other.example";
const DENIED: &str = "www.denied.example";

/// A failure policy: the rule's action, and a question whose answer leads to the opposite of the failure.
struct Case {
    asked: Asked,
    on_failure: &'static str,
    action: &'static str,
    /// Whether the question gets through without an answer; with one, the opposite.
    fails_open: bool,
}

const fn case(from: u16, name: &'static str, on_failure: &'static str) -> Case {
    Case {
        asked: Asked { from, name },
        on_failure,
        action: "Deny",
        fails_open: false,
    }
}

/// What the plugin says of these is known: [`DENIED`] matches, [`ALLOWED`] does not. What no rule decides is denied.
const CASES: [Case; 4] = [
    // Followed by a rule that allows.
    case(4001, ALLOWED, "match"),
    Case {
        fails_open: true,
        ..case(4002, DENIED, "no-match")
    },
    Case {
        action: "Allow",
        ..case(4003, DENIED, "deny")
    },
    Case {
        fails_open: true,
        ..case(4004, DENIED, "allow")
    },
];

fn policy() -> String {
    let mut policy = "apiVersion: palisade.dev/v1
kind: GlobalNetworkPolicy
metadata: {name: failing}
spec:
  selector: role == 'app'
  types: [Ingress]
  ingress:
"
    .to_owned();
    for case in &CASES {
        let Case {
            asked,
            on_failure,
            action,
            ..
        } = case;
        policy.push_str(&format!(
            "  - action: {action}
    protocol: UDP
    source: {{ports: [{port}]}}
    destination: {{ports: [53]}}
    plugin: {{name: dns-suffix, settings: {{suffixes: [denied.example], rememberSeconds: 0}}, onFailure: {on_failure}}}
",
            port = asked.from
        ));
    }
    policy
        + &format!(
            "  - {{action: Allow, protocol: UDP, source: {{ports: [4001, 4002]}}, destination: {{ports: [53]}}}}
  - {{action: Allow, protocol: UDP, destination: {{ports: [{MUST_PASS}]}}}}
---
"
        )
}

fn asked(which: impl Fn(&Case) -> bool) -> Vec<Asked> {
    let cases = CASES.iter().filter(|case| which(case));
    cases.map(|case| case.asked).collect()
}

fn answered(pair: &Pair, line: &Line, what: &str) -> Duration {
    line.settles(pair, what, &asked(|case| !case.fails_open), PATIENCE)
}

/// Without an answer, within the heartbeat's time.
fn unanswered(pair: &Pair, line: &Line, what: &str) -> Duration {
    line.settles(pair, what, &asked(|case| case.fails_open), SOON)
}

#[test]
fn failure_policies_hold_while_the_daemon_is_stopped_or_killed_and_end_with_it() {
    let Some(mut pair) = pair("daemon stopped and killed", &["dns-suffix"]) else {
        return;
    };
    pair.apply(&(policy() + &host_endpoint("generation", "0")))
        .expect("a policy that asks");
    let line = Line::inwards(&pair, &asked(|_| true));
    answered(&pair, &line, "running");
    // Rules that ask nobody must not notice anything of what follows.
    let load = pair.load().expect("two streams");

    let pid = pair.deployment.node("host0").and_then(|node| node.pid());
    let pid = pid.expect("a daemon");
    kill_process(pid, Signal::STOP).expect("a stop");
    let stopped = unanswered(&pair, &line, "stopped");
    kill_process(pid, Signal::CONT).expect("a continuation");
    answered(&pair, &line, "goes on");

    let node = pair.deployment.node("host0");
    node.and_then(|node| node.kill()).expect("a kill");
    let killed = unanswered(&pair, &line, "killed");
    pair.deployment.start_node("host0").expect("a start");
    answered(&pair, &line, "started again");

    let counts = pair.count(load).expect("counters");
    counts.expect_none_lost_none_leaked();
    println!("failure policies held {stopped:?} after a stop, {killed:?} after a kill");
}

#[test]
fn a_plugin_that_is_altered_or_gone_from_disk_decides_nothing_until_it_is_fetched_again() {
    let Some(mut pair) = pair("plugin gone", &["dns-suffix"]) else {
        return;
    };
    pair.apply(&(policy() + &host_endpoint("generation", "0")))
        .expect("a policy that asks");
    let line = Line::inwards(&pair, &asked(|_| true));
    answered(&pair, &line, "running");
    let folder = pair.deployment.file("host0").join("plugins");
    let alter = || {
        let files = fs::read_dir(&folder).expect("plugins");
        let paths = files.map(|file| file.expect("a file").path());
        let components = paths.filter(|path| path.extension().is_some_and(|end| end == "wasm"));
        let altered = components.map(|path| fs::write(path, b"another component"));
        assert_eq!(altered.filter(Result::is_ok).count(), 1, "the only one");
        fs::remove_dir_all(folder.join("code")).expect("its code");
    };
    let remove = || fs::remove_dir_all(&folder).expect("plugins");
    for (what, damage) in [("altered", &alter as &dyn Fn()), ("gone", &remove)] {
        let node = pair.deployment.node("host0");
        node.and_then(|node| node.kill()).expect("a kill");
        let controlplane = pair.deployment.controlplane();
        controlplane
            .and_then(|controlplane| controlplane.kill())
            .expect("a kill");
        damage();
        pair.deployment.start_node("host0").expect("a start");
        // The heartbeat is back, the plugin is not.
        until(&pair, "asked in vain", || {
            line.ask();
            let figures = pair.deployment.figures("host0").expect("figures");
            figures.get("palisade_node_queued_packets_total{outcome=\"failed\"}") > 0.0
        });
        unanswered(&pair, &line, what);
        pair.deployment.start_controlplane().expect("a start");
        answered(&pair, &line, "fetched again");
    }
}

/// A policy of four rules that ask the plugin that misbehaves, before those of [`policy`].
fn misbehaving(deed: &str) -> String {
    let mut policy = "apiVersion: palisade.dev/v1
kind: GlobalNetworkPolicy
metadata: {name: misbehaving}
spec:
  order: 1
  selector: role == 'app'
  types: [Ingress]
  ingress:
"
    .to_owned();
    for (port, on_failure, action, opposite) in [
        (6001, "match", "Deny", "Allow"),
        (6002, "no-match", "Deny", "Allow"),
        (6003, "deny", "Allow", "Deny"),
        (6004, "allow", "Deny", "Deny"),
    ] {
        policy.push_str(&format!(
            "  - action: {action}
    protocol: UDP
    source: {{ports: [{port}]}}
    plugin: {{name: misbehave, settings: {{deed: {deed}}}, onFailure: {on_failure}}}
  - {{action: {opposite}, protocol: UDP, source: {{ports: [{port}]}}}}
"
        ));
    }
    policy + "---\n"
}

#[test]
fn a_plugin_that_misbehaves_costs_its_own_rules_only_and_a_good_one_heals_them() {
    let Some(pair) = pair("misbehaviour", &["dns-suffix", "misbehave"]) else {
        return;
    };
    let at = |from| Asked {
        from,
        name: ALLOWED,
    };
    let theirs = [6001, 6002, 6003, 6004].map(at);
    let passing = |of_theirs: &[u16]| -> Vec<Asked> {
        let theirs = of_theirs.iter().copied().map(at);
        theirs.chain(asked(|case| !case.fails_open)).collect()
    };
    let all: Vec<Asked> = asked(|_| true).into_iter().chain(theirs).collect();
    pair.apply(&(policy() + &misbehaving("trap") + &host_endpoint("generation", "0")))
        .expect("policies that ask");
    let line = Line::inwards(&pair, &all);
    for deed in ["trap", "loop", "memory", "exit", "long-reason"] {
        pair.apply(&misbehaving(deed)).expect("another deed");
        line.settles(&pair, deed, &passing(&[6002, 6004]), PATIENCE);
        pair.expect(Protocol::UDP, MUST_PASS, true);
        pair.expect(Protocol::UDP, MUST_DROP, false);
    }
    // It gives answers again: all match, then none does.
    pair.apply(&misbehaving("match-payload"))
        .expect("a good deed");
    line.settles(&pair, "all match", &passing(&[6003]), PATIENCE);
    pair.apply(&misbehaving("nothing")).expect("a good deed");
    line.settles(&pair, "none matches", &passing(&[6001, 6002]), PATIENCE);
}
