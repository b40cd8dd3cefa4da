//! All parts put together, and taken apart again.

use crate::{
    access::Access,
    analysis::Analysis,
    bootstrap,
    compiler::{CompilerTask, RunningCompiler},
    config::Config,
    enrollment::Enrollment,
    flows::Flows,
    http::Health,
    hub::Hub,
    namespaces::Namespaces,
    node_sync::NodeSync,
    observe::Observe,
    plugins::{Plugins, components::Components, garbage::Collector},
    resources::{self, Resources},
    store_service::StoreRows,
    tls,
    tokens::Tokens,
};
use anyhow::Context as _;
use jiff::Timestamp;
use palisade_identity::{Authority, ClientCertificates, Credentials, server_config};
use palisade_policy::view::Epoch;
use palisade_proto::v1::{
    analysis_service_server::AnalysisServiceServer,
    certificate_service_server::CertificateServiceServer,
    enrollment_service_server::EnrollmentServiceServer, flow_service_server::FlowServiceServer,
    namespace_service_server::NamespaceServiceServer,
    node_sync_service_server::NodeSyncServiceServer, observe_service_server::ObserveServiceServer,
    plugin_service_server::PluginServiceServer, resource_service_server::ResourceServiceServer,
    store_service_server::StoreServiceServer, token_service_server::TokenServiceServer,
};
use palisade_store::{EmbeddedStore, Store};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::transport::Server as Tonic;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Largest request of the API: a whole file, with room for its framing.
const LARGEST_REQUEST: usize = 72 << 20;
/// Largest answer of the API: a page, a commit's resources, or a node's view.
const LARGEST_ANSWER: usize = 256 << 20;
/// Largest message of a node: an inventory.
const LARGEST_FROM_NODE: usize = 32 << 20;
/// Largest message of an upload: a chunk and its framing.
const LARGEST_CHUNK: usize = 512 << 10;
/// Largest message of a report of flows.
const LARGEST_REPORT: usize = 1 << 20;
/// Largest message on the enrolment port: a token and a request for a certificate.
const LARGEST_ENROLLMENT: usize = 64 << 10;
/// Streams that one connection may have open.
const STREAMS: u32 = 128;
/// Dead connections are noticed by HTTP/2 pings so often, and given up after so long.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(1);

/// Where a server listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The API and the nodes' streams.
    pub api: SocketAddr,
    /// Enrolment.
    pub enrollment: SocketAddr,
    /// Metrics and health.
    pub http: SocketAddr,
}

/// A running control plane.
pub struct Server {
    addresses: Addresses,
    health: Health,
    reporter: HealthReporter,
    compiler: RunningCompiler,
    tasks: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
    parts: Parts,
}

/// What the services share.
struct Parts {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    authority: Arc<Authority>,
    components: Arc<Components>,
    resources: Arc<Resources>,
}

// === impl Server ===

impl Server {
    /// Starts everything; serving begins before the first compilation is done.
    ///
    /// # Errors
    /// Whatever stands in the way: the folder, the store, the ports.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let dir = &config.data_dir;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
        let file = dir.join("store.redb");
        let open = move || EmbeddedStore::open(&file);
        let store = tokio::task::spawn_blocking(open).await??;
        Self::start_on(config, Arc::new(store)).await
    }

    /// As [`Server::start`], on a store of the caller's; the folder exists.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(config: &Config, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let dir = &config.data_dir;
        let parts = Parts::open(config, store).await?;
        let (health, metrics) = Health::new(Arc::clone(&parts.hub));
        let task = CompilerTask {
            store: Arc::clone(&parts.store),
            hub: Arc::clone(&parts.hub),
            metrics,
        };
        let compiler = task.spawn().context("cannot start the compiler")?;

        let listeners = Listeners::bind(config).await?;
        let addresses = listeners.addresses()?;
        let names =
            bootstrap::server_names(&config.advertise, &[addresses.api, addresses.enrollment]);
        let credentials = bootstrap::server_credentials(&parts.authority, &names)?;
        let contact = bootstrap::server_address(&config.advertise, addresses.api);
        bootstrap::write_admin_context(dir, &parts.authority, &contact)?;

        let (stop, stopped) = watch::channel(false);
        let (reporter, grpc_health) = tonic_health::server::health_reporter();
        reporter
            .set_service_status("", ServingStatus::NotServing)
            .await;
        let routes = api_services(tonic().layer(Access), &parts)?.add_service(grpc_health);
        let mut tasks = serve(listeners, &parts, routes, &credentials, &health, &stopped)?;
        let collecting = parts.collector(config).run_until(stopping(&stopped));
        tasks.spawn(async move {
            collecting.await;
            Ok(())
        });
        Ok(Self {
            addresses,
            health,
            reporter,
            compiler,
            tasks,
            stop,
            parts,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until all views have been compiled once.
    ///
    /// # Errors
    /// The compiler ended.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.compiler.compiled().await, "the compiler has ended");
        self.health.set_ready(true);
        self.reporter
            .set_service_status("", ServingStatus::Serving)
            .await;
        Ok(())
    }

    /// Waits for a part to end by itself.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a listener has ended"),
        }
    }

    /// Ends streams, listeners and the store. Nodes go on enforcing.
    pub async fn stop(mut self) {
        self.health.set_ready(false);
        self.reporter
            .set_service_status("", ServingStatus::NotServing)
            .await;
        self.parts.hub.close();
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // Whoever holds a watch open does not hold us up.
        let _ = tokio::time::timeout(GRACE, ended).await;
        self.tasks.shutdown().await;
        self.compiler.stop().await;
    }
}

/// The three ports.
struct Listeners {
    api: TcpListener,
    enrollment: TcpListener,
    http: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address}"))
        };
        Ok(Self {
            api: bind(config.listen).await?,
            enrollment: bind(config.enroll_listen()).await?,
            http: bind(config.http_listen).await?,
        })
    }

    fn addresses(&self) -> anyhow::Result<Addresses> {
        Ok(Addresses {
            api: self.api.local_addr()?,
            enrollment: self.enrollment.local_addr()?,
            http: self.http.local_addr()?,
        })
    }
}

fn serve(
    listeners: Listeners,
    parts: &Parts,
    routes: ApiRouter,
    credentials: &Credentials,
    health: &Health,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let clients = ClientCertificates::Required(parts.authority.bundle());
    let api = tls::accept(listeners.api, server_config(credentials, clients)?);
    let strangers = ClientCertificates::NotAsked;
    let enrolling = tls::accept(listeners.enrollment, server_config(credentials, strangers)?);
    let mut tasks = JoinSet::new();
    let stop = stopping(stopped);
    tasks.spawn(async move { Ok(routes.serve_with_incoming_shutdown(api, stop).await?) });
    let enrollment = EnrollmentServiceServer::new(parts.enrollment())
        .max_decoding_message_size(LARGEST_ENROLLMENT);
    let stop = stopping(stopped);
    tasks.spawn(async move {
        let router = tonic().add_service(enrollment);
        Ok(router.serve_with_incoming_shutdown(enrolling, stop).await?)
    });
    let pages = health.clone().router();
    let stop = stopping(stopped);
    tasks.spawn(async move {
        let served = axum::serve(listeners.http, pages).with_graceful_shutdown(stop);
        Ok(served.await?)
    });
    Ok(tasks)
}

fn tonic() -> Tonic {
    Tonic::builder()
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

async fn stopping_now(mut stopped: watch::Receiver<bool>) {
    // An error says that the server is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn stopping(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + 'static {
    stopping_now(stopped.clone())
}

type Layers = tower::layer::util::Stack<Access, tower::layer::util::Identity>;
type ApiRouter = tonic::transport::server::Router<Layers>;

fn api_services(mut builder: Tonic<Layers>, parts: &Parts) -> anyhow::Result<ApiRouter> {
    let Parts {
        store,
        hub,
        components,
        resources: written,
        ..
    } = parts;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(palisade_proto::DESCRIPTORS)
        .build_v1()
        .context("the descriptors cannot be read")?;
    let namespaces = NamespaceServiceServer::new(Namespaces {
        resources: Arc::clone(written),
    });
    let resources = ResourceServiceServer::from_arc(Arc::clone(written))
        .max_decoding_message_size(LARGEST_REQUEST)
        .max_encoding_message_size(LARGEST_ANSWER);
    let nodes = NodeSyncServiceServer::new(NodeSync {
        hub: Arc::clone(hub),
    })
    .max_decoding_message_size(LARGEST_FROM_NODE);
    let observe = ObserveServiceServer::new(Observe {
        hub: Arc::clone(hub),
        store: Arc::clone(store),
    })
    .max_encoding_message_size(LARGEST_ANSWER);
    let tokens = TokenServiceServer::new(Tokens {
        store: Arc::clone(store),
        pin: parts.authority.pin(),
    });
    let analysis = AnalysisServiceServer::new(Analysis {
        hub: Arc::clone(hub),
        store: Arc::clone(store),
    });
    let rows = StoreServiceServer::new(StoreRows {
        store: Arc::clone(store),
        hub: Arc::clone(hub),
    })
    .max_encoding_message_size(LARGEST_ANSWER);
    let plugins = Plugins::new(Arc::clone(store), Arc::clone(components), Arc::clone(hub));
    let plugins = PluginServiceServer::new(plugins).max_decoding_message_size(LARGEST_CHUNK);
    let flows = FlowServiceServer::new(Flows::default()).max_decoding_message_size(LARGEST_REPORT);
    Ok(builder
        .add_service(reflection)
        .add_service(resources)
        .add_service(namespaces)
        .add_service(nodes)
        .add_service(observe)
        .add_service(tokens)
        .add_service(analysis)
        .add_service(plugins)
        .add_service(flows)
        .add_service(rows)
        .add_service(CertificateServiceServer::new(parts.enrollment())))
}

// === impl Parts ===

impl Parts {
    async fn open(config: &Config, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let dir = &config.data_dir;
        let authority = Arc::new(Authority::open(dir, Timestamp::now())?);
        resources::install_built_ins(&*store)
            .await
            .context("cannot write the built-in resources")?;
        let identity = store.identity().await?;
        let components = Components::new(Arc::clone(&store), config.plugin_room());
        let components = Arc::new(components.context("plugins do not run here")?);
        Ok(Self {
            hub: Hub::new(Epoch(identity.epoch)),
            resources: Arc::new(Resources::new(Arc::clone(&store), Arc::clone(&components))),
            components,
            store,
            authority,
        })
    }

    fn collector(&self, config: &Config) -> Collector {
        Collector {
            components: Arc::clone(&self.components),
            resources: Arc::clone(&self.resources),
            keep: Duration::from_secs(config.keep_unused_plugins),
        }
    }

    fn enrollment(&self) -> Enrollment {
        Enrollment {
            store: Arc::clone(&self.store),
            authority: Arc::clone(&self.authority),
        }
    }
}
