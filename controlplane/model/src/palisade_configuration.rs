//! PalisadeConfiguration: settings without a word in Calico. `palisade.dev/v1` only, always named `default`.

use serde::{Deserialize, Serialize};

use crate::metadata::RawMetadata;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};

/// The only name a PalisadeConfiguration may have.
pub const PALISADE_CONFIGURATION: &str = "default";

/// Validated settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PalisadeConfigurationSpec {
    /// What no policy closes.
    pub exemptions: Exemptions,
}

/// Traffic that no policy closes. All on by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exemptions {
    /// `lo` is not governed by a `*` host endpoint. Never about a host endpoint named `lo`.
    pub loopback: bool,
    /// ICMPv6 130 to 136 and 143, both directions, on host endpoints.
    pub neighbour_discovery: bool,
    /// DHCPv6 of the host itself.
    pub dhcp6: bool,
    /// The node's own connections to its control plane.
    pub control_plane: bool,
}

impl Default for Exemptions {
    fn default() -> Self {
        Self {
            loopback: true,
            neighbour_discovery: true,
            dhcp6: true,
            control_plane: true,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawPalisadeConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    exemptions: Option<RawExemptions>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawExemptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    loopback: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    neighbour_discovery: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dhcp6: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<bool>,
}

impl RawSpec for RawPalisadeConfiguration {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        _at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let name = metadata.name.as_deref().filter(|name| !name.is_empty());
        if name.is_some_and(|name| name != PALISADE_CONFIGURATION) {
            let at = At::ROOT.field("metadata");
            report.add(
                &at.field("name"),
                format!("the only PalisadeConfiguration is called `{PALISADE_CONFIGURATION}`"),
            );
        }
        let raw = self.exemptions.get_or_insert_default();
        let exemptions = Exemptions {
            loopback: *raw.loopback.get_or_insert(true),
            neighbour_discovery: *raw.neighbour_discovery.get_or_insert(true),
            dhcp6: *raw.dhcp6.get_or_insert(true),
            control_plane: *raw.control_plane.get_or_insert(true),
        };
        Some(Spec::PalisadeConfiguration(PalisadeConfigurationSpec {
            exemptions,
        }))
    }
}
