//! Views small enough to come back at other revisions.

use palisade_node::enforce::saved::SavedView;
use std::convert::Infallible;

/// A view: which of eight items are in it. Few, so that views come back at other revisions.
pub(super) type Items = u8;

pub(super) fn operation(item: u8) -> [u8; 1] {
    [item]
}

pub(super) fn snapshot(items: Items) -> Vec<[u8; 1]> {
    let there = (0..8).filter(|item| items & (1 << item) != 0);
    there.map(operation).collect()
}

/// Builds the view, and sees that it is the one that its positions say.
pub(super) fn build(saved: &SavedView<'_>) -> Result<Items, Infallible> {
    let toggle = |items: Items, ops: &[u8]| ops.iter().fold(items, |items, op| items ^ (1 << op));
    let mut items = saved
        .snapshot
        .iter()
        .fold(0, |items, ops| toggle(items, ops));
    assert_eq!(saved.base.digest.0[0], items);
    for (position, ops) in &saved.changes {
        items = toggle(items, ops);
        assert_eq!(position.digest.0[0], items);
    }
    Ok(items)
}
