//! What the bytes of a packet say, from the network header on: facts for matchers and auditors. Pure.
//!
//! Both families, extension headers (RFC 8200 §4), fragments. Reads what is at hand: a queue hands over only the
//! beginning of a packet. Bytes that are no packet are an error and never a guess.

use std::net::IpAddr;

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IANA number of the transport protocol, after extension headers.
    pub protocol: u8,
    /// 0 where the protocol has none, and in fragments after the first.
    pub source_port: u16,
    /// 0 where the protocol has none, and in fragments after the first.
    pub destination_port: u16,
    /// Type and code of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// Whether this is a fragment after the first: it has neither ports nor payload here.
    pub later_fragment: bool,
    /// What follows the transport header, as far as it is at hand.
    pub payload: &'a [u8],
    /// Length of the payload of the whole packet, in bytes.
    pub payload_length: u32,
}

/// Bytes that are no packet of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end within a header.
    #[error("ends within a header")]
    Short,
    /// Neither 4 nor 6.
    #[error("is of IP version {0}")]
    Version(u8),
    /// A length in a header is less than the header itself, or than what follows it.
    #[error("has a header whose length is wrong")]
    Length,
    /// More extension headers than any real packet has.
    #[error("has more than {MOST_EXTENSIONS} extension headers")]
    Extensions,
}

const MOST_EXTENSIONS: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Reads the headers of a packet.
///
/// # Errors
///
/// Where the bytes are no packet of either family, or end within its headers.
pub fn parse(bytes: &[u8]) -> Result<Headers<'_>, Malformed> {
    let (&first, _) = bytes.split_first().ok_or(Malformed::Short)?;
    let network = match first >> 4 {
        4 => ipv4(bytes)?,
        6 => ipv6(bytes)?,
        version => return Err(Malformed::Version(version)),
    };
    transport(network)
}

/// What the network header says.
struct Network<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    later_fragment: bool,
    /// What follows the network headers, as far as it is at hand.
    rest: &'a [u8],
    /// How much follows in the whole packet.
    length: usize,
}

fn ipv4(bytes: &[u8]) -> Result<Network<'_>, Malformed> {
    let header: &[u8; 20] = bytes.first_chunk().ok_or(Malformed::Short)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_length < 20 || total < header_length {
        return Err(Malformed::Length);
    }
    let rest = bytes.get(header_length..).ok_or(Malformed::Short)?;
    let length = total - header_length;
    let [.., a, b, c, d, e, f, g, h] = *header;
    Ok(Network {
        source: IpAddr::from([a, b, c, d]),
        destination: IpAddr::from([e, f, g, h]),
        protocol: header[9],
        later_fragment: u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0,
        // Below the link's smallest frame, what follows the packet is padding.
        rest: rest.get(..length).unwrap_or(rest),
        length,
    })
}

fn ipv6(bytes: &[u8]) -> Result<Network<'_>, Malformed> {
    let (header, rest) = bytes.split_first_chunk::<40>().ok_or(Malformed::Short)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::from(octets)
    };
    let mut network = Network {
        source: address(8),
        destination: address(24),
        protocol: header[6],
        later_fragment: false,
        rest: rest.get(..length).unwrap_or(rest),
        length,
    };
    for _ in 0..MOST_EXTENSIONS {
        if !skip_extension(&mut network)? {
            return Ok(network);
        }
    }
    Err(Malformed::Extensions)
}

/// Steps over one extension header; false where there is none.
fn skip_extension(network: &mut Network<'_>) -> Result<bool, Malformed> {
    if network.later_fragment {
        return Ok(false);
    }
    let eights = |length: u8| (usize::from(length) + 1) * 8;
    let [next, length, high, low] = match network.protocol {
        // Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, Shim6.
        0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 => {
            *network.rest.first_chunk().ok_or(Malformed::Short)?
        }
        _ => return Ok(false),
    };
    let size = match network.protocol {
        44 => 8,
        // RFC 4302 §2.2: in units of four bytes, less two.
        51 => (usize::from(length) + 2) * 4,
        _ => eights(length),
    };
    if network.protocol == 44 {
        network.later_fragment = u16::from_be_bytes([high, low]) & 0xfff8 != 0;
    }
    network.protocol = next;
    network.length = network.length.checked_sub(size).ok_or(Malformed::Length)?;
    network.rest = network.rest.get(size..).ok_or(Malformed::Short)?;
    Ok(true)
}

fn transport(network: Network<'_>) -> Result<Headers<'_>, Malformed> {
    let mut headers = Headers {
        source: network.source,
        destination: network.destination,
        protocol: network.protocol,
        source_port: 0,
        destination_port: 0,
        icmp: None,
        later_fragment: network.later_fragment,
        payload: &[],
        payload_length: 0,
    };
    if network.later_fragment {
        return Ok(headers);
    }
    let size = match network.protocol {
        TCP => tcp_header(network.rest)?,
        UDP | UDP_LITE | ICMP | ICMPV6 => 8,
        SCTP => 12,
        _ => 0,
    };
    let length = network.length.checked_sub(size).ok_or(Malformed::Length)?;
    // A packet is at most 65,575 bytes long.
    headers.payload_length = u32::try_from(length).map_err(|_| Malformed::Length)?;
    headers.payload = network.rest.get(size..).ok_or(Malformed::Short)?;
    match (network.protocol, network.rest) {
        (TCP | UDP | UDP_LITE | SCTP, [a, b, c, d, ..]) => {
            headers.source_port = u16::from_be_bytes([*a, *b]);
            headers.destination_port = u16::from_be_bytes([*c, *d]);
        }
        (ICMP | ICMPV6, [kind, code, ..]) => headers.icmp = Some((*kind, *code)),
        _ => {}
    }
    Ok(headers)
}

fn tcp_header(rest: &[u8]) -> Result<usize, Malformed> {
    let header: &[u8; 20] = rest.first_chunk().ok_or(Malformed::Short)?;
    match usize::from(header[12] >> 4) * 4 {
        size if size < 20 => Err(Malformed::Length),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests;
