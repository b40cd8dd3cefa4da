//! Keys of sets, and other small values, as text.

use crate::ir::Value;
use ipnet::IpNet;
use palisade_policy::rule::Protocol;
use std::fmt::{self, Write as _};

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Interface(name) => quoted(name.as_str()),
        Value::Address(address) => address.to_string(),
        Value::Family(family) => super::nfproto(*family).to_owned(),
        Value::Protocol(protocol) => name(*protocol),
        Value::Port(port) => port.to_string(),
        Value::ProtocolPort(protocol, port) => format!("{} . {port}", name(*protocol)),
        Value::AddressProtocolPort(address, protocol, port) => {
            format!("{address} . {} . {port}", name(*protocol))
        }
        Value::InterfaceAddress(interface, address) => {
            format!("{} . {address}", quoted(interface.as_str()))
        }
        Value::Flow(source, destination, protocol, port) => {
            format!("{source} . {destination} . {} . {port}", name(*protocol))
        }
        Value::Socket(source, destination, protocol, from, to) => {
            let protocol = name(*protocol);
            format!("{source} . {destination} . {protocol} . {from} . {to}")
        }
        Value::Mark(mark) => format!("{mark:#010x}"),
        Value::Position(bytes) => super::position(bytes),
    }
}

/// Between quotes; what nft cannot have there is escaped, so that different texts stay different.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '*') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

pub(super) fn write_protocol(out: &mut String, protocol: Protocol) -> fmt::Result {
    out.write_str(&name(protocol))
}

pub(super) fn write_net(out: &mut String, net: &IpNet) -> fmt::Result {
    if net.prefix_len() == net.max_prefix_len() {
        write!(out, "{}", net.addr())
    } else {
        write!(out, "{net}")
    }
}

fn name(protocol: Protocol) -> String {
    match protocol {
        Protocol::ICMP => "icmp".to_owned(),
        Protocol::TCP => "tcp".to_owned(),
        Protocol::UDP => "udp".to_owned(),
        Protocol::ICMPV6 => "ipv6-icmp".to_owned(),
        Protocol::SCTP => "sctp".to_owned(),
        Protocol::UDPLITE => "udplite".to_owned(),
        Protocol(number) => number.to_string(),
    }
}
