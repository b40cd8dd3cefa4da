//! Compilation from scratch: short, slow, kept for ever. It is what the incremental compiler is compared with (law b).

use crate::{
    config::{Settings, node_config},
    endpoint::EndpointSource,
    lower::Lowered,
    object::{Object, effective_labels},
    order::{PolicyPlace, TierPlace, classes},
    plugin::{compile_plugin, plugin_id},
    policy::PolicySource,
    profile::{class_profiles, lower_profile, profile_id},
    set::SetDefinition,
    world::World,
};
use palisade_model::{Kind, Name, PluginKind, Resource};
use palisade_policy::{
    check::plugin_ids,
    class::{Class, ClassProfile},
    ids::{ClassId, PluginId, PolicyId, SetId},
    plugin::Plugin,
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
        plugins: BTreeMap::new(),
        config: Arc::new(node_config(world, &settings)),
        endpoints: BTreeMap::new(),
        classes: BTreeMap::new(),
        policies: BTreeMap::new(),
        sets: BTreeMap::new(),
    };
    for (resource, endpoint) in endpoints(world).filter(|(_, endpoint)| endpoint.node == node) {
        let classes: Vec<(ClassId, Class)> = classes_of(world, resource, &endpoint)
            .into_iter()
            .map(|class| (ClassId::of(&class), class))
            .collect();
        let named: Vec<_> = classes.iter().map(|(id, c)| (id.clone(), c)).collect();
        let labels = Some(resource).filter(|_| world.has_plugins());
        let labels = labels.and_then(|of| effective_labels(of, |name| world.profile(name)));
        let compiled = endpoint.compile(&named, labels.unwrap_or_default());
        view.endpoints.insert(endpoint.id, Arc::new(compiled));
        view.classes
            .extend(classes.into_iter().map(|(id, class)| (id, Arc::new(class))));
    }
    let mut definitions = BTreeMap::new();
    for (id, lowered) in policies_of(world, &view, settings.log_prefix()) {
        view.policies.insert(id, Arc::new(lowered.policy));
        definitions.extend(lowered.sets);
    }
    view.plugins = plugins_of(world, &view);
    let objects: Vec<Object> = objects(world).collect();
    let filled =
        |(id, definition): (SetId, SetDefinition)| (id, Arc::new(fill(&definition, &objects)));
    view.sets = definitions.into_iter().map(filled).collect();
    view
}

fn endpoints(world: &World) -> impl Iterator<Item = (&Resource, EndpointSource<'_>)> {
    [Kind::HostEndpoint, Kind::WorkloadEndpoint]
        .into_iter()
        .flat_map(|kind| world.of_kind(kind))
        .filter_map(|resource| Some((resource, EndpointSource::of(resource)?)))
}

fn policies(world: &World) -> impl Iterator<Item = PolicySource<'_>> {
    Kind::POLICIES
        .into_iter()
        .flat_map(|kind| world.of_kind(kind))
        .filter_map(PolicySource::of)
}

fn classes_of(world: &World, resource: &Resource, endpoint: &EndpointSource<'_>) -> Vec<Class> {
    let object = Object::of(resource, |name| world.profile(name)).unwrap_or_default();
    let selected: Vec<PolicyPlace> = policies(world)
        .filter(|policy| policy.subject().matches(&object.labels))
        .map(|policy| policy.place())
        .collect();
    classes(
        endpoint.kind,
        &selected,
        |tier| TierPlace::new(tier, world.tier(tier)),
        &class_profiles(world, endpoint.profiles),
    )
}

/// Policies and profiles that the view's classes name.
fn policies_of(world: &World, view: &View, log_prefix: &str) -> BTreeMap<PolicyId, Lowered> {
    let mut named = BTreeSet::new();
    for class in view.classes.values() {
        for tier in &class.tiers {
            named.extend(tier.policies.iter());
            named.extend(tier.staged.iter().map(|(id, _)| id));
        }
        named.extend(class.profiles.iter().filter_map(|profile| match profile {
            ClassProfile::Present(id) => Some(id),
            ClassProfile::Missing(_) => None,
        }));
    }
    let mut lowered = BTreeMap::new();
    for policy in policies(world).filter(|policy| named.contains(&policy.id)) {
        lowered.insert(policy.id.clone(), policy.lower(log_prefix, world));
    }
    let names = endpoints(world).flat_map(|(_, endpoint)| endpoint.profiles);
    for name in names.collect::<BTreeSet<_>>() {
        let id = profile_id(name);
        if let (true, Some(spec)) = (named.contains(&id), world.profile(name)) {
            lowered.insert(id, lower_profile(name, spec, log_prefix));
        }
    }
    lowered
}

/// Matchers that the view's policies name, and every auditor.
fn plugins_of(world: &World, view: &View) -> BTreeMap<PluginId, Arc<Plugin>> {
    let policies = view.policies.values();
    let named: BTreeSet<&PluginId> = policies.flat_map(|policy| plugin_ids(policy)).collect();
    let wanted = world.plugins().filter(|(name, spec)| {
        spec.kind == PluginKind::Auditor || named.contains(&plugin_id(name))
    });
    wanted
        .filter_map(|(name, spec)| Some((plugin_id(name), Arc::new(compile_plugin(spec)?))))
        .collect()
}

fn objects(world: &World) -> impl Iterator<Item = Object> + '_ {
    world
        .iter()
        .filter_map(|(_, resource)| Object::of(resource, |name| world.profile(name)))
}

fn fill(definition: &SetDefinition, objects: &[Object]) -> IpSet {
    let selected = objects.iter().filter(|object| definition.selects(object));
    let holds_ports = matches!(definition, SetDefinition::Ports(..));
    IpSet::from_members(holds_ports, selected.flat_map(|o| definition.members(o)))
        .expect("a definition gives members of its kind")
}
