//! From the rules of a policy resource to a compiled policy. A function of the resource alone and of the log prefix:
//! selectors become names of sets, whoever their members are.

mod entity;

use crate::{
    plugin::{Condition, Matchers, condition},
    set::SetDefinition,
};
use palisade_model::{Action as RuleAction, Icmp, IpVersion, Name, Rule as RuleSpec};
use palisade_policy::{
    class::Direction,
    ids::{PolicyId, RuleId, SetId},
    plugin::OnFailure,
    rule::{Action, Family, IcmpMatch, Match, Policy, Protocol, Rule},
    rule_id,
};
use std::collections::{BTreeMap, HashMap};

/// Longest expanded log prefix in bytes, with the colon and blank that end it.
const LOG_PREFIX: usize = 100;

/// Whose rules are lowered.
pub(crate) struct Owner<'a> {
    /// The policy or profile.
    pub(crate) id: &'a PolicyId,
    /// Where it lives: what its selectors are confined to.
    pub(crate) namespace: Option<&'a Name>,
    /// What `%n` stands for.
    pub(crate) name: &'a Name,
    /// What `%k` stands for.
    pub(crate) kind: &'a str,
    /// What `%t` stands for; empty for profiles.
    pub(crate) tier: &'a str,
}

/// A compiled policy and the sets that it names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lowered {
    pub(crate) policy: Policy,
    pub(crate) sets: BTreeMap<SetId, SetDefinition>,
}

/// Lowers both directions; rules of a direction that the policy does not govern are not passed in.
pub(crate) fn lower(
    owner: &Owner<'_>,
    log_prefix: &str,
    ingress: &[RuleSpec],
    egress: &[RuleSpec],
    matchers: &dyn Matchers,
) -> Lowered {
    let mut sets = BTreeMap::new();
    let prefix = expand(owner, log_prefix);
    let mut rules = |direction, specs: &[RuleSpec]| {
        let mut seen: HashMap<RuleId, u32> = HashMap::new();
        let lowered = specs.iter().filter_map(|spec| {
            let mut action = match spec.action {
                RuleAction::Allow => Action::Allow,
                RuleAction::Deny => Action::Deny,
                RuleAction::Pass => Action::Pass,
                RuleAction::Log => Action::Log {
                    prefix: prefix.clone(),
                },
            };
            let asked = spec.plugin.as_ref();
            let plugin = match asked.map(|plugin| condition(plugin, spec.action, matchers)) {
                None | Some(Condition::Unanswered(OnFailure::Match)) => None,
                Some(Condition::Ask(condition)) => Some(condition),
                Some(Condition::Unanswered(OnFailure::NoMatch)) => return None,
                Some(Condition::Unanswered(OnFailure::Deny)) => {
                    action = Action::Deny;
                    None
                }
                Some(Condition::Unanswered(OnFailure::Allow)) => {
                    action = Action::Allow;
                    None
                }
            };
            let matches = Match {
                plugin,
                ..lower_match(spec, owner.namespace, &mut sets)
            };
            let id =
                |occurrence| rule_id::of_rule(owner.id, direction, &action, &matches, occurrence);
            let occurrence = seen.entry(id(0)).or_default();
            let id = id(*occurrence);
            *occurrence += 1;
            Some(Rule {
                id,
                action,
                matches,
            })
        });
        lowered.collect::<Vec<_>>()
    };
    let policy = Policy {
        ingress: rules(Direction::Ingress, ingress),
        egress: rules(Direction::Egress, egress),
        staged: false,
    };
    Lowered { policy, sets }
}

/// Whether the log prefix makes any difference to these rules.
pub(crate) fn logs<'a>(rules: impl IntoIterator<Item = &'a RuleSpec>) -> bool {
    rules.into_iter().any(|rule| rule.action == RuleAction::Log)
}

fn lower_match(
    spec: &RuleSpec,
    namespace: Option<&Name>,
    sets: &mut BTreeMap<SetId, SetDefinition>,
) -> Match {
    let protocol = spec.protocol.map(|p| Protocol(p.number()));
    let icmp = |icmp: Icmp| IcmpMatch {
        icmp_type: icmp.icmp_type,
        code: icmp.code,
    };
    // A number means the same as a name, also to the family (deviation, specification §3.3.8).
    let family = match (spec.ip_version, protocol) {
        (Some(IpVersion::V4), _) | (None, Some(Protocol::ICMP)) => Some(Family::V4),
        (Some(IpVersion::V6), _) | (None, Some(Protocol::ICMPV6)) => Some(Family::V6),
        (None, _) => None,
    };
    Match {
        plugin: None,
        family,
        protocol,
        not_protocol: spec.not_protocol.map(|p| Protocol(p.number())),
        icmp: spec.icmp.map(icmp),
        not_icmp: spec.not_icmp.map(icmp),
        source: entity::lower(&spec.source, namespace, sets),
        destination: entity::lower(&spec.destination, namespace, sets),
    }
}

/// `%t`, `%k`, `%n`, `%p` stand for tier, kind, name and namespaced name; other sequences stay as they are.
fn expand(owner: &Owner<'_>, prefix: &str) -> String {
    let mut text = String::new();
    let mut rest = prefix.chars();
    while let Some(c) = rest.next() {
        let mut ahead = rest.clone();
        let value = match (c, ahead.next()) {
            ('%', Some('t')) => Some(owner.tier.to_owned()),
            ('%', Some('k')) => Some(owner.kind.to_owned()),
            ('%', Some('n')) => Some(owner.name.to_string()),
            ('%', Some('p')) => Some(match owner.namespace {
                Some(namespace) => format!("{namespace}/{}", owner.name),
                None => owner.name.to_string(),
            }),
            _ => None,
        };
        match value {
            Some(value) => {
                text.push_str(&value);
                rest = ahead;
            }
            None => text.push(c),
        }
    }
    text.retain(|c| (' '..='~').contains(&c));
    text.truncate(LOG_PREFIX - 2);
    text.push_str(": ");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_prefixes_are_expanded_and_cut() {
        let id = PolicyId::new("gnp/web");
        let [web, shop] = ["web", "shop"].map(|text| Name::new(text).expect("a name"));
        let mut owner = Owner {
            id: &id,
            namespace: None,
            name: &web,
            kind: "gnp",
            tier: "app",
        };
        assert_eq!(expand(&owner, "calico-packet"), "calico-packet: ");
        assert_eq!(expand(&owner, "%t/%k/%n %p %x%"), "app/gnp/web web %x%: ");
        owner.namespace = Some(&shop);
        assert_eq!(expand(&owner, "%n %p"), "web shop/web: ");
        assert_eq!(expand(&owner, &"x".repeat(300)).len(), LOG_PREFIX);
    }
}
