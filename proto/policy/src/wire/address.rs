//! Addresses, prefixes, protocols.

use super::{Field, fault, number};
use crate::{fault::FieldReason, rule::Protocol};
use ipnet::IpNet;
use palisade_proto::v1;
use std::net::IpAddr;

pub(super) fn encode_address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

pub(super) fn decode_address(field: &str, bytes: &[u8]) -> Field<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        Ok(IpAddr::from(octets))
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        Ok(IpAddr::from(octets))
    } else {
        fault(field, FieldReason::AddressLength(bytes.len()))
    }
}

pub(super) fn encode_prefix(net: &IpNet) -> v1::Prefix {
    v1::Prefix {
        address: encode_address(net.network()),
        length: net.prefix_len().into(),
    }
}

pub(super) fn decode_prefix(message: v1::Prefix) -> Field<IpNet> {
    prefix(&message.address, message.length)
}

pub(super) fn prefix(address: &[u8], length: u32) -> Field<IpNet> {
    let address = decode_address("address", address)?;
    let net = u8::try_from(length)
        .ok()
        .and_then(|length| IpNet::new(address, length).ok());
    match net {
        None => fault("length", FieldReason::PrefixLength(length)),
        Some(net) if net.network() != address => fault("address", FieldReason::HostBits),
        Some(net) => Ok(net),
    }
}

pub(super) fn decode_protocol(field: &str, value: u32) -> Field<Protocol> {
    number(field, value, 1, 255).map(Protocol)
}
