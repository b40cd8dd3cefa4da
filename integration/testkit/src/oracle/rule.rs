//! Whether a rule matches a packet (§3.3), and whom its selectors mean (§2.6, §2.7).

use super::endpoint::{NAMESPACE, Object, SERVICE_ACCOUNT};
use super::policy::{in_namespaces, of_accounts, said};
use super::{Look, Oracle};
use crate::document::{Entity, Icmp, Port, Protocol, Rule};
use crate::packet::Packet;
use crate::selector::Expression;
use ipnet::IpNet;
use std::net::IpAddr;

/// One end of a packet.
struct End {
    name: &'static str,
    address: IpAddr,
    protocol: u8,
    port: Option<u16>,
}

impl Oracle {
    /// Whether a rule, in a namespace (empty for global policies and profiles), matches. Notes what it looked at.
    pub(super) fn matches(
        &self,
        rule: &Rule,
        namespace: &str,
        packet: &Packet,
        looks: &mut Vec<Look>,
    ) -> bool {
        let mut held = Vec::new();
        let missed = self.missed(rule, namespace, packet, &mut held);
        match missed {
            None => looks.append(&mut held),
            Some((end, field)) => looks.push(Look {
                end,
                field,
                held: false,
            }),
        }
        missed.is_none()
    }

    /// The first condition that does not hold.
    fn missed(
        &self,
        rule: &Rule,
        namespace: &str,
        packet: &Packet,
        held: &mut Vec<Look>,
    ) -> Option<(&'static str, &'static str)> {
        let is_v6 = packet.source.is_ipv6();
        let mut check = |end, field, condition: Option<bool>| -> Option<(_, _)> {
            match condition {
                None => None,
                Some(true) => {
                    let held_too = Look {
                        end,
                        field,
                        held: true,
                    };
                    held.push(held_too);
                    None
                }
                Some(false) => Some((end, field)),
            }
        };
        let version = rule.ip_version.map(|version| (version == 6) == is_v6);
        if let Some(missed) = check("rule", "ipVersion", version) {
            return Some(missed);
        }
        // A protocol by name implies the family (1).
        let family = match &rule.protocol {
            Some(Protocol::Name(name)) if name == "ICMP" => Some(!is_v6),
            Some(Protocol::Name(name)) if name == "ICMPv6" => Some(is_v6),
            _ => None,
        };
        let protocol = rule
            .protocol
            .as_ref()
            .map(|p| p.number() == Some(packet.protocol) && family != Some(false));
        let not_protocol = rule
            .not_protocol
            .as_ref()
            .map(|p| p.number() != Some(packet.protocol));
        let is_icmp = |icmp: &Icmp| {
            let (kind, code) = packet.icmp.unzip();
            kind == Some(icmp.kind) && (icmp.code.is_none() || code == icmp.code)
        };
        for (field, condition) in [
            ("protocol", protocol),
            ("notProtocol", not_protocol),
            ("icmp", rule.icmp.as_ref().map(is_icmp)),
            // Not (type and code) (8).
            ("notICMP", rule.not_icmp.as_ref().map(|icmp| !is_icmp(icmp))),
        ] {
            if let Some(missed) = check("rule", field, condition) {
                return Some(missed);
            }
        }
        let ends = [
            (
                &rule.source,
                "source",
                packet.source,
                packet.ports.map(|p| p.0),
            ),
            (
                &rule.destination,
                "destination",
                packet.destination,
                packet.ports.map(|p| p.1),
            ),
        ];
        for (entity, name, address, port) in ends {
            let end = End {
                name,
                address,
                protocol: packet.protocol,
                port,
            };
            for (field, condition) in self.conditions(entity, namespace, &end) {
                if let Some(missed) = check(end.name, field, condition) {
                    return Some(missed);
                }
            }
        }
        None
    }

    /// The conditions of one end, by field; absent ones say nothing.
    fn conditions(
        &self,
        entity: &Entity,
        namespace: &str,
        end: &End,
    ) -> Vec<(&'static str, Option<bool>)> {
        let positive = positive(entity, namespace);
        let not = said(entity.not_selector.as_ref());
        // Both fold into one set, object by object (5).
        let (positive, not) = match (positive, not) {
            (Some(yes), Some(no)) => {
                let fold = Expression::And(vec![yes, Expression::Not(Box::new(no))]);
                (Some(fold), None)
            }
            other => other,
        };
        let only_named = !entity.ports.is_empty() && entity.ports.iter().all(is_name);
        let address = |selector: &Expression| self.means(selector, end.address);
        vec![
            ("nets", in_nets(&entity.nets, end.address)),
            ("notNets", outside_nets(&entity.not_nets, end.address)),
            (
                selector_field(entity, namespace),
                // Named ports alone imply the address (6).
                positive.as_ref().filter(|_| !only_named).map(&address),
            ),
            ("notSelector", not.as_ref().map(|no| !address(no))),
            (
                ports_field(&entity.ports),
                given(&entity.ports).map(|ports| {
                    ports
                        .iter()
                        .any(|p| self.is_port(p, positive.as_ref(), end))
                }),
            ),
            (
                "notPorts",
                given(&entity.not_ports).map(|ports| {
                    !ports
                        .iter()
                        .any(|p| self.is_port(p, positive.as_ref(), end))
                }),
            ),
        ]
    }

    /// Whether an address belongs to something that a selector picks (§2.7).
    fn means(&self, selector: &Expression, address: IpAddr) -> bool {
        let holds = |object: &&Object| object.nets.iter().any(|net| net.contains(&address));
        let mut holders = self.known.objects.iter().filter(holds);
        holders.any(|object| selector.is_true_of(&object.labels))
    }

    fn is_port(&self, port: &Port, positive: Option<&Expression>, end: &End) -> bool {
        let Some(number) = end.port else {
            return false;
        };
        match port {
            Port::Number(one) => number == *one,
            Port::Text(text) => match range(text) {
                Some((low, high)) => (low..=high).contains(&number),
                None => self.known.objects.iter().any(|object| {
                    positive.is_none_or(|selector| selector.is_true_of(&object.labels))
                        && object.nets.iter().any(|net| net.contains(&end.address))
                        && object.ports.contains(&(text.clone(), end.protocol, number))
                }),
            },
        }
    }
}

/// §2.6, second part: whom an end is confined to, before `notSelector`.
fn positive(entity: &Entity, namespace: &str) -> Option<Expression> {
    let mut own = Vec::new();
    own.extend(said(entity.selector.as_ref()));
    if let Some(accounts) = &entity.service_accounts {
        if !accounts.names.is_empty() {
            let key = SERVICE_ACCOUNT.to_owned();
            own.push(Expression::In(key, accounts.names.clone()));
        }
        own.extend(said(accounts.selector.as_ref()).map(|selector| of_accounts(&selector)));
    }
    match said(entity.namespace_selector.as_ref()) {
        Some(Expression::Global) => {
            let has = Expression::Has(NAMESPACE.to_owned());
            own.push(Expression::Not(Box::new(has)));
        }
        Some(selector) => own.push(in_namespaces(&selector)),
        None if namespace.is_empty() => {}
        None => {
            if !own.is_empty() || said(entity.not_selector.as_ref()).is_some() {
                let key = NAMESPACE.to_owned();
                own.push(Expression::Is(key, namespace.to_owned()));
            }
        }
    }
    (!own.is_empty()).then_some(Expression::And(own))
}

/// The field to blame for a positive selector.
fn selector_field(entity: &Entity, namespace: &str) -> &'static str {
    if entity.service_accounts.is_some() {
        "serviceAccounts"
    } else if said(entity.namespace_selector.as_ref()).is_some() {
        "namespaceSelector"
    } else if namespace.is_empty() {
        "selector"
    } else {
        "selector in a namespace"
    }
}

fn ports_field(ports: &[Port]) -> &'static str {
    let named = ports.iter().filter(|port| is_name(port)).count();
    match named {
        0 => "ports",
        n if n == ports.len() => "ports by name",
        _ => "ports, some by name",
    }
}

fn given(ports: &[Port]) -> Option<&[Port]> {
    (!ports.is_empty()).then_some(ports)
}

fn is_name(port: &Port) -> bool {
    matches!(port, Port::Text(text) if range(text).is_none())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once(':').unwrap_or((text, text));
    Some((low.parse().ok()?, high.parse().ok()?))
}

/// A list that has nothing of the family omits the rule for it, negated or not (1).
fn in_nets(nets: &[IpNet], address: IpAddr) -> Option<bool> {
    (!nets.is_empty()).then(|| nets.iter().any(|net| net.contains(&address)))
}

fn outside_nets(nets: &[IpNet], address: IpAddr) -> Option<bool> {
    let of_family = |net: &&IpNet| net.addr().is_ipv4() == address.is_ipv4();
    (!nets.is_empty()).then(|| {
        nets.iter().any(|net| of_family(&net)) && !nets.iter().any(|net| net.contains(&address))
    })
}
