//! Compare-and-swap: all or nothing, one revision each, nobody's write lost.

use super::*;
use crate::MAX_VALUE;

/// A store begins at revision 0, with nothing in it, and takes writes.
pub async fn a_new_store_is_empty_at_revision_zero(store: Arc<dyn Store>) {
    let identity = store.identity().await.expect("readable");
    assert_eq!(identity.revision, Revision(0));
    assert_eq!(identity.compacted, Revision(0));
    assert!(!identity.read_only);
    assert_ne!(identity.epoch, [0; 16]);
    assert_eq!(store.get(b"a", None).await.expect("readable"), None);
    assert!(standing(&store, "", None).await.is_empty());
}

/// `created` stays, `modified` follows the last write.
pub async fn a_put_is_read_back_with_its_revisions(store: Arc<dyn Store>) {
    let created = write(&store, vec![put("/a", "1")]).await;
    let modified = write(&store, vec![put("/a", "2")]).await;
    let expected = KeyValue {
        key: bytes("/a"),
        value: bytes("2"),
        created,
        modified,
    };
    assert_eq!((created, modified), (Revision(1), Revision(2)));
    assert_eq!(
        store.get(b"/a", None).await.expect("readable"),
        Some(expected)
    );
}

/// An equal put is a change; no operations, or deletes of absent keys, are none.
pub async fn every_change_adds_one_revision_and_nothing_else_does(store: Arc<dyn Store>) {
    assert_eq!(
        write(&store, vec![put("/a", "1"), put("/b", "1")]).await,
        Revision(1)
    );
    assert_eq!(write(&store, vec![put("/a", "1")]).await, Revision(2));
    assert_eq!(write(&store, vec![]).await, Revision(2));
    assert_eq!(write(&store, vec![delete("/x")]).await, Revision(2));
    assert_eq!(
        write(&store, vec![delete("/x"), delete("/a")]).await,
        Revision(3)
    );
    assert_eq!(standing(&store, "/", None).await, ["/b=1"]);
}

/// Deleted and put again, a key is another key.
pub async fn a_key_made_again_has_a_new_creation(store: Arc<dyn Store>) {
    write(&store, vec![put("/a", "1")]).await;
    write(&store, vec![delete("/a")]).await;
    let revision = write(&store, vec![put("/a", "1")]).await;
    let again = store.get(b"/a", None).await.expect("readable");
    assert_eq!(again.map(|again| again.created), Some(revision));
}

/// Every kind of compare, holding and not.
pub async fn a_compare_that_fails_changes_nothing_and_shows_what_stands(store: Arc<dyn Store>) {
    write(&store, vec![put("/a", "1")]).await;
    let there = store.get(b"/a", None).await.expect("readable");
    let absent = || Compare::Absent(bytes("/a"));
    let holding = [
        Compare::Present(bytes("/a")),
        Compare::ModifiedAt(bytes("/a"), Revision(1)),
        Compare::Absent(bytes("/x")),
    ];
    let failing = [
        absent(),
        Compare::ModifiedAt(bytes("/a"), Revision(7)),
        Compare::ModifiedAt(bytes("/x"), Revision(1)),
        Compare::Present(bytes("/x")),
    ];
    for compare in failing {
        let current = match compare.key().as_ref() {
            b"/a" => there.clone(),
            _ => None,
        };
        let mut both = holding.to_vec();
        both.push(compare);
        let then = vec![put("/b", "2")];
        let compare = both;
        let outcome = store.txn(Txn { compare, then }).await.expect("judged");
        let expected = TxnOutcome::Failed {
            revision: Revision(1),
            current: vec![there.clone(), there.clone(), None, current],
        };
        assert_eq!(outcome, expected);
    }
    assert_eq!(standing(&store, "/", None).await, ["/a=1"]);
    let compare = holding.to_vec();
    let then = vec![put("/b", "2")];
    let outcome = store.txn(Txn { compare, then }).await.expect("judged");
    let revision = Revision(2);
    assert_eq!(outcome, TxnOutcome::Committed { revision });
    assert_eq!(standing(&store, "/", None).await, ["/a=1", "/b=2"]);
}

/// Thirty-two create the same key.
pub async fn of_racing_creations_exactly_one_wins(store: Arc<dyn Store>) {
    let racers: Vec<_> = (0..32)
        .map(|racer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let compare = vec![Compare::Absent(bytes("/a"))];
                let then = vec![put("/a", &racer.to_string())];
                store.txn(Txn { compare, then }).await.expect("judged")
            })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        won += match racer.await.expect("no panic") {
            TxnOutcome::Committed { .. } => 1,
            TxnOutcome::Failed { current, .. } => {
                assert!(matches!(current[..], [Some(_)]));
                0
            }
        };
    }
    assert_eq!(won, 1);
    assert_eq!(revision(&store).await, Revision(1));
}

/// Eight count to twenty each, on one key.
pub async fn increments_by_compare_and_swap_are_never_lost(store: Arc<dyn Store>) {
    write(&store, vec![put("/n", "0")]).await;
    let counters: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..20 {
                    while !increment(&store).await {}
                }
            })
        })
        .collect();
    for counter in counters {
        counter.await.expect("no panic");
    }
    assert_eq!(standing(&store, "/n", None).await, ["/n=160"]);
    assert_eq!(revision(&store).await, Revision(161));
}

async fn increment(store: &Arc<dyn Store>) -> bool {
    let there = store.get(b"/n", None).await.expect("readable");
    let there = there.expect("there");
    let count: u32 = text(&there.value).parse().expect("a number");
    let compare = vec![Compare::ModifiedAt(there.key, there.modified)];
    let then = vec![put("/n", &(count + 1).to_string())];
    let outcome = store.txn(Txn { compare, then }).await.expect("judged");
    matches!(outcome, TxnOutcome::Committed { .. })
}

/// Readers never see half a transaction, at any revision.
pub async fn a_transaction_happens_whole_at_one_revision(store: Arc<dyn Store>) {
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..100 {
                let value = round.to_string();
                let ops = ["/a", "/b", "/c"].map(|key| put(key, &value));
                write(&store, ops.to_vec()).await;
            }
        })
    };
    loop {
        let done = writer.is_finished();
        let page = store.range(b"/", None, 10, None).await.expect("readable");
        let values: std::collections::BTreeSet<_> =
            page.items.iter().map(|item| &item.value).collect();
        assert!(values.len() <= 1, "torn: {:?}", page.items);
        assert!(page.items.iter().all(|item| item.modified == page.revision));
        if done {
            break;
        }
    }
    writer.await.expect("no panic");
}

/// Limits are checked before anything happens.
pub async fn requests_beyond_the_limits_are_refused(store: Arc<dyn Store>) {
    let long_key = "k".repeat(crate::MAX_KEY + 1);
    let long_value = Op::Put(bytes("/a"), vec![0; MAX_VALUE + 1].into());
    let many = (0..=crate::MAX_OPS)
        .map(|n| put(&format!("/{n}"), ""))
        .collect();
    for ops in [
        vec![put("/a", "1"), delete("/a")],
        vec![put("", "1")],
        vec![put(&long_key, "1")],
        vec![put("/b", "1"), long_value],
        many,
    ] {
        let refused = store.txn(Txn::unconditional(ops)).await;
        assert!(matches!(refused, Err(StoreError::Invalid { .. })));
    }
    let longest = Op::Put("k".repeat(crate::MAX_KEY).into(), vec![7; MAX_VALUE].into());
    assert_eq!(write(&store, vec![longest]).await, Revision(1));
}

/// A lease comes with compares that hold.
pub async fn a_lease_is_given_with_its_fence(store: Arc<dyn Store>) {
    let lease = store.lease("housekeeping", Duration::from_secs(10)).await;
    let lease = lease.expect("available").expect("free");
    assert_eq!(lease.name, "housekeeping");
    let (compare, then) = (lease.fence, vec![put("/a", "1")]);
    let outcome = store.txn(Txn { compare, then }).await.expect("judged");
    assert!(matches!(outcome, TxnOutcome::Committed { .. }));
}
