//! The real process: killed without warning, and ended politely.

use crate::harness::{Context, DEADLINE, apply, policy};
use palisade_proto::v1::{self, resource_service_client::ResourceServiceClient};
use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};
use tokio::time::timeout;

struct Process {
    child: Child,
    api: SocketAddr,
    enrollment: SocketAddr,
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

impl Process {
    /// Starts it and waits for its log line `ready`.
    fn start(dir: &Path) -> Self {
        let (api, enrollment, http) = (free_port(), free_port(), free_port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_palisade-controlplane"))
            .arg("--data-dir")
            .arg(dir)
            .args(["--listen", &api.to_string()])
            .args(["--enroll-listen", &enrollment.to_string()])
            .args(["--http-listen", &http.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let log = BufReader::new(child.stderr.take().expect("a log"));
        let mut lines = log.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains(" ready ")),
            "it never was ready"
        );
        // Read on, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            api,
            enrollment,
        }
    }

    async fn resources(&self, dir: &Path) -> ResourceServiceClient<tonic::transport::Channel> {
        let admin = Context::admin(dir, self.api, self.enrollment);
        ResourceServiceClient::new(admin.connect().await)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut written = Vec::new();
    for round in 0..3 {
        let mut process = Process::start(dir.path());
        let mut resources = process.resources(dir.path()).await;
        let list = v1::ListResourcesRequest {
            kind: "GlobalNetworkPolicy".to_owned(),
            ..v1::ListResourcesRequest::default()
        };
        let found = resources
            .list_resources(list)
            .await
            .expect("a list")
            .into_inner()
            .resources;
        let mut found: Vec<String> = found
            .into_iter()
            .map(|r| r.r#ref.expect("a name").name)
            .collect();
        found.retain(|name| written.contains(name));
        assert_eq!(found, written, "round {round}");
        let writer = tokio::spawn(async move {
            let mut done = Vec::new();
            for n in 0.. {
                let name = format!("r{round}n{n:05}");
                if apply(&mut resources, &[policy(&name, "all()", &[1])])
                    .await
                    .is_err()
                {
                    break;
                }
                done.push(name);
                if done.len() == 20 {
                    process.child.kill().expect("kills");
                }
            }
            done
        });
        written.extend(
            timeout(DEADLINE, writer)
                .await
                .expect("in time")
                .expect("writes"),
        );
    }
    assert!(written.len() >= 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_written_once_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    drop(Process::start(dir.path()));
    let path = dir.path().join("admin.yaml");
    let first = std::fs::read(&path).expect("a context");
    let mode = std::fs::metadata(&path)
        .expect("a context")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(Process::start(dir.path()));
    assert_eq!(std::fs::read(&path).expect("a context"), first);
}
