//! The law: no view that a node is given lacks a row that stood when it was compiled, whether this build can read the row
//! or not. Over random histories of writes, rows that cannot be read, lost watches, failing reads and restarts.
//!
//! Compiler and hub run as they do in a server; what is known of a history is a list of what stood at each revision.

use crate::{
    harness::{DEADLINE, endpoint, policy},
    unsteady::{Unsteady, unavailable},
};
use palisade_compile::Compiler;
use palisade_controlplane::{
    compiler::{CompilerTask, RunningCompiler},
    http::Health,
    hub::Hub,
};
use palisade_model::{Name, stored};
use palisade_policy::{table::ItemTable, view::Epoch};
use palisade_store::{Revision, Store, StoreError};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::timeout;

/// What stands, by key.
type Rows = BTreeMap<String, String>;

const NODES: [&str; 2] = ["n1", "n2"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A row is written, or removed: by a user, by another build, by whoever accepts its loss.
    Set(String, Option<String>),
    /// The watch is lost, for the compiler was too slow.
    Compacted,
    /// The store fails; so many reads after it fail too.
    Failed(usize),
    /// The control plane starts again: it knows nothing but what is stored.
    Restart,
}

fn resource(kind: &str, name: &str, spec: Value) -> (String, String) {
    let row = json!({
        "apiVersion": "projectcalico.org/v3", "kind": kind,
        "metadata": { "name": name }, "spec": spec,
    });
    (format!("/r/{kind}/-/{name}"), encode(&row))
}

fn encode(row: &Value) -> String {
    let row = stored::encode(row).expect("a map");
    String::from_utf8(row).expect("text")
}

/// Rows that can be read, few enough to meet.
fn readable() -> Vec<(String, String)> {
    let of = |document: Value| {
        let kind = document["kind"].as_str().unwrap_or_default();
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        (format!("/r/{kind}/-/{name}"), encode(&document))
    };
    let felix = |prefix: &str| json!({ "logPrefix": prefix });
    vec![
        of(policy("a", "all()", &[80])),
        of(policy("a", "role == 'web'", &[80, 81])),
        of(policy("b", "role == 'web'", &[443])),
        of(endpoint("e1", "n1", "eth0", "web")),
        of(endpoint("e2", "n2", "eth0", "web")),
        of(endpoint("e2", "n2", "eth0", "db")),
        resource("Node", "n1", json!({})),
        resource("Node", "n2", json!({})),
        resource("FelixConfiguration", "node.n1", felix("x")),
        resource("FelixConfiguration", "default", felix("y")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let keys: Vec<String> = readable().into_iter().map(|(key, _)| key).collect();
    let keys = || select(keys.clone());
    let unreadable = select(vec![
        r#"{"schema":2}"#,
        r#"{"kind":"#,
        r#"{"schema":1,"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"z"},"spec":{"later":1}}"#,
    ]);
    let later = select(vec![
        "/r/Invariant/-/x",
        "/t/0123456789ab",
        "/r/ClusterInformation/-/default",
    ]);
    prop_oneof![
        6 => select(readable()).prop_map(|(key, row)| Step::Set(key, Some(row))),
        3 => (keys(), unreadable.clone()).prop_map(|(key, row)| Step::Set(key, Some(row.to_owned()))),
        4 => keys().prop_map(|key| Step::Set(key, None)),
        1 => (later.clone(), unreadable).prop_map(|(key, row)| Step::Set(key.to_owned(), Some(row.to_owned()))),
        1 => later.prop_map(|key| Step::Set(key.to_owned(), None)),
        1 => Just(Step::Compacted),
        1 => (0..3_usize).prop_map(Step::Failed),
        2 => Just(Step::Restart),
    ]
}

fn is_unreadable(key: &str, row: &str) -> bool {
    key.starts_with("/t/") || stored::read(key.as_bytes(), row.as_bytes()).is_err()
}

/// Whether a row that cannot be read keeps a node's view as it is. Written down apart from what is tested.
fn freezes(key: &str, node: &str) -> bool {
    match key.trim_start_matches("/r/").split_once("/-/") {
        Some(("Node", name)) => name == node,
        Some(("FelixConfiguration", "default")) => true,
        Some(("FelixConfiguration", name)) => name == format!("node.{node}"),
        Some(("ClusterInformation", _)) => false,
        Some(_) => true,
        None => false,
    }
}

fn is_frozen(rows: &Rows, node: &str) -> bool {
    let mut unreadable = rows.iter().filter(|(key, row)| is_unreadable(key, row));
    unreadable.any(|(key, _)| freezes(key, node))
}

/// Whether every node would be frozen, known or not.
fn is_whole(rows: &Rows) -> bool {
    is_frozen(rows, "nobody")
}

/// The view from scratch; `None` without a Node resource.
fn view(rows: &Rows, node: &str) -> Option<ItemTable> {
    let mut compiler = Compiler::new();
    let read = rows
        .iter()
        .filter_map(|(key, row)| stored::read(key.as_bytes(), row.as_bytes()).ok());
    compiler.apply(read.map(|read| (read.id, Some(Arc::new(read.resource)))), 1);
    rows.contains_key(&format!("/r/Node/-/{node}")).then(|| {
        let name = Name::new(node).expect("a name");
        compiler.view(&name).items
    })
}

/// Compiler and hub of one start.
struct Running {
    hub: Arc<Hub>,
    compiler: RunningCompiler,
}

impl Running {
    async fn start(store: &Arc<Unsteady>) -> Self {
        let hub = Hub::new(Epoch([1; 16]));
        let (_, metrics) = Health::new(Arc::clone(&hub));
        let task = CompilerTask {
            store: Arc::clone(store) as Arc<dyn Store>,
            hub: Arc::clone(&hub),
            metrics,
        };
        let mut compiler = task.spawn().expect("a thread");
        assert!(compiler.compiled().await);
        Self { hub, compiler }
    }

    /// Waits until everything that was written is taken in.
    async fn settle(&self, rows: &Rows, revision: Revision) {
        let unreadable: Vec<&str> = rows
            .iter()
            .filter(|(key, row)| is_unreadable(key, row))
            .map(|(key, _)| key.as_str())
            .collect();
        let mut news = self.hub.watch_news();
        let found = async {
            loop {
                news.mark_unchanged();
                let told = self.hub.unreadable();
                let told: Vec<&str> = told.iter().map(|(_, row)| row.row.key.as_str()).collect();
                if told == unreadable && (is_whole(rows) || self.hub.compiled() == revision.0) {
                    return;
                }
                news.changed().await.expect("the hub lives");
            }
        };
        timeout(DEADLINE, found).await.expect("in time");
    }
}

/// Plays a history. What is written is read once all is settled, after each step.
async fn play(steps: Vec<Step>) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Unsteady::open(dir.path());
    let mut history: BTreeMap<u64, Rows> = BTreeMap::from([(0, Rows::new())]);
    let mut rows = Rows::new();
    let mut revision = Revision(0);
    for node in NODES {
        let (key, row) = resource("Node", node, json!({}));
        revision = store.set(&key, Some(row.clone())).await;
        rows.insert(key, row);
        history.insert(revision.0, rows.clone());
    }
    let mut running = Running::start(&store).await;
    running.settle(&rows, revision).await;
    for step in steps {
        match step {
            Step::Set(key, row) => {
                revision = store.set(&key, row.clone()).await;
                match row {
                    Some(row) => drop(rows.insert(key, row)),
                    None => drop(rows.remove(&key)),
                }
                history.insert(revision.0, rows.clone());
            }
            Step::Compacted | Step::Failed(_) => {
                let before = store.watches();
                match step {
                    Step::Failed(reads) => store.cut(unavailable(), reads),
                    _ => store.cut(StoreError::Compacted { oldest: revision }, 0),
                }
                let again = store.watched_since(before);
                timeout(DEADLINE, again).await.expect("in time");
            }
            Step::Restart => {
                running.compiler.stop().await;
                running = Running::start(&store).await;
            }
        }
        running.settle(&rows, revision).await;
        for node in NODES {
            judge(&running.hub, &history, &rows, revision, node);
        }
    }
    running.compiler.stop().await;
}

fn judge(hub: &Hub, history: &BTreeMap<u64, Rows>, rows: &Rows, revision: Revision, node: &str) {
    let offered = hub.desired(node);
    if let Some((position, table)) = &offered {
        // Of the revision that the view says it is of, or the last before.
        let (_, stood) = history
            .range(..=position.revision)
            .next_back()
            .expect("the first");
        assert!(
            !is_frozen(stood, node),
            "{node}: a view of revision {} was compiled without a row",
            position.revision
        );
        let wanted = view(stood, node).map(|view| view.digest());
        assert_eq!(
            wanted,
            Some(table.digest()),
            "{node} at {}",
            position.revision
        );
    }
    assert_eq!(
        hub.frozen_by(node).is_some(),
        is_frozen(rows, node),
        "{node}"
    );
    if !is_frozen(rows, node) && !is_whole(rows) {
        let wanted = view(rows, node).map(|view| (revision.0, view.digest()));
        let offered = offered.map(|(position, table)| (position.revision, table.digest()));
        assert_eq!(offered, wanted, "{node}: nothing holds it back");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn no_view_lacks_a_row_that_stands_whatever_fails_between(steps in vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(play(steps));
    }
}
