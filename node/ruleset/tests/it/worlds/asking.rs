//! Worlds with plugins: some rules have conditions, and packets come with answers.

use super::{POLICIES, packet, view};
use palisade_policy::{
    class::PolicyList,
    ids::{PluginId, PolicyId},
    packet::Packet,
    plugin::{Answer, OnFailure, Plugin, PluginCondition, PluginDigest, PluginKind},
    view::View,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{collections::BTreeMap, sync::Arc};

/// One of each failure: six bits of answers.
pub(crate) fn conditions() -> [PluginCondition; 4] {
    [
        ("a", "{}", OnFailure::Match),
        ("a", "{\"of\":1}", OnFailure::NoMatch),
        ("b", "{}", OnFailure::Deny),
        ("b", "{\"of\":2}", OnFailure::Allow),
    ]
    .map(|(name, settings, on_failure)| PluginCondition {
        plugin: PluginId::from(format!("plugin/{name}").as_str()),
        settings: settings.to_owned(),
        on_failure,
    })
}

fn plugin(kind: PluginKind, digest: u8) -> Arc<Plugin> {
    Arc::new(Plugin {
        kind,
        digest: PluginDigest([digest; 32]),
        size: 1,
        fuel: 1,
        memory: 1,
        payload: 0,
        settings: "{}".to_owned(),
        sinks: BTreeMap::new(),
    })
}

/// The matchers of [`conditions`].
pub(crate) fn add_plugins(view: &mut View) {
    for (name, digest) in [("plugin/a", 1), ("plugin/b", 2)] {
        let plugin = plugin(PluginKind::Matcher, digest);
        view.plugins.insert(name.into(), plugin);
    }
}

pub(crate) fn add_auditor(view: &mut View) {
    let plugin = plugin(PluginKind::Auditor, 3);
    view.plugins.insert("plugin/auditor".into(), plugin);
}

/// Conditions that go round over all rules; lists that cannot ask have policies of their own.
pub(crate) fn asking_view() -> impl Strategy<Value = View> {
    let condition = option::weighted(0.4, select(conditions().to_vec()));
    (view(), vec(condition, 1..30), prop::bool::weighted(0.3)).prop_map(
        |(mut view, conditions, auditor)| {
            add_plugins(&mut view);
            if auditor {
                add_auditor(&mut view);
            }
            let early = |id: &PolicyId| PolicyId::from(format!("early/{id}").as_str());
            for name in POLICIES.map(PolicyId::from) {
                if let Some(policy) = view.policies.get(&name) {
                    let policy = Arc::clone(policy);
                    view.policies.insert(early(&name), policy);
                }
            }
            for class in view.classes.values_mut() {
                if matches!(class.list, PolicyList::Untracked | PolicyList::PreDnat) {
                    let tiers = &mut Arc::make_mut(class).tiers;
                    for id in tiers.iter_mut().flat_map(|tier| &mut tier.policies) {
                        *id = early(id);
                    }
                }
            }
            let mut conditions = conditions.into_iter().cycle();
            for name in POLICIES.map(PolicyId::from) {
                let policy = view.policies.get_mut(&name).map(Arc::make_mut);
                for rule in policy
                    .into_iter()
                    .flat_map(|p| p.ingress.iter_mut().chain(&mut p.egress))
                {
                    rule.matches.plugin = conditions.next().flatten();
                }
            }
            view
        },
    )
}

/// A packet, and what plugins say of it.
pub(crate) fn asked_packet() -> impl Strategy<Value = Packet> {
    let answer = select(vec![
        None,
        Some(Answer::Failed),
        Some(Answer::Match),
        Some(Answer::Match),
        Some(Answer::NoMatch),
        Some(Answer::NoMatch),
    ]);
    (packet(), vec(answer, 4)).prop_map(|(mut packet, answers)| {
        let answers = conditions().into_iter().zip(answers);
        packet.answers = answers
            .filter_map(|(c, answer)| Some((c, answer?)))
            .collect();
        packet
    })
}
