//! A plugin with settings: what its workers share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::auditor::Auditor;
use crate::bindings::auditing::AuditorPlugin;
use crate::bindings::matching::MatcherPlugin;
use crate::fault::{Fault, FaultKind};
use crate::health::{Condition, Health};
use crate::limits::{Ceilings, Limits};
use crate::manifest::Manifest;
use crate::matcher::Matcher;
use crate::plugin::Plugin;
use crate::problem::SettingsError;
use crate::state::State;
use crate::surroundings::{Isolated, Surroundings};
use crate::verify::Kind;
use crate::worker::Worker;

/// What is chosen for a plugin beside its settings.
#[derive(Clone)]
pub struct Options {
    /// What the Plugin resource allows.
    pub ceilings: Ceilings,
    /// The node around it.
    pub surroundings: Arc<dyn Surroundings>,
}

impl Default for Options {
    /// The default ceilings, and nothing around.
    fn default() -> Self {
        Self {
            ceilings: Ceilings::default(),
            surroundings: Arc::new(Isolated),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("ceilings", &self.ceilings)
            .finish_non_exhaustive()
    }
}

/// A plugin with settings. Cheap to clone; clones share state, health and counters.
#[derive(Clone)]
pub struct Configured {
    pub(crate) plugin: Plugin,
    pub(crate) shared: Arc<Shared>,
}

/// What all instances of a plugin with one settings share.
pub(crate) struct Shared {
    pub(crate) settings: String,
    pub(crate) manifest: Manifest,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    ceilings: Ceilings,
    state: Mutex<State>,
    health: Mutex<Health>,
    /// Whether health has anything to say: false spares each call the lock.
    ailing: AtomicBool,
    calls: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
    last_fault: Mutex<Option<Fault>>,
    pub(crate) dropped_messages: AtomicU64,
    pub(crate) dropped_samples: AtomicU64,
}

/// How a plugin with settings has done so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether it is called.
    pub condition: Condition,
    /// Calls made, those that faulted included.
    pub calls: u64,
    /// Faults by kind, those with any, in the order of [`FaultKind::ALL`].
    pub faults: Vec<(FaultKind, u64)>,
    /// The latest fault other than being set aside.
    pub last_fault: Option<Fault>,
    /// Log messages over the limit.
    pub dropped_messages: u64,
    /// Samples of metrics that the manifest does not declare.
    pub dropped_samples: u64,
}

impl Configured {
    pub(crate) fn new(plugin: Plugin, settings: &str, options: Options) -> Self {
        let back_off = plugin.inner.host.config.back_off;
        Self {
            shared: Arc::new(Shared {
                settings: settings.to_owned(),
                manifest: plugin.inner.manifest.clone(),
                surroundings: options.surroundings,
                ceilings: options.ceilings,
                state: Mutex::default(),
                health: Mutex::new(Health::new(back_off)),
                ailing: AtomicBool::new(false),
                calls: AtomicU64::new(0),
                faults: Default::default(),
                last_fault: Mutex::default(),
                dropped_messages: AtomicU64::new(0),
                dropped_samples: AtomicU64::new(0),
            }),
            plugin,
        }
    }

    /// A worker that judges packets; its instance is made by its first call, or by [`Matcher::warm`]. `None` where the
    /// plugin is no matcher.
    pub fn matcher(&self) -> Option<Matcher> {
        let pre = self.plugin.inner.matcher.clone()?;
        Some(Matcher::new(Worker::new(
            self.clone(),
            pre,
            self.limits(Kind::Matcher),
        )))
    }

    /// A worker that reads events; its instance is made by its first call, or by [`Auditor::warm`]. `None` where the
    /// plugin is no auditor.
    pub fn auditor(&self) -> Option<Auditor> {
        let pre = self.plugin.inner.auditor.clone()?;
        Some(Auditor::new(Worker::new(
            self.clone(),
            pre,
            self.limits(Kind::Auditor),
        )))
    }

    /// The limits of its calls in a duty.
    pub fn limits(&self, kind: Kind) -> Limits {
        Limits::granted(kind, &self.shared.manifest, self.shared.ceilings)
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The settings.
    pub fn settings(&self) -> &str {
        &self.shared.settings
    }

    /// How it has done so far.
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let faults = FaultKind::ALL.into_iter().zip(&shared.faults);
        Status {
            condition: lock(&shared.health).condition(),
            calls: shared.calls.load(Relaxed),
            faults: faults
                .map(|(kind, count)| (kind, count.load(Relaxed)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            last_fault: lock(&shared.last_fault).clone(),
            dropped_messages: shared.dropped_messages.load(Relaxed),
            dropped_samples: shared.dropped_samples.load(Relaxed),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        let loaded = &self.plugin.inner;
        // The same interface of the same component, whichever world it is seen through.
        if let Some(pre) = loaded.matcher.clone() {
            let limits = self.limits(Kind::Matcher);
            return Worker::<MatcherPlugin>::new(self.clone(), pre, limits).validate();
        }
        if let Some(pre) = loaded.auditor.clone() {
            let limits = self.limits(Kind::Auditor);
            return Worker::<AuditorPlugin>::new(self.clone(), pre, limits).validate();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Configured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configured")
            .field("plugin", &self.plugin)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether a call may be made now.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Fault> {
        if !self.ailing.load(Relaxed) {
            return Ok(());
        }
        lock(&self.health)
            .admit(now)
            .map_err(|remaining: Duration| {
                self.count(FaultKind::SetAside);
                Fault::SetAside { remaining }
            })
    }

    /// A call gave an answer.
    pub(crate) fn succeeded(&self, now: Instant) {
        self.calls.fetch_add(1, Relaxed);
        if self.ailing.load(Relaxed) {
            let mut health = lock(&self.health);
            health.succeeded(now);
            self.ailing
                .store(health.condition() != Condition::Well, Relaxed);
        }
    }

    /// A call gave a fault.
    pub(crate) fn failed(&self, now: Instant, fault: &Fault) {
        self.calls.fetch_add(1, Relaxed);
        self.count(fault.kind());
        *lock(&self.last_fault) = Some(fault.clone());
        let mut health = lock(&self.health);
        health.failed(now);
        self.ailing
            .store(health.condition() != Condition::Well, Relaxed);
    }

    fn count(&self, kind: FaultKind) {
        let counters = FaultKind::ALL.into_iter().zip(&self.faults);
        for (_, counter) in counters.filter(|(each, _)| *each == kind) {
            counter.fetch_add(1, Relaxed);
        }
    }
}

/// What is behind these locks is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
