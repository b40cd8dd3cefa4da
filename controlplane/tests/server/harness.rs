//! A control plane in this process, its administrator, and a node that applies what it is sent.

use clap::Parser as _;
use palisade_controlplane::{config::Config, server::Server};
use palisade_identity::PrivateKey;
use palisade_policy::{
    delta::Held, frame::Assembler, ids::PolicyId, item::ItemId, view::Position, wire::decode_ops,
};
use palisade_proto::{
    google::rpc,
    v1::{
        self, analysis_service_client::AnalysisServiceClient,
        enrollment_service_client::EnrollmentServiceClient,
        node_sync_service_client::NodeSyncServiceClient,
        observe_service_client::ObserveServiceClient,
        resource_service_client::ResourceServiceClient, stream_view_request::Message as Up,
        stream_view_response::Message as Down, token_service_client::TokenServiceClient,
    },
};
use palisade_store::Store;
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// Nothing takes longer, unless it never happens.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

fn config(dir: &Path, more: &[&str]) -> Config {
    let dir = dir.to_str().expect("a readable path");
    let any = "127.0.0.1:0";
    let words = ["palisade-controlplane", "--data-dir", dir, "--listen", any];
    let ports = ["--enroll-listen", any, "--http-listen", any];
    let more = more.iter().copied();
    Config::parse_from(words.into_iter().chain(ports).chain(more))
}

/// A running control plane.
pub(crate) struct Plane {
    pub(crate) server: Server,
    pub(crate) admin: Context,
    pub(crate) dir: tempfile::TempDir,
}

/// Credentials and addresses.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) api: SocketAddr,
    pub(crate) enrollment: SocketAddr,
    pub(crate) ca: String,
    pub(crate) identity: Option<(String, String)>,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder")).await
    }

    pub(crate) async fn start_in(dir: tempfile::TempDir) -> Self {
        Self::start_as(dir, &[]).await
    }

    /// With more on the command line.
    pub(crate) async fn start_with(more: &[&str]) -> Self {
        Self::start_as(tempfile::tempdir().expect("a folder"), more).await
    }

    async fn start_as(dir: tempfile::TempDir, more: &[&str]) -> Self {
        let config = config(dir.path(), more);
        let server = Server::start(&config).await.expect("starts");
        Self::started(server, dir).await
    }

    /// On a store that stays the test's.
    pub(crate) async fn start_on(dir: tempfile::TempDir, store: Arc<dyn Store>) -> Self {
        let config = config(dir.path(), &[]);
        let server = Server::start_on(&config, store).await.expect("starts");
        Self::started(server, dir).await
    }

    async fn started(mut server: Server, dir: tempfile::TempDir) -> Self {
        server.ready().await.expect("compiles");
        let addresses = server.addresses();
        let admin = Context::admin(dir.path(), addresses.api, addresses.enrollment);
        Self { server, admin, dir }
    }

    /// Stops it and starts it again over the same data.
    pub(crate) async fn restart(self) -> Self {
        self.server.stop().await;
        Self::start_in(self.dir).await
    }

    /// A page over plain HTTP: its status and its text.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.server.addresses().http)
            .await
            .expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("asks");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(DEADLINE, read)
            .await
            .expect("in time")
            .expect("an answer");
        let status = answer.split(' ').nth(1).expect("a status");
        let (_, text) = answer.split_once("\r\n\r\n").expect("a text");
        (status.parse().expect("a number"), text.to_owned())
    }

    pub(crate) async fn resources(&self) -> ResourceServiceClient<Channel> {
        ResourceServiceClient::new(self.admin.connect().await)
    }

    pub(crate) async fn observe(&self) -> ObserveServiceClient<Channel> {
        ObserveServiceClient::new(self.admin.connect().await)
    }

    pub(crate) async fn analysis(&self) -> AnalysisServiceClient<Channel> {
        AnalysisServiceClient::new(self.admin.connect().await)
    }

    /// Applies, and waits until it is compiled: a node that connects afterwards gets it in its first view.
    pub(crate) async fn apply(&self, documents: &[Value]) -> v1::ApplyResourcesResponse {
        let applied = self.try_apply(documents).await.expect("applies");
        self.watch(|nodes| nodes.compiled >= applied.revision).await;
        applied
    }

    pub(crate) async fn try_apply(
        &self,
        documents: &[Value],
    ) -> Result<v1::ApplyResourcesResponse, Status> {
        apply(&mut self.resources().await, documents).await
    }

    pub(crate) async fn try_delete(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<v1::DeleteResourceResponse, Status> {
        let request = v1::DeleteResourceRequest {
            r#ref: reference(kind, name),
            ..v1::DeleteResourceRequest::default()
        };
        let deleted = self.resources().await.delete_resource(request).await?;
        Ok(deleted.into_inner())
    }

    /// Deletes, and waits until that is compiled.
    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        let deleted = self.try_delete(kind, name).await.expect("deletes");
        self.watch(|nodes| nodes.compiled >= deleted.revision).await;
    }

    pub(crate) async fn token(&self, node: &str) -> String {
        let request = v1::CreateTokenRequest {
            node_name: node.to_owned(),
            ttl_seconds: 0,
        };
        let mut tokens = TokenServiceClient::new(self.admin.connect().await);
        tokens
            .create_token(request)
            .await
            .expect("a token")
            .into_inner()
            .token
    }

    /// Enrols a node.
    pub(crate) async fn join(&self, name: &str) -> Context {
        let token = self.token(name).await;
        self.admin.enroll(&token, name).await.expect("enrols")
    }

    /// What the control plane says of a node.
    pub(crate) async fn status(&self, name: &str) -> v1::NodeStatus {
        let nodes = self
            .observe()
            .await
            .list_nodes(v1::ListNodesRequest {})
            .await;
        let nodes = nodes.expect("nodes").into_inner().nodes;
        nodes
            .into_iter()
            .find(|node| node.name == name)
            .expect("the node")
    }

    /// Waits until what is said of a node fits.
    pub(crate) async fn until(&self, name: &str, fits: impl Fn(&v1::NodeStatus) -> bool) {
        self.watch(|message| {
            let mut nodes = message.nodes.iter();
            nodes.any(|node| node.name == name && fits(node))
        })
        .await;
    }

    async fn watch(&self, fits: impl Fn(&v1::WatchNodesResponse) -> bool) {
        let watch = self
            .observe()
            .await
            .watch_nodes(v1::WatchNodesRequest {})
            .await;
        let mut watch = watch.expect("a watch").into_inner();
        let found = async {
            loop {
                let message = watch.message().await.expect("goes on").expect("goes on");
                if fits(&message) {
                    return;
                }
            }
        };
        timeout(DEADLINE, found).await.expect("in time");
    }
}

impl Context {
    pub(crate) fn admin(dir: &Path, api: SocketAddr, enrollment: SocketAddr) -> Self {
        let text = std::fs::read_to_string(dir.join("admin.yaml")).expect("a context");
        let fields: BTreeMap<String, String> = serde_saphyr::from_str(&text).expect("YAML");
        Self {
            api,
            enrollment,
            ca: fields["ca"].clone(),
            identity: Some((fields["certificate"].clone(), fields["key"].clone())),
        }
    }

    async fn channel(&self, address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
        endpoint
            .tls_config(tls)?
            .connect_timeout(DEADLINE)
            .connect()
            .await
    }

    pub(crate) async fn connect(&self) -> Channel {
        self.channel(self.api).await.expect("connects")
    }

    /// To the enrolment port, without a certificate.
    pub(crate) async fn stranger(&self) -> Channel {
        let stranger = Self {
            identity: None,
            ..self.clone()
        };
        stranger.channel(self.enrollment).await.expect("connects")
    }

    pub(crate) async fn enroll(&self, token: &str, name: &str) -> Result<Self, Status> {
        let key = PrivateKey::generate().expect("a key");
        let request = v1::EnrollRequest {
            token: token.to_owned(),
            node_name: name.to_owned(),
            csr: key.request().expect("a request"),
        };
        let mut enrollment = EnrollmentServiceClient::new(self.stranger().await);
        let answer = enrollment.enroll(request).await?.into_inner();
        Ok(Self {
            ca: answer.ca_bundle,
            identity: Some((answer.certificate_chain, key.pem())),
            ..self.clone()
        })
    }
}

pub(crate) async fn apply(
    resources: &mut ResourceServiceClient<Channel>,
    documents: &[Value],
) -> Result<v1::ApplyResourcesResponse, Status> {
    let request = v1::ApplyResourcesRequest {
        json: documents
            .iter()
            .map(|d| d.to_string().into_bytes())
            .collect(),
        dry_run: false,
    };
    Ok(resources.apply_resources(request).await?.into_inner())
}

/// A node's stream, and the view it holds.
pub(crate) struct Node {
    up: mpsc::Sender<v1::StreamViewRequest>,
    down: Streaming<v1::StreamViewResponse>,
    pub(crate) held: Option<Held>,
    pub(crate) position: Option<Position>,
}

/// A transaction as it came.
pub(crate) struct Received {
    pub(crate) kind: v1::TransactionKind,
    pub(crate) to: Position,
    before: Option<Held>,
}

impl Node {
    /// Opens a stream and says Hello.
    pub(crate) async fn connect(context: &Context) -> Self {
        Self::resume(context, None, None).await
    }

    /// As a node that holds a view already.
    pub(crate) async fn resume(
        context: &Context,
        held: Option<Held>,
        position: Option<Position>,
    ) -> Self {
        Self::daemon(context, held, position, &[]).await
    }

    /// As a certain daemon.
    pub(crate) async fn daemon(
        context: &Context,
        held: Option<Held>,
        position: Option<Position>,
        instance: &[u8],
    ) -> Self {
        let (up, requests) = mpsc::channel(16);
        let mut sync = NodeSyncServiceClient::new(context.connect().await);
        let hello = v1::Hello {
            agent_version: "test".to_owned(),
            min_schema: 1,
            max_schema: 1,
            have: position.as_ref().map(Into::into),
            enforced: position.as_ref().map(Into::into),
            report: Some(report()),
            instance: instance.to_vec(),
            ..v1::Hello::default()
        };
        let node = v1::StreamViewRequest {
            message: Some(Up::Hello(hello)),
        };
        up.send(node).await.expect("a channel");
        let answer = sync.stream_view(ReceiverStream::new(requests)).await;
        let mut node = Self {
            up,
            down: answer.expect("a stream").into_inner(),
            held,
            position,
        };
        assert!(matches!(node.next().await, Ok(Down::Welcome(_))));
        node
    }

    pub(crate) async fn next(&mut self) -> Result<Down, Status> {
        let message = timeout(DEADLINE, self.down.message())
            .await
            .expect("in time")?;
        let message = message.ok_or_else(|| Status::cancelled("the stream has ended"))?;
        Ok(message.message.expect("a known message"))
    }

    pub(crate) async fn say(&self, message: Up) {
        let message = v1::StreamViewRequest {
            message: Some(message),
        };
        self.up.send(message).await.expect("the stream is open");
    }

    /// Says what it holds, as it was asked to.
    pub(crate) async fn tell_inventory(&self) {
        let hashes = self.held.as_ref().expect("a view").hashes();
        let inventory = palisade_policy::wire::encode_inventory(hashes);
        self.say(Up::Inventory(inventory)).await;
    }

    /// Whatever was to be sent comes before the answer to a ping.
    pub(crate) async fn hears_nothing(&mut self) {
        self.say(Up::Ping(v1::Ping { nonce: 7 })).await;
        let heard = self.next().await.expect("an answer");
        assert!(matches!(heard, Down::Pong(_)), "{heard:?}");
    }

    /// Takes a whole transaction in.
    pub(crate) async fn receive(&mut self) -> Received {
        let Down::Begin(begin) = self.next().await.expect("a message") else {
            panic!("expected Begin");
        };
        let mut assembler = Assembler::new(begin.total_bytes, 1 << 24).expect("short enough");
        let to = loop {
            match self.next().await.expect("a message") {
                Down::Chunk(chunk) => assembler.push(&chunk.data).expect("well formed"),
                Down::Commit(commit) => break commit.to.expect("a position"),
                other => panic!("unexpected {other:?}"),
            }
        };
        let to = Position::try_from(&to).expect("well formed");
        let ops = decode_ops(assembler.finish().expect("complete")).expect("valid");
        let before = self.held.clone();
        match &mut self.held {
            Some(held) if begin.kind() == v1::TransactionKind::Delta => {
                drop(held.apply(ops, &to.digest).expect("applies"));
            }
            held => *held = Some(Held::from_snapshot(ops, &to.digest).expect("a view")),
        }
        Received {
            kind: begin.kind(),
            to,
            before,
        }
    }

    pub(crate) async fn ack(&mut self, received: &Received) {
        self.position = Some(received.to);
        let applied = Some((&received.to).into());
        self.say(Up::Ack(v1::Ack {
            applied,
            apply_micros: 42,
        }))
        .await;
    }

    pub(crate) async fn accept(&mut self) -> Received {
        let received = self.receive().await;
        self.ack(&received).await;
        received
    }

    pub(crate) async fn refuse(&mut self, received: Received, item: &ItemId) {
        self.held = received.before;
        let status = rpc::Status {
            code: tonic::Code::InvalidArgument.into(),
            message: "no".to_owned(),
            ..rpc::Status::default()
        };
        let nack = v1::Nack {
            rejected: Some((&received.to).into()),
            still_enforcing: self.position.as_ref().map(Into::into),
            status: Some(status.clone()),
            items: vec![v1::ItemError {
                kind: v1::ItemKind::from(item.kind).into(),
                id: item.id.to_string(),
                status: Some(status),
            }],
            want_snapshot: false,
        };
        self.say(Up::Nack(nack)).await;
    }

    /// Rules of a policy for packets to the endpoint; `None` if the view lacks it.
    pub(crate) fn rules(&self, policy: &str) -> Option<usize> {
        let view = self.held.as_ref()?.view();
        let policy = view.policies.get(&PolicyId::new(format!("gnp/{policy}")))?;
        Some(policy.ingress.len())
    }
}

pub(crate) fn report() -> v1::NodeReport {
    v1::NodeReport {
        interfaces: vec![v1::Interface {
            name: "eth0".to_owned(),
            up: true,
            addresses: vec![vec![10, 0, 0, 1]],
            master: None,
        }],
        ..v1::NodeReport::default()
    }
}

/// A policy that lets TCP to these ports in, one rule each.
pub(crate) fn policy(name: &str, selector: &str, ports: &[u16]) -> Value {
    let allow = |port: &u16| json!({ "action": "Allow", "protocol": "TCP", "destination": { "ports": [port] } });
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkPolicy",
        "metadata": { "name": name },
        "spec": {
            "selector": selector,
            "types": ["Ingress"],
            "ingress": ports.iter().map(allow).collect::<Vec<_>>(),
        },
    })
}

pub(crate) fn endpoint(name: &str, node: &str, interface: &str, role: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "HostEndpoint",
        "metadata": { "name": name, "labels": { "role": role } },
        "spec": { "node": node, "interfaceName": interface },
    })
}

pub(crate) fn tier(name: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "Tier",
        "metadata": { "name": name },
        "spec": { "order": 10 },
    })
}

pub(crate) fn reference(kind: &str, name: &str) -> Option<v1::ResourceRef> {
    Some(v1::ResourceRef {
        kind: kind.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    })
}
