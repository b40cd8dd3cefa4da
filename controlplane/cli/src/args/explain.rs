//! The grammar of questions about packets.

use super::Format;
use clap::Args as ClapArgs;
use palisade_policy::explain::words;
use palisade_proto::v1::PluginAssumption;
use std::net::IpAddr;

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
    #[arg(long, value_name = "A[:P]", value_parser = words::end)]
    pub(crate) src: (IpAddr, Option<u16>),
    /// Destination: address, address:port or [v6]:port.
    #[arg(long, value_name = "A[:P]", value_parser = words::end)]
    pub(crate) dst: (IpAddr, Option<u16>),
    /// ICMP type; 8 (128 for ICMPv6), an echo request, unless given.
    #[arg(long)]
    pub(crate) icmp_type: Option<u8>,
    /// ICMP code, 0 unless given.
    #[arg(long)]
    pub(crate) icmp_code: Option<u8>,
    /// What a plugin is taken to answer: match, no-match or none (as when it fails: the rule's onFailure decides). Of a
    /// plugin that is not named here, every answer is shown with what comes of it. May be given more than once.
    #[arg(long = "plugin", value_name = "NAME=ANSWER", value_parser = words::assumption)]
    pub(crate) plugins: Vec<PluginAssumption>,
    /// Output: table, yaml or json.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}
