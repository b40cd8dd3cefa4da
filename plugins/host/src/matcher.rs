//! Match conditions: a packet in, an answer out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Instant;

use crate::bindings::matching::MatcherPlugin;
use crate::bindings::matching::exports::palisade::plugin::matcher as wit;
use crate::bindings::types;
use crate::configured::Configured;
use crate::fault::Fault;
use crate::worker::Worker;

/// An endpoint, as the node numbers them in one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// An interface, as the node numbers them in one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u32);

/// A rule, as it stands in logs and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u64);

/// The way a packet takes through the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// To a local process.
    Input,
    /// From a local process.
    Output,
    /// Through the host.
    Forward,
}

/// What a matcher is told of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its way.
    pub way: Way,
    /// IANA number of the transport protocol.
    pub protocol: u8,
    /// Source address; of the same family as the destination.
    pub source: IpAddr,
    /// Destination address, after translation.
    pub destination: IpAddr,
    /// 0 where there is none.
    pub source_port: u16,
    /// 0 where there is none.
    pub destination_port: u16,
    /// Type and code of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// Where it arrived.
    pub in_interface: Option<InterfaceId>,
    /// Where it leaves.
    pub out_interface: Option<InterfaceId>,
    /// Where it comes from, if that is known.
    pub source_endpoint: Option<EndpointId>,
    /// Where it goes, if that is known.
    pub destination_endpoint: Option<EndpointId>,
    /// Milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// What follows the transport header, as far as it is at hand; the plugin gets what its manifest asks for.
    pub payload: &'a [u8],
    /// Length of the whole payload, in bytes.
    pub payload_length: u32,
}

/// What a matcher says of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The condition is not met.
    NoMatch {
        /// For how many seconds this may be remembered, at most 3600; `None`: not at all.
        remember: Option<NonZeroU32>,
    },
    /// The condition is met.
    Match {
        /// For how many seconds this may be remembered, at most 3600; `None`: not at all.
        remember: Option<NonZeroU32>,
    },
    /// Ask again with the first data of the connection.
    NeedPayload,
    /// The plugin cannot tell, and why; the failure policy decides.
    Undecided {
        /// At most 1 KiB, without control characters.
        reason: String,
    },
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoMatch { .. } => f.write_str("no-match"),
            Self::Match { .. } => f.write_str("match"),
            Self::NeedPayload => f.write_str("need-payload"),
            Self::Undecided { reason } => write!(f, "undecided ({reason})"),
        }
    }
}

/// Longest time an answer is remembered, in seconds.
const LONGEST_MEMORY: u32 = 3600;

/// One worker's instance of a matcher. Belongs to one thread at a time; each thread has its own.
pub struct Matcher {
    worker: Worker<MatcherPlugin>,
    /// Refilled for each call, so that the payload's room is kept.
    scratch: wit::Packet,
}

impl Matcher {
    pub(crate) fn new(worker: Worker<MatcherPlugin>) -> Self {
        let nowhere = types::IpAddress::Ipv4((0, 0, 0, 0));
        Self {
            worker,
            scratch: wit::Packet {
                way: types::Way::Input,
                protocol: 0,
                source: nowhere,
                destination: nowhere,
                source_port: 0,
                destination_port: 0,
                icmp: None,
                in_interface: None,
                out_interface: None,
                source_endpoint: None,
                destination_endpoint: None,
                time_ms: 0,
                payload: Vec::new(),
                payload_length: 0,
            },
        }
    }

    /// Asks the plugin. `now` is for being set aside and tried again; the plugin's clock is the packet's time.
    ///
    /// Takes a microsecond where the instance is warm, and at most the deadline of the [`crate::Limits`].
    ///
    /// # Errors
    ///
    /// Where there is no answer; the rule's failure policy decides. The next call has a fresh instance.
    pub fn evaluate(&mut self, packet: &Packet<'_>, now: Instant) -> Result<Answer, Fault> {
        let facts = &self.worker.configured().shared.manifest.matcher;
        let remembers = !facts.remember_by.is_empty();
        let wanted = usize::from(facts.payload);
        fill(&mut self.scratch, packet, wanted);
        let scratch = &self.scratch;
        let answer = self.worker.attempt(now, packet.time_ms, |world, store| {
            let answer = world
                .palisade_plugin_matcher()
                .call_evaluate(store, scratch)?;
            Ok(Ok(answer))
        })?;
        let remember = |seconds: u32| {
            let seconds = NonZeroU32::new(seconds.min(LONGEST_MEMORY));
            seconds.filter(|_| remembers)
        };
        Ok(match answer {
            wit::Answer::NoMatch(seconds) => Answer::NoMatch {
                remember: remember(seconds),
            },
            wit::Answer::Match(seconds) => Answer::Match {
                remember: remember(seconds),
            },
            wit::Answer::NeedPayload => Answer::NeedPayload,
            wit::Answer::Undecided(reason) => Answer::Undecided {
                reason: crate::console::tame(&reason),
            },
        })
    }

    /// Makes the instance now rather than with the first packet.
    ///
    /// # Errors
    ///
    /// As [`Matcher::evaluate`].
    pub fn warm(&mut self, now: Instant, time_ms: u64) -> Result<(), Fault> {
        self.worker.warm(now, time_ms)
    }

    /// The plugin with its settings.
    pub fn configured(&self) -> &Configured {
        self.worker.configured()
    }

    /// Fuel of the last call that gave an answer.
    pub fn fuel_used(&self) -> u64 {
        self.worker.fuel_used()
    }

    /// Linear memory of the instance, in bytes; 0 where there is none.
    pub fn memory_used(&self) -> usize {
        self.worker.memory_used()
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Matcher")
            .field(self.worker.configured())
            .finish()
    }
}

fn fill(scratch: &mut wit::Packet, packet: &Packet<'_>, wanted: usize) {
    let payload = packet.payload;
    scratch.payload.clear();
    scratch
        .payload
        .extend_from_slice(payload.get(..wanted).unwrap_or(payload));
    scratch.way = wit_way(packet.way);
    scratch.protocol = packet.protocol;
    scratch.source = wit_address(packet.source);
    scratch.destination = wit_address(packet.destination);
    scratch.source_port = packet.source_port;
    scratch.destination_port = packet.destination_port;
    scratch.icmp = packet.icmp.map(wit_icmp);
    scratch.in_interface = packet.in_interface.map(|id| id.0);
    scratch.out_interface = packet.out_interface.map(|id| id.0);
    scratch.source_endpoint = packet.source_endpoint.map(|id| id.0);
    scratch.destination_endpoint = packet.destination_endpoint.map(|id| id.0);
    scratch.time_ms = packet.time_ms;
    scratch.payload_length = packet.payload_length;
}

pub(crate) fn wit_way(way: Way) -> types::Way {
    match way {
        Way::Input => types::Way::Input,
        Way::Output => types::Way::Output,
        Way::Forward => types::Way::Forward,
    }
}

pub(crate) fn wit_icmp((kind, code): (u8, u8)) -> types::Icmp {
    types::Icmp { kind, code }
}

pub(crate) fn wit_address(address: IpAddr) -> types::IpAddress {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            types::IpAddress::Ipv4((a, b, c, d))
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.segments();
            types::IpAddress::Ipv6((a, b, c, d, e, f, g, h))
        }
    }
}

pub(crate) fn address(address: types::IpAddress) -> IpAddr {
    match address {
        types::IpAddress::Ipv4((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).into(),
        types::IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => {
            Ipv6Addr::new(a, b, c, d, e, f, g, h).into()
        }
    }
}
