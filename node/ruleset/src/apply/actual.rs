//! A ruleset that follows the kernel, one plan after the other.

use super::{ApplyError, Model, Uses, members};
use crate::{ir::Ruleset, plan::Plan};
use std::collections::HashMap;

/// What the kernel holds, changed in place at the cost of what a plan touches.
#[derive(Debug, Default)]
pub struct Actual {
    model: Model,
    /// References of the model are counted.
    counted: bool,
}

impl Actual {
    /// That ruleset.
    pub fn new(ruleset: Ruleset) -> Self {
        let uses = HashMap::new();
        Self {
            model: Model { ruleset, uses },
            counted: false,
        }
    }

    /// As plain data.
    pub fn ruleset(&self) -> &Ruleset {
        &self.model.ruleset
    }

    /// Applies a plan. At the first step that is refused the steps before it are done: what the kernel holds must be
    /// read then.
    ///
    /// # Errors
    /// What [`ApplyError`] says.
    pub fn apply(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        if members::is_only(self.ruleset(), plan) {
            return members::apply(&mut self.model.ruleset, plan);
        }
        self.count();
        plan.ops.iter().try_for_each(|op| self.model.step(op))
    }

    /// The tables, and how often each of their names is named.
    pub(crate) fn counted(&mut self) -> (&Ruleset, &Uses) {
        self.count();
        (&self.model.ruleset, &self.model.uses)
    }

    fn count(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.model.count();
        }
    }
}
