//! The control plane's half of one node's stream, as a state machine without IO, clock or tokio.
//!
//! Owns: what the node holds, the transaction under way, when to send what. Refuses to own: channels, time (it is told),
//! where views come from. Kept here: one unacknowledged transaction per node, and a revision never goes back within an
//! epoch. A slow node costs no queue: what changes meanwhile is the difference to the latest view, computed after the Ack.

mod answer;
mod fault;
mod greeting;
mod memory;
mod refusal;
mod substitute;
#[cfg(test)]
mod tests;

pub use memory::Memory;

use palisade_policy::{
    digest::ItemHash,
    frame::Chunks,
    item::ItemId,
    table::{self, ItemTable},
    view::{Epoch, Position},
};
use palisade_proto::v1::{
    self, stream_view_request::Message as FromNode, stream_view_response::Message as ToNode,
};
use std::{collections::BTreeMap, time::Duration};

/// The only schema of this build.
pub const SCHEMA: u32 = 1;
/// A node says Hello within this time.
pub const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How often the node is pinged.
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// After so much silence the node is given up.
pub const SILENCE: Duration = Duration::from_secs(60);
/// A transaction without Ack for so long makes the node Lagging.
pub const LAGGING_AFTER: Duration = Duration::from_secs(60);
/// A transaction without Ack for so long ends the stream.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// A view as compiled for one node.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the view is made of.
    pub table: ItemTable,
    /// The revision that it is good for.
    pub revision: u64,
}

/// What happens to a session.
#[derive(Debug)]
pub enum Event {
    /// The node said something.
    Message(Box<FromNode>),
    /// The node's view has been compiled.
    View(Compiled),
    /// Time went by.
    Tick,
}

/// What the shell is to do.
#[derive(Debug)]
pub enum Effect {
    /// Say this.
    Send(ToNode),
    /// Send a whole transaction.
    Transaction(Transaction),
    /// End the stream. Nothing follows.
    Close(Ending),
}

/// `Begin`, chunks and `Commit` of one transaction.
pub struct Transaction {
    /// The first message.
    pub begin: v1::Begin,
    /// What lies between.
    pub chunks: Chunks,
    /// The last message.
    pub commit: v1::Commit,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transaction").field(&self.begin).finish()
    }
}

/// Why a stream ends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Ending {
    /// The node broke the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// The node speaks none of our schemas.
    #[error("no schema in common: the node speaks {min} to {max}, the control plane {SCHEMA}")]
    Schema {
        /// Lowest.
        min: u32,
        /// Highest.
        max: u32,
    },
    /// Nothing was heard for too long, or no Hello came.
    #[error("the node was silent for too long")]
    Silent,
    /// A transaction was not answered.
    #[error("the node did not answer a transaction")]
    Unanswered,
}

/// What the node holds, as far as a difference needs it.
#[derive(Debug)]
enum Held {
    Nothing,
    Hashes(Position, BTreeMap<ItemId, ItemHash>),
    Table(Position, ItemTable),
}

impl Held {
    fn position(&self) -> Option<&Position> {
        match self {
            Self::Nothing => None,
            Self::Hashes(position, _) | Self::Table(position, _) => Some(position),
        }
    }
}

#[derive(Debug)]
enum Phase {
    Greeting,
    AwaitingInventory(Position),
    Streaming,
    Closed,
}

#[derive(Debug)]
struct InFlight {
    to: Position,
    table: ItemTable,
    snapshot: bool,
    since: Duration,
}

/// One stream of one node.
#[derive(Debug)]
pub struct Session {
    epoch: Epoch,
    phase: Phase,
    held: Held,
    latest: Option<Compiled>,
    in_flight: Option<InFlight>,
    memory: Memory,
    changed: bool,
    waits: bool,
    opened: Duration,
    heard: Duration,
    pinged: Duration,
}

impl Session {
    /// A stream that was just opened.
    pub fn new(epoch: Epoch, now: Duration) -> Self {
        Self {
            epoch,
            phase: Phase::Greeting,
            held: Held::Nothing,
            latest: None,
            in_flight: None,
            memory: Memory::default(),
            changed: false,
            waits: false,
            opened: now,
            heard: now,
            pinged: now,
        }
    }

    /// Begins with what is remembered of the node; before its Hello.
    pub fn recall(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// What is known of the node.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether what is known of the node changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether the node is ahead of the compiler, so that a view that differs only in revision matters.
    pub fn waits_for_revision(&self) -> bool {
        self.waits
    }

    /// Takes what happened at `now` (since any fixed moment) and says what to do, in order.
    pub fn on_event(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        if matches!(self.phase, Phase::Closed) {
            return Vec::new();
        }
        let result = match event {
            Event::View(latest) => {
                self.latest = Some(latest);
                Ok(self.advance(now))
            }
            Event::Tick => self.tick(now),
            Event::Message(message) => {
                self.heard = now;
                self.on_message(now, *message)
            }
        };
        result.unwrap_or_else(|ending| {
            self.phase = Phase::Closed;
            vec![Effect::Close(ending)]
        })
    }

    fn on_message(&mut self, now: Duration, message: FromNode) -> Result<Vec<Effect>, Ending> {
        match (&self.phase, message) {
            (Phase::Greeting, FromNode::Hello(hello)) => self.on_hello(now, hello),
            (Phase::Greeting, _) => Err(Ending::Protocol("the first message is Hello")),
            (_, FromNode::Hello(_)) => Err(Ending::Protocol("Hello comes once")),
            (_, FromNode::Ping(v1::Ping { nonce })) => {
                Ok(vec![Effect::Send(ToNode::Pong(v1::Pong { nonce }))])
            }
            (_, FromNode::Pong(_)) => Ok(Vec::new()),
            (_, FromNode::Report(report)) => self.on_report(report),
            (Phase::AwaitingInventory(have), FromNode::Inventory(inventory)) => {
                let have = *have;
                self.on_inventory(now, have, inventory)
            }
            (_, FromNode::Inventory(_)) => Err(Ending::Protocol("no inventory was asked for")),
            (_, FromNode::Ack(ack)) => self.on_ack(now, &ack),
            (_, FromNode::Nack(nack)) => self.on_nack(now, nack),
        }
    }

    /// What the node should hold now: the latest view, without what it refused.
    fn target(&self) -> Option<(Position, ItemTable)> {
        let latest = self.latest.as_ref()?;
        let table = self.memory.acceptable(&latest.table)?;
        let to = Position {
            epoch: self.epoch,
            revision: latest.revision,
            digest: table.digest(),
        };
        Some((to, table))
    }

    /// Begins a transaction, if there is something to send and nothing is under way.
    fn advance(&mut self, now: Duration) -> Vec<Effect> {
        self.waits = false;
        if self.in_flight.is_some() || !matches!(self.phase, Phase::Streaming) {
            return Vec::new();
        }
        if let Some(latest) = &self.latest {
            self.changed |= self.memory.forget_cured(&latest.table);
        }
        let Some((to, table)) = self.target() else {
            return Vec::new();
        };
        if self.memory.holds_back(&to.digest) || self.memory.pauses(&to.digest, now) {
            return Vec::new();
        }
        let from = self.held.position().copied();
        if let Some(from) = from {
            if from.digest == to.digest {
                return match self.held {
                    Held::Hashes(..) => self.confirm().into_iter().collect(),
                    _ => Vec::new(),
                };
            }
            if from.epoch == to.epoch && from.revision > to.revision {
                self.waits = true;
                return Vec::new();
            }
        }
        let ops = match &self.held {
            Held::Nothing => table::snapshot(&table),
            Held::Hashes(_, hashes) => table::diff_inventory(hashes, &table),
            Held::Table(_, old) => table::diff(old, &table),
        };
        let snapshot = from.is_none();
        self.in_flight = Some(InFlight {
            to,
            table,
            snapshot,
            since: now,
        });
        vec![Effect::Transaction(transaction(from, to, ops))]
    }

    fn tick(&mut self, now: Duration) -> Result<Vec<Effect>, Ending> {
        let since = |then: Duration| now.saturating_sub(then);
        if matches!(self.phase, Phase::Greeting) && since(self.opened) >= HELLO_WITHIN {
            return Err(Ending::Silent);
        }
        if since(self.heard) >= SILENCE {
            return Err(Ending::Silent);
        }
        if let Some(in_flight) = &self.in_flight {
            let waited = since(in_flight.since);
            if waited >= GIVE_UP_AFTER {
                return Err(Ending::Unanswered);
            }
            if waited >= LAGGING_AFTER && !self.memory.lagging {
                self.memory.lagging = true;
                self.changed = true;
            }
        }
        let mut effects = Vec::new();
        if self.memory.is_retry_due(now) {
            effects = self.advance(now);
        }
        if since(self.pinged) >= PING_EVERY && !matches!(self.phase, Phase::Greeting) {
            self.pinged = now;
            effects.push(Effect::Send(ToNode::Ping(v1::Ping {
                nonce: now.as_secs(),
            })));
        }
        Ok(effects)
    }
}

fn transaction(from: Option<Position>, to: Position, ops: Vec<bytes::Bytes>) -> Transaction {
    let chunks = Chunks::new(ops);
    let kind = match from {
        None => v1::TransactionKind::Snapshot,
        Some(_) => v1::TransactionKind::Delta,
    };
    Transaction {
        begin: v1::Begin {
            kind: kind.into(),
            from: from.as_ref().map(Into::into),
            to: Some((&to).into()),
            total_bytes: chunks.total_bytes(),
        },
        chunks,
        commit: v1::Commit {
            to: Some((&to).into()),
        },
    }
}

fn position(message: Option<&v1::Position>) -> Result<Option<Position>, Ending> {
    message
        .map(Position::try_from)
        .transpose()
        .map_err(|_| Ending::Protocol("a position is malformed"))
}
