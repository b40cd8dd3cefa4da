//! Members of sets.

use super::{
    Field,
    address::{decode_address, decode_protocol, encode_address, prefix},
    fault, number,
};
use crate::{
    fault::{FieldFault, FieldReason},
    set::{Member, PortMember},
};
use palisade_proto::v1;
use prost::Message;

/// A member as a message.
pub fn member_message(member: &Member) -> v1::SetMember {
    match member {
        Member::Net(net) => v1::SetMember {
            address: encode_address(net.network()),
            length: net.prefix_len().into(),
            protocol: 0,
            port: 0,
        },
        Member::Port(member) => v1::SetMember {
            address: encode_address(member.address),
            length: if member.address.is_ipv4() { 32 } else { 128 },
            protocol: member.protocol.0.into(),
            port: member.port.into(),
        },
    }
}

/// The bytes that a member's hash is made of.
pub fn encode_member(member: &Member) -> Vec<u8> {
    member_message(member).encode_to_vec()
}

/// Reads a member; it is of a `p:` set if it has a protocol.
///
/// # Errors
/// Addresses of odd length, host bits, port without protocol and such.
pub fn decode_member(message: v1::SetMember) -> Result<Member, FieldFault> {
    if message.protocol == 0 {
        return net_member(&message).map(Member::Net);
    }
    let address = decode_address("address", &message.address)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    if message.length != bits {
        return fault("length", FieldReason::PrefixLength(message.length));
    }
    Ok(Member::Port(PortMember {
        address,
        protocol: decode_protocol("protocol", message.protocol)?,
        port: number("port", message.port, 0, 65535)?,
    }))
}

fn net_member(message: &v1::SetMember) -> Field<ipnet::IpNet> {
    if message.port != 0 {
        return fault("port", FieldReason::Unexpected);
    }
    prefix(&message.address, message.length)
}
