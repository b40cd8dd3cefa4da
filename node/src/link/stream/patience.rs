//! How long to wait after a stream, by what ended it and what it was good for.

use super::Ended;
use crate::{backoff::Backoff, link::session::Life};
use rand::Rng;
use std::time::Duration;

/// After another daemon took over: each attempt of ours takes over from it in turn.
const CONTESTED: Backoff =
    Backoff::new(Duration::from_secs(30), Duration::from_secs(300)).never_at_once();

/// Waits between streams.
pub(super) struct Patience {
    usual: Backoff,
    contested: Backoff,
}

impl Patience {
    pub(super) const fn new() -> Self {
        Self {
            usual: Backoff::stream(),
            contested: CONTESTED,
        }
    }

    /// The wait after a stream that ended so. A stream that did nothing good, whatever the control plane answered to
    /// our Hello, makes the next wait longer.
    pub(super) fn after(&mut self, ended: &Ended, life: Life, rng: &mut impl Rng) -> Duration {
        if life >= Life::Good {
            self.usual.reset();
        }
        if life == Life::Uncontested {
            self.contested = CONTESTED;
        }
        if ended.is_contested() {
            self.contested.next(rng)
        } else {
            self.usual.next(rng)
        }
    }
}
