//! GlobalNetworkPolicy. Source: Calico v3, `globalnetworkpolicy.go`; specification §1.3.

use palisade_selector::Selector;
use serde::{Deserialize, Serialize, Serializer};

use crate::metadata::RawMetadata;
use crate::name::{Name, is_label};
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};
use crate::rule::{Direction, RawRule, Rule, RuleContext, parse_rules};
use crate::tier::{DEFAULT_TIER, KUBE_ADMIN_TIER, KUBE_BASELINE_TIER};

/// The label that every policy carries: its tier.
const TIER_LABEL: &str = "projectcalico.org/tier";

/// A validated policy.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalNetworkPolicySpec {
    /// The tier it belongs to; `default` unless given. May not exist.
    pub tier: Name,
    /// Place in the tier, finite; `None` is after everything. Ties go by name.
    pub order: Option<f64>,
    /// Endpoints it governs. Empty in the resource means `all()`.
    pub selector: Selector,
    /// Labels of the endpoint's namespace; `None` does not constrain.
    pub namespace_selector: Option<Selector>,
    /// Labels of the endpoint's service account; `None` does not constrain.
    pub service_account_selector: Option<Selector>,
    /// Directions it governs.
    pub types: PolicyTypes,
    /// Rules for packets to the endpoint; inert unless `types` has ingress.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint; inert unless `types` has egress.
    pub egress: Vec<Rule>,
    /// Which list of the endpoint it goes to.
    pub stage: PolicyStage,
    /// `AssumeNeededOnEveryNode`: never changes a verdict.
    pub needed_on_every_node: bool,
}

/// Directions a policy governs; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyTypes {
    /// Packets to the endpoint.
    Ingress,
    /// Packets from the endpoint.
    Egress,
    /// Both.
    Both,
}

/// Where in a packet's way a policy acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyStage {
    /// On local traffic of the endpoint.
    Normal,
    /// `applyOnForward`: on forwarded traffic too.
    NormalAndForward,
    /// `doNotTrack`: before connection tracking.
    Untracked,
    /// `preDNAT`: before destination translation.
    PreDnat,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawGlobalNetworkPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "plain_number"
    )]
    order: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress: Option<Vec<RawRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<Vec<RawRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    do_not_track: Option<bool>,
    #[serde(rename = "preDNAT", skip_serializing_if = "Option::is_none")]
    pre_dnat: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apply_on_forward: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    performance_hints: Option<Vec<String>>,
}

/// A whole number is written as one: `100`, not `100.0`.
pub(crate) fn plain_number<S: Serializer>(
    value: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        None => serializer.serialize_none(),
        // Below 2^53 every whole f64 has an exact decimal form without exponent.
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
            match format!("{value:.0}").parse::<i64>() {
                Ok(whole) => serializer.serialize_i64(whole),
                Err(_) => serializer.serialize_f64(*value),
            }
        }
        Some(value) => serializer.serialize_f64(*value),
    }
}

impl RawSpec for RawGlobalNetworkPolicy {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let tier = parse_tier(self.tier.as_deref(), &at.field("tier"), report);
        let types = self.parse_types(&at.field("types"), report);
        let ingress = RuleContext {
            direction: Direction::Ingress,
            namespaced: false,
        };
        let egress = RuleContext {
            direction: Direction::Egress,
            namespaced: false,
        };
        let needed_on_every_node = check_hints(
            self.performance_hints.as_deref(),
            &at.field("performanceHints"),
            report,
        );
        let spec = GlobalNetworkPolicySpec {
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
        Some(Spec::GlobalNetworkPolicy(Box::new(spec)))
    }
}

impl RawGlobalNetworkPolicy {
    fn parse_types(&self, at: &At<'_>, report: &mut Report) -> PolicyTypes {
        let given = self.types.as_deref().unwrap_or_default();
        for (index, text) in given.iter().enumerate() {
            if text != "Ingress" && text != "Egress" {
                report.add(
                    &at.index(index),
                    format!("`{text}` is not a type: Ingress or Egress"),
                );
            } else if given.iter().take(index).any(|earlier| earlier == text) {
                report.add(&at.index(index), format!("type {text} stands twice"));
            }
        }
        let has = |name: &str| given.iter().any(|text| text == name);
        let rules =
            |rules: &Option<Vec<RawRule>>| rules.as_ref().is_some_and(|rules| !rules.is_empty());
        match given.is_empty() {
            false if has("Ingress") && has("Egress") => PolicyTypes::Both,
            false if has("Egress") => PolicyTypes::Egress,
            false => PolicyTypes::Ingress,
            true if rules(&self.ingress) && rules(&self.egress) => PolicyTypes::Both,
            true if rules(&self.egress) => PolicyTypes::Egress,
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
        if pre_dnat && self.egress.as_ref().is_some_and(|rules| !rules.is_empty()) {
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
    fn write_back(&mut self, spec: &GlobalNetworkPolicySpec, metadata: &mut RawMetadata) {
        self.tier = Some(spec.tier.as_str().to_owned());
        if self.types.as_ref().is_none_or(Vec::is_empty) {
            let names: &[&str] = match spec.types {
                PolicyTypes::Ingress => &["Ingress"],
                PolicyTypes::Egress => &["Egress"],
                PolicyTypes::Both => &["Ingress", "Egress"],
            };
            self.types = Some(names.iter().map(|name| (*name).to_owned()).collect());
        }
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(TIER_LABEL.to_owned(), spec.tier.as_str().to_owned());
    }
}

impl PolicyTypes {
    /// Whether packets to the endpoint are governed.
    pub fn ingress(self) -> bool {
        self != Self::Egress
    }

    /// Whether packets from the endpoint are governed.
    pub fn egress(self) -> bool {
        self != Self::Ingress
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
            report.add(
                &at.index(index),
                format!("`{hint}` is not a performance hint: AssumeNeededOnEveryNode"),
            );
        } else if index > 0 {
            report.add(&at.index(index), "a hint stands twice");
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
