//! What follows from the view enforced for plugins, and for those who watch: published as the kernel changes.
//!
//! A view without plugins publishes nothing, and costs nothing.

use crate::{audit::Bus, inventory, plugins::Wanted, wake::Wake};
use palisade_policy::{packet::Environment, resolve::Resolution, view::View};
use std::{io, sync::Arc};
use tokio::sync::watch;

/// Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct Plugged {
    /// Numbers and names.
    pub inventory: inventory::Shared,
    /// Events.
    pub bus: Bus,
    wanted: watch::Sender<Arc<Wanted>>,
}

impl Plugged {
    /// Nothing so far.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            inventory: inventory::Shared::default(),
            bus: Bus::new(Wake::new()?),
            wanted: watch::channel(Arc::default()).0,
        })
    }

    /// Plugins that the view wants.
    pub fn wanted(&self) -> watch::Receiver<Arc<Wanted>> {
        self.wanted.subscribe()
    }

    /// Whether the view held has plugins.
    pub fn in_use(&self) -> bool {
        !self.wanted.borrow().plugins.is_empty()
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
