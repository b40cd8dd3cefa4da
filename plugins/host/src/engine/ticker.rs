//! The clock of deadlines: a thread that advances the engine's epoch each millisecond while calls are under way, and
//! sleeps while none are, so that an idle node stays idle.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// One step of the epoch.
const TICK: Duration = Duration::from_millis(1);

/// So many steps without a call, and the thread goes to sleep: waking it costs a call some microseconds.
const IDLE_TICKS: u32 = 50;

/// The thread.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// A call under way. While one lives, the epoch advances.
pub(crate) struct InFlight<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new()
            .name("plugin-clock".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, &engine)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Says that a call begins.
    pub(crate) fn in_flight(&self) -> InFlight<'_> {
        self.shared.calls.fetch_add(1, SeqCst);
        // INVARIANT: we count ourselves before we look; the thread says it sleeps before it looks at the count. One of
        // the two sees the other.
        if self.shared.asleep.load(SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        InFlight(&self.shared)
    }

    /// Steps that cover a deadline.
    pub(crate) fn ticks(deadline: Duration) -> u64 {
        let ticks = deadline.as_nanos().div_ceil(TICK.as_nanos());
        // The step under way may be almost over.
        u64::try_from(ticks)
            .unwrap_or(u64::MAX / 2)
            .saturating_add(1)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only fails where the thread panicked, and it has nothing to panic with.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, engine: &Engine) {
    let mut idle = 0;
    while !shared.stop.load(SeqCst) {
        if idle < IDLE_TICKS {
            thread::sleep(TICK);
            engine.increment_epoch();
            idle = if shared.calls.load(SeqCst) == 0 {
                idle + 1
            } else {
                0
            };
            continue;
        }
        shared.asleep.store(true, SeqCst);
        if shared.calls.load(SeqCst) == 0 && !shared.stop.load(SeqCst) {
            thread::park();
        }
        shared.asleep.store(false, SeqCst);
        idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_cut_short() {
        assert_eq!(Ticker::ticks(Duration::from_millis(10)), 11);
        assert_eq!(Ticker::ticks(Duration::from_micros(1)), 2);
        assert!(Ticker::ticks(Duration::MAX) > 1 << 60);
    }

    #[test]
    fn the_thread_ends_with_its_host_asleep_or_awake() {
        let engine = Engine::default();
        let ticker = Ticker::start(engine.clone()).expect("a thread");
        drop(ticker);
        let ticker = Ticker::start(engine).expect("a thread");
        while !ticker.shared.asleep.load(SeqCst) {
            thread::yield_now();
        }
        drop(ticker);
    }
}
