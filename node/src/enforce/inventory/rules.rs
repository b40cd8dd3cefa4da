//! Rules by id, as people name them. Found out when the first one is asked for: most inventories are never asked.

use palisade_plugin_host::Rule;
use palisade_policy::{
    class::{Class, ClassProfile, Direction, PolicyList},
    config::NodeConfig,
    ids::{ClassId, IfName, PolicyId, RuleId, TierName},
    rule::Policy,
    rule_id::{self, Exemption},
    view::View,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

/// A rule that may decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// As people name it.
    pub rule: Rule,
    /// The item of its policy or profile, if it is of one.
    pub policy: Option<PolicyId>,
    /// Which rules of it, seen from the endpoint.
    pub direction: Option<Direction>,
    /// Which list its policy is in.
    pub list: Option<PolicyList>,
}

/// The index, and what it is made of. Holds no set, so that members change in place.
#[derive(Debug, Default)]
pub(super) struct Rules {
    config: Option<Arc<NodeConfig>>,
    classes: BTreeMap<ClassId, Arc<Class>>,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    index: OnceLock<HashMap<RuleId, Known>>,
}

impl Rules {
    pub(super) fn of(view: &View) -> Self {
        Self {
            config: Some(Arc::clone(&view.config)),
            classes: view.classes.clone(),
            policies: view.policies.clone(),
            index: OnceLock::new(),
        }
    }

    pub(super) fn get(&self, id: RuleId, interfaces: &[IfName]) -> Option<&Known> {
        self.index.get_or_init(|| self.index(interfaces)).get(&id)
    }

    fn index(&self, interfaces: &[IfName]) -> HashMap<RuleId, Known> {
        let mut index = HashMap::new();
        let mut add = |id, tier: &str, name: String| {
            let rule = Rule {
                tier: tier.to_owned(),
                name,
                ..Rule::default()
            };
            let known = Known {
                rule,
                policy: None,
                direction: None,
                list: None,
            };
            index.insert(id, known);
        };
        if let Some(config) = &self.config {
            let lists = [
                (Direction::Ingress, &config.failsafe_inbound),
                (Direction::Egress, &config.failsafe_outbound),
            ];
            for (direction, failsafes) in lists {
                for failsafe in failsafes {
                    let name = format!("failsafe {} {}", failsafe.protocol, failsafe.port);
                    let id = rule_id::failsafe(direction, failsafe);
                    add(id, "", name);
                }
            }
        }
        for exemption in [
            Exemption::NeighbourDiscovery,
            Exemption::Dhcp6,
            Exemption::ControlPlane,
        ] {
            let name = format!("exemption {}", exemption.name());
            add(rule_id::exemption(exemption), "", name);
        }
        for (id, name) in [
            (rule_id::invalid(), "invalid packet"),
            (rule_id::end_of_profiles(), "end of profiles"),
            (rule_id::source_check(), "source check"),
            (rule_id::tunnel(), "tunnel"),
            (rule_id::endpoint_to_host(), "endpoint to host"),
        ] {
            add(id, "", name.to_owned());
        }
        for interface in interfaces {
            let name = format!("unknown workload {interface}");
            add(rule_id::unknown_workload(interface), "", name);
        }
        for class in self.classes.values() {
            for tier in &class.tiers {
                let id = rule_id::tier_default(&tier.name);
                add(id, tier.name.as_str(), "default".to_owned());
            }
            for profile in &class.profiles {
                if let ClassProfile::Missing(profile) = profile {
                    let name = format!("missing {profile}");
                    add(rule_id::missing_profile(profile), "", name);
                }
            }
        }
        let places = self.places();
        for (id, policy) in &self.policies {
            let (tier, list) = places.get(id).copied().unzip();
            let sides = [
                ("ingress", Direction::Ingress),
                ("egress", Direction::Egress),
            ];
            for (side, direction) in sides {
                for (at, rule) in policy.rules(direction).iter().enumerate() {
                    let known = Known {
                        rule: of_policy(id, tier, format!("{side}[{at}]")),
                        policy: Some(id.clone()),
                        direction: Some(direction),
                        list,
                    };
                    index.insert(rule.id, known);
                }
            }
        }
        index
    }

    /// Tier and list of each policy.
    fn places(&self) -> HashMap<&PolicyId, (&TierName, PolicyList)> {
        let classes = self.classes.values();
        let tiers = classes.flat_map(|class| class.tiers.iter().map(|tier| (class.list, tier)));
        tiers
            .flat_map(|(list, tier)| {
                let staged = tier.staged.iter().map(|(id, _)| id);
                let all = tier.policies.iter().chain(staged);
                all.map(move |id| (id, (&tier.name, list)))
            })
            .collect()
    }
}

/// The id says what it is of: `np/<namespace>/<name>` and `snp/…`, else `<kind>/<name>`.
fn of_policy(id: &PolicyId, tier: Option<&TierName>, name: String) -> Rule {
    let (kind, rest) = id.as_str().split_once('/').unwrap_or(("", id.as_str()));
    let (namespace, policy) = match kind {
        "np" | "snp" => rest.split_once('/').unwrap_or(("", rest)),
        _ => ("", rest),
    };
    Rule {
        tier: tier.map_or_else(String::new, ToString::to_string),
        policy: policy.to_owned(),
        namespace: namespace.to_owned(),
        name,
    }
}
