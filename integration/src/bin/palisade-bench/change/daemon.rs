//! What a daemon uses: memory of its own, and processor time.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;

/// Linux counts processor time in these, for people.
const TICKS_PER_SECOND: u64 = 100;

/// Anonymous memory (`RssAnon`) in KiB.
pub(super) fn memory(pid: Pid) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))
        .context("read the status of a daemon")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .context("RssAnon is a number")
}

/// User and system time since its start.
pub(super) fn processor_time(pid: Pid) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .context("read the state of a daemon")?;
    // The name, in parentheses, is the second field; it may have blanks. utime and stime are the 14th and 15th.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}
