//! The thread that answers: it reads the queues that the ruleset names, and beats as long as it can.
//!
//! The heartbeat is given by the thread that answers and by no other, so that a hang, a stop and a kill end it alike;
//! then the ruleset no longer queues. What waits in the kernel meanwhile waits for the answer, and nothing is let through.

use super::{
    judge::{Judge, Waiting},
    tags::{Found, Tags},
};
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
/// Datagrams of a queue that are answered before others have a turn: other queues, answers to be remembered.
const TURN: usize = 64;
/// How long that may take: a call of a slow plugin takes up to twenty milliseconds.
const TURN_TIME: Duration = Duration::from_millis(25);
/// How often the kernel is asked what found a queue full.
const LOOK_EVERY: Duration = Duration::from_secs(1);
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
    open: BTreeMap<u16, Open>,
    retry: Option<Instant>,
}

/// A queue, and how many of its losses were told.
struct Open {
    queue: Queue,
    told: u64,
}

/// What one turn has of it all.
struct Desk {
    judge: Judge,
    names: Names,
    volatile: Volatile,
    tags: Tags,
    heart: Heart,
}

/// When the next heartbeat is due; pure. It is given between packets, too: plugins that are slow are not dead.
struct Heart {
    next: Instant,
    /// Every queue that rules name is read.
    answers: bool,
}

impl Heart {
    /// Whether to give one now.
    fn due(&mut self, now: Instant) -> bool {
        if !self.answers || now < self.next {
            return false;
        }
        self.next = now + BEAT_EVERY;
        true
    }

    /// Whether rules are answered for from now on. Those that were not before are at the next look.
    fn answers(&mut self, answers: bool, now: Instant) {
        if !answers {
            self.next = now + BEAT_EVERY;
        }
        self.answers = answers;
    }
}

/// What is left of a queue's turn; pure.
struct Turn {
    datagrams: usize,
    until: Instant,
}

impl Turn {
    fn begin(now: Instant) -> Self {
        Self {
            datagrams: TURN,
            until: now + TURN_TIME,
        }
    }

    /// Whether another datagram may be taken. One always is.
    fn goes_on(&mut self, now: Instant) -> bool {
        let first = self.datagrams == TURN;
        let goes_on = first || (self.datagrams > 0 && now < self.until);
        self.datagrams = self.datagrams.saturating_sub(1);
        goes_on
    }
}

impl Worker {
    /// Until told to stop. Then the ruleset is told that nobody answers any more, and what waits is answered.
    ///
    /// # Errors
    /// A socket cannot be made, or waiting fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut desk = Desk {
            judge: Judge::default(),
            names: Names::open()?,
            volatile: self.volatile.clone(),
            tags: Tags::default(),
            heart: Heart {
                next: Instant::now(),
                answers: false,
            },
        };
        let mut queues = Queues {
            open: BTreeMap::new(),
            retry: None,
        };
        // Those of a daemon before this one.
        self.forget_tags(&mut desk);
        let mut known: Option<Arc<Asking>> = None;
        let mut next_look = Instant::now() + LOOK_EVERY;
        self.loaded.mark_changed();
        loop {
            let stopping = *self.stop.borrow() || self.stop.has_changed().is_err();
            let asking = self.gate.hold().clone();
            let changed = asking != known;
            if changed {
                desk.judge.forget();
            }
            if self.loaded.has_changed().unwrap_or(false) {
                let loaded = Arc::clone(&self.loaded.borrow_and_update());
                desk.judge.seat(loaded, Instant::now(), time_ms());
            }
            if let Some(asking) = &asking {
                for lost in queues.follow(asking, changed, &self.bind_failures) {
                    self.lost(lost);
                }
            }
            known = asking;
            let answers = known.as_ref().is_some_and(|asking| queues.serve(asking));
            desk.heart.answers(answers && !stopping, Instant::now());
            self.beat_if_due(&mut desk);
            if stopping {
                self.beat(&mut desk, Duration::from_millis(1));
            }
            let look = next_look <= Instant::now();
            if look {
                next_look = Instant::now() + LOOK_EVERY;
            }
            let mut more = false;
            for open in queues.open.values_mut() {
                more |= self.turn(&mut open.queue, &mut desk)?;
                if look && let Err(err) = open.queue.look() {
                    tracing::debug!(%err, "what finds a queue full is not seen");
                }
                self.lost(open.more_lost());
            }
            if stopping && !more {
                for open in std::mem::take(&mut queues.open).into_values() {
                    self.lost(open.close());
                }
                return Ok(());
            }
            if !more {
                let until = desk.heart.next.min(next_look);
                self.wait(&queues, known.is_some(), until)?;
            }
        }
    }

    /// Tells of packets that were lost, wherever.
    fn lost(&self, more: u64) {
        if more > 0 {
            self.metrics.plugins.queue_lost(more);
            self.bus.lost_packets(time_ms(), more);
        }
    }

    fn beat_if_due(&self, desk: &mut Desk) {
        if desk.heart.due(Instant::now()) {
            self.beat(desk, HEARTBEAT);
        }
    }

    /// Tags are given anew with each beat: whoever makes the table anew has neither.
    fn beat(&self, desk: &mut Desk, lifetime: Duration) {
        let now = Instant::now();
        match desk.volatile.beat(lifetime, &desk.tags.in_use(now)) {
            Ok(()) => desk.tags.renewed(now),
            Err(PutError::Absent) => tracing::debug!("no rule asks plugins"),
            Err(err) => {
                tracing::warn!(%err, "no heartbeat; the ruleset applies failure policies");
                if matches!(err, PutError::Taken) {
                    self.forget_tags(desk);
                }
            }
        }
    }

    fn forget_tags(&self, desk: &mut Desk) {
        desk.tags.clear();
        match desk.volatile.forget_tags() {
            Ok(()) | Err(PutError::Absent) => {}
            Err(err) => tracing::warn!(%err, "tags of a daemon before are not forgotten"),
        }
    }

    /// The tag for a packet that was queued with this mark; the kernel knows it. Absent: it cannot be told.
    fn tag(&self, desk: &mut Desk, queued: u32) -> Option<u32> {
        /// Another one may stand for another mark.
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            let now = Instant::now();
            let tag = match desk.tags.of(queued, now) {
                Found::Known(tag) => return Some(tag),
                Found::New(tag) => tag,
            };
            match desk.volatile.tag(tag) {
                Ok(()) => {
                    desk.tags.told(&tag, now);
                    return Some(tag.tag);
                }
                Err(PutError::Taken) => self.forget_tags(desk),
                Err(err) => {
                    tracing::warn!(%err, "a packet with answers has no mark to carry them; it is dropped");
                    return None;
                }
            }
        }
        None
    }

    /// Answers some of what waits; whether there may be more.
    fn turn(&self, queue: &mut Queue, desk: &mut Desk) -> io::Result<bool> {
        let mut remember = Vec::new();
        let mut more = true;
        let mut turn = Turn::begin(Instant::now());
        desk.names.forget();
        while turn.goes_on(Instant::now()) {
            self.beat_if_due(desk);
            let held = self.gate.hold();
            let Some(asking) = held.as_deref() else {
                more = false;
                break;
            };
            let inventory = self.inventory.now();
            let number = queue.number();
            let mut verdicts = Vec::new();
            let count = queue.receive(|queued| {
                let verdict = self.answer(&queued, number, asking, desk, &inventory, &mut remember);
                verdicts.push((queued.id, verdict));
            })?;
            // Within this call the packets go on through the ruleset that the gate keeps.
            queue.verdicts(&verdicts)?;
            drop(held);
            if remember.len() >= TOGETHER {
                self.remember(&mut desk.volatile, &mut remember);
            }
            if count == 0 {
                more = false;
                break;
            }
        }
        self.remember(&mut desk.volatile, &mut remember);
        Ok(more)
    }

    fn answer(
        &self,
        queued: &Queued<'_>,
        number: u16,
        asking: &Asking,
        desk: &mut Desk,
        inventory: &inventory::Inventory,
        remember: &mut Vec<Remembered>,
    ) -> Verdict {
        let input = queued.input.and_then(|index| desk.names.get(index));
        let output = queued.output.and_then(|index| desk.names.get(index));
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
            bytes: queued.payload,
            time_ms: time_ms(),
        };
        let judge = &mut desk.judge;
        let judged = judge.judge(questions, &waiting, inventory, &self.bus, remember);
        let Some(tag) = self.tag(desk, queued.mark) else {
            self.metrics.plugins.packet("untagged");
            return Verdict::Drop;
        };
        self.metrics.plugins.packet(if judged.complete {
            "answered"
        } else {
            "failed"
        });
        let mark = questions.answered(tag, judged.answers);
        Verdict::Repeat { mark }
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

    fn wait(&self, queues: &Queues, answers: bool, next: Instant) -> io::Result<()> {
        let until = queues.retry.map_or(next, |retry| retry.min(next));
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut ready = vec![PollFd::new(&self.wake, PollFlags::IN)];
        if answers {
            let queues = queues.open.values();
            ready.extend(
                queues.map(|open| PollFd::from_borrowed_fd(open.queue.as_fd(), PollFlags::IN)),
            );
        }
        match poll(&mut ready, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        self.wake.clear();
        Ok(())
    }
}

impl Open {
    /// Packets lost since this was last asked.
    fn more_lost(&mut self) -> u64 {
        let total = self.queue.losses().total();
        total.saturating_sub(std::mem::replace(&mut self.told, total))
    }

    /// The same, and those that are lost as it is closed.
    fn close(self) -> u64 {
        self.queue.close().total().saturating_sub(self.told)
    }
}

impl Queues {
    /// Opens what rules name, closes what none names any more; the packets that were lost with each that is closed.
    fn follow(&mut self, asking: &Asking, changed: bool, bind_failures: &BindFailures) -> Vec<u64> {
        let due = self.retry.is_some_and(|retry| retry <= Instant::now());
        if !changed && !due {
            return Vec::new();
        }
        self.retry = None;
        let wanted = asking.queues();
        let gone = self
            .open
            .extract_if(.., |number, _| !wanted.contains(number));
        let lost = gone.map(|(_, open)| open.close()).collect();
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
                    self.open.insert(number, Open { queue, told: 0 });
                    bind_failures.settled(Number::Queue(number));
                }
                Err(err) => {
                    bind_failures.failed(Number::Queue(number), &err);
                    self.retry = Some(Instant::now() + PATIENCE);
                }
            }
        }
        lost
    }

    /// Whether every queue that rules name is read.
    fn serve(&self, asking: &Asking) -> bool {
        let wanted = asking.queues();
        !wanted.is_empty() && wanted.iter().all(|number| self.open.contains_key(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heart_beats_on_time_between_packets_that_take_long_and_not_while_nobody_answers() {
        let begun = Instant::now();
        let mut heart = Heart {
            next: begun,
            answers: false,
        };
        assert!(!heart.due(begun + HEARTBEAT));
        heart.answers(true, begun);
        // Calls of the longest allowed time, one after the other, for ten seconds.
        let call = Duration::from_millis(20);
        let beats: Vec<Instant> = (0..500)
            .map(|number| begun + call * number)
            .filter(|now| heart.due(*now))
            .collect();
        let gaps = beats.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| gap < BEAT_EVERY + call * 2));
        assert!(beats.len() > 35, "{}", beats.len());
        let later = begun + Duration::from_secs(20);
        heart.answers(false, later);
        assert!(!heart.due(later + HEARTBEAT));
        heart.answers(true, later + HEARTBEAT);
        assert!(heart.due(later + HEARTBEAT));
    }

    #[test]
    fn a_turn_ends_by_number_or_by_time_and_always_takes_one() {
        let begun = Instant::now();
        let mut quick = Turn::begin(begun);
        let taken = (0..1_000).take_while(|_| quick.goes_on(begun)).count();
        assert_eq!(taken, TURN);
        let mut slow = Turn::begin(begun);
        let call = Duration::from_millis(20);
        let taken = (0..1_000_u32)
            .take_while(|number| slow.goes_on(begun + call * *number))
            .count();
        assert_eq!(taken, 2);
        let mut late = Turn::begin(begun);
        assert!(late.goes_on(begun + HEARTBEAT));
        assert!(!late.goes_on(begun + HEARTBEAT));
    }
}
