//! What the enforcer needs of the kernel.

use super::listener::Notifications;
use palisade_netfilter::{CommitError, Event, Mismatch, Netfilter, OwnError, ReadError, Writer};
use palisade_policy::view::{Digest, Epoch, Position};
use palisade_ruleset::{
    ir::{Ruleset, SetName, TableName, Value, names},
    plan::Plan,
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Our tables in the kernel, or in a model of it.
pub trait Kernel: Notifications {
    /// Owns our tables from now on, where it can. Whether it can.
    ///
    /// # Errors
    /// As [`Netfilter::own`].
    fn own(&mut self) -> Result<bool, OwnError>;

    /// All of our tables.
    ///
    /// # Errors
    /// As [`Netfilter::read`].
    fn read(&mut self) -> Result<Ruleset, ReadError>;

    /// One transaction.
    ///
    /// # Errors
    /// As [`Netfilter::commit`]; then nothing changed, except after `Overrun` and `Socket`.
    fn commit(&mut self, plan: &Plan) -> Result<(), CommitError>;

    /// Reads back what the plan touched: whether it is as the plan left it.
    ///
    /// # Errors
    /// What differs.
    fn verify(&mut self, plan: &Plan) -> Result<(), Mismatch>;

    /// Whether it can hand packets to a daemon. A kernel that cannot, or that refused a rule that queues since, is asked
    /// anew: modules come later, and go.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn can_queue(&mut self) -> Result<bool, ReadError>;

    /// What writes beside plans; absent: nobody does.
    fn writer(&self) -> Option<Writer>;
}

impl Notifications for Netfilter {
    fn listen(&mut self) -> io::Result<OwnedFd> {
        Self::listen(self)?;
        let monitor = self.monitor().ok_or(io::ErrorKind::NotConnected)?;
        monitor.as_fd().try_clone_to_owned()
    }

    fn next_event(&mut self) -> io::Result<Option<Event>> {
        let monitor = self.monitor().ok_or(io::ErrorKind::NotConnected)?;
        monitor.next_event()
    }
}

impl Kernel for Netfilter {
    fn own(&mut self) -> Result<bool, OwnError> {
        Self::own(self)
    }

    fn read(&mut self) -> Result<Ruleset, ReadError> {
        Self::read(self)
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), CommitError> {
        Self::commit(self, plan).map(drop)
    }

    fn verify(&mut self, plan: &Plan) -> Result<(), Mismatch> {
        self.read_touched(plan).map(drop)
    }

    fn can_queue(&mut self) -> Result<bool, ReadError> {
        Self::can_queue(self)
    }

    fn writer(&self) -> Option<Writer> {
        Some(Self::writer(self))
    }
}

/// The position that the kernel enforces, as an element of ours says.
pub fn kernel_position(ruleset: &Ruleset) -> Option<Position> {
    let set = ruleset
        .tables
        .get(&TableName::Main)?
        .sets
        .get(&SetName::new(names::POSITION))?;
    let Value::Position(bytes) = &set.elements.first()?.first else {
        return None;
    };
    let (epoch, rest) = bytes.split_first_chunk::<16>()?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    Some(Position {
        epoch: Epoch(*epoch),
        digest: Digest(*digest),
        revision: u64::from_be_bytes(*rest.last_chunk::<8>()?),
    })
}
