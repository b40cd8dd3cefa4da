//! A kernel whose queueing comes later than the rules that ask: modules are loaded while the daemon runs.

use crate::{
    guests::bytes,
    matchers::{asking, machine},
    namespace::{in_namespace, nft},
    view::transaction,
};
use palisade_netfilter::{CommitError, Event, Mismatch, Netfilter, OwnError, ReadError, Writer};
use palisade_node::{
    enforce::transaction::Outcome,
    enforce::{Kernel, Notifications, Observed, start_on},
    metrics::Metrics,
};
use palisade_ruleset::{ir::Ruleset, plan::Plan};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// The kernel of this machine, without its module for a while.
struct Unequipped {
    kernel: Netfilter,
    loaded: Arc<AtomicBool>,
}

impl Notifications for Unequipped {
    fn listen(&mut self) -> io::Result<OwnedFd> {
        Notifications::listen(&mut self.kernel)
    }

    fn next_event(&mut self) -> io::Result<Option<Event>> {
        self.kernel.next_event()
    }
}

impl Kernel for Unequipped {
    fn own(&mut self) -> Result<bool, OwnError> {
        Kernel::own(&mut self.kernel)
    }

    fn read(&mut self) -> Result<Ruleset, ReadError> {
        self.kernel.read()
    }

    fn commit(&mut self, plan: &Plan) -> Result<(), CommitError> {
        Kernel::commit(&mut self.kernel, plan)
    }

    fn verify(&mut self, plan: &Plan) -> Result<(), Mismatch> {
        self.kernel.verify(plan)
    }

    fn can_queue(&mut self) -> Result<bool, ReadError> {
        Ok(self.loaded.load(Ordering::Relaxed) && Kernel::can_queue(&mut self.kernel)?)
    }

    fn writer(&self) -> Option<Writer> {
        Kernel::writer(&self.kernel)
    }
}

fn cannot_queue(observed: &Observed) -> bool {
    let mut conditions = observed.conditions.iter();
    conditions.any(|told| (told.kind, told.reason) == ("PluginsUnavailable", "NoQueue"))
}

/// Only what queues looks whether somebody answers; not every `nft` shows what does, where it is an xt target.
fn queues() -> bool {
    nft(&["list", "ruleset"]).contains("@plugin_alive")
}

#[test]
fn once_the_kernel_can_queue_rules_ask_and_the_condition_is_gone_without_a_change_of_policy() {
    // Built outside of the namespace: that may want the network.
    bytes("misbehave");
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let state = tempfile::tempdir().expect("temporary directory");
            let loaded = Arc::new(AtomicBool::new(false));
            let open = {
                let loaded = Arc::clone(&loaded);
                move || {
                    let kernel = Netfilter::open()?;
                    Ok(Unequipped { kernel, loaded })
                }
            };
            let running = start_on(open, state.path(), machine(), Metrics::default())
                .await
                .expect("started");
            let view = asking("nothing");
            let applied = running
                .reconciler
                .apply(transaction(None, &view, 1), Instant::now());
            let outcome = applied.await;
            assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
            let mut observed = running.reconciler.observed();
            assert!(cannot_queue(&observed.borrow_and_update()));
            assert!(!queues());

            loaded.store(true, Ordering::Relaxed);
            let gone = observed.wait_for(|observed| !cannot_queue(observed));
            let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
            assert!(gone.is_ok(), "still said");
            assert!(queues());
            running.reconciler.stop().await;
        });
    });
}
