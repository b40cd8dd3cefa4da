//! A transaction on its way in: put together from its chunks, or refused already and passed over.

use crate::enforce::transaction::{Rejection, Transaction, code};
use palisade_policy::{
    frame::{Assembler, FrameError},
    view::Position,
};
use palisade_proto::v1;

/// Most bytes of one transaction.
const TRANSACTION_LIMIT: u64 = 512 << 20;

pub(super) struct Receiving {
    kind: v1::TransactionKind,
    /// Where it leads.
    pub(super) to: Position,
    /// `Err`: refused already, the rest is passed over until `Commit`.
    assembler: Result<Assembler, Rejection>,
}

impl Receiving {
    /// From its announcement, on a node that has this view.
    pub(super) fn begin(begin: &v1::Begin, to: Position, have: Option<&Position>) -> Self {
        Self {
            kind: begin.kind(),
            to,
            assembler: open(begin, have),
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        if let Ok(assembler) = &mut self.assembler
            && let Err(err) = assembler.push(chunk)
        {
            self.assembler = Err(Rejection::frame(&err));
        }
    }

    /// The whole of it, or why not.
    pub(super) fn finish(self) -> Result<Transaction, Rejection> {
        let ops = self
            .assembler?
            .finish()
            .map_err(|err| Rejection::frame(&err))?;
        Ok(Transaction {
            kind: self.kind,
            to: self.to,
            ops,
        })
    }
}

/// Why a transaction cannot be taken, before any of it is read.
fn open(begin: &v1::Begin, have: Option<&Position>) -> Result<Assembler, Rejection> {
    let rejection = |message: &str| Rejection {
        code: code::FAILED_PRECONDITION,
        message: message.to_owned(),
        items: Vec::new(),
        want_snapshot: true,
    };
    match begin.kind() {
        v1::TransactionKind::Unspecified => return Err(rejection("neither snapshot nor delta")),
        v1::TransactionKind::Snapshot => {}
        v1::TransactionKind::Delta => {
            let from = begin.from.as_ref().map(|from| &from.digest[..]);
            let held = have.map(|have| &have.digest.0[..]);
            if from.is_none() || from != held {
                return Err(rejection("the delta is not from the view held"));
            }
        }
    }
    Assembler::new(begin.total_bytes, TRANSACTION_LIMIT).map_err(|err| Rejection::frame(&err))
}

impl Rejection {
    fn frame(err: &FrameError) -> Self {
        Self {
            code: code::INVALID_ARGUMENT,
            message: err.to_string(),
            items: Vec::new(),
            want_snapshot: true,
        }
    }
}
