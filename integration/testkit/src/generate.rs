//! Worlds and packets by seed: small pools of names, labels, addresses and ports, so that things meet.
//!
//! Every field, list and stage that the specification gives a meaning is reached; `coverage` counts it. What is made is
//! valid: a document that the product refuses is a finding.

mod dice;
mod documents;
mod packets;
mod pools;
mod rules;
mod selectors;

pub use dice::Dice;
pub use packets::packets;

use crate::document::{Body, Document, Machine, World};
use std::collections::BTreeMap;

/// What worlds may be about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Workload interfaces, with or without an endpoint.
    pub workloads: bool,
    /// Policy before connection tracking.
    pub untracked: bool,
    /// Policy before destination translation.
    pub pre_dnat: bool,
}

impl Scope {
    /// Everything.
    pub const ALL: Self = Self {
        workloads: true,
        untracked: true,
        pre_dnat: true,
    };

    fn includes(self, document: &Document) -> bool {
        match &document.body {
            Body::WorkloadEndpoint(_) => self.workloads,
            Body::GlobalNetworkPolicy(spec) => {
                (self.untracked || !spec.do_not_track) && (self.pre_dnat || !spec.pre_dnat)
            }
            _ => true,
        }
    }
}

/// A world on its node `n1`. The same seed gives the same world.
pub fn world(seed: u64, scope: Scope) -> World {
    let dice = &mut Dice::new(seed);
    let machine = machine(dice, scope);
    let mut documents = documents::documents(dice);
    documents.retain(|document| scope.includes(document));
    World {
        documents: last_of_each(documents),
        machine,
    }
}

/// Of several documents with one identity the last is what a store would hold.
fn last_of_each(documents: Vec<Document>) -> Vec<Document> {
    let mut by_identity = BTreeMap::new();
    for document in documents {
        let metadata = &document.metadata;
        let identity = (
            document.kind(),
            metadata.namespace.clone(),
            metadata.name.clone(),
        );
        by_identity.insert(identity, document);
    }
    by_identity.into_values().collect()
}

fn machine(dice: &mut Dice, scope: Scope) -> Machine {
    let addresses = |texts: &[&str]| texts.iter().map(|text| pools::address(text)).collect();
    let mut interfaces = BTreeMap::from([
        ("lo".to_owned(), addresses(&["127.0.0.1", "::1"])),
        ("eth0".to_owned(), addresses(&["10.0.0.1", "fd00::1"])),
        ("eth1".to_owned(), addresses(&["10.0.1.1", "fd00:0:0:1::1"])),
        ("kube-ipvs0".to_owned(), addresses(&["10.0.0.9"])),
    ]);
    if dice.chance(30) {
        interfaces.insert("eth2".to_owned(), addresses(&["10.0.0.2"]));
    }
    if scope.workloads {
        for name in ["cali1", "cali2", "tap1"] {
            interfaces.insert(name.to_owned(), Vec::new());
        }
    }
    let servers = ["192.0.2.7:7600", "192.0.2.7:443", "[fd00::7]:443"];
    let control_plane = servers
        .iter()
        .filter(|_| dice.chance(50))
        .filter_map(|text| text.parse().ok())
        .collect();
    Machine {
        node: "n1".to_owned(),
        interfaces,
        control_plane,
    }
}
