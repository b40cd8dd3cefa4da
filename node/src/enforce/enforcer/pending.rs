//! A transaction from when it comes to when it is acknowledged, refused, or given up.
//!
//! Owns what is held of it meanwhile, and the order of what becomes of it. How the kernel and the disk are written is
//! [`super::write`]'s.

use super::{Enforcer, write::Record};
use crate::{
    cause::chain,
    enforce::{
        Kernel, Trouble,
        transaction::{Rejection, Transaction},
        trouble::refused,
    },
};
use palisade_policy::{
    delta::{Change, Held, SetChange, Undo},
    fault::Refusal,
    frame::delimited,
    view::Position,
    wire::decode_ops,
};
use palisade_proto::v1::TransactionKind;

/// A transaction that is applied to the view held, and not acknowledged.
pub(super) struct Pending {
    /// Absent: there was no view before.
    pub(super) undo: Option<Undo>,
    pub(super) before: Option<Position>,
    change: Change,
    /// The change as bytes for the journal; empty: the whole view is to be written.
    bytes: Vec<u8>,
    /// The kernel was known to stand at the view before.
    settled: bool,
}

/// A transaction is not enforced.
#[derive(Debug)]
pub enum NotEnforced {
    /// It never will be; the view before is held, and enforced if the machine can.
    Refused(Rejection),
    /// The machine cannot for now. It is tried again with every [`Enforcer::settle`]; [`Enforcer::decided`] tells the outcome.
    Waiting,
}

impl<K: Kernel> Enforcer<K> {
    /// Enforces a transaction: in the kernel, read back, on disk; or nothing of it.
    ///
    /// # Errors
    /// Why it is not enforced.
    pub fn transact(&mut self, transaction: Transaction) -> Result<(), NotEnforced> {
        if self.uninstalled {
            let rejection = Rejection::unavailable("the node is being uninstalled");
            return Err(NotEnforced::Refused(rejection));
        }
        // There is one at a time; whoever sends another has given up the first.
        self.give_up();
        let before = self.at;
        let settled = self.trouble.is_none() && !self.stale && self.tables.enforced() == before;
        let bytes: Vec<u8> = match transaction.kind {
            TransactionKind::Delta if self.store.takes_changes() => {
                transaction.ops.iter().flat_map(delimited).collect()
            }
            _ => Vec::new(),
        };
        let to = transaction.to;
        let (change, undo) = self
            .take(transaction)
            .map_err(|err| NotEnforced::Refused(refused(&err)))?;
        self.at = Some(to);
        self.stale = true;
        self.pending = Some(Pending {
            undo,
            before,
            change,
            bytes,
            settled,
        });
        match self.attempt() {
            Some(Ok(())) => Ok(()),
            Some(Err(rejection)) => Err(NotEnforced::Refused(rejection)),
            None => Err(NotEnforced::Waiting),
        }
    }

    /// What became of the transaction that waited, once.
    pub fn decided(&mut self) -> Option<Result<(), Rejection>> {
        self.decided.take()
    }

    /// Takes back the transaction that waits, if one does: why it could not be enforced.
    pub fn give_up(&mut self) -> Option<Rejection> {
        let pending = self.pending.take()?;
        let why = match &self.trouble {
            Some(trouble) => trouble.message.clone(),
            None => "it was given up".to_owned(),
        };
        self.take_back(pending);
        Some(Rejection::unavailable(&why))
    }

    /// Tries what is pending. Absent: it still waits.
    pub(super) fn attempt(&mut self) -> Option<Result<(), Rejection>> {
        let mut pending = self.pending.take()?;
        // After a failed sync nothing may be appended to what is there: the whole view says the same.
        let record = if pending.bytes.is_empty() || !self.store.takes_changes() {
            Record::Snapshot
        } else {
            Record::Change(&pending.bytes)
        };
        let since = pending.settled.then_some(&pending.change);
        match self.enforce(record, since) {
            Ok(()) => {
                self.newer = None;
                self.trouble = None;
                Some(Ok(()))
            }
            // The disk keeps the new view from the kernel, and the one before is not enforced either: that comes first.
            Err(trouble @ Trouble::State(_)) if self.tables.enforced().is_none() => {
                self.take_back(pending);
                Some(Err(Rejection::unavailable(&chain(&trouble))))
            }
            Err(trouble) if trouble.is_of_the_machine() => {
                pending.settled = false;
                // Before it is said: what is acknowledged is the view before.
                self.pending = Some(pending);
                self.note_trouble(&trouble);
                None
            }
            Err(trouble) => {
                let revision = self.at.map_or(0, |at| at.revision);
                tracing::warn!(err = %chain(&trouble), revision, "transaction refused");
                let view = self.held.as_ref().map(Held::view);
                let rejection = trouble.reject(view, &pending.change);
                self.take_back(pending);
                Some(Err(rejection))
            }
        }
    }

    fn take(&mut self, transaction: Transaction) -> Result<(Change, Option<Undo>), Refusal> {
        let ops = decode_ops(transaction.ops)?;
        let digest = &transaction.to.digest;
        let (change, undo) = match (&mut self.held, transaction.kind) {
            (Some(held), TransactionKind::Delta) => held.apply(ops, digest)?,
            (Some(held), _) => held.replace(ops, digest)?,
            (none, _) => {
                let held = none.insert(Held::from_snapshot(ops, digest)?);
                return Ok((everything(held), None));
            }
        };
        Ok((change, Some(undo)))
    }

    fn take_back(&mut self, pending: Pending) {
        self.at = pending.before;
        self.stale = true;
        match (pending.undo, &mut self.held) {
            (Some(undo), Some(held)) => held.undo(undo),
            (_, held) => {
                // Rules of a first view may stand all the same. They close more than none; nobody calls them enforced.
                *held = None;
                self.tables.outdated();
            }
        }
        if let Err(err) = self.store.discard() {
            tracing::warn!(%err, "refused change not taken out of the journal");
        }
        // A part of it may have reached the kernel: whatever is not known is read.
        self.settle();
    }
}

/// The change from nothing to a view.
fn everything(held: &Held) -> Change {
    let view = held.view();
    let sets = view.sets.keys().map(|id| (id.clone(), SetChange::Added));
    Change {
        plugins: view.plugins.keys().cloned().collect(),
        config: true,
        endpoints: view.endpoints.keys().cloned().collect(),
        classes: view.classes.keys().cloned().collect(),
        policies: view.policies.keys().cloned().collect(),
        sets: sets.collect(),
    }
}
