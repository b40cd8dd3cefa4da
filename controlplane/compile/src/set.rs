//! Sets as rules define them: named by what they mean, so that two spellings share one.

use crate::object::Object;
use palisade_model::PortName;
use palisade_policy::{
    ids::SetId,
    set::{Member, PortMember},
};
use palisade_selector::Selector;

/// What a set holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SetDefinition {
    /// Addresses of what the selector picks.
    Nets(Selector),
    /// (address, protocol, port) of what the selector picks and declares the port. The packet's protocol is part of
    /// the lookup, so a rule's protocol need not be part of the set.
    Ports(Selector, PortName),
}

impl SetDefinition {
    /// Its name: a hash of the canonical text.
    pub(crate) fn id(&self) -> SetId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"palisade set 1");
        let kind = match self {
            Self::Nets(selector) => {
                hasher.update(selector.to_string().as_bytes());
                "s"
            }
            Self::Ports(selector, port) => {
                hasher.update(port.as_str().as_bytes());
                hasher.update(b"\n");
                hasher.update(selector.to_string().as_bytes());
                "p"
            }
        };
        let hex = hasher.finalize().to_hex();
        SetId::new(format!("{kind}:{}", &hex.as_str()[..32]))
    }

    fn selector(&self) -> &Selector {
        match self {
            Self::Nets(selector) | Self::Ports(selector, _) => selector,
        }
    }

    /// Whether the object's members belong to the set.
    pub(crate) fn selects(&self, object: &Object) -> bool {
        self.selector().matches(&object.labels)
    }

    /// What an object would add, whether or not it is selected. Sorted, without repetition.
    pub(crate) fn members(&self, object: &Object) -> Vec<Member> {
        match self {
            Self::Nets(_) => object.nets.iter().copied().map(Member::Net).collect(),
            Self::Ports(_, name) => {
                let ports = object.ports.iter().filter(|port| port.name == *name);
                let mut members: Vec<Member> = ports
                    .flat_map(|port| {
                        object.nets.iter().map(|net| {
                            Member::Port(PortMember {
                                address: net.addr(),
                                protocol: port.protocol,
                                port: port.port,
                            })
                        })
                    })
                    .collect();
                members.sort_unstable();
                members.dedup();
                members
            }
        }
    }
}
