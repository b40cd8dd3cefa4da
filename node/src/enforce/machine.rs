//! The machine as the ruleset takes it into account, and its changes, without any control plane.

use crate::{condition::Condition, enforce::Reconciler, enforce::interfaces::Interfaces};
use palisade_netfilter::OldKernel;
use palisade_policy::packet::Environment;
use std::{net::SocketAddr, time::Duration};
use tokio::{sync::watch, time::Instant};

/// How long the next change of interfaces waits at most after one that took long to enforce.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The machine now.
pub fn environment(
    interfaces: &watch::Receiver<Interfaces>,
    control_plane: &watch::Receiver<Vec<SocketAddr>>,
) -> Environment {
    Environment {
        interfaces: interfaces.borrow().clone(),
        control_plane: control_plane.borrow().clone(),
    }
}

/// What people are told of a kernel that is too old. Where it would judge wrongly, nothing must be written to it.
pub fn old_kernel(kernel: &OldKernel) -> Condition {
    Condition {
        kind: "OldKernel",
        reason: if kernel.misjudges() {
            "NotEnforced"
        } else {
            "Unsupported"
        },
        message: kernel.to_string(),
    }
}

/// After a change of interfaces that took so long to enforce, the next one waits three times as long: interfaces that
/// come and go all the time cost the enforcing thread a quarter of its time. A change of the control plane's addresses
/// does not wait.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(3).min(LONGEST_PAUSE)
}

/// Tells the reconciler of the machine as it changes, until nothing changes it any more. Changes that come while one is
/// enforced, or in the pause after it, are one.
pub async fn follow(
    mut interfaces: watch::Receiver<Interfaces>,
    mut control_plane: watch::Receiver<Vec<SocketAddr>>,
    reconciler: Reconciler,
) {
    loop {
        interfaces.mark_unchanged();
        control_plane.mark_unchanged();
        let environment = environment(&interfaces, &control_plane);
        let begun = Instant::now();
        reconciler.environment(environment).await;
        tokio::select! {
            () = tokio::time::sleep(pause(begun.elapsed())) => {}
            changed = control_plane.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        tokio::select! {
            changed = interfaces.changed() => if changed.is_err() { return },
            changed = control_plane.changed() => if changed.is_err() { return },
        }
    }
}
