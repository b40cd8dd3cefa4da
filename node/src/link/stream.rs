//! The stream to the control plane: connects, speaks for a [`Session`], and comes back with growing patience.
//!
//! Owns no policy: transactions go to the reconciler, whose answer is the acknowledgement. Whatever ends a stream ends
//! nothing else.

use crate::{
    arguments::Server,
    cause::chain,
    enforce::{Observed, Reconciler},
    link::certificate::Certificate,
    link::session::{Closed, Greeting, Life, Session},
    link::state::{Link, kind},
    link::way::{Role, Way},
    metrics::Metrics,
    observe::report::{Sources, report},
    plugins::audit::sink::{Directory, Failing},
    plugins::bind_failures::BindFailures,
    plugins::loaded::LoadedPlugins,
};
use conversation::{Conversation, Watched};
use palisade_identity::TlsError;
use palisade_proto::v1::{
    NodeReport, StreamViewResponse, node_sync_service_client::NodeSyncServiceClient,
};
use patience::Patience;
use reporting::Reported;
use requests::Requests;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tonic::{Code, transport::Channel};

mod conversation;
mod patience;
mod reporting;
mod requests;

/// What the stream needs of the rest of the daemon.
pub struct Sync {
    /// The way to the control plane.
    pub way: Way,
    /// The certificate, as it is renewed.
    pub certificate: watch::Receiver<Arc<Certificate>>,
    /// Who enforces.
    pub reconciler: Reconciler,
    /// Of this daemon, in `Hello`.
    pub instance: [u8; 16],
    /// Of the kernel, in `Hello`.
    pub capabilities: Vec<String>,
    /// Figures.
    pub metrics: Metrics,
    /// What people are told of the stream.
    pub link: Link,
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

impl Ended {
    /// Another daemon with our identity took over.
    fn is_contested(&self) -> bool {
        matches!(self, Self::Status(status) if status.code() == Code::AlreadyExists)
    }
}

/// A stream that ended, or never began.
struct Failed {
    ended: Ended,
    life: Life,
}

impl From<Ended> for Failed {
    fn from(ended: Ended) -> Self {
        let life = Life::Brief;
        Self { ended, life }
    }
}

/// Attempts for ever, with pauses that grow until a stream is good for something.
async fn keep_trying<F: Future<Output = Failed>>(link: &Link, mut attempt: impl FnMut() -> F) -> ! {
    let mut patience = Patience::new();
    loop {
        link.trying();
        let Failed { ended, life } = attempt().await;
        let err = chain(&ended);
        if ended.is_contested() {
            link.set(kind::DUPLICATE, "TakenOver", err.clone());
        }
        let wait = patience.after(&ended, life, &mut rand::rng());
        tracing::warn!(err, retry_in = ?wait, "not connected to the control plane; policy stays");
        link.failed(err, wait);
        tokio::time::sleep(wait).await;
    }
}

impl Sync {
    /// For ever.
    pub async fn run(self) -> ! {
        keep_trying(&self.link, || self.attempt()).await
    }

    async fn attempt(&self) -> Failed {
        let failed = match self.open().await {
            Ok((conversation, incoming)) => conversation.run(incoming).await,
            Err(ended) => ended.into(),
        };
        self.channel.send_replace(None);
        self.metrics.connected.set(0);
        failed
    }

    async fn open(
        &self,
    ) -> Result<(Conversation<'_>, tonic::Streaming<StreamViewResponse>), Ended> {
        let tls = self.certificate.borrow().tls()?;
        let channel = self.way.connect(Role::Api, tls).await?;
        let began = Instant::now();
        let mut watched = Watched {
            positions: self.reconciler.positions(),
            observed: self.reconciler.observed(),
            loaded: self.loaded.clone(),
            bind_failures: self.bind_failures.subscribe(),
            failing: self.failing.subscribe(),
            link: self.link.subscribe(),
        };
        let (first, reported) = {
            let observed = watched.observed.borrow_and_update();
            let report = self.tell(&observed, &watched.loaded.borrow_and_update());
            let reported = Reported::new(&observed, &report, began);
            (report, reported)
        };
        let positions = *watched.positions.borrow_and_update();
        let greeting = Greeting {
            instance: self.instance,
            capabilities: self.capabilities.clone(),
            report: first,
        };
        let (session, hello) = Session::begin(positions, greeting, Duration::ZERO);
        let (requests, outgoing) = Requests::begin(hello);
        let mut client = NodeSyncServiceClient::new(channel.clone());
        let open = client.stream_view(outgoing);
        let incoming = tokio::time::timeout(session.deadline(), open)
            .await
            .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer")))
            .map_err(|status| Ended::Status(Box::new(status)))?
            .into_inner();
        let conversation = Conversation {
            sync: self,
            session,
            channel,
            requests,
            watched,
            began,
            deciding: None,
            reported,
            welcome: false,
        };
        Ok((conversation, incoming))
    }

    fn server(&self) -> &Server {
        self.way.server(Role::Api)
    }

    fn tell(&self, observed: &Observed, loaded: &LoadedPlugins) -> NodeReport {
        report(&Sources {
            observed,
            plugins: loaded,
            sinks: &self.sinks,
            failing: &self.failing,
            bind_failures: &self.bind_failures,
            link: &self.link.conditions(),
        })
    }
}

#[cfg(test)]
mod tests;
