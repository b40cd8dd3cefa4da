//! The thread that answers: it reads the queues that the ruleset names, and beats as long as it can.
//!
//! The heartbeat is given by the thread that answers and by no other, so that a hang, a stop and a kill end it alike;
//! then the ruleset no longer queues. What waits in the kernel meanwhile waits for the answer, and nothing is let through.

use super::judge::{Judge, Waiting};
use crate::{
    clock::time_ms,
    enforce::gate::Gate,
    enforce::inventory,
    metrics::Metrics,
    plugins::audit::Bus,
    plugins::bind_failures::{BindFailures, Number},
    plugins::interface_names::Names,
    plugins::loaded::LoadedPlugins,
    wake::Wake,
};
use palisade_netfilter::{
    PutError, Remembered, Volatile,
    queue::{Queue, QueueConfig, Queued, Verdict},
};
use palisade_ruleset::plugins::Asking;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::BTreeMap,
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long a heartbeat lasts: so long a daemon that hangs holds up packets, which then are dropped or wait.
pub const HEARTBEAT: Duration = Duration::from_millis(1000);
/// How often it is given: one that is late, or two, are no loss.
const BEAT_EVERY: Duration = Duration::from_millis(250);
/// Bytes of a packet that are copied: the most payload that a plugin can ask for, and room for headers.
const COPY: u16 = 4096 + 256;
/// Packets that may wait.
const LENGTH: u32 = 4096;
/// Bytes of the socket's buffer.
const BUFFER: i32 = 8 * 1024 * 1024;
/// Answers that are written together at most.
const TOGETHER: usize = 64;
/// Packets that are answered before others have a turn: the heartbeat, other queues, answers to be remembered.
const TURN: usize = 64;
/// Until a queue is bound again, should that fail.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread has.
pub struct Worker {
    /// Writes heartbeats and remembered answers.
    pub volatile: Volatile,
    /// What the ruleset asks.
    pub gate: Gate,
    /// Plugins that there are.
    pub loaded: watch::Receiver<Arc<LoadedPlugins>>,
    /// Numbers of interfaces and endpoints.
    pub inventory: inventory::Shared,
    /// Who is told of faults.
    pub bus: Bus,
    /// Figures.
    pub metrics: Metrics,
    /// Queues that could not be bound.
    pub bind_failures: BindFailures,
    /// Ends the wait.
    pub wake: Wake,
    /// Ends the thread.
    pub stop: watch::Receiver<bool>,
}

struct Queues {
    open: BTreeMap<u16, Queue>,
    retry: Option<Instant>,
}

impl Worker {
    /// Until told to stop. Then the ruleset is told that nobody answers any more, and what waits is answered.
    ///
    /// # Errors
    /// A socket cannot be made, or waiting fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut judge = Judge::default();
        let mut names = Names::open()?;
        let mut volatile = self.volatile.clone();
        let mut queues = Queues {
            open: BTreeMap::new(),
            retry: None,
        };
        let mut known: Option<Arc<Asking>> = None;
        let mut next_beat = Instant::now();
        self.loaded.mark_changed();
        loop {
            let stopping = *self.stop.borrow() || self.stop.has_changed().is_err();
            let asking = self.gate.hold().clone();
            let changed = asking != known;
            if changed {
                judge.forget();
            }
            if self.loaded.has_changed().unwrap_or(false) {
                let loaded = Arc::clone(&self.loaded.borrow_and_update());
                judge.seat(loaded, Instant::now(), time_ms());
            }
            if let Some(asking) = &asking {
                queues.follow(asking, changed, &self.bind_failures);
            }
            known = asking;
            let answers = known.as_ref().is_some_and(|asking| queues.serve(asking));
            if stopping || !answers {
                next_beat = Instant::now() + BEAT_EVERY;
            } else if next_beat <= Instant::now() {
                self.beat(&mut volatile, HEARTBEAT);
                next_beat = Instant::now() + BEAT_EVERY;
            }
            if stopping {
                self.beat(&mut volatile, Duration::from_millis(1));
            }
            let mut more = false;
            for queue in queues.open.values_mut() {
                more |= self.turn(queue, &mut judge, &mut names, &mut volatile)?;
            }
            if stopping && !more {
                return Ok(());
            }
            if !more {
                self.wait(&queues, known.is_some(), next_beat)?;
            }
        }
    }

    fn beat(&self, volatile: &mut Volatile, lifetime: Duration) {
        match volatile.beat(lifetime) {
            Ok(()) => {}
            Err(PutError::Absent) => tracing::debug!("no rule asks plugins"),
            Err(err) => {
                tracing::warn!(%err, "no heartbeat; the ruleset applies failure policies");
            }
        }
    }

    /// Answers some of what waits; whether there may be more.
    fn turn(
        &self,
        queue: &mut Queue,
        judge: &mut Judge,
        names: &mut Names,
        volatile: &mut Volatile,
    ) -> io::Result<bool> {
        let mut remember = Vec::new();
        let mut more = true;
        names.forget();
        for _ in 0..TURN {
            let held = self.gate.hold();
            let Some(asking) = held.as_deref() else {
                more = false;
                break;
            };
            let inventory = self.inventory.now();
            let number = queue.number();
            let mut verdicts = Vec::new();
            let count = queue.receive(|queued| {
                let verdict = self.answer(
                    &queued,
                    number,
                    asking,
                    judge,
                    names,
                    &inventory,
                    &mut remember,
                );
                verdicts.push((queued.id, verdict));
            })?;
            // Within this call the packets go on through the ruleset that the gate keeps.
            queue.verdicts(&verdicts)?;
            drop(held);
            if remember.len() >= TOGETHER {
                self.remember(volatile, &mut remember);
            }
            if count == 0 {
                more = false;
                break;
            }
        }
        self.remember(volatile, &mut remember);
        let losses = queue.losses();
        let lost = losses.socket + losses.refused + losses.malformed;
        self.metrics.plugins.queue_lost(lost);
        Ok(more)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one packet, and all that its answer takes"
    )]
    fn answer(
        &self,
        queued: &Queued<'_>,
        number: u16,
        asking: &Asking,
        judge: &mut Judge,
        names: &mut Names,
        inventory: &inventory::Inventory,
        remember: &mut Vec<Remembered>,
    ) -> Verdict {
        let input = queued.input.and_then(|index| names.get(index));
        let output = queued.output.and_then(|index| names.get(index));
        let found = asking.questions(number, input.as_ref(), output.as_ref());
        let Some((_, questions)) = found else {
            // The ruleset that queued it asked; the one in force does not.
            self.metrics.plugins.packet("stale");
            return Verdict::Drop;
        };
        let waiting = Waiting {
            hook: queued.hook,
            family: queued.family,
            input: input.as_ref(),
            output: output.as_ref(),
            mark: queued.mark,
            bytes: queued.payload,
            time_ms: time_ms(),
        };
        let judged = judge.judge(questions, &waiting, inventory, &self.bus, remember);
        self.metrics.plugins.packet(if judged.complete {
            "answered"
        } else {
            "failed"
        });
        Verdict::Repeat { mark: judged.mark }
    }

    fn remember(&self, volatile: &mut Volatile, answers: &mut Vec<Remembered>) {
        for together in answers.chunks(TOGETHER) {
            match volatile.remember(together) {
                Ok(()) => self.metrics.plugins.remembered(together.len()),
                // Full, or asked no longer: packets go on being queued.
                Err(err) => tracing::debug!(%err, "answers not remembered"),
            }
        }
        answers.clear();
    }

    fn wait(&self, queues: &Queues, answers: bool, next_beat: Instant) -> io::Result<()> {
        let until = queues.retry.map_or(next_beat, |retry| retry.min(next_beat));
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut ready = vec![PollFd::new(&self.wake, PollFlags::IN)];
        if answers {
            let queues = queues.open.values();
            ready
                .extend(queues.map(|queue| PollFd::from_borrowed_fd(queue.as_fd(), PollFlags::IN)));
        }
        match poll(&mut ready, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        self.wake.clear();
        Ok(())
    }
}

impl Queues {
    /// Opens what rules name, closes what none names any more.
    fn follow(&mut self, asking: &Asking, changed: bool, bind_failures: &BindFailures) {
        let due = self.retry.is_some_and(|retry| retry <= Instant::now());
        if !changed && !due {
            return;
        }
        self.retry = None;
        let wanted = asking.queues();
        self.open.retain(|number, _| wanted.contains(number));
        bind_failures
            .forget(|known| matches!(known, Number::Queue(number) if !wanted.contains(&number)));
        let config = QueueConfig {
            copy: COPY,
            length: LENGTH,
            buffer: BUFFER,
        };
        for number in wanted {
            if self.open.contains_key(&number) {
                continue;
            }
            match Queue::open(number, &config) {
                Ok(queue) => {
                    self.open.insert(number, queue);
                    bind_failures.settled(Number::Queue(number));
                }
                Err(err) => {
                    bind_failures.failed(Number::Queue(number), &err);
                    self.retry = Some(Instant::now() + PATIENCE);
                }
            }
        }
    }

    /// Whether every queue that rules name is read.
    fn serve(&self, asking: &Asking) -> bool {
        let wanted = asking.queues();
        !wanted.is_empty() && wanted.iter().all(|number| self.open.contains_key(number))
    }
}
