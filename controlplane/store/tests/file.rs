//! The file: who may open it, what may be in it, what stays over a restart, how much history it keeps.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use palisade_store::{
    EmbeddedStore, Op, OpenError, Retention, Revision, Store, StoreError, Txn, TxnOutcome,
};
use redb::{ReadableDatabase, TableDefinition};

fn put(key: &str, value: &[u8]) -> Txn {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Txn::unconditional(vec![Op::Put(key, Bytes::copy_from_slice(value))])
}

async fn write(store: &EmbeddedStore, key: &str, value: &[u8]) -> Revision {
    match store.txn(put(key, value)).await {
        Ok(TxnOutcome::Committed { revision }) => revision,
        other => panic!("a write came to {other:?}"),
    }
}

#[tokio::test]
async fn everything_stays_over_a_restart_and_revisions_go_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    let store = EmbeddedStore::open(&path).expect("opens");
    write(&store, "/a", b"1").await;
    write(&store, "/a", b"2").await;
    store.compact(Revision(1)).await.expect("compacts");
    let before = store.identity().await.expect("readable");
    drop(store);
    let store = EmbeddedStore::open(&path).expect("opens again");
    assert_eq!(store.identity().await.expect("readable"), before);
    let old = store.get(b"/a", Some(Revision(1))).await.expect("readable");
    assert_eq!(old.expect("there").value, "1");
    assert_eq!(write(&store, "/a", b"3").await, Revision(3));
    let other = EmbeddedStore::open(&dir.path().join("other.redb")).expect("opens");
    assert_ne!(
        other.identity().await.expect("readable").epoch,
        before.epoch
    );
}

#[tokio::test]
async fn only_one_may_open_the_store_and_only_its_owner_may_read_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    let store = EmbeddedStore::open(&path).expect("opens");
    let second = EmbeddedStore::open(&path).err();
    assert!(matches!(second, Some(OpenError::Locked { .. })));
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    write(&store, "/a", b"still works").await;
    drop(store);
    EmbeddedStore::open(&path).expect("free again");
}

#[tokio::test]
async fn a_store_whose_making_was_cut_short_is_made_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    fs::write(dir.path().join("store.redb.new"), "half a store").expect("written");
    let store = EmbeddedStore::open(&path).expect("opens");
    assert_eq!(write(&store, "/a", b"1").await, Revision(1));
    let names = fs::read_dir(dir.path()).expect("a folder");
    assert_eq!(names.count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = dir.path().join("notes.txt");
    fs::write(&text, "not a store").expect("written");
    let refused = EmbeddedStore::open(&text).err();
    assert!(matches!(refused, Some(OpenError::Foreign { .. })));
    assert_eq!(fs::read(&text).expect("there"), b"not a store");

    let foreign = dir.path().join("foreign.redb");
    let table: TableDefinition<&str, &[u8]> = TableDefinition::new("other");
    let database = redb::Database::create(&foreign).expect("made");
    let tx = database.begin_write().expect("begins");
    tx.open_table(table).expect("opens");
    tx.commit().expect("commits");
    drop(database);
    let refused = EmbeddedStore::open(&foreign).err();
    assert!(matches!(refused, Some(OpenError::Foreign { .. })));

    let missing = EmbeddedStore::open(&dir.path().join("no/such/folder")).err();
    assert!(matches!(missing, Some(OpenError::Io { .. })));
}

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

fn relabel(path: &Path, layout: &str) {
    let database = redb::Database::open(path).expect("opens");
    let tx = database.begin_write().expect("begins");
    let mut table = tx.open_table(META).expect("opens");
    table.insert("layout", layout.as_bytes()).expect("written");
    drop(table);
    tx.commit().expect("commits");
}

#[tokio::test]
async fn a_store_of_the_former_layout_is_taken_over_for_good() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    let store = EmbeddedStore::open(&path).expect("opens");
    write(&store, "/a", b"1").await;
    drop(store);
    relabel(&path, "palisade-store/1");
    let store = EmbeddedStore::open(&path).expect("opens");
    let row = store.get(b"/a", None).await.expect("reads");
    assert_eq!(row.expect("stands").value.as_ref(), b"1");
    drop(store);
    let database = redb::Database::open(&path).expect("opens");
    let tx = database.begin_read().expect("begins");
    let table = tx.open_table(META).expect("opens");
    let layout = table.get("layout").expect("reads").expect("stands");
    // A build that would drop what it cannot read knows the former one only.
    assert_eq!(layout.value(), b"palisade-store/2");
}

#[test]
fn a_store_of_another_layout_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    drop(EmbeddedStore::open(&path).expect("opens"));
    relabel(&path, "palisade-store/9");
    match EmbeddedStore::open(&path).err() {
        Some(OpenError::Layout { found, .. }) => assert_eq!(found, "palisade-store/9"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn history_beyond_the_retention_is_forgotten_and_no_more() {
    let dir = tempfile::tempdir().expect("a folder");
    let retention = Retention {
        events: 20,
        age: Duration::ZERO,
    };
    let path = dir.path().join("store.redb");
    let store = EmbeddedStore::open_with(&path, retention).expect("opens");
    for n in 1..=60 {
        write(&store, "/a", format!("{n}").as_bytes()).await;
    }
    let identity = store.identity().await.expect("readable");
    let kept = identity.revision.0 - identity.compacted.0;
    assert!((20..=22).contains(&kept), "{kept} kept");
    let oldest = store.get(b"/a", Some(identity.compacted)).await;
    let expected = identity.compacted.to_string();
    assert_eq!(oldest.expect("readable").expect("there").value, expected);
}

#[tokio::test]
async fn history_younger_than_the_retention_age_stays() {
    let dir = tempfile::tempdir().expect("a folder");
    let retention = Retention {
        events: 5,
        age: Duration::from_secs(600),
    };
    let path = dir.path().join("store.redb");
    let store = EmbeddedStore::open_with(&path, retention).expect("opens");
    for _ in 0..30 {
        write(&store, "/a", b"").await;
    }
    assert_eq!(
        store.identity().await.expect("readable").compacted,
        Revision(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_watch_catches_up_from_the_log_or_learns_that_it_is_too_late() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(&dir.path().join("store.redb")).expect("opens");
    let mut slow = store.watch(b"/", Revision(0)).await.expect("watches");
    let mut late = store.watch(b"/", Revision(0)).await.expect("watches");
    // More bytes than stay in memory, and more than one look into the log holds.
    let value = vec![7; 1 << 20];
    for _ in 0..20 {
        write(&store, "/a", &value).await;
    }
    for revision in 1..=20 {
        let batch = slow.next().await.expect("endless").expect("goes on");
        assert_eq!(
            (batch.revision, batch.events.len()),
            (Revision(revision), 1)
        );
    }
    store.compact(Revision(19)).await.expect("compacts");
    let refused = late.next().await.expect("says why");
    assert!(matches!(refused, Err(StoreError::Compacted { oldest }) if oldest == Revision(19)));
    assert!(late.next().await.is_none(), "an error ends a watch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_when_the_store_is_dropped() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(&dir.path().join("store.redb")).expect("opens");
    let mut watch = store.watch(b"/", Revision(0)).await.expect("watches");
    drop(store);
    assert!(matches!(watch.next().await, Some(Err(StoreError::Closed))));
}
