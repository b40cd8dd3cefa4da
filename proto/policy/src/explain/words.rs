//! How command lines ask: the same words for `palisadectl explain` and `palisade-node explain`.

use palisade_proto::v1::{ExplainRequest, PluginAnswer, PluginAssumption};
use std::net::{IpAddr, SocketAddr};

/// What was written.
#[derive(Clone, Debug)]
pub struct Words {
    /// Interface that the packet comes in by.
    pub in_interface: Option<String>,
    /// Interface that it goes out by.
    pub out_interface: Option<String>,
    /// A name or a number.
    pub proto: String,
    /// As [`end`] reads it.
    pub src: (IpAddr, Option<u16>),
    /// As [`end`] reads it.
    pub dst: (IpAddr, Option<u16>),
    /// An echo request, if absent.
    pub icmp_type: Option<u8>,
    /// 0, if absent.
    pub icmp_code: Option<u8>,
    /// As [`assumption`] reads them.
    pub plugins: Vec<PluginAssumption>,
}

/// Words that make no packet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misused {
    /// One address is IPv4, the other IPv6.
    #[error("--src and --dst are of different families")]
    Families,
    /// A packet of this protocol goes to a port.
    #[error("--dst needs a port with --proto {proto}")]
    NoPort {
        /// As written.
        proto: String,
        /// As written.
        destination: IpAddr,
    },
    /// A port of a protocol without.
    #[error("--proto {0} has no ports")]
    NoPorts(String),
    /// Another protocol has no ICMP type.
    #[error("--icmp-type and --icmp-code need --proto icmp or icmp6")]
    NotIcmp,
    /// Neither a name that is known nor a number.
    #[error("`{0}` is not a protocol")]
    Protocol(String),
}

// === impl Words ===

impl Words {
    /// The request that they mean, to this node.
    ///
    /// # Errors
    /// They make no packet.
    pub fn request(self, node: String) -> Result<ExplainRequest, Misused> {
        let (source, source_port) = self.src;
        let (destination, destination_port) = self.dst;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(Misused::Families);
        }
        let protocol = protocol(&self.proto)?;
        let has_ports = matches!(protocol, 6 | 17 | 132 | 136);
        if has_ports && destination_port.is_none() {
            return Err(Misused::NoPort {
                proto: self.proto,
                destination,
            });
        }
        if !has_ports && (source_port.is_some() || destination_port.is_some()) {
            return Err(Misused::NoPorts(self.proto));
        }
        let echo = match protocol {
            1 => Some(8),
            58 => Some(128),
            _ => None,
        };
        if echo.is_none() && (self.icmp_type.is_some() || self.icmp_code.is_some()) {
            return Err(Misused::NotIcmp);
        }
        Ok(ExplainRequest {
            node,
            in_interface: self.in_interface.unwrap_or_default(),
            out_interface: self.out_interface.unwrap_or_default(),
            protocol: u32::from(protocol),
            source: octets(source),
            // Any ephemeral port: rules on source ports say so in the trace.
            source_port: u32::from(source_port.unwrap_or(if has_ports { 40_000 } else { 0 })),
            destination: octets(destination),
            destination_port: u32::from(destination_port.unwrap_or(0)),
            icmp_type: echo.map(|e| u32::from(self.icmp_type.unwrap_or(e))),
            icmp_code: echo.map(|_| u32::from(self.icmp_code.unwrap_or(0))),
            plugins: self.plugins,
        })
    }
}

// === impl Misused ===

impl Misused {
    /// What to write, where that is not said yet.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPort {
                destination: IpAddr::V4(v4),
                ..
            } => Some(format!("write e.g. --dst {v4}:80")),
            Self::NoPort {
                destination: IpAddr::V6(v6),
                ..
            } => Some(format!("write e.g. --dst [{v6}]:80")),
            Self::Protocol(_) => {
                Some("write tcp, udp, sctp, icmp, icmp6, udplite or a number 1-255".to_owned())
            }
            Self::Families | Self::NoPorts(_) | Self::NotIcmp => None,
        }
    }
}

/// An address, perhaps with a port.
///
/// # Errors
/// It is none, and what to write.
pub fn end(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok((socket.ip(), Some(socket.port())));
    }
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map(|address| (address, None))
        .map_err(|_| format!("`{text}` is not an address: write 192.0.2.1, 192.0.2.1:80, 2001:db8::1 or [2001:db8::1]:80"))
}

/// What a plugin is taken to answer: `NAME=match`, `NAME=no-match` or `NAME=none`.
///
/// # Errors
/// It is none of these.
pub fn assumption(text: &str) -> Result<PluginAssumption, String> {
    let hint = || format!("`{text}` is not NAME=match, NAME=no-match or NAME=none");
    let (name, answer) = text.split_once('=').ok_or_else(hint)?;
    let answer = match answer {
        "match" => PluginAnswer::Match,
        "no-match" => PluginAnswer::NoMatch,
        "none" => PluginAnswer::None,
        _ => return Err(hint()),
    };
    if name.is_empty() {
        return Err(hint());
    }
    Ok(PluginAssumption {
        name: name.to_owned(),
        answer: answer.into(),
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn protocol(text: &str) -> Result<u8, Misused> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "sctp" => Ok(132),
        "icmp" => Ok(1),
        "icmp6" | "icmpv6" => Ok(58),
        "udplite" => Ok(136),
        number => {
            let number = number.parse().ok().filter(|n| *n > 0);
            number.ok_or_else(|| Misused::Protocol(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(proto: &str, src: &str, dst: &str) -> Words {
        Words {
            in_interface: Some("e".to_owned()),
            out_interface: None,
            proto: proto.to_owned(),
            src: end(src).expect("an address"),
            dst: end(dst).expect("an address"),
            icmp_type: None,
            icmp_code: None,
            plugins: Vec::new(),
        }
    }

    fn request(words: Words) -> Result<ExplainRequest, Misused> {
        words.request("h1".to_owned())
    }

    #[test]
    fn ends_take_both_families_with_and_without_port() {
        assert_eq!(
            end("192.0.2.1:80"),
            Ok(("192.0.2.1".parse().unwrap(), Some(80)))
        );
        assert_eq!(
            end("2001:db8::1"),
            Ok(("2001:db8::1".parse().unwrap(), None))
        );
        assert_eq!(
            end("[2001:db8::1]:53"),
            Ok(("2001:db8::1".parse().unwrap(), Some(53)))
        );
        assert!(end("192.0.2.300").is_err());
    }

    #[test]
    fn icmp_is_an_echo_request_unless_said_otherwise_and_has_no_ports() {
        let plain = request(words("icmp", "10.0.0.1", "10.0.0.2")).expect("a packet");
        assert_eq!((plain.icmp_type, plain.icmp_code), (Some(8), Some(0)));
        let plain = request(words("icmp6", "::1", "::2")).expect("a packet");
        assert_eq!((plain.icmp_type, plain.icmp_code), (Some(128), Some(0)));
        assert_eq!(
            request(words("icmp", "10.0.0.1", "10.0.0.2:80")),
            Err(Misused::NoPorts("icmp".to_owned()))
        );
    }

    #[test]
    fn words_that_make_no_packet_say_why() {
        let of = |proto: &str, src: &str, dst: &str| request(words(proto, src, dst)).err();
        assert_eq!(
            of("tcp", "10.0.0.1", "[fd00::2]:1"),
            Some(Misused::Families)
        );
        let no_port = of("tcp", "::1", "::2").expect("no port");
        assert_eq!(no_port.hint().as_deref(), Some("write e.g. --dst [::2]:80"));
        for proto in ["0", "256", "nonsense"] {
            let wanted = Misused::Protocol(proto.to_owned());
            assert_eq!(of(proto, "10.0.0.1", "10.0.0.2"), Some(wanted));
        }
        let mut typed = words("udp", "10.0.0.1", "10.0.0.2:1");
        typed.icmp_type = Some(8);
        assert_eq!(request(typed), Err(Misused::NotIcmp));
    }

    #[test]
    fn an_assumption_names_a_plugin_and_one_of_three_answers() {
        for (text, answer) in [
            ("dns=match", PluginAnswer::Match),
            ("dns=no-match", PluginAnswer::NoMatch),
            ("dns=none", PluginAnswer::None),
        ] {
            let read = assumption(text).map(|read| (read.answer(), read.name));
            assert_eq!(read, Ok((answer, "dns".to_owned())));
        }
        for wrong in ["dns", "dns=", "dns=maybe", "=match"] {
            assert!(assumption(wrong).is_err(), "{wrong}");
        }
    }
}
