//! Holds the view and the machine, and makes the kernel agree.
//!
//! Law h: without a complete view nothing is written. A transaction of the view is enforced and kept whole, or not at all.
//! What the view says is refused with the items at fault, and the view before is enforced again. What the machine cannot do
//! at the moment is tried again: the transaction is kept, and waits.

use super::{
    EnforcedFeed, Kernel, Observed, Positions, StartError, Trouble,
    belief::Tables,
    quarantine,
    saved::{Directory, Disk, Store},
    saved_view::build,
    transaction::Rejection,
};
use crate::{cause::chain, condition::Condition};
use palisade_netfilter::OwnError;
use palisade_policy::{
    delta::Held, ids::EndpointId, packet::Environment, resolve::EndpointStatus, view::Position,
};
use palisade_ruleset::{ir::Ruleset, lower, lower::LowerCache};
use std::{collections::BTreeMap, path::Path, time::Instant};

mod conditions;
mod disk;
mod explained;
mod pending;
mod write;

use conditions::lost;
pub use pending::NotEnforced;
use pending::Pending;
use write::Record;

/// The owner.
pub struct Enforcer<K> {
    tables: Tables<K>,
    store: Store,
    cache: LowerCache,
    environment: Environment,
    held: Option<Held>,
    /// Where the view held stands.
    at: Option<Position>,
    /// What was changed of the view held, and is not enforced and kept yet.
    pending: Option<Pending>,
    /// What became of it, until somebody asks.
    decided: Option<Result<(), Rejection>>,
    /// No other program can change our tables.
    owned: bool,
    /// What the kernel named at start, newer than any view that could be read from disk: its rules stay until a view comes.
    newer: Option<Position>,
    /// Our tables were removed for good.
    uninstalled: bool,
    /// There is no view, and everything is closed until there is one.
    closed: bool,
    /// View or machine changed since the kernel last agreed with them.
    stale: bool,
    /// Who may have changed our tables since they were read.
    suspect: Option<String>,
    endpoints: BTreeMap<EndpointId, EndpointStatus>,
    /// Conditions that follow from the current view and interfaces; reported until they no longer hold.
    remarks: Vec<Condition>,
    trouble: Option<Condition>,
    foreign: Option<Condition>,
    /// What others found not to be as it should be on this machine, by kind.
    of_the_machine: BTreeMap<&'static str, Condition>,
    /// Changes by others are not heard of.
    deaf: bool,
    foreign_changes: u64,
    read_back: Instant,
    feed: EnforcedFeed,
    /// The kernel could queue when last lowered for, or nothing asked for it.
    queued: bool,
}

impl<K: Kernel> Enforcer<K> {
    /// Finds the view to start with on disk and enforces it; what is in the kernel already is adopted. Without a saved view
    /// the kernel is only read.
    ///
    /// # Errors
    /// See [`StartError`]. A saved view that cannot be enforced now is [`Self::is_troubled`], not an error.
    pub fn start(dir: &Path, kernel: K, environment: Environment) -> Result<Self, StartError> {
        Self::start_on(Box::new(Directory::new(dir)), kernel, environment)
    }

    /// The same, on any disk.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(
        disk: Box<dyn Disk>,
        mut kernel: K,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let owned = match kernel.own() {
            Ok(owned) => owned,
            Err(err @ OwnError::Taken { .. }) => return Err(StartError::Taken(err)),
            Err(err) => {
                tracing::warn!(err = %chain(&err), "our tables cannot be owned");
                false
            }
        };
        tracing::info!(
            owned,
            "owned tables cannot be changed by others; elsewhere changes are repaired"
        );
        let feed = EnforcedFeed::new(kernel.writer())?;
        let mut tables = Tables::new(kernel);
        if let Err(err) = tables.look() {
            tracing::error!(err = %chain(&err), "our tables cannot be read");
        }
        let named = tables.position();
        let (store, found) =
            Store::open_on(disk, named.as_ref(), build).map_err(StartError::InUse)?;
        let (at, held) = found.unzip();
        // Promise 4: damage of a file does not take the node back while the kernel still has what was lost.
        let newer = named.filter(|named| {
            at.is_none_or(|at| named.epoch == at.epoch && named.revision > at.revision)
        });
        let mut enforcer = Self {
            tables,
            store,
            cache: LowerCache::default(),
            environment,
            held,
            at,
            pending: None,
            decided: None,
            owned,
            newer,
            uninstalled: false,
            closed: false,
            stale: true,
            suspect: None,
            endpoints: BTreeMap::new(),
            remarks: Vec::new(),
            trouble: None,
            foreign: None,
            of_the_machine: BTreeMap::new(),
            deaf: false,
            foreign_changes: 0,
            read_back: Instant::now(),
            feed,
            queued: true,
        };
        // Rules of ours that are no view's are those of a guard before us: they stay until there is a view, and the ways to
        // the control plane are open in them.
        let known = enforcer.tables.known();
        let ruled = known.is_some_and(|actual| !actual.ruleset().tables.is_empty());
        enforcer.closed = ruled && named.is_none() && enforcer.held.is_none();
        enforcer.settle();
        Ok(enforcer)
    }

    /// The view held.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Which view is acknowledged, and which enforced.
    pub fn positions(&self) -> Positions {
        Positions {
            have: match &self.pending {
                Some(pending) => pending.before,
                None => self.at,
            },
            enforced: self.tables.enforced(),
        }
    }

    /// When the kernel was last read back as desired.
    pub fn read_back(&self) -> Instant {
        self.read_back
    }

    /// The kernel, to look at and to listen to.
    pub fn kernel(&mut self) -> &mut K {
        self.tables.kernel()
    }

    /// What plugins and those who watch have of it.
    pub fn feed(&self) -> &EnforcedFeed {
        &self.feed
    }

    /// Whether the kernel is not as it should be, or not known to be.
    pub fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether something is to be tried again: call [`Self::settle`] later.
    pub fn wants_retry(&self) -> bool {
        // Without a view there is nothing to write: the next transaction tells whether the disk is well again.
        self.is_troubled()
            || self.store.is_unread()
            || self.held.is_some() && self.store.trouble().is_some()
    }

    /// Changes of our tables by others, repaired so far.
    pub fn foreign_changes(&self) -> u64 {
        self.foreign_changes
    }

    /// The machine changed.
    pub fn set_environment(&mut self, environment: Environment) {
        if self.environment != environment {
            self.environment = environment;
            self.stale = true;
            self.tables.outdated();
            self.settle();
        }
    }

    /// Someone else may have changed our tables: reads them whole and repairs what differs. Whether anything did.
    pub fn repair(&mut self, who: &str) -> bool {
        let before = self.foreign_changes;
        self.suspect = Some(who.to_owned());
        self.tables.doubt();
        self.settle();
        self.foreign_changes != before
    }

    /// Somebody did change our tables. Until everything is read and repaired, what the view governs is closed, but for
    /// established flows, failsafes and exemptions: reading may take seconds, in which a flushed host would be open.
    pub fn guard(&mut self) {
        let Some(view) = self.held.as_ref().map(Held::view) else {
            return;
        };
        if self.owned {
            return;
        }
        let guard = quarantine::guard(view, &self.environment);
        self.tables.doubt();
        // What follows takes it away again, even if nothing else differs.
        self.stale |= self.tables.guard(&guard);
    }

    /// Without a view: closes every interface, but for the default failsafes and exemptions.
    ///
    /// # Errors
    /// Why that failed.
    pub fn close(&mut self) -> Result<(), Trouble> {
        let view = quarantine::nothing_saved();
        let lowered = lower(&view, &self.environment, None, &mut LowerCache::new());
        self.tables.reach(lowered.ruleset, None)?;
        (self.closed, self.stale) = (true, false);
        Ok(())
    }

    /// What may be saved and cannot be read, if nothing could be.
    pub fn unreadable(&self) -> Option<&std::io::Error> {
        self.store.trouble().filter(|_| self.held.is_none())
    }

    /// There is no view, and everything is closed.
    pub fn is_closed(&self) -> bool {
        self.closed && self.held.is_none()
    }

    /// Removes our tables, and enforces nothing from now on. Whether there were any. What is saved stays.
    ///
    /// # Errors
    /// Why they are there still, or may be; the view held is then enforced as before.
    pub fn uninstall(&mut self) -> Result<bool, Trouble> {
        self.tables.look()?;
        let known = self.tables.known();
        let there = known.is_some_and(|actual| !actual.ruleset().tables.is_empty());
        self.tables.reach(Ruleset::default(), None)?;
        self.uninstalled = true;
        self.closed = false;
        self.held = None;
        self.at = None;
        Ok(there)
    }

    /// Rules ask plugins, and the kernel cannot queue: try [`Self::look_for_queue`] now and then.
    pub fn misses_queue(&self) -> bool {
        !self.queued
    }

    /// Lets rules ask, should the kernel be able to queue by now.
    pub fn look_for_queue(&mut self) {
        if !self.misses_queue() {
            return;
        }
        match self.tables.kernel().can_queue() {
            Ok(true) => {
                self.stale = true;
                self.settle();
            }
            Ok(false) => {}
            Err(err) => tracing::warn!(%err, "the kernel cannot be asked whether it can queue"),
        }
    }

    /// Makes the kernel agree with the view held and the machine as it is, and tries again what waits. Failure is trouble.
    pub fn settle(&mut self) {
        if let Err(err) = self.look() {
            return self.note_trouble(&err);
        }
        if self.newer.is_some() && self.tables.position() != self.newer {
            self.newer = None;
        }
        self.read_again();
        if self.pending.is_some() {
            self.decided = self.attempt();
        } else if let Some(newer) = self.newer {
            self.trouble = Some(lost(&newer, self.at.as_ref()));
        } else if self.held.is_none() {
            let closed = if self.closed && self.stale {
                self.close()
            } else {
                Ok(())
            };
            match closed {
                Ok(()) => self.trouble = None,
                Err(trouble) => self.note_trouble(&trouble),
            }
        } else {
            let settled = !self.stale && self.tables.enforced() == self.at;
            let enforced = if settled {
                Ok(())
            } else {
                self.enforce(Record::Nothing, None)
            };
            match enforced {
                Ok(()) => {
                    self.trouble = None;
                    self.make_durable();
                }
                Err(trouble) => self.note_trouble(&trouble),
            }
        }
    }

    /// What was found at start because the kernel names it, and what could not be written before, is kept.
    fn make_durable(&mut self) {
        let kept = if self.store.trouble().is_none() && self.store.takes_changes() {
            self.store.confirm()
        } else {
            self.begin(Record::Snapshot)
                .and_then(|()| self.store.keep())
        };
        if let Err(err) = kept {
            tracing::warn!(%err, "the view enforced is not durable");
        }
    }

    /// Reads the kernel if it is not known, and says who changed it.
    fn look(&mut self) -> Result<(), Trouble> {
        let differs = self.tables.look()?;
        if let (Some(who), true) = (self.suspect.take(), differs) {
            self.foreign_changes += 1;
            self.foreign = Some(Condition {
                kind: "ForeignChange",
                reason: "Repaired",
                message: format!(
                    "{who} changed our tables; changes by others since the daemon started: {}",
                    self.foreign_changes
                ),
            });
        }
        Ok(())
    }

    /// The view held counts as this position.
    pub fn unchanged(&mut self, position: Position) {
        let held = self.held.as_ref().map(Held::digest);
        if held != Some(position.digest) || self.pending.is_some() {
            return;
        }
        self.at = Some(position);
        self.tables.renamed(position);
        if let Err(err) = self.store.note(&position) {
            tracing::warn!(%err, "revision not noted");
        }
    }

    /// After an answer was given: what need not delay it.
    pub fn tidy(&mut self) {
        if self.held.is_none() || self.pending.is_some() || self.store.takes_changes() {
            return;
        }
        self.make_durable();
    }
}
