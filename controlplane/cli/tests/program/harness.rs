//! A control plane of this process, and the program run against it.

use clap::Parser as _;
use palisade_controlplane::{config::Config, server::Server};
use palisade_store::{EmbeddedStore, Op, Store as _, Txn};

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A control plane, and a folder for files.
pub(crate) struct Plane {
    pub(crate) server: Server,
    pub(crate) dir: tempfile::TempDir,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder")).await
    }

    /// Stops it, writes a row as another build would, and starts it again over the same data.
    pub(crate) async fn restart_with(self, key: &str, row: &str) -> Self {
        self.server.stop().await;
        {
            let path = self.dir.path().join("data/store.redb");
            let store = EmbeddedStore::open(&path).expect("a store");
            let op = Op::Put(key.to_owned().into(), row.to_owned().into());
            let txn = Txn::unconditional(vec![op]);
            store.txn(txn).await.expect("writes");
        }
        Self::start_in(self.dir).await
    }

    async fn start_in(dir: tempfile::TempDir) -> Self {
        let data = dir.path().join("data");
        let any = "127.0.0.1:0";
        let words = [
            "palisade-controlplane",
            "--data-dir",
            data.to_str().expect("a readable path"),
            "--listen",
            any,
            "--enroll-listen",
            any,
            "--http-listen",
            any,
        ];
        let mut server = Server::start(&Config::parse_from(words))
            .await
            .expect("starts");
        server.ready().await.expect("compiles");
        let context = fs::read_to_string(data.join("admin.yaml")).expect("a context");
        let api = server.addresses().api.to_string();
        let context: String = context
            .lines()
            .map(|line| match line.starts_with("server:") {
                true => format!("server: {api}\n"),
                false => format!("{line}\n"),
            })
            .collect();
        fs::write(dir.path().join("context.yaml"), context).expect("writes");
        Self { server, dir }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("writes");
        path
    }

    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        self.run_in(self.dir.path(), words).await
    }

    /// As [`Plane::run`], in a folder.
    pub(crate) async fn run_in(&self, folder: &Path, words: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisadectl"));
        command
            .current_dir(folder)
            .arg("--context")
            .arg(self.dir.path().join("context.yaml"))
            .args(words);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        Ran::from(output.expect("joins").expect("runs"))
    }

    /// A run that succeeds; what it printed.
    pub(crate) async fn out(&self, words: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
        ran.out
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}
