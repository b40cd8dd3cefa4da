//! Disks that fail and files that are damaged: what is found then, what is said, and what is not lost.

use super::{change, found, open, position, revision, saved, saved_on, snapshot};
use crate::disk::{Faults, SimulatedDisk};
use palisade_node::enforce::saved::{InUse, SavedView, Store};
use palisade_policy::view::Position;
use std::{convert::Infallible, fs};

const ALL_WRITES_FAIL: Faults = Faults {
    reads: 0,
    writes: 1000,
    cut_after: None,
    fails_after: None,
    killed_after: None,
};

#[test]
fn two_generations_stay_and_the_older_one_is_for_damage() {
    let disk = saved(2);
    let (mut store, _) = open(&disk, None);
    for revision in 3..6 {
        snapshot(&mut store, revision, &revision.to_string());
    }
    drop(store);
    assert_eq!(disk.names(), ["view.3", "view.4"]);
    let mut newest = disk.content("view.4").expect("there");
    newest[70] ^= 1;
    disk.put("view.4", &newest);
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, found(4, "4", &[]));
    assert!(store.trouble().is_some());
    // A newer transaction ends it, and only then the damaged file goes.
    assert!(!store.takes_changes());
    store.begin_snapshot(&position(4), ["4"]).expect("nothing");
    store.keep().expect("nothing");
    store.confirm().expect_err("it is not the last good one");
    assert_eq!(disk.content("view.4"), Some(newest));
    snapshot(&mut store, 6, "6");
    assert!(store.trouble().is_none());
    assert_eq!(disk.names(), ["view.3", "view.5"]);
}

#[test]
fn a_file_that_cannot_be_read_for_once_is_there_the_next_time() {
    let disk = saved(2);
    let (mut store, _) = open(&disk, None);
    snapshot(&mut store, 3, "3");
    drop(store);
    disk.set_unreadable(Some("view.2"));
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, found(2, "1", &["2"]));
    store.confirm().expect_err("it is not the last good one");
    drop(store);
    disk.set_unreadable(None);
    assert_eq!(revision(&disk, None), Some(3));
}

#[test]
fn a_view_that_cannot_be_built_gives_way_to_the_one_before() {
    let disk = saved(1);
    let (mut store, _) = open(&disk, None);
    change(&mut store, 2, "2");
    snapshot(&mut store, 3, "3");
    change(&mut store, 4, "4");
    drop(store);
    let mut tried = Vec::new();
    let (_, found) = Store::open_on(disk.process(), None, |view| {
        tried.push(view.position.revision);
        if view.position.revision > 1 {
            return Err("unknown field");
        }
        Ok(())
    })
    .expect("not in use");
    assert_eq!(found.map(|(at, ())| at.revision), Some(1));
    assert_eq!(tried, [4, 3, 2, 1]);
    assert_eq!(revision(&disk, None), Some(4));
}

#[test]
fn a_disk_that_cannot_be_written_gives_its_view_and_says_so_until_it_can() {
    let disk = saved(2);
    disk.set_faults(ALL_WRITES_FAIL);
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, found(2, "1", &["2"]));
    assert!(store.trouble().is_some());
    store.confirm().expect_err("not written");
    store.begin_change(&position(3), b"3").expect_err("full");
    store.begin_snapshot(&position(3), ["3"]).expect_err("full");
    assert!(store.trouble().is_some());

    disk.set_faults(Faults::default());
    store.confirm().expect("written");
    assert!(store.trouble().is_none());
    change(&mut store, 3, "3");
    drop(store);
    disk.cut_power();
    assert_eq!(revision(&disk, None), Some(3));
}

#[test]
fn a_directory_that_cannot_be_looked_at_gives_a_store_without_a_view() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("file");
    fs::write(&path, "in the way").expect("written");
    let (mut store, there) =
        Store::open(&path, None, |_| Ok::<_, Infallible>(())).expect("not in use");
    assert!(there.is_none());
    assert!(store.trouble().is_some());
    store
        .begin_snapshot(&position(1), ["1"])
        .expect_err("not there");
    fs::remove_file(&path).expect("removed");
    snapshot(&mut store, 1, "1");
    assert!(store.trouble().is_none());
}

#[test]
fn a_snapshot_that_cannot_be_written_leaves_no_file() {
    let disk = saved(1);
    let (mut store, _) = open(&disk, None);
    for call in 1..4 {
        disk.set_faults(Faults {
            fails_after: Some(call),
            ..Faults::default()
        });
        store.begin_snapshot(&position(2), ["2"]).expect_err("full");
        disk.set_faults(Faults::default());
        assert_eq!(disk.names(), ["view.1"]);
        assert!(store.trouble().is_some());
    }
    change(&mut store, 2, "2");
    assert!(store.trouble().is_none());
}

#[test]
fn a_file_whose_sync_failed_is_not_appended_to() {
    // What was noted before was not synced either, and the next sync would not say that it is lost.
    for seed in 0..20 {
        let disk = saved_on(SimulatedDisk::new(seed), 1);
        let (mut store, _) = open(&disk, None);
        store.confirm().expect("written");
        let newer = Position {
            revision: 7,
            ..position(1)
        };
        store.note(&newer).expect("noted");
        store.begin_change(&position(8), b"8").expect("written");
        disk.set_faults(Faults {
            fails_after: Some(1),
            ..Faults::default()
        });
        store.keep().expect_err("not synced");
        if store.takes_changes() {
            change(&mut store, 9, "9");
        } else {
            snapshot(&mut store, 9, "9");
        }
        drop(store);
        disk.cut_power();
        assert_eq!(revision(&disk, None), Some(9));
    }
}

#[test]
fn a_snapshot_that_cannot_be_kept_costs_no_change_before_or_after_it() {
    for cut_after in 0..8 {
        let disk = saved(2);
        let (mut store, _) = open(&disk, None);
        store.confirm().expect("written");
        store.begin_snapshot(&position(3), ["3"]).expect("written");
        // All calls of `keep` fail from this one on.
        disk.set_faults(Faults {
            cut_after: Some(cut_after),
            ..Faults::default()
        });
        let kept = store.keep();
        disk.restart();
        if kept.is_ok() {
            assert!(cut_after > 2, "three calls make it durable");
            continue;
        }
        change(&mut store, 4, "4");
        drop(store);
        disk.cut_power();
        assert_eq!(open(&disk, None).1, found(4, "1", &["2", "4"]));
    }
}

/// The file, with one byte of these operations changed.
fn damaged(disk: &SimulatedDisk, name: &str, ops: &[u8]) -> Vec<u8> {
    let mut content = disk.content(name).expect("there");
    let at = content.windows(ops.len()).rposition(|window| window == ops);
    content[at.expect("the operations are there")] ^= 1;
    content
}

#[test]
fn a_damaged_change_is_told_if_acknowledged_ones_follow_it() {
    let ops = |n: u8| format!("change number {n}");
    let disk = SimulatedDisk::new(1);
    let (mut store, _) = open(&disk, None);
    snapshot(&mut store, 1, "snapshot");
    for n in 2..6 {
        change(&mut store, n.into(), &ops(n));
    }
    drop(store);
    let whole = disk.content("view.1").expect("there");
    for n in 2..5 {
        disk.put("view.1", &damaged(&disk, "view.1", ops(n).as_bytes()));
        let (mut store, there) = open(&disk, None);
        assert_eq!(there.map(|(at, ..)| at), Some(u64::from(n) - 1));
        assert!(store.trouble().is_some(), "change {n}");
        // Only what is newer takes the place of what may be read again.
        assert!(!store.takes_changes());
        snapshot(&mut store, 9, "9");
        assert!(store.trouble().is_none());
        drop(store);
        assert_eq!(revision(&disk, None), Some(9));
        disk.process().remove("view.2").expect("removed");
        disk.put("view.1", &whole);
    }
    // The last one may as well be torn: nothing that was synced follows it.
    disk.put("view.1", &damaged(&disk, "view.1", ops(5).as_bytes()));
    let (store, there) = open(&disk, None);
    assert_eq!(there.map(|(at, ..)| at), Some(4));
    assert!(store.trouble().is_none());
    drop(store);
    // Also where the damage is in the length, so that nothing says where the next record begins.
    let at = whole
        .windows(5)
        .position(|window| window == [1, 15, 0, 0, 0]);
    let mut content = whole.clone();
    content[at.expect("a length") + 2] = 1;
    disk.put("view.1", &content);
    assert!(open(&disk, None).0.trouble().is_some());
}

#[test]
fn what_a_power_cut_tears_is_not_called_damage() {
    // Unsynced: a note of a newer revision, a change, and the record that it is good. Any of them may be torn.
    let disk = saved(2);
    let (mut store, _) = open(&disk, None);
    store.confirm().expect("written");
    let synced = disk.content("view.1").expect("there").len();
    let noted = Position {
        revision: 7,
        ..position(2)
    };
    store.note(&noted).expect("noted");
    change(&mut store, 8, "8");
    drop(store);
    let whole = disk.content("view.1").expect("there");
    for at in synced..whole.len() {
        // A sector that was not written is zeros.
        let mut torn = whole.clone();
        torn[at..whole.len().min(at + 16)].fill(0);
        for content in [&torn[..], &whole[..at]] {
            disk.put("view.1", content);
            let (store, there) = open(&disk, None);
            assert!(store.trouble().is_none(), "byte {at}: {there:?}");
            assert!(there.is_some_and(|(revision, ..)| revision >= 2));
        }
    }
}

#[test]
fn a_file_that_can_be_read_later_is_read_later() {
    let text = |view: &SavedView<'_>| Ok::<_, Infallible>(super::text(&view.snapshot.concat()));
    let disk = saved(2);
    let (mut store, _) = open(&disk, None);
    snapshot(&mut store, 3, "3");
    drop(store);
    disk.set_unreadable(Some("view.2"));
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, found(2, "1", &["2"]));
    assert!(store.is_unread());
    assert_eq!(store.read_again(None, text), None);
    assert!(store.trouble().is_some());
    disk.set_unreadable(None);
    let again = store.read_again(None, text);
    assert_eq!(again, Some((position(3), "3".to_owned())));
    assert!(store.trouble().is_none() && !store.is_unread());
    change(&mut store, 4, "4");
    drop(store);
    disk.cut_power();
    assert_eq!(open(&disk, None).1, found(4, "3", &["4"]));
}

#[test]
fn a_directory_that_can_be_listed_later_is_listed_later() {
    let text = |view: &SavedView<'_>| Ok::<_, Infallible>(super::text(&view.snapshot.concat()));
    let disk = saved(2);
    disk.set_faults(Faults {
        reads: 1000,
        ..Faults::default()
    });
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, None);
    assert!(store.is_unread() && store.trouble().is_some());
    disk.set_faults(Faults::default());
    let again = store.read_again(None, text);
    assert_eq!(again, Some((position(2), "1".to_owned())));
    assert!(store.trouble().is_none());
    // What was kept meanwhile counts more than what can be read again.
    disk.set_faults(Faults {
        reads: 1000,
        ..Faults::default()
    });
    drop(store);
    let (mut store, _) = open(&disk, None);
    disk.set_faults(Faults::default());
    snapshot(&mut store, 5, "5");
    assert_eq!(store.read_again(None, text), None);
}

#[test]
fn the_only_view_is_told_if_it_is_damaged() {
    let disk = saved(1);
    let mut content = disk.content("view.1").expect("there");
    content[70] ^= 1;
    disk.put("view.1", &content);
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, None);
    assert!(store.trouble().is_some());
    snapshot(&mut store, 2, "2");
    assert!(store.trouble().is_none());
}

#[test]
fn a_removed_directory_or_file_is_noticed_and_written_again() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("state");
    let start = || Store::open(&path, None, |_| Ok::<_, Infallible>(())).expect("not in use");
    let (mut store, _) = start();
    store.look();
    assert!(store.trouble().is_none());
    snapshot(&mut store, 1, "1");
    store.look();
    assert!(store.trouble().is_none());
    for whole in [true, false] {
        if whole {
            fs::remove_dir_all(&path).expect("removed");
        } else {
            fs::remove_file(path.join("view.1")).expect("removed");
        }
        assert!(store.trouble().is_none(), "nobody looked");
        for _ in 0..2 {
            store.look();
            let told = store.trouble().map(ToString::to_string);
            assert!(told.is_some_and(|told| told.contains("was removed")));
        }
        assert!(!store.takes_changes());
        snapshot(&mut store, 1, "1");
        assert!(store.trouble().is_none());
        store.look();
        assert!(store.trouble().is_none());
    }
    // The new directory is as good as locked as the old one was.
    let err = Store::open(&path, None, |_| Ok::<_, Infallible>(())).expect_err("in use");
    assert!(InUse::caused(&err));
    drop(store);
    assert_eq!(start().1, Some((position(1), ())));
}

#[test]
fn a_removed_directory_that_cannot_be_made_again_says_why() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("state");
    let (mut store, _) = Store::open(&path, None, |_| Ok::<_, Infallible>(())).expect("not in use");
    snapshot(&mut store, 1, "1");
    fs::remove_dir_all(&path).expect("removed");
    fs::write(&path, "in the way").expect("written");
    store.look();
    assert!(store.trouble().is_some());
    store
        .begin_snapshot(&position(1), ["1"])
        .expect_err("not there");
    fs::remove_file(&path).expect("removed");
    snapshot(&mut store, 1, "1");
    assert!(store.trouble().is_none());
}
