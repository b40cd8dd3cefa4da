//! Conditions of plugins that failsafes leave nothing to: no fault, since the failsafes may change next, but whoever
//! writes one should know why nothing happens.

use super::{Resources, plan::Document};
use palisade_compile::behind_failsafes;
use palisade_model::{FelixConfigurationSpec, Kind, PortSpec, Resource, Rule, Spec};
use palisade_policy::{class::Direction, rule::Protocol};
use std::collections::BTreeSet;
use tonic::Status;

impl Resources {
    /// Adds a warning for each condition that host endpoints will not come to, by the settings as they will stand.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn warn_of_failsafes(&self, documents: &mut [Document]) -> Result<(), Status> {
        if !documents.iter().any(|document| asks(document.resource())) {
            return Ok(());
        }
        let written: BTreeSet<_> = documents.iter().map(|d| d.id.clone()).collect();
        let stored = self
            .like(Kind::FelixConfiguration, br#"HostPorts":"#)
            .await?;
        let stored = stored
            .into_iter()
            .filter(|resource| !written.contains(&resource.id()));
        let brought = documents.iter().map(|document| document.resource().clone());
        let settings: Vec<FelixConfigurationSpec> = stored
            .chain(brought)
            .filter_map(|resource| match resource.spec {
                Spec::FelixConfiguration(spec) => Some(*spec),
                _ => None,
            })
            .collect();
        let settings: Vec<_> = settings.iter().collect();
        for document in documents {
            let found = warnings(document.resource(), &settings);
            document.warnings.extend(found);
        }
        Ok(())
    }
}

fn asks(resource: &Resource) -> bool {
    let Spec::GlobalNetworkPolicy(policy) = &resource.spec else {
        return false;
    };
    let mut rules = policy.ingress.iter().chain(&policy.egress);
    rules.any(|rule| rule.plugin.is_some())
}

fn warnings(resource: &Resource, settings: &[&FelixConfigurationSpec]) -> Vec<String> {
    let Spec::GlobalNetworkPolicy(policy) = &resource.spec else {
        return Vec::new();
    };
    let behind = behind_failsafes(resource, settings).into_iter();
    let warning = |(direction, index): (Direction, usize)| {
        let (list, way) = match direction {
            Direction::Ingress => ("ingress", "Inbound"),
            Direction::Egress => ("egress", "Outbound"),
        };
        let rules: &[Rule] = match direction {
            Direction::Ingress => &policy.ingress,
            Direction::Egress => &policy.egress,
        };
        let rule = rules.get(index).filter(|rule| rule.plugin.is_some())?;
        Some(format!(
            "spec.{list}[{index}].plugin: on host endpoints it is never asked, since failsafes accept {} before any \
             policy: set `failsafe{way}HostPorts`, in FelixConfiguration `default` or a node's own, to what must stay \
             open without it",
            ports(rule)
        ))
    };
    behind.filter_map(warning).collect()
}

/// The protocol and ports that a rule names.
fn ports(rule: &Rule) -> String {
    let protocol = rule.protocol.map(|protocol| Protocol(protocol.number()));
    let ports = rule.destination.ports.iter().map(|port| match port {
        PortSpec::Range(range) if range.first() == range.last() => range.first().to_string(),
        PortSpec::Range(range) => format!("{}:{}", range.first(), range.last()),
        PortSpec::Named(name) => name.to_string(),
    });
    let ports: Vec<String> = ports.collect();
    let protocol = protocol.map(|protocol| protocol.to_string());
    format!("{} {}", protocol.unwrap_or_default(), ports.join(", "))
}
