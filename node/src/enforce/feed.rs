//! What follows from the view enforced for plugins, and for those who watch: published as the kernel changes.
//!
//! A view without plugins publishes nothing, and costs nothing.

use crate::{
    enforce::gate::Gate,
    enforce::inventory,
    plugins::Wanted,
    plugins::audit::{Bus, sink::Failing},
    plugins::bind_failures::BindFailures,
    wake::Wake,
};
use palisade_policy::{packet::Environment, resolve::Resolution, view::View};
use palisade_ruleset::plugins::Asking;
use std::{io, sync::Arc};
use tokio::sync::watch;

/// Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct EnforcedFeed {
    /// What the ruleset in force asks.
    pub gate: Gate,
    /// Numbers and names.
    pub inventory: inventory::Shared,
    /// Events.
    pub bus: Bus,
    /// Numbers that they could not be had at.
    pub bind_failures: BindFailures,
    /// Sinks of auditors that fail.
    pub failing: Failing,
    /// Wakes the thread that answers packets.
    pub wake: Wake,
    wanted: watch::Sender<Arc<Wanted>>,
    asked: watch::Sender<bool>,
}

impl EnforcedFeed {
    /// Nothing so far.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            gate: Gate::default(),
            inventory: inventory::Shared::default(),
            bus: Bus::new(Wake::new()?),
            bind_failures: BindFailures::default(),
            failing: Failing::default(),
            wake: Wake::new()?,
            wanted: watch::channel(Arc::default()).0,
            asked: watch::channel(false).0,
        })
    }

    /// Plugins that the view wants.
    pub fn wanted(&self) -> watch::Receiver<Arc<Wanted>> {
        self.wanted.subscribe()
    }

    /// Whether rules ask any.
    pub fn asked(&self) -> watch::Receiver<bool> {
        self.asked.subscribe()
    }

    /// Whether the view held has plugins.
    pub fn in_use(&self) -> bool {
        !self.wanted.borrow().plugins.is_empty()
    }

    /// Commits a ruleset, with what it asks.
    ///
    /// # Errors
    /// Those of the commit.
    pub(super) fn commit<E>(
        &self,
        asking: Asking,
        commit: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let asks = !asking.is_empty();
        let done = self.gate.commit(Arc::new(asking), commit);
        if done.is_ok() {
            self.asked
                .send_if_modified(|asked| std::mem::replace(asked, asks) != asks);
            if asks {
                self.wake.wake();
            }
        }
        done
    }

    /// A view is enforced.
    pub(super) fn publish(&self, view: &View, resolution: Resolution, environment: &Environment) {
        let wanted = Wanted::of(view);
        if wanted.plugins.is_empty() && !self.in_use() {
            return;
        }
        let interfaces = environment.interfaces.keys().cloned().collect();
        self.inventory.replace(view, resolution, interfaces);
        self.wanted.send_if_modified(|known| {
            let changed = **known != wanted;
            if changed {
                *known = Arc::new(wanted);
            }
            changed
        });
    }
}
