//! Which kinds there are and what they are called.

use std::fmt;

use crate::name::Name;

/// A kind this build knows. The order is that of listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Ordered policy over every endpoint it selects.
    GlobalNetworkPolicy,
    /// The same over the endpoints of a namespace.
    NetworkPolicy,
    /// A policy that is evaluated but not enforced.
    StagedGlobalNetworkPolicy,
    /// The same in a namespace.
    StagedNetworkPolicy,
    /// A policy in Kubernetes' words, kept only.
    StagedKubernetesNetworkPolicy,
    /// Addresses under labels, for rule selectors.
    GlobalNetworkSet,
    /// The same in a namespace.
    NetworkSet,
    /// An interface, or all interfaces, of a host.
    HostEndpoint,
    /// The host's side of a workload's interface.
    WorkloadEndpoint,
    /// An ordered group of policies.
    Tier,
    /// Rules and labels that endpoints name.
    Profile,
    /// Settings of the node daemon, Calico's words.
    FelixConfiguration,
    /// A host.
    Node,
    /// What the cluster says of itself; read-only.
    ClusterInformation,
    /// Settings that Calico has no words for; `palisade.dev/v1` only.
    PalisadeConfiguration,
    /// A component that nodes run; `palisade.dev/v1` only.
    Plugin,
}

/// Names of one kind, and where it lives.
struct Naming {
    kind: Kind,
    singular: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
}

const NAMING: [Naming; 16] = [
    naming(
        Kind::GlobalNetworkPolicy,
        "GlobalNetworkPolicy",
        "GlobalNetworkPolicies",
        &["gnp", "gnps"],
    ),
    naming(
        Kind::NetworkPolicy,
        "NetworkPolicy",
        "NetworkPolicies",
        &["np", "nps", "policy", "policies", "pol", "pols"],
    ),
    naming(
        Kind::StagedGlobalNetworkPolicy,
        "StagedGlobalNetworkPolicy",
        "StagedGlobalNetworkPolicies",
        &["sgnp", "sgnps"],
    ),
    naming(
        Kind::StagedNetworkPolicy,
        "StagedNetworkPolicy",
        "StagedNetworkPolicies",
        &["snp", "snps"],
    ),
    naming(
        Kind::StagedKubernetesNetworkPolicy,
        "StagedKubernetesNetworkPolicy",
        "StagedKubernetesNetworkPolicies",
        &["sknp", "sknps"],
    ),
    naming(
        Kind::GlobalNetworkSet,
        "GlobalNetworkSet",
        "GlobalNetworkSets",
        &["gns", "gnss", "globalnetset", "globalnetsets"],
    ),
    naming(
        Kind::NetworkSet,
        "NetworkSet",
        "NetworkSets",
        &["ns", "nss", "netset", "netsets"],
    ),
    naming(
        Kind::HostEndpoint,
        "HostEndpoint",
        "HostEndpoints",
        &["hep", "heps"],
    ),
    naming(
        Kind::WorkloadEndpoint,
        "WorkloadEndpoint",
        "WorkloadEndpoints",
        &["wep", "weps"],
    ),
    naming(Kind::Tier, "Tier", "Tiers", &[]),
    naming(Kind::Profile, "Profile", "Profiles", &["pro", "pros"]),
    naming(
        Kind::FelixConfiguration,
        "FelixConfiguration",
        "FelixConfigurations",
        &["felixconfig", "felixconfigs", "fconfig", "fconfigs"],
    ),
    naming(Kind::Node, "Node", "Nodes", &["no", "nos"]),
    naming(
        Kind::ClusterInformation,
        "ClusterInformation",
        "ClusterInformations",
        &["clusterinfo", "clusterinfos"],
    ),
    naming(
        Kind::PalisadeConfiguration,
        "PalisadeConfiguration",
        "PalisadeConfigurations",
        &["palisadeconfig", "palisadeconfigs", "pconfig", "pconfigs"],
    ),
    naming(Kind::Plugin, "Plugin", "Plugins", &[]),
];

const fn naming(
    kind: Kind,
    singular: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
) -> Naming {
    Naming {
        kind,
        singular,
        plural,
        short,
    }
}

/// Calico's kinds that this build does not know yet.
pub(crate) const LATER: [&str; 1] = ["KubeControllersConfiguration"];

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Kind; NAMING.len()] = {
        let mut all = [Kind::GlobalNetworkPolicy; NAMING.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = NAMING[index].kind;
            index += 1;
        }
        all
    };

    /// Kinds whose resources belong to a tier.
    pub const POLICIES: [Kind; 4] = [
        Kind::GlobalNetworkPolicy,
        Kind::NetworkPolicy,
        Kind::StagedGlobalNetworkPolicy,
        Kind::StagedNetworkPolicy,
    ];

    /// The kind a person means: singular, plural or short name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let is = |name: &str| name.eq_ignore_ascii_case(text);
        let found = NAMING
            .iter()
            .find(|n| is(n.singular) || is(n.plural) || n.short.iter().any(|name| is(name)));
        found.map(|naming| naming.kind)
    }

    /// The kind as a document names it: CamelCase singular, exactly.
    pub fn from_document(text: &str) -> Option<Self> {
        NAMING
            .iter()
            .find(|naming| naming.singular == text)
            .map(|naming| naming.kind)
    }

    /// CamelCase singular, as in a document.
    pub fn as_str(self) -> &'static str {
        self.naming().map_or("", |naming| naming.singular)
    }

    /// Lower-case plural, as in a listing.
    pub fn plural(self) -> String {
        self.naming()
            .map_or("", |naming| naming.plural)
            .to_ascii_lowercase()
    }

    /// Whether resources of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        match self {
            Kind::NetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::NetworkSet
            | Kind::WorkloadEndpoint => true,
            Kind::GlobalNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::GlobalNetworkSet
            | Kind::HostEndpoint
            | Kind::Tier
            | Kind::Profile
            | Kind::FelixConfiguration
            | Kind::Node
            | Kind::ClusterInformation
            | Kind::PalisadeConfiguration
            | Kind::Plugin => false,
        }
    }

    /// Whether only the control plane writes resources of this kind.
    pub fn is_read_only(self) -> bool {
        self == Kind::ClusterInformation
    }

    /// Whether the kind exists in `palisade.dev/v1` only.
    pub fn is_extension(self) -> bool {
        matches!(self, Kind::PalisadeConfiguration | Kind::Plugin)
    }

    fn naming(self) -> Option<&'static Naming> {
        NAMING.iter().find(|naming| naming.kind == self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identity of a resource. Both API groups name the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// What it is.
    pub kind: Kind,
    /// Where it lives; `None` for cluster-scoped kinds.
    pub namespace: Option<Name>,
    /// What it is called.
    pub name: Name,
}

impl ResourceId {
    /// A cluster-scoped resource.
    pub fn global(kind: Kind, name: Name) -> Self {
        Self {
            kind,
            namespace: None,
            name,
        }
    }

    /// Key in the store: `/r/<kind>/<namespace or ->/<name>`.
    pub fn store_key(&self) -> String {
        let namespace = self.namespace.as_ref().map_or("-", Name::as_str);
        format!("/r/{}/{namespace}/{}", self.kind, self.name)
    }

    /// The identity behind a store key.
    pub fn from_store_key(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix("/r/")?.splitn(3, '/');
        let kind = Kind::from_document(parts.next()?)?;
        let namespace = match parts.next()? {
            "-" => None,
            namespace => Some(Name::new(namespace)?),
        };
        let name = Name::new(parts.next()?)?;
        (namespace.is_some() == kind.is_namespaced()).then_some(Self {
            kind,
            namespace,
            name,
        })
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}({namespace}/{})", self.kind, self.name),
            None => write!(f, "{}({})", self.kind, self.name),
        }
    }
}
