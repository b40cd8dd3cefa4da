//! Whose view a resource may change: what must be left alone while it cannot be read.

use palisade_model::{Kind, Name, ResourceId};

/// Before the name of the node whose own settings a FelixConfiguration holds.
const OWN: &str = "node.";

/// Nodes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// None: nothing in any view comes from it.
    Nobody,
    /// This one.
    Node(Name),
    /// Any of them.
    Everybody,
}

/// Nodes whose view may come out otherwise with the resource than without it. Told by its identity alone, so rather too
/// many of them: an endpoint of one node is a member of sets on others.
pub fn reach(id: &ResourceId) -> Reach {
    match id.kind {
        // Its labels choose its settings.
        Kind::Node => Reach::Node(id.name.clone()),
        Kind::FelixConfiguration => id
            .name
            .as_str()
            .strip_prefix(OWN)
            .and_then(Name::new)
            .map_or(Reach::Everybody, Reach::Node),
        // Never evaluated, as in `Dirty::mark`.
        Kind::StagedKubernetesNetworkPolicy | Kind::ClusterInformation => Reach::Nobody,
        Kind::GlobalNetworkPolicy
        | Kind::NetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::GlobalNetworkSet
        | Kind::NetworkSet
        | Kind::HostEndpoint
        | Kind::WorkloadEndpoint
        | Kind::Tier
        | Kind::Profile
        | Kind::PalisadeConfiguration
        | Kind::Plugin => Reach::Everybody,
    }
}
