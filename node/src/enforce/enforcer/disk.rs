//! A disk that changes under the daemon: what is saved may be removed, and what could not be read at start may come back.

use super::{Enforcer, Kernel};
use crate::enforce::saved_view::build;
use palisade_policy::view::Position;

impl<K: Kernel> Enforcer<K> {
    /// Looks whether what is saved is still on the disk; if not, it is written again with [`Self::settle`].
    pub fn look_at_disk(&mut self) {
        self.store.look();
    }

    /// The disk may give by now what it did not at start: a newer view than the one held, or the only one.
    pub(super) fn read_again(&mut self) {
        if self.uninstalled || self.pending.is_some() {
            return;
        }
        let named = self.tables.position();
        if let Some((at, held)) = self.store.read_again(named.as_ref(), build) {
            tracing::info!(revision = at.revision, "the saved view can be read by now");
            let newer = |named: &Position| named.epoch == at.epoch && named.revision > at.revision;
            self.newer = self.newer.filter(newer);
            self.held = Some(held);
            self.at = Some(at);
            self.stale = true;
        }
    }
}
