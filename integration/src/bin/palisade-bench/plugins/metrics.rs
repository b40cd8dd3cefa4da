//! What a daemon counts.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};
use palisade_integration::netns::Namespace;

/// Packets that plugins were asked about.
pub(super) const ASKED: &str = "palisade_node_queued_packets_total";
/// Events that auditors were shown.
pub(super) const AUDITED: &str = "palisade_node_audited_total";
/// Events that were lost.
pub(super) const LOST: &str = "palisade_node_audit_lost";

/// A metric of the daemon of a host, over all its labels; 0 where nothing was counted yet.
pub(super) fn read(host: &Namespace, name: &str) -> Result<u64> {
    let page = host.run(|| -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", 7603))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    });
    let page = page.context("ask the daemon for its metrics")?;
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then_some(value)
    });
    values
        .map(|value| {
            value
                .parse::<u64>()
                .with_context(|| format!("{name} is {value}"))
        })
        .sum()
}
