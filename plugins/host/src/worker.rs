//! One warm instance of a plugin with settings, replaced when it faults, called within its limits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use wasmtime::{Store, Trap, UpdateDeadline};

use crate::bindings::{auditing, matching, types};
use crate::configured::Configured;
use crate::engine::Ticker;
use crate::fault::Fault;
use crate::guest::Guest;
use crate::limits::{Budget, Limits};
use crate::problem::{Problem, SettingsError};

/// What the worlds have in common.
pub(crate) trait World: Sized {
    type Pre;
    fn instantiate(pre: &Self::Pre, store: &mut Store<Guest>) -> wasmtime::Result<Self>;
    fn configure(&self, store: &mut Store<Guest>, settings: &str) -> Judged;
    fn validate(&self, store: &mut Store<Guest>, settings: &str) -> Judged;
}

type Judged = wasmtime::Result<Result<(), Vec<types::Problem>>>;

impl World for matching::MatcherPlugin {
    type Pre = matching::MatcherPluginPre<Guest>;

    fn instantiate(pre: &Self::Pre, store: &mut Store<Guest>) -> wasmtime::Result<Self> {
        pre.instantiate(store)
    }

    fn configure(&self, store: &mut Store<Guest>, settings: &str) -> Judged {
        self.palisade_plugin_settings()
            .call_configure(store, settings)
    }

    fn validate(&self, store: &mut Store<Guest>, settings: &str) -> Judged {
        self.palisade_plugin_settings()
            .call_validate(store, settings)
    }
}

impl World for auditing::AuditorPlugin {
    type Pre = auditing::AuditorPluginPre<Guest>;

    fn instantiate(pre: &Self::Pre, store: &mut Store<Guest>) -> wasmtime::Result<Self> {
        pre.instantiate(store)
    }

    fn configure(&self, store: &mut Store<Guest>, settings: &str) -> Judged {
        self.palisade_plugin_settings()
            .call_configure(store, settings)
    }

    fn validate(&self, store: &mut Store<Guest>, settings: &str) -> Judged {
        self.palisade_plugin_settings()
            .call_validate(store, settings)
    }
}

/// One thread's instance.
pub(crate) struct Worker<W: World> {
    configured: Configured,
    pre: W::Pre,
    limits: Limits,
    instance: Option<Instance<W>>,
    /// Of the last call that gave an answer.
    fuel_used: u64,
}

struct Instance<W> {
    store: Store<Guest>,
    world: W,
}

impl<W: World> Worker<W> {
    pub(crate) fn new(configured: Configured, pre: W::Pre, limits: Limits) -> Self {
        Self {
            configured,
            pre,
            limits,
            instance: None,
            fuel_used: 0,
        }
    }

    pub(crate) fn configured(&self) -> &Configured {
        &self.configured
    }

    /// Fuel of the last call that gave an answer.
    pub(crate) fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Linear memory of the instance, in bytes; 0 where there is none.
    pub(crate) fn memory_used(&self) -> usize {
        self.instance
            .as_ref()
            .map_or(0, |instance| instance.store.data().memory.used())
    }

    /// Makes the instance, if there is none.
    pub(crate) fn warm(&mut self, now: Instant, time_ms: u64) -> Result<(), Fault> {
        self.attempt(now, time_ms, |_, _| Ok(Ok(())))
    }

    /// Calls the plugin. `call` gives the engine's error, or what is against the contract, or the answer. After either
    /// error the instance is gone.
    pub(crate) fn attempt<R>(
        &mut self,
        now: Instant,
        time_ms: u64,
        call: impl FnOnce(&W, &mut Store<Guest>) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, Fault> {
        self.configured.shared.admit(now)?;
        let result = self.guarded(time_ms, call);
        let shared = &self.configured.shared;
        match &result {
            Ok(_) => shared.succeeded(now),
            Err(fault) => shared.failed(now, fault),
        }
        result
    }

    fn guarded<R>(
        &mut self,
        time_ms: u64,
        call: impl FnOnce(&W, &mut Store<Guest>) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, Fault> {
        let host = std::sync::Arc::clone(&self.configured.plugin.inner.host);
        let _in_flight = host.ticker.in_flight();
        let mut instance = match self.instance.take() {
            Some(warm) => warm,
            None => self.configured_instance(time_ms)?,
        };
        let budget = self.limits.call;
        let Instance { store, world } = &mut instance;
        refill(store, budget, time_ms);
        match call(world, store) {
            Ok(Ok(answer)) => {
                self.fuel_used = budget.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
                self.instance = Some(instance);
                Ok(answer)
            }
            Ok(Err(reason)) => Err(Fault::WrongAnswer { reason }),
            Err(error) => Err(self.fault(store, budget, &error)),
        }
    }

    /// Lets a fresh instance judge the settings.
    pub(crate) fn validate(mut self) -> Result<(), SettingsError> {
        let host = std::sync::Arc::clone(&self.configured.plugin.inner.host);
        let _in_flight = host.ticker.in_flight();
        let mut instance = self.bare_instance(0)?;
        let judged = instance
            .world
            .validate(&mut instance.store, &self.configured.shared.settings);
        match judged {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problems)) => Err(SettingsError::Refused(taken(problems))),
            Err(error) => Err(self
                .fault(&mut instance.store, self.limits.configure, &error)
                .into()),
        }
    }

    fn configured_instance(&mut self, time_ms: u64) -> Result<Instance<W>, Fault> {
        let mut instance = self.bare_instance(time_ms)?;
        let judged = instance
            .world
            .configure(&mut instance.store, &self.configured.shared.settings);
        match judged {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(problems)) => Err(Fault::Settings(taken(problems))),
            Err(error) => Err(self.fault(&mut instance.store, self.limits.configure, &error)),
        }
    }

    /// An instance that knows no settings. Its limits are set before any of its code runs, and last for the call after.
    fn bare_instance(&mut self, time_ms: u64) -> Result<Instance<W>, Fault> {
        let host = &self.configured.plugin.inner.host;
        let random = host
            .config
            .seed
            .unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let shared = std::sync::Arc::clone(&self.configured.shared);
        let guest = Guest::new(shared, self.limits.memory, random);
        let mut store = Store::new(&host.engine, guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(self.limits.transfer);
        store.epoch_deadline_callback(|mut context| Ok(backstop(context.data_mut())));
        refill(&mut store, self.limits.configure, time_ms);
        match W::instantiate(&self.pre, &mut store) {
            Ok(world) => Ok(Instance { store, world }),
            Err(error) => Err(
                match self.fault(&mut store, self.limits.configure, &error) {
                    Fault::Trap { reason } if error.downcast_ref::<Trap>().is_none() => {
                        Fault::Instantiate { reason }
                    }
                    fault => fault,
                },
            ),
        }
    }

    fn fault(&self, store: &mut Store<Guest>, budget: Budget, error: &wasmtime::Error) -> Fault {
        let guest = store.data_mut();
        let starved = guest.memory.take_refused();
        let written = guest.console.take_last_error();
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => Fault::OutOfFuel { fuel: budget.fuel },
            Some(Trap::Interrupt) => Fault::Deadline {
                deadline: budget.deadline,
            },
            _ if starved => Fault::OutOfMemory {
                bytes: self.limits.memory,
            },
            trap => {
                let kind = match trap {
                    Some(trap) => trap.to_string(),
                    None => error.root_cause().to_string(),
                };
                Fault::Trap {
                    reason: match written {
                        Some(text) => format!("{kind}: {}", crate::console::tame(&text)),
                        None => kind,
                    },
                }
            }
        }
    }
}

fn refill(store: &mut Store<Guest>, budget: Budget, time_ms: u64) {
    // Only fails where fuel is off, and the engine's settings have it on.
    let _ = store.set_fuel(budget.fuel);
    store.set_epoch_deadline(Ticker::ticks(budget.deadline));
    let guest = store.data_mut();
    guest.console.begin();
    guest.time_ms = time_ms;
    guest.deadline = budget.deadline;
    guest.overrun = None;
}

/// A call is past its deadline by the clock. That may be the node's fault and not the plugin's: where many processes want
/// the processor, a thread stands still for longer than this. So the plugin gets the same time once more, of its
/// processor now, which costs nothing to know as long as calls are in time.
fn backstop(guest: &mut Guest) -> UpdateDeadline {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let spent = Duration::try_from(spent).unwrap_or(Duration::MAX);
    let since = *guest.overrun.get_or_insert(spent);
    match guest.deadline.checked_sub(spent.saturating_sub(since)) {
        Some(left) if !left.is_zero() => UpdateDeadline::Continue(Ticker::ticks(left)),
        _ => UpdateDeadline::Interrupt,
    }
}

/// Most problems taken from a plugin, and longest text of each part.
const PROBLEMS: usize = 100;

fn taken(problems: Vec<types::Problem>) -> Vec<Problem> {
    let mut taken: Vec<Problem> = problems
        .into_iter()
        .take(PROBLEMS)
        .map(|problem| Problem {
            path: crate::console::tame(&problem.path),
            message: crate::console::tame(&problem.message),
        })
        .collect();
    if taken.is_empty() {
        taken.push(Problem {
            path: String::new(),
            message: "refused without a reason".to_owned(),
        });
    }
    taken
}
