//! The machine as the ruleset takes it into account, and its changes, without any control plane.

use crate::{enforce::Reconciler, enforce::interfaces::Interfaces};
use palisade_policy::packet::Environment;
use std::net::SocketAddr;
use tokio::sync::watch;

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

/// Tells the reconciler of the machine as it changes, until nothing changes it any more. Changes that come while one is
/// enforced are one.
pub async fn follow(
    mut interfaces: watch::Receiver<Interfaces>,
    mut control_plane: watch::Receiver<Vec<SocketAddr>>,
    reconciler: Reconciler,
) {
    loop {
        interfaces.mark_unchanged();
        control_plane.mark_unchanged();
        let environment = environment(&interfaces, &control_plane);
        reconciler.environment(environment).await;
        tokio::select! {
            changed = interfaces.changed() => if changed.is_err() { return },
            changed = control_plane.changed() => if changed.is_err() { return },
        }
    }
}
