//! What this build of the product does not enforce yet. A scenario that needs any of it is skipped with that reason,
//! found by looking at its documents and never by trying: a refused write must stay a failure everywhere else.

use crate::format::{Requirement, Scenario};
use crate::prerequisite::Prerequisite;

/// Kinds that can be written later.
pub(super) const KINDS: [&str; 6] = [
    "NetworkPolicy",
    "NetworkSet",
    "StagedGlobalNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
    "StagedNetworkPolicy",
    "WorkloadEndpoint",
];

/// Spec fields of a policy that can be written later, where true.
const POLICY_FIELDS: [&str; 3] = ["applyOnForward", "doNotTrack", "preDNAT"];

/// Why the scenario cannot be run yet, or `None` where it can.
pub fn reason(scenario: &Scenario) -> Option<String> {
    if scenario
        .topology
        .hosts
        .iter()
        .any(|host| !host.workloads.is_empty())
    {
        return Some("workloads are not enforced yet".to_owned());
    }
    for step in &scenario.steps {
        let Some(text) = &step.apply else { continue };
        // Unreadable text is for the product to refuse.
        for document in serde_saphyr::from_multiple::<serde_json::Value>(text).unwrap_or_default() {
            let kind = document
                .get("kind")
                .and_then(|kind| kind.as_str())
                .unwrap_or_default();
            if KINDS.contains(&kind) {
                return Some(format!("kind {kind} is not enforced yet"));
            }
            for field in POLICY_FIELDS {
                if document
                    .pointer(&format!("/spec/{field}"))
                    .and_then(serde_json::Value::as_bool)
                    == Some(true)
                {
                    return Some(format!("{field} is not enforced yet"));
                }
            }
        }
    }
    None
}

/// What the scenario needs of the machine and does not find, or `None`.
pub fn missing(scenario: &Scenario) -> Option<(Prerequisite, String)> {
    scenario
        .requires
        .iter()
        .find_map(|requirement| match requirement {
            Requirement::Ipv6 => None,
            Requirement::Sctp => Prerequisite::Sctp
                .missing()
                .map(|reason| (Prerequisite::Sctp, reason)),
        })
}
