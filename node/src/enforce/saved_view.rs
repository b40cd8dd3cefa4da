//! A saved view becomes a held one, by the same door as one from the stream.

use crate::enforce::saved::SavedView;
use palisade_policy::{delta::Held, fault::Refusal, wire::decode_ops};
use palisade_proto::v1;
use prost::Message;

/// Why a saved view cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SavedViewError {
    /// The bytes are not operations.
    #[error("malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The operations are refused, by this version.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Builds it.
pub(super) fn build(saved: &SavedView<'_>) -> Result<Held, SavedViewError> {
    let mut snapshot = Vec::new();
    for piece in &saved.snapshot {
        snapshot.extend(parse(piece)?);
    }
    let mut held = Held::from_snapshot(decode_ops(snapshot)?, &saved.base.digest)?;
    for (position, bytes) in &saved.changes {
        // Without operations: a newer revision of the same view.
        if !bytes.is_empty() {
            held.apply(decode_ops(parse(bytes)?)?, &position.digest)?;
        }
    }
    Ok(held)
}

fn parse(mut bytes: &[u8]) -> Result<Vec<v1::ViewOp>, prost::DecodeError> {
    let mut ops = Vec::new();
    while !bytes.is_empty() {
        ops.push(v1::ViewOp::decode_length_delimited(&mut bytes)?);
    }
    Ok(ops)
}
