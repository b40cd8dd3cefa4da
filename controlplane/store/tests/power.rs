//! Power cuts on a simulated disk that loses, reorders and tears whatever was not synced; and disks that fail.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use palisade_store::{EmbeddedStore, Op, Retention, Revision, Store, StoreError, Txn, TxnOutcome};
use redb::StorageBackend;

const SECTOR: usize = 512;

/// A disk that may fail: at the operation numbered `cut`, and (if `dead`) at every one after it, reads included.
#[derive(Debug)]
struct Disk {
    state: Mutex<Platters>,
    operations: AtomicU64,
    cut: AtomicU64,
    dead: bool,
}

#[derive(Debug, Clone, Default)]
struct Platters {
    /// What a reader sees.
    live: Vec<u8>,
    /// What survives for certain.
    synced: Vec<u8>,
    /// What was written since, sector by sector.
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// A small generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

// === impl Disk ===

impl Disk {
    fn new(platters: Platters, cut: u64, dead: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(platters),
            operations: AtomicU64::new(0),
            cut: AtomicU64::new(cut),
            dead,
        })
    }

    fn operate<T>(&self, operation: impl FnOnce(&mut Platters) -> T) -> io::Result<T> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let cut = self.cut.load(Ordering::SeqCst);
        if number == cut || (self.dead && number > cut) {
            return Err(io::Error::other("no power"));
        }
        Ok(operation(&mut self.state.lock().expect("no panic")))
    }

    /// What is found when the power is back: of the unsynced sectors, any.
    fn after_power_cut(&self, random: &mut Random) -> Platters {
        let state = self.state.lock().expect("no panic").clone();
        let mut found = state.synced;
        for (offset, sector) in state.unsynced {
            if random.next().is_multiple_of(2) {
                overwrite(&mut found, offset, &sector);
            }
        }
        Platters {
            live: found.clone(),
            synced: found,
            unsynced: Vec::new(),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().expect("no panic").live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.dead && self.operations.load(Ordering::SeqCst) > self.cut.load(Ordering::SeqCst) {
            return Err(io::Error::other("no power"));
        }
        let state = self.state.lock().expect("no panic");
        let offset = usize::try_from(offset).expect("small");
        let there = state.live.get(offset..offset + out.len());
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).expect("small");
        self.operate(|platters| platters.live.resize(len, 0))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(|platters| {
            platters.synced = platters.live.clone();
            platters.unsynced.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("small");
        self.operate(|platters| {
            overwrite(&mut platters.live, offset, data);
            let mut done = 0;
            while done < data.len() {
                let at = offset + done;
                let take = (SECTOR - at % SECTOR).min(data.len() - done);
                platters
                    .unsynced
                    .push((at, data[done..done + take].to_vec()));
                done += take;
            }
        })
    }
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

// === impl Random ===

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

// === tests ===

fn open(disk: &Arc<Disk>) -> EmbeddedStore {
    let disk: Arc<dyn StorageBackend> = Arc::clone(disk) as _;
    EmbeddedStore::open_on(Path::new("simulated"), disk, Retention::default()).expect("opens")
}

fn pair(name: &str) -> Txn {
    let op = |prefix: &str| {
        Op::Put(
            Bytes::from(format!("{prefix}{name}")),
            Bytes::from(vec![7; 600]),
        )
    };
    Txn::unconditional(vec![op("/a/"), op("/b/")])
}

/// Writes from three tasks until the disk fails; gives what was acknowledged.
async fn write_until_failure(store: Arc<EmbeddedStore>, life: u64) -> Vec<(String, Revision)> {
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0_u64.. {
                    let name = format!("{life}-{writer}-{n}");
                    match store.txn(pair(&name)).await {
                        Ok(TxnOutcome::Committed { revision }) => {
                            acknowledged.push((name, revision));
                        }
                        Ok(failed) => panic!("{failed:?}"),
                        Err(StoreError::Unavailable { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("no panic"));
    }
    acknowledged
}

async fn keys(store: &EmbeddedStore, prefix: &str) -> Vec<(String, Revision)> {
    let page = store.range(prefix.as_bytes(), None, usize::MAX, None).await;
    let items = page.expect("readable").items.into_iter();
    let name = |key: &[u8]| String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
    items.map(|item| (name(&item.key), item.modified)).collect()
}

async fn verify(store: &EmbeddedStore, acknowledged: &[(String, Revision)]) {
    let there = keys(store, "/a/").await;
    assert_eq!(there, keys(store, "/b/").await, "a transaction is torn");
    for written in acknowledged {
        assert!(there.contains(written), "{written:?} is lost");
    }
    let identity = store.identity().await.expect("readable");
    assert_eq!(identity.revision, Revision(there.len() as u64));
    let mut watch = store.watch(b"/", Revision(0)).await.expect("watches");
    for revision in 1..=identity.revision.0 {
        let batch = watch.next().await.expect("endless").expect("goes on");
        assert_eq!(
            (batch.revision, batch.events.len()),
            (Revision(revision), 2)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_moment_loses_no_acknowledged_write() {
    let fresh = Disk::new(Platters::default(), u64::MAX, true);
    drop(open(&fresh));
    let fresh = fresh.after_power_cut(&mut Random(0));
    for seed in 0..60 {
        let mut random = Random(seed);
        let (mut platters, mut acknowledged) = (fresh.clone(), Vec::new());
        for life in 0..3 {
            // Opening takes some operations of its own; a cut during it would be another test.
            let disk = Disk::new(platters.clone(), u64::MAX, true);
            let store = Arc::new(open(&disk));
            verify(&store, &acknowledged).await;
            let now = disk.operations.load(Ordering::SeqCst);
            disk.cut.store(now + random.next() % 120, Ordering::SeqCst);
            acknowledged.extend(write_until_failure(Arc::clone(&store), life).await);
            assert!(store.identity().await.expect("known").read_only);
            drop(store);
            platters = disk.after_power_cut(&mut random);
        }
        let disk = Disk::new(platters, u64::MAX, true);
        verify(&open(&disk), &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_while_opening_after_a_power_cut_loses_nothing() {
    for cut in 0..40 {
        let mut random = Random(cut);
        let disk = Disk::new(Platters::default(), u64::MAX, true);
        let store = Arc::new(open(&disk));
        let now = disk.operations.load(Ordering::SeqCst);
        disk.cut.store(now + 60, Ordering::SeqCst);
        let acknowledged = write_until_failure(Arc::clone(&store), cut).await;
        drop(store);
        let disk = Disk::new(disk.after_power_cut(&mut random), cut, true);
        let backend: Arc<dyn StorageBackend> = Arc::clone(&disk) as _;
        drop(EmbeddedStore::open_on(
            Path::new("cut"),
            backend,
            Retention::default(),
        ));
        let disk = Disk::new(disk.after_power_cut(&mut random), u64::MAX, true);
        verify(&open(&disk), &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_one_failed_write_reads_and_watches_go_on_and_writes_do_not() {
    for seed in 0..60 {
        let disk = Disk::new(Platters::default(), u64::MAX, false);
        let store = Arc::new(open(&disk));
        let mut watch = store.watch(b"/a/", Revision(0)).await.expect("watches");
        let now = disk.operations.load(Ordering::SeqCst);
        disk.cut.store(now + seed * 2, Ordering::SeqCst);
        let acknowledged = write_until_failure(Arc::clone(&store), seed).await;
        let count = acknowledged.len() as u64;

        let identity = store.identity().await.expect("readable");
        assert!(identity.read_only);
        assert_eq!(
            identity.revision,
            Revision(count),
            "nothing unacknowledged is shown"
        );
        verify(&store, &acknowledged).await;
        for revision in 1..=count {
            let batch = watch.next().await.expect("endless").expect("goes on");
            assert_eq!(batch.revision, Revision(revision));
        }
        let operations = disk.operations.load(Ordering::SeqCst);
        let refused = store.txn(pair("late")).await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
        let refused = store.compact(Revision(0)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
        assert_eq!(
            operations,
            disk.operations.load(Ordering::SeqCst),
            "the disk is left alone"
        );
        drop((watch, store));

        let again = open(&disk);
        assert!(!again.identity().await.expect("readable").read_only);
        let there = keys(&again, "/a/").await;
        assert!(acknowledged.iter().all(|written| there.contains(written)));
    }
}
