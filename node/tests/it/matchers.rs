//! Packets that plugins judge, in a real kernel: matchers, failure policies, auditors.

use crate::{
    guests::{auditor, bytes, forget, keep, plugin},
    namespace::{in_namespace, ip, nft},
    plugins::serve,
    view::{position, transaction, view},
};
use palisade_node::{
    enforce, enforce::transaction::Outcome, metrics::Metrics, plugins::audit::sink::Directory,
    plugins::loaded::Readiness, plugins::supervisor,
};
use palisade_policy::{
    class::{ClassTier, Direction, PolicyList, TierDefault},
    endpoint::InterfaceMatch,
    ids::{ClassId, PolicyId, RuleId},
    packet::{Environment, Interface},
    plugin::{OnFailure, PluginCondition, PluginKind},
    rule::{Action, EntityMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule},
    view::View,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
/// Longer than any packet waits that is let through.
const LONG: Duration = Duration::from_secs(10);
/// Longer than a packet over loopback takes that is let through; one that is late is found by the next of its kind.
const SHORT: Duration = Duration::from_millis(300);

/// A rule of UDP to a port.
fn rule(id: u64, action: Action, port: u16, plugin: Option<PluginCondition>) -> Rule {
    Rule {
        id: RuleId(id),
        action,
        matches: Match {
            protocol: Some(Protocol::UDP),
            destination: EntityMatch {
                ports: PortMatch {
                    ranges: vec![PortRange::single(port)],
                    sets: vec![],
                },
                ..EntityMatch::default()
            },
            plugin,
            ..Match::default()
        },
    }
}

/// Lets in the connection that plugins are fetched by.
fn tcp(id: u64) -> Rule {
    let matches = Match {
        protocol: Some(Protocol::TCP),
        ..Match::default()
    };
    Rule {
        id: RuleId(id),
        action: Action::Allow,
        matches,
    }
}

fn condition(plugin: &str, settings: &str, on_failure: OnFailure) -> Option<PluginCondition> {
    Some(PluginCondition {
        plugin: plugin.into(),
        settings: settings.to_owned(),
        on_failure,
    })
}

const DNS: &str = r#"{"suffixes":["denied.example"],"rememberSeconds":0}"#;

/// The port of each failure policy, the rule's action, and whether a packet passes when there is no answer; each is
/// followed by a rule that does the opposite.
const POLICIES: [(u16, OnFailure, Action, bool); 4] = [
    (6001, OnFailure::Match, Action::Deny, false),
    (6002, OnFailure::NoMatch, Action::Deny, true),
    (6003, OnFailure::Deny, Action::Allow, false),
    (6004, OnFailure::Allow, Action::Deny, true),
];

/// [`asking`] plugins that do nothing, with an auditor that keeps everything and has a file as sink.
pub(crate) fn audited(file: &Path) -> View {
    let mut view = asking("nothing");
    let reads = auditor(&bytes("misbehave-auditor"), "keep", file);
    view.plugins.insert("plugin/reads".into(), Arc::new(reads));
    view
}

/// `lo` lets in what rules let in, and everything out.
pub(crate) fn asking(deed: &str) -> View {
    let mut view = view(&[], &[]);
    let mut rules = vec![
        rule(
            1,
            Action::Deny,
            53,
            condition("plugin/dns-suffix", DNS, OnFailure::Match),
        ),
        rule(2, Action::Allow, 53, None),
        rule(3, Action::Allow, 7000, None),
        tcp(5),
    ];
    let settings = format!("{{\"deed\":\"{deed}\"}}");
    for (port, on_failure, action, _) in POLICIES {
        let asks = condition("plugin/misbehave", &settings, on_failure);
        let opposite = match action {
            Action::Deny => Action::Allow,
            _ => Action::Deny,
        };
        rules.push(rule(u64::from(port), action, port, asks));
        rules.push(rule(u64::from(port) + 100, opposite, port, None));
    }
    let out = Rule {
        id: RuleId(4),
        action: Action::Allow,
        matches: Match::default(),
    };
    let id = PolicyId::from("gnp/asking");
    let policy = Policy {
        ingress: rules,
        egress: vec![out],
        ..Policy::default()
    };
    view.policies.insert(id.clone(), Arc::new(policy));
    let endpoint = view.endpoints.values_mut().next().expect("one");
    let endpoint = Arc::make_mut(endpoint);
    endpoint.interface = InterfaceMatch::Named("lo".into());
    for direction in [Direction::Ingress, Direction::Egress] {
        let place = (PolicyList::Normal, direction);
        let old = endpoint.classes[&place].clone();
        let mut class = (*view.classes[&old]).clone();
        class.tiers = vec![ClassTier {
            name: "default".into(),
            default: TierDefault::Deny,
            policies: vec![id.clone()],
            staged: vec![],
        }];
        let new = ClassId::of(&class);
        endpoint.classes.insert(place, new.clone());
        view.classes.remove(&old);
        view.classes.insert(new, Arc::new(class));
    }
    for package in ["dns-suffix", "misbehave"] {
        let plugin = plugin(PluginKind::Matcher, &bytes(package));
        let id = format!("plugin/{package}");
        view.plugins.insert(id.as_str().into(), Arc::new(plugin));
    }
    view
}

/// A flow that was denied, as a sink's file has it.
fn denial(file: &Path) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(file).ok()?;
    let records = text.lines().map(serde_json::from_str::<serde_json::Value>);
    let mut flows = records.filter_map(|record| Some(record.ok()?["flow"].clone()));
    flows.find(|flow| flow["action"] == "deny")
}

pub(crate) fn machine() -> Environment {
    let lo = Interface {
        up: true,
        addresses: LOOPBACK.to_vec(),
        master: None,
    };
    Environment {
        interfaces: [("lo".into(), lo)].into(),
        control_plane: vec![],
    }
}

/// A daemon without a control plane.
pub(crate) struct Daemon {
    pub(crate) running: enforce::Running,
    pub(crate) supervisor: supervisor::Running,
}

impl Daemon {
    pub(crate) async fn start(state: &Path) -> Self {
        let metrics = Metrics::default();
        let running = enforce::start(state, machine(), metrics.clone())
            .await
            .expect("started");
        let supervisor =
            supervisor::start(state, Directory::new(state), running.feed.clone(), metrics)
                .expect("started");
        Self {
            running,
            supervisor,
        }
    }

    pub(crate) async fn apply(&self, from: Option<&View>, to: &View, revision: u64) {
        let transaction = transaction(from, to, revision);
        let outcome = self.running.reconciler.apply(transaction, Instant::now());
        let outcome = outcome.await;
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
        let enforced = self.running.reconciler.positions().borrow().enforced;
        assert_eq!(enforced, Some(position(to, revision)));
    }

    pub(crate) async fn plugins_ready(&self, count: usize) {
        let mut loaded = self.supervisor.loaded.clone();
        let ready = loaded.wait_for(|loaded| {
            let ready = loaded.plugins.values();
            let ready = ready.filter(|one| matches!(one.readiness, Readiness::Ready(_)));
            ready.count() == count
        });
        let waited = tokio::time::timeout(Duration::from_secs(120), ready).await;
        assert!(
            waited.is_ok(),
            "{:?}",
            self.supervisor.loaded.borrow().plugins
        );
    }

    pub(crate) async fn stop(self) {
        self.supervisor.stop().await;
        self.running.reconciler.stop().await;
    }
}

/// Elements of sets of remembered answers, of one prefix.
fn remembered(prefix: &str) -> usize {
    let listed = nft(&["-j", "list", "ruleset"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let objects = listed["nftables"].as_array().expect("a list").iter();
    let sets = objects.map(|object| &object["set"]);
    let named = |set: &&serde_json::Value| {
        let name = set["name"].as_str();
        name.is_some_and(|name| name.starts_with(prefix))
    };
    let elements = sets.filter(named).map(|set| &set["elem"]);
    elements
        .filter_map(|elements| elements.as_array().map(Vec::len))
        .sum()
}

pub(crate) fn alive() -> bool {
    nft(&["list", "set", "inet", "palisade", "plugin_alive"]).contains("elements")
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not {what} in time");
        tokio::task::yield_now().await;
    }
}

/// A query for a name.
fn query(name: &str) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("short"));
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Whether a packet gets to a port.
fn comes(address: IpAddr, port: u16, payload: &[u8], patience: Duration) -> bool {
    let server = UdpSocket::bind(SocketAddr::new(address, port)).expect("bound");
    server.set_read_timeout(Some(patience)).expect("set");
    let client = UdpSocket::bind(SocketAddr::new(address, 0)).expect("bound");
    client.send_to(payload, (address, port)).expect("sent");
    server.recv(&mut [0; 512]).is_ok()
}

/// The same on each family.
pub(crate) fn passes(port: u16, payload: &[u8], expected: bool, why: &str) {
    for address in LOOPBACK {
        let patience = if expected { LONG } else { SHORT };
        let came = comes(address, port, payload, patience);
        assert_eq!(
            came,
            expected,
            "{why}: {address} port {port}\n{}",
            nft(&["list", "ruleset"])
        );
    }
}

pub(crate) fn failure_policies_hold(why: &str) {
    for (port, _, _, expected) in POLICIES {
        passes(port, b"x", expected, why);
    }
    passes(7000, b"x", true, why);
}

pub(crate) fn with_daemon<F: Future<Output = ()>>(
    work: impl FnOnce(tempfile::TempDir) -> F + Send + 'static,
) {
    // Built outside of the namespace: that may want the network.
    bytes("misbehave");
    in_namespace(|| {
        ip("link set lo up\n");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let state = tempfile::tempdir().expect("temporary directory");
        for package in ["dns-suffix", "misbehave", "misbehave-auditor", "redact"] {
            keep(state.path(), &bytes(package));
        }
        runtime.block_on(work(state));
    });
}

#[test]
fn a_query_for_a_denied_suffix_is_dropped_and_others_pass() {
    with_daemon(|state| async move {
        let daemon = Daemon::start(state.path()).await;
        let view = asking("nothing");
        daemon.apply(None, &view, 1).await;
        daemon.plugins_ready(2).await;
        until("alive", alive).await;
        for _ in 0..2 {
            passes(53, &query("www.denied.example"), false, "denied");
            passes(53, &query("www.other.example"), true, "allowed");
        }
        // A plugin that says no leaves the packet to the rule after it.
        passes(6001, b"x", true, "not matched");
        passes(6003, b"x", false, "not matched");
        daemon.stop().await;
    });
}

/// Every deed but one that keeps an answer from coming.
const DEEDS: [&str; 7] = [
    "loop",
    "memory",
    "wild-read",
    "recursion",
    "exit",
    "need-payload",
    "trap-in-configure",
];

pub(crate) fn the_other_plugin_is_well(why: &str) {
    passes(53, &query("www.other.example"), true, why);
    passes(53, &query("www.denied.example"), false, why);
}

#[test]
fn failure_policies_hold_whatever_a_plugin_does_and_when_nobody_answers() {
    with_daemon(|state| async move {
        let daemon = Daemon::start(state.path()).await;
        let mut view = asking("trap");
        daemon.apply(None, &view, 1).await;
        failure_policies_hold("perhaps not loaded yet");
        daemon.plugins_ready(2).await;
        until("alive", alive).await;
        failure_policies_hold("trap");
        the_other_plugin_is_well("trap");
        for (deed, revision) in DEEDS.into_iter().zip(2..) {
            let next = asking(deed);
            daemon.apply(Some(&view), &next, revision).await;
            daemon.plugins_ready(2).await;
            failure_policies_hold(deed);
            the_other_plugin_is_well(deed);
            view = next;
        }

        daemon.stop().await;
        until("dead", || !alive()).await;
        failure_policies_hold("nobody answers");
        passes(53, &query("www.other.example"), false, "nobody answers");

        // Another daemon takes over what is saved.
        let daemon = Daemon::start(state.path()).await;
        daemon.plugins_ready(2).await;
        until("alive", alive).await;
        the_other_plugin_is_well("recovered");
        daemon.stop().await;
    });
}

#[test]
fn failure_policies_hold_for_a_plugin_that_is_refused_or_missing_until_it_comes() {
    with_daemon(|state| async move {
        let daemon = Daemon::start(state.path()).await;
        let mut refused = asking("nothing");
        let no_component = b"no component".to_vec();
        keep(state.path(), &no_component);
        let other = plugin(PluginKind::Matcher, &no_component);
        refused
            .plugins
            .insert("plugin/misbehave".into(), Arc::new(other));
        daemon.apply(None, &refused, 1).await;
        daemon.plugins_ready(1).await;
        until("alive", alive).await;
        failure_policies_hold("refused");
        the_other_plugin_is_well("refused");

        forget(state.path(), &bytes("misbehave"));
        let missing = asking("nothing");
        daemon.apply(Some(&refused), &missing, 2).await;
        failure_policies_hold("missing");
        the_other_plugin_is_well("missing");

        let (channel, _) = serve(bytes("misbehave")).await;
        daemon.supervisor.channel.send_replace(Some(channel));
        daemon.plugins_ready(2).await;
        // Its answer: it does not match.
        for (port, _, action, _) in POLICIES {
            passes(port, b"x", action == Action::Deny, "fetched");
        }
        daemon.stop().await;
    });
}

/// Where another test's daemon keeps its state.
const STATE: &str = "PALISADE_TEST_STATE";

#[test]
#[ignore = "the daemon of another test, as a process of its own"]
fn a_process_of_its_own() {
    let Some(state) = std::env::var_os(STATE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let _daemon = Daemon::start(Path::new(&state)).await;
        std::future::pending::<()>().await;
    });
}

/// A daemon in a process, ended with the test.
struct Process(std::process::Child);

impl Process {
    fn start(state: &Path) -> Self {
        let test = std::env::current_exe().expect("a test");
        let child = Command::new(test)
            .args(["--exact", "--ignored", "matchers::a_process_of_its_own"])
            .env(STATE, state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("started"))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.0.id().to_string()])
            .status();
        assert!(sent.expect("kill").success(), "{signal}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn failure_policies_hold_while_the_daemon_is_stopped_or_killed_and_end_with_it() {
    with_daemon(|state| async move {
        // What is saved is what a process enforces from its start.
        let daemon = Daemon::start(state.path()).await;
        daemon.apply(None, &asking("nothing"), 1).await;
        daemon.stop().await;
        let answers = || {
            let other = query("www.other.example");
            alive() && comes(LOOPBACK[0], 53, &other, SHORT)
        };

        let process = Process::start(state.path());
        until("answering", answers).await;
        the_other_plugin_is_well("running");
        process.signal("-STOP");
        until("without heartbeat", || !alive()).await;
        failure_policies_hold("stopped");
        passes(53, &query("www.other.example"), false, "stopped");
        process.signal("-CONT");
        until("answering", answers).await;
        the_other_plugin_is_well("goes on");

        process.signal("-KILL");
        until("without heartbeat", || !alive()).await;
        failure_policies_hold("killed");
        passes(53, &query("www.other.example"), false, "killed");
        drop(process);
        let _again = Process::start(state.path());
        until("answering", answers).await;
        the_other_plugin_is_well("started again");
    });
}

#[test]
fn a_socket_that_asked_is_answered_by_the_kernel_and_another_is_asked_about() {
    with_daemon(|state| async move {
        let daemon = Daemon::start(state.path()).await;
        let mut view = asking("nothing");
        let settings = DNS.replace(":0", ":60");
        for policy in view.policies.values_mut() {
            for rule in &mut Arc::make_mut(policy).ingress {
                if let Some(condition) = &mut rule.matches.plugin
                    && condition.plugin == "plugin/dns-suffix".into()
                {
                    condition.settings.clone_from(&settings);
                }
            }
        }
        daemon.apply(None, &view, 1).await;
        daemon.plugins_ready(2).await;
        until("alive", alive).await;
        for (address, prefix) in LOOPBACK.into_iter().zip(["match4s_", "match6s_"]) {
            let server = UdpSocket::bind(SocketAddr::new(address, 53)).expect("bound");
            server.set_read_timeout(Some(SHORT)).expect("set");
            let client = || UdpSocket::bind(SocketAddr::new(address, 0)).expect("bound");
            let heard = |from: &UdpSocket, name: &str| {
                from.send_to(&query(name), (address, 53)).expect("sent");
                server.recv(&mut [0; 512]).is_ok()
            };
            let asked = client();
            assert!(!heard(&asked, "www.denied.example"));
            until("remembered", || remembered(prefix) == 1).await;
            // Its answer stands; the next socket's is its own.
            assert!(!heard(&asked, "www.denied.example"));
            assert!(heard(&client(), "www.other.example"));
            assert!(!heard(&client(), "www.denied.example"));
        }
        daemon.stop().await;
    });
}

#[test]
fn an_auditor_reads_what_was_denied_and_its_file_has_every_packet() {
    with_daemon(|state| async move {
        let daemon = Daemon::start(state.path()).await;
        let file = state.path().join("audit.log");
        let view = audited(&file);
        daemon.apply(None, &view, 1).await;
        daemon.plugins_ready(3).await;
        let lines = || std::fs::read_to_string(&file).unwrap_or_default();
        let denials = |text: &str| text.matches("\"action\":\"deny\"").count();
        // The group is bound once the first denial is written.
        until("heard of", || {
            passes(9, b"x", false, "no rule allows it");
            denials(&lines()) > 0
        })
        .await;
        until("all written", || {
            let before = denials(&lines());
            std::thread::yield_now();
            before % 2 == 0
        })
        .await;
        let before = denials(&lines());
        for _ in 0..100 {
            for address in LOOPBACK {
                let client = UdpSocket::bind(SocketAddr::new(address, 0)).expect("bound");
                client.send_to(b"x", (address, 9)).expect("sent");
            }
        }
        until("all written", || denials(&lines()) == before + 200).await;
        let text = lines();
        assert!(text.contains("\"rule\":\"default\""), "{text}");
        assert!(text.contains("\"source\":\"::1\""), "{text}");
        assert!(text.contains("\"destinationEndpoint\":\"eth0\""), "{text}");
        assert!(!text.contains("\"lost\""), "{text}");
        daemon.stop().await;
    });
}

#[test]
fn addresses_of_an_endpoint_with_the_label_are_blanked_and_others_are_not() {
    with_daemon(|state| async move {
        let daemon = Daemon::start(state.path()).await;
        let mut last: Option<View> = None;
        for (value, revision) in [("yes", 1), ("no", 2)] {
            let file = state.path().join(value);
            let mut redact = auditor(&bytes("redact"), "", &file);
            redact.settings = r#"{"label":"private=yes"}"#.to_owned();
            let mut view = asking("nothing");
            view.plugins
                .insert("plugin/redact".into(), Arc::new(redact));
            for endpoint in view.endpoints.values_mut() {
                let labels = &mut Arc::make_mut(endpoint).labels;
                labels.insert("private".to_owned(), value.to_owned());
            }
            daemon.apply(last.as_ref(), &view, revision).await;
            daemon.plugins_ready(3).await;
            until("heard of", || {
                passes(9, b"x", false, "no rule allows it");
                denial(&file).is_some()
            })
            .await;
            let flow = denial(&file).expect("heard of");
            assert_eq!(flow["destination"].is_null(), value == "yes", "{flow}");
            assert!(flow["source"].is_string(), "{flow}");
            last = Some(view);
        }
        daemon.stop().await;
    });
}
