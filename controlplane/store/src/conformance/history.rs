//! Ranges and old revisions: what is read is what stood, all of it at one revision.

use super::*;

/// Pages taken at the first page's revision never show what was written since.
pub async fn a_range_pages_through_one_revision_while_writes_go_on(store: Arc<dyn Store>) {
    let keys: Vec<_> = (0..10).map(|n| format!("/k/{n}")).collect();
    write(&store, keys.iter().map(|key| put(key, "old")).collect()).await;
    let (mut seen, mut after, mut at) = (Vec::new(), None, None);
    loop {
        let page = store.range(b"/k/", after.as_deref(), 3, at).await;
        let Page {
            revision,
            items,
            more,
        } = page.expect("readable");
        assert_eq!(revision, Revision(1));
        assert_eq!(items.len(), if more { 3 } else { 1 });
        after = items.last().map(|item| item.key.clone());
        at = Some(revision);
        seen.extend(items);
        if !more {
            break;
        }
        // Behind and before the reader: changed, removed, added.
        write(
            &store,
            vec![put("/k/1", "new"), delete("/k/8"), put("/k/55", "new")],
        )
        .await;
        write(
            &store,
            vec![put("/k/8", "new"), delete("/k/0"), delete("/k/55")],
        )
        .await;
    }
    let expected: Vec<_> = keys.iter().map(|key| format!("{key}=old")).collect();
    assert_eq!(seen.iter().map(show).collect::<Vec<_>>(), expected);
    let exact = store.range(b"/k/", None, 10, Some(Revision(1))).await;
    assert!(
        !exact.expect("readable").more,
        "a full page may be the last"
    );
}

/// Neighbours in key order stay out; an end of 0xff bytes is no trap.
pub async fn a_range_keeps_to_its_prefix(store: Arc<dyn Store>) {
    let keys: [&[u8]; 7] = [
        b"a",
        b"a/",
        b"a/b",
        b"a0",
        b"\xff",
        b"\xff\xff",
        b"\xff\xff\x01",
    ];
    let ops = keys
        .iter()
        .map(|key| Op::Put(Bytes::copy_from_slice(key), Bytes::new()));
    write(&store, ops.collect()).await;
    let range = async |prefix: &[u8], after: Option<&[u8]>| {
        let page = store
            .range(prefix, after, 100, None)
            .await
            .expect("readable");
        assert!(!page.more);
        page.items
            .into_iter()
            .map(|item| item.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(range(b"a/", None).await, [&b"a/"[..], b"a/b"]);
    assert_eq!(range(b"a", Some(b"a/")).await, [&b"a/b"[..], b"a0"]);
    assert_eq!(
        range(b"\xff\xff", None).await,
        [&b"\xff\xff"[..], b"\xff\xff\x01"]
    );
    assert_eq!(range(b"", None).await, keys);
    assert!(range(b"b", None).await.is_empty());
    assert_eq!(
        range(b"a/", Some(b"A")).await.len(),
        2,
        "after may come before"
    );
    assert!(
        range(b"a/", Some(b"b")).await.is_empty(),
        "after may come behind"
    );
    let none = store.range(b"a", None, 0, None).await.expect("readable");
    assert!(none.items.is_empty() && none.more);
}

/// Every revision of a short history.
pub async fn old_revisions_read_as_they_were(store: Arc<dyn Store>) {
    write(&store, vec![put("/a", "1")]).await;
    write(&store, vec![put("/b", "2")]).await;
    write(&store, vec![put("/a", "3"), delete("/b")]).await;
    write(&store, vec![delete("/a"), put("/c", "4")]).await;
    let history: [&[&str]; 5] = [&[], &["/a=1"], &["/a=1", "/b=2"], &["/a=3"], &["/c=4"]];
    for (at, expected) in (0..).zip(history) {
        let at = Some(Revision(at));
        assert_eq!(standing(&store, "/", at).await, expected, "{at:?}");
        let one = store.get(b"/a", at).await.expect("readable");
        let a = expected.iter().find(|item| item.starts_with("/a"));
        assert_eq!(one.as_ref().map(show).as_deref(), a.copied(), "{at:?}");
    }
}

/// Whoever knows a later revision knows another store.
pub async fn a_revision_of_the_future_is_refused(store: Arc<dyn Store>) {
    write(&store, vec![put("/a", "1")]).await;
    let future = |error: StoreError| {
        matches!(error, StoreError::Future { requested, current }
            if (requested, current) == (Revision(2), Revision(1)))
    };
    let at = Some(Revision(2));
    assert!(store.get(b"/a", at).await.is_err_and(future));
    assert!(store.range(b"/", None, 1, at).await.is_err_and(future));
    assert!(
        store
            .watch(b"/", Revision(2))
            .await
            .err()
            .is_some_and(future)
    );
}

/// What was compacted is refused, what is left reads as before.
pub async fn compacted_history_is_refused_and_the_rest_stays(store: Arc<dyn Store>) {
    for n in 1..=5 {
        write(&store, vec![put("/a", &n.to_string())]).await;
    }
    store.compact(Revision(3)).await.expect("compacts");
    assert_eq!(
        store.identity().await.expect("readable").compacted,
        Revision(3)
    );
    for at in 0..3 {
        let refused = store.get(b"/a", Some(Revision(at))).await;
        let refused = refused.expect_err("compacted");
        assert!(matches!(refused, StoreError::Compacted { oldest } if oldest == Revision(3)));
    }
    for at in 3..=5 {
        let expected = format!("/a={at}");
        assert_eq!(standing(&store, "/", Some(Revision(at))).await, [expected]);
    }
    assert_eq!(standing(&store, "/", None).await, ["/a=5"]);
}

/// Compacting backwards does nothing; compacting the future is refused.
pub async fn compaction_is_idempotent_and_never_ahead(store: Arc<dyn Store>) {
    write(&store, vec![put("/a", "1")]).await;
    write(&store, vec![put("/a", "2")]).await;
    let refused = store.compact(Revision(3)).await;
    assert!(matches!(refused, Err(StoreError::Future { .. })));
    for oldest in [2, 2, 1, 0] {
        store.compact(Revision(oldest)).await.expect("compacts");
        let identity = store.identity().await.expect("readable");
        assert_eq!(
            (identity.compacted, identity.revision),
            (Revision(2), Revision(2))
        );
    }
    assert_eq!(standing(&store, "/", None).await, ["/a=2"]);
}
