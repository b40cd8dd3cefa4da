//! The grammar of questions about packets.

use super::Format;
use clap::Args as ClapArgs;
use palisade_proto::v1::{PluginAnswer, PluginAssumption};
use std::net::{IpAddr, SocketAddr};

/// A packet.
#[derive(ClapArgs)]
#[command(group = clap::ArgGroup::new("way").required(true).multiple(true).args(["in_interface", "out_interface"]))]
pub(crate) struct Explain {
    /// The node that judges.
    pub(crate) node: String,
    /// Interface that the packet comes in by.
    #[arg(long = "in", value_name = "IF")]
    pub(crate) in_interface: Option<String>,
    /// Interface that it goes out by; with --in too: forwarded.
    #[arg(long = "out", value_name = "IF")]
    pub(crate) out_interface: Option<String>,
    /// tcp, udp, sctp, icmp, icmp6, udplite or a number 1-255.
    #[arg(long, value_name = "P")]
    pub(crate) proto: String,
    /// Source: address, address:port or [v6]:port.
    #[arg(long, value_name = "A[:P]", value_parser = end)]
    pub(crate) src: (IpAddr, Option<u16>),
    /// Destination: address, address:port or [v6]:port.
    #[arg(long, value_name = "A[:P]", value_parser = end)]
    pub(crate) dst: (IpAddr, Option<u16>),
    /// ICMP type; 8 (128 for ICMPv6), an echo request, unless given.
    #[arg(long)]
    pub(crate) icmp_type: Option<u8>,
    /// ICMP code, 0 unless given.
    #[arg(long)]
    pub(crate) icmp_code: Option<u8>,
    /// What a plugin is taken to answer: match, no-match or none (as when it fails: the rule's onFailure decides). Of a
    /// plugin that is not named here, every answer is shown with what comes of it. May be given more than once.
    #[arg(long = "plugin", value_name = "NAME=ANSWER", value_parser = assumption)]
    pub(crate) plugins: Vec<PluginAssumption>,
    /// Output: table, yaml or json.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

fn assumption(text: &str) -> Result<PluginAssumption, String> {
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

/// An address, perhaps with a port.
fn end(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok((socket.ip(), Some(socket.port())));
    }
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map(|address| (address, None))
        .map_err(|_| format!("`{text}` is not an address: write 192.0.2.1, 192.0.2.1:80, 2001:db8::1 or [2001:db8::1]:80"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
