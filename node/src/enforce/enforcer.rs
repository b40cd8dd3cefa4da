//! Holds the view, the machine and what the kernel was last read to hold, and makes the kernel agree.
//!
//! Law h: without a complete view nothing is written. A view counts as enforced after read-back, and a transaction that
//! fails leaves the view before it held and enforced. After any surprise the kernel is read whole.

use super::{
    EnforcedFeed, Kernel, Observed, Positions, StartError, Trouble, kernel_position,
    saved_view::build, trouble::refused,
};
use crate::{
    cause::chain,
    condition::Condition,
    enforce::saved::Store,
    enforce::transaction::{Rejection, Transaction},
};
use palisade_policy::{
    delta::{Change, Held, SetChange, Undo},
    fault::Refusal,
    frame::delimited,
    ids::EndpointId,
    packet::Environment,
    resolve::EndpointStatus,
    view::Position,
    wire::decode_ops,
};
use palisade_proto::v1::TransactionKind;
use palisade_ruleset::{apply::Actual, lower::LowerCache};
use std::{collections::BTreeMap, path::Path, time::Instant};

mod write;

use write::Record;

/// The owner.
pub struct Enforcer<K> {
    kernel: K,
    store: Store,
    cache: LowerCache,
    environment: Environment,
    held: Option<Held>,
    positions: Positions,
    /// What the kernel was last read to hold, or was read back to have become.
    actual: Actual,
    endpoints: BTreeMap<EndpointId, EndpointStatus>,
    /// What the view and the machine, as they are, make people know.
    remarks: Vec<Condition>,
    trouble: Option<Condition>,
    foreign: Option<Condition>,
    read_back: Instant,
    feed: EnforcedFeed,
    /// The kernel could queue when last lowered for, or nothing asked for it.
    queued: bool,
}

impl<K: Kernel> Enforcer<K> {
    /// Reads the kernel, finds the last good view on disk, and enforces it; adopting what is there already. Without a
    /// saved view the kernel is only read.
    ///
    /// # Errors
    /// See [`StartError`]. A saved view that cannot be enforced now is [`Self::trouble`], not an error.
    pub fn start(dir: &Path, mut kernel: K, environment: Environment) -> Result<Self, StartError> {
        let actual = kernel.read()?;
        let named = kernel_position(&actual);
        let (store, found) = Store::open(dir, named.as_ref(), build)?;
        let (position, held) = found.unzip();
        let mut enforcer = Self {
            kernel,
            store,
            cache: LowerCache::default(),
            environment,
            held,
            positions: Positions {
                have: position,
                enforced: None,
            },
            actual: Actual::new(actual),
            endpoints: BTreeMap::new(),
            remarks: Vec::new(),
            trouble: None,
            foreign: None,
            read_back: Instant::now(),
            feed: EnforcedFeed::new()?,
            queued: true,
        };
        enforcer.settle();
        Ok(enforcer)
    }

    /// The view held.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Which view is held, and which enforced.
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// When the kernel was last read back as desired.
    pub fn read_back(&self) -> Instant {
        self.read_back
    }

    /// The kernel, to look at.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// What plugins and those who watch have of it.
    pub fn feed(&self) -> &EnforcedFeed {
        &self.feed
    }

    /// Whether the kernel is not as it should be: try [`Self::settle`] again later.
    pub fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// What is to be reported.
    pub fn observed(&self) -> Observed {
        let mut conditions = self.remarks.clone();
        conditions.extend(self.trouble.clone());
        conditions.extend(self.foreign.clone());
        conditions.sort();
        Observed {
            environment: self.environment.clone(),
            endpoints: self.endpoints.clone(),
            conditions,
        }
    }

    /// The machine changed.
    pub fn set_environment(&mut self, environment: Environment) {
        if self.environment != environment {
            self.environment = environment;
            self.settle();
        }
    }

    /// Someone else changed our tables: reads them whole and repairs what differs. Whether anything did.
    pub fn repair(&mut self, who: &str) -> bool {
        match self.kernel.read() {
            Ok(actual) if &actual == self.actual.ruleset() => return false,
            Ok(actual) => self.actual = Actual::new(actual),
            Err(err) => {
                self.note_trouble(&err.into());
                return false;
            }
        }
        self.foreign = Some(Condition {
            kind: "ForeignChange",
            reason: "Repaired",
            message: format!("{who} changed our tables"),
        });
        self.settle();
        true
    }

    /// Rules ask plugins, and the kernel cannot queue: try [`Self::look_for_queue`] now and then.
    pub fn misses_queue(&self) -> bool {
        !self.queued
    }

    /// Lets rules ask, should the kernel be able to queue by now.
    pub fn look_for_queue(&mut self) {
        if !self.misses_queue() {
            return;
        }
        match self.kernel.can_queue() {
            Ok(true) => self.settle(),
            Ok(false) => {}
            Err(err) => tracing::warn!(%err, "the kernel cannot be asked whether it can queue"),
        }
    }

    /// The foreign change is old news.
    pub fn forget_foreign(&mut self) {
        self.foreign = None;
    }

    /// Makes the kernel agree with the view held and the machine as it is. Failure is remembered as trouble.
    pub fn settle(&mut self) {
        if self.held.is_none() {
            return;
        }
        match self.enforce(Record::Nothing, None) {
            Ok(()) => {
                self.positions.enforced = self.positions.have;
                self.trouble = None;
            }
            Err(trouble) => {
                // What the kernel does now is not what any view says.
                self.positions.enforced = None;
                self.note_trouble(&trouble);
            }
        }
    }

    /// The view held counts as this position.
    pub fn unchanged(&mut self, position: Position) {
        if self
            .held
            .as_ref()
            .is_none_or(|held| held.digest() != position.digest)
        {
            return;
        }
        self.positions.have = Some(position);
        if let Some(enforced) = &mut self.positions.enforced
            && enforced.digest == position.digest
        {
            *enforced = position;
        }
        if let Err(err) = self.store.note(&position) {
            tracing::warn!(%err, "revision not noted");
        }
    }

    /// Enforces a transaction: in the kernel, read back, on disk; or nothing of it.
    ///
    /// # Errors
    /// Why it was refused; the view before is held and enforced.
    pub fn transact(&mut self, transaction: Transaction) -> Result<(), Rejection> {
        let before = self.positions.have;
        let settled = self.trouble.is_none() && self.positions.enforced == before;
        let bytes: Vec<u8> = match transaction.kind {
            TransactionKind::Delta if self.store.takes_changes() => {
                transaction.ops.iter().flat_map(delimited).collect()
            }
            _ => Vec::new(),
        };
        let to = transaction.to;
        let (change, undo) = self.take(transaction).map_err(|err| refused(&err))?;
        self.positions.have = Some(to);
        let record = if bytes.is_empty() {
            Record::Snapshot
        } else {
            Record::Change(&bytes)
        };
        match self.enforce(record, settled.then_some(&change)) {
            Ok(()) => {
                self.positions.enforced = Some(to);
                self.trouble = None;
                Ok(())
            }
            Err(trouble) => {
                tracing::warn!(err = %chain(&trouble), revision = to.revision, "transaction refused");
                let view = self.held.as_ref().map(Held::view);
                let rejection = trouble.reject(view, &change);
                self.take_back(undo, before);
                Err(rejection)
            }
        }
    }

    /// After an answer was given: what need not delay it.
    pub fn tidy(&mut self) {
        if self.held.is_none() || self.store.takes_changes() {
            return;
        }
        let kept = self
            .begin(Record::Snapshot)
            .and_then(|()| self.store.keep());
        if let Err(err) = kept {
            tracing::warn!(%err, "journal not compacted");
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

    fn take_back(&mut self, undo: Option<Undo>, before: Option<Position>) {
        self.positions.have = before;
        match (undo, &mut self.held) {
            (Some(undo), Some(held)) => held.undo(undo),
            (_, held) => *held = None,
        }
        if let Err(err) = self.store.discard() {
            tracing::warn!(%err, "refused change not taken out of the journal");
        }
        // What was begun may have reached the kernel, and lost its way only at read-back or on disk.
        match self.kernel.read() {
            Ok(actual) => self.actual = Actual::new(actual),
            Err(err) => self.note_trouble(&err.into()),
        }
        self.settle();
    }

    fn note_trouble(&mut self, trouble: &Trouble) {
        let message = chain(trouble);
        tracing::error!(err = %message, "the kernel is not as it should be");
        self.trouble = Some(Condition {
            kind: "Degraded",
            reason: "NotEnforced",
            message,
        });
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
