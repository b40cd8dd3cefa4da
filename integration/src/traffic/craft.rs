//! Packets byte by byte: for source addresses the sender does not own, and for what the kernel sends on its own only.

use std::net::IpAddr;

/// A whole IP packet with this payload.
pub(super) fn packet(from: IpAddr, to: IpAddr, number: u8, payload: &[u8]) -> Vec<u8> {
    let length = |extra: usize| {
        u16::try_from(payload.len() + extra)
            .expect("probes are small")
            .to_be_bytes()
    };
    let mut packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = length(20);
            let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, number, 0, 0];
            header.extend(from.octets());
            header.extend(to.octets());
            let [high, low] = checksum(&[&header]).to_be_bytes();
            (header[10], header[11]) = (high, low);
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length(0);
            let mut header = vec![0x60, 0, 0, 0, high, low, number, 64];
            header.extend(from.octets());
            header.extend(to.octets());
            header
        }
        _ => panic!("{from} and {to} are of different families"),
    };
    packet.extend_from_slice(payload);
    packet
}

/// A TCP segment that asks for a connection.
pub(super) fn syn(from: IpAddr, to: IpAddr, sport: u16, port: u16) -> Vec<u8> {
    let mut segment = [sport.to_be_bytes(), port.to_be_bytes()].concat();
    segment.extend(0x1000_0001_u32.to_be_bytes());
    segment.extend([0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    seal(from, to, 6, segment, 16)
}

/// A UDP datagram.
pub(super) fn datagram(from: IpAddr, to: IpAddr, sport: u16, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).expect("probes are small");
    let mut datagram = [
        sport.to_be_bytes(),
        port.to_be_bytes(),
        length.to_be_bytes(),
        [0, 0],
    ]
    .concat();
    datagram.extend_from_slice(payload);
    seal(from, to, 17, datagram, 6)
}

/// An ICMP request: echo, or timestamp for type 13. Over IPv6 the checksum needs the addresses.
pub(super) fn icmp(kind: u8, id: u16, payload: &[u8], ends: Option<(IpAddr, IpAddr)>) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    if kind == 13 {
        message.extend([0; 12]);
    } else {
        message.extend_from_slice(payload);
    }
    match ends {
        Some((from, to)) if from.is_ipv6() => seal(from, to, 58, message, 2),
        _ => {
            let [high, low] = checksum(&[&message]).to_be_bytes();
            (message[2], message[3]) = (high, low);
            message
        }
    }
}

/// What follows the header of an IPv4 packet.
pub(super) fn ipv4_payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    if first >> 4 != 4 {
        return None;
    }
    packet.get(usize::from(first & 0xf) * 4..)
}

/// Source, destination, protocol number and payload of an IP packet without extension headers.
pub(super) fn parse(packet: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    if packet.first()? >> 4 == 4 {
        let end = |at: usize| {
            Some(IpAddr::from(
                <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?,
            ))
        };
        Some((end(12)?, end(16)?, *packet.get(9)?, ipv4_payload(packet)?))
    } else {
        let end = |at: usize| {
            Some(IpAddr::from(
                <[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?,
            ))
        };
        Some((end(8)?, end(24)?, *packet.get(6)?, packet.get(40..)?))
    }
}

/// Source and destination port at the head of a TCP, UDP or SCTP payload.
pub(super) fn ports(payload: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *payload.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// Puts the checksum over pseudo-header and segment at `place`.
fn seal(from: IpAddr, to: IpAddr, number: u8, mut segment: Vec<u8>, place: usize) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u16::try_from(segment.len())
        .expect("probes are small")
        .to_be_bytes();
    let sum = checksum(&[&octets(from), &octets(to), &[0, number], &length, &segment]);
    segment[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// RFC 1071. Every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| {
            u32::from(u16::from_be_bytes([
                word[0],
                word.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crafted_packet_parses_back() {
        let (from, to) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let packet = packet(from, to, 17, &datagram(from, to, 1000, 53, b"hello"));
        let (source, destination, number, payload) = parse(&packet).expect("an IPv4 packet");
        assert_eq!((source, destination, number), (from, to, 17));
        assert_eq!(ports(payload), Some((1000, 53)));
        assert_eq!(checksum(&[packet.get(..20).expect("a header")]), 0);
    }

    #[test]
    fn bytes_that_are_no_packet_parse_to_nothing() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[0x45, 0, 0]), None);
        assert_eq!(ipv4_payload(&[0x4f]), None);
    }
}
