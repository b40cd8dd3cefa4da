//! The stream to the control plane: connects, speaks for a [`Session`], and comes back with growing patience.
//!
//! Owns no policy: transactions go to the reconciler, whose answer is the acknowledgement. Whatever ends a stream ends
//! nothing else.

use crate::{
    arguments::Server,
    backoff::Backoff,
    cause::chain,
    condition::Condition,
    enforce::transaction::Outcome,
    enforce::{Observed, Reconciler},
    link::certificate::Certificate,
    link::connect::{connect, resolve},
    link::servers::Remembered,
    link::session::{Closed, Effect, Event, Session},
    metrics::Metrics,
    observe::report::report,
    plugins::audit::sink::{Directory, Failing},
    plugins::bind_failures::{BindFailures, Number},
    plugins::loaded::LoadedPlugins,
};
use palisade_identity::TlsError;
use palisade_policy::{
    ids::EndpointId, packet::Environment, plugin::Sink, resolve::EndpointStatus,
};
use palisade_proto::v1::{
    NodeReport, PluginReport, StreamViewRequest, StreamViewResponse,
    node_sync_service_client::NodeSyncServiceClient,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Requests that wait to be sent; the session waits when it is full.
const QUEUE: usize = 16;
/// A report follows a change of interfaces or endpoints at once, anything else after this time at the earliest.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What the stream needs of the rest of the daemon.
pub struct Sync {
    /// The control plane.
    pub server: Server,
    /// Its addresses, kept.
    pub remembered: Remembered,
    /// The certificate, as it is renewed.
    pub certificate: watch::Receiver<Arc<Certificate>>,
    /// Who enforces.
    pub reconciler: Reconciler,
    /// Addresses of the control plane, for the exemption.
    pub addresses: watch::Sender<Vec<SocketAddr>>,
    /// LogAction in `Hello`.
    pub capabilities: Vec<String>,
    /// Figures.
    pub metrics: Metrics,
    /// Plugins, which are reported.
    pub loaded: watch::Receiver<Arc<LoadedPlugins>>,
    /// Where files of their sinks may be.
    pub sinks: Directory,
    /// What their threads could not bind.
    pub bind_failures: BindFailures,
    /// Sinks that fail.
    pub failing: Failing,
    /// The connection, while there is one, for plugins and flows.
    pub channel: watch::Sender<Option<Channel>>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Connect(#[from] crate::link::connect::ConnectError),
    #[error("certificate")]
    Tls(#[from] TlsError),
    #[error("the control plane ended the stream: {}", .0.message())]
    Status(Box<tonic::Status>),
    #[error("the control plane closed the stream")]
    Closed,
    #[error(transparent)]
    Session(#[from] Closed),
}

impl Sync {
    /// For ever.
    pub async fn run(self) {
        let mut backoff = Backoff::stream();
        loop {
            let mut welcome = false;
            let ended = match self.stream(&mut welcome).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            self.channel.send_replace(None);
            self.metrics.connected.set(0);
            if welcome {
                backoff.reset();
            }
            let wait = backoff.next(&mut rand::rng());
            tracing::warn!(err = %chain(&ended), retry_in = ?wait, "not connected to the control plane; policy stays");
            tokio::time::sleep(wait).await;
        }
    }

    async fn stream(&self, welcome: &mut bool) -> Result<std::convert::Infallible, Ended> {
        let addresses = resolve(&self.server).await?;
        self.exempt(&addresses).await;
        let tls = self.certificate.borrow().tls()?;
        let channel = connect(&self.server, &addresses, tls).await?;
        let began = Instant::now();
        let positions = *self.reconciler.positions().borrow();
        let mut observed = self.reconciler.observed();
        let (bind_failures, failing) = (self.bind_failures.subscribe(), self.failing.subscribe());
        let (first, reported) = {
            let observed = observed.borrow_and_update();
            let report = self.tell(&observed, &self.loaded.borrow());
            let reported = Reported::now(&observed, &report);
            (report, reported)
        };
        let (session, hello) = Session::begin(
            positions.have,
            positions.enforced,
            first,
            self.capabilities.clone(),
            Duration::ZERO,
        );
        let (requests, outgoing) = mpsc::channel(QUEUE);
        // Room for one is there.
        let _ = requests.send(hello).await;
        let mut client = NodeSyncServiceClient::new(channel.clone());
        let open = client.stream_view(ReceiverStream::new(outgoing));
        let incoming = tokio::time::timeout(session.deadline(), open)
            .await
            .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer")))
            .map_err(|status| Ended::Status(Box::new(status)))?
            .into_inner();
        let conversation = Conversation {
            sync: self,
            channel,
            loaded: self.loaded.clone(),
            bind_failures,
            failing,
            session,
            requests,
            observed,
            began,
            deciding: None,
            reported,
        };
        conversation.run(incoming, welcome).await
    }

    fn tell(&self, observed: &Observed, loaded: &LoadedPlugins) -> NodeReport {
        report(
            observed,
            loaded,
            &self.sinks,
            &self.failing,
            &self.bind_failures,
        )
    }

    /// Opens the way before it is walked: the addresses are exempt before the connection is made.
    async fn exempt(&self, addresses: &[SocketAddr]) {
        let changed = self.addresses.send_if_modified(|known| {
            let changed = known != addresses;
            if changed {
                *known = addresses.to_vec();
            }
            changed
        });
        if changed {
            self.remembered.save(addresses);
            let mut environment = self.reconciler.observed().borrow().environment.clone();
            environment.control_plane = addresses.to_vec();
            self.reconciler.environment(environment).await;
        }
    }
}

type Deciding = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Conversation<'a> {
    sync: &'a Sync,
    session: Session,
    channel: Channel,
    loaded: watch::Receiver<Arc<LoadedPlugins>>,
    bind_failures: watch::Receiver<BTreeMap<Number, Condition>>,
    failing: watch::Receiver<BTreeMap<Sink, String>>,
    requests: mpsc::Sender<StreamViewRequest>,
    observed: watch::Receiver<Observed>,
    began: Instant,
    /// The transaction that the reconciler has; at most one.
    deciding: Option<Deciding>,
    reported: Reported,
}

/// The report sent last.
struct Reported {
    at: Instant,
    environment: Environment,
    endpoints: BTreeMap<EndpointId, EndpointStatus>,
    plugins: Vec<PluginReport>,
    /// Something else changed since.
    stale: bool,
}

impl Conversation<'_> {
    async fn run(
        mut self,
        mut incoming: tonic::Streaming<StreamViewResponse>,
        welcome: &mut bool,
    ) -> Result<std::convert::Infallible, Ended> {
        loop {
            let event = self.next(&mut incoming).await?;
            let effects = self.session.on_event(event, self.began.elapsed());
            if self.session.is_welcome() && !*welcome {
                *welcome = true;
                self.sync.channel.send_replace(Some(self.channel.clone()));
                self.sync.metrics.connected.set(1);
                self.sync.metrics.connections.inc();
                tracing::info!(server = %self.sync.server, "connected to the control plane");
            }
            for effect in effects {
                self.perform(effect).await?;
            }
        }
    }

    async fn next(
        &mut self,
        incoming: &mut tonic::Streaming<StreamViewResponse>,
    ) -> Result<Event, Ended> {
        loop {
            let deadline = self.began + self.session.deadline();
            let report_at = self.reported.at + REPORT_EVERY;
            let deciding = async {
                match &mut self.deciding {
                    Some(deciding) => deciding.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                outcome = deciding => {
                    self.deciding = None;
                    return Ok(Event::Decided(outcome));
                }
                message = incoming.message() => return match message {
                    Ok(Some(message)) => Ok(Event::Message(message)),
                    Ok(None) => Err(Ended::Closed),
                    Err(status) => Err(Ended::Status(Box::new(status))),
                },
                Ok(()) = self.observed.changed() => {
                    self.reported.stale = true;
                    let urgent = self.reported.is_outdated(&self.observed.borrow());
                    if urgent {
                        return Ok(self.report());
                    }
                }
                Ok(()) = self.bind_failures.changed() => self.reported.stale = true,
                Ok(()) = self.failing.changed() => self.reported.stale = true,
                Ok(()) = self.loaded.changed() => return Ok(self.report()),
                () = tokio::time::sleep_until(report_at.into()), if self.reported.stale || !self.reported.plugins.is_empty() => {
                    // Plugins are called, set aside, and come back, with nobody telling.
                    if self.reported.stale || self.loaded.borrow().report() != self.reported.plugins {
                        return Ok(self.report());
                    }
                    self.reported.at = Instant::now();
                }
                () = tokio::time::sleep_until(deadline.into()) => return Ok(Event::Tick),
            }
        }
    }

    fn report(&mut self) -> Event {
        let observed = self.observed.borrow_and_update();
        let loaded = self.loaded.borrow_and_update();
        let report = self.sync.tell(&observed, &loaded);
        self.reported = Reported::now(&observed, &report);
        Event::Report(report)
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), Ended> {
        let reconciler = &self.sync.reconciler;
        match effect {
            Effect::Send(request) => {
                // A closed channel is a stream that ended; the next message says why.
                let _ = self.requests.send(request).await;
            }
            Effect::Apply(transaction) => {
                let received = Instant::now();
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
                    if let Effect::Send(request) = effect {
                        let _ = self.requests.send(request).await;
                    }
                }
            }
            Effect::Close(closed) => return Err(closed.into()),
        }
        Ok(())
    }
}

impl Reported {
    fn now(observed: &Observed, report: &NodeReport) -> Self {
        Self {
            plugins: report.plugins.clone(),
            at: Instant::now(),
            environment: observed.environment.clone(),
            endpoints: observed.endpoints.clone(),
            stale: false,
        }
    }

    /// The control plane compiles and judges by what changed.
    fn is_outdated(&self, observed: &Observed) -> bool {
        self.environment != observed.environment || self.endpoints != observed.endpoints
    }
}
