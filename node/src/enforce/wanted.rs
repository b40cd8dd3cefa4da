//! Which plugins the view enforced wants, with which settings: a function of the view.

use palisade_policy::{
    check::plugin_ids,
    ids::PluginId,
    plugin::{Plugin, PluginKind},
    view::View,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The plugins of a view, each with the settings that it is asked with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// By name.
    pub plugins: BTreeMap<PluginId, (Arc<Plugin>, BTreeSet<String>)>,
}

impl Wanted {
    /// What a view wants.
    pub fn of(view: &View) -> Self {
        let mut plugins: BTreeMap<_, _> = view
            .plugins
            .iter()
            .map(|(id, plugin)| {
                let own = match plugin.kind {
                    PluginKind::Matcher => BTreeSet::new(),
                    PluginKind::Auditor => BTreeSet::from([plugin.settings.clone()]),
                };
                (id.clone(), (Arc::clone(plugin), own))
            })
            .collect();
        if plugins.is_empty() {
            return Self::default();
        }
        let naming = view
            .policies
            .values()
            .filter(|policy| plugin_ids(policy).next().is_some());
        for rule in naming.flat_map(|policy| policy.ingress.iter().chain(&policy.egress)) {
            if let Some(condition) = &rule.matches.plugin
                && let Some((_, settings)) = plugins.get_mut(&condition.plugin)
            {
                settings.insert(condition.settings.clone());
            }
        }
        Self { plugins }
    }
}
