//! A case as text: as a scenario document to be finished by a person, and as a case file that the ladder replays.

use crate::document::World;
use crate::oracle::Verdict;
use crate::packet::{Packet, Way};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A world with one packet, as the ladder's case files hold it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Case {
    /// What it shows, one sentence.
    pub name: String,
    /// Whether the packet goes on, by the specification.
    pub allow: bool,
    /// The packet.
    pub packet: Packet,
    /// The world.
    pub world: World,
}

impl Case {
    /// A case, named after what differed.
    pub fn new(name: impl Into<String>, world: World, packet: Packet, verdict: Verdict) -> Self {
        Self {
            name: name.into(),
            allow: verdict == Verdict::Accept,
            packet,
            world,
        }
    }

    /// As a case file.
    ///
    /// # Panics
    /// Never: these shapes have text keys and finite numbers.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("text keys and finite numbers")
    }

    /// As a scenario document: one protected host with the interfaces of the world, one client on each segment.
    pub fn to_scenario(&self) -> String {
        let mut text = String::new();
        self.write(&mut text)
            .expect("writing to text does not fail");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let node = &self.world.machine.node;
        writeln!(out, "name: {}", self.name)?;
        writeln!(out, "area: found")?;
        writeln!(out, "source: generated world, judged by the oracle")?;
        writeln!(out, "topology:\n  hosts:")?;
        writeln!(
            out,
            "    - name: {node}\n      protected: true\n      interfaces:"
        )?;
        for (name, addresses) in &self.world.machine.interfaces {
            if name == "lo" {
                continue;
            }
            write!(out, "        - {{name: {name}, segment: {name}")?;
            for address in addresses {
                match address.is_ipv4() {
                    true => write!(out, ", address: {address}/24")?,
                    false => write!(out, ", address6: \"{address}/64\"")?,
                }
            }
            writeln!(out, "}}")?;
        }
        writeln!(out, "    - name: client\n      interfaces:")?;
        writeln!(out, "        - {{name: eth0, segment: {}}}", self.segment())?;
        writeln!(out, "steps:\n  - apply: |")?;
        for document in &self.world.documents {
            writeln!(out, "      ---")?;
            let json = serde_json::to_string_pretty(&document.to_json()).unwrap_or_default();
            for line in json.lines() {
                writeln!(out, "      {line}")?;
            }
        }
        writeln!(out, "    expect:\n      - {}", self.probe())
    }

    fn segment(&self) -> &str {
        match &self.packet.way {
            Way::In(interface) | Way::Out(interface) | Way::Forward(interface, _) => interface,
        }
    }

    fn probe(&self) -> String {
        let node = &self.world.machine.node;
        let packet = &self.packet;
        let (from, to) = match packet.way {
            Way::Out(_) => (node.as_str(), "client"),
            _ => ("client", node.as_str()),
        };
        let protocol = match packet.protocol {
            1 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            58 => "icmp6".to_owned(),
            132 => "sctp".to_owned(),
            other => other.to_string(),
        };
        let family = if packet.source.is_ipv6() { 6 } else { 4 };
        let mut probe = format!(
            "{{from: {from}, to: {to}, proto: {protocol}, family: {family}, one_way: true, allow: {}, \
             from_address: \"{}\", to_address: \"{}\"",
            self.allow, packet.source, packet.destination
        );
        if let Some((source, destination)) = packet.ports {
            let _ = write!(probe, ", sport: {source}, port: {destination}");
        }
        if let Some((kind, _)) = packet.icmp {
            let _ = write!(probe, ", icmp_type: {kind}");
        }
        let _ = write!(
            probe,
            ", note: '{:?}, {:?}, translated from {:?}, plugins say {:?}'}}",
            packet.way, packet.tracking, packet.translated, packet.answers
        );
        probe
    }
}
