//! Host endpoints with the policies that select them and the classes that follow; equal classes are one.

use super::{Dirty, policies::Policies};
use crate::{
    object::Object,
    order::{TierPlace, host_classes},
    parts,
    world::World,
};
use palisade_model::{HostEndpointSpec, Kind, Name, ResourceId, Spec};
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

/// All host endpoints, by name.
#[derive(Default)]
pub(crate) struct Endpoints {
    endpoints: BTreeMap<Name, State>,
    by_node: BTreeMap<Name, BTreeSet<Name>>,
    classes: BTreeMap<ClassId, Weak<CompiledClass>>,
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
            .filter_map(|name| self.endpoints.get(name))
            .map(|state| &state.compiled)
    }

    /// Endpoints that a policy selects now, or selected before.
    pub(crate) fn touched_by(
        &mut self,
        policy: &PolicyId,
        subject: Option<&Selector>,
        objects: &BTreeMap<ResourceId, Object>,
    ) -> Vec<Name> {
        let mut touched = Vec::new();
        for (name, state) in &mut self.endpoints {
            let object = objects.get(&id_of(name));
            let selects = match (subject, object) {
                (Some(subject), Some(object)) => subject.matches(&object.labels),
                _ => false,
            };
            let selected = if selects {
                !state.selected.insert(policy.clone())
            } else {
                state.selected.remove(policy)
            };
            if selects || selected {
                touched.push(name.clone());
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
        for name in &dirty.rematch {
            let resource = world.get(&id_of(name));
            let spec = resource.and_then(|resource| match &resource.spec {
                Spec::HostEndpoint(spec) => Some(spec),
                _ => None,
            });
            let (Some(spec), Some(object)) = (spec, objects.get(&id_of(name))) else {
                dirty.nodes.extend(self.remove(name));
                continue;
            };
            let selected = policies
                .subjects()
                .filter(|(_, subject)| subject.matches(&object.labels))
                .map(|(id, _)| id.clone())
                .collect();
            dirty
                .nodes
                .extend(self.place(name, spec, selected, world, policies));
        }
        let reclass: Vec<Name> = if dirty.reclass_all {
            self.endpoints.keys().cloned().collect()
        } else {
            dirty.reclass.iter().cloned().collect()
        };
        for name in reclass.iter().filter(|name| !dirty.rematch.contains(*name)) {
            let resource = world.get(&id_of(name));
            let (Some(Spec::HostEndpoint(spec)), Some(state)) =
                (resource.map(|r| &r.spec), self.endpoints.get(name))
            else {
                continue;
            };
            let selected = state.selected.clone();
            dirty
                .nodes
                .extend(self.place(name, spec, selected, world, policies));
        }
        if !dirty.nodes.is_empty() {
            self.classes.retain(|_, class| class.strong_count() > 0);
        }
    }

    fn remove(&mut self, name: &Name) -> Option<Name> {
        let old = self.endpoints.remove(name)?;
        if let Some(names) = self.by_node.get_mut(&old.node) {
            names.remove(name);
            if names.is_empty() {
                self.by_node.remove(&old.node);
            }
        }
        Some(old.node)
    }

    /// Puts an endpoint; gives the nodes where it is another now.
    fn place(
        &mut self,
        name: &Name,
        spec: &HostEndpointSpec,
        selected: BTreeSet<PolicyId>,
        world: &World,
        policies: &Policies,
    ) -> Vec<Name> {
        let classes: Vec<(ClassId, Class)> = host_classes(
            selected.iter().filter_map(|id| policies.place(id)),
            |tier| TierPlace::new(tier, world.tier(tier)),
            &parts::class_profiles(world, spec),
        )
        .into_iter()
        .map(|class| (ClassId::of(&class), class))
        .collect();
        let named: Vec<_> = classes.iter().map(|(id, c)| (id.clone(), c)).collect();
        let body = Body::Endpoint(Arc::new(parts::endpoint(spec, &named)));
        let item = Arc::new(Item::new(ItemId::from(&parts::endpoint_id(name)), &body));
        let classes = classes
            .into_iter()
            .map(|(id, class)| self.intern(id, class))
            .collect();
        let new = State {
            node: spec.node.clone(),
            selected,
            compiled: CompiledEndpoint { item, classes },
        };
        let hash = new.compiled.item.hash();
        let node = new.node.clone();
        self.by_node
            .entry(node.clone())
            .or_default()
            .insert(name.clone());
        match self.endpoints.insert(name.clone(), new) {
            Some(old) if old.node == node && old.compiled.item.hash() == hash => Vec::new(),
            Some(old) if old.node != node => {
                if let Some(names) = self.by_node.get_mut(&old.node) {
                    names.remove(name);
                }
                vec![old.node, node]
            }
            Some(_) | None => vec![node],
        }
    }

    fn intern(&mut self, id: ClassId, class: Class) -> Arc<CompiledClass> {
        if let Some(known) = self.classes.get(&id).and_then(Weak::upgrade) {
            return known;
        }
        let policies = class.tiers.iter().flat_map(|tier| tier.policies.iter());
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

fn id_of(name: &Name) -> ResourceId {
    ResourceId::global(Kind::HostEndpoint, name.clone())
}
