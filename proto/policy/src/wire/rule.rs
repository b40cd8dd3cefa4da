//! Policies, rules and matches.

use super::{
    Field,
    address::{decode_prefix, decode_protocol, encode_prefix},
    fault, list, number, optional, plugin, present, text,
};
use crate::{
    fault::FieldReason,
    ids::{RuleId, SetId},
    rule::{
        Action, EntityMatch, Family, IcmpMatch, Match, Policy, PortMatch, PortRange, Protocol, Rule,
    },
};
use palisade_proto::v1;

pub(super) fn encode_policy(policy: &Policy) -> v1::Policy {
    v1::Policy {
        ingress: policy.ingress.iter().map(encode_rule).collect(),
        egress: policy.egress.iter().map(encode_rule).collect(),
        staged: policy.staged,
    }
}

pub(super) fn decode_policy(message: v1::Policy) -> Field<Policy> {
    Ok(Policy {
        ingress: list("ingress", message.ingress, decode_rule)?,
        egress: list("egress", message.egress, decode_rule)?,
        staged: message.staged,
    })
}

pub(super) fn encode_rule(rule: &Rule) -> v1::Rule {
    let (action, log_prefix) = match &rule.action {
        Action::Allow => (v1::Action::Allow, String::new()),
        Action::Deny => (v1::Action::Deny, String::new()),
        Action::Pass => (v1::Action::Pass, String::new()),
        Action::Log { prefix } => (v1::Action::Log, prefix.clone()),
    };
    v1::Rule {
        id: rule.id.0,
        action: action.into(),
        r#match: Some(encode_match(&rule.matches)),
        log_prefix,
    }
}

fn decode_rule(message: v1::Rule) -> Field<Rule> {
    if message.id == 0 {
        return fault("id", FieldReason::Missing);
    }
    let action = match v1::Action::try_from(message.action) {
        Ok(v1::Action::Allow) => Action::Allow,
        Ok(v1::Action::Deny) => Action::Deny,
        Ok(v1::Action::Pass) => Action::Pass,
        Ok(v1::Action::Log) => Action::Log {
            prefix: text("log_prefix", message.log_prefix.clone(), is_log_prefix)?,
        },
        Ok(v1::Action::Unspecified) | Err(_) => {
            return fault("action", FieldReason::Unknown(message.action));
        }
    };
    if !matches!(action, Action::Log { .. }) && !message.log_prefix.is_empty() {
        return fault("log_prefix", FieldReason::Unexpected);
    }
    Ok(Rule {
        id: RuleId(message.id),
        action,
        matches: present("match", message.r#match, decode_match)?,
    })
}

fn is_log_prefix(prefix: &str) -> bool {
    (1..=100).contains(&prefix.len()) && prefix.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn encode_match(matches: &Match) -> v1::Match {
    let family = match matches.family {
        None => v1::Family::Unspecified,
        Some(Family::V4) => v1::Family::V4,
        Some(Family::V6) => v1::Family::V6,
    };
    let entity = |entity: &EntityMatch| (!entity.is_any()).then(|| encode_entity(entity));
    v1::Match {
        family: family.into(),
        protocol: matches.protocol.map(|p| p.0.into()),
        not_protocol: matches.not_protocol.map(|p| p.0.into()),
        icmp: matches.icmp.map(encode_icmp),
        not_icmp: matches.not_icmp.map(encode_icmp),
        source: entity(&matches.source),
        destination: entity(&matches.destination),
        plugin: matches.plugin.as_ref().map(plugin::encode_condition),
    }
}

fn decode_match(message: v1::Match) -> Field<Match> {
    let family = match v1::Family::try_from(message.family) {
        Ok(v1::Family::Unspecified) => None,
        Ok(v1::Family::V4) => Some(Family::V4),
        Ok(v1::Family::V6) => Some(Family::V6),
        Err(_) => return fault("family", FieldReason::Unknown(message.family)),
    };
    let entity = |field, entity| {
        optional(field, entity, decode_entity)
            .map(|entity| entity.unwrap_or_else(EntityMatch::default))
    };
    let matches = Match {
        family,
        protocol: message
            .protocol
            .map(|p| decode_protocol("protocol", p))
            .transpose()?,
        not_protocol: message
            .not_protocol
            .map(|p| decode_protocol("not_protocol", p))
            .transpose()?,
        icmp: optional("icmp", message.icmp, decode_icmp)?,
        not_icmp: optional("not_icmp", message.not_icmp, decode_icmp)?,
        source: entity("source", message.source)?,
        destination: entity("destination", message.destination)?,
        plugin: optional("plugin", message.plugin, plugin::decode_condition)?,
    };
    check_icmp(&matches)?;
    check_ports(&matches)?;
    Ok(matches)
}

fn check_icmp(matches: &Match) -> Field<()> {
    let icmp = |p: Protocol| matches!(p, Protocol::ICMP | Protocol::ICMPV6);
    if matches.icmp.is_some() && !matches.protocol.is_some_and(icmp) {
        return fault("icmp", FieldReason::Unexpected);
    }
    match (matches.protocol, matches.family) {
        (Some(Protocol::ICMP), Some(Family::V6)) | (Some(Protocol::ICMPV6), Some(Family::V4)) => {
            fault("family", FieldReason::Family)
        }
        _ => Ok(()),
    }
}

/// Ports mean nothing outside TCP, UDP and SCTP.
fn check_ports(matches: &Match) -> Field<()> {
    let has_ports = |e: &EntityMatch| !e.ports.is_empty() || !e.not_ports.is_empty();
    match matches.protocol {
        Some(protocol)
            if !protocol.has_ports()
                && (has_ports(&matches.source) || has_ports(&matches.destination)) =>
        {
            fault("protocol", FieldReason::Protocol(protocol.0))
        }
        _ => Ok(()),
    }
}

fn encode_icmp(icmp: IcmpMatch) -> v1::IcmpMatch {
    v1::IcmpMatch {
        r#type: icmp.icmp_type.into(),
        code: icmp.code.map(u32::from),
    }
}

fn decode_icmp(message: v1::IcmpMatch) -> Field<IcmpMatch> {
    Ok(IcmpMatch {
        icmp_type: number("type", message.r#type, 0, 254)?,
        code: message
            .code
            .map(|code| number("code", code, 0, 255))
            .transpose()?,
    })
}

fn encode_entity(entity: &EntityMatch) -> v1::EntityMatch {
    let ids = |ids: &[SetId]| ids.iter().map(|id| id.as_str().to_owned()).collect();
    let ports = |ports: &PortMatch| {
        (!ports.is_empty()).then(|| v1::PortMatch {
            ranges: ports
                .ranges
                .iter()
                .map(|range| v1::PortRange {
                    first: range.first().into(),
                    last: range.last().into(),
                })
                .collect(),
            sets: ids(&ports.sets),
        })
    };
    v1::EntityMatch {
        nets: entity.nets.iter().map(encode_prefix).collect(),
        not_nets: entity.not_nets.iter().map(encode_prefix).collect(),
        sets: ids(&entity.sets),
        not_sets: ids(&entity.not_sets),
        ports: ports(&entity.ports),
        not_ports: ports(&entity.not_ports),
    }
}

fn decode_entity(message: v1::EntityMatch) -> Field<EntityMatch> {
    let ports = |field, ports| {
        optional(field, ports, decode_ports).map(|ports| ports.unwrap_or_else(PortMatch::default))
    };
    Ok(EntityMatch {
        nets: list("nets", message.nets, decode_prefix)?,
        not_nets: list("not_nets", message.not_nets, decode_prefix)?,
        sets: set_ids("sets", message.sets, "s:")?,
        not_sets: set_ids("not_sets", message.not_sets, "s:")?,
        ports: ports("ports", message.ports)?,
        not_ports: ports("not_ports", message.not_ports)?,
    })
}

fn decode_ports(message: v1::PortMatch) -> Field<PortMatch> {
    let mut ports = PortMatch {
        ranges: list("ranges", message.ranges, decode_range)?,
        sets: set_ids("sets", message.sets, "p:")?,
    };
    ports.ranges.sort_unstable();
    ports.sets.sort_unstable();
    Ok(ports)
}

fn decode_range(message: v1::PortRange) -> Field<PortRange> {
    let first = number("first", message.first, 0, 65535)?;
    let last = number("last", message.last, 0, 65535)?;
    PortRange::new(first, last).map_or_else(
        || {
            fault(
                "",
                FieldReason::ReversedRange {
                    first: message.first,
                    last: message.last,
                },
            )
        },
        Ok,
    )
}

fn set_ids(field: &str, ids: Vec<String>, prefix: &str) -> Field<Vec<SetId>> {
    list(field, ids, |id| {
        text("", id, |id| id.starts_with(prefix)).map(SetId::new)
    })
}
