//! Promise 5: a bad document is refused with its place, and nothing changes. And the exit codes people script against.

use palisade_integration::format::Protocol;
use palisade_integration::pair::{Pair, allow, host_endpoint};
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::product::Output;
use rustix::process::{Signal, kill_process};

fn pair(test: &str) -> Option<Pair> {
    if !have(test, &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return None;
    }
    let pair = Pair::start().expect("a deployment");
    pair.apply(&(allow("web", 100, "TCP", &[8055]) + &host_endpoint("generation", "0")))
        .expect("the initial policy");
    pair.expect(Protocol::TCP, 8055, true);
    pair.expect(Protocol::TCP, 8056, false);
    Some(pair)
}

fn palisadectl(pair: &Pair, arguments: &[&str], input: &str) -> Output {
    pair.deployment
        .palisadectl()
        .run(arguments, input)
        .expect("palisadectl starts")
}

fn everything(pair: &Pair) -> String {
    ["globalnetworkpolicies", "hostendpoints"]
        .map(|kind| {
            palisadectl(pair, &["get", kind, "-o", "yaml"], "")
                .success()
                .expect("get")
        })
        .concat()
}

#[test]
fn a_bad_document_is_refused_with_its_place_and_nothing_of_its_file_is_written() {
    let Some(pair) = pair("bad document") else {
        return;
    };
    let before = everything(&pair);
    let file = allow("good", 1, "TCP", &[8056])
        + "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: bad\nspec:\n  selector: role == 'app'\n  \
           ingress:\n  - action: Alow\n    protocol: TCP\n";
    let refused = palisadectl(&pair, &["apply", "-f", "-"], &file);
    assert_eq!(
        refused.code,
        Some(2),
        "{}{}",
        refused.stdout,
        refused.stderr
    );
    assert!(
        refused.stderr.contains("spec.ingress[0].action"),
        "no field path: {}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("Alow"),
        "the place in the file is not shown: {}",
        refused.stderr
    );
    assert_eq!(everything(&pair), before);
    pair.expect(Protocol::TCP, 8056, false);
    pair.expect(Protocol::TCP, 8055, true);
}

#[test]
fn an_unknown_field_a_broken_selector_and_a_bad_kind_are_refused() {
    let Some(pair) = pair("kinds of bad documents") else {
        return;
    };
    let before = everything(&pair);
    let policy = allow("worse", 1, "TCP", &[8056]);
    for bad in [
        policy.replace("  order:", "  oder:"),
        policy.replace("role == 'app'", "role == 'app"),
        policy.replace("GlobalNetworkPolicy", "GlobalNetworkPolice"),
        policy.replace("[8056]", "[70000]"),
        policy.replace("protocol: TCP", "protocol: ICMP"),
        "{".to_owned(),
    ] {
        let refused = palisadectl(&pair, &["apply", "-f", "-"], &bad);
        assert_eq!(
            refused.code,
            Some(2),
            "{bad}\n{}{}",
            refused.stdout,
            refused.stderr
        );
        assert!(!refused.stderr.trim().is_empty());
    }
    assert_eq!(everything(&pair), before);
    pair.expect(Protocol::TCP, 8056, false);
}

#[test]
fn what_is_valid_but_not_enforced_yet_is_refused_by_name_and_not_kept() {
    let Some(pair) = pair("not enforced yet") else {
        return;
    };
    let before = everything(&pair);
    let document = allow("later", 1, "TCP", &[8056]).replace(
        "  - action: Allow\n",
        "  - action: Allow\n    http: {methods: [GET]}\n",
    );
    assert!(document.contains("http"), "{document}");
    assert_eq!(
        palisadectl(&pair, &["validate", "-f", "-"], &document).code,
        Some(0)
    );
    let refused = palisadectl(&pair, &["apply", "-f", "-"], &document);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("http"), "{}", refused.stderr);
    assert_eq!(everything(&pair), before);
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let Some(mut pair) = pair("exit codes") else {
        return;
    };
    assert_eq!(
        palisadectl(&pair, &["get", "globalnetworkpolicy", "web"], "").code,
        Some(0)
    );
    assert_eq!(
        palisadectl(&pair, &["get", "globalnetworkpolicy", "none"], "").code,
        Some(6)
    );
    assert_eq!(
        palisadectl(&pair, &["delete", "globalnetworkpolicy", "none"], "").code,
        Some(6)
    );
    assert_eq!(
        palisadectl(&pair, &["create", "-f", "-"], &allow("web", 1, "TCP", &[1])).code,
        Some(5)
    );
    assert_eq!(palisadectl(&pair, &["no-such-command"], "").code, Some(2));
    let packet = |port| {
        [
            "explain",
            "host0",
            "--in",
            "eth0",
            "--proto",
            "tcp",
            "--src",
            "10.65.0.20",
            "--dst",
            port,
        ]
    };
    assert_eq!(
        palisadectl(&pair, &packet("10.65.0.10:8055"), "").code,
        Some(0)
    );
    assert_eq!(
        palisadectl(&pair, &packet("10.65.0.10:8056"), "").code,
        Some(3)
    );

    // A node that hangs is connected but does not converge.
    let pid = pair
        .deployment
        .node("host0")
        .and_then(|node| node.pid())
        .expect("a process id");
    kill_process(pid, Signal::STOP).expect("a stop");
    let waited = palisadectl(
        &pair,
        &["apply", "-f", "-", "--wait=1s"],
        &allow("web", 100, "TCP", &[8055, 8056]),
    );
    kill_process(pid, Signal::CONT).expect("a continuation");
    assert_eq!(waited.code, Some(4), "{}", waited.stderr);
    pair.expect(Protocol::TCP, 8056, true);

    pair.deployment
        .controlplane()
        .and_then(|controlplane| controlplane.kill())
        .expect("a kill");
    assert_eq!(
        palisadectl(&pair, &["get", "globalnetworkpolicies"], "").code,
        Some(7)
    );
}
