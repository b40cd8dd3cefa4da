//! Removing namespaces: ours when they are dropped, and those of runs that died before they could.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::NAMES;

/// Removes every namespace named after a process that no longer lives.
pub(super) fn remove_what_dead_processes_left() {
    let Ok(entries) = std::fs::read_dir(NAMES) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix("pal-")
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}

/// Ends what still runs in the namespace, then unlinks it. Best effort: the next run sweeps what stays.
pub(super) fn remove(name: &str) {
    let mut ip = Command::new("ip");
    if let Ok(output) = ip
        .args(["netns", "pids", name])
        .stderr(Stdio::null())
        .output()
    {
        let pids = String::from_utf8_lossy(&output.stdout).into_owned();
        for pid in pids
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter_map(Pid::from_raw)
        {
            // A thread of ours may be inside for a moment; we are not what is to be ended.
            if pid != rustix::process::getpid() {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    let _ = Command::new("ip")
        .args(["netns", "del", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
