//! One stream at work: carries events to the session and performs what it wants done.

use super::{Ended, Failed, Sync, reporting::Reported, requests::Requests};
use crate::{
    condition::Condition,
    enforce::{Observed, Positions, transaction::Outcome},
    link::session::{Effect, Event, Life, Session},
    link::state::{LinkState, kind},
    plugins::bind_failures::Number,
    plugins::loaded::LoadedPlugins,
};
use palisade_policy::plugin::Sink;
use palisade_proto::v1::StreamViewResponse;
use std::{collections::BTreeMap, convert::Infallible, pin::Pin, sync::Arc};
use tokio::{sync::watch, time::Instant};
use tonic::transport::Channel;

type Deciding = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Incoming = tonic::Streaming<StreamViewResponse>;

/// A stream that was opened.
pub(super) struct Conversation<'a> {
    pub(super) sync: &'a Sync,
    pub(super) session: Session,
    pub(super) channel: Channel,
    pub(super) requests: Requests,
    pub(super) watched: Watched,
    pub(super) began: Instant,
    /// The transaction that the reconciler has; at most one.
    pub(super) deciding: Option<Deciding>,
    pub(super) reported: Reported,
    pub(super) welcome: bool,
}

/// What is reported as it changes.
pub(super) struct Watched {
    pub(super) positions: watch::Receiver<Positions>,
    pub(super) observed: watch::Receiver<Observed>,
    pub(super) loaded: watch::Receiver<Arc<LoadedPlugins>>,
    pub(super) bind_failures: watch::Receiver<BTreeMap<Number, Condition>>,
    pub(super) failing: watch::Receiver<BTreeMap<Sink, String>>,
    pub(super) link: watch::Receiver<LinkState>,
}

impl Conversation<'_> {
    pub(super) async fn run(mut self, incoming: Incoming) -> Failed {
        let Err(ended) = self.converse(incoming).await;
        let life = self.session.life(self.began.elapsed());
        Failed { ended, life }
    }

    async fn converse(&mut self, mut incoming: Incoming) -> Result<Infallible, Ended> {
        loop {
            let event = self.next(&mut incoming).await?;
            let effects = self.session.on_event(event, self.began.elapsed());
            self.tell_progress();
            for effect in effects {
                self.perform(effect).await?;
            }
        }
    }

    /// Says once that the control plane has answered, and later that nobody else has our identity.
    fn tell_progress(&mut self) {
        let sync = self.sync;
        if self.session.is_welcome() && !std::mem::replace(&mut self.welcome, true) {
            sync.channel.send_replace(Some(self.channel.clone()));
            sync.metrics.connected.set(1);
            sync.metrics.connections.inc();
            sync.link.connected();
            tracing::info!(server = %sync.server(), "connected to the control plane");
        }
        if self.session.life(self.began.elapsed()) == Life::Uncontested {
            sync.link.clear(kind::DUPLICATE);
        }
    }

    async fn next(&mut self, incoming: &mut Incoming) -> Result<Event, Ended> {
        loop {
            let deadline = self.began + self.session.deadline();
            let report_at = self.report_at();
            let deciding = async {
                match &mut self.deciding {
                    Some(deciding) => deciding.await,
                    None => std::future::pending().await,
                }
            };
            let report_due = async {
                match report_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let watched = &mut self.watched;
            tokio::select! {
                biased;
                outcome = deciding => {
                    self.deciding = None;
                    let enforced = watched.positions.borrow().enforced;
                    return Ok(Event::Decided { outcome, enforced });
                }
                message = incoming.message() => return match message {
                    Ok(Some(message)) => Ok(Event::Message(message)),
                    Ok(None) => Err(Ended::Closed),
                    Err(status) => Err(Ended::Status(Box::new(status))),
                },
                () = tokio::time::sleep_until(deadline) => return Ok(Event::Tick),
                () = report_due => {
                    let plugins = || watched.loaded.borrow().report();
                    if self.reported.has_news(plugins, Instant::now()) {
                        return Ok(self.report());
                    }
                }
                // What this changes is looked at as the loop begins anew.
                Ok(()) = watched.positions.changed() => {}
                Ok(()) = watched.observed.changed() => {
                    self.reported.observe(&watched.observed.borrow_and_update());
                }
                Ok(()) = watched.loaded.changed() => self.reported.hurry(),
                Ok(()) = watched.bind_failures.changed() => self.reported.outdate(),
                Ok(()) = watched.failing.changed() => self.reported.outdate(),
                Ok(()) = watched.link.changed() => self.reported.outdate(),
            }
        }
    }

    /// When to report, if the control plane listens already.
    fn report_at(&mut self) -> Option<Instant> {
        let positions = *self.watched.positions.borrow_and_update();
        if self.session.owes(positions.enforced.as_ref()) {
            self.reported.hurry();
        }
        self.reported.due().filter(|_| self.session.is_welcome())
    }

    fn report(&mut self) -> Event {
        let enforced = self.watched.positions.borrow_and_update().enforced;
        let observed = self.watched.observed.borrow_and_update();
        let loaded = self.watched.loaded.borrow_and_update();
        let report = self.sync.tell(&observed, &loaded);
        self.reported = Reported::new(&observed, &report, Instant::now());
        Event::Report { report, enforced }
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), Ended> {
        let reconciler = &self.sync.reconciler;
        match effect {
            Effect::Send(request) => {
                let until = self.began + self.session.silent_at();
                let sent = self.requests.send(request, until).await;
                return sent.map_err(|_| self.session.silent().into());
            }
            Effect::Apply(transaction) => {
                let received = std::time::Instant::now();
                let reconciler = reconciler.clone();
                self.deciding = Some(Box::pin(async move {
                    reconciler.apply(transaction, received).await
                }));
            }
            Effect::Unchanged(position) => reconciler.unchanged(position).await,
            Effect::MakeInventory => {
                let event = Event::Inventory(reconciler.inventory().await);
                let effects = self.session.on_event(event, self.began.elapsed());
                for effect in effects {
                    Box::pin(self.perform(effect)).await?;
                }
            }
            Effect::Close(closed) => return Err(closed.into()),
        }
        Ok(())
    }
}
