//! What a node does and says while its state directory fails under it: the disk is full, or somebody removes it.

use palisade_integration::format::Protocol;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::prerequisite::{Prerequisite, have};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Opened by the change that the disk has no room for.
const LATER: u16 = 8055;
/// Until the truth is shown.
const TRUTH: Duration = Duration::from_secs(1);
/// Until a node that tries again by itself has succeeded.
const MENDED: Duration = Duration::from_secs(45);

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

/// Polls until it is so; how long that took.
fn until(pair: &Pair, what: &str, patience: Duration, so: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !so() {
        let logs = || pair.deployment.logs();
        assert!(
            began.elapsed() < patience,
            "not {what} within {patience:?}\n{}",
            logs()
        );
        palisade_integration::pause();
    }
    began.elapsed()
}

fn status(pair: &Pair) -> (Option<i32>, String) {
    pair.palisade_node(&["status"], Some(&pair.state_dir()))
        .expect("it runs")
}

/// What the host says of a TCP packet from the client.
fn explained(pair: &Pair, port: u16) -> (Option<i32>, String) {
    let to = format!("10.65.0.10:{port}");
    let words = [
        "explain",
        "--in",
        "eth0",
        "--proto",
        "tcp",
        "--src",
        "10.65.0.20",
        "--dst",
        &to,
    ];
    pair.palisade_node(&words, Some(&pair.state_dir()))
        .expect("it runs")
}

/// Both say so.
fn ready(pair: &Pair) -> bool {
    let readyz = pair.deployment.readyz("host0");
    readyz.is_ok_and(|status| status == 200) && status(pair).0 == Some(0)
}

/// A change that needs more room than the rest of a page.
fn large_change() -> String {
    let ports: Vec<u16> = std::iter::once(LATER).chain(20_000..20_600).collect();
    allow("later", 10, "TCP", &ports)
}

/// A small file system in the place of a directory, until this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Takes the content of the directory along.
    fn in_place_of(dir: &Path) -> Self {
        let aside = dir.with_extension("aside");
        std::fs::rename(dir, &aside).expect("put aside");
        std::fs::create_dir(dir).expect("made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs"]);
        assert!(mount.arg(dir).status().expect("mount").success());
        let disk = Self(dir.to_owned());
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(aside.join(".")).arg(dir);
        assert!(copy.status().expect("cp").success());
        disk
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Writes until nothing fits.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.ballast()).expect("made");
        let full = loop {
            if let Err(err) = file.write_all(&[0; 4096]) {
                break err;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon may still have a file open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_within_a_second_and_the_change_is_enforced_once_there_is_room() {
    let Some(mut pair) = pair("full disk") else {
        return;
    };
    pair.deployment
        .node("host0")
        .and_then(|node| node.terminate())
        .expect("an end");
    let disk = SmallDisk::in_place_of(&pair.state_dir());
    pair.deployment.start_node("host0").expect("a start");
    // Both are answered a moment after the policy is enforced.
    until(&pair, "ready", MENDED, || ready(&pair));
    let daemon = pair.deployment.node("host0").and_then(|node| node.pid());
    let daemon = daemon.expect("a process id");

    disk.fill();
    let applied = pair
        .deployment
        .palisadectl()
        .run(&["apply", "-f", "-"], &large_change())
        .expect("palisadectl");
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    let unready = || {
        pair.deployment
            .readyz("host0")
            .is_ok_and(|status| status == 503)
    };
    let told = until(&pair, "unready", TRUTH, unready);
    let (code, said) = status(&pair);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "a change of it waits",
        "No space left",
        "is enforced",
        "NotDurable",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // What is explained is the view before, which the kernel has; that it will change is said.
    let (code, said) = explained(&pair, LATER);
    assert_eq!(code, Some(3), "{said}");
    for part in ["denied (drop)", "but a change to revision", "No space left"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let waited = pair
        .deployment
        .palisadectl()
        .run(&["apply", "-f", "-", "--wait=1s"], &large_change())
        .expect("palisadectl");
    assert_eq!(waited.code, Some(4), "{}", waited.stderr);
    assert!(waited.stderr.contains("`host0`"), "{}", waited.stderr);
    pair.expect(Protocol::TCP, LATER, false);
    pair.expect(Protocol::UDP, MUST_PASS, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    assert_eq!(status(&pair).0, Some(1));
    assert!(unready(), "they agree");

    std::fs::remove_file(disk.ballast()).expect("removed");
    let mended = until(&pair, "ready", MENDED, || ready(&pair));
    println!("full disk told in {told:?}, mended {mended:?} after there was room");
    pair.apply(&large_change()).expect("it is enforced");
    pair.expect(Protocol::TCP, LATER, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    let (code, said) = explained(&pair, LATER);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("but "), "{said}");
    let (_, said) = status(&pair);
    assert!(
        !said.contains("NotDurable") && !said.contains("waits"),
        "{said}"
    );
    let still = pair.deployment.node("host0").and_then(|node| node.pid());
    assert_eq!(still.expect("a process id"), daemon, "no restart");
    // The restart after it finds the change.
    pair.deployment
        .node("host0")
        .and_then(|node| node.kill())
        .expect("a kill");
    pair.deployment
        .controlplane()
        .and_then(|controlplane| controlplane.kill())
        .expect("a kill");
    pair.host().nft("flush ruleset").expect("an empty kernel");
    pair.deployment.start_node("host0").expect("a start");
    pair.expect(Protocol::TCP, LATER, true);
    pair.expect(Protocol::UDP, MUST_DROP, false);
    drop(disk);
}

#[test]
fn a_state_directory_that_is_removed_is_made_again_with_all_that_a_restart_needs() {
    let Some(mut pair) = pair("removed directory") else {
        return;
    };
    let dir = pair.state_dir();
    std::fs::remove_dir_all(&dir).expect("removed");
    let whole = || {
        let names = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let names: Vec<_> = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let there = |start: &str| names.iter().any(|name| name.starts_with(start));
        ["view.", "socket", "identity.pem", "ca.pem", "lock"]
            .into_iter()
            .all(there)
    };
    let took = until(&pair, "whole again", MENDED, || {
        whole() && status(&pair).0 == Some(0)
    });
    println!("a removed state directory was whole again after {took:?}");
    let log = pair.deployment.logs();
    for told in [
        "SocketUnavailable",
        "it was removed while the daemon runs",
        "was removed or replaced",
    ] {
        assert!(log.contains(told), "{told} in {log}");
    }
    let (_, said) = status(&pair);
    assert!(
        !said.contains("NotDurable") && !said.contains("SocketUnavailable"),
        "{said}"
    );

    // A file in its place: nothing can be made again, and that is told with the way out until it is gone.
    std::fs::remove_dir_all(&dir).expect("removed");
    std::fs::write(&dir, "in the way").expect("written");
    let told = || {
        let nodes = pair
            .deployment
            .palisadectl()
            .run(&["nodes", "-o", "json"], "")
            .expect("palisadectl");
        [
            "SocketUnavailable",
            "NotDurable",
            "root can make that directory",
        ]
        .into_iter()
        .all(|part| nodes.stdout.contains(part))
    };
    until(&pair, "told to the control plane", MENDED, told);
    let (code, said) = status(&pair);
    assert_eq!(code, Some(1), "{said}");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.expect(Protocol::UDP, MUST_PASS, true);
    std::fs::remove_file(&dir).expect("removed");
    until(&pair, "whole again", MENDED, || {
        whole() && status(&pair).0 == Some(0)
    });

    // A restart needs no control plane and no new token.
    pair.deployment
        .node("host0")
        .and_then(|node| node.kill())
        .expect("a kill");
    pair.host().nft("flush ruleset").expect("an empty kernel");
    pair.deployment.start_node("host0").expect("a start");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.apply(&allow("later", 10, "TCP", &[LATER]))
        .expect("it is enrolled");
    pair.expect(Protocol::TCP, LATER, true);
}
