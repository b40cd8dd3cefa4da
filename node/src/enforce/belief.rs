//! What the node knows of the kernel's tables, and the only way to change them.
//!
//! INVARIANT (promise 11): a view counts as enforced only after its ruleset was read back. Whatever fails, be it a commit, a
//! read-back or a read, makes the belief [`Belief::Unknown`], and then nothing counts as enforced until a whole read.

use super::{Kernel, kernel_position, trouble::Trouble};
use palisade_netfilter::{CommitError, ReadError};
use palisade_policy::view::Position;
use palisade_ruleset::{apply::Actual, diff, ir::Ruleset, plan::Plan};

/// Times that a change is planned anew on what the kernel is read to hold.
const ATTEMPTS: usize = 3;

/// What the node knows of the kernel.
enum Belief {
    /// It holds this: it was read, or read back.
    Known(Known),
    /// It may hold anything. What was known before is compared with what is read next.
    Unknown(Option<Known>),
}

struct Known {
    actual: Actual,
    /// The view that this is the ruleset of.
    enforces: Option<Position>,
}

/// The kernel's tables.
pub(super) struct Tables<K> {
    kernel: K,
    belief: Belief,
}

impl<K: Kernel> Tables<K> {
    /// Nothing is known of them yet.
    pub(super) fn new(kernel: K) -> Self {
        Self {
            kernel,
            belief: Belief::Unknown(None),
        }
    }

    /// The kernel, for what changes no tables.
    pub(super) fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Which view the kernel is known to enforce.
    pub(super) fn enforced(&self) -> Option<Position> {
        match &self.belief {
            Belief::Known(known) => known.enforces,
            Belief::Unknown(_) => None,
        }
    }

    /// What the kernel is known to hold.
    pub(super) fn known(&mut self) -> Option<&mut Actual> {
        match &mut self.belief {
            Belief::Known(known) => Some(&mut known.actual),
            Belief::Unknown(_) => None,
        }
    }

    /// The position that the kernel's tables name, if they are known.
    pub(super) fn position(&mut self) -> Option<Position> {
        self.known()
            .and_then(|actual| kernel_position(actual.ruleset()))
    }

    /// The view enforced counts as this position, which has the same content.
    pub(super) fn renamed(&mut self, position: Position) {
        if let Belief::Known(known) = &mut self.belief
            && let Some(enforces) = &mut known.enforces
            && enforces.digest == position.digest
        {
            *enforces = position;
        }
    }

    /// What they hold is no longer what any view asks for: the machine is another.
    pub(super) fn outdated(&mut self) {
        match &mut self.belief {
            Belief::Known(known) | Belief::Unknown(Some(known)) => known.enforces = None,
            Belief::Unknown(None) => {}
        }
    }

    /// Somebody else may have changed them.
    pub(super) fn doubt(&mut self) {
        let before = match std::mem::replace(&mut self.belief, Belief::Unknown(None)) {
            Belief::Known(known) => Some(known),
            Belief::Unknown(before) => before,
        };
        self.belief = Belief::Unknown(before);
    }

    /// Reads the kernel if it is not known what it holds. Whether that is something else than was known before.
    ///
    /// # Errors
    /// The kernel cannot be read; it stays unknown.
    pub(super) fn look(&mut self) -> Result<bool, ReadError> {
        let Belief::Unknown(before) = &mut self.belief else {
            return Ok(false);
        };
        let ruleset = self.kernel.read()?;
        let (known, differs) = match before.take() {
            Some(known) if known.actual.ruleset() == &ruleset => (known, false),
            before => {
                let known = Known {
                    actual: Actual::new(ruleset),
                    enforces: None,
                };
                (known, before.is_some())
            }
        };
        self.belief = Belief::Known(known);
        Ok(differs)
    }

    /// Adds a guard table while it is not known what the kernel holds. Whether it is there now.
    pub(super) fn guard(&mut self, guard: &Ruleset) -> bool {
        let Belief::Unknown(before) = &mut self.belief else {
            return false;
        };
        let plan = diff(&Ruleset::default(), guard);
        if let Err(err) = self.kernel.commit(&plan) {
            // It may be there already; whatever the reason, the whole policy follows.
            tracing::warn!(%err, "the guard table cannot be added");
            return false;
        }
        // Ours, so nobody else is to be blamed for it; but while it is there, no view is enforced.
        if let Some(known) = before {
            known.enforces = None;
            if known.actual.apply(&plan).is_err() {
                *before = None;
            }
        }
        true
    }

    /// Brings the kernel to `desired`, the ruleset of the view at a position, in the transactions that packets under way
    /// need. What others changed meanwhile is read, and planned around.
    ///
    /// # Errors
    /// Why the kernel is not known to hold it. After [`Trouble::Refused`] the plan was made for what the kernel really held.
    pub(super) fn reach(&mut self, desired: Ruleset, at: Option<Position>) -> Result<(), Trouble> {
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            let differs = self.look()?;
            if let (Some(refused @ Trouble::Refused { .. }), false) = (failed.take(), differs) {
                return Err(refused);
            }
            let Some(actual) = self.known() else {
                break;
            };
            let plan = diff(actual.ruleset(), &desired);
            match self.commit(plan, Rest::Replaced) {
                Ok(()) => {
                    let actual = Actual::new(desired);
                    self.belief = Belief::Known(Known {
                        actual,
                        enforces: at,
                    });
                    return Ok(());
                }
                // It was not sent, and would not be the next time.
                Err(unfit @ Trouble::Unfit { .. }) => return Err(unfit),
                Err(trouble) => failed = Some(trouble),
            }
        }
        Err(failed.unwrap_or(Trouble::Contended))
    }

    /// Changes what the kernel is known to hold by a plan that leads to the ruleset of the view at a position.
    ///
    /// # Errors
    /// Why the kernel is not known to hold it now.
    pub(super) fn change(&mut self, plan: Plan, at: Position) -> Result<(), Trouble> {
        self.commit(plan, Rest::Followed)?;
        if let Belief::Known(known) = &mut self.belief {
            known.enforces = Some(at);
        }
        Ok(())
    }

    /// Commits a plan in its transactions, each read back before the next.
    fn commit(&mut self, plan: Plan, rest: Rest) -> Result<(), Trouble> {
        let mut transactions = plan.transactions().into_iter().peekable();
        while let Some(plan) = transactions.next() {
            let Belief::Known(known) = &mut self.belief else {
                return Err(Trouble::Contended);
            };
            match self.kernel.commit(&plan) {
                Ok(()) => known.enforces = None,
                Err(CommitError::Unfit { op, reason, .. }) => {
                    return Err(Trouble::Unfit { op, reason, plan });
                }
                Err(error) => {
                    self.doubt();
                    return Err(match error {
                        CommitError::Refused { failures } => Trouble::Refused { failures, plan },
                        error => Trouble::Commit(error),
                    });
                }
            }
            let followed = rest == Rest::Followed || transactions.peek().is_some();
            if followed && known.actual.apply(&plan).is_err() {
                self.doubt();
                return Err(Trouble::Contended);
            }
            if let Err(mismatch) = self.kernel.verify(&plan) {
                self.doubt();
                return Err(Trouble::Mismatch(mismatch));
            }
        }
        Ok(())
    }
}

/// What becomes of the known ruleset with the last transaction of a plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It is followed, like those before.
    Followed,
    /// The caller puts the desired one in its place.
    Replaced,
}
