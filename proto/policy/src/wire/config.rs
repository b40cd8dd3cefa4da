//! The config item.

use super::{
    Field,
    address::{decode_prefix, decode_protocol, encode_prefix},
    fault, list, number, optional, present, text,
};
use crate::{
    config::{DenyAction, EndpointToHostAction, Exemptions, Failsafe, LogLimit, NodeConfig},
    fault::FieldReason,
    resolve::is_exclude_pattern,
};
use palisade_proto::v1;

/// What nodes are told that kept bits of the packet mark for themselves.
const MARK_MASK: u32 = 0xffff_0000;

pub(super) fn encode(config: &NodeConfig) -> v1::NodeConfig {
    let deny = match config.deny_action {
        DenyAction::Drop => v1::DenyAction::Drop,
        DenyAction::Reject => v1::DenyAction::Reject,
    };
    let to_host = match config.endpoint_to_host_action {
        EndpointToHostAction::Drop => v1::EndpointToHostAction::Drop,
        EndpointToHostAction::Return => v1::EndpointToHostAction::Return,
        EndpointToHostAction::Accept => v1::EndpointToHostAction::Accept,
    };
    let log = config.log_limit;
    v1::NodeConfig {
        failsafe_inbound: config
            .failsafe_inbound
            .iter()
            .map(encode_failsafe)
            .collect(),
        failsafe_outbound: config
            .failsafe_outbound
            .iter()
            .map(encode_failsafe)
            .collect(),
        exemptions: Some(v1::Exemptions {
            loopback: config.exemptions.loopback,
            neighbour_discovery: config.exemptions.neighbour_discovery,
            dhcp6: config.exemptions.dhcp6,
            control_plane: config.exemptions.control_plane,
        }),
        deny_action: deny.into(),
        endpoint_to_host_action: to_host.into(),
        interface_prefixes: config.interface_prefixes.clone(),
        interface_exclude: config.interface_exclude.clone(),
        accept_invalid: config.accept_invalid,
        ipv6: config.ipv6,
        mark_mask: MARK_MASK,
        log_rate: log.map_or(0, |limit| limit.rate),
        log_rate_seconds: log.map_or(0, |limit| limit.seconds),
        log_burst: log.map_or(0, |limit| limit.burst),
        allow_vxlan_from_workloads: config.allow_vxlan_from_workloads,
        allow_ipip_from_workloads: config.allow_ipip_from_workloads,
        vxlan_port: config.vxlan_port.into(),
        allow_source_prefixes: config.allow_source_prefixes,
    }
}

pub(super) fn decode(message: v1::NodeConfig) -> Field<NodeConfig> {
    let deny_action = match v1::DenyAction::try_from(message.deny_action) {
        Ok(v1::DenyAction::Drop) => DenyAction::Drop,
        Ok(v1::DenyAction::Reject) => DenyAction::Reject,
        Ok(v1::DenyAction::Unspecified) | Err(_) => {
            return fault("deny_action", FieldReason::Unknown(message.deny_action));
        }
    };
    let action = message.endpoint_to_host_action;
    let endpoint_to_host_action = match v1::EndpointToHostAction::try_from(action) {
        Ok(v1::EndpointToHostAction::Drop) => EndpointToHostAction::Drop,
        Ok(v1::EndpointToHostAction::Return) => EndpointToHostAction::Return,
        Ok(v1::EndpointToHostAction::Accept) => EndpointToHostAction::Accept,
        Ok(v1::EndpointToHostAction::Unspecified) | Err(_) => {
            return fault("endpoint_to_host_action", FieldReason::Unknown(action));
        }
    };
    let log_limit = decode_limit(&message)?;
    Ok(NodeConfig {
        failsafe_inbound: failsafes("failsafe_inbound", message.failsafe_inbound)?,
        failsafe_outbound: failsafes("failsafe_outbound", message.failsafe_outbound)?,
        exemptions: present("exemptions", message.exemptions, |e| {
            Ok(Exemptions {
                loopback: e.loopback,
                neighbour_discovery: e.neighbour_discovery,
                dhcp6: e.dhcp6,
                control_plane: e.control_plane,
            })
        })?,
        deny_action,
        endpoint_to_host_action,
        interface_prefixes: list("interface_prefixes", message.interface_prefixes, |prefix| {
            text("", prefix, |prefix| (1..=15).contains(&prefix.len()))
        })?,
        interface_exclude: list("interface_exclude", message.interface_exclude, |pattern| {
            text("", pattern, is_exclude_pattern)
        })?,
        accept_invalid: message.accept_invalid,
        ipv6: message.ipv6,
        log_limit,
        allow_vxlan_from_workloads: message.allow_vxlan_from_workloads,
        allow_ipip_from_workloads: message.allow_ipip_from_workloads,
        vxlan_port: number("vxlan_port", message.vxlan_port, 1, 65535)?,
        allow_source_prefixes: message.allow_source_prefixes,
    })
}

fn decode_limit(message: &v1::NodeConfig) -> Field<Option<LogLimit>> {
    if message.log_rate == 0 {
        if message.log_rate_seconds != 0 || message.log_burst != 0 {
            return fault("log_rate", FieldReason::Missing);
        }
        return Ok(None);
    }
    let seconds = message.log_rate_seconds;
    if ![1, 60, 3600, 86400].contains(&seconds) {
        return number("log_rate_seconds", seconds, 1, 1).map(|_: u32| None);
    }
    Ok(Some(LogLimit {
        rate: number("log_rate", message.log_rate, 1, 9999)?,
        seconds,
        burst: number("log_burst", message.log_burst, 0, 9999)?,
    }))
}

fn encode_failsafe(failsafe: &Failsafe) -> v1::Failsafe {
    v1::Failsafe {
        protocol: failsafe.protocol.0.into(),
        port: failsafe.port.into(),
        net: failsafe.net.as_ref().map(encode_prefix),
    }
}

fn failsafes(field: &str, messages: Vec<v1::Failsafe>) -> Field<Vec<Failsafe>> {
    let mut failsafes = list(field, messages, |message| {
        let protocol = decode_protocol("protocol", message.protocol)?;
        if !protocol.has_ports() {
            return fault("protocol", FieldReason::Protocol(protocol.0));
        }
        Ok(Failsafe {
            protocol,
            port: number("port", message.port, 0, 65535)?,
            net: optional("net", message.net, decode_prefix)?,
        })
    })?;
    failsafes.sort_unstable();
    Ok(failsafes)
}
