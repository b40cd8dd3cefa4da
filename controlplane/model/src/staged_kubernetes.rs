//! StagedKubernetesNetworkPolicy: Kubernetes' NetworkPolicy, staged. Checked and kept, never evaluated: there are no pods
//! here. Source: Calico v3, `stagedkubernetesnetworkpolicy.go`; Kubernetes `networking/v1`; specification §1.5.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::metadata::RawMetadata;
use crate::name::{PortName, is_label_key, is_label_value};
use crate::net::parse_cidr;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};
use crate::rule::is_empty;
use crate::shape::IntOrText;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawStagedKubernetesNetworkPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    staged_action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_selector: Option<RawLabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress: Option<Vec<RawIngress>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<Vec<RawEgress>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_types: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawIngress {
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<RawPort>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Vec<RawPeer>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawEgress {
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<RawPort>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Vec<RawPeer>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawPort {
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<IntOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_port: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawPeer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_selector: Option<RawLabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_selector: Option<RawLabelSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_block: Option<RawBlock>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawBlock {
    #[serde(skip_serializing_if = "Option::is_none")]
    cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawLabelSelector {
    #[serde(skip_serializing_if = "Option::is_none")]
    match_labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_expressions: Option<Vec<RawRequirement>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawRequirement {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<String>>,
}

impl RawSpec for RawStagedKubernetesNetworkPolicy {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        report.warn(
            at,
            "kept and never evaluated: there are no pods here; write a StagedNetworkPolicy",
        );
        match self.staged_action.as_deref().unwrap_or_default() {
            "" => self.staged_action = Some("Set".to_owned()),
            "Set" | "Learn" | "Ignore" => {}
            "Delete" => self.check_deletion(at, report),
            text => {
                let message =
                    format!("`{text}` is not a staged action: Set, Delete, Learn or Ignore");
                report.add(&at.field("stagedAction"), message);
            }
        }
        if let Some(selector) = &self.pod_selector {
            selector.check(&at.field("podSelector"), report);
        }
        let ingress_at = at.field("ingress");
        for (index, rule) in self.ingress.iter().flatten().enumerate() {
            let at = ingress_at.index(index);
            check_ports(rule.ports.as_deref(), &at.field("ports"), report);
            check_peers(rule.from.as_deref(), &at.field("from"), report);
        }
        let egress_at = at.field("egress");
        for (index, rule) in self.egress.iter().flatten().enumerate() {
            let at = egress_at.index(index);
            check_ports(rule.ports.as_deref(), &at.field("ports"), report);
            check_peers(rule.to.as_deref(), &at.field("to"), report);
        }
        let types = self.policy_types.as_deref().unwrap_or_default();
        report.each(types, &at.field("policyTypes"), |text, at, report| {
            if text != "Ingress" && text != "Egress" {
                report.add(at, format!("`{text}` is not a type: Ingress or Egress"));
            }
            Some(())
        });
        report.warn(
            &At::ROOT.field("kind"),
            "kept and not evaluated: there are no pods here; write a StagedNetworkPolicy to see what it would do",
        );
        Some(Spec::StagedKubernetesNetworkPolicy)
    }
}

impl RawStagedKubernetesNetworkPolicy {
    fn check_deletion(&self, at: &At<'_>, report: &mut Report) {
        let selects = self.pod_selector.as_ref();
        let given = [
            (
                "podSelector",
                selects.is_some_and(|s| *s != RawLabelSelector::default()),
            ),
            ("ingress", !is_empty(&self.ingress)),
            ("egress", !is_empty(&self.egress)),
            ("policyTypes", !is_empty(&self.policy_types)),
        ];
        for (name, _) in given.iter().filter(|(_, given)| *given) {
            report.add_at_key(
                &at.field(name),
                "spec fields must be absent where stagedAction is Delete",
            );
        }
    }
}

impl RawLabelSelector {
    fn check(&self, at: &At<'_>, report: &mut Report) {
        let labels_at = at.field("matchLabels");
        for (key, value) in self.match_labels.iter().flatten() {
            check_key(key, &labels_at.field(key), report);
            check_value(value, &labels_at.field(key), report);
        }
        let requirements = self.match_expressions.as_deref().unwrap_or_default();
        report.each(
            requirements,
            &at.field("matchExpressions"),
            |requirement, at, report| {
                requirement.check(at, report);
                Some(())
            },
        );
    }
}

impl RawRequirement {
    fn check(&self, at: &At<'_>, report: &mut Report) {
        check_key(
            self.key.as_deref().unwrap_or_default(),
            &at.field("key"),
            report,
        );
        let values = self.values.as_deref().unwrap_or_default();
        match self.operator.as_deref().unwrap_or_default() {
            "In" | "NotIn" if values.is_empty() => {
                report.missing(&at.field("values"), "In and NotIn need values");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                report.add_at_key(
                    &at.field("values"),
                    "Exists and DoesNotExist take no values",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            text => report.add(
                &at.field("operator"),
                format!("`{text}` is not an operator: In, NotIn, Exists or DoesNotExist"),
            ),
        }
        report.each(values, &at.field("values"), |value, at, report| {
            check_value(value, at, report);
            Some(())
        });
    }
}

fn check_key(key: &str, at: &At<'_>, report: &mut Report) {
    if !is_label_key(key) {
        report.add(at, format!("`{key}` is not a valid label key"));
    }
}

fn check_value(value: &str, at: &At<'_>, report: &mut Report) {
    if !is_label_value(value) {
        report.add(at, format!("`{value}` is not a valid label value"));
    }
}

fn check_ports(ports: Option<&[RawPort]>, at: &At<'_>, report: &mut Report) {
    report.each(ports.unwrap_or_default(), at, |raw, at, report| {
        let protocol = raw.protocol.as_deref().unwrap_or("TCP");
        if !["TCP", "UDP", "SCTP"].contains(&protocol) {
            report.add(
                &at.field("protocol"),
                format!("`{protocol}` is not TCP, UDP or SCTP"),
            );
        }
        let number = |port: i64| u16::try_from(port).ok().filter(|port| *port > 0);
        let first = match &raw.port {
            Some(IntOrText::Int(port)) => {
                if number(*port).is_none() {
                    report.add(
                        &at.field("port"),
                        format!("ports are 1 to 65535, not {port}"),
                    );
                }
                number(*port)
            }
            Some(IntOrText::Text(text)) => {
                if PortName::new(text).is_none() {
                    report.add(&at.field("port"), format!("`{text}` is not a port name"));
                }
                None
            }
            None => None,
        };
        match (raw.end_port, first) {
            (None, _) => {}
            (Some(end), Some(first)) if number(end).is_some_and(|end| end >= first) => {}
            (Some(_), _) => report.add(
                &at.field("endPort"),
                "endPort needs a numeric port and is not below it",
            ),
        }
        Some(())
    });
}

fn check_peers(peers: Option<&[RawPeer]>, at: &At<'_>, report: &mut Report) {
    report.each(peers.unwrap_or_default(), at, |raw, at, report| {
        for (name, selector) in [
            ("podSelector", &raw.pod_selector),
            ("namespaceSelector", &raw.namespace_selector),
        ] {
            if let Some(selector) = selector {
                selector.check(&at.field(name), report);
            }
        }
        let selects = raw.pod_selector.is_some() || raw.namespace_selector.is_some();
        match &raw.ip_block {
            Some(_) if selects => {
                report.add_at_key(
                    &at.field("ipBlock"),
                    "ipBlock cannot stand beside a selector",
                );
            }
            Some(block) => block.check(&at.field("ipBlock"), report),
            None if !selects => report.add(at, "a peer needs a selector or an ipBlock"),
            None => {}
        }
        Some(())
    });
}

impl RawBlock {
    fn check(&self, at: &At<'_>, report: &mut Report) {
        let cidr = parse_cidr(self.cidr.as_deref().unwrap_or_default());
        let cidr: Option<IpNet> = report.take(cidr, &at.field("cidr"));
        let except = self.except.as_deref().unwrap_or_default();
        report.each(except, &at.field("except"), |text, at, report| {
            let net = report.take(parse_cidr(text), at)?;
            if cidr.is_some_and(|cidr| !cidr.contains(&net)) {
                report.add(at, format!("`{text}` is not inside the block"));
            }
            Some(())
        });
    }
}
