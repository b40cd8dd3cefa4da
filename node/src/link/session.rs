//! The node's side of `StreamView`, as a state machine: messages, outcomes and time in, effects out.
//!
//! Law h and promises 4, 8: a transaction is handed on whole or not at all, a lower revision of the same epoch is
//! refused, and an acknowledgement follows only what was enforced and read back. Owns no socket and no clock.

use palisade_policy::view::Position;
use palisade_proto::{
    google::rpc::Status,
    v1::{self, stream_view_request as up, stream_view_response as down},
};
use std::time::Duration;

mod event;
mod receiving;
mod telling;

use crate::enforce::{
    Positions,
    transaction::{Outcome, Rejection},
};
pub use event::{Closed, Effect, Event, Life};
use receiving::Receiving;

/// Schema of items that this version reads.
pub const SCHEMA: u32 = 1;
/// Time for the answer to `Hello`.
const WELCOME: Duration = Duration::from_secs(10);

/// A stream that held a complete view for so long since its Welcome was good for something.
pub const GOOD_AFTER: Duration = Duration::from_secs(30);
/// Twice the longest wait of a daemon that was taken over from: after so long there is none.
pub const UNCONTESTED_AFTER: Duration = Duration::from_secs(600);

/// What a daemon says of itself at the beginning of a stream.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Greeting {
    /// Random, made when the daemon started.
    pub instance: [u8; 16],
    /// Of the kernel.
    pub capabilities: Vec<String>,
    /// The machine as it is.
    pub report: v1::NodeReport,
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    have: Option<Position>,
    enforced: Option<Position>,
    state: State,
    welcomed: Option<Duration>,
    acknowledged: bool,
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

impl Session {
    /// Begins: the greeting to send, and the machine that goes on from there.
    pub fn begin(
        Positions { have, enforced }: Positions,
        greeting: Greeting,
        now: Duration,
    ) -> (Self, v1::StreamViewRequest) {
        let session = Self {
            have,
            enforced,
            state: State::Greeting,
            welcomed: None,
            acknowledged: false,
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
            capabilities: greeting.capabilities,
            have: have.as_ref().map(Into::into),
            enforced: enforced.as_ref().map(Into::into),
            report: Some(greeting.report),
            instance: greeting.instance.to_vec(),
        };
        (session, request(up::Message::Hello(hello)))
    }

    /// Whether the control plane has answered.
    pub fn is_welcome(&self) -> bool {
        !matches!(self.state, State::Greeting | State::Closed)
    }

    /// When `Tick` is due at the latest.
    pub fn deadline(&self) -> Duration {
        self.ping_at.min(self.silent_at())
    }

    /// When the control plane has been silent for too long, unless it says something before.
    pub fn silent_at(&self) -> Duration {
        self.heard + self.silence
    }

    /// Ends: the control plane has been silent for too long.
    pub fn silent(&self) -> Closed {
        Closed::Silence(self.silence)
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
            Event::Decided { outcome, enforced } => Ok(self.on_decided(outcome, enforced)),
            Event::Inventory(inventory) => Ok(send(up::Message::Inventory(inventory))),
            Event::Report { report, enforced } => Ok(self.on_report(report, enforced)),
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
            (down::Message::Begin(begin), State::Idle) => self.on_begin(&begin),
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
        self.welcomed = Some(now);
        Ok(Vec::new())
    }

    fn on_begin(&mut self, begin: &v1::Begin) -> Result<Vec<Effect>, Closed> {
        let to = position(begin.to.as_ref())?;
        self.refuse_older(&to)?;
        let receiving = Receiving::begin(begin, to, self.have.as_ref());
        self.state = State::Receiving(Box::new(receiving));
        Ok(Vec::new())
    }

    fn on_commit(&mut self, commit: &v1::Commit) -> Result<Vec<Effect>, Closed> {
        let to = position(commit.to.as_ref())?;
        let State::Receiving(receiving) = std::mem::replace(&mut self.state, State::Idle) else {
            return Err(Closed::OutOfTurn("a commit without a begin"));
        };
        if to != receiving.to {
            return Err(Closed::OutOfTurn("a commit of another transaction"));
        }
        match receiving.finish() {
            Ok(transaction) => {
                self.state = State::Applying(to);
                Ok(vec![Effect::Apply(transaction)])
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

    fn on_decided(&mut self, outcome: Outcome, enforced: Option<Position>) -> Vec<Effect> {
        let State::Applying(to) = self.state else {
            return Vec::new();
        };
        self.state = State::Idle;
        match outcome {
            Outcome::Applied { micros } => {
                self.have = Some(to);
                self.enforced = Some(to);
                self.acknowledged = true;
                send(up::Message::Ack(v1::Ack {
                    applied: Some((&to).into()),
                    apply_micros: micros,
                }))
            }
            Outcome::Rejected(rejection) => {
                self.enforced = enforced;
                self.nack(&to, rejection)
            }
        }
    }

    fn on_tick(&mut self, now: Duration) -> Result<Vec<Effect>, Closed> {
        if now.saturating_sub(self.heard) >= self.silence {
            return Err(self.silent());
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
