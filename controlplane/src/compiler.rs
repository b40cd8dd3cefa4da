//! The owner of all compilation: follows the store, compiles, hands views to the hub.
//!
//! A change is compiled and sent at once when nothing is under way; what was committed meanwhile is taken in one go. A
//! stored resource that cannot be read leaves its last good version in force, visibly.

use crate::{http::Metrics, hub::Hub, resources::PREFIX};
use bytes::Bytes;
use futures_util::FutureExt as _;
use palisade_compile::Compiler;
use palisade_model::{Kind, Name, Resource, ResourceId};
use palisade_policy::table::ItemTable;
use palisade_store::{Batch, Change, Revision, Scan, Store, StoreError, WatchStream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tracing::{debug, error, info, warn};

/// Under load, changes are gathered for no longer.
const GATHER: Duration = Duration::from_millis(10);
/// Pause before a store that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

type Changes = BTreeMap<ResourceId, Option<Arc<Resource>>>;

/// What the task works with.
pub struct CompilerTask {
    /// Followed.
    pub store: Arc<dyn Store>,
    /// Gets the views.
    pub hub: Arc<Hub>,
    /// Figures.
    pub metrics: Metrics,
}

/// The compiler at work.
pub struct RunningCompiler {
    compiled: Option<oneshot::Receiver<()>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

struct Owner {
    task: CompilerTask,
    compiler: Compiler,
    nodes: BTreeSet<Name>,
    unreadable: BTreeSet<Bytes>,
}

impl CompilerTask {
    /// Runs on a thread of its own, so that a long compilation holds up no stream. It ends with the store, or when told.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn spawn(self) -> std::io::Result<RunningCompiler> {
        let (ready, compiled) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name("compiler".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = self.run(ready) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(RunningCompiler {
            compiled: Some(compiled),
            stop,
            thread,
        })
    }

    async fn run(self, ready: oneshot::Sender<()>) {
        let mut owner = Owner {
            task: self,
            compiler: Compiler::new(),
            nodes: BTreeSet::new(),
            unreadable: BTreeSet::new(),
        };
        let mut ready = Some(ready);
        loop {
            match owner.load().await {
                Ok(revision) => {
                    // The start may have been given up.
                    let _ = ready.take().map(|ready| ready.send(()));
                    match owner.follow(revision).await {
                        StoreError::Closed => return,
                        StoreError::Compacted { .. } => {
                            warn!("the compiler fell behind and starts again")
                        }
                        error => error!(%error, "the compiler lost the store"),
                    }
                }
                Err(StoreError::Closed) => return,
                Err(error) => error!(%error, "the compiler cannot read the store"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

// === impl RunningCompiler ===

impl RunningCompiler {
    /// Waits for the first compilation; false if the compiler has ended instead.
    pub async fn compiled(&mut self) -> bool {
        match self.compiled.take() {
            Some(compiled) => compiled.await.is_ok(),
            None => !self.thread.is_finished(),
        }
    }

    /// Ends it, and waits for its end: it holds the store no longer.
    pub async fn stop(self) {
        drop(self.stop);
        // A panic was printed when it happened.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

// === impl Owner ===

impl Owner {
    /// Reads everything, and compiles the view of every node.
    async fn load(&mut self) -> Result<Revision, StoreError> {
        let started = Instant::now();
        let mut changes: Changes = self
            .compiler
            .world()
            .iter()
            .map(|(id, _)| (id.clone(), None))
            .collect();
        self.unreadable.clear();
        let store = std::sync::Arc::clone(&self.task.store);
        let mut scan = Scan::new(&*store, PREFIX);
        while let Some(items) = scan.next().await? {
            for item in &items {
                self.take(&mut changes, &item.key, Some(&item.value));
            }
        }
        let revision = scan.revision();
        let resources = changes.len();
        self.compile(changes, revision, started);
        info!(%revision, resources, nodes = self.nodes.len(), "compiled");
        Ok(revision)
    }

    /// Compiles change after change, until the watch ends.
    async fn follow(&mut self, from: Revision) -> StoreError {
        let mut watch = match self.task.store.watch(PREFIX.as_bytes(), from).await {
            Ok(watch) => watch,
            Err(error) => return error,
        };
        loop {
            let first = match watch.next().await {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => return error,
                None => return StoreError::Closed,
            };
            let started = Instant::now();
            let mut changes = Changes::new();
            let mut revision = first.revision;
            self.take_batch(&mut changes, &first);
            let mut ended = None;
            while started.elapsed() < GATHER && ended.is_none() {
                match next_at_once(&mut watch) {
                    Some(Ok(batch)) => {
                        revision = batch.revision;
                        self.take_batch(&mut changes, &batch);
                    }
                    Some(Err(error)) => ended = Some(error),
                    None => break,
                }
            }
            self.compile(changes, revision, started);
            if let Some(error) = ended {
                return error;
            }
        }
    }

    fn take_batch(&mut self, changes: &mut Changes, batch: &Batch) {
        for event in &batch.events {
            let value = match &event.change {
                Change::Put { value, .. } => Some(value),
                Change::Delete { .. } => None,
            };
            self.take(changes, &event.key, value);
        }
    }

    /// Notes what stands at a key now. What cannot be read changes nothing.
    fn take(&mut self, changes: &mut Changes, key: &Bytes, value: Option<&Bytes>) {
        let id = std::str::from_utf8(key)
            .ok()
            .and_then(ResourceId::from_store_key);
        let read = match (&id, value) {
            (Some(_), None) => Ok(None),
            (Some(_), Some(value)) => read(value).map(Some),
            (None, _) => Err("not the key of a known kind".to_owned()),
        };
        match (id, read) {
            (Some(id), Ok(resource)) => {
                self.unreadable.remove(key);
                changes.insert(id, resource.map(Arc::new));
            }
            (_, Err(error)) => {
                error!(key = %String::from_utf8_lossy(key), error, "a stored resource cannot be read; its last good version stays");
                self.unreadable.insert(key.clone());
            }
            (None, Ok(_)) => {}
        }
    }

    fn compile(&mut self, changes: Changes, revision: Revision, started: Instant) {
        let mut gone = Vec::new();
        let mut added = BTreeSet::new();
        for (id, resource) in changes.iter().filter(|(id, _)| id.kind == Kind::Node) {
            match resource {
                Some(_) if self.nodes.insert(id.name.clone()) => {
                    added.insert(id.name.clone());
                }
                Some(_) => {}
                None if self.nodes.remove(&id.name) => gone.push(id.name.clone()),
                None => {}
            }
        }
        let count = changes.len();
        let affected = self.compiler.apply(changes, revision.0);
        let dirty: BTreeSet<Name> = affected.nodes.into_iter().chain(added).collect();
        let mut views: Vec<(Arc<str>, Option<ItemTable>)> = Vec::with_capacity(dirty.len());
        for name in dirty.iter().filter(|name| self.nodes.contains(*name)) {
            views.push((name.as_str().into(), Some(self.compiler.view(name).items)));
        }
        for name in &gone {
            self.compiler.forget(name);
            views.push((name.as_str().into(), None));
        }
        let metrics = &self.task.metrics;
        metrics.views.inc_by(views.len() as u64);
        metrics
            .undecodable
            .set(i64::try_from(self.unreadable.len()).unwrap_or(i64::MAX));
        if count > 0 {
            metrics
                .compile_seconds
                .observe(started.elapsed().as_secs_f64());
            debug!(%revision, changes = count, views = views.len(), micros = started.elapsed().as_micros(), "compiled");
        }
        self.task.hub.publish(revision.0, views);
    }
}

/// The next batch, if it is there already.
fn next_at_once(watch: &mut WatchStream) -> Option<Result<Batch, StoreError>> {
    watch.next().now_or_never().flatten()
}

fn read(value: &[u8]) -> Result<Resource, String> {
    let json = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let decoded = palisade_model::decode(&json).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })?;
    Ok(decoded.resource)
}
