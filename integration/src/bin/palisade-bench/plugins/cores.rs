//! Who sends and who answers have a core each, so that figures do not depend on where the scheduler puts them.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Where packets are sent, and go through the ruleset.
const SENDING: usize = 0;
/// Where they are answered.
const ANSWERING: usize = 1;

/// Keeps all threads of a process, and those that they start, where answers are given.
pub(super) fn answer(process: Pid) -> Result<()> {
    let threads = format!("/proc/{}/task", process.as_raw_nonzero());
    for thread in std::fs::read_dir(threads).context("list threads")? {
        let name = thread.context("list threads")?.file_name();
        let number = name
            .to_string_lossy()
            .parse()
            .context("a thread's number")?;
        keep(Pid::from_raw(number), ANSWERING)?;
    }
    Ok(())
}

/// Keeps this thread, and those that it starts, where answers are given.
pub(super) fn answer_here() -> Result<()> {
    keep(None, ANSWERING)
}

/// Keeps this thread, and those that it starts, where packets are sent.
pub(super) fn send_here() -> Result<()> {
    keep(None, SENDING)
}

/// Lets this thread run anywhere again.
pub(super) fn anywhere() -> Result<()> {
    let mut all = CpuSet::new();
    for core in 0..CpuSet::MAX_CPU {
        all.set(core);
    }
    sched_setaffinity(None, &all).context("run on any core")
}

fn keep(thread: Option<Pid>, core: usize) -> Result<()> {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() <= ANSWERING) {
        return Ok(());
    }
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(thread, &one).with_context(|| format!("run on core {core}"))
}
