//! The latest records of all nodes, and who watches for more.

use palisade_proto::v1::{FlowRecord, NodeFlow, WatchFlowsResponse};
use prost::Message as _;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::broadcast::{self, error::RecvError};

/// Records kept, and the bytes that they may have together.
const KEPT_RECORDS: usize = 10_000;
const KEPT_BYTES: usize = 16 << 20;
/// Reports that a watch may be behind; beyond, the oldest are missed and counted.
const BEHIND: usize = 64;
/// Records in one answer.
const ANSWER: usize = 512;

/// The board.
pub(super) struct Board {
    kept: Mutex<Kept>,
    news: broadcast::Sender<Arc<Batch>>,
}

#[derive(Default)]
struct Kept {
    flows: VecDeque<(usize, Arc<NodeFlow>)>,
    bytes: usize,
    /// Records ever posted.
    posted: u64,
}

/// One report.
struct Batch {
    /// Records posted before it.
    before: u64,
    flows: Vec<Arc<NodeFlow>>,
}

/// Who watches.
pub(super) struct Watch {
    node: String,
    news: broadcast::Receiver<Arc<Batch>>,
    /// Records that it has seen or that were posted before it began.
    seen: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            news: broadcast::Sender::new(BEHIND),
        }
    }
}

impl Board {
    /// Takes a report in.
    pub(super) fn post(&self, node: &str, records: Vec<FlowRecord>) {
        let flows = records.into_iter().map(|record| {
            Arc::new(NodeFlow {
                node: node.to_owned(),
                record: Some(record),
            })
        });
        let flows: Vec<_> = flows.collect();
        // The lock is held while it is sent, so that reports come out in the order in which they are counted.
        let mut kept = self.lock();
        let before = kept.posted;
        kept.keep(&flows);
        // Nobody watches: nobody is told.
        let _ = self.news.send(Arc::new(Batch { before, flows }));
    }

    /// The latest records of a node (of all, if it is empty), and those to come.
    pub(super) fn watch(&self, node: &str, last: usize) -> (Vec<WatchFlowsResponse>, Watch) {
        let kept = self.lock();
        let watch = Watch {
            node: node.to_owned(),
            news: self.news.subscribe(),
            seen: kept.posted,
        };
        let newest_first = kept.flows.iter().rev().map(|(_, flow)| flow);
        let mut flows: Vec<_> = newest_first
            .filter(|flow| watch.is_for(flow))
            .take(last)
            .collect();
        flows.reverse();
        let answers = flows.chunks(ANSWER).map(|flows| WatchFlowsResponse {
            flows: flows.iter().map(|flow| NodeFlow::clone(flow)).collect(),
            missed: 0,
        });
        (answers.collect(), watch)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, flows: &[Arc<NodeFlow>]) {
        self.posted += flows.len() as u64;
        for flow in flows {
            let bytes = flow.encoded_len();
            self.bytes += bytes;
            self.flows.push_back((bytes, Arc::clone(flow)));
        }
        while self.flows.len() > KEPT_RECORDS || self.bytes > KEPT_BYTES {
            let Some((bytes, _)) = self.flows.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
    }
}

impl Watch {
    fn is_for(&self, flow: &NodeFlow) -> bool {
        self.node.is_empty() || self.node == flow.node
    }

    /// The next records; `None` when there will be none.
    pub(super) async fn next(&mut self) -> Option<WatchFlowsResponse> {
        loop {
            let batch = match self.news.recv().await {
                Ok(batch) => batch,
                // The gap shows in the count of the next batch.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            };
            let missed = batch.before.saturating_sub(self.seen);
            self.seen = batch.before + batch.flows.len() as u64;
            let flows = batch.flows.iter().filter(|flow| self.is_for(flow));
            let flows: Vec<_> = flows.map(|flow| NodeFlow::clone(flow)).collect();
            if !flows.is_empty() || missed > 0 {
                return Some(WatchFlowsResponse { flows, missed });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> FlowRecord {
        FlowRecord {
            sequence,
            ..FlowRecord::default()
        }
    }

    fn sequences(answer: &WatchFlowsResponse) -> Vec<u64> {
        let records = answer.flows.iter().filter_map(|flow| flow.record.as_ref());
        records.map(|record| record.sequence).collect()
    }

    #[tokio::test]
    async fn a_watch_begins_with_the_latest_of_its_node_and_goes_on() {
        let board = Board::default();
        board.post("a", vec![record(1), record(2), record(3)]);
        board.post("b", vec![record(10)]);
        let (first, mut watch) = board.watch("a", 2);
        assert_eq!(first.iter().flat_map(sequences).collect::<Vec<_>>(), [2, 3]);
        let (all, _) = board.watch("", 9);
        assert_eq!(
            all.iter().flat_map(sequences).collect::<Vec<_>>(),
            [1, 2, 3, 10]
        );
        assert!(board.watch("", 0).0.is_empty());
        board.post("b", vec![record(11)]);
        board.post("a", vec![record(4)]);
        let next = watch.next().await.expect("more");
        assert_eq!((sequences(&next), next.missed), (vec![4], 0));
    }

    #[tokio::test]
    async fn whoever_is_too_slow_learns_how_much_was_missed() {
        let board = Board::default();
        let (_, mut watch) = board.watch("", 0);
        let reports = BEHIND as u64 + 3;
        for sequence in 0..reports {
            board.post("a", vec![record(sequence), record(sequence)]);
        }
        let first = watch.next().await.expect("more");
        assert_eq!((sequences(&first), first.missed), (vec![3, 3], 6));
        let second = watch.next().await.expect("more");
        assert_eq!((sequences(&second), second.missed), (vec![4, 4], 0));
    }

    #[test]
    fn only_so_much_is_kept() {
        let board = Board::default();
        for sequence in 0..20 {
            board.post("a", vec![record(sequence); 1000]);
        }
        assert_eq!(board.lock().flows.len(), KEPT_RECORDS);
        let large = FlowRecord {
            fields: vec![palisade_proto::v1::FlowField {
                key: "k".to_owned(),
                value: "x".repeat(1 << 20),
            }],
            ..FlowRecord::default()
        };
        for _ in 0..40 {
            board.post("a", vec![large.clone()]);
        }
        assert!(board.lock().bytes <= KEPT_BYTES);
        assert!(board.lock().flows.len() < 20);
    }
}
