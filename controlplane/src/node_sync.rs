//! `NodeSyncService`: carries events to a session and effects to the wire.

use crate::{
    access::Caller,
    hub::{Daemon, Hub, Opened, Replaced},
    session::{Compiled, Effect, Ending, Event, Session, Transaction},
    tls::Remote,
};
use palisade_proto::v1::{
    self, StreamViewRequest, StreamViewResponse, node_sync_service_server::NodeSyncService,
    stream_view_request::Message as FromNode, stream_view_response::Message as ToNode,
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, debug, info, info_span, warn};

/// Messages that may wait for a node's flow control; then the session waits too, and later views replace earlier ones.
const OUTBOUND: usize = 16;
/// How exactly pings and time-outs are kept.
const TICK: Duration = Duration::from_secs(5);
/// A node that takes no byte for so long is given up.
const STUCK: Duration = Duration::from_secs(60);

type Sender = mpsc::Sender<Result<StreamViewResponse, Status>>;

/// The service.
pub struct NodeSync {
    /// Where views come from.
    pub hub: Arc<Hub>,
}

#[tonic::async_trait]
impl NodeSyncService for NodeSync {
    type StreamViewStream = ReceiverStream<Result<StreamViewResponse, Status>>;

    async fn stream_view(
        &self,
        request: Request<Streaming<StreamViewRequest>>,
    ) -> Result<Response<Self::StreamViewStream>, Status> {
        let node = Caller::of(&request)?.node()?.to_owned();
        let remote = request.extensions().get::<Remote>();
        let address = remote
            .map(|remote| remote.address)
            .ok_or_else(|| Status::internal("the connection has no address"))?;
        let opened = self.hub.open(&node);
        let (sender, receiver) = mpsc::channel(OUTBOUND);
        let hub = Arc::clone(&self.hub);
        let span = info_span!("sync.session", node);
        let run = run(hub, node, opened, address, request.into_inner(), sender);
        tokio::spawn(run.instrument(span));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn run(
    hub: Arc<Hub>,
    node: String,
    opened: Opened,
    address: SocketAddr,
    mut inbound: Streaming<StreamViewRequest>,
    sender: Sender,
) {
    let Opened { stream, mut view } = opened;
    let mut replaced = None;
    let start = Instant::now();
    let mut session = Session::new(hub.epoch(), Duration::ZERO);
    let mut compiled = hub.watch_compiled();
    let mut ticks = tokio::time::interval(TICK);
    let closed = hub.closed();
    tokio::pin!(closed);
    info!("node connected");
    loop {
        let event = tokio::select! {
            // In this order: a view that is there already is known before Hello is answered.
            biased;
            by = newer(&mut replaced) => {
                warn!(?by, "a newer stream took over");
                let _ = sender.try_send(Err(taken_over(&by)));
                break;
            }
            () = &mut closed => {
                let _ = sender.try_send(Err(Status::unavailable("the control plane is stopping")));
                break;
            }
            changed = view.changed() => {
                if changed.is_err() { break }
                match latest(&hub, &node, &view.borrow_and_update()) {
                    Some(latest) => Event::View(latest),
                    None => continue,
                }
            }
            message = inbound.message() => match message {
                Ok(Some(StreamViewRequest { message: Some(message) })) => {
                    if let (FromNode::Hello(hello), None) = (&message, &replaced) {
                        let instance = hello.instance.clone();
                        let (memory, newer) = stream.attach(Daemon { instance, address });
                        session.recall(memory);
                        replaced = Some(newer);
                    }
                    stream.heard();
                    Event::Message(Box::new(message))
                }
                Ok(Some(StreamViewRequest { message: None })) => {
                    let _ = sender.try_send(Err(Status::invalid_argument("a message of an unknown kind")));
                    break;
                }
                Ok(None) => break,
                Err(status) => {
                    debug!(%status, "the stream failed");
                    break;
                }
            },
            _ = compiled.changed(), if session.waits_for_revision() => {
                match latest(&hub, &node, &view.borrow()) {
                    Some(latest) => Event::View(latest),
                    None => continue,
                }
            }
            _ = ticks.tick() => Event::Tick,
            () = sender.closed() => break,
        };
        let effects = session.on_event(start.elapsed(), event);
        if session.take_changed() {
            stream.remember(session.memory());
        }
        if !perform(&sender, effects).await {
            break;
        }
    }
    info!("node disconnected");
}

/// Resolves when a newer stream has taken over; a stream that serves nobody yet has nothing to lose.
async fn newer(replaced: &mut Option<oneshot::Receiver<Replaced>>) -> Replaced {
    if let Some(receiver) = replaced
        && let Ok(by) = receiver.await
    {
        return by;
    }
    std::future::pending().await
}

/// What the older stream is told: a node knows by the code whether another daemon has its identity.
fn taken_over(by: &Replaced) -> Status {
    match by {
        Replaced::BySameDaemon => Status::aborted("a newer stream of this daemon took over"),
        Replaced::ByAnotherDaemon(address) => Status::already_exists(format!(
            "another daemon with the identity of this node took over, from {address}"
        )),
    }
}

/// The view, good for whatever has been compiled of this node by now.
fn latest(hub: &Hub, node: &str, view: &Option<Compiled>) -> Option<Compiled> {
    let mut latest = view.clone()?;
    latest.revision = hub.good_for(node, &latest);
    Some(latest)
}

/// False when the stream has ended.
async fn perform(sender: &Sender, effects: Vec<Effect>) -> bool {
    for effect in effects {
        let sent = match effect {
            Effect::Send(message) => send(sender, message).await,
            Effect::Transaction(transaction) => send_transaction(sender, transaction).await,
            Effect::Close(ending) => {
                warn!(%ending, "stream ended");
                let _ = sender.try_send(Err(status(&ending)));
                false
            }
        };
        if !sent {
            return false;
        }
    }
    true
}

async fn send_transaction(sender: &Sender, transaction: Transaction) -> bool {
    let bytes = transaction.begin.total_bytes;
    let revision = transaction.begin.to.as_ref().map(|to| to.revision);
    debug!(bytes, revision, "transaction sent");
    if !send(sender, ToNode::Begin(transaction.begin)).await {
        return false;
    }
    for data in transaction.chunks {
        if !send(sender, ToNode::Chunk(v1::Chunk { data })).await {
            return false;
        }
    }
    send(sender, ToNode::Commit(transaction.commit)).await
}

async fn send(sender: &Sender, message: ToNode) -> bool {
    let response = StreamViewResponse {
        message: Some(message),
    };
    match sender.send_timeout(Ok(response), STUCK).await {
        Ok(()) => true,
        Err(_) => {
            debug!("the node takes no more messages");
            false
        }
    }
}

fn status(ending: &Ending) -> Status {
    match ending {
        Ending::Protocol(_) => Status::invalid_argument(ending.to_string()),
        Ending::Schema { .. } => Status::failed_precondition(ending.to_string()),
        Ending::Silent | Ending::Unanswered => Status::deadline_exceeded(ending.to_string()),
    }
}
