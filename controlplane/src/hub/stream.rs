//! A stream's hold on its node: opened, attached once the daemon says who it is, and ended.

use super::{Daemon, Hub, Node, State, now};
use crate::session::{Compiled, Memory};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::{oneshot, watch};

/// The stream that serves a node.
pub(super) struct Attached {
    number: u64,
    daemon: Daemon,
    replace: oneshot::Sender<Replaced>,
}

/// A stream's hold on its node. Dropping it says that the node is gone.
pub struct Stream {
    hub: Arc<Hub>,
    node: Arc<Node>,
    number: u64,
}

/// What a new stream starts with.
pub struct Opened {
    /// The hold; it serves the node once it is attached.
    pub stream: Stream,
    /// The node's views; the present one counts as unseen.
    pub view: watch::Receiver<Option<Compiled>>,
}

/// Which stream took over from an older one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replaced {
    /// A newer stream of the same daemon.
    BySameDaemon,
    /// The stream of another daemon, connected from there.
    ByAnotherDaemon(SocketAddr),
}

impl Hub {
    /// A node has opened a stream, but said nothing yet.
    pub fn open(self: &Arc<Self>, name: &str) -> Opened {
        let node = self.node(name);
        node.state().open += 1;
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        let mut view = node.view.subscribe();
        view.mark_changed();
        Opened {
            view,
            stream: Stream {
                hub: Arc::clone(self),
                node,
                number,
            },
        }
    }
}

impl Stream {
    /// The daemon at the other end has said who it is: the stream serves the node from now on, and an older one is told
    /// to end. Gives what is known of the node, and what fires when a newer stream takes over.
    pub fn attach(&self, daemon: Daemon) -> (Memory, oneshot::Receiver<Replaced>) {
        let (replace, replaced) = oneshot::channel();
        let attached = Attached {
            number: self.number,
            daemon: daemon.clone(),
            replace,
        };
        let (memory, older) = {
            let mut state = self.node.state();
            state.takeovers.note(&daemon, now());
            (state.memory.clone(), state.stream.replace(attached))
        };
        if let Some(older) = older {
            let by = if older.daemon.instance == daemon.instance {
                Replaced::BySameDaemon
            } else {
                Replaced::ByAnotherDaemon(daemon.address)
            };
            // It may have ended by itself just now.
            let _ = older.replace.send(by);
        }
        self.hub.news.send_replace(());
        (memory, replaced)
    }

    /// The node was heard of.
    pub fn heard(&self) {
        let mut state = self.node.state();
        if self.is_current(&state) {
            state.last_seen = now();
        }
    }

    /// Keeps what the stream learnt of its node, unless a newer stream has taken over.
    pub fn remember(&self, memory: &Memory) {
        let mut state = self.node.state();
        if self.is_current(&state) {
            state.memory = memory.clone();
            drop(state);
            self.hub.news.send_replace(());
        }
    }

    fn is_current(&self, state: &State) -> bool {
        state
            .stream
            .as_ref()
            .is_some_and(|s| s.number == self.number)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.node.state();
        state.open = state.open.saturating_sub(1);
        if self.is_current(&state) {
            state.stream = None;
            state.memory.lagging = false;
            drop(state);
            self.hub.news.send_replace(());
        }
    }
}
