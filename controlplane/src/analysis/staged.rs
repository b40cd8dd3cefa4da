//! What would be if every staged policy were in force. Owns what that means for the stored resources; the compiler from
//! scratch and the evaluator say the rest, so that a preview is what enforcement will be.

use palisade_compile::World;
use palisade_model::{Kind, Resource, ResourceId, Spec, StagedPolicySpec};
use std::sync::Arc;

/// Kinds of policy that are evaluated and not enforced.
pub(super) const STAGED: [Kind; 2] = [Kind::StagedGlobalNetworkPolicy, Kind::StagedNetworkPolicy];

/// All resources with staged policies in the place of the enforced ones of their names, and without those that a staged
/// deletion names.
pub(super) fn world(resources: Vec<(ResourceId, Resource)>) -> World {
    let mut world = World::new();
    let (staged, others): (Vec<_>, Vec<_>) = resources
        .into_iter()
        .partition(|(id, _)| STAGED.contains(&id.kind));
    for (id, resource) in others {
        world.set(id, Some(Arc::new(resource)));
    }
    for (id, resource) in staged {
        let (kind, would_be) = match resource.spec {
            Spec::StagedGlobalNetworkPolicy(staged) => {
                let policy = in_force(staged).map(Spec::GlobalNetworkPolicy);
                (Kind::GlobalNetworkPolicy, policy)
            }
            Spec::StagedNetworkPolicy(staged) => {
                let policy = in_force(staged).map(Spec::NetworkPolicy);
                (Kind::NetworkPolicy, policy)
            }
            _ => continue,
        };
        let would_be = would_be.map(|spec| {
            Arc::new(Resource {
                api_version: resource.api_version,
                metadata: resource.metadata,
                spec,
            })
        });
        world.set(ResourceId { kind, ..id }, would_be);
    }
    world
}

fn in_force(staged: StagedPolicySpec) -> Option<Box<palisade_model::PolicySpec>> {
    match staged {
        StagedPolicySpec::Policy { policy, .. } => Some(policy),
        StagedPolicySpec::Delete { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn resource(kind: &str, name: &str, spec: Value) -> (ResourceId, Resource) {
        let metadata = match kind {
            "StagedNetworkPolicy" | "NetworkPolicy" => json!({ "name": name, "namespace": "shop" }),
            _ => json!({ "name": name }),
        };
        let document = json!({
            "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec,
        });
        let resource = palisade_model::decode(&document).expect("valid").resource;
        (resource.id(), resource)
    }

    /// Kinds, names and orders of what a preview holds.
    fn held(resources: Vec<(ResourceId, Resource)>) -> Vec<(String, Option<f64>)> {
        let world = world(resources);
        let each = world.iter().map(|(id, resource)| match &resource.spec {
            Spec::GlobalNetworkPolicy(policy) | Spec::NetworkPolicy(policy) => {
                (id.to_string(), policy.order)
            }
            _ => (id.to_string(), None),
        });
        each.collect()
    }

    #[test]
    fn staged_policies_replace_add_and_remove() {
        let order = |order: i32| json!({ "order": order });
        let stored = vec![
            resource("GlobalNetworkPolicy", "replaced", order(1)),
            resource("GlobalNetworkPolicy", "removed", order(1)),
            resource("GlobalNetworkPolicy", "kept", order(1)),
            resource("NetworkPolicy", "replaced", order(1)),
            resource("StagedGlobalNetworkPolicy", "replaced", order(2)),
            resource(
                "StagedGlobalNetworkPolicy",
                "added",
                json!({ "order": 3, "stagedAction": "Learn" }),
            ),
            resource(
                "StagedGlobalNetworkPolicy",
                "removed",
                json!({ "stagedAction": "Delete" }),
            ),
            resource("StagedNetworkPolicy", "replaced", order(4)),
            resource("Tier", "edge", json!({ "order": 1 })),
        ];
        let wanted = [
            ("GlobalNetworkPolicy(added)", Some(3.0)),
            ("GlobalNetworkPolicy(kept)", Some(1.0)),
            ("GlobalNetworkPolicy(replaced)", Some(2.0)),
            ("NetworkPolicy(shop/replaced)", Some(4.0)),
            ("Tier(edge)", None),
        ];
        assert_eq!(
            held(stored),
            wanted.map(|(id, order)| (id.to_owned(), order))
        );
    }
}
