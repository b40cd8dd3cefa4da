use super::*;
use palisade_policy::view::{Digest, Epoch};
use proptest::prelude::*;
use std::convert::Infallible;

fn position(revision: u64) -> Position {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&revision.to_le_bytes());
    Position {
        epoch: Epoch([9; 16]),
        revision,
        digest: Digest(digest),
    }
}

type View = (Vec<u8>, Vec<Vec<u8>>);

fn open(dir: &Path, kernel: Option<u64>) -> (Store, Option<(u64, View)>) {
    let kernel = kernel.map(position);
    let (store, found) = Store::open(dir, kernel.as_ref(), |view| {
        let changes = view.changes.iter().map(|(_, ops)| ops.to_vec()).collect();
        Ok::<_, Infallible>((view.snapshot.to_vec(), changes))
    })
    .expect("readable");
    (store, found.map(|(at, view)| (at.revision, view)))
}

fn snapshot(store: &mut Store, revision: u64, content: &[u8]) {
    store
        .begin_snapshot(&position(revision), [content])
        .expect("written");
    store.keep().expect("kept");
}

fn change(store: &mut Store, revision: u64, ops: &[u8]) {
    store
        .begin_change(&position(revision), ops)
        .expect("written");
    store.keep().expect("kept");
}

fn cut(path: &Path, by: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("there");
    let length = file.metadata().expect("there").len();
    file.set_len(length - by).expect("cut");
}

#[test]
fn an_empty_directory_holds_no_view() {
    let dir = tempfile::tempdir().expect("tempdir");
    assert_eq!(open(dir.path(), None).1, None);
}

#[test]
fn kept_snapshot_and_changes_come_back() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    change(&mut store, 2, b"two");
    change(&mut store, 3, b"three");
    let whole = (b"one".to_vec(), vec![b"two".to_vec(), b"three".to_vec()]);
    let (mut store, found) = open(dir.path(), None);
    assert_eq!(found, Some((3, whole.clone())));
    change(&mut store, 4, b"four");
    let (_, found) = open(dir.path(), None);
    assert_eq!(
        found.map(|(at, (_, changes))| (at, changes.len())),
        Some((4, 3))
    );
}

#[test]
fn a_change_counts_once_kept_or_named_by_the_kernel() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    store.begin_change(&position(2), b"two").expect("written");
    drop(store);
    let copy = tempfile::tempdir().expect("tempdir");
    for name in [CURRENT, JOURNAL] {
        fs::copy(dir.path().join(name), copy.path().join(name)).expect("copied");
    }
    assert_eq!(open(dir.path(), None).1.map(|found| found.0), Some(1));
    assert_eq!(open(copy.path(), Some(2)).1.map(|found| found.0), Some(2));
}

#[test]
fn the_snapshot_that_the_kernel_names_wins() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    store
        .begin_snapshot(&position(2), [b"two"])
        .expect("written");
    drop(store);
    let (mut store, found) = open(dir.path(), Some(2));
    assert_eq!(found, Some((2, (b"two".to_vec(), vec![]))));
    change(&mut store, 3, b"three");
    let (_, found) = open(dir.path(), None);
    assert_eq!(found, Some((3, (b"two".to_vec(), vec![b"three".to_vec()]))));
}

#[test]
fn a_snapshot_not_taken_by_the_kernel_is_forgotten() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    store
        .begin_snapshot(&position(2), [b"two"])
        .expect("written");
    drop(store);
    let (_, found) = open(dir.path(), Some(1));
    assert_eq!(found.map(|found| found.0), Some(1));
    assert!(!dir.path().join(NEXT).exists());
}

#[test]
fn a_discarded_change_leaves_no_trace() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    change(&mut store, 2, b"two");
    store.begin_change(&position(3), b"bad").expect("written");
    store.discard().expect("discarded");
    change(&mut store, 4, b"four");
    let (_, found) = open(dir.path(), None);
    let changes = vec![b"two".to_vec(), b"four".to_vec()];
    assert_eq!(found, Some((4, (b"one".to_vec(), changes))));
}

#[test]
fn damage_falls_back_to_the_generation_before() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    change(&mut store, 2, b"two");
    snapshot(&mut store, 3, b"three");
    cut(&dir.path().join(CURRENT), 1);
    let (mut store, found) = open(dir.path(), None);
    assert_eq!(found, Some((2, (b"one".to_vec(), vec![b"two".to_vec()]))));
    change(&mut store, 5, b"five");
    assert_eq!(open(dir.path(), None).1.map(|found| found.0), Some(5));
}

#[test]
fn a_torn_journal_is_cut_to_its_last_good_record() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    change(&mut store, 2, b"two");
    change(&mut store, 3, b"three");
    cut(&dir.path().join(JOURNAL), 100);
    let (mut store, found) = open(dir.path(), None);
    assert_eq!(found.map(|found| found.0), Some(2));
    change(&mut store, 4, b"four");
    assert_eq!(open(dir.path(), None).1.map(|found| found.0), Some(4));
}

#[test]
fn a_noted_revision_comes_back_with_the_view_that_the_kernel_names() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    let newer = Position {
        revision: 7,
        ..position(1)
    };
    store.note(&newer).expect("noted");
    assert_eq!(open(dir.path(), Some(1)).1.map(|found| found.0), Some(7));
}

#[test]
fn a_view_that_cannot_be_built_gives_way_to_the_one_before() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (mut store, _) = open(dir.path(), None);
    snapshot(&mut store, 1, b"one");
    snapshot(&mut store, 2, b"two");
    let (_, found) = Store::open(dir.path(), None, |view| match view.snapshot {
        b"two" => Err("unknown field"),
        _ => Ok(()),
    })
    .expect("readable");
    assert_eq!(found.map(|(at, ())| at.revision), Some(1));
}

proptest! {
    #[test]
    fn damaged_files_never_panic_and_never_show_what_was_not_kept(
        file in 0..2_usize,
        at in 0..400_usize,
        flip in 1..=255_u8,
        cut_to in proptest::option::of(0..400_u64),
    ) {
        let dir = tempfile::tempdir().expect("tempdir");
        let (mut store, _) = open(dir.path(), None);
        snapshot(&mut store, 1, b"one");
        change(&mut store, 2, b"two");
        change(&mut store, 3, b"three");
        drop(store);
        let path = dir.path().join([CURRENT, JOURNAL][file]);
        let mut bytes = fs::read(&path).expect("there");
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= flip;
        }
        if let Some(length) = cut_to {
            bytes.truncate(usize::try_from(length).expect("small"));
        }
        fs::write(&path, bytes).expect("written");
        if let (_, Some((at, (base, changes)))) = open(dir.path(), None) {
            prop_assert_eq!(base, b"one".to_vec());
            let whole = [b"two".to_vec(), b"three".to_vec()];
            prop_assert_eq!(changes.len() + 1, usize::try_from(at).expect("small"));
            prop_assert_eq!(&changes[..], &whole[..changes.len()]);
        }
    }
}
