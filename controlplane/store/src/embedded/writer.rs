//! The one thread that writes.
//!
//! A transaction is committed at once when the writer is idle. Those that arrive while a commit is under way share the
//! next one; none ever waits for company. Each has its own revision, and is judged against what those before it in the
//! group wrote. A group is durable as a whole, or answered as a failure as a whole.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::layout::{
    CUR, LOG, LogRow, META, META_COMPACTED, META_REVISION, Put, decode_current, encode_current,
};
use super::shared::{Head, Shared};
use super::trim::Trimmer;
use crate::{Batch, KeyValue, Op, Revision, StoreError, Txn, TxnOutcome};

/// How many requests share one commit at most, and how many bytes of them.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 16 << 20;

/// What the writer is asked to do.
pub(super) enum Ask {
    Txn(Txn),
    /// Answered like a transaction without operations.
    Compact(Revision),
}

pub(super) type Answer = Result<TxnOutcome, StoreError>;

pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Answer>,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) trimmer: Trimmer,
}

/// The store as the group under way leaves it, not yet durable.
struct Group<'txn> {
    cur: Table<'txn, &'static [u8], &'static [u8]>,
    log: Table<'txn, (u64, u32), &'static [u8]>,
    progress: Progress,
}

/// Where a group takes the store.
struct Progress {
    revision: Revision,
    compacted: Revision,
    batches: Vec<Batch>,
}

// === impl Writer ===

impl Writer {
    /// Runs until every sender is gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let mut size = first.ask.size();
            let mut group = vec![first];
            while group.len() < GROUP && size < GROUP_BYTES {
                let Ok(next) = self.requests.try_recv() else {
                    break;
                };
                size += next.ask.size();
                group.push(next);
            }
            self.answer(group);
        }
    }

    fn answer(&mut self, group: Vec<Request>) {
        let (asks, replies): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|request| (request.ask, request.reply))
            .unzip();
        let count = replies.len();
        let answers = self.commit(asks).unwrap_or_else(|failure| {
            if let Failure::Engine(error) = &failure {
                self.shared.fail(Arc::clone(error));
            }
            vec![Err(failure.into_store_error()); count]
        });
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller that stopped waiting does not undo its transaction.
            let _ = reply.send(answer);
        }
    }

    /// Answers every ask, in order; whatever changed is durable and published.
    fn commit(&mut self, asks: Vec<Ask>) -> Result<Vec<Answer>, Failure> {
        let head = self.shared.head();
        let database = self.shared.writable()?;
        let tx = database.begin_write()?;
        let (answers, progress) = self.judge(&tx, &head, asks)?;
        let (revision, compacted) = (progress.revision, progress.compacted);
        if (revision, compacted) == (head.revision, head.compacted) {
            tx.abort()?;
            return Ok(answers);
        }
        {
            let mut meta = tx.open_table(META)?;
            meta.insert(META_REVISION, &revision.0.to_be_bytes()[..])?;
            meta.insert(META_COMPACTED, &compacted.0.to_be_bytes()[..])?;
        }
        tx.commit()?;
        self.shared.publish(progress.batches, revision, compacted)?;
        Ok(answers)
    }

    fn judge(
        &mut self,
        tx: &WriteTransaction,
        head: &Head,
        asks: Vec<Ask>,
    ) -> Result<(Vec<Answer>, Progress), Failure> {
        let mut group = Group {
            cur: tx.open_table(CUR)?,
            log: tx.open_table(LOG)?,
            progress: Progress {
                revision: head.revision,
                compacted: head.compacted,
                batches: Vec::new(),
            },
        };
        let mut answers = Vec::with_capacity(asks.len());
        for ask in asks {
            answers.push(match ask {
                Ask::Txn(txn) => Ok(group.txn(txn)?),
                Ask::Compact(oldest) if oldest > head.revision => Err(StoreError::Future {
                    requested: oldest,
                    current: head.revision,
                }),
                Ask::Compact(oldest) => Ok(group.compact(oldest)?),
            });
        }
        if !group.progress.batches.is_empty() {
            let cut = self.trimmer.cut(&group.log, head.revision)?;
            group.compact(cut)?;
        }
        Ok((answers, group.progress))
    }
}

// === impl Group ===

impl Group<'_> {
    fn txn(&mut self, txn: Txn) -> Result<TxnOutcome, Failure> {
        let mut current = Vec::with_capacity(txn.compare.len());
        for compare in &txn.compare {
            current.push(self.get(compare.key())?);
        }
        let mut judged = txn.compare.iter().zip(&current);
        if !judged.all(|(compare, current)| compare.holds(current.as_ref())) {
            let revision = self.progress.revision;
            return Ok(TxnOutcome::Failed { revision, current });
        }
        let revision = self.progress.revision.next();
        let mut events = Vec::new();
        for (index, op) in (0..).zip(txn.then) {
            if let Some(row) = self.change(op, revision)? {
                self.log
                    .insert((revision.0, index), row.encode().as_slice())?;
                events.push(row.into_event()?);
            }
        }
        if !events.is_empty() {
            self.progress.batches.push(Batch { revision, events });
            self.progress.revision = revision;
        }
        let revision = self.progress.revision;
        Ok(TxnOutcome::Committed { revision })
    }

    fn change(&mut self, op: Op, revision: Revision) -> Result<Option<LogRow>, Failure> {
        let previous = self.get(op.key())?;
        let (key, put) = match op {
            Op::Put(key, value) => {
                let created = previous
                    .as_ref()
                    .map_or(revision, |previous| previous.created);
                let current = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    created,
                    modified: revision,
                };
                self.cur
                    .insert(&key[..], encode_current(&current).as_slice())?;
                (key, Some(Put { created, value }))
            }
            Op::Delete(_) if previous.is_none() => return Ok(None),
            Op::Delete(key) => {
                self.cur.remove(&key[..])?;
                (key, None)
            }
        };
        Ok(Some(LogRow { key, put, previous }))
    }

    fn compact(&mut self, oldest: Revision) -> Result<TxnOutcome, Failure> {
        if oldest > self.progress.compacted {
            self.log.retain_in(..=(oldest.0, u32::MAX), |_, _| false)?;
            self.progress.compacted = oldest;
        }
        let revision = self.progress.revision;
        Ok(TxnOutcome::Committed { revision })
    }

    fn get(&self, key: &Bytes) -> Result<Option<KeyValue>, Failure> {
        let row = self.cur.get(&key[..])?;
        row.map(|row| decode_current(key, row.value())).transpose()
    }
}

// === impl Ask ===

impl Ask {
    fn size(&self) -> usize {
        let Self::Txn(txn) = self else { return 0 };
        let sizes = txn.then.iter().map(|op| match op {
            Op::Put(key, value) => key.len() + value.len(),
            Op::Delete(key) => key.len(),
        });
        sizes.sum()
    }
}
