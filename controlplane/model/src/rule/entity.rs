//! One end of a rule: networks, selectors, ports, services.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::raw::{RawEntityRule, RawService};
use super::validate::{Direction, RuleContext};
use super::{EntityRule, IpVersion, PortRange, PortSpec, Protocol, Service, ServiceAccounts};
use crate::name::{Name, PortName};
use crate::net::parse_rule_net;
use crate::path::At;
use crate::problem::Report;
use crate::shape::IntOrText;

/// Most entries of `nets` and `notNets`.
const MAX_NETS: usize = 256;

/// Most entries of `ports` and `notPorts`.
const MAX_PORTS: usize = 50;

/// What both ends of a rule share while they are read.
pub(super) struct Ends {
    pub(super) protocol: Option<Protocol>,
    /// False where the protocol could not be read, so that ports cannot be judged.
    pub(super) judge_ports: bool,
    pub(super) ip_version: Option<IpVersion>,
    pub(super) context: RuleContext,
    /// Families of all networks of the rule.
    pub(super) families: BTreeSet<IpVersion>,
}

/// Whether a list is absent or has nothing in it.
pub(crate) fn is_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

/// Reads one end. `services` may stand at this end only in rules that look `services_in`.
pub(super) fn parse_entity(
    raw: Option<&RawEntityRule>,
    ends: &mut Ends,
    services_in: Direction,
    at: &At<'_>,
    report: &mut Report,
) -> EntityRule {
    let Some(raw) = raw else {
        return EntityRule::default();
    };
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let plain = |raw: &Option<String>, field: &str, report: &mut Report| {
        text(raw).and_then(|text| report.selector_without_global(&text, &at.field(field)))
    };
    let entity = EntityRule {
        nets: nets(&raw.nets, ends, &at.field("nets"), report),
        not_nets: nets(&raw.not_nets, ends, &at.field("notNets"), report),
        selector: plain(&raw.selector, "selector", report),
        not_selector: plain(&raw.not_selector, "notSelector", report),
        namespace_selector: text(&raw.namespace_selector)
            .and_then(|text| namespace_selector(&text, &at.field("namespaceSelector"), report)),
        ports: ports(&raw.ports, ends, &at.field("ports"), report),
        not_ports: ports(&raw.not_ports, ends, &at.field("notPorts"), report),
        service_accounts: service_accounts(raw, at, report),
        services: raw.services.as_ref().and_then(|service| {
            parse_service(
                service,
                raw,
                ends.context,
                services_in,
                &at.field("services"),
                report,
            )
        }),
    };
    for (index, net) in entity.not_nets.iter().enumerate() {
        if net.prefix_len() == 0 {
            let here = at.field("notNets");
            report.add(
                &here.index(index),
                "catch-all CIDR in negation creates a logical contradiction",
            );
        }
    }
    entity
}

impl Ends {
    /// All networks of a rule are of one family, which is the one of `ipVersion`.
    pub(super) fn check_families(&self, at: &At<'_>, report: &mut Report) {
        match (self.families.len(), self.ip_version) {
            (2.., _) => report.add(at, "rule contains both IPv4 and IPv6 CIDRs"),
            (1, Some(version)) if !self.families.contains(&version) => {
                report.add(
                    &at.field("ipVersion"),
                    "rule IP version doesn't match CIDR version",
                );
            }
            _ => {}
        }
    }
}

fn nets(
    raw: &Option<Vec<String>>,
    ends: &mut Ends,
    at: &At<'_>,
    report: &mut Report,
) -> Vec<IpNet> {
    let texts = raw.as_deref().unwrap_or_default();
    if texts.len() > MAX_NETS {
        report.refuse(at, format!("{} networks, at most {MAX_NETS}", texts.len()));
    }
    let mut nets = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match parse_rule_net(text) {
            Ok(net) => {
                ends.families.insert(if net.addr().is_ipv4() {
                    IpVersion::V4
                } else {
                    IpVersion::V6
                });
                nets.push(net);
            }
            Err(message) => report.add(&at.index(index), message),
        }
    }
    nets
}

fn namespace_selector(
    text: &str,
    at: &At<'_>,
    report: &mut Report,
) -> Option<palisade_selector::Selector> {
    let selector = report.selector(text, at)?;
    if selector.mentions_global() && !selector.is_global() {
        report.add(at, "`global()` cannot be combined with other selectors");
        return None;
    }
    Some(selector)
}

fn ports(
    raw: &Option<Vec<IntOrText>>,
    ends: &Ends,
    at: &At<'_>,
    report: &mut Report,
) -> Vec<PortSpec> {
    let written = raw.as_deref().unwrap_or_default();
    if written.len() > MAX_PORTS {
        report.refuse(at, format!("{} ports, at most {MAX_PORTS}", written.len()));
    }
    let mut ports = Vec::with_capacity(written.len());
    for (index, port) in written.iter().enumerate() {
        match parse_port(port) {
            Ok(port) => ports.push(port),
            Err(message) => report.add(&at.index(index), message),
        }
    }
    if ends.judge_ports && !written.is_empty() {
        let numeric = ports.iter().any(|port| matches!(port, PortSpec::Range(_)));
        match ends.protocol {
            None if numeric => {
                report.add_at_key(
                    at,
                    "rules with numeric port or port range must set protocol to TCP or UDP or SCTP",
                );
            }
            Some(protocol) if !protocol.has_ports() => {
                report.add_at_key(
                    at,
                    "rules that specify ports must set protocol to TCP or UDP or SCTP",
                );
            }
            _ => {}
        }
    }
    ports
}

/// A number, a range `lo:hi`, or a name. An all-digit text is a number.
pub(crate) fn parse_port(raw: &IntOrText) -> Result<PortSpec, String> {
    let text = match raw {
        IntOrText::Int(number) => number.to_string(),
        IntOrText::Text(text) => text.clone(),
    };
    let number = |text: &str| -> Option<u16> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    if let Some((low, high)) = text.split_once(':') {
        let range = number(low)
            .zip(number(high))
            .and_then(|(low, high)| PortRange::new(low, high));
        return range.map(PortSpec::Range).ok_or_else(|| {
            format!("`{text}` is not a port range: `lo:hi`, both 1 to 65535, lo at most hi")
        });
    }
    if text
        .trim_start_matches('-')
        .bytes()
        .all(|byte| byte.is_ascii_digit())
    {
        let range = number(&text).and_then(|port| PortRange::new(port, port));
        return range
            .map(PortSpec::Range)
            .ok_or_else(|| format!("ports are 1 to 65535, not `{text}`"));
    }
    PortName::new(&text).map(PortSpec::Named).ok_or_else(|| match text.split_once('-') {
        Some((low, high)) if number(low).is_some() && number(high).is_some() => {
            format!("`{text}` is not a port: a range is written \"{low}:{high}\"")
        }
        _ => format!("`{text}` is not a port name: at most 15 of `a-z`, `0-9` and `-`, with a letter, no `-` at an edge or beside another"),
    })
}

fn service_accounts(
    raw: &RawEntityRule,
    at: &At<'_>,
    report: &mut Report,
) -> Option<ServiceAccounts> {
    let accounts = raw.service_accounts.as_ref()?;
    let at = at.field("serviceAccounts");
    let mut names = Vec::new();
    for (index, text) in accounts.names.iter().flatten().enumerate() {
        match Name::new(text) {
            Some(name) => names.push(name),
            None => report.add(
                &at.field("names").index(index),
                format!("`{text}` is not a valid service account name"),
            ),
        }
    }
    let selector = accounts.selector.as_ref().filter(|text| !text.is_empty());
    let selector =
        selector.and_then(|text| report.selector_without_global(text, &at.field("selector")));
    (accounts
        .names
        .as_ref()
        .is_some_and(|names| !names.is_empty())
        || selector.is_some())
    .then_some(ServiceAccounts { names, selector })
}

fn parse_service(
    raw: &RawService,
    beside: &RawEntityRule,
    context: RuleContext,
    services_in: Direction,
    at: &At<'_>,
    report: &mut Report,
) -> Option<Service> {
    if context.direction != services_in {
        report.add_at_key(at, "services may stand only in the source of ingress rules and the destination of egress rules");
    }
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let to = services_in == Direction::Egress;
    let others = [
        ("selector", given(&beside.selector)),
        ("notSelector", given(&beside.not_selector)),
        ("namespaceSelector", given(&beside.namespace_selector)),
        ("nets", !is_empty(&beside.nets)),
        ("notNets", !is_empty(&beside.not_nets)),
        ("serviceAccounts", beside.service_accounts.is_some()),
        // A service stands for its ports too where packets go to it, for its addresses alone where they come from it.
        ("ports", to && !is_empty(&beside.ports)),
        ("notPorts", to && !is_empty(&beside.not_ports)),
    ];
    for (name, _) in others.iter().filter(|(_, given)| *given) {
        report.add_at_key(
            at,
            format!("cannot specify {name} and services on the same rule"),
        );
    }
    if !context.namespaced && !given(&raw.namespace) {
        report.missing(
            &at.field("namespace"),
            "a service needs a namespace in a policy without namespace",
        );
    }
    let name = raw.name.clone().filter(|name| !name.is_empty());
    if name.is_none() {
        report.missing(&at.field("name"), "a service needs a name");
    }
    Some(Service {
        name: name?,
        namespace: raw.namespace.clone(),
    })
}
