//! A packet, and the way it takes through the machine.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// The way of a packet, by interfaces.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// Arrives there, for a local process.
    In(String),
    /// Leaves there, from a local process.
    Out(String),
    /// Arrives, then leaves.
    Forward(String, String),
}

/// What connection tracking says.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "words of connection tracking")]
pub enum Tracking {
    New,
    Established,
    Related,
    Invalid,
    Untracked,
}

/// A packet.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Its way.
    pub way: Way,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes, after translation.
    pub destination: IpAddr,
    /// Transport protocol.
    pub protocol: u8,
    /// Source and destination port, of protocols that have them; the latter after translation.
    pub ports: Option<(u16, u16)>,
    /// Type and code of ICMP.
    pub icmp: Option<(u8, u8)>,
    /// What connection tracking says.
    pub tracking: Tracking,
    /// Destination and port before translation, where there was one.
    pub translated: Option<(IpAddr, Option<u16>)>,
    /// What plugins say, by question; what is not there gets no answer.
    #[serde(default)]
    pub answers: BTreeMap<String, bool>,
}

impl Packet {
    /// The packet as it was before translation.
    #[must_use]
    pub fn untranslated(&self) -> Self {
        let mut packet = self.clone();
        if let Some((address, port)) = self.translated {
            packet.destination = address;
            packet.ports = self.ports.map(|(from, to)| (from, port.unwrap_or(to)));
        }
        packet.translated = None;
        packet
    }
}
