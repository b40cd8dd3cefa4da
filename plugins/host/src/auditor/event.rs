//! What happened, and what an auditor makes of it.

use std::net::IpAddr;

use crate::matcher::{EndpointId, InterfaceId, RuleId, Way};

/// A named text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Field {
    /// Its name.
    pub key: String,
    /// Its text.
    pub value: String,
}

/// Something that happened on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Grows by one for each event of the node, lost ones included.
    pub sequence: u64,
    /// Milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// What.
    pub body: Body,
    /// What auditors added, in order.
    pub fields: Vec<Field>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// To a flow, or a packet that opens none.
    Flow(Flow),
    /// A revision of the policy came into force.
    PolicyChange {
        /// Which.
        revision: u64,
        /// For people.
        summary: String,
    },
    /// A call of a plugin gave no answer.
    PluginFault {
        /// Which plugin.
        plugin: String,
        /// How.
        reason: String,
    },
    /// Events before this one that are lost.
    Lost(u64),
}

/// What a rule did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Action {
    Allow,
    Deny,
    Log,
}

/// Where in its life a flow is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they say it")]
pub enum Phase {
    Start,
    Update,
    End,
}

/// A flow. What is absent is unknown, or was blanked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Where in its life.
    pub phase: Phase,
    /// Its way.
    pub way: Way,
    /// What was done with it.
    pub action: Action,
    /// By which rule.
    pub rule: RuleId,
    /// IANA number of the transport protocol.
    pub protocol: u8,
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Type and code of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// Where it arrived.
    pub in_interface: Option<InterfaceId>,
    /// Where it leaves.
    pub out_interface: Option<InterfaceId>,
    /// Where it comes from.
    pub source_endpoint: Option<EndpointId>,
    /// Where it goes.
    pub destination_endpoint: Option<EndpointId>,
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far.
    pub bytes: u64,
}

/// A part of a flow that can be blanked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "as the fields of `Flow`")]
pub enum Part {
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    InInterface,
    OutInterface,
    SourceEndpoint,
    DestinationEndpoint,
}

/// Parts of a flow, sorted, each once.
pub type Parts = std::collections::BTreeSet<Part>;

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stays as it is.
    Keep,
    /// It goes no further.
    Discard,
    /// It goes on changed.
    Amend(Amendment),
}

/// A change of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amendment {
    /// Taken out of a flow; nothing in other events.
    pub blank: Parts,
    /// Added after the fields that are there.
    pub add: Vec<Field>,
}

impl Outcome {
    /// The event as it goes on; `None`: it does not.
    pub fn apply(self, mut event: Event) -> Option<Event> {
        match self {
            Self::Keep => Some(event),
            Self::Discard => None,
            Self::Amend(amendment) => {
                if let Body::Flow(flow) = &mut event.body {
                    for part in amendment.blank {
                        flow.blank(part);
                    }
                }
                event.fields.extend(amendment.add);
                Some(event)
            }
        }
    }
}

impl Amendment {
    /// Bytes of the fields it adds.
    pub(super) fn size(&self) -> usize {
        self.add
            .iter()
            .map(|field| field.key.len() + field.value.len())
            .sum()
    }
}

impl Flow {
    fn blank(&mut self, part: Part) {
        match part {
            Part::Source => self.source = None,
            Part::Destination => self.destination = None,
            Part::SourcePort => self.source_port = None,
            Part::DestinationPort => self.destination_port = None,
            Part::InInterface => self.in_interface = None,
            Part::OutInterface => self.out_interface = None,
            Part::SourceEndpoint => self.source_endpoint = None,
            Part::DestinationEndpoint => self.destination_endpoint = None,
        }
    }
}
