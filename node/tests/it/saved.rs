//! Saved views: what is found at start, here; damage and failing disks, sequences of faults, the layout before and locks,
//! each in a file.

use crate::disk::{Faults, SimulatedDisk};
use palisade_node::enforce::saved::{Disk, InUse, Store};
use palisade_policy::view::{Digest, Epoch, Position};
use std::{convert::Infallible, fs};

mod damage;
mod earlier;
mod faults;
mod lock;

fn position(revision: u64) -> Position {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&revision.to_le_bytes());
    Position {
        epoch: Epoch([9; 16]),
        revision,
        digest: Digest(digest),
    }
}

/// Revision, snapshot, changes.
type Found = Option<(u64, String, Vec<String>)>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn open_on(disk: Box<dyn Disk>, kernel: Option<u64>) -> (Store, Found) {
    let kernel = kernel.map(position);
    let (store, found) = Store::open_on(disk, kernel.as_ref(), |view| {
        let changes = view.changes.iter().map(|(_, ops)| text(ops)).collect();
        Ok::<_, Infallible>((text(&view.snapshot.concat()), changes))
    })
    .expect("not in use");
    let found = found.map(|(at, (snapshot, changes))| (at.revision, snapshot, changes));
    (store, found)
}

fn open(disk: &SimulatedDisk, kernel: Option<u64>) -> (Store, Found) {
    open_on(disk.process(), kernel)
}

fn revision(disk: &SimulatedDisk, kernel: Option<u64>) -> Option<u64> {
    open(disk, kernel).1.map(|(revision, ..)| revision)
}

fn snapshot(store: &mut Store, revision: u64, content: &str) {
    store
        .begin_snapshot(&position(revision), [content])
        .expect("written");
    store.keep().expect("kept");
}

fn change(store: &mut Store, revision: u64, ops: &str) {
    assert!(store.takes_changes());
    store
        .begin_change(&position(revision), ops.as_bytes())
        .expect("written");
    store.keep().expect("kept");
}

/// A snapshot at 1 and changes up to the revision.
fn saved(revision: u64) -> SimulatedDisk {
    saved_on(SimulatedDisk::new(1), revision)
}

fn saved_on(disk: SimulatedDisk, revision: u64) -> SimulatedDisk {
    let (mut store, found) = open(&disk, None);
    assert_eq!(found, None);
    snapshot(&mut store, 1, "1");
    for revision in 2..=revision {
        change(&mut store, revision, &revision.to_string());
    }
    disk
}

fn found(revision: u64, snapshot: &str, changes: &[&str]) -> Found {
    let changes = changes.iter().map(|ops| (*ops).to_owned()).collect();
    Some((revision, snapshot.to_owned(), changes))
}

#[test]
fn kept_snapshots_and_changes_come_back_after_a_power_cut() {
    let disk = saved(3);
    disk.cut_power();
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, found(3, "1", &["2", "3"]));
    change(&mut store, 4, "4");
    snapshot(&mut store, 5, "5");
    change(&mut store, 6, "6");
    drop(store);
    disk.cut_power();
    assert_eq!(open(&disk, None).1, found(6, "5", &["6"]));
}

#[test]
fn an_older_name_in_the_kernel_changes_nothing_and_costs_nothing() {
    let disk = saved(3);
    for kernel in [Some(2), Some(1), Some(77), None] {
        let (mut store, there) = open(&disk, kernel);
        assert_eq!(there, found(3, "1", &["2", "3"]), "{kernel:?}");
        store.confirm().expect("written");
    }
    disk.cut_power();
    assert_eq!(revision(&disk, None), Some(3));
}

#[test]
fn the_same_view_at_an_older_revision_does_not_name_what_was_begun() {
    let disk = saved(2);
    let again = Position {
        revision: 3,
        ..position(1)
    };
    let (mut store, _) = open(&disk, None);
    store.begin_change(&again, b"back").expect("written");
    drop(store);
    assert_eq!(revision(&disk, Some(1)), Some(2));
}

#[test]
fn the_transaction_after_the_last_good_view_counts_only_if_the_kernel_names_it() {
    for (kernel, revision) in [(None, 1), (Some(1), 1), (Some(2), 2), (Some(3), 1)] {
        let disk = saved(1);
        let (mut store, _) = open(&disk, None);
        store.begin_change(&position(2), b"2").expect("written");
        drop(store);
        assert_eq!(self::revision(&disk, kernel), Some(revision), "{kernel:?}");

        let disk = saved(1);
        let (mut store, _) = open(&disk, None);
        store.begin_snapshot(&position(2), ["2"]).expect("written");
        drop(store);
        assert_eq!(self::revision(&disk, kernel), Some(revision), "{kernel:?}");
    }
}

#[test]
fn what_the_kernel_named_is_good_once_confirmed() {
    for whole in [false, true] {
        let disk = saved(1);
        let (mut store, _) = open(&disk, None);
        if whole {
            store.begin_snapshot(&position(2), ["2"]).expect("written");
        } else {
            store.begin_change(&position(2), b"2").expect("written");
        }
        drop(store);
        let (mut store, there) = open(&disk, Some(2));
        assert_eq!(there.map(|(at, ..)| at), Some(2));
        store.confirm().expect("written");
        drop(store);
        let names: &[_] = if whole {
            &["view.1", "view.2"]
        } else {
            &["view.1"]
        };
        assert_eq!(disk.names(), names);
        disk.cut_power();
        assert_eq!(revision(&disk, None), Some(2));
    }
}

#[test]
fn what_a_killed_process_did_not_sync_is_durable_once_confirmed() {
    // Killed between the last write of `keep` and its sync: the next process reads it from memory.
    let disk = saved(1);
    let (mut store, _) = open(&disk, None);
    store.begin_change(&position(2), b"2").expect("written");
    disk.set_faults(Faults {
        killed_after: Some(1),
        ..Faults::default()
    });
    store.keep().expect_err("killed");
    drop(store);
    disk.restart();
    let (mut store, there) = open(&disk, None);
    assert_eq!(there.map(|(at, ..)| at), Some(2));
    store.confirm().expect("written");
    drop(store);
    disk.cut_power();
    assert_eq!(revision(&disk, None), Some(2));
}

#[test]
fn a_discarded_transaction_leaves_no_trace() {
    let disk = saved(2);
    let (mut store, _) = open(&disk, None);
    store.begin_change(&position(3), b"bad").expect("written");
    store.discard().expect("discarded");
    store
        .begin_snapshot(&position(4), ["bad"])
        .expect("written");
    store.discard().expect("discarded");
    drop(store);
    for kernel in [3, 4] {
        disk.cut_power();
        assert_eq!(revision(&disk, Some(kernel)), Some(2));
    }
    let (mut store, _) = open(&disk, None);
    change(&mut store, 4, "4");
    assert_eq!(disk.names(), ["view.1"]);
    drop(store);
    assert_eq!(open(&disk, None).1, found(4, "1", &["2", "4"]));
}

#[test]
fn a_noted_revision_comes_back() {
    let disk = saved(1);
    let (mut store, _) = open(&disk, None);
    let newer = Position {
        revision: 7,
        ..position(1)
    };
    store.note(&newer).expect("noted");
    change(&mut store, 8, "8");
    store
        .note(&Position {
            revision: 9,
            ..position(8)
        })
        .expect("noted");
    drop(store);
    assert_eq!(revision(&disk, Some(8)), Some(9));
}

#[test]
fn a_large_snapshot_is_written_in_pieces_and_a_long_journal_asks_for_another() {
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = open(&disk, None);
    let ops: Vec<_> = (0..3000).map(|op| format!("{op:0200}")).collect();
    store.begin_snapshot(&position(1), &ops).expect("written");
    store.keep().expect("kept");
    let large = "x".repeat(3 << 20);
    for revision in 2..4 {
        change(&mut store, revision, &large);
    }
    assert!(!store.takes_changes());
    drop(store);
    assert_eq!(
        open(&disk, None).1,
        found(3, &ops.concat(), &[&large, &large])
    );
}

#[test]
fn one_process_per_directory() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("state");
    let start = || Store::open(&path, None, |_| Ok::<_, Infallible>(()));
    let (store, _) = start().expect("ours");
    assert!(store.trouble().is_none());
    let err = start().expect_err("in use");
    let in_use = err.get_ref().and_then(|err| err.downcast_ref::<InUse>());
    let in_use = in_use.expect("that is why");
    assert_eq!((&in_use.dir, in_use.pid), (&path, Some(std::process::id())));
    drop(store);
    start().expect("free");
}

#[test]
fn real_files_come_back() {
    let dir = tempfile::tempdir().expect("tempdir");
    let start = || {
        Store::open(dir.path(), None, |view| {
            Ok::<_, Infallible>((text(&view.snapshot.concat()), view.changes.len()))
        })
        .expect("not in use")
    };
    let (mut store, _) = start();
    snapshot(&mut store, 1, "1");
    snapshot(&mut store, 2, "2");
    change(&mut store, 3, "3");
    snapshot(&mut store, 4, "4");
    change(&mut store, 5, "5");
    drop(store);
    let (store, there) = start();
    assert_eq!(there, Some((position(5), ("4".to_owned(), 1))));
    assert!(store.trouble().is_none());
    let names = fs::read_dir(dir.path()).expect("there");
    let mut names: Vec<_> = names
        .map(|entry| entry.expect("there").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "view.2", "view.3"]);
}

#[test]
fn a_change_is_one_call_before_the_kernel_gets_it_and_two_after() {
    let disk = saved(1);
    let (mut store, _) = open(&disk, None);
    store.confirm().expect("written");
    // The first one after a snapshot, too.
    for whole in [false, true, false] {
        if whole {
            snapshot(&mut store, 4, "4");
        }
        for revision in 5..7 {
            let calls = || {
                let calls = disk.calls();
                disk.set_faults(Faults::default());
                calls
            };
            calls();
            store
                .begin_change(&position(revision), b"5")
                .expect("written");
            assert_eq!(calls(), 1);
            store.keep().expect("kept");
            assert_eq!(calls(), 2);
        }
    }
}
