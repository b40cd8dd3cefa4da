//! The control plane's API over one open gRPC connection, as an orchestrator uses it: a write costs no process.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use palisade_proto::v1::{
    ApplyResourcesRequest, DeleteResourceRequest, NodeStatus, ResourceRef, WatchNodesRequest,
    observe_service_client::ObserveServiceClient, resource_service_client::ResourceServiceClient,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::Deployment;

/// Resources sent by one request while a world is laid out.
const TOGETHER: usize = 500;
/// For one request, or until a revision is enforced.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `admin.yaml` holds.
#[derive(Deserialize)]
struct Credentials {
    server: String,
    ca: String,
    certificate: String,
    key: String,
}

/// An open connection to the control plane, as the administrator.
pub struct Api {
    runtime: Runtime,
    resources: ResourceServiceClient<Channel>,
    observe: ObserveServiceClient<Channel>,
}

impl Api {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Where the control plane cannot be reached.
    pub fn connect(deployment: &Deployment) -> Result<Self> {
        let (door, path) = deployment.administrator();
        let text = std::fs::read_to_string(path).context("read the administrator's context")?;
        let credentials: Credentials =
            serde_saphyr::from_str(&text).context("read the administrator's context")?;
        // Threads stay in the namespace of the thread that starts them, and so do their sockets.
        door.run(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .context("start a runtime")?;
            let channel = runtime.block_on(open(&credentials))?;
            Ok(Self {
                runtime,
                resources: ResourceServiceClient::new(channel.clone()),
                observe: ObserveServiceClient::new(channel),
            })
        })
    }

    /// Applies resources in one commit and returns its revision.
    ///
    /// # Errors
    ///
    /// Where the control plane refuses them.
    pub fn apply(&mut self, resources: &[Value]) -> Result<u64> {
        let json = resources.iter().map(|value| value.to_string().into_bytes());
        let request = patient(ApplyResourcesRequest {
            json: json.collect(),
            dry_run: false,
        });
        let applied = self
            .runtime
            .block_on(self.resources.apply_resources(request))
            .context("apply resources")?;
        Ok(applied.into_inner().revision)
    }

    /// Applies YAML documents in one commit and returns its revision.
    ///
    /// # Errors
    ///
    /// Where they are not YAML, or as [`Api::apply`].
    pub fn apply_yaml(&mut self, documents: &str) -> Result<u64> {
        let resources: Vec<Value> =
            serde_saphyr::from_multiple(documents).context("read the documents")?;
        self.apply(&resources)
    }

    /// Applies many resources, some at a time.
    ///
    /// # Errors
    ///
    /// As [`Api::apply`].
    pub fn apply_all(&mut self, resources: &[Value]) -> Result<()> {
        resources
            .chunks(TOGETHER)
            .try_for_each(|some| self.apply(some).map(drop))
    }

    /// Deletes a resource and returns the revision of that; the namespace is empty where the kind has none.
    ///
    /// # Errors
    ///
    /// Where there is none, or the control plane refuses.
    pub fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> Result<u64> {
        let request = patient(DeleteResourceRequest {
            r#ref: Some(ResourceRef {
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            resource_version: 0,
            dry_run: false,
        });
        let deleted = self
            .runtime
            .block_on(self.resources.delete_resource(request))
            .with_context(|| format!("delete {kind} {name}"))?;
        Ok(deleted.into_inner().revision)
    }

    /// Waits until every connected node enforces what it should at this revision.
    ///
    /// # Errors
    ///
    /// Where a node refuses it, or that does not happen within two minutes.
    pub fn wait_until_enforced(&mut self, revision: u64) -> Result<()> {
        let observe = &mut self.observe;
        self.runtime.block_on(async {
            let mut answers = observe
                .watch_nodes(patient(WatchNodesRequest {}))
                .await
                .context("watch nodes")?
                .into_inner();
            while let Some(answer) = answers.message().await.context("watch nodes")? {
                let mut connected = answer.nodes.iter().filter(|node| node.connected);
                if let Some(node) = connected.clone().find(|node| is_degraded(node)) {
                    bail!("node {} is degraded: {:?}", node.name, node.conditions);
                }
                if answer.compiled >= revision && connected.all(has_converged) {
                    return Ok(());
                }
            }
            bail!("the control plane ended the watch of nodes")
        })
    }
}

fn patient<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

fn is_degraded(node: &NodeStatus) -> bool {
    node.conditions
        .iter()
        .any(|condition| condition.r#type == "Degraded" && condition.reason == "Rejected")
}

fn has_converged(node: &NodeStatus) -> bool {
    let digest = |position: &Option<palisade_proto::v1::Position>| {
        position.as_ref().map(|position| position.digest.clone())
    };
    node.desired.is_some() && digest(&node.desired) == digest(&node.enforced)
}

async fn open(credentials: &Credentials) -> Result<Channel> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&credentials.ca))
        .identity(Identity::from_pem(
            &credentials.certificate,
            &credentials.key,
        ));
    Endpoint::from_shared(format!("https://{}", credentials.server))?
        .tls_config(tls)?
        .tcp_nodelay(true)
        .connect()
        .await
        .context("connect to the control plane")
}
