//! What `palisade-node` is asked for on its command line.

use clap::{Args, Parser, Subcommand};
use palisade_policy::explain::words;
use palisade_proto::v1::PluginAssumption;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Protects this host: programs nftables with the policy that a Palisade control plane compiles for it.
#[derive(Parser, Debug)]
#[command(
    name = "palisade-node",
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Enforce policy, until SIGTERM or SIGINT; the rules stay when the daemon ends.
    Run(Run),
    /// Enforce the saved policy once, and end: for the boot, before the network. Needs no control plane.
    ///
    /// Exit codes: 0, it is enforced, or none was saved and what --without-view says is done; 1, it is not, or what was saved
    /// cannot be read (what --without-view says is done then, too); 2, wrong usage.
    Guard(Guard),
    /// Say how this host is: what is enforced, and what is not as it should be.
    ///
    /// Exit codes, which say the same as /readyz: 0, the policy held is enforced and no change of it waits; 1, it is not
    /// known to be enforced, or a change waits, or no daemon answers; 2, wrong usage.
    Status(Status),
    /// Say what this host does with a new packet, and why: as `palisadectl explain`, by the policy that the daemon holds.
    /// Needs no control plane. A line that begins with `but` says why the kernel may do something else.
    ///
    /// Exit codes: 0, it is allowed; 3, denied, or not the same for every answer of plugins; 1, there is no policy to go by, or
    /// no daemon answers; 2, wrong usage.
    Explain(Explain),
    /// Remove our nftables tables, and so all enforcement. A daemon that runs does it, and ends. The state directory is kept.
    ///
    /// Exit codes: 0, nothing of ours is in the kernel; 1, it may be, and the message says what to do; 2, wrong usage.
    Uninstall(Uninstall),
    /// Print the version.
    Version,
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Control plane: host name or address, and port (7600 by default in the control plane).
    #[arg(long, value_name = "HOST:PORT", env = "PALISADE_SERVER", value_parser = parse_server)]
    pub server: Server,
    /// Directory of certificate and last good policy; made if missing, mode 0700.
    #[arg(long, value_name = "DIR", env = "PALISADE_STATE_DIR")]
    pub state_dir: PathBuf,
    /// Directory below which auditors' sinks may keep files; made if missing, mode 0700. Files elsewhere are refused,
    /// whatever Plugin resources say.
    #[arg(long, value_name = "DIR", env = "PALISADE_SINK_DIR", default_value = "/var/log/palisade", value_parser = parse_absolute)]
    pub sink_dir: PathBuf,
    /// Join token from `palisadectl token create`; needed once, ignored when enrolled.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "PALISADE_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Where to enrol [default: the server's host, port 7601].
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_server)]
    pub enroll_server: Option<Server>,
    /// This node's name, at enrolment [default: the host name in lower case].
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Do not own the nftables tables, even where the kernel (6.9 or later) can keep other programs from changing them.
    #[arg(long, env = "PALISADE_SHARE_TABLES")]
    pub share_tables: bool,
    /// Where to serve /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7603")]
    pub http_listen: SocketAddr,
}

/// Arguments of `guard`.
#[derive(Args, Clone, Debug)]
pub struct Guard {
    /// Control plane, whose remembered addresses stay reachable: host name or address, and port.
    #[arg(long, value_name = "HOST:PORT", env = "PALISADE_SERVER", value_parser = parse_server)]
    pub server: Option<Server>,
    /// Where the daemon will enrol, which stays reachable too [default: the server's host, port 7601].
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_server)]
    pub enroll_server: Option<Server>,
    /// Directory of the saved policy.
    #[arg(long, value_name = "DIR", env = "PALISADE_STATE_DIR")]
    pub state_dir: PathBuf,
    /// What to enforce where no policy was ever saved.
    #[arg(long, value_enum, default_value_t, env = "PALISADE_WITHOUT_VIEW")]
    pub without_view: WithoutView,
}

/// What a host without saved policy does.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WithoutView {
    /// Nothing: everything flows until the first policy arrives.
    #[default]
    Nothing,
    /// Everything is closed until the first policy arrives, but for the default failsafe ports, neighbour discovery and
    /// DHCP.
    Closed,
}

/// Arguments of `status`.
#[derive(Args, Clone, Debug)]
pub struct Status {
    /// State directory of the daemon.
    #[arg(long, value_name = "DIR", env = "PALISADE_STATE_DIR")]
    pub state_dir: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `explain`: a packet, in the words of `palisadectl explain`.
#[derive(Args, Clone, Debug)]
#[command(group = clap::ArgGroup::new("way").required(true).multiple(true).args(["in_interface", "out_interface"]))]
pub struct Explain {
    /// State directory of the daemon.
    #[arg(long, value_name = "DIR", env = "PALISADE_STATE_DIR")]
    pub state_dir: PathBuf,
    /// Interface that the packet comes in by.
    #[arg(long = "in", value_name = "IF")]
    pub in_interface: Option<String>,
    /// Interface that it goes out by; with --in too: forwarded.
    #[arg(long = "out", value_name = "IF")]
    pub out_interface: Option<String>,
    /// tcp, udp, sctp, icmp, icmp6, udplite or a number 1-255.
    #[arg(long, value_name = "P")]
    pub proto: String,
    /// Source: address, address:port or [v6]:port.
    #[arg(long, value_name = "A[:P]", value_parser = words::end)]
    pub src: (IpAddr, Option<u16>),
    /// Destination: address, address:port or [v6]:port.
    #[arg(long, value_name = "A[:P]", value_parser = words::end)]
    pub dst: (IpAddr, Option<u16>),
    /// ICMP type; 8 (128 for ICMPv6), an echo request, unless given.
    #[arg(long)]
    pub icmp_type: Option<u8>,
    /// ICMP code, 0 unless given.
    #[arg(long)]
    pub icmp_code: Option<u8>,
    /// What a plugin is taken to answer: match, no-match or none (as when it fails: the rule's onFailure decides). Of a
    /// plugin that is not named here, every answer is shown with what comes of it. May be given more than once.
    #[arg(long = "plugin", value_name = "NAME=ANSWER", value_parser = words::assumption)]
    pub plugins: Vec<PluginAssumption>,
    /// Output.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// How an explanation is printed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Verdict, and a table of what was looked at.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Verdict and reason, one line.
    Name,
}

/// Arguments of `uninstall`.
#[derive(Args, Clone, Debug)]
pub struct Uninstall {
    /// Also delete certificate and saved policy: what this program keeps in the state directory, and nothing else.
    #[arg(long, requires = "state_dir")]
    pub purge: bool,
    /// State directory of the daemon.
    #[arg(long, value_name = "DIR", env = "PALISADE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// A host, not resolved, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Server {
    /// The same host at another port.
    pub fn at_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port,
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn parse_absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err("an absolute path is wanted".to_owned())
    }
}

fn parse_server(text: &str) -> Result<Server, String> {
    let text = text.strip_prefix("https://").unwrap_or(text);
    let (host, port) = text
        .rsplit_once(':')
        .ok_or("a port is missing, as in `control.example:7600`")?;
    let port = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("`{port}` is not a port"))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or("`]` is missing")?,
        None if host.contains(':') => return Err("an IPv6 address stands in brackets".into()),
        None => host,
    };
    if host.is_empty() {
        return Err("a host is missing".into());
    }
    Ok(Server {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_names_or_addresses_with_a_port() {
        for (text, host, port) in [
            ("control.example:7600", "control.example", 7600),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[fd00::1]:7600", "fd00::1", 7600),
        ] {
            let server = parse_server(text).expect("valid");
            assert_eq!((server.host.as_str(), server.port), (host, port));
            assert_eq!(server.to_string(), text);
        }
        for text in [
            "control.example",
            ":7600",
            "a:0",
            "a:70000",
            "fd00::1:7600",
            "[fd00::1:1",
        ] {
            assert!(parse_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
