//! Whatever happens to those who decide, a question that must be dropped never gets through, and rules that ask nobody
//! lose nothing.

use palisade_integration::load::{Load, Stream};
use palisade_integration::pair::{MUST_PASS, Pair, host_endpoint};
use palisade_integration::traffic::datagram::query;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::dns_suffix::{ANSWERED, DENIED, policy};
use crate::world::{FAMILIES, pair, until};

/// How often everything happens.
const ROUNDS: u32 = 3;

/// Questions for a denied name in both families, and something that no plugin is asked about.
fn streams(pair: &Pair) -> Vec<Stream> {
    let host = pair.sandbox.station("host0").expect("host0");
    let stream = |ipv6, port, bytes, passes| Stream {
        name: format!("udp/{port} over IPv{}", if ipv6 { 6 } else { 4 }),
        from: "client".to_owned(),
        to: (host.address(ipv6).expect("an address"), port).into(),
        bytes,
        passes,
        sink: None,
    };
    let questions = FAMILIES.map(|ipv6| stream(ipv6, 53, query(DENIED.name), false));
    let others = stream(false, MUST_PASS, vec![0], true);
    questions.into_iter().chain([others]).collect()
}

/// Gives the plugin other limits: it is loaded anew.
fn reload(pair: &Pair, fuel: u32) {
    let palisadectl = pair.deployment.palisadectl();
    let words = ["get", "plugin", "dns-suffix", "--output", "json"];
    let stored = palisadectl.run(&words, "");
    let stored = stored
        .and_then(|output| output.success())
        .expect("a plugin");
    let mut plugin: Value = serde_json::from_str(&stored).expect("JSON");
    plugin["spec"]["limits"]["fuel"] = json!(fuel);
    pair.apply(&plugin.to_string()).expect("other limits");
}

/// Waits until plugins answer again.
fn answers(pair: &Pair) {
    let answered = || {
        pair.deployment
            .figures("host0")
            .expect("figures")
            .get(ANSWERED)
    };
    let before = answered();
    until(pair, "answering", || answered() > before);
}

#[test]
fn a_denied_question_never_gets_through_whatever_happens_to_those_who_decide() {
    let Some(mut pair) = pair("no leaks", &["dns-suffix"]) else {
        return;
    };
    pair.apply(&(policy(0) + &host_endpoint("generation", "0")))
        .expect("a policy that asks");
    let load = Load::start(&pair.sandbox, "host0", streams(&pair)).expect("streams");
    answers(&pair);
    for round in 1..=ROUNDS {
        // Other settings, and answers that are remembered.
        pair.apply(&policy(round)).expect("a change of settings");
        answers(&pair);
        reload(&pair, 150_000 + round);
        pair.apply(&host_endpoint("generation", &round.to_string()))
            .expect("a change beside it");
        answers(&pair);

        let pid = pair.deployment.node("host0").and_then(|node| node.pid());
        let pid = pid.expect("a daemon");
        kill_process(pid, Signal::STOP).expect("a stop");
        until(&pair, "without heartbeat", || !lives(&pair));
        kill_process(pid, Signal::CONT).expect("a continuation");
        answers(&pair);

        let node = pair.deployment.node("host0");
        node.and_then(|node| node.kill()).expect("a kill");
        until(&pair, "without heartbeat", || !lives(&pair));
        pair.deployment.start_node("host0").expect("a start");
        answers(&pair);
    }
    let counts = load.stop(&pair.sandbox).expect("counters");
    counts.expect_none_lost_none_leaked();
}

/// Whether the host's kernel believes that somebody answers.
fn lives(pair: &Pair) -> bool {
    let host = pair.sandbox.station("host0").expect("host0").namespace();
    let listed = host.nft("list set inet palisade plugin_alive");
    listed.expect("rules that ask").contains("elements")
}
