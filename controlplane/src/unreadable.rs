//! Rows of the store that this build cannot read: which they are, whom they freeze, and what to do about them.
//!
//! Owns: the list of prefixes whose rows are read, one judgement for all of them, and the words. Refuses to own: reading
//! (`palisade_model::stored`), freezing ([`crate::hub`]) and accepting a loss (`store_service`).
//!
//! The law kept with them: a row that cannot be read is never treated as if it were absent. Nobody skips it, takes a
//! default for it or writes over it. Whoever meets one refuses what depends on it, and names it.

mod rows;

pub use rows::Rows;

use crate::{plugins, resources, tokens};
use palisade_compile::{Reach, reach};
use palisade_model::{
    ResourceId,
    stored::{self, StoredResource, Unreadable},
};
use palisade_proto::v1::UnreadableRow;
use palisade_store::{KeyValue, Revision};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt as _};

/// Under these are all rows that are read: resources, join tokens, records of components. What stands elsewhere has no
/// text to read: the bytes of components, which their digest proves, and the marks `/c/`, which say all by being there.
pub(crate) const PREFIXES: [&str; 3] = [resources::PREFIX, tokens::PREFIX, plugins::RECORDS];
/// The most rows that a sentence names.
const NAMED: usize = 3;

/// A row that cannot be read, as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Which, and why.
    pub row: Unreadable,
    /// Whose views it may affect, which are frozen.
    pub reach: Reach,
    /// Its last write.
    pub revision: Revision,
}

/// Reads whatever stands at a key; `None`: nothing that views are compiled from.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Option<StoredResource>, Unreadable> {
    if key.starts_with(resources::PREFIX.as_bytes()) {
        stored::read(key, value).map(Some)
    } else if key.starts_with(tokens::PREFIX.as_bytes()) {
        tokens::read(key, value).map(|_| None)
    } else if key.starts_with(plugins::RECORDS.as_bytes()) {
        plugins::read(key, value).map(|_| None)
    } else {
        Ok(None)
    }
}

/// Whose views the row at a key may affect.
fn reach_of(key: &[u8]) -> Reach {
    if !key.starts_with(resources::PREFIX.as_bytes()) {
        return Reach::Nobody;
    }
    let id = std::str::from_utf8(key)
        .ok()
        .and_then(ResourceId::from_store_key);
    // Of what a later build calls a kind nothing is known.
    id.as_ref().map_or(Reach::Everybody, reach)
}

/// What to do about a row, in words.
pub(crate) fn fix(key: &str) -> String {
    format!(
        "run a build that can read it, or accept the loss: `palisadectl store accept-unreadable {key}`"
    )
}

/// A row for the wire.
pub(crate) fn describe(row: &Unreadable) -> UnreadableRow {
    UnreadableRow {
        key: row.key.clone(),
        reason: row.reason.clone(),
        fix: fix(&row.key),
        freezes: freezes(&reach_of(row.key.as_bytes())),
        revision: 0,
        value: Vec::new(),
    }
}

/// Rows for the wire.
pub(crate) fn describe_all(rows: &[Unreadable]) -> Vec<UnreadableRow> {
    rows.iter().map(describe).collect()
}

fn freezes(reach: &Reach) -> String {
    match reach {
        Reach::Nobody => "no node".to_owned(),
        Reach::Node(name) => format!("node `{name}`"),
        Reach::Everybody => "all nodes".to_owned(),
    }
}

/// The first of `count` rows in one sentence, each with what to do; empty without rows.
pub(crate) fn sentence<'a>(rows: impl IntoIterator<Item = &'a Unreadable>, count: usize) -> String {
    let rows = rows.into_iter().take(NAMED);
    let told = rows.map(|row| format!("{row}; {}", fix(&row.key)));
    let mut told: Vec<String> = told.collect();
    if count > NAMED {
        told.push(format!("and {} more", count - NAMED));
    }
    told.join("; ")
}

/// `FAILED_PRECONDITION`: what was asked for depends on rows that cannot be read, and would write over them or do as if
/// they were absent. `why` says how.
pub(crate) fn refusal(rows: &[Unreadable], why: &str) -> Status {
    let violations: Vec<_> = rows
        .iter()
        .take(50)
        .map(|row| violation(row, why))
        .collect();
    let message = match violations.as_slice() {
        [only] => format!("{}: {}", only.subject, only.description),
        all => format!("{} rows cannot be read: {why}", all.len()),
    };
    let details = ErrorDetails::with_precondition_failure(violations);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// A row as a condition that does not hold.
pub(crate) fn violation(row: &Unreadable, why: &str) -> PreconditionViolation {
    let description = format!("cannot be read ({}), {why}; {}", row.reason, fix(&row.key));
    PreconditionViolation::new("UNREADABLE", row.key.clone(), description)
}

// === impl Found ===

impl Found {
    /// A row that stands.
    pub(crate) fn new(key: &[u8], row: Unreadable, revision: Revision) -> Self {
        Self {
            row,
            reach: reach_of(key),
            revision,
        }
    }

    /// Judges what stands at a key: `None` if it can be read.
    pub(crate) fn judge(item: &KeyValue) -> Option<Self> {
        let row = read(&item.key, &item.value).err()?;
        Some(Self::new(&item.key, row, item.modified))
    }

    /// Whether the view of a node may be another with the row.
    pub fn concerns(&self, node: &str) -> bool {
        match &self.reach {
            Reach::Nobody => false,
            Reach::Node(name) => name.as_str() == node,
            Reach::Everybody => true,
        }
    }

    /// Whose views it freezes, in words.
    pub(crate) fn freezes(&self) -> String {
        freezes(&self.reach)
    }

    /// For the wire.
    pub(crate) fn describe(&self) -> UnreadableRow {
        UnreadableRow {
            revision: self.revision.0,
            freezes: self.freezes(),
            ..describe(&self.row)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_whose_views_are_frozen() {
        for (key, reach) in [
            ("/r/GlobalNetworkPolicy/-/a", "all nodes"),
            ("/r/HostEndpoint/-/a", "all nodes"),
            ("/r/Invariant/-/a", "all nodes"),
            ("/r/Node/-/n1", "node `n1`"),
            ("/r/FelixConfiguration/-/node.n1", "node `n1`"),
            ("/r/FelixConfiguration/-/default", "all nodes"),
            ("/r/ClusterInformation/-/default", "no node"),
            ("/t/abc", "no node"),
            ("/p/abc", "no node"),
        ] {
            assert_eq!(freezes(&reach_of(key.as_bytes())), reach, "{key}");
        }
    }

    #[test]
    fn a_refusal_names_row_reason_and_both_ways_out() {
        let row = Unreadable::new(b"/r/Tier/-/a", "it is of schema 2");
        let status = refusal(&[row], "so it is not written over");
        assert_eq!(status.code(), Code::FailedPrecondition);
        for told in [
            "/r/Tier/-/a",
            "schema 2",
            "run a build that can read it",
            "palisadectl store accept-unreadable /r/Tier/-/a",
        ] {
            assert!(status.message().contains(told), "{}", status.message());
        }
    }
}
