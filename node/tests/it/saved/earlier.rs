//! The layout of versions before generations had numbers.

use super::{change, found, open, position, snapshot};
use crate::disk::SimulatedDisk;
use palisade_policy::view::Position;

fn record(kind: u8, chain: &mut blake3::Hash, position: &Position, ops: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend(u32::try_from(ops.len()).expect("short").to_le_bytes());
    record.extend(bytes(position));
    record.extend(ops);
    let mut hasher = blake3::Hasher::new();
    *chain = hasher.update(chain.as_bytes()).update(&record).finalize();
    record.extend(chain.as_bytes());
    record
}

fn bytes(position: &Position) -> Vec<u8> {
    let mut bytes = position.epoch.0.to_vec();
    bytes.extend(position.revision.to_le_bytes());
    bytes.extend(position.digest.0);
    bytes
}

/// A snapshot file, and a journal with a good change and one that was begun.
pub(super) fn written(
    snapshot: (Position, &[u8]),
    good: (Position, &[u8]),
    begun: (Position, &[u8]),
) -> (Vec<u8>, Vec<u8>) {
    let mut file = b"palisade snapshot 1\n".to_vec();
    file.extend(bytes(&snapshot.0));
    file.extend(snapshot.1);
    let checksum = blake3::hash(&file);
    file.extend(checksum.as_bytes());
    let mut journal = b"palisade journal 1\n\0".to_vec();
    journal.extend(checksum.as_bytes());
    let mut chain = checksum;
    journal.extend(record(1, &mut chain, &good.0, good.1));
    journal.extend(record(2, &mut chain, &good.0, &[]));
    journal.extend(record(1, &mut chain, &begun.0, begun.1));
    (file, journal)
}

/// The same at this revision and the two after it, each its revision as text.
fn files(revision: u64) -> (Vec<u8>, Vec<u8>) {
    let at = |revision: u64| (position(revision), revision.to_string());
    let [snapshot, good, begun] = [at(revision), at(revision + 1), at(revision + 2)];
    written(
        (snapshot.0, snapshot.1.as_bytes()),
        (good.0, good.1.as_bytes()),
        (begun.0, begun.1.as_bytes()),
    )
}

/// Generation 10, 11, (12) before generation 20, 21, (22); 30 was begun.
fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let ((previous, journal_previous), (current, journal)) = (files(10), files(20));
    disk.put("previous", &previous);
    disk.put("journal.previous", &journal_previous);
    disk.put("current", &current);
    disk.put("journal", &journal);
    disk.put("next", &files(30).0);
    disk
}

#[test]
fn files_of_the_earlier_layout_are_read_by_the_same_rule() {
    for (kernel, expected) in [
        (None, found(21, "20", &["21"])),
        (Some(22), found(22, "20", &["21", "22"])),
        (Some(30), found(30, "30", &[])),
        (Some(20), found(21, "20", &["21"])),
        (Some(11), found(21, "20", &["21"])),
        (Some(12), found(21, "20", &["21"])),
    ] {
        let disk = disk();
        let (store, there) = open(&disk, kernel);
        assert_eq!(there, expected, "{kernel:?}");
        assert!(!store.takes_changes(), "a generation with a number first");
        assert!(store.trouble().is_none());
    }
}

#[test]
fn they_are_the_reserve_of_the_first_numbered_generation_and_then_gone() {
    let disk = disk();
    let (mut store, _) = open(&disk, None);
    snapshot(&mut store, 40, "40");
    change(&mut store, 41, "41");
    assert!(disk.names().contains(&"current".to_owned()));
    drop(store);
    let (mut store, there) = open(&disk, Some(22));
    assert_eq!(there, found(41, "40", &["41"]));
    snapshot(&mut store, 50, "50");
    assert_eq!(disk.names(), ["view.1", "view.2"]);
}

#[test]
fn a_rotation_that_the_earlier_version_did_not_finish_is_understood() {
    // Its journal had its new name already, the snapshot not.
    let disk = SimulatedDisk::new(1);
    let (current, journal) = files(20);
    disk.put("current", &current);
    disk.put("journal.previous", &journal);
    disk.put("next", &files(30).0);
    assert_eq!(open(&disk, None).1, found(21, "20", &["21"]));
}

#[test]
fn damage_falls_back_to_the_generation_before_and_is_not_written_over() {
    let disk = disk();
    disk.put("current", b"damaged");
    let (mut store, there) = open(&disk, None);
    assert_eq!(there, found(11, "10", &["11"]));
    assert!(store.trouble().is_some());
    store
        .begin_snapshot(&position(11), ["11"])
        .expect("nothing");
    store.keep().expect("nothing");
    assert_eq!(disk.content("current"), Some(b"damaged".to_vec()));
}
