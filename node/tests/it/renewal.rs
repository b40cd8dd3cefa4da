//! A node's certificate against the authority of the control plane, over TLS.

use jiff::{SignedDuration, Timestamp};
use palisade_identity::{Authority, ClientCertificates, Identity, Peer, PrivateKey, server_config};
use palisade_node::{
    arguments::Server,
    enforce::Observed,
    link::certificate::{Certificate, keep_renewed},
    link::connect::connect,
    link::state::Link,
    link::way::{Servers, Way},
};
use palisade_proto::v1::{
    Hello, RenewCertificateRequest, RenewCertificateResponse, StreamViewRequest,
    StreamViewResponse, Welcome,
    certificate_service_client::CertificateServiceClient,
    certificate_service_server::{CertificateService, CertificateServiceServer},
    node_sync_service_server::{NodeSyncService, NodeSyncServiceServer},
    stream_view_request as up, stream_view_response as down,
};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Nothing takes longer, unless it never happens.
const DEADLINE: Duration = Duration::from_secs(30);

/// How a control plane answers a stream's Hello, after its Welcome.
#[derive(Clone)]
pub(crate) enum Answer {
    /// The stream stays open.
    Nothing,
    /// The stream ends so.
    End(Status),
}

/// The part of a control plane that renews, and welcomes streams.
#[derive(Clone)]
pub(crate) struct Plane {
    authority: Arc<Authority>,
    /// What nodes said when they opened a stream, in order.
    pub(crate) hellos: watch::Sender<Vec<Hello>>,
    pub(crate) answer: Arc<Mutex<Answer>>,
    /// Serial numbers that clients have shown, in order; `refused` is a handshake that failed.
    observed: watch::Sender<Vec<String>>,
    /// Requests to be refused before one is served.
    unwilling: Arc<AtomicUsize>,
    last: Arc<Mutex<Option<Identity>>>,
}

#[tonic::async_trait]
impl CertificateService for Plane {
    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let before = self
            .unwilling
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if before.is_ok() {
            return Err(Status::unavailable("not now"));
        }
        let identity = self.last.lock().expect("whole").clone();
        let Some(Identity::Node(name)) = identity else {
            return Err(Status::permission_denied("not a node"));
        };
        let csr = request.into_inner().csr;
        let chain = self.authority.issue_node(&name, &csr, Timestamp::now());
        Ok(Response::new(RenewCertificateResponse {
            certificate_chain: chain.map_err(|err| Status::internal(err.to_string()))?,
            ca_bundle: self.authority.bundle().to_owned(),
        }))
    }
}

#[tonic::async_trait]
impl NodeSyncService for Plane {
    type StreamViewStream = ReceiverStream<Result<StreamViewResponse, Status>>;

    async fn stream_view(
        &self,
        request: Request<Streaming<StreamViewRequest>>,
    ) -> Result<Response<Self::StreamViewStream>, Status> {
        let (sender, receiver) = mpsc::channel(4);
        let plane = self.clone();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            while let Ok(Some(StreamViewRequest { message })) = requests.message().await {
                let Some(up::Message::Hello(hello)) = message else {
                    continue;
                };
                let welcome = down::Message::Welcome(Welcome {
                    schema: hello.max_schema,
                    ..Welcome::default()
                });
                plane.hellos.send_modify(|hellos| hellos.push(hello));
                let message = Some(welcome);
                let _ = sender.send(Ok(StreamViewResponse { message })).await;
                let answer = plane.answer.lock().expect("whole").clone();
                if let Answer::End(status) = answer {
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Plane {
    pub(crate) async fn start(dir: &Path) -> (Self, Server) {
        Self::start_as(dir, "127.0.0.1").await
    }

    /// Under a name, on loopback all the same.
    pub(crate) async fn start_as(dir: &Path, name: &str) -> (Self, Server) {
        let authority = Authority::create(dir, Timestamp::now()).expect("an authority");
        let credentials = authority
            .issue_server(&[name.to_owned()], Timestamp::now())
            .expect("a certificate");
        let clients = ClientCertificates::Required(authority.bundle());
        let tls = server_config(&credentials, clients).expect("a TLS side");
        let plane = Self {
            authority: Arc::new(authority),
            hellos: watch::Sender::default(),
            answer: Arc::new(Mutex::new(Answer::Nothing)),
            observed: watch::Sender::default(),
            unwilling: Arc::default(),
            last: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (sender, connections) = mpsc::channel(1);
        tokio::spawn(
            plane
                .clone()
                .accept(listener, TlsAcceptor::from(Arc::new(tls)), sender),
        );
        let service = CertificateServiceServer::new(plane.clone());
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .add_service(NodeSyncServiceServer::new(plane.clone()));
        tokio::spawn(server.serve_with_incoming(ReceiverStream::new(connections)));
        let host = name.to_owned();
        (plane, Server { host, port })
    }

    async fn accept(
        self,
        listener: TcpListener,
        acceptor: TlsAcceptor,
        sender: mpsc::Sender<std::io::Result<tokio::io::DuplexStream>>,
    ) {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                self.note("refused");
                continue;
            };
            let leaf = stream.get_ref().1.peer_certificates().expect("asked for")[0].clone();
            let peer = Peer::from_der(&leaf).expect("a peer");
            *self.last.lock().expect("whole") = Some(peer.identity);
            self.note(&peer.serial);
            let (mut ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut ours).await;
            });
            if sender.send(Ok(theirs)).await.is_err() {
                return;
            }
        }
    }

    fn note(&self, what: &str) {
        self.observed
            .send_modify(|observed| observed.push(what.to_owned()));
    }

    /// What an enrolment left: a certificate issued at `now` for `lifetime`, on disk.
    pub(crate) fn enrolled(
        &self,
        dir: &Path,
        lifetime: SignedDuration,
        now: Timestamp,
    ) -> Certificate {
        let key = PrivateKey::generate().expect("a key");
        let identity = Identity::Node("web-1".parse().expect("a name"));
        let request = key.request().expect("a request");
        let chain = self
            .authority
            .issue_client(&identity, &request, lifetime, now)
            .expect("issued");
        std::fs::write(dir.join("identity.pem"), format!("{chain}\n{}", key.pem()))
            .expect("written");
        std::fs::write(dir.join("ca.pem"), self.authority.bundle()).expect("written");
        load(dir)
    }
}

fn load(dir: &Path) -> Certificate {
    Certificate::load(dir).expect("readable").expect("there")
}

/// A certificate whose half-life is over and which is still good: each is dated five minutes back, for slow clocks.
const SHORT: SignedDuration = SignedDuration::from_mins(2);

/// The way to a server, which needs no exemption.
fn way(dir: &Path, server: &Server) -> (Way, Link) {
    let link = Link::new(server);
    let servers = Servers::open(dir, server, None);
    let mut observed = Observed::default();
    observed.environment.control_plane = servers.sockets().borrow().clone();
    let observed = watch::channel(observed).1;
    (Way::new(servers, observed, link.clone()), link)
}

/// Renews what is in the folder, until it is aborted.
fn keep(
    dir: &Path,
    server: &Server,
    current: watch::Sender<Arc<Certificate>>,
) -> tokio::task::JoinHandle<()> {
    let (way, link) = way(dir, server);
    tokio::spawn(keep_renewed(dir.into(), way, link, current))
}

async fn renewed(certificates: &mut watch::Receiver<Arc<Certificate>>) -> Arc<Certificate> {
    tokio::time::timeout(DEADLINE, certificates.changed())
        .await
        .expect("renewed in time")
        .expect("goes on");
    certificates.borrow_and_update().clone()
}

#[tokio::test]
async fn after_half_its_life_a_certificate_is_replaced_by_one_of_a_new_key() {
    let (dir, plane) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let (plane, server) = Plane::start(plane.expect("a folder").path()).await;
    let old = plane.enrolled(dir.path(), SHORT, Timestamp::now());
    let key = |dir: &Path| {
        let text = std::fs::read_to_string(dir.join("identity.pem")).expect("readable");
        text[text.find("PRIVATE KEY").expect("a key")..].to_owned()
    };
    let old_key = key(dir.path());
    let (current, mut certificates) = watch::channel(Arc::new(old.clone()));
    let keeping = keep(dir.path(), &server, current);

    let new = renewed(&mut certificates).await;
    assert_eq!(new.peer.identity, old.peer.identity);
    assert_ne!(new.peer.serial, old.peer.serial);
    assert!(new.peer.not_after > old.peer.not_after);
    assert_eq!(
        *plane.observed.borrow(),
        std::slice::from_ref(&old.peer.serial),
        "asked for with the old one"
    );
    // On disk before it is used.
    assert_eq!(load(dir.path()).peer, new.peer);
    assert_ne!(key(dir.path()), old_key);

    // The next connection shows the new one, and is taken.
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    let channel = connect(&server, &[address], new.tls().expect("usable"))
        .await
        .expect("connected");
    let request = RenewCertificateRequest {
        csr: PrivateKey::generate()
            .and_then(|key| key.request())
            .expect("a request"),
    };
    CertificateServiceClient::new(channel)
        .renew_certificate(request)
        .await
        .expect("served");
    assert_eq!(plane.observed.borrow().last(), Some(&new.peer.serial));
    keeping.abort();
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again() {
    let (dir, plane) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let (plane, server) = Plane::start(plane.expect("a folder").path()).await;
    plane.unwilling.store(1, Ordering::Relaxed);
    let old = plane.enrolled(dir.path(), SHORT, Timestamp::now());
    let (current, mut certificates) = watch::channel(Arc::new(old.clone()));
    let keeping = keep(dir.path(), &server, current);
    let new = renewed(&mut certificates).await;
    assert_ne!(new.peer.serial, old.peer.serial);
    assert_eq!(plane.observed.borrow().len(), 2, "one in vain");
    keeping.abort();
}

#[tokio::test]
async fn a_certificate_that_is_young_is_left_alone() {
    let (dir, plane) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let (plane, server) = Plane::start(plane.expect("a folder").path()).await;
    let day = SignedDuration::from_hours(24);
    let young = plane.enrolled(dir.path(), day, Timestamp::now());
    let (current, mut certificates) = watch::channel(Arc::new(young));
    let keeping = keep(dir.path(), &server, current);
    // Another one whose time has come, kept beside it, is done first.
    let other = tempfile::tempdir().expect("a folder");
    let old = plane.enrolled(other.path(), SHORT, Timestamp::now());
    let serial = old.peer.serial.clone();
    let (current, mut others) = watch::channel(Arc::new(old));
    let beside = keep(other.path(), &server, current);
    renewed(&mut others).await;
    assert_eq!(*plane.observed.borrow(), [serial]);
    assert!(!certificates.has_changed().expect("goes on"));
    certificates.mark_unchanged();
    keeping.abort();
    beside.abort();
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_stays_until_the_node_is_enrolled_again() {
    let (dir, plane) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let (plane, server) = Plane::start(plane.expect("a folder").path()).await;
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let expired = plane.enrolled(dir.path(), SHORT, hour_ago);
    assert!(expired.has_expired());
    let (current, certificates) = watch::channel(Arc::new(expired.clone()));
    let keeping = keep(dir.path(), &server, current);
    let mut observed = plane.observed.subscribe();
    let refused = observed.wait_for(|observed| observed.len() >= 2);
    let refused = tokio::time::timeout(DEADLINE, refused).await;
    assert_eq!(
        *refused.expect("tried twice").expect("goes on"),
        ["refused", "refused"]
    );
    assert!(!certificates.has_changed().expect("still trying"));
    assert_eq!(load(dir.path()).peer, expired.peer);
    keeping.abort();
}
