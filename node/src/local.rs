//! A socket of root's in the state directory: what this host's own people ask the daemon, and tell it.
//!
//! One question a connection, one line of JSON each way. Nothing here needs a control plane, and no question is answered
//! from anything but what the daemon holds now.

use crate::{
    condition::Condition,
    enforce::{Positions, Reconciler},
    link::state::Link,
    metrics::Metrics,
};
use palisade_proto::v1::NodeReport;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Notify, Semaphore},
    time::timeout,
};

pub mod client;
mod status;

pub use status::Status;

/// The socket's name in the state directory.
const NAME: &str = "socket";
/// The kind of condition while it cannot be had.
const KIND: &str = "SocketUnavailable";
/// Bytes of a question.
const QUESTION: u64 = 64 * 1024;
/// Connections at a time; others wait.
const ASKING: usize = 8;
/// For a question to come, and for its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the answer to be written, before the daemon ends.
const FAREWELL: Duration = Duration::from_millis(500);
/// Until the socket is made again, should that fail.
const AGAIN: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// How the host is.
    Status,
    /// Remove our tables, and end.
    Uninstall,
}

/// What is answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// Our tables are gone, and were there or not; the daemon ends.
    Uninstalled {
        /// Whether there were any.
        removed: bool,
    },
    /// Why not.
    Failed(String),
}

/// Where the socket of a state directory is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Who answers.
#[derive(Clone)]
pub struct Local {
    /// Who enforces.
    pub reconciler: Reconciler,
    /// The way to the control plane.
    pub link: Link,
    /// Says whether the host is as it should be, as `/readyz` does.
    pub metrics: Metrics,
    /// Makes what the control plane is told now.
    pub report: Arc<dyn Fn() -> NodeReport + Send + Sync>,
    /// Told once our tables are removed: the daemon is to end.
    pub uninstalled: Arc<Notify>,
}

impl Local {
    /// Answers for ever. While the socket cannot be made, that is a condition.
    pub async fn serve(self, dir: PathBuf) {
        let path = path(&dir);
        let asking = Arc::new(Semaphore::new(ASKING));
        loop {
            let err = match listen(&path) {
                Ok(listener) => {
                    self.reconciler.condition(KIND, None).await;
                    self.accept(&listener, &asking).await
                }
                Err(err) => err,
            };
            let condition = Condition {
                kind: KIND,
                reason: "NotBound",
                message: format!(
                    "`palisade-node status` and `uninstall` do not reach this daemon: {}: {err}; it is tried again",
                    path.display()
                ),
            };
            self.reconciler.condition(KIND, Some(condition)).await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn accept(&self, listener: &UnixListener, asking: &Arc<Semaphore>) -> io::Error {
        loop {
            // Never closed.
            let Ok(turn) = Arc::clone(asking).acquire_owned().await else {
                return io::ErrorKind::BrokenPipe.into();
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(err) => return err,
            };
            let local = self.clone();
            tokio::spawn(async move {
                // Whoever goes away, or takes too long, gets no answer.
                let _ = timeout(PATIENCE, local.converse(stream)).await;
                drop(turn);
            });
        }
    }

    async fn converse(&self, mut stream: UnixStream) -> io::Result<()> {
        let asker = stream.peer_cred()?.uid();
        let (read, mut write) = stream.split();
        let answer = if asker != 0 && asker != geteuid().as_raw() {
            Answer::Failed("only root may ask".to_owned())
        } else {
            let mut line = String::new();
            BufReader::new(read.take(QUESTION))
                .read_line(&mut line)
                .await?;
            match serde_json::from_str(&line) {
                Ok(question) => self.answer(question).await,
                Err(err) => {
                    Answer::Failed(format!("not a question that this version knows: {err}"))
                }
            }
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        write.write_all(&line).await
    }

    async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Status => {
                let positions: Positions = *self.reconciler.positions().borrow();
                let link = self.link.subscribe().borrow().clone();
                let (ready, report) = (self.metrics.is_ready(), (self.report)());
                Answer::Status(Box::new(Status::of(&positions, ready, report, &link)))
            }
            Question::Uninstall => {
                let (reconciler, uninstalled) =
                    (self.reconciler.clone(), Arc::clone(&self.uninstalled));
                // A task of its own: once the tables are removed the daemon ends, even if the asker is gone.
                let done = tokio::spawn(async move {
                    let done = reconciler.uninstall().await;
                    if done.is_ok() {
                        tokio::spawn(async move {
                            tokio::time::sleep(FAREWELL).await;
                            uninstalled.notify_one();
                        });
                    }
                    done
                });
                match done.await {
                    Ok(Ok(removed)) => Answer::Uninstalled { removed },
                    Ok(Err(why)) => Answer::Failed(why),
                    Err(_) => Answer::Failed("the daemon is ending".to_owned()),
                }
            }
        }
    }
}

/// Only its owner may connect. Whoever holds the state directory's lock may take the place of a socket that is left.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
