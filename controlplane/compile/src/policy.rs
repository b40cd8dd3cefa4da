//! Policy resources of every kind as compilation sees them: of the cluster or of a namespace, enforced or staged.

use crate::{
    lower::{Lowered, Owner, logs, lower},
    order::PolicyPlace,
    plugin::Matchers,
    selectors,
};
use palisade_model::{Kind, Metadata, Name, PolicySpec, Resource, ResourceId, Rule, Spec};
use palisade_policy::ids::PolicyId;
use palisade_selector::Selector;
use std::collections::BTreeSet;

/// A policy resource.
pub(crate) struct PolicySource<'a> {
    metadata: &'a Metadata,
    kind: Kind,
    /// Its item's name.
    pub(crate) id: PolicyId,
    spec: &'a PolicySpec,
}

impl<'a> PolicySource<'a> {
    /// `None` for other resources, and for a staged deletion, which says nothing about packets.
    pub(crate) fn of(resource: &'a Resource) -> Option<Self> {
        let spec = match &resource.spec {
            Spec::GlobalNetworkPolicy(spec) | Spec::NetworkPolicy(spec) => spec,
            Spec::StagedGlobalNetworkPolicy(staged) | Spec::StagedNetworkPolicy(staged) => {
                staged.policy()?
            }
            _ => return None,
        };
        Some(Self {
            metadata: &resource.metadata,
            kind: resource.kind(),
            id: policy_id(&resource.id())?,
            spec,
        })
    }

    /// Whether it is evaluated only.
    pub(crate) fn staged(&self) -> bool {
        matches!(
            self.kind,
            Kind::StagedGlobalNetworkPolicy | Kind::StagedNetworkPolicy
        )
    }

    /// What it selects.
    pub(crate) fn subject(&self) -> Selector {
        selectors::subject(self.spec, self.metadata.namespace.as_ref())
    }

    /// Where it stands among others.
    pub(crate) fn place(&self) -> PolicyPlace {
        let namespace = self.metadata.namespace.as_ref();
        let namespace = namespace.map_or("", |namespace| namespace.as_str());
        let tie = format!("{}/{namespace}/{}", self.metadata.name, self.kind);
        PolicyPlace::new(self.id.clone(), tie, self.spec, self.staged())
    }

    /// Whether some rule writes to the log.
    pub(crate) fn logs(&self) -> bool {
        logs(self.spec.ingress.iter().chain(&self.spec.egress))
    }

    /// The plugins that its rules name; they may not exist.
    pub(crate) fn plugins(&self) -> BTreeSet<Name> {
        let (ingress, egress) = self.rules();
        let rules = ingress.iter().chain(egress);
        let named = rules.filter_map(|rule| rule.plugin.as_ref());
        named.map(|plugin| plugin.name.clone()).collect()
    }

    /// Its rules for both directions; those of a direction that `types` leaves out are inert.
    fn rules(&self) -> (&'a [Rule], &'a [Rule]) {
        let types = self.spec.types;
        let of = |governed: bool, rules: &'a [Rule]| if governed { rules } else { &[] };
        (
            of(types.ingress(), &self.spec.ingress),
            of(types.egress(), &self.spec.egress),
        )
    }

    /// Compiles its rules.
    pub(crate) fn lower(&self, log_prefix: &str, matchers: &dyn Matchers) -> Lowered {
        let owner = Owner {
            id: &self.id,
            namespace: self.metadata.namespace.as_ref(),
            name: &self.metadata.name,
            kind: short(self.kind).unwrap_or_default(),
            tier: self.spec.tier.as_str(),
        };
        let (ingress, egress) = self.rules();
        let mut lowered = lower(&owner, log_prefix, ingress, egress, matchers);
        lowered.policy.staged = self.staged();
        lowered
    }
}

/// What a policy selects, by all its selectors; `None` for other resources, and for a staged deletion.
pub fn policy_subject(resource: &Resource) -> Option<Selector> {
    PolicySource::of(resource).map(|policy| policy.subject())
}

/// The item of a policy resource; `None` for other kinds.
pub(crate) fn policy_id(id: &ResourceId) -> Option<PolicyId> {
    let short = short(id.kind)?;
    Some(PolicyId::new(match &id.namespace {
        Some(namespace) => format!("{short}/{namespace}/{}", id.name),
        None => format!("{short}/{}", id.name),
    }))
}

fn short(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::GlobalNetworkPolicy => Some("gnp"),
        Kind::NetworkPolicy => Some("np"),
        Kind::StagedGlobalNetworkPolicy => Some("sgnp"),
        Kind::StagedNetworkPolicy => Some("snp"),
        _ => None,
    }
}
