//! From the fields of a request to a packet.

use super::Invalid;
use crate::{
    ids::IfName,
    packet::{CtState, Packet, Way},
    rule::Protocol,
};
use palisade_proto::v1::ExplainRequest;
use std::{collections::BTreeMap, net::IpAddr};

/// The new packet that a request is about.
pub(super) fn packet(request: &ExplainRequest) -> Result<Packet, Invalid> {
    let way = way(request)?;
    let source = address(&request.source).ok_or(Invalid::Address("source"))?;
    let destination = address(&request.destination).ok_or(Invalid::Address("destination"))?;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(Invalid::Families);
    }
    let protocol = u8::try_from(request.protocol)
        .ok()
        .filter(|protocol| *protocol != 0);
    let protocol = Protocol(protocol.ok_or(Invalid::Protocol)?);
    let has_ports = protocol.has_ports() || protocol == Protocol::UDPLITE;
    let port = |port: u32, field| match (has_ports, u16::try_from(port)) {
        (true, Ok(port)) => Ok(Some(port)),
        (false, Ok(0)) => Ok(None),
        (false, Ok(_)) => Err(Invalid::NoPorts(field)),
        (_, Err(_)) => Err(Invalid::Port(field)),
    };
    Ok(Packet {
        answers: BTreeMap::new(),
        way,
        source,
        destination,
        protocol,
        source_port: port(request.source_port, "source_port")?,
        destination_port: port(request.destination_port, "destination_port")?,
        icmp: icmp(request, protocol)?,
        ct: CtState::New,
        original_destination: None,
    })
}

fn way(request: &ExplainRequest) -> Result<Way, Invalid> {
    let interface = |name: &str| (!name.is_empty()).then(|| IfName::new(name));
    match (
        interface(&request.in_interface),
        interface(&request.out_interface),
    ) {
        (Some(from), Some(to)) => Ok(Way::Forward { from, to }),
        (Some(interface), None) => Ok(Way::In { interface }),
        (None, Some(interface)) => Ok(Way::Out { interface }),
        (None, None) => Err(Invalid::NoWay),
    }
}

/// Type and code.
fn icmp(request: &ExplainRequest, protocol: Protocol) -> Result<Option<(u8, u8)>, Invalid> {
    let is_icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
    match (is_icmp, request.icmp_type, request.icmp_code) {
        (true, Some(kind), code) => {
            let byte = |n: u32| u8::try_from(n).map_err(|_| Invalid::Icmp);
            Ok(Some((byte(kind)?, byte(code.unwrap_or(0))?)))
        }
        (true, None, _) => Err(Invalid::NoIcmpType),
        (false, None, None) => Ok(None),
        (false, ..) => Err(Invalid::NotIcmp),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> ExplainRequest {
        ExplainRequest {
            in_interface: "eth0".into(),
            protocol: 6,
            source: vec![10, 0, 0, 1],
            source_port: 40_000,
            destination: vec![10, 0, 0, 2],
            destination_port: 80,
            ..ExplainRequest::default()
        }
    }

    #[test]
    fn a_packet_comes_in_goes_out_or_is_forwarded() {
        let of = |from: &str, to: &str| {
            let request = ExplainRequest {
                in_interface: from.into(),
                out_interface: to.into(),
                ..tcp()
            };
            packet(&request).map(|packet| packet.way)
        };
        let name = IfName::new;
        assert_eq!(
            of("a", ""),
            Ok(Way::In {
                interface: name("a")
            })
        );
        assert_eq!(
            of("", "b"),
            Ok(Way::Out {
                interface: name("b")
            })
        );
        let forwarded = Way::Forward {
            from: name("a"),
            to: name("b"),
        };
        assert_eq!(of("a", "b"), Ok(forwarded));
        assert_eq!(of("", ""), Err(Invalid::NoWay));
    }

    #[test]
    fn every_field_that_makes_no_sense_is_named() {
        let icmp = || ExplainRequest {
            protocol: 1,
            source_port: 0,
            destination_port: 0,
            icmp_type: Some(8),
            ..tcp()
        };
        let v6 = vec![0; 16];
        for (request, wanted) in [
            (
                ExplainRequest {
                    source: vec![1],
                    ..tcp()
                },
                Invalid::Address("source"),
            ),
            (
                ExplainRequest {
                    destination: vec![],
                    ..tcp()
                },
                Invalid::Address("destination"),
            ),
            (
                ExplainRequest {
                    destination: v6,
                    ..tcp()
                },
                Invalid::Families,
            ),
            (
                ExplainRequest {
                    protocol: 0,
                    ..tcp()
                },
                Invalid::Protocol,
            ),
            (
                ExplainRequest {
                    protocol: 256,
                    ..tcp()
                },
                Invalid::Protocol,
            ),
            (
                ExplainRequest {
                    source_port: 65_536,
                    ..tcp()
                },
                Invalid::Port("source_port"),
            ),
            (
                ExplainRequest {
                    destination_port: 80,
                    ..icmp()
                },
                Invalid::NoPorts("destination_port"),
            ),
            (
                ExplainRequest {
                    icmp_type: None,
                    ..icmp()
                },
                Invalid::NoIcmpType,
            ),
            (
                ExplainRequest {
                    icmp_code: Some(256),
                    ..icmp()
                },
                Invalid::Icmp,
            ),
            (
                ExplainRequest {
                    icmp_code: Some(0),
                    ..tcp()
                },
                Invalid::NotIcmp,
            ),
        ] {
            assert_eq!(packet(&request), Err(wanted));
        }
        assert_eq!(packet(&icmp()).map(|packet| packet.icmp), Ok(Some((8, 0))));
    }
}
