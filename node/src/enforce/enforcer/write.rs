//! One change of the kernel: lowered, planned, noted on disk, committed, read back, synced.
//!
//! Owns the order of these steps. What is desired, and what becomes of a failure, is the enforcer's.

use super::Enforcer;
use crate::{
    condition::Condition,
    enforce::{Kernel, Trouble, kernel_position},
};
use palisade_netfilter::CommitError;
use palisade_policy::{
    delta::Change,
    frame::delimited,
    ids::EndpointId,
    plugin::PluginKind,
    resolve::{Disagreement, disagreements},
    view::{Position, View},
};
use palisade_ruleset::{
    apply::Actual,
    diff,
    ir::Ruleset,
    lower,
    lower::{LowerCache, Lowered},
    lower_change, lower_without_queue,
    plan::Plan,
};
use std::{io, time::Instant};

/// Times that a transaction is planned anew on what the kernel is read to hold.
const ATTEMPTS: usize = 3;

/// Whether a transaction begins in the file beside the kernel.
#[derive(Clone, Copy)]
pub(super) enum Record<'a> {
    /// Nothing new to keep.
    Nothing,
    /// A change, as its bytes.
    Change(&'a [u8]),
    /// The whole view.
    Snapshot,
}

impl<K: Kernel> Enforcer<K> {
    /// Plan, file, kernel, read-back, disk. With `since`, the kernel stands at the view before that change.
    pub(super) fn enforce(
        &mut self,
        record: Record<'_>,
        since: Option<&Change>,
    ) -> Result<(), Trouble> {
        let short = match (since, &self.held) {
            (Some(change), Some(held)) if !asks_anew(held.view(), change) => lower_change(
                &mut self.actual,
                held.view(),
                change,
                self.positions.have.as_ref(),
                &mut self.cache,
            ),
            _ => None,
        };
        match (short, since) {
            (Some(plan), Some(change)) => {
                self.begin(record)?;
                if !self.write_short(plan, change)? {
                    let lowered = self.lower()?;
                    self.write_whole(lowered)?;
                }
            }
            _ => {
                let lowered = self.lower()?;
                self.begin(record)?;
                match self.write_whole(lowered) {
                    // Not the view's fault: what asks is written without asking.
                    Err(Trouble::Refused { .. } | Trouble::Unfit { .. }) if self.lost_queue() => {
                        let lowered = self.lower()?;
                        self.write_whole(lowered)?;
                    }
                    done => done?,
                }
            }
        }
        self.read_back = Instant::now();
        self.store.keep()?;
        Ok(())
    }

    /// Whether the kernel, which refused, has become unable to queue what was lowered to be queued.
    fn lost_queue(&mut self) -> bool {
        let asks = self.held.as_ref().is_some_and(|held| asks(held.view()));
        asks && self.queued && self.kernel.can_queue().is_ok_and(|can| !can)
    }

    /// The short way: nothing was lowered whole. False: it did not work out, and the kernel was read anew.
    fn write_short(&mut self, plan: Plan, change: &Change) -> Result<bool, Trouble> {
        let done = plan.transactions().iter().all(|plan| {
            self.kernel.commit(plan).is_ok()
                && self.actual.apply(plan).is_ok()
                && self.kernel.verify(plan).is_ok()
        });
        if !done {
            self.actual = Actual::new(self.kernel.read()?);
        } else if let Some(held) = &self.held {
            self.cache
                .remember_members(held.view(), self.actual.ruleset(), change.sets.keys());
        }
        Ok(done)
    }

    /// Absent: there is no view.
    fn lower(&mut self) -> Result<Option<Lowered>, Trouble> {
        let Some(held) = &self.held else {
            return Ok(None);
        };
        let position = self.position_to_write();
        let asks = asks(held.view());
        let can_queue = !asks || self.kernel.can_queue()?;
        if std::mem::replace(&mut self.queued, can_queue) != can_queue {
            self.cache = LowerCache::default();
        }
        let lower = if can_queue {
            lower
        } else {
            lower_without_queue
        };
        let mut lowered = lower(
            held.view(),
            &self.environment,
            position.as_ref(),
            &mut self.cache,
        );
        if !lowered.faults.is_empty() {
            return Err(Trouble::Faults(lowered.faults));
        }
        let disagreements = disagreements(held.view(), &self.environment, &lowered.resolution);
        let remarks = lowered.plain.iter().map(plain_tier);
        let remarks = remarks
            .chain(disagreements.iter().map(address_mismatch))
            .chain((!can_queue).then(no_queue))
            .collect();
        self.endpoints = std::mem::take(&mut lowered.resolution.status);
        self.remark(remarks);
        Ok(Some(lowered))
    }

    /// Ruleset and questions change together; then plugins know what the view wants.
    fn write_whole(&mut self, lowered: Option<Lowered>) -> Result<(), Trouble> {
        let Some(lowered) = lowered else {
            return Ok(());
        };
        let feed = self.feed.clone();
        feed.commit(lowered.asking, || self.write(lowered.ruleset))?;
        if let Some(held) = &self.held {
            feed.publish(held.view(), lowered.resolution, &self.environment);
        }
        Ok(())
    }

    fn remark(&mut self, remarks: Vec<Condition>) {
        for new in remarks
            .iter()
            .filter(|remark| !self.remarks.contains(remark))
        {
            tracing::warn!(
                kind = new.kind,
                reason = new.reason,
                message = new.message,
                "new condition"
            );
        }
        self.remarks = remarks;
    }

    /// The kernel's own, as long as it names the same view: a newer revision of it is nothing to write.
    fn position_to_write(&self) -> Option<Position> {
        let have = self.positions.have?;
        let same = |there: &Position| there.epoch == have.epoch && there.digest == have.digest;
        kernel_position(self.actual.ruleset())
            .filter(same)
            .or(Some(have))
    }

    pub(super) fn begin(&mut self, record: Record<'_>) -> io::Result<()> {
        let (Some(held), Some(have)) = (&self.held, &self.positions.have) else {
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

    /// Brings the kernel from `actual` to `desired`, in the transactions that packets under way need. What others
    /// changed meanwhile is read, and planned around.
    fn write(&mut self, desired: Ruleset) -> Result<(), Trouble> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let plan = diff(self.actual.ruleset(), &desired);
            if plan.is_empty() {
                self.actual = Actual::new(desired);
                return Ok(());
            }
            let trouble = match self.write_plan(plan) {
                Ok(()) => {
                    self.actual = Actual::new(desired);
                    return Ok(());
                }
                // It was not sent, and would not be the next time.
                Err(unfit @ Trouble::Unfit { .. }) => return Err(unfit),
                Err(trouble) => trouble,
            };
            let actual = self.kernel.read()?;
            let as_believed = &actual == self.actual.ruleset();
            self.actual = Actual::new(actual);
            // Refused although the kernel holds what the plan was made for: it would be refused again.
            if as_believed && matches!(trouble, Trouble::Refused { .. }) {
                return Err(trouble);
            }
            last = Some(trouble);
        }
        Err(last.unwrap_or_else(|| Trouble::State(io::ErrorKind::Other.into())))
    }
}

impl<K: Kernel> Enforcer<K> {
    fn write_plan(&mut self, plan: Plan) -> Result<(), Trouble> {
        let mut transactions = plan.transactions();
        let last = transactions.pop().unwrap_or_default();
        for ahead in transactions {
            self.write_transaction(ahead.clone())?;
            self.actual
                .apply(&ahead)
                .map_err(|_| Trouble::State(io::ErrorKind::Other.into()))?;
        }
        self.write_transaction(last)
    }

    fn write_transaction(&mut self, plan: Plan) -> Result<(), Trouble> {
        match self.kernel.commit(&plan) {
            Ok(()) => self.kernel.verify(&plan).map_err(Trouble::Mismatch),
            Err(CommitError::Refused { failures }) => Err(Trouble::Refused { failures, plan }),
            Err(CommitError::Unfit { op, reason, .. }) => Err(Trouble::Unfit { op, reason, plan }),
            Err(err) => Err(Trouble::Commit(err)),
        }
    }
}

/// Whether rules may ask plugins.
fn asks(view: &View) -> bool {
    let mut plugins = view.plugins.values();
    plugins.any(|plugin| plugin.kind == PluginKind::Matcher)
}

/// Whether bits of answers may have another meaning after a change, or rules other names: then the view is lowered whole.
fn asks_anew(view: &View, change: &Change) -> bool {
    let members_only = change.policies.is_empty() && change.classes.is_empty();
    !change.plugins.is_empty() || !(view.plugins.is_empty() || members_only)
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

fn no_queue() -> Condition {
    Condition {
        kind: "PluginsUnavailable",
        reason: "NoQueue",
        message: "the kernel has neither nft_queue nor xt_NFQUEUE: no plugin is asked, and the \
                  failure policy of each condition decides"
            .to_owned(),
    }
}

fn address_mismatch((endpoint, told): (&EndpointId, &Disagreement)) -> Condition {
    Condition {
        kind: "AddressMismatch",
        reason: "SelectorsMiss",
        message: format!("endpoint `{endpoint}`: {told}"),
    }
}
