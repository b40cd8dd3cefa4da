//! The way to the control plane, over TLS on the loopback of a namespace: what a daemon does while it is barred, and what
//! it says of that.

use crate::matchers::Daemon;
use crate::namespace::{in_namespace, ip};
use crate::renewal::{Answer, Plane};
use clap::Parser as _;
use jiff::{SignedDuration, Timestamp};
use palisade_node::{
    arguments::{Arguments, Command, Run, Server},
    enforce::{interfaces::Interfaces, machine::follow},
    link::join::Join,
    link::state::{Link, LinkState},
    link::way::Servers,
    metrics::Metrics,
};
use palisade_proto::v1::Hello;
use std::{path::Path, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use tonic::Status;

/// Nothing takes longer, unless it never happens.
const DEADLINE: Duration = Duration::from_secs(30);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A daemon that joins, and what it says of the way.
struct Joining {
    state: watch::Receiver<LinkState>,
    task: JoinHandle<anyhow::Result<()>>,
    daemon: Daemon,
    /// Interfaces that never change, as long as this is there.
    _interfaces: watch::Sender<Interfaces>,
}

fn arguments(server: &Server, dir: &Path) -> Run {
    let dir = dir.to_str().expect("a path in UTF-8");
    let server = server.to_string();
    let words = ["palisade-node", "run", "--server", &server];
    let more = ["--state-dir", dir, "--sink-dir", dir];
    match Arguments::parse_from(words.iter().chain(&more)).command {
        Command::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

impl Joining {
    async fn start(server: &Server, dir: &Path) -> Self {
        let daemon = Daemon::start(dir).await;
        let servers = Servers::open(dir, server, None);
        let link = Link::new(server);
        let (sender, interfaces) = watch::channel(Interfaces::default());
        let reconciler = daemon.running.reconciler.clone();
        tokio::spawn(follow(interfaces, servers.sockets(), reconciler.clone()));
        let join = Join {
            arguments: arguments(server, dir),
            servers,
            link: link.clone(),
            reconciler,
            capabilities: Vec::new(),
            metrics: Metrics::default(),
            loaded: daemon.supervisor.loaded.clone(),
            channel: daemon.supervisor.channel.clone(),
            bind_failures: daemon.supervisor.bind_failures.clone(),
            failing: daemon.supervisor.failing.clone(),
        };
        Self {
            state: link.subscribe(),
            task: tokio::spawn(join.run()),
            daemon,
            _interfaces: sender,
        }
    }

    /// The state once it is as wanted.
    async fn until(&mut self, what: &str, wanted: impl FnMut(&LinkState) -> bool) -> LinkState {
        let waited = tokio::time::timeout(DEADLINE, self.state.wait_for(wanted)).await;
        let state = waited.map(|state| state.expect("goes on").clone());
        state.unwrap_or_else(|_| panic!("not {what}: {:?}", self.state.borrow()))
    }

    async fn stop(self) {
        self.task.abort();
        self.daemon.stop().await;
    }
}

fn on_loopback<F: Future<Output = ()>>(work: impl FnOnce(tempfile::TempDir) -> F + Send + 'static) {
    in_namespace(|| {
        ip("link set lo up\n");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(work(tempfile::tempdir().expect("a folder")));
    });
}

async fn hellos(plane: &Plane, count: usize) -> Vec<Hello> {
    let mut hellos = plane.hellos.subscribe();
    let heard = hellos.wait_for(|hellos| hellos.len() >= count);
    let heard = tokio::time::timeout(DEADLINE, heard).await.expect("heard");
    heard.expect("goes on").clone()
}

#[test]
fn a_control_plane_that_fails_after_its_welcome_is_tried_with_growing_pauses() {
    on_loopback(|dir| async move {
        let plane_dir = tempfile::tempdir().expect("a folder");
        let (plane, server) = Plane::start(plane_dir.path()).await;
        *plane.answer.lock().expect("whole") = Answer::End(Status::internal("no store"));
        plane.enrolled(dir.path(), DAY, Timestamp::now());
        let mut joining = Joining::start(&server, dir.path()).await;
        let heard = hellos(&plane, 2).await;
        assert_eq!(heard[0].instance, heard[1].instance, "one daemon");
        assert_eq!(heard[0].instance.len(), 16);
        let state = joining
            .until("waiting", |state| {
                state.retry_in >= Some(Duration::from_millis(500))
            })
            .await;
        assert!(!state.connected);
        let error = state.last_error.expect("told");
        assert!(error.contains("no store"), "{error}");

        *plane.answer.lock().expect("whole") = Answer::Nothing;
        joining.until("connected", |state| state.connected).await;
        joining.stop().await;
    });
}

#[test]
fn whoever_is_taken_over_from_by_another_daemon_waits_long_and_says_why() {
    on_loopback(|dir| async move {
        let plane_dir = tempfile::tempdir().expect("a folder");
        let (plane, server) = Plane::start(plane_dir.path()).await;
        let taken_over = Status::already_exists("another daemon took over, from 10.0.0.2:9");
        *plane.answer.lock().expect("whole") = Answer::End(taken_over);
        plane.enrolled(dir.path(), DAY, Timestamp::now());
        let mut joining = Joining::start(&server, dir.path()).await;
        let state = joining
            .until("waiting", |state| state.retry_in.is_some())
            .await;
        assert!(state.retry_in >= Some(Duration::from_secs(30)), "{state:?}");
        let condition = &state.conditions["DuplicateIdentity"];
        assert!(condition.message.contains("10.0.0.2:9"), "{condition:?}");
        assert_eq!(plane.hellos.borrow().len(), 1);
        joining.stop().await;
    });
}

#[test]
fn without_a_resolver_the_addresses_remembered_lead_to_the_control_plane_and_it_is_told() {
    on_loopback(|dir| async move {
        let plane_dir = tempfile::tempdir().expect("a folder");
        // RFC 6761: never resolves.
        let (plane, server) = Plane::start_as(plane_dir.path(), "control.invalid").await;
        plane.enrolled(dir.path(), DAY, Timestamp::now());
        let mut joining = Joining::start(&server, dir.path()).await;
        let unresolved = |reason: &'static str| {
            move |state: &LinkState| {
                let condition = state.conditions.get("ResolverUnavailable");
                condition.is_some_and(|condition| condition.reason == reason)
            }
        };
        joining.until("unresolved", unresolved("Unresolved")).await;
        joining.stop().await;

        let remembered = format!("{server}\n127.0.0.1:{}\n", server.port);
        std::fs::write(dir.path().join("servers"), remembered).expect("written");
        let mut joining = Joining::start(&server, dir.path()).await;
        let state = joining.until("connected", |state| state.connected).await;
        assert!(unresolved("Remembered")(&state), "{state:?}");
        let hellos = hellos(&plane, 1).await;
        let report = hellos[0].report.as_ref().expect("a report");
        let told = report.conditions.iter().map(|told| &*told.r#type);
        assert!(told.clone().any(|kind| kind == "ResolverUnavailable"));
        // Exempt before the connection was made: the API, and the enrolment on the same host.
        let ports: Vec<_> = report.control_plane.iter().map(|at| at.port).collect();
        assert_eq!(ports.len(), 2);
        assert!(ports.contains(&7601) && ports.contains(&server.port.into()));
        joining.stop().await;
    });
}

#[test]
fn a_certificate_that_cannot_be_read_for_a_while_keeps_nobody_away_for_ever() {
    on_loopback(|dir| async move {
        let plane_dir = tempfile::tempdir().expect("a folder");
        let (plane, server) = Plane::start(plane_dir.path()).await;
        plane.enrolled(dir.path(), DAY, Timestamp::now());
        // A directory in the place of the file: reading it is an error, as EIO and EMFILE are.
        let file = dir.path().join("identity.pem");
        let content = std::fs::read(&file).expect("readable");
        std::fs::remove_file(&file).expect("removed");
        std::fs::create_dir(&file).expect("made");
        let mut joining = Joining::start(&server, dir.path()).await;
        joining
            .until("unreadable", |state| {
                let condition = state.conditions.get("CertificateUnavailable");
                condition.is_some_and(|condition| condition.reason == "Unreadable")
            })
            .await;
        std::fs::remove_dir(&file).expect("removed");
        std::fs::write(&file, content).expect("written");
        let state = joining.until("connected", |state| state.connected).await;
        assert!(state.conditions.is_empty(), "{state:?}");
        joining.stop().await;
    });
}

#[test]
fn a_node_that_cannot_enrol_says_why() {
    on_loopback(|dir| async move {
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port: 7600,
        };
        let mut joining = Joining::start(&server, dir.path()).await;
        let state = joining
            .until("without a certificate", |state| {
                !state.conditions.is_empty()
            })
            .await;
        let condition = &state.conditions["CertificateUnavailable"];
        assert_eq!(condition.reason, "Missing");
        assert!(condition.message.contains("--token"), "{condition:?}");
        joining.stop().await;
    });
}
