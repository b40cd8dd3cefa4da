//! The thread that hears of logged packets and has auditors read them: there while the view has an auditor.
//!
//! What it does not come to stays in the kernel's buffer; what does not fit there has a number all the same, so that
//! delivered and lost are what the rules logged.

use super::{
    bus::Bus,
    chain::{Chain, Moment},
    emit::Emit,
    flows::Outbox,
    observe::{Sighting, flow},
    sink::{Directory, Failing},
};
use crate::{
    clock::time_ms,
    enforce::inventory,
    metrics::Metrics,
    plugins::bind_failures::{BindFailures, Number},
    plugins::interface_names::Names,
    plugins::loaded::LoadedPlugins,
};
use palisade_netfilter::nflog::{Counted, Log, Logged};
use palisade_plugin_host::{Action, Body, RuleId};
use palisade_ruleset::plugins::LogAction;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Events that are passed on together.
const BATCH: usize = 256;
/// Until the group is bound again, should that fail: somebody else may have it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what is logged waits for an auditor that is on its way; then it is as one that fails.
const ARRIVAL: Duration = Duration::from_secs(10);

/// What the thread has.
pub struct Audit {
    /// Group that rules log to.
    pub group: u16,
    /// Events from elsewhere, and its bounds.
    pub bus: Bus,
    /// What auditors emit.
    pub emit: Emit,
    /// Auditors that there are.
    pub loaded: watch::Receiver<Arc<LoadedPlugins>>,
    /// Names for numbers.
    pub inventory: inventory::Shared,
    /// Where files of sinks may be.
    pub sinks: Directory,
    /// Sinks that fail.
    pub failing: Failing,
    /// To the control plane.
    pub outbox: Outbox,
    /// Figures.
    pub metrics: Metrics,
    /// Whether the group could not be bound.
    pub bind_failures: BindFailures,
    /// Ends the thread.
    pub stop: watch::Receiver<bool>,
}

struct Hearing {
    log: Log,
    counted: Counted,
}

fn moment() -> Moment {
    Moment {
        now: Instant::now(),
        time_ms: time_ms(),
    }
}

impl Audit {
    /// Until told to stop.
    ///
    /// # Errors
    /// Waiting itself fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut names = Names::open()?;
        let mut chain = Chain::new(self.sinks.clone(), self.failing.clone());
        let mut hearing = None;
        let mut retry = Instant::now();
        let mut awaited = None;
        // The first look is at what is there.
        self.loaded.mark_changed();
        loop {
            // A closed channel is a daemon that ends.
            if self.loaded.has_changed().unwrap_or(false) {
                let loaded = Arc::clone(&self.loaded.borrow_and_update());
                chain.seat(&loaded, moment());
            }
            if *self.stop.borrow() || self.stop.has_changed().is_err() {
                self.listen(&mut hearing, &mut names);
                self.pass(&mut chain);
                self.settle(&mut chain);
                return Ok(());
            }
            if hearing.is_none() && retry <= Instant::now() {
                hearing = self.hear();
                retry = Instant::now() + PATIENCE;
            }
            let now = Instant::now();
            let until = chain
                .awaits()
                .then(|| *awaited.get_or_insert(now + ARRIVAL));
            match until {
                // The kernel's buffer and the bus keep what comes.
                Some(until) if until > now => {
                    self.wait(None, Some(until))?;
                    continue;
                }
                Some(_) => {}
                None => awaited = None,
            }
            let more = self.listen(&mut hearing, &mut names);
            self.pass(&mut chain);
            if !more && self.bus.waiting() == 0 {
                let until = [chain.next_flush(), hearing.is_none().then_some(retry)];
                self.wait(hearing.as_ref(), until.into_iter().flatten().min())?;
            }
        }
    }

    fn hear(&self) -> Option<Hearing> {
        match Log::open(self.group) {
            Ok(log) => {
                self.bind_failures.settled(Number::Group(self.group));
                Some(Hearing {
                    log,
                    counted: Counted::default(),
                })
            }
            Err(err) => {
                self.bind_failures.failed(Number::Group(self.group), &err);
                None
            }
        }
    }

    /// Takes what the kernel has, at most a batch or so; whether there may be more.
    fn listen(&self, hearing: &mut Option<Hearing>, names: &mut Names) -> bool {
        let Some(Hearing { log, counted }) = hearing else {
            return false;
        };
        let inventory = self.inventory.now();
        let now = time_ms();
        names.forget();
        let mut heard = 0;
        while heard < BATCH {
            let received = log.receive(|logged| {
                let body = sighting(&logged, names, &inventory);
                self.bus.tell(now, body);
            });
            let count = match received {
                Ok(count) => count,
                Err(err) => {
                    tracing::warn!(%err, "logged packets are no longer heard of");
                    *hearing = None;
                    return true;
                }
            };
            // What is missing was logged before what came.
            let total = log.counted();
            self.bus.lost(now, total.lost - counted.lost);
            *counted = total;
            if count == 0 {
                return false;
            }
            heard += count;
        }
        true
    }

    fn pass(&mut self, chain: &mut Chain) {
        let moment = moment();
        loop {
            let events = self.bus.take(BATCH, moment.time_ms);
            if events.is_empty() {
                break;
            }
            let inventory = self.inventory.now();
            let came = events
                .iter()
                .filter(|event| !matches!(event.body, Body::Lost(_)));
            self.metrics.plugins.audited(came.count());
            chain.pass(events, &inventory, &self.emit, moment, &mut self.outbox);
        }
        if chain.next_flush().is_some_and(|at| at <= moment.now) {
            chain.flush(&self.emit, moment, &mut self.outbox);
        }
        self.count(chain);
    }

    /// Adds what was lost meanwhile to the figures, which outlive this thread.
    fn count(&self, chain: &mut Chain) {
        let lost = self.bus.take_all_lost() + chain.take_lost();
        self.metrics
            .plugins
            .audit_lost(lost, chain.take_unwritten());
    }

    /// What auditors say last.
    fn settle(&mut self, chain: &mut Chain) {
        chain.end(&self.emit, moment(), &mut self.outbox);
        self.count(chain);
    }

    fn wait(&self, hearing: Option<&Hearing>, until: Option<Instant>) -> io::Result<()> {
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec::try_from(left + Duration::from_millis(1))
        });
        let timeout = timeout.transpose().map_err(io::Error::other)?;
        let mut ready = vec![PollFd::new(self.bus.wake(), PollFlags::IN)];
        let log = hearing.map(|hearing| hearing.log.as_fd());
        ready.extend(log.map(|log| PollFd::from_borrowed_fd(log, PollFlags::IN)));
        match poll(&mut ready, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        self.bus.wake().clear();
        Ok(())
    }
}

const fn action(told: LogAction) -> Action {
    match told {
        LogAction::Allow => Action::Allow,
        LogAction::Deny => Action::Deny,
        LogAction::Log => Action::Log,
    }
}

fn sighting(logged: &Logged<'_>, names: &mut Names, inventory: &inventory::Inventory) -> Body {
    let input = logged.input.and_then(|index| names.get(index));
    let output = logged.output.and_then(|index| names.get(index));
    let sighting = Sighting {
        action: logged.told.map_or(Action::Log, |(told, _)| action(told)),
        rule: RuleId(logged.told.map_or(0, |(_, rule)| rule.0)),
        family: logged.family,
        hook: logged.hook,
        input: input.as_ref(),
        output: output.as_ref(),
        bytes: logged.payload,
    };
    flow(&sighting, inventory)
}
