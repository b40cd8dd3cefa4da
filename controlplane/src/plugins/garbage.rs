//! Components that no Plugin names go after a while, and with them what broken-off uploads left behind.
//!
//! A component is marked when it is first seen without a name, and removed when the mark is old enough: so whoever pushes
//! has time to name it, and whoever deletes a Plugin to change their mind. While a Plugin cannot be read, every component
//! counts as named: it may be the one that it names.

use super::{
    Users,
    components::{Components, PAGE},
    record::{CHUNKS, RECORDS, Record, chunk_key, hex, now, record_key},
};
use crate::{failure::of_store, resources::Resources};
use palisade_plugin_host::Digest;
use palisade_store::{Compare, Lease, Op, Revision, Txn, TxnOutcome};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tonic::Status;
use tracing::{info, warn};

/// Looked for at least so often.
const PERIOD: Duration = Duration::from_secs(600);
/// Only one replica looks; it holds the lease for so long.
const LEASE: Duration = Duration::from_secs(60);

/// Removes what nobody names.
pub struct Collector {
    /// What is removed.
    pub components: Arc<Components>,
    /// Those who name.
    pub resources: Arc<Resources>,
    /// How long a component without a name is kept.
    pub keep: Duration,
}

// === impl Collector ===

impl Collector {
    /// Looks now and again, until it is told to end.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = self.run() => {}
            () = stop => {}
        }
    }

    async fn run(&self) {
        let mut times = tokio::time::interval(PERIOD.min(self.keep));
        times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            if let Err(status) = self.collect(now()).await {
                warn!(%status, "unused components were not looked for");
            }
        }
    }

    async fn collect(&self, now: u64) -> Result<(), Status> {
        let store = &self.components.store;
        let lease = store.lease("components", LEASE).await.map_err(of_store)?;
        let Some(lease) = lease else {
            return Ok(());
        };
        let _storing = self.components.storing.lock().await;
        // Nobody comes to name one between the look and the removal.
        let _exclusive = self.resources.hold_referents().await;
        let users = Users::find(&**store).await?;
        let records = self.components.records().await?;
        // Bytes belong to a record that cannot be read, too.
        let unreadable = records.unreadable.iter();
        let mut known: BTreeSet<String> = unreadable
            .filter_map(|row| row.key.strip_prefix(RECORDS).map(str::to_owned))
            .collect();
        for (digest, record, modified) in records.readable {
            let named = users.may_name(&digest);
            let ops = self.judge(&digest, &record, named, now)?;
            if !ops.is_empty() {
                self.commit(&lease, &digest, modified, ops).await?;
            }
            known.insert(hex(&digest));
        }
        self.remove_leftovers(&lease, &known).await
    }

    /// What becomes of a component.
    fn judge(
        &self,
        digest: &Digest,
        record: &Record,
        named: bool,
        now: u64,
    ) -> Result<Vec<Op>, Status> {
        let mark = |unused_since| {
            let marked = Record {
                unused_since,
                ..record.clone()
            };
            Ok(vec![Op::Put(record_key(digest), marked.encode()?)])
        };
        match (named, record.unused_since) {
            (true, None) => Ok(Vec::new()),
            (true, Some(_)) => mark(None),
            (false, None) => mark(Some(now)),
            (false, Some(since)) if now.saturating_sub(since) < self.keep.as_secs() => {
                Ok(Vec::new())
            }
            (false, Some(_)) => {
                let chunks = (0..record.chunks()).map(|index| chunk_key(digest, index));
                let keys = std::iter::once(record_key(digest)).chain(chunks);
                Ok(keys.map(Op::Delete).collect())
            }
        }
    }

    async fn commit(
        &self,
        lease: &Lease,
        digest: &Digest,
        modified: Revision,
        then: Vec<Op>,
    ) -> Result<(), Status> {
        let removes = matches!(then.first(), Some(Op::Delete(_)));
        let mut compare = lease.fence.clone();
        compare.push(Compare::ModifiedAt(record_key(digest), modified));
        let txn = Txn { compare, then };
        let outcome = self.components.store.txn(txn).await.map_err(of_store)?;
        if removes && matches!(outcome, TxnOutcome::Committed { .. }) {
            self.components.forget(digest);
            info!(%digest, "component removed, as no plugin names it");
        }
        Ok(())
    }

    /// Chunks without a record.
    async fn remove_leftovers(
        &self,
        lease: &Lease,
        known: &BTreeSet<String>,
    ) -> Result<(), Status> {
        let store = &self.components.store;
        let mut after = CHUNKS.to_owned();
        loop {
            // One of each component: whatever follows its first chunk is skipped.
            let page = store.range(CHUNKS.as_bytes(), Some(after.as_bytes()), 1, None);
            let page = page.await.map_err(of_store)?;
            let Some(item) = page.items.first() else {
                return Ok(());
            };
            let key = String::from_utf8_lossy(&item.key);
            let hex = key.trim_start_matches(CHUNKS);
            let hex = hex.split('/').next().unwrap_or_default().to_owned();
            if !known.contains(&hex) {
                self.remove_chunks(lease, &hex).await?;
            }
            // `~` comes after every digit.
            after = format!("{CHUNKS}{hex}/~");
        }
    }

    async fn remove_chunks(&self, lease: &Lease, hex: &str) -> Result<(), Status> {
        let store = &self.components.store;
        let prefix = format!("{CHUNKS}{hex}/");
        loop {
            let page = store.range(prefix.as_bytes(), None, PAGE, None);
            let page = page.await.map_err(of_store)?;
            if page.items.is_empty() {
                return Ok(());
            }
            let mut compare = lease.fence.clone();
            compare.push(Compare::Absent(format!("{RECORDS}{hex}").into()));
            let keys = page.items.into_iter().map(|item| Op::Delete(item.key));
            let txn = Txn {
                compare,
                then: keys.collect(),
            };
            if let TxnOutcome::Failed { .. } = store.txn(txn).await.map_err(of_store)? {
                return Ok(());
            }
            info!(
                digest = hex,
                "what a broken-off upload left behind is removed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::room::Room;
    use bytes::Bytes;
    use palisade_store::{EmbeddedStore, Store};
    use serde_json::json;

    const KEEP: u64 = 100;

    struct Rig {
        collector: Collector,
        store: Arc<dyn Store>,
        _folder: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let store = EmbeddedStore::open(&folder.path().join("store.redb"));
            let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
            let room = Room { count: 9, bytes: 9 };
            let components = Components::new(Arc::clone(&store), room);
            let components = Arc::new(components.expect("plugins run here"));
            let collector = Collector {
                resources: Arc::new(Resources::new(Arc::clone(&store), Arc::clone(&components))),
                components,
                keep: Duration::from_secs(KEEP),
            };
            Self {
                collector,
                store,
                _folder: folder,
            }
        }

        async fn write(&self, ops: Vec<Op>) {
            let txn = Txn::unconditional(ops);
            self.store.txn(txn).await.expect("writes");
        }

        async fn put(&self, digest: &Digest, unused_since: Option<u64>) {
            let record = Record {
                size: 2,
                kinds: Vec::new(),
                name: "x".to_owned(),
                version: String::new(),
                description: String::new(),
                sinks: Vec::new(),
                stored: 0,
                unused_since,
            };
            let record = record.encode().expect("encodes");
            self.write(vec![
                Op::Put(record_key(digest), record),
                Op::Put(chunk_key(digest, 0), Bytes::from_static(b"ab")),
            ])
            .await;
        }

        async fn name(&self, digest: &Digest) {
            let json = json!({
                "apiVersion": "palisade.dev/v1", "kind": "Plugin", "metadata": { "name": "n" },
                "spec": { "kind": "auditor", "digest": digest.to_string() },
            });
            let key = Bytes::from_static(b"/r/Plugin/-/n");
            self.write(vec![Op::Put(key, json.to_string().into())])
                .await;
        }

        async fn collect(&self, now: u64) {
            self.collector.collect(now).await.expect("looks");
        }

        async fn is_there(&self, key: Bytes) -> bool {
            self.store.get(&key, None).await.expect("reads").is_some()
        }

        /// Record and bytes go together.
        async fn keeps(&self, digest: &Digest) -> bool {
            let record = self.is_there(record_key(digest)).await;
            assert_eq!(record, self.is_there(chunk_key(digest, 0)).await);
            record
        }
    }

    #[tokio::test]
    async fn a_component_is_kept_while_it_is_named_and_for_a_while_after() {
        let rig = Rig::new();
        let digest = Digest::of(b"a");
        rig.put(&digest, Some(0)).await;
        rig.name(&digest).await;
        rig.collect(10 * KEEP).await;
        assert!(rig.keeps(&digest).await, "it is named");
        let key = Bytes::from_static(b"/r/Plugin/-/n");
        rig.write(vec![Op::Delete(key)]).await;
        // The time begins when it is first seen without a name.
        for (now, kept) in [(20, true), (20 + KEEP - 1, true), (20 + KEEP, false)] {
            rig.collect(now).await;
            assert_eq!(rig.keeps(&digest).await, kept, "at {now}");
        }
    }

    #[tokio::test]
    async fn another_name_does_not_keep_it() {
        let rig = Rig::new();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        rig.put(&old, Some(0)).await;
        rig.put(&new, Some(0)).await;
        rig.name(&new).await;
        rig.collect(KEEP).await;
        assert!(!rig.keeps(&old).await);
        assert!(rig.keeps(&new).await);
    }

    #[tokio::test]
    async fn while_a_plugin_cannot_be_read_nothing_that_it_may_name_goes() {
        let rig = Rig::new();
        let digest = Digest::of(b"a");
        rig.put(&digest, Some(0)).await;
        let key = Bytes::from_static(b"/r/Plugin/-/later");
        let row = Bytes::from_static(br#"{"schema":2}"#);
        rig.write(vec![Op::Put(key.clone(), row)]).await;
        rig.collect(10 * KEEP).await;
        assert!(rig.keeps(&digest).await);
        rig.write(vec![Op::Delete(key)]).await;
        rig.collect(11 * KEEP).await;
        assert!(rig.keeps(&digest).await, "its time begins now");
        rig.collect(12 * KEEP).await;
        assert!(!rig.keeps(&digest).await);
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_stays_with_its_bytes_and_stops_nobody() {
        let rig = Rig::new();
        let (later, unused) = (Digest::of(b"later"), Digest::of(b"unused"));
        rig.put(&later, Some(0)).await;
        rig.put(&unused, Some(0)).await;
        let row = Bytes::from_static(br#"{"schema":2}"#);
        rig.write(vec![Op::Put(record_key(&later), row)]).await;
        rig.collect(KEEP).await;
        assert!(rig.keeps(&later).await);
        assert!(!rig.keeps(&unused).await);
    }

    #[tokio::test]
    async fn what_a_broken_off_upload_left_behind_goes_at_once() {
        let rig = Rig::new();
        let (whole, left) = (Digest::of(b"whole"), Digest::of(b"left"));
        rig.put(&whole, None).await;
        let chunks = (0..3).map(|index| chunk_key(&left, index));
        let puts = chunks.map(|key| Op::Put(key, Bytes::from_static(b"ab")));
        rig.write(puts.collect()).await;
        rig.collect(1).await;
        for index in 0..3 {
            assert!(!rig.is_there(chunk_key(&left, index)).await, "{index}");
        }
        assert!(rig.keeps(&whole).await);
    }
}
