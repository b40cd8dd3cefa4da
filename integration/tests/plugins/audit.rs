//! What is told of denied packets: every one of them, or that it is lost.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use palisade_integration::guests;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::traffic::datagram::Port;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::world::{pair, until};

/// Denied like [`MUST_DROP`], and never flooded.
const QUIET: u16 = 9002;
/// The same, for one packet after many.
const LAST: u16 = 9003;
/// Allowed like [`MUST_PASS`], with nobody at work on it.
const OPEN: u16 = 9004;
/// How long the kernel and the daemon may keep a record back before another denial asks for it.
const SETTLE: Duration = Duration::from_secs(3);

/// Uploads `redact` as an auditor whose records go to a file; gives the file.
pub(crate) fn redact(pair: &Pair, settings: &str) -> PathBuf {
    let file = guests::build("redact").expect("a component");
    let palisadectl = pair.deployment.palisadectl();
    let digest = palisadectl
        .run(&["plugin", "push", file.to_str().expect("a path")], "")
        .and_then(|output| output.success())
        .expect("an upload");
    let sink = pair.deployment.file("audit.jsonl");
    let plugin = format!(
        "apiVersion: palisade.dev/v1
kind: Plugin
metadata: {{name: redact}}
spec:
  kind: auditor
  digest: {digest}
  settings: {settings}
  sinks:
    alerts: {{file: {{path: {sink}, maxBytes: 1000000000000}}}}
---
",
        digest = digest.trim(),
        sink = sink.display()
    );
    pair.apply(&plugin).expect("an auditor");
    sink
}

/// The records in a file, as they come.
pub(crate) struct Records {
    path: PathBuf,
    read: u64,
}

impl Records {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// Those that came since the last call. A last line that is half written is none yet.
    pub(crate) fn next(&mut self) -> Vec<Value> {
        let Ok(mut file) = File::open(&self.path) else {
            return vec![];
        };
        file.seek(SeekFrom::Start(self.read)).expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += u64::try_from(whole).expect("small");
        let lines = text[..whole].lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("lines of JSON")
    }
}

/// The port of a denied packet that a record tells of.
fn denied(record: &Value) -> Option<u64> {
    let flow = record.get("flow")?;
    (flow.get("action")? == "deny").then(|| flow.get("destinationPort")?.as_u64())?
}

fn said_lost(record: &Value) -> u64 {
    record.get("lost").and_then(Value::as_u64).unwrap_or(0)
}

/// Counts what the host's kernel sees of the ports that are denied, before any rule of ours.
fn count_denied(pair: &Pair) {
    let host = pair.sandbox.station("host0").expect("host0").namespace();
    let script = format!(
        "table inet denied {{
            counter seen {{ }}
            chain in {{
                type filter hook prerouting priority -500; policy accept;
                udp dport {{ {MUST_DROP}, {QUIET} }} counter name seen
            }}
        }}"
    );
    host.nft(&script).expect("a counter");
}

fn counted(pair: &Pair) -> u64 {
    let host = pair.sandbox.station("host0").expect("host0").namespace();
    let listing = host.output(
        std::process::Command::new("nft")
            .args(["-j", "list", "counters", "table", "inet", "denied"]),
        "",
    );
    let listing: Value = serde_json::from_slice(&listing.expect("nft").stdout).expect("JSON");
    let counters = listing["nftables"].as_array().expect("a list");
    let packets = counters
        .iter()
        .find_map(|entry| entry["counter"]["packets"].as_u64());
    packets.expect("a counter")
}

/// How often the kernel found no room in a buffer of netfilter's sockets on the host.
fn overruns(pair: &Pair) -> u64 {
    let host = pair.sandbox.station("host0").expect("host0").namespace();
    let sockets = host.run(|| std::fs::read_to_string("/proc/thread-self/net/netlink"));
    let sockets = sockets.expect("a list of sockets");
    let drops = sockets.lines().filter_map(|line| {
        // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; 12 is NETLINK_NETFILTER.
        let columns: Vec<&str> = line.split_whitespace().collect();
        (*columns.get(1)? == "12").then(|| columns.get(8)?.parse::<u64>().ok())?
    });
    drops.sum()
}

/// However many packets it has, and although nobody answers, a flow that is let through begins once.
fn begins_once(pair: &Pair, records: &mut Records, client: &Port, quiet: &Port) {
    let station = pair.sandbox.station("host0").expect("a station");
    let open = Port::open(station, OPEN).expect("a port");
    let mut begun = 0;
    let is_allowed = |record: &&Value| {
        let flow = &record["flow"];
        flow["action"] == "allow" && flow["destinationPort"] == OPEN
    };
    until(pair, "begun", || {
        client.send(&open, false, b"x").expect("sent");
        begun += records.next().iter().filter(is_allowed).count();
        begun > 0
    });
    (0..10).for_each(|_| client.send(&open, false, b"x").expect("sent"));
    client.send(quiet, false, b"x").expect("sent");
    until(pair, "heard of", || {
        let records = records.next();
        begun += records.iter().filter(is_allowed).count();
        records.iter().any(|record| denied(record).is_some())
    });
    assert_eq!(begun, 1, "flows begun");
}

#[test]
fn denied_packets_are_delivered_or_counted_as_lost_whatever_floods() {
    let Some(mut pair) = pair("flood of denials", &[]) else {
        return;
    };
    let pid = pair.deployment.node("host0").and_then(|node| node.pid());
    let pid = pid.expect("a daemon");
    let sink = redact(&pair, "{label: nobody-has-this}");
    pair.apply(&(allow("web", 100, "UDP", &[MUST_PASS, OPEN]) + &host_endpoint("generation", "0")))
        .expect("a policy");
    let station = |name| pair.sandbox.station(name).expect("a station");
    let client = Port::open(station("client"), 0).expect("a port");
    let quiet = Port::open(station("host0"), QUIET).expect("a port");
    // Nothing is heard before the group is bound. What comes after what was heard of is, or has a number.
    let mut records = Records::of(sink);
    until(&pair, "heard of", || {
        client.send(&quiet, false, b"x").expect("sent");
        records.next().iter().any(|record| denied(record).is_some())
    });
    // The last of those sent has a port of its own.
    let last = Port::open(station("host0"), LAST).expect("a port");
    client.send(&last, false, b"x").expect("sent");
    let is_last = |record: &Value| denied(record) == Some(LAST.into());
    until(&pair, "heard of", || records.next().iter().any(is_last));
    begins_once(&pair, &mut records, &client, &quiet);
    count_denied(&pair);
    let figure = |name| pair.deployment.figures("host0").expect("figures").get(name);
    // Of what came before the auditor was there.
    let before = figure("palisade_node_audit_lost");

    let flood = pair.flood().expect("two streams");
    // Nobody reads, until the buffer has no more room.
    until(&pair, "flooded", || counted(&pair) > 10_000);
    kill_process(pid, Signal::STOP).expect("a stop");
    until(&pair, "overrun", || overruns(&pair) > 100);
    kill_process(pid, Signal::CONT).expect("a continuation");
    let more = counted(&pair) + 10_000;
    until(&pair, "flooded", || counted(&pair) > more);
    let counts = pair.count(flood).expect("counters");
    counts.expect_none_lost_none_leaked();

    // The last loss shows with the next packet that is heard of.
    let (mut delivered, mut lost) = (0, 0);
    let mut next_packet = Instant::now();
    until(&pair, "all told", || {
        if next_packet <= Instant::now() {
            client.send(&quiet, true, b"x").expect("sent");
            next_packet = Instant::now() + SETTLE;
        }
        let records = records.next();
        lost += records.iter().map(said_lost).sum::<u64>();
        let denials = records.iter().filter_map(denied).count();
        delivered += u64::try_from(denials).expect("small");
        let total = counted(&pair);
        assert!(delivered + lost <= total, "more than there was");
        delivered + lost == total
    });
    assert!(delivered > 0 && lost > 0, "no flood");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let more = lost as f64;
    assert_eq!(figure("palisade_node_audit_lost"), before + more);
    assert_eq!(figure("palisade_node_audit_unwritten"), 0.0);
    println!("{delivered} denials delivered, {lost} said to be lost");
}
