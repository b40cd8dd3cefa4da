//! `StoreService`: what stands in the store and cannot be read, and how an administrator gives it up.
//!
//! A row whose loss is accepted is moved aside, byte for byte, in the transaction that says who accepted it: the row to
//! `/unreadable/row/<its revision><its key>`, the record of the acceptance to `/unreadable/by/…`. Nothing reads it there
//! but this service, so that a later build, or a person, still finds it. A row that is written again counts again.

use crate::{
    access::Caller,
    failure::{contended, internal, of_store},
    hub::Hub,
    unreadable::{Found, describe},
};
use bytes::Bytes;
use jiff::Timestamp;
use palisade_model::stored::{self, Unreadable};
use palisade_proto::v1::{
    AcceptUnreadableRequest, AcceptUnreadableResponse, AcceptedRow, ListUnreadableRequest,
    ListUnreadableResponse, UnreadableRow, store_service_server::StoreService,
};
use palisade_store::{Compare, KeyValue, Op, Scan, Store, Txn, TxnOutcome};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};
use tonic::{Request, Response, Status};
use tracing::warn;

/// Rows that were put aside, as they stood.
const ROWS: &str = "/unreadable/row/";
/// Who accepted their loss.
const ACCEPTANCES: &str = "/unreadable/by/";
/// The most rows of one request.
const MOST: usize = 1000;
/// The most bytes of rows that an answer shows, of those that stand and of those that were put aside.
const TEXTS: usize = 64 << 20;
/// How often a transaction is tried again when somebody else was faster.
const ATTEMPTS: usize = 5;

/// The service.
pub struct StoreRows {
    /// Has the rows.
    pub store: Arc<dyn Store>,
    /// Knows which cannot be read, and which nodes there are.
    pub hub: Arc<Hub>,
}

/// That a loss was accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Acceptance {
    /// Why the row could not be read then.
    reason: String,
    /// The identity of whoever accepted it.
    by: String,
    /// Seconds since 1970.
    at: u64,
}

/// Where something about a row is put aside: rows of one key are kept apart by the revision of their last write.
fn aside(prefix: &str, item: &KeyValue) -> Bytes {
    let mut key = format!("{prefix}{:020}", item.modified.0).into_bytes();
    key.extend_from_slice(&item.key);
    key.into()
}

impl StoreRows {
    /// The rows at these keys, all of which cannot be read.
    async fn find(&self, keys: &BTreeSet<String>) -> Result<Vec<(KeyValue, Found)>, Status> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let item = self.store.get(key.as_bytes(), None).await;
            let item = item.map_err(of_store)?;
            let item = item.ok_or_else(|| Status::not_found(format!("there is no row `{key}`")))?;
            let Some(row) = Found::judge(&item) else {
                return Err(Status::failed_precondition(format!(
                    "`{key}` can be read: what is not wanted is deleted in the ordinary way"
                )));
            };
            found.push((item, row));
        }
        Ok(found)
    }

    async fn accept(
        &self,
        who: &str,
        request: AcceptUnreadableRequest,
    ) -> Result<AcceptUnreadableResponse, Status> {
        let keys: BTreeSet<String> = request.keys.into_iter().collect();
        if keys.is_empty() || keys.len() > MOST {
            let message = format!("name 1 to {MOST} keys");
            return Err(Status::invalid_argument(message));
        }
        for _ in 0..ATTEMPTS {
            let found = self.find(&keys).await?;
            let concerned = |node: &String| found.iter().any(|(_, row)| row.concerns(node));
            let others = self.hub.unreadable();
            let others = others.iter().map(|(_, other)| other);
            let others = others.filter(|other| !keys.contains(&other.row.key));
            let mut answer = AcceptUnreadableResponse {
                rows: found.iter().map(|(item, row)| in_full(item, row)).collect(),
                nodes: self.hub.names().into_iter().filter(concerned).collect(),
                revision: 0,
                remaining: others.take(MOST).map(Found::describe).collect(),
            };
            if request.dry_run {
                return Ok(answer);
            }
            let mut txn = Txn::default();
            for (item, row) in &found {
                let acceptance = Acceptance {
                    reason: row.row.reason.clone(),
                    by: who.to_owned(),
                    at: u64::try_from(Timestamp::now().as_second()).unwrap_or(0),
                };
                let acceptance = stored::encode(&acceptance)
                    .map_err(|error| internal("cannot encode an acceptance", &error))?;
                txn.compare
                    .push(Compare::ModifiedAt(item.key.clone(), item.modified));
                txn.then.extend([
                    Op::Delete(item.key.clone()),
                    Op::Put(aside(ROWS, item), item.value.clone()),
                    Op::Put(aside(ACCEPTANCES, item), acceptance.into()),
                ]);
            }
            if let TxnOutcome::Committed { revision } =
                self.store.txn(txn).await.map_err(of_store)?
            {
                for (item, row) in &found {
                    let Unreadable { key, reason } = &row.row;
                    warn!(who, key, reason, written = %item.modified, %revision, "the loss of a row that cannot be read was accepted");
                }
                answer.revision = revision.0;
                return Ok(answer);
            }
        }
        Err(contended())
    }

    async fn standing(&self) -> Result<Vec<UnreadableRow>, Status> {
        let mut rows = Vec::new();
        let mut room = TEXTS;
        for (key, known) in self.hub.unreadable().iter() {
            let item = match room {
                0 => None,
                _ => self.store.get(key, None).await.map_err(of_store)?,
            };
            // What changed meanwhile is told when it has been noticed.
            let row = item.and_then(|item| Some(in_full(&item, &Found::judge(&item)?)));
            let row = row.unwrap_or_else(|| known.describe());
            room = room.saturating_sub(row.value.len());
            rows.push(row);
        }
        Ok(rows)
    }

    async fn accepted(&self) -> Result<Vec<AcceptedRow>, Status> {
        let mut rows = Vec::new();
        let mut room = TEXTS;
        let mut scan = Scan::new(&*self.store, ROWS);
        while let Some(items) = scan.next().await.map_err(of_store)? {
            for item in items {
                let place = item.key.slice(ROWS.len()..);
                let by = [ACCEPTANCES.as_bytes(), &place].concat();
                let by = self.store.get(&by, None).await.map_err(of_store)?;
                let by =
                    by.and_then(|by| stored::read_record::<Acceptance>(&by.key, &by.value).ok());
                let value = if room > 0 { item.value } else { Bytes::new() };
                room = room.saturating_sub(value.len());
                rows.push(described(&place, value, by));
            }
        }
        Ok(rows)
    }
}

fn in_full(item: &KeyValue, row: &Found) -> UnreadableRow {
    UnreadableRow {
        value: item.value.to_vec(),
        ..row.describe()
    }
}

/// A row that was put aside; `place` is its revision and its key.
fn described(place: &[u8], value: Bytes, by: Option<Acceptance>) -> AcceptedRow {
    let (revision, key) = place.split_at_checked(20).unwrap_or((b"", place));
    let revision = std::str::from_utf8(revision).ok();
    let reason = by.as_ref().map_or("", |by| &by.reason);
    let row = UnreadableRow {
        value: value.to_vec(),
        revision: revision.and_then(|text| text.parse().ok()).unwrap_or(0),
        fix: String::new(),
        freezes: "no node".to_owned(),
        ..describe(&Unreadable::new(key, reason))
    };
    AcceptedRow {
        row: Some(row),
        accepted: by.as_ref().map_or(0, |by| by.at),
        accepted_by: by.map(|by| by.by).unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl StoreService for StoreRows {
    async fn list_unreadable(
        &self,
        _: Request<ListUnreadableRequest>,
    ) -> Result<Response<ListUnreadableResponse>, Status> {
        Ok(Response::new(ListUnreadableResponse {
            rows: self.standing().await?,
            accepted: self.accepted().await?,
        }))
    }

    async fn accept_unreadable(
        &self,
        request: Request<AcceptUnreadableRequest>,
    ) -> Result<Response<AcceptUnreadableResponse>, Status> {
        let who = Caller::of(&request)?.to_string();
        let answer = self.accept(&who, request.into_inner()).await?;
        Ok(Response::new(answer))
    }
}
