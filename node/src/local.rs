//! A socket of root's in the state directory: what this host's own people ask the daemon, and tell it.
//!
//! One question a connection, one line of JSON each way. Nothing here needs a control plane, and no question is answered
//! from anything but what the daemon holds now.

use crate::{
    condition::Condition,
    durable,
    enforce::{Positions, Reconciler},
    link::state::Link,
    metrics::Metrics,
};
use palisade_proto::v1::{ExplainRequest, ExplainResponse, NodeReport};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    os::unix::{
        self,
        fs::{MetadataExt, PermissionsExt},
    },
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
mod explain;
mod message;
mod status;

pub use message::Encoded;
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
/// Between two looks at the state directory: somebody may remove it.
const LOOK: Duration = Duration::from_secs(1);

/// What can be asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// How the host is.
    Status,
    /// What becomes of a packet; the node it names is this one, whatever it says.
    Explain(Box<Encoded<ExplainRequest>>),
    /// Remove our tables, and end.
    Uninstall,
}

/// What is answered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// To [`Question::Explain`].
    Explained(Box<Encoded<ExplainResponse>>),
    /// The question makes no sense: why.
    Misused(String),
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
    /// Answers for ever. While the socket cannot be made, that is a condition. Once a second it looks whether socket and
    /// saved view are still there.
    pub async fn serve(self, dir: PathBuf) {
        let asking = Arc::new(Semaphore::new(ASKING));
        let mut wait = Duration::ZERO;
        loop {
            tokio::time::sleep(wait).await;
            let err = match made(&dir).await {
                Ok((listener, inode)) => {
                    self.reconciler.condition(KIND, None).await;
                    // One that is removed is made again at once.
                    wait = Duration::ZERO;
                    tokio::select! {
                        err = self.accept(&listener, &asking) => err,
                        () = self.watch(&dir, inode) => removed(),
                    }
                }
                Err(err) => {
                    wait = AGAIN;
                    err
                }
            };
            let condition = Condition {
                kind: KIND,
                reason: "NotBound",
                message: format!(
                    "`palisade-node status`, `explain` and `uninstall` do not reach this daemon: {}: {err}; it is tried again, so \
                     see that root can make that directory, and write in it",
                    path(&dir).display()
                ),
            };
            self.reconciler.condition(KIND, Some(condition)).await;
        }
    }

    /// Returns once the socket has lost its name.
    async fn watch(&self, dir: &Path, inode: Inode) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.reconciler.look_at_disk();
            let path = path(dir);
            // A disk that hangs holds up a thread of its own.
            let there = tokio::task::spawn_blocking(move || Inode::of(&path)).await;
            match there {
                Ok(Ok(there)) if there == inode => {}
                Ok(Err(err)) if !is_absent(&err) => {}
                _ => return,
            }
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

    async fn converse(&self, stream: UnixStream) -> io::Result<()> {
        let asker = stream.peer_cred()?.uid();
        let (read, mut write) = stream.into_split();
        let answer = if asker != 0 && asker != geteuid().as_raw() {
            Answer::Failed("only root may ask".to_owned())
        } else {
            let mut line = String::new();
            BufReader::new(read.take(QUESTION))
                .read_line(&mut line)
                .await?;
            match serde_json::from_str(&line) {
                // Whoever gave up while this process was stopped, or hung, wants nothing any more.
                Ok(_) if is_gone(write.as_ref())? => return Ok(()),
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
            Question::Explain(request) => explain::explain(&self.reconciler, &request.0).await,
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

/// Which file a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Inode(u64, u64);

impl Inode {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self(metadata.dev(), metadata.ino()))
    }
}

/// Makes the socket, and the directory if that is missing, where nothing waits for the disk.
async fn made(dir: &Path) -> io::Result<(UnixListener, Inode)> {
    let dir = dir.to_owned();
    let made = tokio::task::spawn_blocking(move || {
        durable::make_private_dir(&dir)?;
        listen(&path(&dir))
    });
    let (listener, inode) = made
        .await
        .unwrap_or_else(|err| Err(io::Error::other(err)))?;
    Ok((UnixListener::from_std(listener)?, inode))
}

/// Only its owner may connect. A socket that is left by a daemon that ended gives way.
fn listen(path: &Path) -> io::Result<(unix::net::UnixListener, Inode)> {
    // In a directory that was made anew while we ran another daemon may be faster.
    if unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another daemon answers there",
        ));
    }
    durable::remove(path)?;
    let listener = unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, Inode::of(path)?))
}

/// Whether the other side has closed the connection.
fn is_gone(stream: &UnixStream) -> io::Result<bool> {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut polled, Some(&Timespec::default()))?;
    let [stream] = polled;
    Ok(stream
        .revents()
        .intersects(PollFlags::RDHUP | PollFlags::HUP))
}

fn is_absent(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn removed() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "it was removed while the daemon runs",
    )
}
