//! The one owner of the kernel's state: a thread that takes transactions, changes of the machine and foreign changes one
//! after the other, and makes the kernel agree.
//!
//! Its netlink calls and its disk writes block; nothing else runs on the thread, and nothing of the async side waits for
//! it but the sender of a transaction.

use crate::{
    condition::Condition,
    enforce::transaction::{Outcome, Rejection, Transaction},
};
use palisade_policy::{
    ids::EndpointId, packet::Environment, resolve::EndpointStatus, view::Position, wire,
};
use palisade_proto::v1;
use std::{collections::BTreeMap, time::Instant};
use tokio::sync::{mpsc, oneshot, watch};

mod basis;
mod belief;
mod blame;
mod enforcer;
mod feed;
pub mod gate;
pub mod interfaces;
pub mod inventory;
mod kernel;
mod listener;
pub mod machine;
mod quarantine;
pub mod saved;
mod saved_view;
mod thread;
pub mod transaction;
mod trouble;
mod wanted;

pub use basis::Basis;
pub use enforcer::{Enforcer, NotEnforced};
pub use feed::{Applied, EnforcedFeed};
pub use kernel::{Kernel, kernel_position};
pub use listener::Notifications;
pub use thread::{Running, start, start_on};
pub use trouble::{StartError, Trouble};
pub use wanted::Wanted;

/// Commands that wait; senders wait when it is full.
const QUEUE: usize = 16;

/// Which view is held, and which one the kernel enforces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Positions {
    /// Held: from the stream or from disk.
    pub have: Option<Position>,
    /// Read back from the kernel.
    pub enforced: Option<Position>,
}

/// What the control plane and people are told of this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// The machine as the ruleset takes it into account.
    pub environment: Environment,
    /// How each endpoint fares.
    pub endpoints: BTreeMap<EndpointId, EndpointStatus>,
    /// What is not as it should be, sorted.
    pub conditions: Vec<Condition>,
}

/// What the thread is told.
enum Command {
    Transaction {
        transaction: Transaction,
        /// When its commit arrived.
        received: Instant,
        reply: oneshot::Sender<Outcome>,
    },
    Unchanged(Position),
    Environment {
        environment: Environment,
        done: oneshot::Sender<()>,
    },
    Inventory(oneshot::Sender<v1::Inventory>),
    Basis(oneshot::Sender<Basis>),
    Condition(&'static str, Option<Condition>),
    LookAtDisk,
    Uninstall(oneshot::Sender<Result<bool, String>>),
    Stop,
}

/// How the rest of the daemon speaks to the thread.
#[derive(Clone, Debug)]
pub struct Reconciler {
    commands: mpsc::Sender<Command>,
    positions: watch::Receiver<Positions>,
    observed: watch::Receiver<Observed>,
}

impl Reconciler {
    /// Enforces a transaction; returns once it is read back and on disk, or refused.
    pub async fn apply(&self, transaction: Transaction, received: Instant) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let command = Command::Transaction {
            transaction,
            received,
            reply,
        };
        // A closed channel is a daemon that ends.
        let _ = self.commands.send(command).await;
        answer
            .await
            .unwrap_or_else(|_| Outcome::Rejected(Rejection::unavailable("the node is stopping")))
    }

    /// The view held counts as this position.
    pub async fn unchanged(&self, position: Position) {
        let _ = self.commands.send(Command::Unchanged(position)).await;
    }

    /// The machine changed; returns once the ruleset takes it into account, or cannot.
    pub async fn environment(&self, environment: Environment) {
        let (done, enforced) = oneshot::channel();
        let command = Command::Environment { environment, done };
        let _ = self.commands.send(command).await;
        let _ = enforced.await;
    }

    /// Something of this machine is not as it should be; absent: it is again.
    pub async fn condition(&self, kind: &'static str, condition: Option<Condition>) {
        let _ = self
            .commands
            .send(Command::Condition(kind, condition))
            .await;
    }

    /// Looks whether what is saved is still on the disk. Skipped while the thread is busy: it is asked again soon.
    pub fn look_at_disk(&self) {
        let _ = self.commands.try_send(Command::LookAtDisk);
    }

    /// Removes our tables for good: nothing is enforced by this daemon any more. Whether there were any.
    ///
    /// # Errors
    /// Why they are there still, or may be.
    pub async fn uninstall(&self) -> Result<bool, String> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Uninstall(reply)).await;
        let stopping = |_| Err("the daemon is stopping".to_owned());
        answer.await.unwrap_or_else(stopping)
    }

    /// The hash of each item held.
    pub async fn inventory(&self) -> v1::Inventory {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Inventory(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// What verdicts follow from now; absent: the node is stopping.
    pub async fn basis(&self) -> Option<Basis> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Basis(reply)).await;
        answer.await.ok()
    }

    /// The latest standing.
    pub fn positions(&self) -> watch::Receiver<Positions> {
        self.positions.clone()
    }

    /// The latest of what is to be reported.
    pub fn observed(&self) -> watch::Receiver<Observed> {
        self.observed.clone()
    }

    /// Ends the thread after what is queued; the rules stay.
    pub async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
    }
}

/// The inventory of what an enforcer holds.
fn inventory_of<K: Kernel>(enforcer: &Enforcer<K>) -> v1::Inventory {
    enforcer
        .held()
        .map(|held| wire::encode_inventory(held.hashes()))
        .unwrap_or_default()
}

/// Removes our tables.
///
/// # Errors
/// The kernel cannot be read or refuses.
pub fn uninstall<K: Kernel>(kernel: &mut K) -> Result<bool, Trouble> {
    let actual = kernel.read()?;
    let plan = palisade_ruleset::diff(&actual, &palisade_ruleset::ir::Ruleset::default());
    if plan.is_empty() {
        return Ok(false);
    }
    for plan in plan.transactions() {
        kernel.commit(&plan).map_err(Trouble::Commit)?;
        kernel.verify(&plan).map_err(Trouble::Mismatch)?;
    }
    Ok(true)
}
