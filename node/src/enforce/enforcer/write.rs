//! One change of the kernel: lowered, planned, noted on disk, committed, read back, synced.
//!
//! Owns the order of these steps. What is desired, and what becomes of a failure, is the enforcer's.

use super::Enforcer;
use crate::{
    condition::Condition,
    enforce::{Kernel, Trouble},
};
use palisade_policy::{
    delta::{Change, Held},
    frame::delimited,
    ids::EndpointId,
    plugin::PluginKind,
    resolve::{Disagreement, disagreements},
    view::{Position, View},
};
use palisade_ruleset::{
    lower,
    lower::{LowerCache, Lowered},
    lower_change, lower_without_queue,
};
use std::{io, time::Instant};

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
        let Some(at) = self.at else {
            return Ok(());
        };
        let short = match (since, &self.held, self.tables.known()) {
            (Some(change), Some(held), Some(actual)) if !asks_anew(held.view(), change) => {
                lower_change(actual, held.view(), change, Some(&at), &mut self.cache)
            }
            _ => None,
        };
        match (short, since) {
            (Some(plan), Some(change)) => {
                self.begin(record)?;
                match self.tables.change(plan, at) {
                    Ok(()) => self.remember_members(change),
                    Err(trouble) => {
                        tracing::debug!(%trouble, "the short way failed; the view is lowered whole");
                        let lowered = self.lower(at)?;
                        self.write(lowered, at)?;
                    }
                }
            }
            _ => {
                let lowered = self.lower(at)?;
                self.begin(record)?;
                match self.write(lowered, at) {
                    // The kernel lost its queue support. Lower the view again without queue rules; failure policies decide.
                    Err(Trouble::Refused { .. } | Trouble::Unfit { .. }) if self.lost_queue() => {
                        let lowered = self.lower(at)?;
                        self.write(lowered, at)?;
                    }
                    done => done?,
                }
            }
        }
        self.stale = false;
        self.read_back = Instant::now();
        self.store.keep()?;
        Ok(())
    }

    /// Whether the kernel, which refused, has become unable to queue what was lowered to be queued.
    fn lost_queue(&mut self) -> bool {
        let asks = self.held.as_ref().is_some_and(|held| asks(held.view()));
        asks && self.queued && self.tables.kernel().can_queue().is_ok_and(|can| !can)
    }

    fn remember_members(&mut self, change: &Change) {
        if let (Some(held), Some(actual)) = (&self.held, self.tables.known()) {
            self.cache
                .remember_members(held.view(), actual.ruleset(), change.sets.keys());
        }
    }

    /// The view held becomes a ruleset; so do the conditions that follow from it.
    fn lower(&mut self, at: Position) -> Result<Option<Lowered>, Trouble> {
        self.look()?;
        let Some(view) = self.held.as_ref().map(Held::view) else {
            return Ok(None);
        };
        let asks = asks(view);
        let can_queue = !asks || self.tables.kernel().can_queue()?;
        if std::mem::replace(&mut self.queued, can_queue) != can_queue {
            self.cache = LowerCache::default();
        }
        let lower = if can_queue {
            lower
        } else {
            lower_without_queue
        };
        // The kernel's own, as long as it names the same view: a newer revision of it is nothing to write.
        let same = |there: &Position| there.epoch == at.epoch && there.digest == at.digest;
        let position = self.tables.position().filter(same).unwrap_or(at);
        let mut lowered = lower(view, &self.environment, Some(&position), &mut self.cache);
        if !lowered.faults.is_empty() {
            return Err(Trouble::Faults(lowered.faults));
        }
        let disagreements = disagreements(view, &self.environment, &lowered.resolution);
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
    fn write(&mut self, lowered: Option<Lowered>, at: Position) -> Result<(), Trouble> {
        let Some(lowered) = lowered else {
            return Ok(());
        };
        let feed = self.feed.clone();
        feed.commit(lowered.asking, || {
            self.tables.reach(lowered.ruleset, Some(at))
        })?;
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

    pub(super) fn begin(&mut self, record: Record<'_>) -> io::Result<()> {
        let (Some(held), Some(at)) = (&self.held, &self.at) else {
            return Ok(());
        };
        match record {
            Record::Nothing => Ok(()),
            Record::Change(ops) => self.store.begin_change(at, ops),
            Record::Snapshot => {
                let ops = held.snapshot().map(|op| delimited(&op.encode()));
                self.store.begin_snapshot(at, ops)
            }
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
