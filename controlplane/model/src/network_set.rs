//! GlobalNetworkSet and NetworkSet. Source: Calico v3, `globalnetworkset.go`, `networkset.go`; specification §1.9.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::metadata::RawMetadata;
use crate::net::parse_member;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};

/// A validated set: addresses that rule selectors reach by the set's labels. Never the subject of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSetSpec {
    /// Members, host bits masked off; they may overlap, and be equal where they were written with other host bits.
    pub nets: Vec<IpNet>,
}

/// The spec of a set of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawGlobalNetworkSet(RawNets);

/// The spec of a set of a namespace, which looks the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RawNetworkSet(RawNets);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawNets {
    #[serde(skip_serializing_if = "Option::is_none")]
    nets: Option<Vec<String>>,
}

impl RawSpec for RawGlobalNetworkSet {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        Some(Spec::GlobalNetworkSet(self.0.parse(at, report)))
    }
}

impl RawSpec for RawNetworkSet {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        Some(Spec::NetworkSet(self.0.parse(at, report)))
    }
}

impl RawNets {
    fn parse(&self, at: &At<'_>, report: &mut Report) -> NetworkSetSpec {
        report.unique(self.nets.as_deref(), &at.field("nets"));
        let nets = self.nets.as_deref().unwrap_or_default();
        NetworkSetSpec {
            nets: report.each(nets, &at.field("nets"), |text, at, report| {
                report.take(parse_member(text), at)
            }),
        }
    }
}
