//! Compilation that keeps what it knows: the cost of a change follows what it touches.
//!
//! A change runs through rooms in one order: world → objects → sets → policies → endpoints → nodes. Each room compares
//! what comes out with what was there, so that what did not change stops there.

mod endpoints;
mod heirs;
mod nodes;
mod plugins;
mod policies;
mod sets;

use self::{
    endpoints::Endpoints,
    heirs::Heirs,
    nodes::Nodes,
    policies::{Policies, PolicyChange},
    sets::Sets,
};
use crate::{
    object::{Object, ancestors},
    world::World,
};
use palisade_model::{Kind, Name, Resource, ResourceId, Spec};
use palisade_policy::{
    ids::{PolicyId, SetId},
    table::ItemTable,
    view::Digest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Compiles views, and keeps them up to date.
#[derive(Default)]
pub struct Compiler {
    world: World,
    revision: u64,
    objects: BTreeMap<ResourceId, Object>,
    heirs: Heirs,
    sets: Sets,
    policies: Policies,
    endpoints: Endpoints,
    nodes: Nodes,
}

/// What a change did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Affected {
    /// Tracked nodes whose view is another now. All other views are unchanged at the new revision.
    pub nodes: BTreeSet<Name>,
}

/// The view of one node. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeView {
    /// Its items.
    pub items: ItemTable,
    /// The revision it was compiled at.
    pub revision: u64,
}

impl NodeView {
    /// Equal digests are equal views.
    pub fn digest(&self) -> Digest {
        self.items.digest()
    }
}

/// What one pass has to look at again.
#[derive(Default)]
pub(crate) struct Dirty {
    /// Profiles written or removed.
    profiles: BTreeSet<Name>,
    /// Profiles that give other labels.
    labels: BTreeSet<Name>,
    /// Profiles that came or went.
    existence: BTreeSet<Name>,
    /// Plugins written or removed.
    plugins: BTreeSet<Name>,
    /// An auditor came, went or changed: all nodes run it.
    auditors: bool,
    /// Policies written or removed.
    policies: BTreeSet<ResourceId>,
    /// Endpoints and network sets written or removed, or with other inherited labels.
    objects: BTreeSet<ResourceId>,
    /// Endpoints whose own resource or labels changed: what selects them is found anew.
    rematch: BTreeSet<ResourceId>,
    /// Endpoints that are selected by other policies or in another order, or whose profiles came or went.
    reclass: BTreeSet<ResourceId>,
    /// All endpoints: a tier changed.
    reclass_all: bool,
    /// Settings of nodes may have changed.
    settings: bool,
    /// Sets with other members.
    set_members: BTreeSet<SetId>,
    /// Policies and profiles with other rules.
    rules: BTreeSet<PolicyId>,
    /// Policies and profiles with other rules that name other sets or plugins, or plugins that changed.
    references: BTreeSet<PolicyId>,
    /// Nodes with other endpoints or classes.
    nodes: BTreeSet<Name>,
}

impl Compiler {
    /// Of an empty world.
    pub fn new() -> Self {
        Self::default()
    }

    /// The resources that views are compiled from.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes changes in: resources as they are now, or `None` where they are gone.
    pub fn apply(
        &mut self,
        changes: impl IntoIterator<Item = (ResourceId, Option<Arc<Resource>>)>,
        revision: u64,
    ) -> Affected {
        self.revision = revision;
        let mut dirty = Dirty::default();
        for (id, resource) in changes {
            let old = self.world.set(id.clone(), resource.clone());
            if old.as_ref().map(content) != resource.as_ref().map(content) {
                dirty.mark(id, old.as_deref(), resource.as_deref());
            }
        }
        self.inherit(&mut dirty);
        self.update_objects(&mut dirty);
        self.update_policies(&mut dirty);
        self.endpoints
            .update(&self.world, &self.objects, &self.policies, &mut dirty);
        let nodes = self.nodes.update(
            &self.world,
            &self.endpoints,
            &mut self.policies,
            &self.sets,
            &dirty,
        );
        Affected { nodes }
    }

    /// The view of a node, which is tracked from now on.
    pub fn view(&mut self, node: &Name) -> NodeView {
        let items = self.nodes.track(
            node,
            &self.world,
            &self.endpoints,
            &mut self.policies,
            &self.sets,
        );
        NodeView {
            items: items.clone(),
            revision: self.revision,
        }
    }

    /// Forgets the view of a node: it is compiled again when asked for.
    pub fn forget(&mut self, node: &Name) {
        self.nodes.forget(node);
    }

    /// Who names a changed profile has other labels, or other classes.
    fn inherit(&self, dirty: &mut Dirty) {
        let heirs = |profiles: &BTreeSet<Name>| -> Vec<ResourceId> {
            let heirs = profiles.iter().flat_map(|name| self.heirs.of(name));
            heirs.cloned().collect()
        };
        dirty.objects.extend(heirs(&dirty.labels));
        dirty.reclass.extend(heirs(&dirty.existence));
    }

    fn update_objects(&mut self, dirty: &mut Dirty) {
        for id in &dirty.objects {
            let resource = self.world.get(id);
            let new = resource
                .and_then(|resource| Object::of(resource, |name: &Name| self.world.profile(name)));
            let named = resource.map(|resource| ancestors(resource));
            self.heirs.set(id, named.as_deref().unwrap_or_default());
            let old = self.objects.get(id);
            if old == new.as_ref() {
                continue;
            }
            let labels = |object: Option<&Object>| object.map(|object| object.labels.clone());
            if labels(old) != labels(new.as_ref()) {
                dirty.rematch.insert(id.clone());
            }
            let changed = self.sets.replace(old, new.as_ref());
            dirty.set_members.extend(changed);
            match new {
                Some(new) => self.objects.insert(id.clone(), new),
                None => self.objects.remove(id),
            };
        }
    }

    fn update_policies(&mut self, dirty: &mut Dirty) {
        let profiles = dirty.profiles.clone().into_iter().map(|name| {
            let id = ResourceId::global(Kind::Profile, name.clone());
            self.policies.set_profile(&name, self.world.get(&id))
        });
        let mut changes: Vec<PolicyChange> = profiles.collect();
        for id in &dirty.policies {
            let Some(change) = self.policies.set_policy(id, self.world.get(id)) else {
                continue;
            };
            if change.place {
                let endpoints = self.endpoints.touched_by(
                    &change.id,
                    self.policies.subject(&change.id),
                    &self.objects,
                );
                dirty.reclass.extend(endpoints);
            }
            changes.push(change);
        }
        for name in &dirty.plugins {
            let id = ResourceId::global(Kind::Plugin, name.clone());
            let changed = self.policies.set_plugin(name, self.world.get(&id));
            dirty.auditors |= changed.auditors;
            changes.extend(changed.users);
        }
        // All new sets are used before any old one is given up: a set that moves is not filled twice.
        for change in &changes {
            for (id, definition) in &change.added {
                self.sets.add(id, definition, self.objects.values());
            }
        }
        for change in changes {
            for id in &change.removed {
                self.sets.release(id);
            }
            if change.plugins || !change.added.is_empty() || !change.removed.is_empty() {
                dirty.references.insert(change.id.clone());
            }
            if change.rules {
                dirty.rules.insert(change.id);
            }
        }
    }
}

impl Dirty {
    fn mark(&mut self, id: ResourceId, old: Option<&Resource>, new: Option<&Resource>) {
        match id.kind {
            Kind::GlobalNetworkPolicy
            | Kind::NetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedNetworkPolicy => drop(self.policies.insert(id)),
            Kind::GlobalNetworkSet | Kind::NetworkSet => drop(self.objects.insert(id)),
            Kind::HostEndpoint | Kind::WorkloadEndpoint => {
                self.rematch.insert(id.clone());
                self.objects.insert(id);
            }
            Kind::Tier => self.reclass_all = true,
            Kind::Profile => {
                if applied(old) != applied(new) {
                    self.labels.insert(id.name.clone());
                }
                if old.is_some() != new.is_some() {
                    self.existence.insert(id.name.clone());
                }
                self.profiles.insert(id.name);
            }
            Kind::FelixConfiguration | Kind::Node | Kind::PalisadeConfiguration => {
                self.settings = true;
            }
            Kind::Plugin => drop(self.plugins.insert(id.name)),
            // Never evaluated: its policies speak of pods.
            Kind::StagedKubernetesNetworkPolicy | Kind::ClusterInformation => {}
        }
    }
}

/// Labels that a profile gives.
fn applied(resource: Option<&Resource>) -> Option<&BTreeMap<String, String>> {
    match &resource?.spec {
        Spec::Profile(spec) if !spec.labels_to_apply.is_empty() => Some(&spec.labels_to_apply),
        _ => None,
    }
}

/// What of a resource may matter to views: not its revision.
fn content(resource: &Arc<Resource>) -> (&Spec, &BTreeMap<String, String>, &Option<String>) {
    let metadata = &resource.metadata;
    (
        &resource.spec,
        &metadata.labels,
        &metadata.creation_timestamp,
    )
}
