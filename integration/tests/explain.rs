//! What a host says of a packet is what the control plane says of it, and what real packets show; also with nobody else left.

use palisade_integration::explain::packet;
use palisade_integration::format::{Name, Probe, Protocol};
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::pause;
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::product::Binaries;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TOPOLOGY: &str = "
hosts:
  - name: host0
    interfaces: [{name: eth0, address: 10.65.0.10/24, address6: 'fd00:65::10/64'}]
    protected: true
    listeners: [{proto: udp, port: 9000}, {proto: udp, port: 9001}, {proto: tcp, port: 22}]
  - name: client
    interfaces: [{name: eth0, address: 10.65.0.20/24, address6: 'fd00:65::20/64'}]
    listeners: [{proto: udp, port: 9000}, {proto: udp, port: 9001}]
";

const OUT: &str = "apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: out}
spec:
  order: 200
  selector: role == 'app'
  types: [Egress]
  egress:
  - {action: Allow, protocol: UDP, destination: {ports: [9000]}}
---
";

const ALLOWED: i32 = 0;
const ERROR: i32 = 1;
const USAGE: i32 = 2;
const DENIED: i32 = 3;

fn pair(test: &str) -> Option<Pair> {
    if !have(test, &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return None;
    }
    let pair = Pair::start_on(TOPOLOGY).expect("a deployment");
    let inward = allow("streams", 100, "UDP", &[MUST_PASS]);
    pair.apply(&(inward + OUT + &host_endpoint("generation", "0")))
        .expect("the initial policy");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    Some(pair)
}

/// In and out, both families, allowed and denied, and a failsafe.
fn probes() -> Vec<(&'static str, Probe)> {
    let mut probes = Vec::new();
    for family in [4, 6] {
        for (way, from, to) in [("--in", "client", "host0"), ("--out", "host0", "client")] {
            for (port, allow) in [(MUST_PASS, true), (MUST_DROP, false)] {
                let probe = Probe::new(from, to, Protocol::UDP, port, allow);
                let family = Some(family);
                probes.push((way, Probe { family, ..probe }));
            }
        }
    }
    probes.push((
        "--in",
        Probe::new("client", "host0", Protocol::TCP, 22, true),
    ));
    let echo = Protocol::Named(Name::Icmp);
    probes.push(("--in", Probe::new("client", "host0", echo, 0, false)));
    probes
}

fn words(pair: &Pair, way: &str, probe: &Probe) -> Vec<String> {
    let mut words = vec![way.to_owned(), "eth0".to_owned()];
    words.extend(packet(&pair.sandbox, probe).expect("a packet"));
    words
}

/// `palisade-node explain`: how it ended, and what it said.
fn host(pair: &Pair, words: &[String]) -> (Option<i32>, String) {
    let words = words.iter().map(String::as_str);
    let words: Vec<&str> = std::iter::once("explain").chain(words).collect();
    pair.palisade_node(&words, Some(&pair.state_dir()))
        .expect("it runs")
}

fn json(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|err| panic!("{err}: {said}"))
}

#[test]
fn host_and_control_plane_explain_alike_and_the_host_alone_as_before() {
    let Some(mut pair) = pair("explain") else {
        return;
    };
    let mut answers = Vec::new();
    for (way, probe) in probes() {
        let words = words(&pair, way, &probe);
        let (code, said) = host(&pair, &words);
        let wanted = if probe.allow { ALLOWED } else { DENIED };
        assert_eq!(code, Some(wanted), "{probe}: {said}");
        let arguments = ["explain", "host0"].into_iter();
        let arguments: Vec<&str> = arguments.chain(words.iter().map(String::as_str)).collect();
        let control_plane = pair
            .deployment
            .palisadectl()
            .run(&arguments, "")
            .expect("it runs");
        assert_eq!(control_plane.code, code, "{probe}");
        let answer = json(&said);
        assert_eq!(answer, json(&control_plane.stdout), "{probe}");
        assert_eq!(answer["caveats"], Value::Array(Vec::new()), "{probe}");
        assert!(
            answer["steps"]
                .as_array()
                .is_some_and(|steps| !steps.is_empty())
        );
        assert!(pair.shows(&probe).expect("sent"), "{probe}: {said}");
        answers.push(answer);
    }

    let controlplane = pair.deployment.controlplane().expect("a control plane");
    controlplane.kill().expect("a kill");
    for ((way, probe), answer) in probes().into_iter().zip(answers) {
        let (_, said) = host(&pair, &words(&pair, way, &probe));
        assert_eq!(json(&said), answer, "{probe}");
    }
    // The same in the other forms.
    let udp = |port| Probe::new("client", "host0", Protocol::UDP, port, true);
    for (format, part) in [
        ("table", "STAGE"),
        ("yaml", "verdict: allowed"),
        ("name", "allowed: "),
    ] {
        let mut words = words(&pair, "--in", &udp(MUST_PASS));
        words.pop();
        words.push(format.to_owned());
        let (code, said) = host(&pair, &words);
        assert_eq!(code, Some(ALLOWED), "{said}");
        assert!(said.contains(part), "{part} in {said}");
    }

    let node = pair.deployment.node("host0").expect("a daemon");
    node.kill().expect("a kill");
    let (code, said) = host(&pair, &words(&pair, "--in", &udp(MUST_PASS)));
    assert_eq!(code, Some(ERROR), "{said}");
    assert!(said.contains("no daemon answers"), "{said}");
}

#[test]
fn words_that_make_no_packet_are_refused_as_wrong_usage() {
    let Some(pair) = pair("explain usage") else {
        return;
    };
    let source = ["--src", "10.65.0.20"];
    let packet = |more: &[&str]| {
        let words = ["--proto", "udp"].iter().chain(&source).chain(more);
        words.map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let to = ["--dst", "10.65.0.10:53"];
    let known = packet(&[&["--in", "eth0"], &to[..]].concat());
    assert_eq!(host(&pair, &known).0, Some(DENIED));
    for (wrong, part) in [
        (packet(&to), "--in"),
        (
            packet(&["--in", "eth0", "--dst", "10.65.0.10"]),
            "needs a port",
        ),
        (
            packet(&["--in", "eth0", "--dst", "[fd00::1]:53"]),
            "families",
        ),
        (
            packet(&["--in", "eth0", "--dst", "nowhere"]),
            "not an address",
        ),
        (
            packet(&[&["--in", "eth0", "--icmp-type", "8"], &to[..]].concat()),
            "need --proto",
        ),
        // Only the daemon knows.
        (
            packet(&[&["--in", "eth0", "--plugin", "dns=match"], &to[..]].concat()),
            "no policy of this node",
        ),
    ] {
        let (code, said) = host(&pair, &wrong);
        assert_eq!(code, Some(USAGE), "{wrong:?}: {said}");
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// Everything flows through a host that holds no policy, or nothing does: neither is a verdict.
#[test]
fn a_host_without_policy_says_what_stands_and_gives_no_verdict() {
    let Some(mut pair) = pair("explain nothing") else {
        return;
    };
    let dir = pair.state_dir();
    let run = |pair: &Pair, words: &[&str]| {
        let (code, said) = pair.palisade_node(words, Some(&dir)).expect("it runs");
        assert_eq!(code, Some(0), "{said}");
    };
    let ended = pair
        .deployment
        .node("host0")
        .and_then(|node| node.terminate());
    assert!(ended.expect("an end").success());
    run(&pair, &["uninstall", "--purge"]);
    for (closed, part) in [
        (false, "nothing is enforced"),
        (true, "every interface is closed"),
    ] {
        if closed {
            run(&pair, &["guard", "--without-view", "closed"]);
        }
        let mut daemon = Daemon::start(&pair);
        let probe = Probe::new("client", "host0", Protocol::UDP, MUST_PASS, true);
        let words = words(&pair, "--in", &probe);
        let deadline = Instant::now() + Duration::from_secs(20);
        let (code, said) = loop {
            let (code, said) = host(&pair, &words);
            if !said.contains("no daemon answers") {
                break (code, said);
            }
            assert!(
                Instant::now() < deadline,
                "{said}\n{:?}",
                daemon.0.try_wait()
            );
            pause();
        };
        assert_eq!(code, Some(ERROR), "{said}");
        assert!(said.contains(part), "{part} in {said}");
        pair.expect(Protocol::UDP, MUST_PASS, !closed);
    }
}

/// A daemon that waits for a control plane that is not there.
struct Daemon(Child);

impl Daemon {
    fn start(pair: &Pair) -> Self {
        let mut command = Command::new(Binaries::find().expect("built").node);
        let token = pair.deployment.palisadectl().run(&["token", "create"], "");
        let token = token.and_then(|output| output.success()).expect("a token");
        command.args(["run", "--server", "198.18.0.9:1", "--token", token.trim()]);
        command.arg("--state-dir").arg(pair.state_dir());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(pair.host().run(|| command.spawn()).expect("a daemon"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
