//! Writes over one open gRPC connection, as an orchestrator does.

use std::time::Duration;

use anyhow::{Context, Result};
use palisade_integration::product::Deployment;
use palisade_proto::v1::{ApplyResourcesRequest, resource_service_client::ResourceServiceClient};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Resources sent by one request while a world is laid out.
const TOGETHER: usize = 500;
/// For one request.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `admin.yaml` holds.
#[derive(Deserialize)]
struct Credentials {
    server: String,
    ca: String,
    certificate: String,
    key: String,
}

/// An open connection to the control plane.
pub(super) struct Client {
    runtime: Runtime,
    resources: ResourceServiceClient<Channel>,
}

impl Client {
    /// Connects as the administrator.
    pub(super) fn connect(deployment: &Deployment) -> Result<Self> {
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
                resources: ResourceServiceClient::new(channel),
            })
        })
    }

    /// Applies resources in one commit.
    pub(super) fn apply(&mut self, resources: &[Value]) -> Result<()> {
        let json = resources.iter().map(|value| value.to_string().into_bytes());
        let mut request = tonic::Request::new(ApplyResourcesRequest {
            json: json.collect(),
            dry_run: false,
        });
        request.set_timeout(PATIENCE);
        self.runtime
            .block_on(self.resources.apply_resources(request))
            .context("apply resources")?;
        Ok(())
    }

    /// Applies many resources, some at a time.
    pub(super) fn apply_all(&mut self, resources: &[Value]) -> Result<()> {
        resources
            .chunks(TOGETHER)
            .try_for_each(|some| self.apply(some))
    }
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
