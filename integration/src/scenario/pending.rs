//! What this build of the product does not enforce yet. A scenario that needs any of it is skipped with that reason,
//! found by looking at its documents and never by trying: a refused write must stay a failure everywhere else.

use std::collections::BTreeSet;

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

/// Why the scenario cannot be run yet, naming everything it waits for, or `None` where it can.
pub fn reason(scenario: &Scenario) -> Option<String> {
    let mut needs = BTreeSet::new();
    if scenario
        .topology
        .hosts
        .iter()
        .any(|host| !host.workloads.is_empty())
    {
        needs.insert("workloads");
    }
    for text in scenario.steps.iter().filter_map(|step| step.apply.as_ref()) {
        // Unreadable text is for the product to refuse.
        for document in serde_saphyr::from_multiple::<serde_json::Value>(text).unwrap_or_default() {
            let kind = document
                .get("kind")
                .and_then(|kind| kind.as_str())
                .unwrap_or_default();
            needs.extend(KINDS.into_iter().filter(|pending| *pending == kind));
            let spec = document.get("spec");
            let is_set =
                |field: &str| spec.and_then(|spec| spec.get(field)?.as_bool()) == Some(true);
            needs.extend(POLICY_FIELDS.into_iter().filter(|field| is_set(field)));
        }
    }
    (!needs.is_empty()).then(|| {
        format!(
            "not enforced yet: {}",
            needs.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
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
