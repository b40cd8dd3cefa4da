//! What becomes of queued packets, as messages.

use super::SUBSYSTEM;
use crate::nfnetlink::Outgoing;
use std::collections::BTreeSet;

/// What becomes of a queued packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It leaves the base chain as accepted: the rest of the chain does not see it.
    Accept,
    /// It ends.
    Drop,
    /// It enters the base chain anew, with this mark: all bits of it.
    Repeat {
        /// The whole mark.
        mark: u32,
    },
}

/// `NFQNL_MSG_VERDICT`, `NFQNL_MSG_VERDICT_BATCH`.
const SINGLE: u16 = SUBSYSTEM | 1;
const BATCH: u16 = SUBSYSTEM | 3;
/// `NFQA_VERDICT_HDR`, `NFQA_MARK`.
const HEADER: u16 = 2;
const MARK: u16 = 3;

/// Writes the verdicts of packets that wait, which then do no more. One message decides all packets up to a number, where
/// all those that wait up to there are given the same verdict.
pub(super) fn write(
    outgoing: &mut Outgoing,
    queue: u16,
    waiting: &mut BTreeSet<u32>,
    verdicts: &[(u32, Verdict)],
) {
    let mut verdicts: Vec<(u32, Verdict)> = verdicts
        .iter()
        .filter(|(id, _)| waiting.contains(id))
        .copied()
        .collect();
    verdicts.sort_by_key(|(id, _)| *id);
    verdicts.dedup_by_key(|(id, _)| *id);
    if let Some((_, first)) = verdicts.first().copied() {
        // How far the oldest packets that wait are decided, and alike.
        let alike = waiting
            .iter()
            .zip(&verdicts)
            .take_while(|(oldest, (id, verdict))| *oldest == id && *verdict == first)
            .count();
        if alike > 1
            && let Some((last, _)) = verdicts.get(alike - 1).copied()
        {
            message(outgoing, BATCH, queue, last, first);
            for (id, _) in verdicts.drain(..alike) {
                waiting.remove(&id);
            }
        }
    }
    for (id, verdict) in verdicts {
        message(outgoing, SINGLE, queue, id, verdict);
        waiting.remove(&id);
    }
}

fn message(outgoing: &mut Outgoing, kind: u16, queue: u16, id: u32, verdict: Verdict) {
    let (code, mark) = match verdict {
        Verdict::Drop => (0_u32, None),
        Verdict::Accept => (1, None),
        Verdict::Repeat { mark } => (4, Some(mark)),
    };
    // Without acknowledgement: refusals are told all the same.
    outgoing.begin(kind, 0, 0, queue);
    let ([a, b, c, d], [e, f, g, h]) = (code.to_be_bytes(), id.to_be_bytes());
    outgoing.attribute(HEADER, &[a, b, c, d, e, f, g, h]);
    if let Some(mark) = mark {
        outgoing.attribute(MARK, &mark.to_be_bytes());
    }
}
