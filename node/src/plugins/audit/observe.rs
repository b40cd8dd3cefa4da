//! A logged packet becomes an event: what its first bytes say, and which ends of it are ours.

use crate::enforce::inventory::Inventory;
use palisade_plugin_host::{Action, Body, Flow, Phase, RuleId, Way, packet};
use palisade_policy::{ids::IfName, rule::Family};
use std::net::IpAddr;

/// What the kernel says of a packet that a rule logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting<'a> {
    /// What the rule did with it.
    pub action: Action,
    /// The rule.
    pub rule: RuleId,
    /// Of the network header.
    pub family: Family,
    /// Number of the hook: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub hook: u8,
    /// Where it came in.
    pub input: Option<&'a IfName>,
    /// Where it leaves.
    pub output: Option<&'a IfName>,
    /// From the network header on, as much as was copied.
    pub bytes: &'a [u8],
}

/// The way that a hook is on. What arrives is on its way in until routing says otherwise.
pub fn way(hook: u8, input: Option<&IfName>) -> Way {
    match (hook, input) {
        (0 | 1, _) => Way::Input,
        (2, _) => Way::Forward,
        // Only what is forwarded is in postrouting with an interface of arrival.
        (4, Some(_)) => Way::Forward,
        _ => Way::Output,
    }
}

/// The event of a sighting. A packet that makes no sense has a length and an interface all the same.
pub fn flow(sighting: &Sighting<'_>, inventory: &Inventory) -> Body {
    let Sighting { input, output, .. } = *sighting;
    let way = way(sighting.hook, input);
    let (source_endpoint, destination_endpoint) = inventory.ends(way, input, output);
    let mut flow = Flow {
        phase: Phase::Start,
        way,
        action: sighting.action,
        rule: sighting.rule,
        protocol: 0,
        source: None,
        destination: None,
        source_port: None,
        destination_port: None,
        icmp: None,
        in_interface: input.and_then(|name| inventory.interface(name)),
        out_interface: output.and_then(|name| inventory.interface(name)),
        source_endpoint,
        destination_endpoint,
        packets: 1,
        bytes: length(sighting.family, sighting.bytes),
    };
    if let Ok(headers) = packet::parse(sighting.bytes) {
        let ports = headers.icmp.is_none() && !headers.later_fragment;
        let port = |port: u16| Some(port).filter(|port| ports && *port != 0);
        flow.protocol = headers.protocol;
        flow.source = Some(headers.source);
        flow.destination = Some(headers.destination);
        flow.source_port = port(headers.source_port);
        flow.destination_port = port(headers.destination_port);
        flow.icmp = headers.icmp;
    } else if let Some((source, destination)) = addresses(sighting.family, sighting.bytes) {
        flow.source = Some(source);
        flow.destination = Some(destination);
    }
    Body::Flow(flow)
}

/// Of the whole packet, as its header says.
fn length(family: Family, bytes: &[u8]) -> u64 {
    let at = |at: usize| match bytes.get(at..at + 2) {
        Some(&[high, low]) => u64::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    match family {
        Family::V4 => at(2),
        Family::V6 => at(4) + 40,
    }
}

/// What the network header says where the rest of the headers is not at hand, or wrong.
fn addresses(family: Family, bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match family {
        Family::V4 => {
            let of = |at: usize| Some(IpAddr::from(*bytes.get(at..)?.first_chunk::<4>()?));
            Some((of(12)?, of(16)?))
        }
        Family::V6 => {
            let of = |at: usize| Some(IpAddr::from(*bytes.get(at..)?.first_chunk::<16>()?));
            Some((of(8)?, of(24)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sighting(bytes: &[u8], family: Family) -> Sighting<'_> {
        Sighting {
            action: Action::Deny,
            rule: RuleId(1),
            family,
            hook: 1,
            input: None,
            output: None,
            bytes,
        }
    }

    #[test]
    fn a_packet_cut_off_within_its_headers_keeps_its_addresses() {
        let mut bytes = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0];
        bytes.extend([192, 0, 2, 1, 192, 0, 2, 2, 0, 80]);
        let Body::Flow(flow) = flow(&sighting(&bytes, Family::V4), &Inventory::default()) else {
            panic!("a flow");
        };
        assert_eq!(flow.source, Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!((flow.destination_port, flow.bytes), (None, 60));
    }

    #[test]
    fn only_forwarded_packets_have_an_interface_of_arrival_in_postrouting() {
        let name = IfName::from("eth0");
        assert_eq!(way(4, Some(&name)), Way::Forward);
        assert_eq!(way(4, None), Way::Output);
        assert_eq!(way(0, Some(&name)), Way::Input);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..120), six in any::<bool>(), hook in any::<u8>()) {
            let family = if six { Family::V6 } else { Family::V4 };
            let sighting = Sighting { hook, ..sighting(&bytes, family) };
            let told = matches!(flow(&sighting, &Inventory::default()), Body::Flow(_));
            prop_assert!(told);
        }
    }
}
