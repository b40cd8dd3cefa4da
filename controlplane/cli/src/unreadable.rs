//! Answers that lack rows which the control plane cannot read: they are partial, and say so.

use palisade_proto::v1::UnreadableRow;

/// Names the rows that an answer lacks; the exit code of the answer: 0 whole, 1 partial.
pub(crate) fn warn(rows: &[UnreadableRow]) -> u8 {
    for row in rows {
        eprintln!("warning: {}", sentence(row));
    }
    u8::from(!rows.is_empty())
}

/// A row in one sentence, with what to do about it.
pub(crate) fn sentence(row: &UnreadableRow) -> String {
    format!("`{}` cannot be read: {}; {}", row.key, row.reason, row.fix)
}
