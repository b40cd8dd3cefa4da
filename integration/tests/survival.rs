//! What happens to traffic when a daemon dies: nothing. `kill -9` of the node, of the control plane, a restart that
//! rewrites nothing, and a reboot without a control plane.

use palisade_integration::format::Protocol;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::prerequisite::{Prerequisite, have};

/// How often the node is killed.
const KILLS: u16 = 5;
/// Changes written between two kills.
const CHANGES: u16 = 20;

fn protected_pair(test: &str) -> Option<Pair> {
    if !have(test, &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return None;
    }
    let pair = Pair::start().expect("a deployment");
    pair.apply(&(allow("streams", 100, "UDP", &[MUST_PASS]) + &host_endpoint("generation", "0")))
        .expect("the initial policy");
    pair.expect(Protocol::UDP, MUST_PASS, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    Some(pair)
}

/// The host's whole ruleset with handles, which change when a rule is written again; without counts, and without who owns
/// the tables.
fn ruleset(pair: &Pair) -> String {
    let host = pair.sandbox.station("host0").expect("host0").namespace();
    let output = host
        .output(
            std::process::Command::new("nft").args(["-a", "-s", "list", "ruleset"]),
            "",
        )
        .expect("nft");
    let listed = String::from_utf8_lossy(&output.stdout);
    let owned = |line: &&str| !line.trim_start().starts_with("flags ");
    let unnamed = |line: &str| line.split(" progname ").next().unwrap_or(line).to_owned();
    let lines: Vec<String> = listed.lines().filter(owned).map(unnamed).collect();
    lines.join("\n")
}

#[test]
fn a_node_killed_during_changes_keeps_enforcing_and_converges_when_restarted() {
    let Some(mut pair) = protected_pair("node killed") else {
        return;
    };
    let load = pair.load().expect("two streams");
    for kill in 1..=KILLS {
        let palisadectl = pair.deployment.palisadectl();
        let writer = std::thread::spawn(move || {
            for number in 0..CHANGES {
                let ports = [20_000 + kill * 100 + number, MUST_PASS];
                palisadectl
                    .run(&["apply", "-f", "-"], &allow("streams", 100, "UDP", &ports))
                    .and_then(|output| output.success())?;
            }
            anyhow::Ok(())
        });
        // Somewhere in the middle of the changes: no point of time is safe to be killed at, so any will do.
        pair.deployment
            .node("host0")
            .and_then(|node| node.kill())
            .expect("a kill");
        writer
            .join()
            .expect("a writer")
            .expect("writes succeed without the node");
        pair.deployment
            .start_node("host0")
            .unwrap_or_else(|error| panic!("restart {kill}: {error:#}"));
    }
    pair.apply(&allow("last", 10, "TCP", &[8055]))
        .expect("the last change");
    pair.expect(Protocol::TCP, 8055, true);
    pair.count(load)
        .expect("counters")
        .expect_none_lost_none_leaked();
    pair.expect(Protocol::TCP, 8056, false);
}

#[test]
fn an_apply_that_waits_names_a_node_that_is_gone_and_does_not_end_well() {
    let Some(mut pair) = protected_pair("node gone") else {
        return;
    };
    let wait = |pair: &Pair, order: u32| {
        let documents = allow("waits", order, "TCP", &[8055]);
        let palisadectl = pair.deployment.palisadectl();
        palisadectl
            .run(&["apply", "-f", "-", "--wait=2s"], &documents)
            .expect("palisadectl")
    };
    pair.deployment
        .node("host0")
        .and_then(|node| node.kill())
        .expect("a kill");
    // The first finds it just gone, the second long gone, and nothing to change.
    for _ in 0..2 {
        let waited = wait(&pair, 10);
        assert_eq!(waited.code, Some(4), "{}{}", waited.stdout, waited.stderr);
        let told = "not connected: `host0`";
        assert!(waited.stderr.contains(told), "{}", waited.stderr);
    }
    pair.expect(Protocol::TCP, 8055, false);
    pair.deployment.start_node("host0").expect("a restart");
    pair.apply(&allow("waits", 10, "TCP", &[8055]))
        .expect("it is back");
    pair.expect(Protocol::TCP, 8055, true);

    // What leaves its view as it was asks nothing of it.
    pair.deployment
        .node("host0")
        .and_then(|node| node.kill())
        .expect("a kill");
    let elsewhere = allow("elsewhere", 10, "TCP", &[1]).replace("role == 'app'", "role == 'none'");
    pair.apply(&elsewhere).expect("nobody is concerned");
}

#[test]
fn a_killed_control_plane_changes_nothing_on_the_node_and_keeps_what_it_acknowledged() {
    let Some(mut pair) = protected_pair("control plane killed") else {
        return;
    };
    let load = pair.load().expect("two streams");
    pair.apply(&allow("kept", 10, "TCP", &[8055]))
        .expect("an acknowledged write");
    pair.deployment
        .controlplane()
        .and_then(|controlplane| controlplane.kill())
        .expect("a kill");
    pair.expect(Protocol::TCP, 8055, true);
    pair.expect(Protocol::TCP, 8056, false);
    let unreachable = pair
        .deployment
        .palisadectl()
        .run(&["get", "globalnetworkpolicies"], "")
        .expect("palisadectl");
    assert_eq!(unreachable.code, Some(7), "{}", unreachable.stderr);

    pair.deployment.start_controlplane().expect("a restart");
    let kept = pair
        .deployment
        .palisadectl()
        .run(&["get", "globalnetworkpolicy", "kept", "-o", "name"], "")
        .expect("palisadectl");
    assert_eq!(
        kept.code,
        Some(0),
        "an acknowledged write is gone: {}",
        kept.stderr
    );
    // The node comes back by itself, within the patience of the probe.
    pair.apply(&allow("after", 20, "TCP", &[8056]))
        .expect("a write after the restart");
    pair.expect(Protocol::TCP, 8056, true);
    pair.count(load)
        .expect("counters")
        .expect_none_lost_none_leaked();
}

#[test]
fn a_node_that_ends_leaves_its_rules_and_one_that_starts_rewrites_nothing() {
    let Some(mut pair) = protected_pair("restart") else {
        return;
    };
    let before = ruleset(&pair);
    assert!(before.contains("table inet palisade"), "{before}");
    let ended = pair
        .deployment
        .node("host0")
        .and_then(|node| node.terminate())
        .expect("an end");
    assert!(ended.success(), "SIGTERM ended it with {ended}");
    pair.expect(Protocol::UDP, MUST_PASS, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    assert_eq!(
        ruleset(&pair),
        before,
        "rules changed when the daemon ended"
    );
    pair.deployment.start_node("host0").expect("a restart");
    assert_eq!(ruleset(&pair), before, "rules were written again");
    pair.expect(Protocol::UDP, MUST_DROP, false);
}

#[test]
fn after_a_reboot_the_last_policy_is_enforced_without_a_control_plane() {
    let Some(mut pair) = protected_pair("reboot") else {
        return;
    };
    pair.deployment
        .node("host0")
        .and_then(|node| node.kill())
        .expect("a kill");
    pair.deployment
        .controlplane()
        .and_then(|controlplane| controlplane.kill())
        .expect("a kill");
    // A reboot takes the kernel's rules with it, and leaves the disk.
    pair.sandbox
        .station("host0")
        .expect("host0")
        .namespace()
        .nft("flush ruleset")
        .expect("an empty kernel");
    pair.expect(Protocol::UDP, MUST_DROP, true);
    pair.deployment
        .start_node("host0")
        .expect("a start from disk");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.expect(Protocol::UDP, MUST_PASS, true);
    pair.expect(Protocol::TCP, 22, true);
}

#[test]
fn a_foreign_flush_is_repaired() {
    let Some(pair) = protected_pair("foreign flush") else {
        return;
    };
    pair.sandbox
        .station("host0")
        .expect("host0")
        .namespace()
        .nft("flush ruleset")
        .expect("an empty kernel");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.expect(Protocol::UDP, MUST_PASS, true);
}
