//! From a raw rule to a rule: every fault of it, each with its field (specification §3.2).

use std::num::NonZeroU8;

use super::entity::{Ends, is_empty, parse_entity};
use super::raw::{RawHttp, RawHttpPath, RawIcmp, RawRule};
use super::{Action, Icmp, IpVersion, Protocol, ProtocolName, Rule};
use crate::metadata::check_annotations;
use crate::path::At;
use crate::problem::Report;
use crate::shape::IntOrText;

/// Most rules in one direction.
const MAX_RULES: usize = 1024;

/// Most methods, and most paths, of an `http` match.
const MAX_HTTP: usize = 20;

/// Which way the rules of a list look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

/// What surrounds a rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleContext {
    pub(crate) direction: Direction,
    /// Whether the owner has a namespace that a service's may default to.
    pub(crate) namespaced: bool,
    /// Whether plugins can be asked.
    pub(crate) plugins: PluginPlace,
}

/// Whether rules of a place may have conditions that plugins decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PluginPlace {
    Fits,
    /// And why they may not.
    Refused(&'static str),
}

/// Every rule of a list; those with faults are reported and left out.
pub(crate) fn parse_rules(
    raw: Option<&Vec<RawRule>>,
    context: RuleContext,
    at: &At<'_>,
    report: &mut Report,
) -> Vec<Rule> {
    let rules = raw.map(Vec::as_slice).unwrap_or_default();
    if rules.len() > MAX_RULES {
        report.refuse(at, format!("{} rules, at most {MAX_RULES}", rules.len()));
    }
    let each = rules.iter().enumerate();
    each.filter_map(|(index, rule)| parse_rule(rule, context, &at.index(index), report))
        .collect()
}

fn parse_rule(
    raw: &RawRule,
    context: RuleContext,
    at: &At<'_>,
    report: &mut Report,
) -> Option<Rule> {
    let before = report.problems.len();
    let action = parse_action(raw.action.as_deref(), &at.field("action"), report);
    let ip_version = parse_version(raw.ip_version, &at.field("ipVersion"), report);
    let protocol = raw
        .protocol
        .as_ref()
        .and_then(|raw| parse_protocol(raw, &at.field("protocol"), report));
    let not_protocol = raw
        .not_protocol
        .as_ref()
        .and_then(|raw| parse_protocol(raw, &at.field("notProtocol"), report));
    let icmp = parse_icmp(raw.icmp.as_ref(), &at.field("icmp"), report);
    let not_icmp = parse_icmp(raw.not_icmp.as_ref(), &at.field("notICMP"), report);
    let annotations = raw
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.annotations.clone());
    check_annotations(
        annotations.as_ref(),
        &at.field("metadata").field("annotations"),
        report,
    );
    if let Some(http) = &raw.http {
        check_http(
            http,
            action,
            raw.protocol.is_some().then_some(protocol),
            context,
            &at.field("http"),
            report,
        );
    }

    let plugin_at = at.field("plugin");
    let plugin = raw.plugin.as_ref();
    if let (Some(_), PluginPlace::Refused(reason)) = (plugin, context.plugins) {
        report.add_at_key(&plugin_at, reason);
    }
    let plugin = plugin.and_then(|plugin| plugin.parse(&plugin_at, report));

    // A protocol that could not be read is reported; ports are then not judged against it.
    let readable = raw.protocol.is_some() == protocol.is_some();
    let mut ends = Ends {
        protocol,
        judge_ports: readable,
        ip_version,
        context,
        families: Default::default(),
    };
    let source = parse_entity(
        raw.source.as_ref(),
        &mut ends,
        Direction::Ingress,
        &at.field("source"),
        report,
    );
    let destination = parse_entity(
        raw.destination.as_ref(),
        &mut ends,
        Direction::Egress,
        &at.field("destination"),
        report,
    );
    ends.check_families(at, report);
    check_versions(protocol, not_protocol, ip_version, at, report);
    if raw.icmp.is_some() && readable && !protocol.is_some_and(Protocol::is_icmp) {
        report.add_at_key(&at.field("icmp"), "icmp needs protocol ICMP or ICMPv6");
    }
    (report.problems.len() == before).then_some(Rule {
        action: action?,
        ip_version,
        protocol,
        not_protocol,
        icmp,
        not_icmp,
        source,
        destination,
        has_http: raw
            .http
            .as_ref()
            .is_some_and(|http| !is_empty(&http.methods) || !is_empty(&http.paths)),
        plugin,
        annotations: annotations.unwrap_or_default(),
    })
}

fn parse_action(text: Option<&str>, at: &At<'_>, report: &mut Report) -> Option<Action> {
    let Some(text) = text else {
        report.missing(at, "a rule needs an action: Allow, Deny, Log or Pass");
        return None;
    };
    let known = [
        ("Allow", Action::Allow),
        ("Deny", Action::Deny),
        ("Log", Action::Log),
        ("Pass", Action::Pass),
    ];
    match known.iter().find(|(name, _)| *name == text) {
        Some((_, action)) => Some(*action),
        None => {
            let near = known
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(text));
            let hint = near.map_or(String::new(), |(name, _)| format!("; write `{name}`"));
            report.add(
                at,
                format!("`{text}` is not an action: Allow, Deny, Log or Pass{hint}"),
            );
            None
        }
    }
}

fn parse_version(raw: Option<i64>, at: &At<'_>, report: &mut Report) -> Option<IpVersion> {
    match raw? {
        4 => Some(IpVersion::V4),
        6 => Some(IpVersion::V6),
        other => {
            report.add(at, format!("ipVersion is 4 or 6, not {other}"));
            None
        }
    }
}

/// A protocol by name or number; numbers may be quoted.
fn parse_protocol(raw: &IntOrText, at: &At<'_>, report: &mut Report) -> Option<Protocol> {
    let (number, text) = match raw {
        IntOrText::Int(number) => (Some(*number), number.to_string()),
        IntOrText::Text(text) => (text.parse::<i64>().ok(), text.clone()),
    };
    if let Some(number) = number {
        let protocol = u8::try_from(number)
            .ok()
            .and_then(NonZeroU8::new)
            .map(Protocol::Number);
        if protocol.is_none() {
            report.add(at, format!("protocol numbers are 1 to 255, not {number}"));
        }
        return protocol;
    }
    let named = ProtocolName::SPELLINGS
        .iter()
        .find(|(name, _)| *name == text);
    if named.is_none() {
        let near = ProtocolName::SPELLINGS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&text));
        let hint = near.map_or(String::new(), |(name, _)| format!("; write `{name}`"));
        report.add(at, format!("`{text}` is not a protocol: TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or 1 to 255{hint}"));
    }
    named.map(|(_, name)| Protocol::Named(*name))
}

fn parse_icmp(raw: Option<&RawIcmp>, at: &At<'_>, report: &mut Report) -> Option<Icmp> {
    let raw = raw?;
    if raw.code.is_some() && raw.icmp_type.is_none() {
        report.add(&at.field("code"), "an ICMP code needs a type");
    }
    let code = match raw.code.map(u8::try_from) {
        None => None,
        Some(Ok(code)) => Some(code),
        Some(Err(_)) => {
            report.add(&at.field("code"), "ICMP codes are 0 to 255");
            None
        }
    };
    match u8::try_from(raw.icmp_type?) {
        Ok(icmp_type) if icmp_type <= 254 => Some(Icmp { icmp_type, code }),
        _ => {
            report.add(&at.field("type"), "ICMP types are 0 to 254");
            None
        }
    }
}

/// A protocol that names a family must agree with the family of the rule.
fn check_versions(
    protocol: Option<Protocol>,
    not_protocol: Option<Protocol>,
    version: Option<IpVersion>,
    at: &At<'_>,
    report: &mut Report,
) {
    for (field, protocol) in [("protocol", protocol), ("notProtocol", not_protocol)] {
        let message = match (protocol.map(Protocol::number), version) {
            (Some(1), Some(IpVersion::V6)) => "protocol ICMP requires ipVersion 4",
            (Some(58), Some(IpVersion::V4)) => "protocol ICMPv6 requires ipVersion 6",
            _ => continue,
        };
        report.add(&at.field(field), message);
    }
}

/// `protocol` is the rule's: `None` where none is given, `Some(None)` where it could not be read.
fn check_http(
    http: &RawHttp,
    action: Option<Action>,
    protocol: Option<Option<Protocol>>,
    context: RuleContext,
    at: &At<'_>,
    report: &mut Report,
) {
    if context.direction == Direction::Egress {
        report.add_at_key(at, "http may stand only in ingress rules");
    }
    if action.is_some_and(|action| action != Action::Allow) {
        report.add_at_key(at, "http may stand only in rules with action Allow");
    }
    if protocol
        .flatten()
        .is_some_and(|protocol| protocol.number() != 6)
    {
        report.add_at_key(at, "http needs protocol TCP, or none");
    }
    let methods = http.methods.as_deref().unwrap_or_default();
    for (index, method) in methods.iter().enumerate() {
        if methods.iter().take(index).any(|earlier| earlier == method) {
            report.add(
                &at.field("methods").index(index),
                format!("method `{method}` stands twice"),
            );
        }
    }
    let paths = http.paths.as_deref().unwrap_or_default();
    for (name, count) in [("methods", methods.len()), ("paths", paths.len())] {
        if count > MAX_HTTP {
            report.add(
                &at.field(name),
                format!("{count} entries, at most {MAX_HTTP}"),
            );
        }
    }
    for (index, path) in paths.iter().enumerate() {
        check_http_path(path, &at.field("paths").index(index), report);
    }
}

fn check_http_path(path: &RawHttpPath, at: &At<'_>, report: &mut Report) {
    let (field, text) = match (&path.exact, &path.prefix) {
        (Some(text), None) => ("exact", text),
        (None, Some(text)) => ("prefix", text),
        _ => return report.add(at, "a path is either `exact` or `prefix`"),
    };
    if !text.starts_with('/') || text.contains([' ', '?', '#']) || text.len() > 1024 {
        report.add(
            &at.field(field),
            "a path starts with `/`, has at most 1024 characters and no space, `?` or `#`",
        );
    }
}
