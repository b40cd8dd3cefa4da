//! Packets byte by byte. Their checksums are left out: nobody behind the hooks reads them, and connection tracking is
//! told not to.

use palisade_testkit::packet::{Packet, Tracking};
use std::net::IpAddr;

/// Time to live of what is sent, so that what the host says on its own is not mistaken for it.
pub(super) const LIFE: u8 = 77;

/// What connection tracking will say of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    New,
    Invalid,
    Untracked,
}

/// What connection tracking says of the packet that [`write`] makes; none if that cannot be told.
pub(super) fn mark(packet: &Packet) -> Option<Mark> {
    let wants_invalid = packet.tracking == Tracking::Invalid;
    Some(match (packet.protocol, packet.icmp) {
        (6, _) if wants_invalid => Mark::Invalid,
        (6 | 17 | 132, _) => Mark::New,
        (1, Some((8, 0))) | (58, Some((128, 0))) => Mark::New,
        // Answers to questions that nobody asked.
        (1, Some((0, 0))) | (58, Some((129, 0))) => Mark::Invalid,
        (58, Some((130..=136 | 143, 0))) => Mark::Untracked,
        (1 | 58, _) => return None,
        // Ends alone make the flow.
        (4 | 47 | 50 | 136, _) => Mark::New,
        _ => return None,
    })
}

/// A whole packet, whose number is its IPv4 identification, or the length of its IPv6 payload.
pub(super) fn write(packet: &Packet, tos: u8, number: u16) -> Vec<u8> {
    let mut payload = transport(packet);
    // Long enough for every transport, and told apart by length.
    let length = match packet.source {
        IpAddr::V4(_) => 64,
        IpAddr::V6(_) => usize::from(number),
    };
    payload.resize(length, 0);
    let measure = |length: usize| u16::try_from(length).expect("small").to_be_bytes();
    match packet.protocol {
        17 => payload[4..6].copy_from_slice(&measure(length)),
        // The chunk is all that follows the head: tracking refuses anything after it.
        132 => payload[14..16].copy_from_slice(&measure(length - 12)),
        _ => {}
    }
    let mut all = match (packet.source, packet.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = u16::try_from(length + 20).expect("small").to_be_bytes();
            let [id_high, id_low] = number.to_be_bytes();
            let protocol = packet.protocol;
            let mut head = vec![
                0x45, tos, high, low, id_high, id_low, 0, 0, LIFE, protocol, 0, 0,
            ];
            head.extend(from.octets());
            head.extend(to.octets());
            head
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = u16::try_from(length).expect("small").to_be_bytes();
            let mut head = vec![
                0x60 | tos >> 4,
                tos << 4,
                0,
                0,
                high,
                low,
                packet.protocol,
                LIFE,
            ];
            head.extend(from.octets());
            head.extend(to.octets());
            head
        }
        _ => panic!("{packet:?} is of two families"),
    };
    all.extend(payload);
    all
}

fn transport(packet: &Packet) -> Vec<u8> {
    let (from, to) = packet.ports.unwrap_or_default();
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let mut bytes = ports;
    match packet.protocol {
        6 => {
            // SYN opens; SYN with FIN is nothing.
            let flags = if packet.tracking == Tracking::Invalid {
                3
            } else {
                2
            };
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        }
        17 => bytes.extend([0, 0, 0, 0]),
        // Tracking refuses none at all, where a checksum is a must.
        136 => bytes.extend([0, 0, 1, 1]),
        132 => {
            // No tag yet, no checksum; INIT.
            bytes.extend([0; 8]);
            bytes.extend([
                1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1,
            ]);
        }
        1 | 58 => {
            let (kind, code) = packet.icmp.unwrap_or_default();
            bytes = vec![kind, code, 0, 0, 0x12, 0x34, 0, 1];
        }
        _ => bytes.clear(),
    }
    bytes
}
