//! Compilation from scratch: short, slow, kept for ever. It is what the incremental compiler is compared with (law b).

use crate::{
    config::{Settings, node_config},
    lower::Lowered,
    object::Object,
    order::{PolicyPlace, TierPlace, host_classes},
    parts,
    selectors::subject,
    set::SetDefinition,
    world::World,
};
use palisade_model::{HostEndpointSpec, Metadata, Name};
use palisade_policy::{
    class::{Class, ClassProfile},
    ids::{ClassId, PolicyId, SetId},
    set::IpSet,
    view::View,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The view of a node. Total: a node of which nothing is known has a config and nothing else.
pub fn compile(world: &World, node: &Name) -> View {
    let settings = Settings::of(world, node);
    let mut view = View {
        config: Arc::new(node_config(world, &settings)),
        endpoints: BTreeMap::new(),
        classes: BTreeMap::new(),
        policies: BTreeMap::new(),
        sets: BTreeMap::new(),
    };
    for (metadata, spec) in world
        .host_endpoints()
        .filter(|(_, spec)| spec.node == *node)
    {
        let classes: Vec<(ClassId, Class)> = classes_of(world, metadata, spec)
            .into_iter()
            .map(|class| (ClassId::of(&class), class))
            .collect();
        let named: Vec<_> = classes.iter().map(|(id, c)| (id.clone(), c)).collect();
        let endpoint = parts::endpoint(spec, &named);
        view.endpoints
            .insert(parts::endpoint_id(&metadata.name), Arc::new(endpoint));
        view.classes
            .extend(classes.into_iter().map(|(id, class)| (id, Arc::new(class))));
    }
    let mut definitions = BTreeMap::new();
    for (id, lowered) in policies_of(world, &view, settings.log_prefix()) {
        view.policies.insert(id, Arc::new(lowered.policy));
        definitions.extend(lowered.sets);
    }
    let objects: Vec<Object> = objects(world).collect();
    let filled =
        |(id, definition): (SetId, SetDefinition)| (id, Arc::new(fill(&definition, &objects)));
    view.sets = definitions.into_iter().map(filled).collect();
    view
}

fn classes_of(world: &World, metadata: &Metadata, spec: &HostEndpointSpec) -> Vec<Class> {
    let object = Object::host_endpoint(metadata, spec, |name| world.profile(name));
    let selected: Vec<PolicyPlace> = world
        .policies()
        .filter(|(_, policy)| subject(policy).matches(&object.labels))
        .map(|(m, policy)| PolicyPlace::new(parts::policy_id(&m.name), m.name.as_str(), policy))
        .collect();
    host_classes(
        &selected,
        |tier| TierPlace::new(tier, world.tier(tier)),
        &parts::class_profiles(world, spec),
    )
}

/// Policies and profiles that the view's classes name.
fn policies_of(world: &World, view: &View, log_prefix: &str) -> BTreeMap<PolicyId, Lowered> {
    let mut named = BTreeSet::new();
    for class in view.classes.values() {
        named.extend(class.tiers.iter().flat_map(|tier| &tier.policies));
        named.extend(class.profiles.iter().filter_map(|profile| match profile {
            ClassProfile::Present(id) => Some(id),
            ClassProfile::Missing(_) => None,
        }));
    }
    let mut lowered = BTreeMap::new();
    for (metadata, spec) in world.policies() {
        let id = parts::policy_id(&metadata.name);
        if named.contains(&id) {
            let policy = parts::lower_policy(&metadata.name, spec, log_prefix);
            lowered.insert(id, policy);
        }
    }
    let names = world.host_endpoints().flat_map(|(_, spec)| &spec.profiles);
    for name in names.collect::<BTreeSet<_>>() {
        let id = parts::profile_id(name);
        if let (true, Some(spec)) = (named.contains(&id), world.profile(name)) {
            lowered.insert(id, parts::lower_profile(name, spec, log_prefix));
        }
    }
    lowered
}

fn objects(world: &World) -> impl Iterator<Item = Object> + '_ {
    let endpoints = world
        .host_endpoints()
        .map(|(m, spec)| Object::host_endpoint(m, spec, |name| world.profile(name)));
    let sets = world
        .network_sets()
        .map(|(m, spec)| Object::network_set(m, spec));
    endpoints.chain(sets)
}

fn fill(definition: &SetDefinition, objects: &[Object]) -> IpSet {
    let selected = objects.iter().filter(|object| definition.selects(object));
    let holds_ports = matches!(definition, SetDefinition::Ports(..));
    IpSet::from_members(holds_ports, selected.flat_map(|o| definition.members(o)))
        .expect("a definition gives members of its kind")
}
