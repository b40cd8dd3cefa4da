//! Endpoints with the policies that select them and the classes that follow; equal classes are one.

use super::{Dirty, policies::Policies};
use crate::{
    endpoint::EndpointSource,
    object::{EffectiveLabels, Object},
    order::{TierPlace, classes},
    profile::class_profiles,
    world::World,
};
use palisade_model::{Name, ResourceId};
use palisade_policy::{
    class::{Class, ClassProfile},
    ids::{ClassId, PolicyId},
    item::ItemId,
    table::Item,
    wire::Body,
};
use palisade_selector::Selector;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

/// All endpoints that govern something.
#[derive(Default)]
pub(crate) struct Endpoints {
    endpoints: BTreeMap<ResourceId, State>,
    by_node: BTreeMap<Name, BTreeSet<ResourceId>>,
    classes: BTreeMap<ClassId, Weak<CompiledClass>>,
    /// They carry their labels, which they do while there are plugins.
    labelled: bool,
}

struct State {
    node: Name,
    selected: BTreeSet<PolicyId>,
    compiled: CompiledEndpoint,
}

/// An endpoint as nodes see it.
pub(crate) struct CompiledEndpoint {
    pub(crate) item: Arc<Item>,
    pub(crate) classes: Vec<Arc<CompiledClass>>,
}

/// A class as nodes see it.
pub(crate) struct CompiledClass {
    pub(crate) item: Arc<Item>,
    /// Policies and profiles that it names.
    pub(crate) policies: Vec<PolicyId>,
}

impl Endpoints {
    /// The endpoints of a node.
    pub(crate) fn of_node(&self, node: &Name) -> impl Iterator<Item = &CompiledEndpoint> {
        self.by_node
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|id| self.endpoints.get(id))
            .map(|state| &state.compiled)
    }

    /// Endpoints that a policy selects now, or selected before.
    pub(crate) fn touched_by(
        &mut self,
        policy: &PolicyId,
        subject: Option<&Selector>,
        objects: &BTreeMap<ResourceId, Object>,
    ) -> Vec<ResourceId> {
        let mut touched = Vec::new();
        for (id, state) in &mut self.endpoints {
            let selects = match (subject, objects.get(id)) {
                (Some(subject), Some(object)) => subject.matches(&object.labels),
                _ => false,
            };
            let selected = if selects {
                !state.selected.insert(policy.clone())
            } else {
                state.selected.remove(policy)
            };
            if selects || selected {
                touched.push(id.clone());
            }
        }
        touched
    }

    /// Compiles what is dirty anew, and marks the nodes where something came of it.
    pub(crate) fn update(
        &mut self,
        world: &World,
        objects: &BTreeMap<ResourceId, Object>,
        policies: &Policies,
        dirty: &mut Dirty,
    ) {
        let labelled = world.has_plugins();
        if std::mem::replace(&mut self.labelled, labelled) != labelled {
            dirty.reclass_all = true;
        }
        for id in &dirty.rematch {
            let endpoint = world.get(id).and_then(|r| EndpointSource::of(r));
            let (Some(endpoint), Some(object)) = (endpoint, objects.get(id)) else {
                dirty.nodes.extend(self.remove(id));
                continue;
            };
            let selected = policies
                .subjects()
                .filter(|(_, subject)| subject.matches(&object.labels))
                .map(|(id, _)| id.clone())
                .collect();
            dirty
                .nodes
                .extend(self.place((id, &endpoint, object), selected, world, policies));
        }
        let reclass: Vec<ResourceId> = if dirty.reclass_all {
            self.endpoints.keys().cloned().collect()
        } else {
            dirty.reclass.iter().cloned().collect()
        };
        for id in reclass.iter().filter(|id| !dirty.rematch.contains(*id)) {
            let endpoint = world.get(id).and_then(|r| EndpointSource::of(r));
            let (Some(endpoint), Some(object), Some(state)) =
                (endpoint, objects.get(id), self.endpoints.get(id))
            else {
                continue;
            };
            let selected = state.selected.clone();
            dirty
                .nodes
                .extend(self.place((id, &endpoint, object), selected, world, policies));
        }
        if !dirty.nodes.is_empty() {
            self.classes.retain(|_, class| class.strong_count() > 0);
        }
    }

    fn remove(&mut self, id: &ResourceId) -> Option<Name> {
        let old = self.endpoints.remove(id)?;
        self.leave(&old.node, id);
        Some(old.node)
    }

    fn leave(&mut self, node: &Name, id: &ResourceId) {
        if let Some(ids) = self.by_node.get_mut(node) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_node.remove(node);
            }
        }
    }

    /// Puts an endpoint; gives the nodes where it is another now.
    fn place(
        &mut self,
        (id, endpoint, object): (&ResourceId, &EndpointSource<'_>, &Object),
        selected: BTreeSet<PolicyId>,
        world: &World,
        policies: &Policies,
    ) -> Vec<Name> {
        let classes: Vec<(ClassId, Class)> = classes(
            endpoint.kind,
            selected.iter().filter_map(|id| policies.place(id)),
            |tier| TierPlace::new(tier, world.tier(tier)),
            &class_profiles(world, endpoint.profiles),
        )
        .into_iter()
        .map(|class| (ClassId::of(&class), class))
        .collect();
        let named: Vec<_> = classes.iter().map(|(id, c)| (id.clone(), c)).collect();
        let labels = if self.labelled {
            object.labels.clone()
        } else {
            EffectiveLabels::default()
        };
        let body = Body::Endpoint(Arc::new(endpoint.compile(&named, labels)));
        let item = Arc::new(Item::new(ItemId::from(&endpoint.id), &body));
        let classes = classes
            .into_iter()
            .map(|(id, class)| self.intern(id, class))
            .collect();
        let node = endpoint.node.clone();
        let hash = item.hash();
        let new = State {
            node: node.clone(),
            selected,
            compiled: CompiledEndpoint { item, classes },
        };
        self.by_node
            .entry(node.clone())
            .or_default()
            .insert(id.clone());
        match self.endpoints.insert(id.clone(), new) {
            Some(old) if old.node == node && old.compiled.item.hash() == hash => Vec::new(),
            Some(old) if old.node != node => {
                self.leave(&old.node, id);
                vec![old.node, node]
            }
            Some(_) | None => vec![node],
        }
    }

    fn intern(&mut self, id: ClassId, class: Class) -> Arc<CompiledClass> {
        if let Some(known) = self.classes.get(&id).and_then(Weak::upgrade) {
            return known;
        }
        let policies = class.tiers.iter().flat_map(|tier| {
            let staged = tier.staged.iter().map(|(id, _)| id);
            tier.policies.iter().chain(staged)
        });
        let profiles = class.profiles.iter().filter_map(|profile| match profile {
            ClassProfile::Present(id) => Some(id),
            ClassProfile::Missing(_) => None,
        });
        let policies = policies.chain(profiles).cloned().collect();
        let item = Item::new(ItemId::from(&id), &Body::Class(Arc::new(class)));
        let compiled = Arc::new(CompiledClass {
            item: Arc::new(item),
            policies,
        });
        self.classes.insert(id, Arc::downgrade(&compiled));
        compiled
    }
}
