//! What packets are explained by, and why the kernel may do something else.
//!
//! Owns words, and no decision. A change that waits is not explained: the control plane explains what is acknowledged, too.

use super::{Enforcer, Kernel};
use crate::enforce::{Basis, Observed, Positions};
use palisade_policy::view::{Position, View};

impl<K: Kernel> Enforcer<K> {
    /// What verdicts follow from now.
    pub fn basis(&mut self) -> Basis {
        let (view, caveats) = match self.acknowledged() {
            Some((view, position)) => {
                let caveats = self.caveats(&position);
                (Ok((view, position)), caveats)
            }
            None => (Err(self.without_view()), Vec::new()),
        };
        Basis {
            view,
            environment: self.environment.clone(),
            caveats,
        }
    }

    fn acknowledged(&self) -> Option<(View, Position)> {
        let held = self.held.as_ref()?;
        let view = match &self.pending {
            None => held.view().clone(),
            Some(pending) => held.view_before(pending.undo.as_ref()?),
        };
        Some((view, self.positions().have?))
    }

    fn caveats(&self, explained: &Position) -> Vec<String> {
        let Positions { enforced, .. } = self.positions();
        let mut caveats = Vec::new();
        match enforced {
            None => caveats.push(
                "it is not known what the kernel enforces: packets may fare differently".to_owned(),
            ),
            Some(enforced)
                if enforced.epoch != explained.epoch || enforced.digest != explained.digest =>
            {
                caveats.push(format!(
                    "the kernel enforces revision {}, not the view of revision {} that is explained here",
                    enforced.revision, explained.revision
                ));
            }
            Some(_) => {}
        }
        if let (Some(_), Some(at)) = (&self.pending, self.at) {
            caveats.push(format!(
                "a change to revision {} waits to be enforced; this is the view of revision {}",
                at.revision, explained.revision
            ));
        }
        self.add_reasons(&mut caveats);
        caveats
    }

    /// What stands where no view is acknowledged.
    fn without_view(&mut self) -> String {
        let known = self.tables.known();
        let is_empty = known.is_some_and(|actual| actual.ruleset().tables.is_empty());
        let stands = if self.uninstalled {
            "our tables are removed, and this daemon ends".to_owned()
        } else if self.is_closed() {
            "every interface is closed, but for the default failsafe ports, neighbour discovery, DHCP and the control \
             plane"
                .to_owned()
        } else if let Some(newer) = &self.newer {
            format!(
                "the rules of revision {} stand in the kernel",
                newer.revision
            )
        } else if is_empty {
            "nothing is enforced".to_owned()
        } else {
            "it is not known what the kernel enforces".to_owned()
        };
        let mut parts = vec![format!("this daemon holds no acknowledged view: {stands}")];
        if let (Some(_), Some(at)) = (&self.pending, self.at) {
            parts.push(format!(
                "the view of revision {} waits to be enforced",
                at.revision
            ));
        }
        self.add_reasons(&mut parts);
        parts.join("; ")
    }

    /// The conditions behind what is not certain.
    fn add_reasons(&self, doubts: &mut Vec<String>) {
        let doubtful = !doubts.is_empty();
        let Observed { conditions, .. } = self.observed();
        let reasons = conditions.into_iter().filter(|condition| {
            condition.kind == "Degraded" || doubtful && condition.kind == "NotDurable"
        });
        doubts.extend(reasons.map(|condition| {
            format!(
                "{} ({}): {}",
                condition.kind, condition.reason, condition.message
            )
        }));
    }
}
