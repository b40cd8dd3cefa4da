//! What every engine must do, as tests that are given a new, empty store. `conformance_tests!` makes one test of each.
//!
//! The suite says nothing about disks, locks or clusters; those tests belong to the engine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use crate::{
    Batch, Change, Compare, Event, KeyValue, Op, Page, Revision, Store, StoreError, Txn,
    TxnOutcome, WatchStream,
};

mod history;
mod model;
mod transactions;
mod watching;

pub use history::*;
pub use model::{Step, agrees_with_the_model, steps};
pub use transactions::*;
pub use watching::*;

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// Makes one test of each conformance case. `$open` is an async function that gives a new, empty store and whatever
/// must live as long: `async fn open() -> (Arc<dyn Store>, Guard)`.
#[macro_export]
macro_rules! conformance_tests {
    ($open:path) => {
        $crate::conformance_tests!($open:
            a_new_store_is_empty_at_revision_zero,
            a_put_is_read_back_with_its_revisions,
            every_change_adds_one_revision_and_nothing_else_does,
            a_key_made_again_has_a_new_creation,
            a_compare_that_fails_changes_nothing_and_shows_what_stands,
            of_racing_creations_exactly_one_wins,
            increments_by_compare_and_swap_are_never_lost,
            a_transaction_happens_whole_at_one_revision,
            requests_beyond_the_limits_are_refused,
            a_range_pages_through_one_revision_while_writes_go_on,
            a_range_keeps_to_its_prefix,
            old_revisions_read_as_they_were,
            a_revision_of_the_future_is_refused,
            compacted_history_is_refused_and_the_rest_stays,
            compaction_is_idempotent_and_never_ahead,
            a_watch_sees_every_change_under_its_prefix_in_order,
            a_watch_resumes_after_any_revision_it_saw,
            a_watch_tells_by_bookmark_that_it_has_caught_up,
            a_watch_from_before_compaction_is_refused,
            a_watch_that_waits_is_woken,
            a_lease_is_given_with_its_fence,
        );
    };
    ($open:path: $($case:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, _guard) = $open().await;
            $crate::conformance::$case(store).await;
        }
    )*};
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(bytes(key), bytes(value))
}

fn delete(key: &str) -> Op {
    Op::Delete(bytes(key))
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Writes without conditions, and gives the revision.
async fn write(store: &Arc<dyn Store>, ops: Vec<Op>) -> Revision {
    match store.txn(Txn::unconditional(ops)).await {
        Ok(TxnOutcome::Committed { revision }) => revision,
        other => panic!("an unconditional write came to {other:?}"),
    }
}

async fn revision(store: &Arc<dyn Store>) -> Revision {
    store.identity().await.expect("readable").revision
}

/// What stands at every key with the prefix, as `key=value`.
async fn standing(store: &Arc<dyn Store>, prefix: &str, at: Option<Revision>) -> Vec<String> {
    let page = store.range(prefix.as_bytes(), None, 1000, at).await;
    page.expect("readable").items.iter().map(show).collect()
}

fn show(item: &KeyValue) -> String {
    format!("{}={}", text(&item.key), text(&item.value))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn next(watch: &mut WatchStream) -> Result<Batch, StoreError> {
    let item = tokio::time::timeout(DEADLINE, watch.next()).await;
    item.expect("the watch says something in time")
        .expect("a watch ends only with an error")
}

/// The events up to a revision, each with its own, bookmarks left out.
async fn events_until(watch: &mut WatchStream, until: Revision) -> Vec<(Revision, Event)> {
    let mut events = Vec::new();
    loop {
        let batch = next(watch).await.expect("the watch goes on");
        let revision = batch.revision;
        events.extend(batch.events.into_iter().map(|event| (revision, event)));
        if revision >= until {
            return events;
        }
    }
}
