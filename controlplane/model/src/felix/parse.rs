//! From settings as written to typed ones; every fault, and a warning for each setting without effect.

use regex_lite::Regex;

use super::raw::{RawFailsafe, RawFelixConfiguration, RawSetting};
use super::settings::{Effect, SETTINGS};
use super::values::check;
use super::{
    DenyAction, EndpointToHostAction, Failsafe, FelixConfigurationSpec, FelixScope,
    InterfacePattern, LogRate, RateUnit,
};
use crate::host_endpoint::PortProtocol;
use crate::metadata::RawMetadata;
use crate::name::Name;
use crate::net::parse_cidr;
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};

/// Fewest bits of a mark mask: Felix ends with a panic where there are less.
const MARK_BITS: u32 = 5;

impl RawSpec for RawFelixConfiguration {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        for (name, class, effect) in SETTINGS {
            if let Some(setting) = self.given.get(name) {
                check(*class, setting, &at.field(name), report);
                if *effect == Effect::Inert {
                    report.warn(&at.field(name), "this setting has no effect here");
                }
            }
        }
        if ["routeTableRange", "routeTableRanges"]
            .iter()
            .all(|name| self.given.contains_key(name))
        {
            report.add_at_key(
                &at.field("routeTableRanges"),
                "cannot stand beside routeTableRange",
            );
        }
        let scope = self.scope(metadata.name.as_deref().unwrap_or_default(), at, report);
        let list = |text: &str| {
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let spec = FelixConfigurationSpec {
            scope,
            failsafe_inbound: self.failsafes("failsafeInboundHostPorts", at, report),
            failsafe_outbound: self.failsafes("failsafeOutboundHostPorts", at, report),
            deny_action: self
                .either(
                    "nftablesFilterDenyAction",
                    "iptablesFilterDenyAction",
                    Self::text,
                )
                .map(deny_action),
            log_prefix: self.log_prefix(at, report),
            log_rate: self.log_rate(at, report),
            log_burst: self
                .int("logActionRateLimitBurst")
                .and_then(|burst| u16::try_from(burst).ok()),
            interface_prefixes: self.text("interfacePrefix").map(list),
            interface_exclude: self
                .text("interfaceExclude")
                .map(|text| patterns(text, &at.field("interfaceExclude"), report)),
            ipv6_support: self.bool("ipv6Support"),
            disable_conntrack_invalid_check: self.bool("disableConntrackInvalidCheck"),
            default_endpoint_to_host_action: self
                .text("defaultEndpointToHostAction")
                .map(to_host_action),
            allow_vxlan_from_workloads: self.bool("allowVXLANPacketsFromWorkloads"),
            allow_ipip_from_workloads: self.bool("allowIPIPPacketsFromWorkloads"),
            vxlan_port: self
                .int("vxlanPort")
                .and_then(|port| u16::try_from(port).ok()),
            allow_source_prefixes: self
                .text("workloadSourceSpoofing")
                .map(|text| text.eq_ignore_ascii_case("any")),
        };
        for name in ["nftablesMarkMask", "iptablesMarkMask"] {
            let bits = self
                .int(name)
                .and_then(|mask| u32::try_from(mask).ok())
                .map(u32::count_ones);
            if bits.is_some_and(|bits| bits < MARK_BITS) {
                report.add(
                    &at.field(name),
                    format!("a mark mask needs at least {MARK_BITS} bits"),
                );
            }
        }
        Some(Spec::FelixConfiguration(Box::new(spec)))
    }
}

impl RawFelixConfiguration {
    fn bool(&self, name: &str) -> Option<bool> {
        match self.given.get(name)? {
            RawSetting::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn int(&self, name: &str) -> Option<i64> {
        match self.given.get(name)? {
            RawSetting::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A text; empty is not set.
    fn text(&self, name: &str) -> Option<&str> {
        match self.given.get(name)? {
            RawSetting::Text(text) => Some(text.as_str()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    fn either<'a, T>(
        &'a self,
        first: &str,
        second: &str,
        get: impl Fn(&'a Self, &str) -> Option<T>,
    ) -> Option<T> {
        get(self, first).or_else(|| get(self, second))
    }

    fn scope(&self, name: &str, at: &At<'_>, report: &mut Report) -> FelixScope {
        let selector_at = at.field("nodeSelector");
        let fixed = match name {
            "default" => Some(FelixScope::Global),
            _ => name
                .strip_prefix("node.")
                .and_then(Name::new)
                .map(FelixScope::Node),
        };
        match (fixed, self.text("nodeSelector")) {
            (Some(_), Some(_)) => {
                report.add_at_key(
                    &selector_at,
                    "nodeSelector must not be set on `default` or `node.<name>`",
                );
                FelixScope::None
            }
            (Some(scope), None) => scope,
            (None, Some(text)) => report
                .selector_without_global(text, &selector_at)
                .map_or(FelixScope::None, FelixScope::Selected),
            (None, None) => {
                let message = "has no effect: it is called neither `default` nor `node.<name>` and has no nodeSelector";
                report.warn(&At::ROOT.field("metadata").field("name"), message);
                FelixScope::None
            }
        }
    }

    fn failsafes(&self, name: &str, at: &At<'_>, report: &mut Report) -> Option<Vec<Failsafe>> {
        let RawSetting::Failsafes(raw) = self.given.get(name)? else {
            return None;
        };
        let at = at.field(name);
        let each = raw.iter().enumerate();
        Some(
            each.filter_map(|(index, raw)| failsafe(raw, &at.index(index), report))
                .collect(),
        )
    }

    fn log_prefix(&self, at: &At<'_>, report: &mut Report) -> Option<String> {
        let text = self.text("logPrefix")?;
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"%: /_-".contains(&byte);
        if !text.bytes().all(inside) {
            report.add(
                &at.field("logPrefix"),
                "a log prefix consists of `A-Za-z0-9%: /_-`",
            );
        }
        Some(text.to_owned())
    }

    fn log_rate(&self, at: &At<'_>, report: &mut Report) -> Option<LogRate> {
        let text = self.text("logActionRateLimit")?;
        let rate = text.split_once('/').and_then(|(count, unit)| {
            let written = count.starts_with(|first: char| ('1'..='9').contains(&first))
                && count.len() <= 4
                && count.bytes().all(|byte| byte.is_ascii_digit());
            let count = written.then(|| count.parse().ok()).flatten()?;
            let per = match unit {
                "second" => RateUnit::Second,
                "minute" => RateUnit::Minute,
                "hour" => RateUnit::Hour,
                "day" => RateUnit::Day,
                _ => return None,
            };
            Some(LogRate { count, per })
        });
        if rate.is_none() {
            let message =
                format!("`{text}` is not a rate: 1 to 9999, then /second, /minute, /hour or /day");
            report.add(&at.field("logActionRateLimit"), message);
        }
        rate
    }
}

fn failsafe(raw: &RawFailsafe, at: &At<'_>, report: &mut Report) -> Option<Failsafe> {
    let text = raw.protocol.as_deref().unwrap_or_default();
    let protocol = PortProtocol::parse_any_case(text);
    if protocol.is_none() {
        report.add(
            &at.field("protocol"),
            "a failsafe needs protocol TCP, UDP or SCTP",
        );
    }
    let port = raw.port.and_then(|port| u16::try_from(port).ok());
    if port.is_none() {
        report.add(&at.field("port"), "a failsafe needs a port, 0 to 65535");
    }
    let net = match raw
        .net
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(parse_cidr)
    {
        None => None,
        Some(Ok(net)) => Some(net.trunc()),
        Some(Err(message)) => {
            report.add(&at.field("net"), message);
            return None;
        }
    };
    if net.is_some_and(|net| net.prefix_len() == 0) {
        report.warn(
            &at.field("net"),
            "limits the failsafe to one family; leave it out for both",
        );
    }
    Some(Failsafe {
        protocol: protocol?,
        port: port?,
        net,
    })
}

/// A bad pattern would make a node refuse its whole configuration, so it ends here.
fn patterns(text: &str, at: &At<'_>, report: &mut Report) -> Vec<InterfacePattern> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let mut patterns = Vec::new();
    for part in parts {
        let expression = part
            .strip_prefix('/')
            .and_then(|part| part.strip_suffix('/'));
        match expression {
            Some(expression) => match Regex::new(expression) {
                Ok(_) => patterns.push(InterfacePattern::Regex(expression.to_owned())),
                Err(error) => {
                    report.add(at, format!("`{part}` is not a regular expression: {error}"));
                }
            },
            None if part.contains('/') => report.add(
                at,
                format!("`{part}` is neither an interface nor an expression between slashes"),
            ),
            None => patterns.push(InterfacePattern::Name(part.to_owned())),
        }
    }
    patterns
}

// Unknown words are reported by `check`; what they become here is never seen.
fn deny_action(text: &str) -> DenyAction {
    if text.eq_ignore_ascii_case("Reject") {
        DenyAction::Reject
    } else {
        DenyAction::Drop
    }
}

fn to_host_action(text: &str) -> EndpointToHostAction {
    match text.to_ascii_lowercase().as_str() {
        "accept" => EndpointToHostAction::Accept,
        "return" => EndpointToHostAction::Return,
        _ => EndpointToHostAction::Drop,
    }
}
