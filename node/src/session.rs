//! The node's side of `StreamView`, as a state machine: messages, outcomes and time in, effects out.
//!
//! Law h and promises 4, 8: a transaction is handed on whole or not at all, a lower revision of the same epoch is
//! refused, and an acknowledgement follows only what was enforced and read back. Owns no socket and no clock.

use palisade_policy::{
    fault::FieldFault,
    frame::{Assembler, FrameError},
    view::Position,
};
use palisade_proto::{
    google::rpc::Status,
    v1::{self, stream_view_request as up, stream_view_response as down},
};
use std::time::Duration;

/// Schema of items that this version reads.
pub const SCHEMA: u32 = 1;
/// Most bytes of one transaction.
const TRANSACTION_LIMIT: u64 = 512 << 20;
/// Time for the answer to `Hello`.
const WELCOME: Duration = Duration::from_secs(10);

/// `google.rpc.Code` values that the node uses.
pub mod code {
    /// The view's content is refused.
    pub const INVALID_ARGUMENT: i32 = 3;
    /// It does not build on what is held.
    pub const FAILED_PRECONDITION: i32 = 9;
    /// The machine failed.
    pub const INTERNAL: i32 = 13;
}

/// A transaction, complete.
#[derive(Clone, PartialEq, Debug)]
pub struct Transaction {
    /// The whole view, or a change of it.
    pub kind: v1::TransactionKind,
    /// Where it leads.
    pub to: Position,
    /// In order.
    pub ops: Vec<v1::ViewOp>,
}

/// What became of a transaction.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Enforced, read back, on disk.
    Applied {
        /// From commit received to read-back done.
        micros: u64,
    },
    /// Not enforced; what was enforced before still is.
    Rejected(Rejection),
}

/// Why a transaction was refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Rejection {
    /// `code` of the whole.
    pub code: i32,
    /// For people.
    pub message: String,
    /// Items at fault, each with its reason.
    pub items: Vec<(palisade_policy::item::ItemId, String)>,
    /// A snapshot may help.
    pub want_snapshot: bool,
}

/// What happens to a session.
#[derive(Debug)]
pub enum Event {
    /// The control plane said something.
    Message(v1::StreamViewResponse),
    /// The transaction handed on is decided.
    Decided(Outcome),
    /// The inventory asked for.
    Inventory(v1::Inventory),
    /// The node sees something new.
    Report(v1::NodeReport),
    /// Time went by.
    Tick,
}

/// What a session wants done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Say this.
    Send(v1::StreamViewRequest),
    /// Enforce this, then tell the outcome.
    Apply(Transaction),
    /// The view held counts as this position from now on.
    Unchanged(Position),
    /// Make an inventory of what is held.
    MakeInventory,
    /// End the stream; policy stays.
    Close(Closed),
}

/// Why a session ends.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Closed {
    /// Nothing heard for too long.
    #[error("the control plane was silent for {0:?}")]
    Silence(Duration),
    /// It offered a view older than the one held.
    #[error("revision {offered} was offered, {held} is held in the same epoch")]
    WentBack {
        /// By the control plane.
        offered: u64,
        /// By this node.
        held: u64,
    },
    /// It chose a schema that this version does not read.
    #[error("schema {0} is not one that this version reads")]
    Schema(u32),
    /// A message out of turn.
    #[error("{0}")]
    OutOfTurn(&'static str),
    /// A position that is none.
    #[error("position: {0}")]
    Position(FieldFault),
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    have: Option<Position>,
    enforced: Option<Position>,
    state: State,
    heard: Duration,
    ping_at: Duration,
    ping: Duration,
    silence: Duration,
    nonce: u64,
}

enum State {
    Greeting,
    Idle,
    Receiving(Box<Receiving>),
    Applying(Position),
    Closed,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Greeting => "Greeting",
            Self::Idle => "Idle",
            Self::Receiving(_) => "Receiving",
            Self::Applying(_) => "Applying",
            Self::Closed => "Closed",
        })
    }
}

struct Receiving {
    kind: v1::TransactionKind,
    to: Position,
    /// `Err`: refused already, the rest is passed over until `Commit`.
    assembler: Result<Assembler, Rejection>,
}

impl Session {
    /// Begins: the greeting to send, and the machine that goes on from there.
    pub fn begin(
        have: Option<Position>,
        enforced: Option<Position>,
        report: v1::NodeReport,
        capabilities: Vec<String>,
        now: Duration,
    ) -> (Self, v1::StreamViewRequest) {
        let session = Self {
            have,
            enforced,
            state: State::Greeting,
            heard: now,
            ping_at: now + WELCOME,
            ping: WELCOME,
            silence: WELCOME,
            nonce: 0,
        };
        let hello = v1::Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            min_schema: SCHEMA,
            max_schema: SCHEMA,
            capabilities,
            have: have.as_ref().map(Into::into),
            enforced: enforced.as_ref().map(Into::into),
            report: Some(report),
        };
        (session, request(up::Message::Hello(hello)))
    }

    /// Whether the control plane has answered.
    pub fn is_welcome(&self) -> bool {
        !matches!(self.state, State::Greeting | State::Closed)
    }

    /// When `Tick` is due at the latest.
    pub fn deadline(&self) -> Duration {
        self.ping_at.min(self.heard + self.silence)
    }

    /// Takes an event in.
    pub fn on_event(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        if matches!(self.state, State::Closed) {
            return Vec::new();
        }
        let effects = match event {
            Event::Message(message) => {
                self.heard = now;
                match message.message {
                    Some(message) => self.on_message(message, now),
                    None => Err(Closed::OutOfTurn("a message of an unknown kind")),
                }
            }
            Event::Decided(outcome) => Ok(self.on_decided(outcome)),
            Event::Inventory(inventory) => Ok(send(up::Message::Inventory(inventory))),
            Event::Report(report) if self.is_welcome() => Ok(send(up::Message::Report(report))),
            Event::Report(_) => Ok(Vec::new()),
            Event::Tick => self.on_tick(now),
        };
        effects.unwrap_or_else(|closed| {
            self.state = State::Closed;
            vec![Effect::Close(closed)]
        })
    }

    fn on_message(&mut self, message: down::Message, now: Duration) -> Result<Vec<Effect>, Closed> {
        match (message, &mut self.state) {
            (down::Message::Ping(ping), _) => {
                Ok(send(up::Message::Pong(v1::Pong { nonce: ping.nonce })))
            }
            (down::Message::Pong(_), _) => Ok(Vec::new()),
            (down::Message::Welcome(welcome), State::Greeting) => self.on_welcome(&welcome, now),
            (_, State::Greeting) => Err(Closed::OutOfTurn("a message before the welcome")),
            (down::Message::Begin(begin), State::Idle) => self.on_begin(begin),
            (down::Message::Chunk(chunk), State::Receiving(receiving)) => {
                receiving.push(&chunk.data);
                Ok(Vec::new())
            }
            (down::Message::Commit(commit), State::Receiving(_)) => self.on_commit(&commit),
            (down::Message::WantInventory(_), State::Idle) => Ok(vec![Effect::MakeInventory]),
            (down::Message::Unchanged(at), State::Idle) => self.on_unchanged(&at),
            _ => Err(Closed::OutOfTurn("a message out of turn")),
        }
    }

    fn on_welcome(&mut self, welcome: &v1::Welcome, now: Duration) -> Result<Vec<Effect>, Closed> {
        if welcome.schema != SCHEMA {
            return Err(Closed::Schema(welcome.schema));
        }
        let seconds = |given: u32, default| match given {
            0 => Duration::from_secs(default),
            given => Duration::from_secs(u64::from(given)),
        };
        self.ping = seconds(welcome.ping_seconds, 20);
        self.silence = seconds(welcome.silence_seconds, 60);
        self.ping_at = now + self.ping;
        self.state = State::Idle;
        Ok(Vec::new())
    }

    fn on_begin(&mut self, begin: v1::Begin) -> Result<Vec<Effect>, Closed> {
        let to = position(begin.to.as_ref())?;
        self.refuse_older(&to)?;
        let assembler = self.open(&begin);
        self.state = State::Receiving(Box::new(Receiving {
            kind: begin.kind(),
            to,
            assembler,
        }));
        Ok(Vec::new())
    }

    /// Why a transaction cannot be taken, before any of it is read.
    fn open(&self, begin: &v1::Begin) -> Result<Assembler, Rejection> {
        let rejection = |message: &str, want_snapshot| Rejection {
            code: code::FAILED_PRECONDITION,
            message: message.to_owned(),
            items: Vec::new(),
            want_snapshot,
        };
        match begin.kind() {
            v1::TransactionKind::Unspecified => {
                return Err(rejection("neither snapshot nor delta", true));
            }
            v1::TransactionKind::Snapshot => {}
            v1::TransactionKind::Delta => {
                let from = begin.from.as_ref().map(|from| &from.digest[..]);
                let held = self.have.as_ref().map(|have| &have.digest.0[..]);
                if from.is_none() || from != held {
                    return Err(rejection("the delta is not from the view held", true));
                }
            }
        }
        Assembler::new(begin.total_bytes, TRANSACTION_LIMIT).map_err(|err| Rejection::frame(&err))
    }

    fn on_commit(&mut self, commit: &v1::Commit) -> Result<Vec<Effect>, Closed> {
        let to = position(commit.to.as_ref())?;
        let State::Receiving(receiving) = std::mem::replace(&mut self.state, State::Idle) else {
            return Err(Closed::OutOfTurn("a commit without a begin"));
        };
        if to != receiving.to {
            return Err(Closed::OutOfTurn("a commit of another transaction"));
        }
        let finished = receiving
            .assembler
            .and_then(|assembler| assembler.finish().map_err(|err| Rejection::frame(&err)));
        match finished {
            Ok(ops) => {
                self.state = State::Applying(to);
                Ok(vec![Effect::Apply(Transaction {
                    kind: receiving.kind,
                    to,
                    ops,
                })])
            }
            Err(rejection) => Ok(self.nack(&to, rejection)),
        }
    }

    fn on_unchanged(&mut self, at: &v1::Position) -> Result<Vec<Effect>, Closed> {
        let at = position(Some(at))?;
        self.refuse_older(&at)?;
        if self.have.is_none_or(|have| have.digest != at.digest) {
            return Err(Closed::OutOfTurn("unchanged, but from another view"));
        }
        self.have = Some(at);
        if let Some(enforced) = &mut self.enforced
            && enforced.digest == at.digest
        {
            *enforced = at;
        }
        Ok(vec![Effect::Unchanged(at)])
    }

    fn on_decided(&mut self, outcome: Outcome) -> Vec<Effect> {
        let State::Applying(to) = self.state else {
            return Vec::new();
        };
        self.state = State::Idle;
        match outcome {
            Outcome::Applied { micros } => {
                self.have = Some(to);
                self.enforced = Some(to);
                send(up::Message::Ack(v1::Ack {
                    applied: Some((&to).into()),
                    apply_micros: micros,
                }))
            }
            Outcome::Rejected(rejection) => self.nack(&to, rejection),
        }
    }

    fn on_tick(&mut self, now: Duration) -> Result<Vec<Effect>, Closed> {
        if now.saturating_sub(self.heard) >= self.silence {
            return Err(Closed::Silence(self.silence));
        }
        if now < self.ping_at {
            return Ok(Vec::new());
        }
        self.ping_at = now + self.ping;
        self.nonce += 1;
        Ok(send(up::Message::Ping(v1::Ping { nonce: self.nonce })))
    }

    /// Promise 4.
    fn refuse_older(&self, offered: &Position) -> Result<(), Closed> {
        match &self.have {
            Some(held) if held.epoch == offered.epoch && offered.revision < held.revision => {
                Err(Closed::WentBack {
                    offered: offered.revision,
                    held: held.revision,
                })
            }
            _ => Ok(()),
        }
    }

    fn nack(&self, rejected: &Position, rejection: Rejection) -> Vec<Effect> {
        let items = rejection
            .items
            .into_iter()
            .map(|(item, message)| v1::ItemError {
                kind: v1::ItemKind::from(item.kind).into(),
                id: item.id.to_string(),
                status: Some(status(rejection.code, message)),
            });
        send(up::Message::Nack(v1::Nack {
            rejected: Some(rejected.into()),
            still_enforcing: self.enforced.as_ref().map(Into::into),
            items: items.collect(),
            status: Some(status(rejection.code, rejection.message)),
            want_snapshot: rejection.want_snapshot,
        }))
    }
}

impl Receiving {
    fn push(&mut self, chunk: &[u8]) {
        if let Ok(assembler) = &mut self.assembler
            && let Err(err) = assembler.push(chunk)
        {
            self.assembler = Err(Rejection::frame(&err));
        }
    }
}

impl Rejection {
    fn frame(err: &FrameError) -> Self {
        Self {
            code: code::INVALID_ARGUMENT,
            message: err.to_string(),
            items: Vec::new(),
            want_snapshot: true,
        }
    }
}

fn request(message: up::Message) -> v1::StreamViewRequest {
    v1::StreamViewRequest {
        message: Some(message),
    }
}

fn send(message: up::Message) -> Vec<Effect> {
    vec![Effect::Send(request(message))]
}

fn status(code: i32, message: String) -> Status {
    Status {
        code,
        message,
        ..Status::default()
    }
}

fn position(message: Option<&v1::Position>) -> Result<Position, Closed> {
    let message = message.ok_or(Closed::OutOfTurn("a transaction without position"))?;
    Position::try_from(message).map_err(Closed::Position)
}

#[cfg(test)]
mod tests;
