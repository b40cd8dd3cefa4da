//! What `palisadectl explain` says about a probe, at every protected host it passes.
//!
//! Promise 9 in one place: what it says must be what the packets show, so callers compare.

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::format::{Name, Probe, Protocol};
use crate::product::Palisadectl;
use crate::sandbox::Sandbox;

/// What one host does with a packet, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The host.
    pub node: String,
    /// Whether it lets the packet through.
    pub allowed: bool,
    /// What decided.
    pub reason: String,
}

/// Asks the sender's and then the receiver's host, where they are protected. `interface` is where both are linked.
///
/// # Errors
///
/// Where `palisadectl` cannot answer.
pub fn explain(
    palisadectl: &Palisadectl,
    sandbox: &Sandbox,
    protected: &[&str],
    interface: &str,
    probe: &Probe,
) -> Result<Vec<Explanation>> {
    let packet = packet(sandbox, probe)?;
    let mut explanations = Vec::new();
    for (node, way) in [(&probe.from, "--out"), (&probe.to, "--in")] {
        if protected.contains(&node.as_str()) {
            let mut arguments = vec![
                "explain".to_owned(),
                node.clone(),
                way.to_owned(),
                interface.to_owned(),
            ];
            arguments.extend(packet.clone());
            explanations.push(ask(palisadectl, node, &arguments)?);
        }
    }
    Ok(explanations)
}

/// The probe's packet in words of `palisadectl explain` and `palisade-node explain`, asked for as JSON.
///
/// # Errors
///
/// Where sender or receiver has no address of its family.
pub fn packet(sandbox: &Sandbox, probe: &Probe) -> Result<Vec<String>> {
    let address = |name: &str| -> Result<IpAddr> {
        sandbox
            .station(name)?
            .address(probe.is_ipv6())
            .with_context(|| format!("`{name}` has no such address"))
    };
    let source = probe
        .from_address
        .map_or_else(|| address(&probe.from), Ok)?;
    let destination = probe.to_address.map_or_else(|| address(&probe.to), Ok)?;
    let end = |address: IpAddr, port: Option<u16>| match (address, port) {
        (_, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    };
    let has_ports = matches!(
        probe.proto,
        Protocol::Named(Name::Tcp | Name::Udp | Name::Sctp)
    );
    let proto = match probe.proto {
        Protocol::Number(number) => number.to_string(),
        named => named.to_string(),
    };
    let mut arguments = vec!["--proto".to_owned(), proto];
    arguments.extend([
        "--src".to_owned(),
        end(source, has_ports.then_some(probe.sport.unwrap_or(40_000))),
    ]);
    arguments.extend([
        "--dst".to_owned(),
        end(destination, has_ports.then_some(probe.port)),
    ]);
    arguments.extend(probe.icmp_type.map(|kind| format!("--icmp-type={kind}")));
    arguments.extend(["-o".to_owned(), "json".to_owned()]);
    Ok(arguments)
}

fn ask(palisadectl: &Palisadectl, node: &str, arguments: &[String]) -> Result<Explanation> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = palisadectl.run(&arguments, "")?;
    let allowed = match output.code {
        Some(0) => true,
        // Documented: denied.
        Some(3) => false,
        _ => {
            return Err(output.success().err().context("a failed run is an error")?)
                .context("explain");
        }
    };
    let answer: serde_json::Value =
        serde_json::from_str(&output.stdout).context("read what explain printed")?;
    let reason = answer
        .get("reason")
        .and_then(|reason| reason.as_str())
        .context("explain gives a reason")?
        .to_owned();
    Ok(Explanation {
        node: node.to_owned(),
        allowed,
        reason,
    })
}
