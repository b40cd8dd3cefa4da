//! Plugins of a view come from disk and from the control plane; auditors read what a real kernel logged.

use crate::{
    guests::{auditor, bytes, keep, plugin},
    namespace::{in_namespace, ip, nft},
    view::view,
};
use palisade_node::{
    enforce::Wanted,
    enforce::inventory,
    metrics::Metrics,
    plugins::audit::{
        Bus, Emit,
        flows::{Outbox, records},
        sink::{Directory, Failing},
        thread::Audit,
    },
    plugins::bind_failures::BindFailures,
    plugins::{
        keeper::Keeper,
        loaded::{LoadedPlugins, Readiness},
    },
    wake::Wake,
};
use palisade_policy::{
    ids::PluginId,
    plugin::{Plugin, PluginKind},
    view::View,
};
use palisade_proto::v1::{
    FetchPluginRequest, FetchPluginResponse, FlowRecord, ListPluginsRequest, ListPluginsResponse,
    UploadPluginRequest, UploadPluginResponse,
    flow_record::Body,
    plugin_service_server::{PluginService, PluginServiceServer},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};

/// Gives a plugin to those who ask, and breaks off the first transfer.
struct Store {
    bytes: Vec<u8>,
    offsets: Arc<Mutex<Vec<u64>>>,
}

#[tonic::async_trait]
impl PluginService for Store {
    type FetchPluginStream = ReceiverStream<Result<FetchPluginResponse, Status>>;

    async fn upload_plugin(
        &self,
        _: Request<Streaming<UploadPluginRequest>>,
    ) -> Result<Response<UploadPluginResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn fetch_plugin(
        &self,
        request: Request<FetchPluginRequest>,
    ) -> Result<Response<Self::FetchPluginStream>, Status> {
        let offset = request.into_inner().offset;
        let first = {
            let mut offsets = self.offsets.lock().expect("whole");
            offsets.push(offset);
            offsets.len() == 1
        };
        let (sender, stream) = mpsc::channel(64);
        let size = self.bytes.len() as u64;
        let start = usize::try_from(offset).expect("small");
        for (number, chunk) in self.bytes[start..].chunks(4096).enumerate() {
            if first && number == 3 {
                break;
            }
            let response = FetchPluginResponse {
                size,
                offset: offset + (number * 4096) as u64,
                chunk: chunk.to_vec().into(),
            };
            sender.send(Ok(response)).await.expect("there is room");
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_plugins(
        &self,
        _: Request<ListPluginsRequest>,
    ) -> Result<Response<ListPluginsResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

/// Serves one plugin; the offsets that were asked for.
pub(crate) async fn serve(bytes: Vec<u8>) -> (Channel, Arc<Mutex<Vec<u64>>>) {
    let offsets = Arc::default();
    let store = Store {
        bytes,
        offsets: Arc::clone(&offsets),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = listener.local_addr().expect("bound");
    let serving = Server::builder()
        .add_service(PluginServiceServer::new(store))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    (endpoint.connect().await.expect("connected"), offsets)
}

/// A keeper at work, and what it is told.
struct Kept {
    wanted: watch::Sender<Arc<Wanted>>,
    channel: watch::Sender<Option<Channel>>,
    loaded: watch::Receiver<Arc<LoadedPlugins>>,
}

fn keeper(state: &Path, view: &View) -> Kept {
    let (wanted, wants) = watch::channel(Arc::new(Wanted::of(view)));
    let (channel, connected) = watch::channel(None);
    let around = Box::new(|_: &_, _: &_| {
        let none = palisade_plugin_host::Isolated;
        Arc::new(none) as Arc<dyn palisade_plugin_host::Surroundings>
    });
    let (keeper, loaded) = Keeper::new(&state.join("plugins"), around, wants, connected);
    tokio::spawn(keeper.run());
    Kept {
        wanted,
        channel,
        loaded,
    }
}

impl Kept {
    async fn until(
        &mut self,
        what: &str,
        holds: impl FnMut(&Arc<LoadedPlugins>) -> bool,
    ) -> Arc<LoadedPlugins> {
        let found = tokio::time::timeout(Duration::from_secs(120), self.loaded.wait_for(holds));
        match found.await {
            Ok(Ok(loaded)) => Arc::clone(&loaded),
            _ => panic!("not {what} in time"),
        }
    }
}

fn is_ready(loaded: &LoadedPlugins, id: &str) -> bool {
    let shelved = loaded.plugins.get(&PluginId::from(id));
    shelved.is_some_and(|shelved| matches!(shelved.readiness, Readiness::Ready(_)))
}

fn naming(plugins: &[(&str, palisade_policy::plugin::Plugin)]) -> View {
    let mut view = view(&[], &[]);
    for (id, plugin) in plugins {
        view.plugins.insert((*id).into(), Arc::new(plugin.clone()));
    }
    view
}

#[tokio::test]
async fn a_plugin_is_fetched_where_it_broke_off_and_found_on_disk_later() {
    let state = tempfile::tempdir().expect("temporary directory");
    let code = bytes("misbehave-auditor");
    let reads = auditor(&code, "keep", &state.path().join("log"));
    let view = naming(&[("plugin/reads", reads)]);
    let mut kept = keeper(state.path(), &view);
    kept.until("missing", |loaded| !loaded.plugins.is_empty())
        .await;
    assert!(!is_ready(&kept.loaded.borrow(), "plugin/reads"));

    let (channel, offsets) = serve(code).await;
    kept.channel.send_replace(Some(channel));
    kept.until("fetched", |loaded| is_ready(loaded, "plugin/reads"))
        .await;
    assert_eq!(*offsets.lock().expect("whole"), [0, 3 * 4096]);

    let mut again = keeper(state.path(), &view);
    again
        .until("found", |loaded| is_ready(loaded, "plugin/reads"))
        .await;
    assert_eq!(
        offsets.lock().expect("whole").len(),
        2,
        "nothing fetched again"
    );

    again.wanted.send_replace(Arc::default());
    again
        .until("gone", |loaded| loaded.plugins.is_empty())
        .await;
}

#[tokio::test]
async fn altered_bytes_are_not_run_and_a_plugin_of_another_kind_is_refused() {
    let state = tempfile::tempdir().expect("temporary directory");
    let code = bytes("misbehave-auditor");
    let reads = auditor(&code, "keep", &state.path().join("log"));
    let judges = plugin(PluginKind::Matcher, &code);
    keep(state.path(), &code);
    let view = naming(&[("plugin/judges", judges)]);
    let mut kept = keeper(state.path(), &view);
    let refused = |loaded: &Arc<LoadedPlugins>| {
        let mut plugins = loaded.plugins.values();
        plugins.any(|shelved| matches!(shelved.readiness, Readiness::Refused { .. }))
    };
    kept.until("refused", refused).await;

    let dir = state.path().join("plugins");
    let entries = std::fs::read_dir(dir).expect("read");
    let blob = entries
        .map(|entry| entry.expect("read").path())
        .find(|path| path.extension().is_some_and(|e| e == "wasm"))
        .expect("kept");
    let mut altered = code.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    std::fs::write(&blob, altered).expect("written");
    let mut kept = keeper(state.path(), &naming(&[("plugin/reads", reads)]));
    let fetching = |loaded: &Arc<LoadedPlugins>| {
        let mut plugins = loaded.plugins.values();
        plugins.any(|shelved| matches!(shelved.readiness, Readiness::Fetching { .. }))
    };
    kept.until("found out", |loaded| fetching(loaded) && !blob.exists())
        .await;
    let (channel, _) = serve(code).await;
    kept.channel.send_replace(Some(channel));
    kept.until("fetched", |loaded| is_ready(loaded, "plugin/reads"))
        .await;
}

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Drops and logs UDP to port 9, as our rules do.
const RULES: &str = "table inet denials { chain input { type filter hook input priority 0; \
    udp dport 9 log prefix \"deny 00000000000000ff\" group 7600 snaplen 96 queue-threshold 64 drop; }; }";

/// Packets that the thread told of, and those that it said to be lost, once it told of all.
async fn told(records: &mut mpsc::Receiver<FlowRecord>, all: u64) -> (Vec<FlowRecord>, u64) {
    let (mut flows, mut lost) = (Vec::new(), 0);
    while flows.len() as u64 + lost < all {
        let next = tokio::time::timeout(Duration::from_secs(60), records.recv()).await;
        let record = next.expect("told in time").expect("the thread runs");
        match &record.body {
            Some(Body::Flow(_)) => flows.push(record),
            Some(Body::Lost(count)) => lost += count,
            _ => {}
        }
    }
    (flows, lost)
}

/// Floods with denied packets while an auditor does this.
fn flood(deed: &'static str, check: impl FnOnce(Vec<FlowRecord>, u64, String) + Send + 'static) {
    let code = bytes("misbehave-auditor");
    let reads = move |file: &Path| auditor(&bytes("misbehave-auditor"), deed, file);
    flooded(code, reads, check);
}

/// The same plugins, before they are here.
fn on_its_way(loaded: &LoadedPlugins) -> LoadedPlugins {
    let mut loaded = loaded.clone();
    for shelved in loaded.plugins.values_mut() {
        shelved.readiness = Readiness::Fetching {
            trouble: String::new(),
        };
    }
    loaded
}

/// What the thread told of a flood that came before its auditor did, and what is in its auditor's file.
fn flooded(
    code: Vec<u8>,
    auditor: impl FnOnce(&Path) -> Plugin + Send + 'static,
    check: impl FnOnce(Vec<FlowRecord>, u64, String) + Send + 'static,
) {
    in_namespace(move || {
        ip("link set lo up\n");
        nft(&[RULES]);
        let state = tempfile::tempdir().expect("temporary directory");
        let file = state.path().join("audit.log");
        keep(state.path(), &code);
        let view = naming(&[("plugin/reads", auditor(&file))]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (flows, lost) = runtime.block_on(async {
            let mut kept = keeper(state.path(), &view);
            kept.until("ready", |loaded| is_ready(loaded, "plugin/reads"))
                .await;
            let ready = Arc::clone(&kept.loaded.borrow());
            let (loaded, shelved) = watch::channel(Arc::new(on_its_way(&ready)));
            let (sender, mut receiver) = records();
            let (stop, stopped) = watch::channel(false);
            let bus = Bus::new(Wake::new().expect("a descriptor"));
            let audit = Audit {
                group: 7600,
                bus: bus.clone(),
                sinks: Directory::new(state.path()),
                failing: Failing::default(),
                emit: Emit::default(),
                loaded: shelved,
                inventory: inventory::Shared::default(),
                outbox: Outbox::new(sender),
                metrics: Metrics::default(),
                bind_failures: BindFailures::default(),
                stop: stopped,
            };
            let thread = std::thread::spawn(|| audit.run());
            let bound = || {
                let groups =
                    std::fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_log");
                groups.expect("a table").contains("7600")
            };
            while !bound() {
                assert!(!thread.is_finished(), "the thread ended");
                tokio::task::yield_now().await;
            }
            let packets = 1000;
            for address in LOOPBACK {
                let client = UdpSocket::bind(SocketAddr::new(address, 0)).expect("bound");
                for _ in 0..packets {
                    client.send_to(b"denied", (address, 9)).expect("sent");
                }
            }
            loaded.send_replace(ready);
            bus.wake().wake();
            let told = told(&mut receiver, 2 * packets).await;
            stop.send_replace(true);
            bus.wake().wake();
            thread.join().expect("no panic").expect("ended well");
            told
        });
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        check(flows, lost, text);
    });
}

#[test]
fn what_rules_logged_is_told_or_said_to_be_lost_to_the_last_packet() {
    flood("keep", |flows, lost, text| {
        assert_eq!((flows.len(), lost), (2000, 0));
        let sources = |address: &[u8]| {
            let flows = flows.iter().filter_map(|record| match &record.body {
                Some(Body::Flow(flow)) => Some(flow),
                _ => None,
            });
            flows.filter(|flow| flow.source == address).count()
        };
        assert!(sources(&Ipv4Addr::LOCALHOST.octets()) > 0);
        assert!(sources(&Ipv6Addr::LOCALHOST.octets()) > 0);
        assert_eq!(
            text.matches("\"ruleId\":\"00000000000000ff\"").count(),
            flows.len()
        );
        assert!(text.contains("\"destinationPort\":9"), "{text}");
    });
}

#[test]
fn an_auditor_that_traps_or_gives_too_few_outcomes_costs_no_event() {
    for deed in ["trap", "too-few", "too-many", "much"] {
        flood(deed, move |flows, lost, text| {
            assert_eq!(flows.len() as u64 + lost, 2000, "{deed}");
            assert!(!flows.is_empty(), "{deed}");
            let lines = text.matches("\"ruleId\":\"00000000000000ff\"").count();
            assert_eq!(lines, flows.len(), "{deed}");
        });
    }
}

#[test]
fn an_auditor_that_withholds_lets_nothing_out_while_it_fails_and_that_is_counted() {
    // No call of it ends with so little fuel.
    let starved = |file: &Path| {
        let mut plugin = auditor(&bytes("redact"), "", file);
        plugin.settings = "{\"label\":\"private\"}".to_owned();
        plugin.fuel = 1;
        plugin
    };
    flooded(bytes("redact"), starved, |flows, lost, text| {
        assert_eq!((flows.len(), lost), (0, 2000));
        assert_eq!(text, "");
    });
}
