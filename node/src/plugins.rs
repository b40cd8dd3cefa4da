//! Plugins of the view held: from a digest to code that can be called.
//!
//! * [`Wanted`] — which ones, with which settings: a function of the view;
//! * [`blobs`], [`fetch`] — their bytes, on disk and from the control plane;
//! * [`load`] — verified and compiled; [`keeper`] — the task that brings all of it about;
//! * [`shelf`] — what can be called now, and why the rest cannot; [`around`] — the node as a plugin sees it.
//!
//! Nothing here decides about a packet: a plugin that is not ready is a condition without an answer, and the rule's
//! failure policy decides. Without plugins in the view there is no engine, no thread and no file.

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

pub mod around;
pub mod audit;
pub mod bind_failures;
pub mod blobs;
pub mod fetch;
pub mod interface_names;
pub mod keeper;
pub mod load;
pub mod loaded;
pub mod queue;
pub mod supervisor;

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
