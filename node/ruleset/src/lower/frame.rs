//! Maps by interface take the name of the rules that ask them.
//!
//! INVARIANT: rules that become others look up other maps. A packet under way walks the rules of before but finds the
//! elements of after: were the map the same, an interface that lost its own class to the default endpoint would be
//! judged by neither.

use super::Lowering;
use crate::{
    ir::{Chain, ChainName, Expression, Rule, SetName},
    text::render_rule,
};
use std::{collections::BTreeMap, sync::Arc};

impl Lowering<'_> {
    /// Ends the names of maps that chains which stay look up, by all rules of these chains.
    pub(super) fn name_maps(&mut self) {
        let mut frames: BTreeMap<SetName, blake3::Hasher> = BTreeMap::new();
        let on_the_way = self.on_the_way();
        for name in &self.standing {
            let chain = self.table.chains.get(name);
            let rules = chain.map_or(&[][..], |chain| &chain.rules);
            for map in rules.iter().filter_map(map_of) {
                let frame = frames
                    .entry(map.clone())
                    .or_insert_with(|| on_the_way.clone());
                frame.update(name.as_str().as_bytes());
                for rule in rules {
                    frame.update(b"\n");
                    frame.update(render_rule(rule).as_bytes());
                }
            }
        }
        let named: BTreeMap<SetName, SetName> = frames
            .into_iter()
            .map(|(name, frame)| {
                let hex = frame.finalize().to_hex();
                let named = SetName::new(format!("{name}_{}", &hex[..20]));
                (name, named)
            })
            .collect();
        for (name, named) in &named {
            if let Some(map) = self.table.maps.remove(name) {
                self.table.maps.insert(named.clone(), map);
            }
        }
        for name in std::mem::take(&mut self.standing) {
            if let Some(chain) = self.table.chains.get_mut(&name) {
                rename(chain, &named);
            }
        }
    }

    /// What base chains do before, and whether a reject is allowed behind. Not their other rules: the default endpoint's
    /// class is among them, and maps of workloads may be large.
    fn on_the_way(&self) -> blake3::Hasher {
        let config = &self.view.config;
        let prefixes = &self.resolution.workload_prefixes;
        let mut hasher = blake3::Hasher::new();
        let all = (config.ipv6, config.deny_action, prefixes, self.in_use);
        hasher.update(format!("{all:?}").as_bytes());
        hasher
    }

    /// Adds a chain that keeps its name when its rules change.
    pub(super) fn stand(&mut self, name: ChainName, chain: Chain) {
        self.table.chains.insert(name.clone(), chain);
        self.standing.push(name);
    }
}

fn map_of(rule: &Rule) -> Option<&SetName> {
    rule.expressions
        .iter()
        .find_map(|expression| match expression {
            Expression::VerdictMap { map, .. } => Some(map),
            _ => None,
        })
}

fn rename(chain: &mut Chain, named: &BTreeMap<SetName, SetName>) {
    for rule in Arc::make_mut(&mut chain.rules) {
        for expression in &mut rule.expressions {
            if let Expression::VerdictMap { map, .. } = expression
                && let Some(name) = named.get(map)
            {
                *map = name.clone();
            }
        }
    }
}
