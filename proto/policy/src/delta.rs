//! The view a node holds, and how transactions change it: all or nothing, and undone if the kernel refuses.
//!
//! The cost of a delta follows what it touches: references are counted, set hashes are sums, and a patch changes its
//! set in place as long as nobody else holds the set.

use crate::{
    digest::ItemHash,
    fault::{ItemFault, OutOfStep, Reason, Refusal},
    ids::SetId,
    item::{ItemId, ItemKind},
    set::Member,
    view::{Digest, View},
    wire::{Body, Op},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

mod change;
mod place;

pub use change::{Change, SetChange};
use place::Value;

/// A complete, valid view with what is needed to change it.
#[derive(Clone, Debug)]
pub struct Held {
    view: View,
    hashes: BTreeMap<ItemId, ItemHash>,
    digest: Digest,
    // INVARIANT: how often items of `view` refer to each item; no zeros.
    uses: HashMap<ItemId, usize>,
}

/// Takes a change back.
#[derive(Clone, Debug)]
pub struct Undo(Inverse);

#[derive(Clone, Debug)]
enum Inverse {
    Whole(Box<Held>),
    Steps(Vec<Step>),
}

/// One item's way back.
#[derive(Clone, Debug)]
enum Step {
    Item(ItemId, Option<(Value, ItemHash)>),
    Patch {
        id: SetId,
        add: Vec<Member>,
        remove: Vec<Member>,
        hash: ItemHash,
    },
}

impl Held {
    /// The view of a snapshot: operations that only put.
    ///
    /// # Errors
    /// Items at fault, or a digest other than announced.
    pub fn from_snapshot(ops: Vec<Op>, to: &Digest) -> Result<Self, Refusal> {
        refuse_repeated(&ops)?;
        let config = ops.iter().find_map(|op| match op {
            Op::Put {
                body: Body::Config(config),
                ..
            } => Some(Arc::clone(config)),
            _ => None,
        });
        let no_config = || {
            Refusal::Items(vec![ItemFault {
                item: ItemId::config(),
                reason: Reason::NoConfig,
            }])
        };
        let mut held = Self {
            view: View {
                config: config.ok_or_else(no_config)?,
                endpoints: BTreeMap::new(),
                classes: BTreeMap::new(),
                policies: BTreeMap::new(),
                sets: BTreeMap::new(),
                plugins: BTreeMap::new(),
            },
            hashes: BTreeMap::new(),
            digest: Digest::default(),
            uses: HashMap::new(),
        };
        for op in ops {
            held.step(op)?;
        }
        let faults = held.view.check();
        if !faults.is_empty() {
            return Err(Refusal::Items(faults));
        }
        held.announced(to)?;
        Ok(held)
    }

    /// The view.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The view as it was before a change that is not taken back. The change is the latest.
    pub fn view_before(&self, undo: &Undo) -> View {
        match &undo.0 {
            Inverse::Whole(old) => old.view.clone(),
            Inverse::Steps(_) => {
                let mut before = self.clone();
                before.undo(undo.clone());
                before.view
            }
        }
    }

    /// The view alone.
    pub fn into_view(self) -> View {
        self.view
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The hash of each item: the inventory.
    pub fn hashes(&self) -> &BTreeMap<ItemId, ItemHash> {
        &self.hashes
    }

    /// Operations that make this view, with the same hashes.
    pub fn snapshot(&self) -> impl Iterator<Item = Op> + '_ {
        let bodies = self.view.bodies().map(|(id, body)| Op::Put {
            hash: self.hashes.get(&id).copied().unwrap_or_default(),
            id,
            body,
        });
        bodies.chain(self.view.sets.iter().map(|(id, set)| Op::PutSet {
            id: id.clone(),
            set: Arc::clone(set),
        }))
    }

    /// Replaces the whole view.
    ///
    /// # Errors
    /// As [`Held::from_snapshot`]; nothing is changed then.
    pub fn replace(&mut self, ops: Vec<Op>, to: &Digest) -> Result<(Change, Undo), Refusal> {
        let new = Self::from_snapshot(ops, to)?;
        let mut change = Change::default();
        for (id, hash) in &new.hashes {
            match self.hashes.get(id) {
                Some(old) if old == hash => {}
                Some(_) => change.touch(id, SetChange::Replaced),
                None => change.touch(id, SetChange::Added),
            }
        }
        for id in self.hashes.keys() {
            if !new.hashes.contains_key(id) {
                change.touch(id, SetChange::Removed);
            }
        }
        let old = std::mem::replace(self, new);
        Ok((change, Undo(Inverse::Whole(Box::new(old)))))
    }

    /// Applies a delta.
    ///
    /// # Errors
    /// Items at fault, or a delta for another view; nothing is changed then.
    pub fn apply(&mut self, ops: Vec<Op>, to: &Digest) -> Result<(Change, Undo), Refusal> {
        refuse_repeated(&ops)?;
        let mut change = Change::default();
        let mut steps = Vec::with_capacity(ops.len());
        let result = ops
            .into_iter()
            .try_for_each(|op| {
                let touched = op.item();
                let (step, what) = self.step(op)?;
                change.touch(&touched, what);
                steps.push(step);
                Ok(())
            })
            .and_then(|()| self.check(&steps))
            .and_then(|()| self.announced(to));
        match result {
            Ok(()) => Ok((change, Undo(Inverse::Steps(steps)))),
            Err(refusal) => {
                self.undo(Undo(Inverse::Steps(steps)));
                Err(refusal)
            }
        }
    }

    /// Takes back the last change. Changes are undone in reverse order.
    pub fn undo(&mut self, undo: Undo) {
        match undo.0 {
            Inverse::Whole(old) => *self = *old,
            Inverse::Steps(steps) => {
                for step in steps.into_iter().rev() {
                    match step {
                        Step::Item(id, value) => drop(self.swap(&id, value)),
                        Step::Patch {
                            id,
                            add,
                            remove,
                            hash,
                        } => {
                            self.patch(&id, &add, &remove);
                            self.rehash(&(&id).into(), Some(hash));
                        }
                    }
                }
            }
        }
    }

    fn announced(&self, to: &Digest) -> Result<(), Refusal> {
        if self.digest == *to {
            return Ok(());
        }
        Err(Refusal::OutOfStep(OutOfStep::Digest {
            announced: *to,
            built: self.digest,
        }))
    }

    /// Does one operation; nothing on error.
    fn step(&mut self, op: Op) -> Result<(Step, SetChange), Refusal> {
        let added = |old: &Option<_>| match old {
            None => SetChange::Added,
            Some(_) => SetChange::Replaced,
        };
        match op {
            Op::Put { id, hash, body } => {
                let old = self.swap(&id, Some((Value::Body(body), hash)));
                let what = added(&old);
                Ok((Step::Item(id, old), what))
            }
            Op::PutSet { id, set } => {
                let mut hash = ItemHash::EMPTY_SET;
                set.members().for_each(|member| hash.add_member(&member));
                let id = ItemId::from(&id);
                let old = self.swap(&id, Some((Value::Set(set), hash)));
                let what = added(&old);
                Ok((Step::Item(id, old), what))
            }
            Op::Remove { id } if id.kind == ItemKind::Config => {
                Err(Refusal::Items(vec![ItemFault {
                    item: id,
                    reason: Reason::NoConfig,
                }]))
            }
            Op::Remove { id } => match self.swap(&id, None) {
                None => Err(Refusal::OutOfStep(OutOfStep::NotHeld(id))),
                old => Ok((Step::Item(id, old), SetChange::Removed)),
            },
            Op::PatchSet {
                id,
                base,
                add,
                remove,
            } => self.step_patch(id, base, add, remove),
        }
    }

    fn step_patch(
        &mut self,
        id: SetId,
        base: ItemHash,
        add: Vec<Member>,
        remove: Vec<Member>,
    ) -> Result<(Step, SetChange), Refusal> {
        let item = ItemId::from(&id);
        let out = |why: fn(ItemId) -> OutOfStep| Err(Refusal::OutOfStep(why(ItemId::from(&id))));
        let (Some(set), Some(held)) = (self.view.sets.get(&id), self.hashes.get(&item)) else {
            return out(OutOfStep::NotHeld);
        };
        if *held != base {
            return out(OutOfStep::Base);
        }
        if add.iter().any(|m| set.has(m)) || !remove.iter().all(|m| set.has(m)) {
            return out(OutOfStep::Members);
        }
        let mut hash = base;
        remove.iter().for_each(|member| hash.remove_member(member));
        add.iter().for_each(|member| hash.add_member(member));
        self.patch(&id, &add, &remove);
        self.rehash(&item, Some(hash));
        let step = Step::Patch {
            id,
            add: remove.clone(),
            remove: add.clone(),
            hash: base,
        };
        Ok((step, SetChange::Patched { add, remove }))
    }

    /// References of what was put, and to what was removed.
    fn check(&self, steps: &[Step]) -> Result<(), Refusal> {
        let mut faults = Vec::new();
        for step in steps {
            let Step::Item(id, _) = step else { continue };
            let reason = match self.body(id) {
                Some(body) => self.view.check_body(&body),
                None if id.kind == ItemKind::Set && self.hashes.contains_key(id) => None,
                None => self
                    .uses
                    .contains_key(id)
                    .then(|| self.view.user_of(id))
                    .flatten()
                    .map(Reason::StillUsed),
            };
            faults.extend(reason.map(|reason| ItemFault {
                item: id.clone(),
                reason,
            }));
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Items(faults))
        }
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.hashes == other.hashes
            && self.view == other.view
            && self.uses == other.uses
    }
}

impl Eq for Held {}

fn refuse_repeated(ops: &[Op]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let faults: Vec<ItemFault> = ops
        .iter()
        .map(Op::item)
        .filter(|item| !seen.insert(item.clone()))
        .map(|item| ItemFault {
            item,
            reason: Reason::NamedTwice,
        })
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Items(faults))
    }
}
