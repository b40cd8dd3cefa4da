//! Figures of a daemon, read over HTTP as a monitoring system does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Door;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Figures by name, labels included as they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(super) fn read(door: &Door, address: &str) -> Result<Self> {
        Ok(Self::parse(&get(door, address, "/metrics")?))
    }

    /// Comments and what belongs to HTTP have no number at the end, or no name before it.
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| line.starts_with("palisade_"));
        let figures = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(figures.collect())
    }

    /// A figure by its whole name; one that is not shown yet is zero.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// The status of the answer to `/readyz`.
pub(super) fn readyz(door: &Door, address: &str) -> Result<u16> {
    let answer = get(door, address, "/readyz")?;
    let status = answer.split(' ').nth(1).context("a status line")?;
    status.parse().context("a status")
}

/// The whole answer.
fn get(door: &Door, address: &str, path: &str) -> Result<String> {
    let mut stream = door
        .run(|| TcpStream::connect(address))
        .context("connect")?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("set the socket")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("ask")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("read the answer")?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_its_labels_in_its_name() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n# TYPE palisade_a counter\npalisade_a_total{b=\"c\"} 3\n# EOF\n";
        let figures = Figures::parse(text);
        assert_eq!(figures.get("palisade_a_total{b=\"c\"}"), 3.0);
        assert_eq!(figures.get("palisade_a_total"), 0.0);
    }
}
