//! How a host is, as its daemon says it.

use crate::{enforce::Positions, link::state::LinkState};
use palisade_policy::view::Position;
use palisade_proto::v1::{EndpointState, NodeReport};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// A view, by its position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The revision of the control plane's store.
    pub revision: u64,
    /// One life of that store, in hexadecimal digits.
    pub epoch: String,
    /// The content, in hexadecimal digits.
    pub digest: String,
}

/// An endpoint of the view.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// `up`, `down` or `error`.
    pub state: String,
    /// Why; empty: it is up.
    pub reason: String,
    /// What it governs.
    pub interfaces: Vec<String>,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// What.
    pub kind: String,
    /// One word for machines.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// How the host is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The view that is acknowledged, or was found on disk.
    pub held: Option<View>,
    /// The view that the kernel is known to enforce now; absent: none is, or it is not known.
    pub enforced: Option<View>,
    /// What `/readyz` answers: the view held is known to be enforced, and no change waits.
    pub ready: bool,
    /// By id.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Sorted.
    pub conditions: Vec<Told>,
    /// The control plane, as it was given.
    pub server: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when it is so, RFC 3339.
    pub since: String,
    /// Why the last connection or attempt ended.
    pub last_error: Option<String>,
}

impl Status {
    /// From what is reported to the control plane, too.
    pub(super) fn of(
        positions: &Positions,
        ready: bool,
        report: NodeReport,
        link: &LinkState,
    ) -> Self {
        let endpoints = report.endpoints.into_iter().map(|endpoint| {
            let state = match endpoint.state() {
                EndpointState::Up => "up",
                EndpointState::Down => "down",
                EndpointState::Error | EndpointState::Unspecified => "error",
            };
            let told = Endpoint {
                state: state.to_owned(),
                reason: endpoint.reason,
                interfaces: endpoint.interfaces,
            };
            (endpoint.endpoint, told)
        });
        let conditions = report.conditions.into_iter().map(|condition| Told {
            kind: condition.r#type,
            reason: condition.reason,
            message: condition.message,
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            held: positions.have.as_ref().map(view),
            enforced: positions.enforced.as_ref().map(view),
            ready,
            endpoints: endpoints.collect(),
            conditions: conditions.collect(),
            server: link.server.to_string(),
            connected: link.connected,
            since: link.since.to_string(),
            last_error: link.last_error.clone(),
        }
    }

    /// Why a change of policy waits, where one does.
    fn waits(&self) -> Option<&str> {
        let mut told = self.conditions.iter();
        told.find(|told| told.kind == "Degraded" && told.reason == "MachineFault")
            .map(|told| told.message.as_str())
    }
}

fn view(position: &Position) -> View {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    View {
        revision: position.revision,
        epoch: hex(&position.epoch.0),
        digest: hex(&position.digest.0),
    }
}

/// For people.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.held, &self.enforced) {
            (Some(held), Some(enforced)) if held == enforced => {
                writeln!(f, "policy          revision {} is enforced", held.revision)?;
            }
            (Some(held), Some(enforced)) => writeln!(
                f,
                "policy          revision {} is enforced, {} is acknowledged",
                enforced.revision, held.revision
            )?,
            (Some(held), None) => writeln!(
                f,
                "policy          revision {} is acknowledged, and is not known to be enforced now",
                held.revision
            )?,
            (None, _) => writeln!(
                f,
                "policy          none is held: what the kernel has stays, and none is known to be enforced"
            )?,
        }
        if let Some(why) = self.waits() {
            writeln!(f, "                a change of it waits: {why}")?;
        }
        let not = if self.connected { "" } else { "not " };
        let (server, since) = (&self.server, &self.since);
        writeln!(
            f,
            "control plane   {not}connected to {server} since {since}"
        )?;
        if let (false, Some(error)) = (self.connected, &self.last_error) {
            writeln!(f, "                {error}")?;
        }
        writeln!(f, "daemon          {} (pid {})", self.version, self.pid)?;
        for (id, endpoint) in &self.endpoints {
            let on = endpoint.interfaces.join(", ");
            let reason = match endpoint.reason.as_str() {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            writeln!(f, "endpoint        {id} [{on}] {}{reason}", endpoint.state)?;
        }
        for Told {
            kind,
            reason,
            message,
        } in &self.conditions
        {
            writeln!(f, "condition       {kind} ({reason}): {message}")?;
        }
        Ok(())
    }
}
