//! The owner of all compilation: follows the store, compiles, hands views to the hub.
//!
//! A change is compiled and sent at once when nothing is under way; what was committed meanwhile is taken in one go.
//!
//! The law kept here: no view is published that lacks a row which this build cannot read. While such a row stands, the
//! nodes whose views it may affect are frozen: changes are compiled, and their views wait until the row can be read, is
//! gone, or its loss is accepted.

mod taken;

use crate::{
    http::Metrics,
    hub::{Hub, Round},
    unreadable::{PREFIXES, Rows},
};
use futures_util::FutureExt as _;
use palisade_compile::Compiler;
use palisade_model::{Kind, Name, ResourceId};
use palisade_store::{Batch, Revision, Scan, Store, StoreError, WatchStream};
use std::{
    collections::BTreeSet,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use taken::{Changes, Taken};
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tracing::{debug, error, info, warn};

/// Under load, changes are gathered for no longer.
const GATHER: Duration = Duration::from_millis(10);
/// Pause before a store that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Of all that is stored: the watch shows changes of every row that is read.
const EVERYTHING: &[u8] = b"/";

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
    /// Those with a Node resource that can be read.
    nodes: BTreeSet<Name>,
    /// Those whose view may differ from what the hub has of them, because they are frozen.
    waiting: BTreeSet<Name>,
    /// Rows that cannot be read. Their last good version, if there was one, is still compiled.
    unreadable: Arc<Rows>,
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
            waiting: BTreeSet::new(),
            unreadable: Arc::default(),
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
    /// Reads everything, and compiles the view of every node. Nothing is changed by a reading that fails.
    async fn load(&mut self) -> Result<Revision, StoreError> {
        let started = Instant::now();
        let mut taken = Taken::new(Arc::clone(&self.unreadable));
        let mut stored = BTreeSet::new();
        let store = Arc::clone(&self.task.store);
        let mut revision = None;
        for prefix in PREFIXES {
            let mut scan = match revision {
                None => Scan::new(&*store, prefix),
                Some(revision) => Scan::at(&*store, prefix, revision),
            };
            while let Some(items) = scan.next().await? {
                for item in &items {
                    taken.put(&item.key, &item.value, item.modified);
                    stored.insert(item.key.clone());
                }
            }
            revision = Some(scan.revision());
        }
        let revision = revision.unwrap_or(Revision(0));
        // What is not stored is gone; what cannot be read is not gone.
        let is_gone = |key: &[u8]| !stored.contains(key);
        for (id, _) in self.compiler.world().iter() {
            if is_gone(id.store_key().as_bytes()) {
                taken.changes.insert(id.clone(), None);
            }
        }
        for (key, _) in self.unreadable.iter().filter(|(key, _)| is_gone(key)) {
            taken.forget(key);
        }
        let resources = taken.changes.len();
        self.unreadable = taken.rows;
        self.compile(taken.changes, revision, started);
        info!(%revision, resources, nodes = self.nodes.len(), "compiled");
        Ok(revision)
    }

    /// Compiles change after change, until the watch ends.
    async fn follow(&mut self, from: Revision) -> StoreError {
        let mut watch = match self.task.store.watch(EVERYTHING, from).await {
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
            let mut taken = Taken::new(Arc::clone(&self.unreadable));
            let mut revision = first.revision;
            taken.batch(&first);
            let mut ended = None;
            while started.elapsed() < GATHER && ended.is_none() {
                match next_at_once(&mut watch) {
                    Some(Ok(batch)) => {
                        revision = batch.revision;
                        taken.batch(&batch);
                    }
                    Some(Err(error)) => ended = Some(error),
                    None => break,
                }
            }
            self.unreadable = taken.rows;
            self.compile(taken.changes, revision, started);
            if let Some(error) = ended {
                return error;
            }
        }
    }

    fn compile(&mut self, changes: Changes, revision: Revision, started: Instant) {
        let mut gone = Vec::new();
        for (id, resource) in changes.iter().filter(|(id, _)| id.kind == Kind::Node) {
            match resource {
                Some(_) if self.nodes.insert(id.name.clone()) => {
                    self.waiting.insert(id.name.clone());
                }
                Some(_) => {}
                None if self.nodes.remove(&id.name) => gone.push(id.name.clone()),
                None => {}
            }
        }
        let count = changes.len();
        let affected = self.compiler.apply(changes, revision.0);
        self.waiting.extend(affected.nodes);
        self.waiting.retain(|name| self.nodes.contains(name));
        let rows = &self.unreadable;
        let is_frozen = |name: &Name| rows.concern(name.as_str());
        let (frozen, free) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<BTreeSet<_>, _>(is_frozen);
        self.waiting = frozen;
        let mut views = Vec::with_capacity(free.len());
        for name in &free {
            let view = self.compiler.view(name).items;
            views.push((Arc::from(name.as_str()), Some(view)));
        }
        for name in &gone {
            self.compiler.forget(name);
            views.push((Arc::from(name.as_str()), None));
        }
        let metrics = &self.task.metrics;
        metrics.views.inc_by(views.len() as u64);
        metrics
            .unreadable
            .set(i64::try_from(self.unreadable.len()).unwrap_or(i64::MAX));
        if count > 0 {
            metrics
                .compile_seconds
                .observe(started.elapsed().as_secs_f64());
            debug!(%revision, changes = count, views = views.len(), micros = started.elapsed().as_micros(), "compiled");
        }
        self.task.hub.publish(Round {
            revision: revision.0,
            views,
            frozen: self.frozen(),
            unreadable: Arc::clone(&self.unreadable),
        });
    }

    /// All nodes that are frozen, also those whose Node resource is what cannot be read.
    fn frozen(&self) -> BTreeSet<Arc<str>> {
        let rows = &self.unreadable;
        let is_node = |name: &Name| {
            let id = ResourceId::global(Kind::Node, name.clone());
            self.nodes.contains(name) || rows.get(id.store_key().as_bytes()).is_some()
        };
        let own = rows.nodes().filter(|name| is_node(name));
        let all = self.nodes.iter().filter(|_| rows.concern_everybody());
        own.chain(all)
            .map(|name| Arc::from(name.as_str()))
            .collect()
    }
}

/// The next batch, if it is there already.
fn next_at_once(watch: &mut WatchStream) -> Option<Result<Batch, StoreError>> {
    watch.next().now_or_never().flatten()
}
