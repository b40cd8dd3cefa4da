//! Which questions the ruleset in force asks.
//!
//! Bits of a mark mean what they say to one ruleset only. Whoever answers holds the gate while it looks up the question,
//! asks, and hands the packet back, and the packet has gone through the ruleset when that is done; whoever commits another
//! ruleset holds it alone. So an answer always meets the ruleset that its bits are for.

use palisade_ruleset::plugins::Asking;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Cheap to clone; clones are one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<RwLock<Option<Arc<Asking>>>>);

impl Gate {
    /// What is asked, and no commit while it is held. `None`: it is not known what the kernel asks; answer nothing.
    pub fn hold(&self) -> RwLockReadGuard<'_, Option<Arc<Asking>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a ruleset that asks something else. If it fails it is not known what the kernel asks.
    ///
    /// # Errors
    /// Those of the commit.
    pub fn commit<E>(
        &self,
        asking: Arc<Asking>,
        commit: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let same = self.hold().as_ref().is_some_and(|held| *held == asking);
        if same {
            let done = commit();
            if done.is_err() {
                *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
            }
            return done;
        }
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *held = None;
        commit()?;
        *held = Some(asking);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn after_a_failed_commit_nothing_is_answered_until_one_succeeds() {
        let gate = Gate::default();
        let asking = || Arc::new(Asking::default());
        assert!(gate.hold().is_none());
        gate.commit(asking(), || Ok::<_, ()>(()))
            .expect("committed");
        assert!(gate.hold().is_some());
        assert!(gate.commit(asking(), || Err(())).is_err());
        assert!(gate.hold().is_none());
        gate.commit(asking(), || Ok::<_, ()>(()))
            .expect("committed");
        assert!(gate.hold().is_some());
    }

    #[test]
    fn a_commit_waits_for_the_answer_under_way() {
        let gate = Gate::default();
        let (order, steps) = mpsc::channel();
        let held = gate.hold();
        let committing = {
            let (gate, order) = (gate.clone(), order.clone());
            std::thread::spawn(move || {
                gate.commit(Arc::default(), || order.send("committed").map_err(|_| ()))
            })
        };
        order.send("answered").expect("heard");
        drop(held);
        committing.join().expect("ended").expect("committed");
        assert_eq!(
            steps.try_iter().collect::<Vec<_>>(),
            ["answered", "committed"]
        );
    }
}
