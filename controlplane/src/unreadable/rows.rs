//! All rows that cannot be read, found by key and by whom they concern. A downgrade may make very many of them, so what is
//! asked for each node does not walk through all.

use super::{Found, NAMED, sentence};
use bytes::Bytes;
use palisade_compile::Reach;
use palisade_model::Name;
use std::collections::{BTreeMap, BTreeSet};

/// All rows that cannot be read.
///
/// INVARIANT: each key of `by_key` stands once in `by_reach`, under the reach of its row.
#[derive(Clone, Default, Debug)]
pub struct Rows {
    by_key: BTreeMap<Bytes, Found>,
    by_reach: BTreeMap<Reach, BTreeSet<Bytes>>,
}

// === impl Rows ===

impl Rows {
    /// Puts a row in; gives what was known of the key.
    pub(crate) fn insert(&mut self, key: Bytes, found: Found) -> Option<Found> {
        let old = self.remove(&key);
        let reach = self.by_reach.entry(found.reach.clone()).or_default();
        reach.insert(key.clone());
        self.by_key.insert(key, found);
        old
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Found> {
        let old = self.by_key.remove(key)?;
        if let Some(keys) = self.by_reach.get_mut(&old.reach) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_reach.remove(&old.reach);
            }
        }
        Some(old)
    }

    /// The row at a key.
    pub fn get(&self, key: &[u8]) -> Option<&Found> {
        self.by_key.get(key)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Found)> {
        self.by_key.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether the view of any node may be another with them.
    pub fn concern_everybody(&self) -> bool {
        self.by_reach.contains_key(&Reach::Everybody)
    }

    /// Whether the view of a node may be another with them.
    pub fn concern(&self, node: &str) -> bool {
        !self.of(node).is_empty()
    }

    /// Nodes with a row of their own.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Name> {
        self.by_reach.keys().filter_map(|reach| match reach {
            Reach::Node(name) => Some(name),
            Reach::Nobody | Reach::Everybody => None,
        })
    }

    /// Those that concern a node in one sentence; empty without any.
    pub(crate) fn sentence_for(&self, node: &str) -> String {
        let sets = self.of(node);
        let count = sets.iter().map(|keys| keys.len()).sum();
        let keys = sets.into_iter().flatten().take(NAMED);
        let rows = keys.filter_map(|key| self.get(key));
        sentence(rows.map(|found| &found.row), count)
    }

    /// All of them in one sentence; empty without any.
    pub(crate) fn sentence(&self) -> String {
        sentence(self.by_key.values().map(|found| &found.row), self.len())
    }

    /// Keys of those that concern a node.
    fn of(&self, node: &str) -> Vec<&BTreeSet<Bytes>> {
        let own = Name::new(node).map(Reach::Node);
        let reaches = [Some(Reach::Everybody), own].into_iter().flatten();
        reaches
            .filter_map(|reach| self.by_reach.get(&reach))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_model::stored::Unreadable;
    use palisade_store::Revision;

    fn put(rows: &mut Rows, key: &'static str) {
        let row = Unreadable::new(key.as_bytes(), "it is of schema 2");
        let found = Found::new(key.as_bytes(), row, Revision(1));
        rows.insert(Bytes::from_static(key.as_bytes()), found);
    }

    #[test]
    fn rows_are_found_by_whom_they_concern_until_they_are_gone() {
        let mut rows = Rows::default();
        put(&mut rows, "/r/Node/-/n1");
        put(&mut rows, "/t/abc");
        assert!(rows.concern("n1") && !rows.concern("n2") && !rows.concern_everybody());
        put(&mut rows, "/r/Tier/-/a");
        put(&mut rows, "/r/Tier/-/a");
        assert_eq!(rows.len(), 3);
        assert!(rows.concern("n2") && rows.concern_everybody());
        let told = rows.sentence_for("n1");
        assert!(told.contains("/r/Node/-/n1") && told.contains("/r/Tier/-/a"));
        assert!(!told.contains("/t/abc"));
        rows.remove(b"/r/Tier/-/a");
        assert!(!rows.concern("n2") && !rows.concern_everybody());
        assert_eq!(rows.sentence_for("n2"), "");
    }

    #[test]
    fn of_very_many_a_few_are_named_and_all_are_counted() {
        let mut rows = Rows::default();
        for key in ["/r/Tier/-/a", "/r/Tier/-/b", "/r/Tier/-/c", "/r/Tier/-/d"] {
            put(&mut rows, key);
        }
        for told in [rows.sentence(), rows.sentence_for("n")] {
            assert!(told.contains("/r/Tier/-/c") && !told.contains("/r/Tier/-/d"));
            assert!(told.ends_with("and 1 more"), "{told}");
        }
    }
}
