//! Tier. Source: Calico v3, `tier.go`; specification §1.6.

use serde::{Deserialize, Serialize};

use crate::metadata::RawMetadata;
use crate::path::At;
use crate::policy::plain_number;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};

/// The tier of policies that name none.
pub const DEFAULT_TIER: &str = "default";
/// A built-in tier before `default`.
pub const KUBE_ADMIN_TIER: &str = "kube-admin";
/// A built-in tier after `default`.
pub const KUBE_BASELINE_TIER: &str = "kube-baseline";

/// Tiers that always exist, with the order and action they must keep.
pub const BUILT_IN_TIERS: [(&str, TierSpec); 3] = [
    (
        KUBE_ADMIN_TIER,
        TierSpec {
            order: Some(1_000.0),
            default_action: TierAction::Pass,
        },
    ),
    (
        DEFAULT_TIER,
        TierSpec {
            order: Some(1_000_000.0),
            default_action: TierAction::Deny,
        },
    ),
    (
        KUBE_BASELINE_TIER,
        TierSpec {
            order: Some(10_000_000.0),
            default_action: TierAction::Pass,
        },
    ),
];

/// A validated tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TierSpec {
    /// Place among tiers, finite, lower first; `None` is after everything. Ties go by name.
    pub order: Option<f64>,
    /// What happens at its end to a packet that one of its policies governs.
    pub default_action: TierAction,
}

/// What a tier does at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TierAction {
    /// Drop.
    #[default]
    Deny,
    /// Go on to the next tier.
    Pass,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RawTier {
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "plain_number"
    )]
    order: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_action: Option<String>,
}

impl RawSpec for RawTier {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let default_action = match self.default_action.as_deref() {
            None | Some("Deny") => TierAction::Deny,
            Some("Pass") => TierAction::Pass,
            Some(text) => {
                report.add(
                    &at.field("defaultAction"),
                    format!("`{text}` is not a default action: Deny or Pass"),
                );
                return None;
            }
        };
        let spec = TierSpec {
            order: self.order,
            default_action,
        };
        match BUILT_IN_TIERS
            .iter()
            .find(|(name, _)| metadata.name.as_deref() == Some(name))
        {
            Some((name, wanted)) => self.check_built_in(name, *wanted, spec, at, report),
            None if self.order.is_none() => report.warn(
                &at.field("order"),
                "a tier without order comes after all others; calicoctl would store 1000000",
            ),
            None => {}
        }
        self.default_action = Some(format!("{default_action:?}"));
        Some(Spec::Tier(spec))
    }
}

impl RawTier {
    fn check_built_in(
        &self,
        name: &str,
        wanted: TierSpec,
        given: TierSpec,
        at: &At<'_>,
        report: &mut Report,
    ) {
        let order = wanted.order.unwrap_or_default();
        if given.order != wanted.order {
            report.add(
                &at.field("order"),
                format!("tier {name} is built in and keeps order {order}"),
            );
        }
        if given.default_action != wanted.default_action {
            let message = format!(
                "tier {name} is built in and keeps default action {:?}",
                wanted.default_action
            );
            report.add(&at.field("defaultAction"), message);
        }
    }
}
