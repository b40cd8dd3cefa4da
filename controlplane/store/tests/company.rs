//! Group commit: a write alone is committed at once; those that come while it is being synced share the next sync.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use palisade_store::{Compare, EmbeddedStore, Op, Retention, Revision, Store, Txn, TxnOutcome};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

/// A disk whose syncs wait until the test opens the gate.
#[derive(Debug)]
struct Gated {
    disk: InMemoryBackend,
    gate: Mutex<()>,
    syncs: AtomicU64,
}

impl StorageBackend for Gated {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock().expect("no panic"));
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

fn create(key: &str) -> Txn {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Txn {
        compare: vec![Compare::Absent(key.clone())],
        then: vec![Op::Put(key, Bytes::new())],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_write_does_not_wait_and_company_shares_a_sync_but_not_a_fate() {
    let disk = Arc::new(Gated {
        disk: InMemoryBackend::new(),
        gate: Mutex::new(()),
        syncs: AtomicU64::new(0),
    });
    let backend: Arc<dyn StorageBackend> = Arc::clone(&disk) as _;
    let store = EmbeddedStore::open_on(Path::new("gated"), backend, Retention::default());
    let store = store.expect("opens");
    let before = disk.syncs.load(Ordering::SeqCst);
    let alone = store.txn(create("/alone")).await.expect("judged");
    let per_commit = disk.syncs.load(Ordering::SeqCst) - before;
    let revision = Revision(1);
    assert_eq!(alone, TxnOutcome::Committed { revision });

    let closed = disk.gate.lock().expect("no panic");
    let before = disk.syncs.load(Ordering::SeqCst);
    let mut first = store.txn(create("/first"));
    assert!(
        (&mut first).now_or_never().is_none(),
        "not acknowledged before it is synced"
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    while disk.syncs.load(Ordering::SeqCst) == before {
        assert!(Instant::now() < deadline, "a lone write waits for company");
        std::thread::yield_now();
    }
    // Company, while the first is being synced; every third one fails its compare.
    let keys: Vec<_> = (0..60)
        .map(|n| format!("/{}", n / 3 * 3 + n % 3 % 2))
        .collect();
    let mut company: FuturesUnordered<_> = keys.iter().map(|key| store.txn(create(key))).collect();
    assert!(
        company.next().now_or_never().is_none(),
        "nobody is acknowledged"
    );
    let identity = store.identity().now_or_never().expect("known at once");
    assert_eq!(identity.expect("known").revision, Revision(1));
    drop(closed);

    let first = first.await.expect("judged");
    let revision = Revision(2);
    assert_eq!(first, TxnOutcome::Committed { revision });
    let (mut revisions, mut failed) = (Vec::new(), 0);
    while let Some(outcome) = company.next().await {
        match outcome.expect("judged") {
            TxnOutcome::Committed { revision } => revisions.push(revision.0),
            TxnOutcome::Failed { .. } => failed += 1,
        }
    }
    revisions.sort_unstable();
    assert_eq!((revisions, failed), ((3..=42).collect(), 20));
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert_eq!(
        syncs,
        2 * per_commit,
        "the first alone, and all its company together"
    );
}
