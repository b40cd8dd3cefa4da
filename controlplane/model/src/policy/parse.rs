//! From a policy as written to a policy: every fault, defaults written back.

use palisade_selector::Selector;

use super::raw::{
    RawGlobalNetworkPolicy, RawNetworkPolicy, RawPolicy, RawStagedGlobalNetworkPolicy,
    RawStagedNetworkPolicy,
};
use super::{PolicySpec, PolicyStage, PolicyTypes, StagedAction, StagedPolicySpec};
use crate::metadata::RawMetadata;
use crate::name::{Name, is_label};
use crate::path::{At, FieldPath};
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};
use crate::rule::{Direction, PluginPlace, RawRule, RuleContext, is_empty, parse_rules};
use crate::tier::{DEFAULT_TIER, KUBE_ADMIN_TIER, KUBE_BASELINE_TIER};

/// The label that every policy carries: its tier.
const TIER_LABEL: &str = "projectcalico.org/tier";

/// Where a policy lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Cluster,
    Namespace,
}

impl RawSpec for RawGlobalNetworkPolicy {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let policy = self.0.parse(Reach::Cluster, metadata, at, report)?;
        Some(Spec::GlobalNetworkPolicy(Box::new(policy)))
    }

    fn extensions(&self, at: &At<'_>) -> Vec<FieldPath> {
        self.0.extensions(at)
    }
}

impl RawSpec for RawNetworkPolicy {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let policy = self.0.parse(Reach::Namespace, metadata, at, report)?;
        Some(Spec::NetworkPolicy(Box::new(policy)))
    }

    fn extensions(&self, at: &At<'_>) -> Vec<FieldPath> {
        self.0.extensions(at)
    }
}

impl RawSpec for RawStagedGlobalNetworkPolicy {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let staged = self.0.parse_staged(Reach::Cluster, metadata, at, report)?;
        Some(Spec::StagedGlobalNetworkPolicy(staged))
    }

    fn extensions(&self, at: &At<'_>) -> Vec<FieldPath> {
        self.0.extensions(at)
    }
}

impl RawSpec for RawStagedNetworkPolicy {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let staged = self
            .0
            .parse_staged(Reach::Namespace, metadata, at, report)?;
        Some(Spec::StagedNetworkPolicy(staged))
    }

    fn extensions(&self, at: &At<'_>) -> Vec<FieldPath> {
        self.0.extensions(at)
    }
}

impl RawPolicy {
    fn parse_staged(
        &mut self,
        reach: Reach,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<StagedPolicySpec> {
        let action_at = at.field("stagedAction");
        let text = self.staged_action.as_deref().unwrap_or_default();
        let action = match text {
            "" | "Set" => Some(StagedAction::Set),
            "Learn" => Some(StagedAction::Learn),
            "Ignore" => Some(StagedAction::Ignore),
            "Delete" => return self.parse_deletion(metadata, at, report),
            _ => {
                let message =
                    format!("`{text}` is not a staged action: Set, Delete, Learn or Ignore");
                report.add(&action_at, message);
                None
            }
        };
        self.staged = true;
        let policy = self.parse(reach, metadata, at, report);
        self.staged_action = action.map(|action| format!("{action:?}"));
        Some(StagedPolicySpec::Policy {
            action: action?,
            policy: Box::new(policy?),
        })
    }

    /// A deletion says which policy would go, and nothing about what it would say.
    fn parse_deletion(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<StagedPolicySpec> {
        let tier = parse_tier(self.tier.as_deref(), &at.field("tier"), report)?;
        for name in self.fields_beside_tier() {
            report.add_at_key(
                &at.field(name),
                "spec fields, except tier, must be absent where stagedAction is Delete",
            );
        }
        self.write_tier(&tier, metadata);
        Some(StagedPolicySpec::Delete { tier })
    }

    /// Fields other than tier and action that say something.
    fn fields_beside_tier(&self) -> Vec<&'static str> {
        let text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let flag = |flag: Option<bool>| flag == Some(true);
        let given = [
            ("order", self.order.is_some()),
            ("ingress", !is_empty(&self.ingress)),
            ("egress", !is_empty(&self.egress)),
            ("selector", text(&self.selector)),
            ("types", !is_empty(&self.types)),
            ("doNotTrack", flag(self.do_not_track)),
            ("preDNAT", flag(self.pre_dnat)),
            ("applyOnForward", flag(self.apply_on_forward)),
            (
                "serviceAccountSelector",
                text(&self.service_account_selector),
            ),
            ("namespaceSelector", text(&self.namespace_selector)),
            ("performanceHints", !is_empty(&self.performance_hints)),
        ];
        let given = given.iter().filter(|(_, given)| *given);
        given.map(|(name, _)| *name).collect()
    }

    fn parse(
        &mut self,
        reach: Reach,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<PolicySpec> {
        let tier = parse_tier(self.tier.as_deref(), &at.field("tier"), report);
        let types = self.parse_types(&at.field("types"), report);
        let plugins = self.plugins();
        let ingress = RuleContext {
            direction: Direction::Ingress,
            namespaced: reach == Reach::Namespace,
            plugins,
        };
        let egress = RuleContext {
            direction: Direction::Egress,
            namespaced: reach == Reach::Namespace,
            plugins,
        };
        let needed_on_every_node = check_hints(
            self.performance_hints.as_deref(),
            &at.field("performanceHints"),
            report,
        );
        let spec = PolicySpec {
            tier: tier?,
            order: self.order,
            selector: optional_selector(self.selector.as_deref(), &at.field("selector"), report)
                .unwrap_or_else(Selector::all),
            namespace_selector: optional_selector(
                self.namespace_selector.as_deref(),
                &at.field("namespaceSelector"),
                report,
            ),
            service_account_selector: optional_selector(
                self.service_account_selector.as_deref(),
                &at.field("serviceAccountSelector"),
                report,
            ),
            types,
            ingress: parse_rules(self.ingress.as_ref(), ingress, &at.field("ingress"), report),
            egress: parse_rules(self.egress.as_ref(), egress, &at.field("egress"), report),
            stage: self.parse_stage(types, at, report),
            needed_on_every_node,
        };
        warn_prefix(metadata.name.as_deref(), &spec.tier, report);
        self.write_back(&spec, metadata);
        Some(spec)
    }

    /// Where no packet can wait for an answer, or none is ever judged, no plugin can be asked.
    fn plugins(&self) -> PluginPlace {
        if self.do_not_track == Some(true) {
            PluginPlace::Refused(
                "an untracked policy judges every packet by itself, before it could wait for a plugin",
            )
        } else if self.pre_dnat == Some(true) {
            PluginPlace::Refused(
                "a preDNAT policy judges packets before their destination is known, which plugins are told",
            )
        } else if self.staged {
            PluginPlace::Refused("plugins are not asked for policies that are staged only")
        } else {
            PluginPlace::Fits
        }
    }

    fn extensions(&self, at: &At<'_>) -> Vec<FieldPath> {
        let lists = [("ingress", &self.ingress), ("egress", &self.egress)];
        let of_list = |(name, rules): (&'static str, &Option<Vec<RawRule>>)| {
            let rules = rules.iter().flatten().enumerate();
            let extended = rules.filter(|(_, rule)| rule.plugin.is_some());
            let path = |(index, _)| at.field(name).index(index).field("plugin").path();
            extended.map(path).collect::<Vec<_>>()
        };
        lists.into_iter().flat_map(of_list).collect()
    }

    fn parse_types(&self, at: &At<'_>, report: &mut Report) -> PolicyTypes {
        let given = self.types.as_deref().unwrap_or_default();
        for (index, text) in given.iter().enumerate() {
            if text != "Ingress" && text != "Egress" {
                report.add(
                    &at.index(index),
                    format!("`{text}` is not a type: Ingress or Egress"),
                );
            } else if given.iter().take(index).any(|earlier| earlier == text) {
                report.refuse(&at.index(index), format!("type {text} stands twice"));
            }
        }
        let has = |name: &str| given.iter().any(|text| text == name);
        match given.is_empty() {
            false if has("Ingress") && has("Egress") => PolicyTypes::Both,
            false if has("Egress") => PolicyTypes::Egress,
            false => PolicyTypes::Ingress,
            true if !is_empty(&self.ingress) && !is_empty(&self.egress) => PolicyTypes::Both,
            true if !is_empty(&self.egress) => PolicyTypes::Egress,
            true => PolicyTypes::Ingress,
        }
    }

    fn parse_stage(&self, types: PolicyTypes, at: &At<'_>, report: &mut Report) -> PolicyStage {
        let [untracked, pre_dnat, forward] =
            [self.do_not_track, self.pre_dnat, self.apply_on_forward]
                .map(|flag| flag == Some(true));
        if untracked && pre_dnat {
            report.add(
                &at.field("preDNAT"),
                "doNotTrack and preDNAT cannot both be true",
            );
        }
        for (name, given) in [("doNotTrack", untracked), ("preDNAT", pre_dnat)] {
            if given && !forward {
                report.add(
                    &at.field(name),
                    format!("{name} needs applyOnForward: true"),
                );
            }
        }
        if pre_dnat && !is_empty(&self.egress) {
            report.add(
                &at.field("egress"),
                "a preDNAT policy cannot have egress rules",
            );
        } else if pre_dnat && types != PolicyTypes::Ingress {
            report.add(
                &at.field("types"),
                "a preDNAT policy cannot have type Egress",
            );
        }
        match (untracked, pre_dnat, forward) {
            (true, _, _) => PolicyStage::Untracked,
            (_, true, _) => PolicyStage::PreDnat,
            (_, _, true) => PolicyStage::NormalAndForward,
            _ => PolicyStage::Normal,
        }
    }

    /// Defaults are stored, as Calico does: tier, types and the label that names the tier.
    fn write_back(&mut self, spec: &PolicySpec, metadata: &mut RawMetadata) {
        self.write_tier(&spec.tier, metadata);
        if is_empty(&self.types) {
            let names: &[&str] = match spec.types {
                PolicyTypes::Ingress => &["Ingress"],
                PolicyTypes::Egress => &["Egress"],
                PolicyTypes::Both => &["Ingress", "Egress"],
            };
            self.types = Some(names.iter().map(|name| (*name).to_owned()).collect());
        }
    }

    fn write_tier(&mut self, tier: &Name, metadata: &mut RawMetadata) {
        self.tier = Some(tier.as_str().to_owned());
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(TIER_LABEL.to_owned(), tier.as_str().to_owned());
    }
}

/// The tier of a policy; empty counts as absent.
fn parse_tier(text: Option<&str>, at: &At<'_>, report: &mut Report) -> Option<Name> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or(DEFAULT_TIER);
    let name = is_label(text).then(|| Name::new(text)).flatten();
    if name.is_none() {
        report.add(at, format!("`{text}` is not a tier name"));
    }
    name
}

/// A selector field of a policy: absent and empty are alike.
fn optional_selector(text: Option<&str>, at: &At<'_>, report: &mut Report) -> Option<Selector> {
    report.selector_without_global(text.filter(|text| !text.is_empty())?, at)
}

fn check_hints(hints: Option<&[String]>, at: &At<'_>, report: &mut Report) -> bool {
    let hints = hints.unwrap_or_default();
    for (index, hint) in hints.iter().enumerate() {
        if hint != "AssumeNeededOnEveryNode" {
            report.refuse(
                &at.index(index),
                format!("`{hint}` is not a performance hint: AssumeNeededOnEveryNode"),
            );
        } else if index > 0 {
            report.refuse(&at.index(index), "a hint stands twice");
        }
    }
    !hints.is_empty()
}

/// Before Calico 3.32 a policy's name began with its tier; one that disagrees is probably a slip.
fn warn_prefix(name: Option<&str>, tier: &Name, report: &mut Report) {
    let prefix = name
        .and_then(|name| name.split_once('.'))
        .map(|(prefix, _)| prefix);
    if let Some(prefix) = prefix.filter(|prefix| *prefix != tier.as_str()) {
        let known = [DEFAULT_TIER, KUBE_ADMIN_TIER, KUBE_BASELINE_TIER].contains(&prefix);
        let why = if known {
            "names another tier"
        } else {
            "looks like a tier"
        };
        let message =
            format!("the name's first part `{prefix}` {why}, but the policy is in tier `{tier}`");
        report.warn(&At::ROOT.field("metadata").field("name"), message);
    }
}
