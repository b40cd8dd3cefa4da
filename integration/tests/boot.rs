//! A host that boots on a bad day, and what its own people can ask: no control plane, no resolver, the port taken, a state
//! directory that cannot be written, a foreign ruleset restored first.

use palisade_integration::format::Protocol;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::pause;
use palisade_integration::prerequisite::{Prerequisite, have};
use rustix::process::{Signal, kill_process};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Opened by the policy that was acknowledged last.
const LATEST: u16 = 8056;

fn pair(test: &str) -> Option<Pair> {
    if !have(test, &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return None;
    }
    let pair = Pair::start().expect("a deployment");
    pair.apply(&(allow("streams", 100, "UDP", &[MUST_PASS]) + &host_endpoint("generation", "0")))
        .expect("the initial policy");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    Some(pair)
}

/// Runs `palisade-node` on the host: how it ended, and what it said.
fn node(pair: &Pair, arguments: &[&str], dir: &Path) -> (Option<i32>, String) {
    pair.palisade_node(arguments, Some(dir)).expect("it runs")
}

/// The daemon ends, and well.
fn terminate(pair: &mut Pair) {
    let ended = pair
        .deployment
        .node("host0")
        .and_then(|node| node.terminate());
    assert!(ended.expect("an end").success());
}

/// A directory that nobody can write to, until this is dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(dir: &Path) -> Self {
        let mount = |arguments: &[&str]| {
            let done = Command::new("mount").args(arguments).arg(dir).status();
            assert!(done.expect("mount").success(), "mount {arguments:?}");
        };
        let path = dir.to_str().expect("text");
        mount(&["--bind", path]);
        mount(&["-o", "remount,ro,bind"]);
        assert!(
            std::fs::write(dir.join("probe"), "").is_err(),
            "it can be written"
        );
        Self(dir.to_owned())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // Lazily: a daemon may still have a file open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_boot_on_which_everything_else_fails_enforces_the_last_acknowledged_policy() {
    let Some(mut pair) = pair("bad boot") else {
        return;
    };
    let dir = pair.deployment.file("host0");
    // As a service that saves the ruleset would have it, without the owner that dies with the saved file.
    let list = |pair: &Pair| {
        let output = pair
            .host()
            .output(Command::new("nft").args(["list", "ruleset"]), "");
        String::from_utf8_lossy(&output.expect("nft").stdout).into_owned()
    };
    let old: Vec<String> = list(&pair)
        .lines()
        .filter(|line| !line.trim_start().starts_with("flags owner"))
        .map(|line| line.split(" # progname").next().unwrap_or(line).to_owned())
        .collect();
    pair.apply(&allow("latest", 10, "TCP", &[LATEST]))
        .expect("a change, acknowledged");
    pair.expect(Protocol::TCP, LATEST, true);
    let node_process = pair.deployment.node("host0").expect("a daemon");
    node_process.kill().expect("a kill");
    let controlplane = pair.deployment.controlplane().expect("a control plane");
    controlplane.kill().expect("a kill");

    // The reboot: an old ruleset is restored first.
    pair.host().nft("flush ruleset").expect("an empty kernel");
    pair.host().nft(&old.join("\n")).expect("restored");
    pair.expect(Protocol::TCP, LATEST, false);
    let taken = pair
        .host()
        .run(|| std::net::TcpListener::bind("127.0.0.1:7603"))
        .expect("the port is free");
    let read_only = ReadOnly::new(&dir);

    let (code, said) = node(&pair, &["guard"], &dir);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is enforced"), "{said}");
    let fares = |pair: &Pair| {
        pair.expect(Protocol::TCP, LATEST, true);
        pair.expect(Protocol::UDP, MUST_PASS, true);
        pair.expect(Protocol::UDP, MUST_DROP, false);
        pair.expect(Protocol::TCP, 22, true);
    };
    fares(&pair);

    // The daemon does not need more; what is missing is said.
    pair.deployment.start_node("host0").expect("a start");
    fares(&pair);
    let log = pair.deployment.logs();
    for condition in ["HttpUnavailable", "SocketUnavailable"] {
        assert!(log.contains(condition), "{condition} in {log}");
    }
    drop(taken);
    drop(read_only);
}

#[test]
fn status_and_uninstall_speak_to_the_daemon_that_runs() {
    let Some(mut pair) = pair("host commands") else {
        return;
    };
    let dir = pair.deployment.file("host0");
    let (code, said) = node(&pair, &["status"], &dir);
    assert_eq!(code, Some(0), "{said}");
    for part in ["is enforced", "connected to", "endpoint", "eth0"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let (code, json) = node(&pair, &["status", "--json"], &dir);
    assert_eq!(code, Some(0), "{json}");
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["held"], status["enforced"]);
    assert_eq!(status["connected"], true);

    // Without its state directory nobody removes what a daemon would repair.
    let (code, said) = pair.palisade_node(&["uninstall"], None).expect("it runs");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--state-dir"), "{said}");
    pair.expect(Protocol::UDP, MUST_DROP, false);

    let (code, said) = node(&pair, &["uninstall"], &dir);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing is enforced"), "{said}");
    let ended = pair.deployment.node("host0").and_then(|node| node.wait());
    assert!(ended.expect("an end").success(), "the daemon ends well");
    pair.expect(Protocol::UDP, MUST_DROP, true);
    let (code, said) = node(&pair, &["status"], &dir);
    assert_eq!(code, Some(1));
    assert!(said.contains("no daemon answers"), "{said}");
    let (_, said) = node(&pair, &["uninstall"], &dir);
    assert!(said.contains("no tables of ours"), "{said}");
}

#[test]
fn uninstall_beside_a_daemon_without_a_socket_says_what_to_do_and_that_works() {
    let Some(mut pair) = pair("no socket") else {
        return;
    };
    let dir = pair.state_dir();
    pair.deployment
        .node("host0")
        .and_then(|node| node.terminate())
        .expect("an end");
    let read_only = ReadOnly::new(&dir);
    pair.deployment.start_node("host0").expect("a start");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    let pid = pair.deployment.node("host0").and_then(|node| node.pid());
    let pid = pid.expect("a process id").as_raw_nonzero();
    let (code, said) = node(&pair, &["status"], &dir);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("process {pid} enforces")), "{said}");
    let (code, said) = node(&pair, &["uninstall"], &dir);
    assert_eq!(code, Some(1), "{said}");
    let way = format!("`kill {pid}`");
    assert!(said.contains(&way), "{way} in {said}");

    // What it says.
    terminate(&mut pair);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    let (code, said) = node(&pair, &["uninstall"], &dir);
    assert_eq!(code, Some(0), "{said}");
    pair.expect(Protocol::UDP, MUST_DROP, true);
    drop(read_only);
}

/// Somebody asks, as `palisade-node uninstall` does, and waits for no answer.
fn ask_for_uninstall(pair: &Pair) -> UnixStream {
    let socket = pair.state_dir().join("socket");
    let mut asker = UnixStream::connect(socket).expect("a daemon");
    asker.write_all(b"\"uninstall\"\n").expect("asked");
    asker
}

#[test]
fn an_uninstall_whose_asker_goes_away_ends_the_daemon_all_the_same() {
    let Some(mut pair) = pair("asker gone") else {
        return;
    };
    let asker = ask_for_uninstall(&pair);
    let host = pair.host();
    let removed = || {
        !host
            .nft("list tables")
            .expect("listed")
            .contains("inet palisade")
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !removed() {
        assert!(Instant::now() < deadline, "tables are not removed");
        pause();
    }
    drop(asker);
    let ended = pair.deployment.node("host0").and_then(|node| node.wait());
    assert!(ended.expect("an end").success(), "the daemon ends well");
    pair.expect(Protocol::UDP, MUST_DROP, true);
}

/// The daemon hangs, the asker gives up, and the daemon goes on: long after somebody was told that it failed.
#[test]
fn an_uninstall_whose_asker_gave_up_before_it_began_is_not_carried_out() {
    let Some(mut pair) = pair("asker gave up") else {
        return;
    };
    let pid = pair.deployment.node("host0").and_then(|node| node.pid());
    let pid = pid.expect("a daemon");
    kill_process(pid, Signal::STOP).expect("a stop");
    drop(ask_for_uninstall(&pair));
    kill_process(pid, Signal::CONT).expect("a continuation");
    // Questions are answered in order, or nearly.
    let (code, said) = node(&pair, &["status"], &pair.state_dir());
    assert_eq!(code, Some(0), "{said}");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.expect(Protocol::UDP, MUST_PASS, true);
    let (code, said) = node(&pair, &["status"], &pair.state_dir());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn purge_removes_what_is_ours_and_refuses_another_directory() {
    let Some(mut pair) = pair("purge") else {
        return;
    };
    let dir = pair.state_dir();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let precious = elsewhere.path().join("precious");
    std::fs::write(&precious, b"x").expect("written");
    let (code, said) = node(&pair, &["uninstall"], &dir);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("--purge"), "{said}");
    let ended = pair.deployment.node("host0").and_then(|node| node.wait());
    assert!(ended.expect("an end").success());
    let (code, said) = node(&pair, &["uninstall", "--purge"], elsewhere.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("no state directory") && precious.exists(),
        "{said}"
    );
    let (code, said) = node(&pair, &["uninstall", "--purge"], &dir);
    assert_eq!(code, Some(0), "{said}");
    assert!(!dir.exists(), "{said}");
}

/// A host that is closed until it has policy has to enrol, wherever the enrolment server listens.
#[test]
fn a_host_that_is_closed_without_policy_enrols_at_any_port() {
    let Some(mut pair) = pair("closed") else {
        return;
    };
    terminate(&mut pair);
    let dir = pair.state_dir();
    let (code, said) = node(&pair, &["uninstall", "--purge"], &dir);
    assert_eq!(code, Some(0), "{said}");
    // It knows nothing of the port where the host will enrol.
    let words = [
        "guard",
        "--without-view",
        "closed",
        "--server",
        "198.18.0.9:1",
    ];
    let (code, said) = node(&pair, &words, &dir);
    assert_eq!(code, Some(0), "{said}");
    pair.expect(Protocol::UDP, MUST_PASS, false);
    let Pair {
        sandbox,
        deployment,
        ..
    } = &mut pair;
    deployment
        .enrol(sandbox, "host0")
        .expect("it enrols, and enforces");
    pair.expect(Protocol::UDP, MUST_PASS, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
}

#[test]
fn guard_fails_where_what_is_saved_cannot_be_read() {
    let Some(mut pair) = pair("damaged") else {
        return;
    };
    terminate(&mut pair);
    let dir = pair.state_dir();
    for entry in std::fs::read_dir(&dir).expect("listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with("view.")) {
            let whole = std::fs::read(&path).expect("read");
            std::fs::write(&path, &whole[..300]).expect("written");
        }
    }
    let host = pair.host();
    host.nft("flush ruleset").expect("flushed");
    let (code, said) = node(&pair, &["guard", "--without-view", "closed"], &dir);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be read"), "{said}");
    pair.expect(Protocol::UDP, MUST_PASS, false);
}

#[test]
fn a_second_daemon_on_the_same_host_is_refused_and_names_the_first() {
    let Some(pair) = pair("two daemons") else {
        return;
    };
    let other = tempfile::tempdir().expect("a directory");
    let arguments = ["run", "--server", "198.18.0.1:7600"];
    let (code, said) = node(&pair, &arguments, other.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("enforces in this network namespace"),
        "{said}"
    );
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.expect(Protocol::UDP, MUST_PASS, true);
}
