//! Lists and maps on their way into a raw shape: unknown, misplaced and repeated fields.

use std::collections::BTreeSet;

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess};

use super::{Decoder, Stop, scalar};
use crate::document::node::{Entry, Node, Shape};
use crate::path::Segment;

/// Fields that `palisade.dev/v1` will add to a rule.
const EXTENSIONS: [&str; 3] = ["expires", "process", "limit"];

pub(super) struct Elements<'a> {
    parent: Decoder<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

pub(super) struct Fields<'a> {
    parent: Decoder<'a>,
    entries: std::vec::IntoIter<&'a Entry>,
    waiting: Option<&'a Entry>,
}

impl<'a> Decoder<'a> {
    pub(super) fn map_entries(&self) -> &'a [Entry] {
        match &self.node.shape {
            Shape::Map(entries) => entries,
            // `spec:` with nothing behind it is an empty map.
            _ if self.is_null() => &[],
            _ => {
                self.wrong("a map");
                &[]
            }
        }
    }
}

impl<'a> Elements<'a> {
    pub(super) fn new(parent: Decoder<'a>, items: &'a [Node]) -> Self {
        Self {
            parent,
            items: items.iter().enumerate(),
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stop> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let at = self.parent.at.index(index);
        seed.deserialize(Decoder {
            node,
            at: &at,
            sink: self.parent.sink,
        })
        .map(Some)
    }
}

impl<'a> Fields<'a> {
    /// `known` are the fields of a struct; `None` for a map with free keys, whose plain keys are text.
    pub(super) fn new(
        parent: Decoder<'a>,
        entries: &'a [Entry],
        known: Option<&'static [&'static str]>,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let kept: Vec<_> = entries
            .iter()
            .filter(|entry| parent.accepts(entry, known, &mut seen))
            .collect();
        Self {
            parent,
            entries: kept.into_iter(),
            waiting: None,
        }
    }
}

impl<'a> Decoder<'a> {
    fn accepts(
        &self,
        entry: &'a Entry,
        known: Option<&[&str]>,
        seen: &mut BTreeSet<&'a str>,
    ) -> bool {
        let name = entry.key.text.as_str();
        let fault = match known {
            _ if !seen.insert(name) => Some(format!("field `{name}` stands twice")),
            Some(known) if !known.contains(&name) => Some(self.unknown(name, known)),
            None if entry.key.plain => scalar::refusal(name),
            _ => None,
        };
        match fault {
            None => true,
            Some(message) => {
                self.sink
                    .borrow_mut()
                    .add_at_key(&self.at.field(name), message);
                false
            }
        }
    }

    fn unknown(&self, name: &str, known: &[&str]) -> String {
        let in_rule = self.at.path().0.iter().any(
            |segment| matches!(segment, Segment::Key(key) if key == "ingress" || key == "egress"),
        );
        if in_rule && EXTENSIONS.contains(&name) {
            return format!(
                "field `{name}` does not exist in projectcalico.org/v3, and this build does not know it in palisade.dev/v1 either"
            );
        }
        let place = "field is not recognised or is in the wrong location";
        match known
            .iter()
            .min_by_key(|candidate| distance(name, candidate))
        {
            Some(best) if distance(name, best) <= 2 => {
                format!("{place}: `{name}`; did you mean `{best}`?")
            }
            _ => format!("{place}: `{name}`"),
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stop> {
        self.waiting = self.entries.next();
        let Some(entry) = self.waiting else {
            return Ok(None);
        };
        let key: StringDeserializer<Stop> = entry.key.text.clone().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let Some(entry) = self.waiting.take() else {
            return Err(Stop("a value without a key".to_owned()));
        };
        let at = self.parent.at.field(&entry.key.text);
        seed.deserialize(Decoder {
            node: &entry.value,
            at: &at,
            sink: self.parent.sink,
        })
    }
}

/// Edit distance, letter case aside.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().flat_map(char::to_lowercase).enumerate().take(64) {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for ((y, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or(i + 1);
            next.push(
                (diagonal + usize::from(x != *y))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
