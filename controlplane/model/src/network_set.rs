//! GlobalNetworkSet. Source: Calico v3, `globalnetworkset.go`; specification §1.9.

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
    /// Members, host bits masked off, as written otherwise: they may repeat and overlap.
    pub nets: Vec<IpNet>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawNetworkSet {
    #[serde(skip_serializing_if = "Option::is_none")]
    nets: Option<Vec<String>>,
}

impl RawSpec for RawNetworkSet {
    fn parse(
        &mut self,
        _metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let at = at.field("nets");
        let mut nets = Vec::new();
        for (index, text) in self.nets.iter().flatten().enumerate() {
            match parse_member(text) {
                Ok(net) => nets.push(net),
                Err(message) => report.add(&at.index(index), message),
            }
        }
        Some(Spec::GlobalNetworkSet(NetworkSetSpec { nets }))
    }
}
