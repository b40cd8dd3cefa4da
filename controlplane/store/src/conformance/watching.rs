//! Watches: every change under the prefix, once, in order, from any place that is still in the log.

use super::*;

/// Puts, replacements and deletes, with what was there before; other prefixes stay out.
pub async fn a_watch_sees_every_change_under_its_prefix_in_order(store: Arc<dyn Store>) {
    let mut watch = store.watch(b"/a", Revision(0)).await.expect("watches");
    write(
        &store,
        vec![put("/a/1", "x"), put("/b", "no"), put("/a/2", "y")],
    )
    .await;
    write(&store, vec![put("/b", "no")]).await;
    write(&store, vec![put("/a/1", "z")]).await;
    let last = write(&store, vec![delete("/a/1"), delete("/a/0")]).await;
    let put = |value: &str, created, previous: Option<&str>| Change::Put {
        value: bytes(value),
        created: Revision(created),
        previous: previous.map(bytes),
    };
    let expected = [
        (1, "/a/1", put("x", 1, None)),
        (1, "/a/2", put("y", 1, None)),
        (3, "/a/1", put("z", 1, Some("x"))),
        (
            4,
            "/a/1",
            Change::Delete {
                previous: bytes("z"),
            },
        ),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(revision, key, change)| {
            let key = bytes(key);
            (Revision(revision), Event { key, change })
        })
        .collect();
    assert_eq!(events_until(&mut watch, last).await, expected);
}

/// Resuming after each revision gives exactly the rest; and a batch is never split.
pub async fn a_watch_resumes_after_any_revision_it_saw(store: Arc<dyn Store>) {
    for n in 0..30 {
        let value = n.to_string();
        write(&store, vec![put("/a", &value), put("/b", &value)]).await;
    }
    let mut whole = store.watch(b"/", Revision(0)).await.expect("watches");
    let whole = events_until(&mut whole, Revision(30)).await;
    assert_eq!(whole.len(), 60);
    for after in [0, 1, 13, 29] {
        let mut resumed = store.watch(b"/", Revision(after)).await.expect("watches");
        let first = next(&mut resumed).await.expect("goes on");
        assert_eq!(
            (first.revision, first.events.len()),
            (Revision(after + 1), 2)
        );
        let mut rest = store.watch(b"/", Revision(after)).await.expect("watches");
        let rest = events_until(&mut rest, Revision(30)).await;
        let seen = usize::try_from(after).expect("small") * 2;
        assert_eq!(rest, whole[seen..], "after {after}");
    }
}

/// Changes elsewhere become a bookmark, from which a watch may be resumed.
pub async fn a_watch_tells_by_bookmark_that_it_has_caught_up(store: Arc<dyn Store>) {
    let mut watch = store.watch(b"/a", Revision(0)).await.expect("watches");
    let last = write(&store, vec![put("/b", "1")]).await;
    let bookmark = Batch {
        revision: last,
        events: vec![],
    };
    assert_eq!(next(&mut watch).await.expect("goes on"), bookmark);
    let last = write(&store, vec![put("/a", "1")]).await;
    let batch = next(&mut watch).await.expect("goes on");
    assert_eq!((batch.revision, batch.events.len()), (last, 1));
}

/// A place in the log that is gone is refused, the oldest one left is not.
pub async fn a_watch_from_before_compaction_is_refused(store: Arc<dyn Store>) {
    for n in 1..=5 {
        write(&store, vec![put("/a", &n.to_string())]).await;
    }
    store.compact(Revision(3)).await.expect("compacts");
    let refused = store.watch(b"/", Revision(2)).await.err();
    assert!(matches!(refused, Some(StoreError::Compacted { oldest }) if oldest == Revision(3)));
    let mut watch = store.watch(b"/", Revision(3)).await.expect("watches");
    assert_eq!(events_until(&mut watch, Revision(5)).await.len(), 2);
}

/// A watch with nothing to say waits, and loses nothing while writers race.
pub async fn a_watch_that_waits_is_woken(store: Arc<dyn Store>) {
    let mut watch = store.watch(b"/", Revision(0)).await.expect("watches");
    let silent = tokio::time::timeout(Duration::from_millis(20), watch.next()).await;
    assert!(silent.is_err(), "nothing happened yet");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0..50 {
                    write(&store, vec![put(&format!("/{writer}/{n}"), "")]).await;
                }
            })
        })
        .collect();
    let events = events_until(&mut watch, Revision(200)).await;
    let revisions: Vec<_> = events.iter().map(|(revision, _)| revision.0).collect();
    assert_eq!(revisions, (1..=200).collect::<Vec<_>>());
    for writer in writers {
        writer.await.expect("no panic");
    }
}
