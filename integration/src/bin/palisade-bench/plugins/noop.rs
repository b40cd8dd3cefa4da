//! The least that a queue program can do: it accepts every packet, one at a time, and looks at none. It takes the place
//! of a daemon that was killed, and gives its heartbeat.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use palisade_integration::netns::Namespace;
use palisade_netfilter::queue::{Queue, QueueConfig, Verdict};
use palisade_netfilter::{Volatile, Writer};
use palisade_ruleset::plugins::QUEUE_BASE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::cores;

/// As the daemon has it.
const CONFIG: QueueConfig = QueueConfig {
    copy: 4096 + 256,
    length: 4096,
    buffer: 8 * 1024 * 1024,
};
const STAGES: u16 = 7;
const BEAT_EVERY: Duration = Duration::from_millis(250);
const BEAT: Duration = Duration::from_secs(1);

/// The program, as a thread.
pub(super) struct Noop {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Noop {
    /// Reads every queue that rules of this host may name.
    pub(super) fn start(host: &Namespace) -> Result<Self> {
        let opened = host.run(|| -> Result<_> {
            let queues = (1..=STAGES).map(|stage| Queue::open(QUEUE_BASE + stage, &CONFIG));
            let queues: Vec<Queue> = queues.collect::<std::io::Result<_>>()?;
            Ok((queues, Volatile::new(Writer::open()?)))
        });
        let (mut queues, mut volatile) = opened.context("take the place of the daemon")?;
        volatile.beat(BEAT, &[])?;
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (told, counts) = (Arc::clone(&stop), Arc::clone(&accepted));
        let thread = std::thread::spawn(move || {
            let ended = cores::answer_here()
                .and_then(|()| accept(&mut queues, &mut volatile, &told, &counts));
            if let Err(error) = ended {
                eprintln!("the no-op queue program ended: {error:#}");
            }
        });
        Ok(Self {
            stop,
            accepted,
            thread: Some(thread),
        })
    }

    /// Packets so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Noop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(
    queues: &mut [Queue],
    volatile: &mut Volatile,
    stop: &AtomicBool,
    accepted: &AtomicU64,
) -> Result<()> {
    let patience = Timespec::try_from(BEAT_EVERY / 2).context("a time-out")?;
    let mut next_beat = Instant::now() + BEAT_EVERY;
    while !stop.load(Ordering::Relaxed) {
        if next_beat <= Instant::now() {
            volatile.beat(BEAT, &[])?;
            next_beat = Instant::now() + BEAT_EVERY;
        }
        for queue in queues.iter_mut() {
            let mut packet = None;
            while queue.receive(|queued| packet = Some(queued.id))? > 0 {
                if let Some(id) = packet.take() {
                    queue.verdict(id, Verdict::Accept)?;
                }
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut ready: Vec<PollFd<'_>> = queues
            .iter()
            .map(|queue| PollFd::from_borrowed_fd(queue.as_fd(), PollFlags::IN))
            .collect();
        match poll(&mut ready, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for packets"),
        }
    }
    Ok(())
}
