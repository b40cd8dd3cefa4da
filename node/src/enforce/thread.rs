//! The thread that owns the enforcer: commands, the kernel's notifications, and another attempt after trouble.

use super::{
    Command, EnforcedFeed, Enforcer, Kernel, NotEnforced, Observed, Positions, QUEUE, Reconciler,
    StartError,
    feed::Applied,
    inventory_of,
    listener::{Listener, Suspicion},
};
use crate::{
    backoff::Backoff,
    cause::chain,
    enforce::transaction::{Outcome, Rejection, Transaction},
    metrics::Metrics,
    service_manager::{WATCHDOG, tell},
};
use palisade_netfilter::Netfilter;
use palisade_policy::packet::Environment;
use std::{
    io,
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// A reconciler at work.
pub struct Running {
    /// How to speak to it.
    pub reconciler: Reconciler,
    /// Ends after `stop`, and never before: it is the life of the process.
    pub thread: JoinHandle<()>,
    /// For plugins and those who watch.
    pub feed: EnforcedFeed,
}

/// Starts the thread. Returns once the saved view, if there is one, is enforced, or cannot be.
///
/// # Errors
/// Our tables cannot be read, or the state directory cannot be used.
pub async fn start(
    dir: &Path,
    environment: Environment,
    metrics: Metrics,
) -> Result<Running, StartError> {
    start_on(Netfilter::open, dir, environment, metrics).await
}

/// The same, on a kernel that is opened on the thread.
///
/// # Errors
/// As [`start`].
pub async fn start_on<K: Kernel>(
    open: impl FnOnce() -> io::Result<K> + Send + 'static,
    dir: &Path,
    environment: Environment,
    metrics: Metrics,
) -> Result<Running, StartError> {
    let (commands, queue) = mpsc::channel(QUEUE);
    let (positions, positions_receiver) = watch::channel(Positions::default());
    let (observed, observed_receiver) = watch::channel(Observed::default());
    let (started, start) = oneshot::channel();
    let dir: PathBuf = dir.to_owned();
    let publisher = Publisher {
        positions,
        observed,
        metrics,
    };
    let thread = std::thread::Builder::new()
        .name("reconcile".to_owned())
        .spawn(move || {
            let open = || Owner::open(open()?, &dir, environment, queue, publisher);
            run(open, started);
        })?;
    match start.await {
        Ok(Ok(feed)) => Ok(Running {
            feed,
            reconciler: Reconciler {
                commands,
                positions: positions_receiver,
                observed: observed_receiver,
            },
            thread,
        }),
        Ok(Err(err)) => Err(err),
        Err(_) => Err(io::Error::other("the reconciler ended while starting").into()),
    }
}

struct Publisher {
    positions: watch::Sender<Positions>,
    observed: watch::Sender<Observed>,
    metrics: Metrics,
}

impl Publisher {
    fn publish<K: Kernel>(&self, enforcer: &Enforcer<K>) {
        let positions = enforcer.positions();
        let foreign = enforcer.foreign_changes();
        let told = self.metrics.foreign_changes.get();
        self.metrics
            .foreign_changes
            .inc_by(foreign.saturating_sub(told));
        let revision = |position: Option<palisade_policy::view::Position>| {
            i64::try_from(position.map_or(0, |at| at.revision)).unwrap_or(i64::MAX)
        };
        self.metrics.held_revision.set(revision(positions.have));
        self.metrics
            .enforced_revision
            .set(revision(positions.enforced));
        self.metrics.troubled.set(enforcer.is_troubled().into());
        let as_desired = positions.have.is_some() && positions.enforced == positions.have;
        self.metrics
            .set_ready(as_desired && !enforcer.is_troubled());
        self.positions.send_if_modified(|known| {
            let changed = *known != positions;
            *known = positions;
            changed
        });
        let observed = enforcer.observed();
        self.metrics
            .count_endpoints(observed.endpoints.values().map(|status| &status.state));
        self.observed.send_if_modified(|known| {
            let changed = *known != observed;
            *known = observed;
            changed
        });
    }
}

/// How long a transaction waits for the machine before it is handed back; the control plane then sends what is desired by
/// that time.
const PATIENCE: Duration = Duration::from_secs(30);
/// A foreign change is reported for this long.
const NEWS: Duration = Duration::from_secs(600);
/// A kernel that cannot queue is asked again so often: its module may have come.
const LOOK_EVERY: Duration = Duration::from_secs(5);

fn run<K: Kernel>(
    open: impl FnOnce() -> Result<Owner<K>, StartError>,
    started: oneshot::Sender<Result<EnforcedFeed, StartError>>,
) {
    // A small runtime of its own: waiting is asynchronous here, working is not.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(err) => {
            let _ = started.send(Err(err.into()));
            return;
        }
    };
    runtime.block_on(async {
        match open() {
            Ok(owner) => {
                let _ = started.send(Ok(owner.enforcer.feed().clone()));
                owner.run().await;
            }
            Err(err) => {
                let _ = started.send(Err(err));
            }
        }
    });
}

/// What the thread has.
struct Owner<K> {
    enforcer: Enforcer<K>,
    listener: Listener,
    queue: mpsc::Receiver<Command>,
    publisher: Publisher,
    patience: Backoff,
    /// The transaction that waits for the machine.
    waiting: Option<Waiting>,
    /// When to try again, while the kernel is not as it should be.
    retry: Option<Instant>,
    /// Until when the last foreign change is news.
    news: Option<Instant>,
    /// When to ask again whether the kernel can queue, while rules want it to.
    look: Option<Instant>,
    /// How often the service manager wants to hear from this thread, and when it will.
    watchdog: Option<(Duration, Instant)>,
}

/// A transaction that the machine cannot enforce for now.
struct Waiting {
    revision: u64,
    items: usize,
    received: Instant,
    reply: oneshot::Sender<Outcome>,
    /// When it is handed back.
    until: Instant,
}

enum Next {
    Command(Option<Command>),
    Heard,
    Retry,
    ForeignChangeExpired,
    Look,
    Watchdog,
}

impl<K: Kernel> Owner<K> {
    fn open(
        kernel: K,
        dir: &Path,
        environment: Environment,
        queue: mpsc::Receiver<Command>,
        publisher: Publisher,
    ) -> Result<Self, StartError> {
        let mut kernel = kernel;
        // Listens before the first read, so that no change falls between.
        let listener = Listener::start(&mut kernel);
        let enforcer = Enforcer::start(dir, kernel, environment)?;
        let watchdog = sd_notify::watchdog_enabled().map(|every| (every / 3, Instant::now()));
        let mut owner = Self {
            enforcer,
            listener,
            queue,
            publisher,
            patience: Backoff::stream(),
            waiting: None,
            retry: None,
            news: None,
            look: None,
            watchdog,
        };
        owner.after();
        Ok(owner)
    }

    async fn run(mut self) {
        loop {
            match self.next().await {
                Next::Command(None | Some(Command::Stop)) => return,
                Next::Command(Some(command)) => self.command(command),
                Next::Heard => self.heard(),
                Next::Retry => self.enforcer.settle(),
                Next::ForeignChangeExpired => {
                    self.news = None;
                    self.enforcer.forget_foreign();
                }
                Next::Look => {
                    self.look = None;
                    self.enforcer.look_for_queue();
                }
                Next::Watchdog => self.feed_watchdog(),
            }
            self.after();
        }
    }

    async fn next(&mut self) -> Next {
        let at = |instant: Option<Instant>| async move {
            match instant {
                Some(instant) => tokio::time::sleep_until(instant.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = self.queue.recv() => Next::Command(command),
            () = self.listener.wait() => Next::Heard,
            () = at(self.retry) => Next::Retry,
            () = at(self.news) => Next::ForeignChangeExpired,
            () = at(self.look) => Next::Look,
            () = at(self.watchdog.map(|(_, at)| at)) => Next::Watchdog,
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Transaction {
                transaction,
                received,
                reply,
            } => self.transact(transaction, received, reply),
            Command::Unchanged(position) => self.enforcer.unchanged(position),
            Command::Environment { environment, done } => {
                self.enforcer.set_environment(environment);
                let _ = done.send(());
            }
            Command::Inventory(reply) => {
                // Whoever asks has a new stream, and knows nothing of what waits.
                self.hand_back();
                let _ = reply.send(inventory_of(&self.enforcer));
            }
            Command::Basis(reply) => {
                let _ = reply.send(self.enforcer.basis());
            }
            Command::Condition(kind, condition) => self.enforcer.set_condition(kind, condition),
            Command::LookAtDisk => self.enforcer.look_at_disk(),
            Command::Uninstall(reply) => {
                self.hand_back();
                let removed = self.enforcer.uninstall();
                let _ = reply.send(removed.map_err(|err| chain(&err)));
            }
            Command::Stop => {}
        }
    }

    fn transact(
        &mut self,
        transaction: Transaction,
        received: Instant,
        reply: oneshot::Sender<Outcome>,
    ) {
        self.hand_back();
        let waiting = Waiting {
            revision: transaction.to.revision,
            items: transaction.ops.len(),
            received,
            reply,
            until: Instant::now() + PATIENCE,
        };
        match self.enforcer.transact(transaction) {
            Ok(()) => self.answer(waiting, Ok(())),
            Err(NotEnforced::Refused(rejection)) => self.answer(waiting, Err(rejection)),
            Err(NotEnforced::Waiting) => self.waiting = Some(waiting),
        }
    }

    /// The answer first; what need not delay it after.
    fn answer(&mut self, waiting: Waiting, result: Result<(), Rejection>) {
        // Published before the answer: whoever was answered sees it.
        self.publisher.publish(&self.enforcer);
        let metrics = &self.publisher.metrics;
        let Waiting {
            revision,
            items,
            received,
            reply,
            ..
        } = waiting;
        match result {
            Ok(()) => {
                let took = self
                    .enforcer
                    .read_back()
                    .saturating_duration_since(received);
                let _ = reply.send(Outcome::Applied {
                    micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                });
                metrics.applied.inc();
                metrics.apply_seconds.observe(took.as_secs_f64());
                tracing::info!(revision, ops = items, ?took, "view enforced");
                self.enforcer.feed().tell(Applied { revision, items });
            }
            Err(rejection) => {
                metrics.refused.inc();
                let items: Vec<_> = rejection
                    .items
                    .iter()
                    .map(|(id, _)| id.to_string())
                    .collect();
                tracing::warn!(
                    revision,
                    ?items,
                    err = rejection.message,
                    "view refused; the last good one stays"
                );
                let _ = reply.send(Outcome::Rejected(rejection));
            }
        }
        self.enforcer.tidy();
    }

    /// Gives up the transaction that waits.
    fn hand_back(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            match self.enforcer.give_up() {
                Some(rejection) => self.answer(waiting, Err(rejection)),
                None => self.decide(waiting),
            }
        }
    }

    fn decide(&mut self, waiting: Waiting) {
        match self.enforcer.decided() {
            Some(result) => self.answer(waiting, result),
            None => self.waiting = Some(waiting),
        }
    }

    /// Takes all that is queued, and repairs once.
    fn heard(&mut self) {
        let Some(suspicion) = self.listener.take(self.enforcer.kernel()) else {
            return;
        };
        let began = Instant::now();
        if matches!(suspicion, Suspicion::Changed(_)) {
            self.enforcer.guard();
        }
        let who = suspicion.who();
        if self.enforcer.repair(who) {
            self.news = Some(Instant::now() + NEWS);
            tracing::warn!(who, took = ?began.elapsed(), "our tables were changed by someone else; repaired");
        }
    }

    /// Says that this thread is alive: whatever hangs it ends the process, and the service manager starts another.
    fn feed_watchdog(&mut self) {
        if let Some((every, at)) = &mut self.watchdog {
            *at = Instant::now() + *every;
            let _ = tell(WATCHDOG, None);
        }
    }

    fn after(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.decide(waiting);
        }
        if self
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.until <= Instant::now() || waiting.reply.is_closed())
        {
            self.hand_back();
        }
        self.enforcer.set_deaf(!self.listener.hears());
        self.publisher.publish(&self.enforcer);
        if !self.enforcer.wants_retry() {
            self.patience.reset();
            self.retry = None;
        } else if self.retry.is_none_or(|at| at <= Instant::now()) {
            let wait = self.patience.next(&mut rand::rng());
            self.retry = Some(Instant::now() + wait);
        }
        let looks = self.enforcer.misses_queue();
        let next = self.look.unwrap_or_else(|| Instant::now() + LOOK_EVERY);
        self.look = looks.then_some(next);
    }
}
