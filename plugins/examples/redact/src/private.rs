//! Which endpoints are private: those with the label.

use std::collections::HashMap;

use palisade_plugin::auditor::{Flow, Parts};
use palisade_plugin::{EndpointId, node};

/// Endpoints remembered at most; beyond it they are looked up anew.
const REMEMBERED: usize = 4096;

/// The label, and what is known of endpoints of this generation of ids.
#[derive(Debug)]
pub(crate) struct Private {
    key: String,
    /// `None`: any value.
    value: Option<String>,
    generation: u64,
    known: HashMap<EndpointId, bool>,
}

impl Private {
    /// From `key` or `key=value`.
    pub(crate) fn new(label: &str) -> Self {
        let (key, value) = match label.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (label, None),
        };
        Self {
            key: key.to_owned(),
            value,
            generation: 0,
            known: HashMap::new(),
        }
    }

    /// What must be blanked of a flow.
    pub(crate) fn parts(&mut self, flow: &Flow) -> Parts {
        let mut parts = Parts::empty();
        if flow.source_endpoint.is_none() && flow.destination_endpoint.is_none() {
            return parts;
        }
        self.renew(node::generation());
        if flow.source_endpoint.is_some_and(|id| self.is_private(id)) {
            parts |= Parts::SOURCE | Parts::SOURCE_PORT;
        }
        if flow
            .destination_endpoint
            .is_some_and(|id| self.is_private(id))
        {
            parts |= Parts::DESTINATION | Parts::DESTINATION_PORT;
        }
        parts
    }

    fn renew(&mut self, generation: u64) {
        if generation != self.generation || self.known.len() > REMEMBERED {
            self.generation = generation;
            self.known.clear();
        }
    }

    fn is_private(&mut self, id: EndpointId) -> bool {
        let Self {
            key, value, known, ..
        } = self;
        *known
            .entry(id)
            .or_insert_with(|| match (node::label(id, key), value) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(actual), Some(wanted)) => actual == *wanted,
            })
    }
}
