//! A writer killed with SIGKILL at any moment: what it acknowledged is there, and nothing is there by half.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use palisade_store::{EmbeddedStore, Op, Revision, Store, Txn, TxnOutcome};

/// Where the child finds its store; it is this test binary, run again.
const CHILD: &str = "PALISADE_STORE_KILL_TEST";
const WRITERS: u32 = 4;

/// Not a test: what the child does. Prints each write only once it was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of the test below"]
async fn child_writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let store = Arc::new(EmbeddedStore::open(path.as_ref()).expect("opens"));
    let start = store.identity().await.expect("readable").revision;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0_u64.. {
                    let name = format!("{start}-{writer}-{n}");
                    let ops = ["/a/", "/b/", "/c/"].map(|prefix| {
                        Op::Put(
                            Bytes::from(format!("{prefix}{name}")),
                            Bytes::from(name.clone()),
                        )
                    });
                    let outcome = store.txn(Txn::unconditional(ops.to_vec())).await;
                    let Ok(TxnOutcome::Committed { revision }) = outcome else {
                        panic!("a write came to {outcome:?}");
                    };
                    println!("\nACK {revision} {name}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_writer_loses_no_acknowledged_write_and_tears_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    let mut acknowledged = Vec::new();
    for round in 0..12 {
        acknowledged.extend(write_and_kill(&path, 5 + round * 17));
        verify(&path, &acknowledged).await;
    }
}

/// Kills the child after so many acknowledgements, and gives all that it managed to print.
fn write_and_kill(path: &Path, after: usize) -> Vec<(Revision, String)> {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "child_writes_until_killed",
        ])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut acknowledged = Vec::new();
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        if let Some((revision, name)) = line.strip_prefix("ACK ").and_then(|l| l.split_once(' ')) {
            // The last line may be cut short by the kill; a name has three parts, the last a number.
            let whole = name.split('-').filter(|part| !part.is_empty()).count() == 3;
            if let (Ok(revision), true) = (revision.parse(), whole) {
                acknowledged.push((Revision(revision), name.to_owned()));
            }
        }
        if acknowledged.len() >= after && !killed {
            child.kill().expect("killed");
            killed = true;
        }
    }
    child.wait().expect("ended");
    assert!(killed, "the child ended by itself");
    acknowledged.truncate(acknowledged.len().saturating_sub(1).max(after));
    acknowledged
}

async fn verify(path: &Path, acknowledged: &[(Revision, String)]) {
    let store = EmbeddedStore::open(path).expect("opens after a kill");
    let identity = store.identity().await.expect("readable");
    for (revision, name) in acknowledged {
        assert!(*revision <= identity.revision);
        let found = store.get(format!("/a/{name}").as_bytes(), None).await;
        let found = found
            .expect("readable")
            .unwrap_or_else(|| panic!("{name} is lost"));
        assert_eq!(found.modified, *revision);
    }
    let names = async |prefix: &str| {
        let page = store.range(prefix.as_bytes(), None, usize::MAX, None).await;
        let items = page.expect("readable").items.into_iter();
        items
            .map(|item| (item.value, item.modified))
            .collect::<Vec<_>>()
    };
    let whole = names("/a/").await;
    assert_eq!(whole, names("/b/").await, "a transaction is torn");
    assert_eq!(whole, names("/c/").await, "a transaction is torn");
    assert_eq!(
        identity.revision,
        Revision(whole.len() as u64),
        "one revision each, no gap"
    );
}
