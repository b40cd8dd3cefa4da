//! What is valid but cannot be enforced by this build: a write that needs it is refused, never silently kept.

use crate::path::{At, FieldPath};
use crate::policy::PolicySpec;
use crate::resource::{Resource, Spec};
use crate::rule::{EntityRule, Rule};

/// A field that asks for something this build does not enforce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Unenforced {
    /// The field.
    pub path: FieldPath,
    /// Why not.
    pub reason: &'static str,
}

/// Every field of a resource that this build accepts but does not enforce. Empty: the resource may be written.
pub fn unenforced(resource: &Resource) -> Vec<Unenforced> {
    let mut found = Vec::new();
    let spec = At::ROOT.field("spec");
    match &resource.spec {
        Spec::GlobalNetworkPolicy(policy) | Spec::NetworkPolicy(policy) => {
            in_policy(policy, &spec, &mut found);
        }
        Spec::StagedGlobalNetworkPolicy(staged) | Spec::StagedNetworkPolicy(staged) => {
            if let Some(policy) = staged.policy() {
                in_policy(policy, &spec, &mut found);
            }
        }
        Spec::Profile(profile) => {
            in_rules(&profile.ingress, &spec.field("ingress"), &mut found);
            in_rules(&profile.egress, &spec.field("egress"), &mut found);
        }
        Spec::StagedKubernetesNetworkPolicy
        | Spec::GlobalNetworkSet(_)
        | Spec::NetworkSet(_)
        | Spec::HostEndpoint(_)
        | Spec::WorkloadEndpoint(_)
        | Spec::Tier(_)
        | Spec::FelixConfiguration(_)
        | Spec::Node(_)
        | Spec::ClusterInformation(_)
        | Spec::PalisadeConfiguration(_)
        | Spec::Plugin(_) => {}
    }
    found
}

fn add(at: &At<'_>, reason: &'static str, found: &mut Vec<Unenforced>) {
    found.push(Unenforced {
        path: at.path(),
        reason,
    });
}

fn in_policy(policy: &PolicySpec, at: &At<'_>, found: &mut Vec<Unenforced>) {
    in_rules(&policy.ingress, &at.field("ingress"), found);
    in_rules(&policy.egress, &at.field("egress"), found);
}

fn in_rules(rules: &[Rule], at: &At<'_>, found: &mut Vec<Unenforced>) {
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        if rule.has_http {
            add(
                &at.field("http"),
                "nothing here looks into HTTP; without it the rule would allow more than it says",
                found,
            );
        }
        in_entity(&rule.source, &at.field("source"), found);
        in_entity(&rule.destination, &at.field("destination"), found);
    }
}

fn in_entity(entity: &EntityRule, at: &At<'_>, found: &mut Vec<Unenforced>) {
    if entity.services.is_some() {
        add(
            &at.field("services"),
            "no orchestrator registers services here, so the rule would never match",
            found,
        );
    }
}
