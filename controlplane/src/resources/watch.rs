//! Watch: the present state if asked for, then changes in order of revision, with bookmarks.

use super::{Resources, read, stored};
use crate::{failure::of_store, unreadable};
use palisade_model::{ResourceId, stored::Unreadable};
use palisade_proto::v1::{Resource, WatchEventType, WatchResourcesRequest, WatchResourcesResponse};
use palisade_store::{Batch, Change, Event, Revision, Scan, Store, WatchStream};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::Status;

/// Events that wait for a watcher; then the store's log waits, which costs no memory.
const OUTBOUND: usize = 64;
/// A quiet watch gets a bookmark this often.
const BOOKMARK: Duration = Duration::from_secs(30);

type Answer = Result<WatchResourcesResponse, Status>;
type Sender = mpsc::Sender<Answer>;

/// The watcher has left.
struct Gone;

impl Resources {
    pub(super) async fn watch(
        &self,
        request: WatchResourcesRequest,
    ) -> Result<Pin<Box<dyn Stream<Item = Answer> + Send>>, Status> {
        let prefix = read::prefix(&request.kind, &request.namespace)?;
        let store = Arc::clone(&self.store);
        let (sender, receiver) = mpsc::channel(OUTBOUND);
        let resume = Revision(request.resource_version);
        if resume == Revision(0) {
            tokio::spawn(async move {
                let _: Result<(), Gone> = from_present(&*store, &prefix, &sender).await;
            });
        } else {
            // Before the answer, so that a revision that is gone refuses the call itself.
            let changes = store
                .watch(prefix.as_bytes(), resume)
                .await
                .map_err(of_store)?;
            tokio::spawn(async move {
                let _: Result<(), Gone> = follow(changes, resume, &sender).await;
            });
        }
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}

async fn send(sender: &Sender, answer: Answer) -> Result<(), Gone> {
    sender.send(answer).await.map_err(|_| Gone)
}

/// Sends an error as the last message.
async fn fail<T>(sender: &Sender, status: Status) -> Result<T, Gone> {
    send(sender, Err(status)).await?;
    Err(Gone)
}

async fn from_present(store: &dyn Store, prefix: &str, sender: &Sender) -> Result<(), Gone> {
    let mut scan = Scan::new(store, prefix);
    loop {
        let items = match scan.next().await {
            Ok(Some(items)) => items,
            Ok(None) => break,
            Err(error) => return fail(sender, of_store(error)).await,
        };
        for item in &items {
            let read = stored::of_key_value(item);
            let event = event(WatchEventType::Added, &item.key, read, item.modified);
            send(sender, Ok(event)).await?;
        }
    }
    let revision = scan.revision();
    send(sender, Ok(bookmark(revision))).await?;
    match store.watch(prefix.as_bytes(), revision).await {
        Ok(changes) => follow(changes, revision, sender).await,
        Err(error) => fail(sender, of_store(error)).await,
    }
}

async fn follow(mut changes: WatchStream, from: Revision, sender: &Sender) -> Result<(), Gone> {
    let mut seen = from;
    let mut marks = tokio::time::interval(BOOKMARK);
    marks.tick().await;
    loop {
        let batch = tokio::select! {
            batch = changes.next() => batch,
            _ = marks.tick() => {
                send(sender, Ok(bookmark(seen))).await?;
                continue;
            }
            () = sender.closed() => return Err(Gone),
        };
        match batch {
            Some(Ok(batch)) => {
                seen = batch.revision;
                for event in &batch.events {
                    send(sender, Ok(message(&batch, event))).await?;
                }
            }
            Some(Err(error)) => return fail(sender, of_store(error)).await,
            None => return Ok(()),
        }
    }
}

fn message(batch: &Batch, change: &Event) -> WatchResourcesResponse {
    let (kind, value) = match &change.change {
        Change::Put { value, created, .. } if *created == batch.revision => {
            (WatchEventType::Added, value)
        }
        Change::Put { value, .. } => (WatchEventType::Modified, value),
        Change::Delete { previous } => (WatchEventType::Deleted, previous),
    };
    let read = stored::of_parts(&change.key, value, batch.revision);
    event(kind, &change.key, read, batch.revision)
}

/// What happened at a key. Also of what cannot be read it is told that it came, or went.
fn event(
    kind: WatchEventType,
    key: &[u8],
    read: Result<Resource, Unreadable>,
    revision: Revision,
) -> WatchResourcesResponse {
    let (kind, resource, unreadable) = match read {
        Ok(resource) => (kind, Some(resource), None),
        Err(row) => {
            let id = std::str::from_utf8(key).ok();
            let id = id.and_then(ResourceId::from_store_key);
            let resource = id.map(|id| Resource {
                r#ref: Some(stored::reference(&id)),
                json: Vec::new(),
                resource_version: revision.0,
            });
            let kind = match kind {
                WatchEventType::Deleted => kind,
                _ => WatchEventType::Unreadable,
            };
            (kind, resource, Some(unreadable::describe(&row)))
        }
    };
    WatchResourcesResponse {
        r#type: kind.into(),
        resource,
        resource_version: revision.0,
        unreadable,
    }
}

fn bookmark(revision: Revision) -> WatchResourcesResponse {
    WatchResourcesResponse {
        r#type: WatchEventType::Bookmark.into(),
        resource: None,
        resource_version: revision.0,
        unreadable: None,
    }
}
