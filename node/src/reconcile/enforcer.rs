//! Holds the view, the machine and what the kernel was last read to hold, and makes the kernel agree.
//!
//! Law h: without a complete view nothing is written. A view counts as enforced after read-back, and a transaction that
//! fails leaves the view before it held and enforced. After any surprise the kernel is read whole.

use super::{Condition, Kernel, Seen, Standing, blame::blame, kernel_position, saved_view::build};
use crate::{
    connect::chain,
    saved::Store,
    session::{Rejection, Transaction, code},
};
use palisade_netfilter::{CommitError, Failure, Mismatch, ReadError};
use palisade_policy::{
    delta::{Change, Held, SetChange, Undo},
    fault::{ItemFault, Refusal},
    frame::delimited,
    ids::EndpointId,
    packet::Environment,
    resolve::EndpointStatus,
    view::Position,
    wire::decode_ops,
};
use palisade_proto::v1::TransactionKind;
use palisade_ruleset::{
    apply, diff, ir::Ruleset, lower, lower::LowerCache, patch::lower_members, plan::Plan,
};
use std::{collections::BTreeMap, io, path::Path, time::Instant};

/// Times that a transaction is planned anew on what the kernel is read to hold.
const ATTEMPTS: usize = 3;

/// Why a start failed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Our tables cannot be read.
    #[error("read our tables")]
    Kernel(#[from] ReadError),
    /// The state directory.
    #[error("state directory")]
    State(#[from] io::Error),
}

/// Why the kernel is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Items of the view cannot be lowered.
    #[error("{} items cannot be lowered", .0.len())]
    Faults(Vec<ItemFault>),
    /// The kernel refused the plan.
    #[error("the kernel refused {}", .failures.first().map_or_else(String::new, ToString::to_string))]
    Refused {
        /// Not empty.
        failures: Vec<Failure>,
        /// What was refused.
        plan: Plan,
    },
    /// The plan could not be sent.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The kernel could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was read back is not what was written.
    #[error("read back: {0}")]
    Mismatch(#[from] Mismatch),
    /// The state directory.
    #[error("state directory: {0}")]
    State(#[from] io::Error),
}

/// The owner.
pub struct Enforcer<K> {
    kernel: K,
    store: Store,
    cache: LowerCache,
    environment: Environment,
    held: Option<Held>,
    standing: Standing,
    /// What the kernel was last read to hold, or was read back to have become.
    actual: Ruleset,
    endpoints: BTreeMap<EndpointId, EndpointStatus>,
    plain: Vec<Condition>,
    trouble: Option<Condition>,
    foreign: Option<Condition>,
    read_back: Instant,
}

/// Whether a transaction begins in the file beside the kernel.
#[derive(Clone, Copy)]
enum Record<'a> {
    /// Nothing new to keep.
    Nothing,
    /// A change, as its bytes.
    Change(&'a [u8]),
    /// The whole view.
    Snapshot,
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
            standing: Standing {
                have: position,
                enforced: None,
            },
            actual,
            endpoints: BTreeMap::new(),
            plain: Vec::new(),
            trouble: None,
            foreign: None,
            read_back: Instant::now(),
        };
        enforcer.settle();
        Ok(enforcer)
    }

    /// The view held.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Which view is held, and which enforced.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// When the kernel was last read back as desired.
    pub fn read_back(&self) -> Instant {
        self.read_back
    }

    /// The kernel, to look at.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Whether the kernel is not as it should be: try [`Self::settle`] again later.
    pub fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// What is to be reported.
    pub fn seen(&self) -> Seen {
        let mut conditions = self.plain.clone();
        conditions.extend(self.trouble.clone());
        conditions.extend(self.foreign.clone());
        conditions.sort();
        Seen {
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
            Ok(actual) if actual == self.actual => return false,
            Ok(actual) => self.actual = actual,
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
                self.standing.enforced = self.standing.have;
                self.trouble = None;
            }
            Err(trouble) => {
                // What the kernel does now is not what any view says.
                self.standing.enforced = None;
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
        self.standing.have = Some(position);
        if let Some(enforced) = &mut self.standing.enforced
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
        let before = self.standing.have;
        let settled = self.trouble.is_none() && self.standing.enforced == before;
        let bytes: Vec<u8> = match transaction.kind {
            TransactionKind::Delta if self.store.takes_changes() => {
                transaction.ops.iter().flat_map(delimited).collect()
            }
            _ => Vec::new(),
        };
        let to = transaction.to;
        let (change, undo) = self.take(transaction).map_err(|err| refused(&err))?;
        self.standing.have = Some(to);
        let record = if bytes.is_empty() {
            Record::Snapshot
        } else {
            Record::Change(&bytes)
        };
        match self.enforce(record, settled.then_some(&change)) {
            Ok(()) => {
                self.standing.enforced = Some(to);
                self.trouble = None;
                Ok(())
            }
            Err(trouble) => {
                tracing::warn!(err = %chain(&trouble), revision = to.revision, "transaction refused");
                let rejection = self.reject(&trouble, &change);
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
        self.standing.have = before;
        match (undo, &mut self.held) {
            (Some(undo), Some(held)) => held.undo(undo),
            (_, held) => *held = None,
        }
        if let Err(err) = self.store.discard() {
            tracing::warn!(%err, "refused change not taken out of the journal");
        }
        // What was begun may have reached the kernel, and lost its way only at read-back or on disk.
        match self.kernel.read() {
            Ok(actual) => self.actual = actual,
            Err(err) => self.note_trouble(&err.into()),
        }
        self.settle();
    }

    /// Plan, file, kernel, read-back, disk. With `since`, the kernel stands at the view before that change.
    fn enforce(&mut self, record: Record<'_>, since: Option<&Change>) -> Result<(), Trouble> {
        let short = match (since, &self.held) {
            (Some(change), Some(held)) => {
                let position = self.standing.have.as_ref();
                lower_members(&self.actual, held.view(), change, position)
            }
            _ => None,
        };
        match (short, since) {
            (Some(plan), Some(change)) => {
                self.begin(record)?;
                if !self.write_members(&plan, change)? {
                    let desired = self.lower()?;
                    self.write(desired)?;
                }
            }
            _ => {
                let desired = self.lower()?;
                self.begin(record)?;
                self.write(desired)?;
            }
        }
        self.read_back = Instant::now();
        self.store.keep()?;
        Ok(())
    }

    /// The short way: members only. False: it did not work out, and the kernel was read anew.
    fn write_members(&mut self, plan: &Plan, change: &Change) -> Result<bool, Trouble> {
        let done = self.kernel.commit(plan).is_ok()
            && apply(&mut self.actual, plan).is_ok()
            && self.kernel.verify(plan).is_ok();
        if !done {
            self.actual = self.kernel.read()?;
        } else if let Some(held) = &self.held {
            self.cache
                .remember_members(held.view(), &self.actual, change.sets.keys());
        }
        Ok(done)
    }

    fn lower(&mut self) -> Result<Ruleset, Trouble> {
        let Some(held) = &self.held else {
            return Ok(self.actual.clone());
        };
        let position = self.position_to_write();
        let lowered = lower(
            held.view(),
            &self.environment,
            position.as_ref(),
            &mut self.cache,
        );
        if !lowered.faults.is_empty() {
            return Err(Trouble::Faults(lowered.faults));
        }
        self.endpoints = lowered.resolution.status;
        self.plain = lowered.plain.iter().map(plain_tier).collect();
        Ok(lowered.ruleset)
    }

    /// The kernel's own, as long as it names the same view: a newer revision of it is nothing to write.
    fn position_to_write(&self) -> Option<Position> {
        let have = self.standing.have?;
        let same = |there: &Position| there.epoch == have.epoch && there.digest == have.digest;
        kernel_position(&self.actual).filter(same).or(Some(have))
    }

    fn begin(&mut self, record: Record<'_>) -> io::Result<()> {
        let (Some(held), Some(have)) = (&self.held, &self.standing.have) else {
            return Ok(());
        };
        match record {
            Record::Nothing => Ok(()),
            Record::Change(ops) => self.store.begin_change(have, ops),
            Record::Snapshot => {
                let ops = held.snapshot().map(|op| delimited(&op.encode()));
                self.store.begin_snapshot(have, ops)
            }
        }
    }

    /// Brings the kernel from `actual` to `desired`. What others changed meanwhile is read, and planned around.
    fn write(&mut self, desired: Ruleset) -> Result<(), Trouble> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let plan = diff(&self.actual, &desired);
            if plan.is_empty() {
                self.actual = desired;
                return Ok(());
            }
            let trouble = match self.kernel.commit(&plan) {
                Ok(()) => match self.kernel.verify(&plan) {
                    Ok(()) => {
                        self.actual = desired;
                        return Ok(());
                    }
                    Err(mismatch) => Trouble::Mismatch(mismatch),
                },
                Err(CommitError::Refused { failures }) => Trouble::Refused { failures, plan },
                Err(err) => Trouble::Commit(err),
            };
            let actual = self.kernel.read()?;
            let as_believed = actual == self.actual;
            self.actual = actual;
            // Refused although the kernel holds what the plan was made for: it would be refused again.
            if as_believed && matches!(trouble, Trouble::Refused { .. }) {
                return Err(trouble);
            }
            last = Some(trouble);
        }
        Err(last.unwrap_or_else(|| Trouble::State(io::ErrorKind::Other.into())))
    }

    fn reject(&self, trouble: &Trouble, change: &Change) -> Rejection {
        let view = self.held.as_ref().map(Held::view);
        let items = match (trouble, view) {
            (Trouble::Faults(faults), _) => faults
                .iter()
                .map(|fault| (fault.item.clone(), fault.reason.to_string()))
                .collect(),
            (Trouble::Refused { failures, plan }, Some(view)) => {
                blame(view, change, plan, failures)
            }
            _ => Vec::new(),
        };
        Rejection {
            code: if items.is_empty() {
                code::INTERNAL
            } else {
                code::INVALID_ARGUMENT
            },
            message: chain(trouble),
            items,
            want_snapshot: false,
        }
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
        config: true,
        endpoints: view.endpoints.keys().cloned().collect(),
        classes: view.classes.keys().cloned().collect(),
        policies: view.policies.keys().cloned().collect(),
        sets: sets.collect(),
    }
}

fn plain_tier(plain: &palisade_ruleset::lower::PlainTier) -> Condition {
    let tier = plain
        .tier
        .as_ref()
        .map_or_else(|| "profiles".to_owned(), |tier| format!("tier `{tier}`"));
    Condition {
        kind: "PlainTier",
        reason: "TooManyCopies",
        message: format!(
            "{tier} of endpoint `{}` ({:?}, {:?}) is judged rule by rule: {} rules",
            plain.endpoint, plain.list, plain.direction, plain.rules
        ),
    }
}

fn refused(refusal: &Refusal) -> Rejection {
    let items = match refusal {
        Refusal::Items(faults) => faults
            .iter()
            .map(|fault| (fault.item.clone(), fault.reason.to_string()))
            .collect(),
        Refusal::Operation(_) | Refusal::OutOfStep(_) => Vec::new(),
    };
    Rejection {
        code: if refusal.wants_snapshot() {
            code::FAILED_PRECONDITION
        } else {
            code::INVALID_ARGUMENT
        },
        message: refusal.to_string(),
        items,
        want_snapshot: refusal.wants_snapshot(),
    }
}

impl Rejection {
    /// The machine's fault, not the view's.
    pub fn internal(message: &str) -> Self {
        Self {
            code: code::INTERNAL,
            message: message.to_owned(),
            items: Vec::new(),
            want_snapshot: false,
        }
    }
}
