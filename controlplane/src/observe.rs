//! `ObserveService`: what is so right now.

use crate::{failure::of_store, hub::Hub};
use palisade_model::{Exemptions, Spec, stored};
use palisade_policy::{
    table::{Content, ItemTable},
    wire::member_message,
};
use palisade_proto::v1::{
    self, GetNodeViewRequest, GetNodeViewResponse, GetStatusRequest, GetStatusResponse,
    ListNodesRequest, ListNodesResponse, ViewSource, WatchNodesRequest, WatchNodesResponse,
    observe_service_server::ObserveService,
};
use palisade_store::Store;
use std::{pin::Pin, sync::Arc};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

/// Rows that cannot be read, of a status, at most.
const SHOWN: usize = 100;

/// The service.
pub struct Observe {
    /// Knows the nodes.
    pub hub: Arc<Hub>,
    /// Asked for its state.
    pub store: Arc<dyn Store>,
}

fn watch_message(hub: &Hub) -> WatchNodesResponse {
    // The revision first: what is read after it is at least as new.
    let compiled = hub.compiled();
    WatchNodesResponse {
        nodes: hub.statuses(),
        compiled,
    }
}

/// A view's items as messages.
fn puts(table: &ItemTable) -> Vec<v1::Put> {
    let put = |item: &Arc<palisade_policy::table::Item>| {
        let (body, members) = match item.content() {
            Content::Body(body) => (body.clone(), Vec::new()),
            Content::Set(members) => (
                bytes::Bytes::new(),
                members.iter().map(member_message).collect(),
            ),
        };
        v1::Put {
            kind: v1::ItemKind::from(item.id().kind).into(),
            id: item.id().id.to_string(),
            body,
            members,
        }
    };
    table.iter().map(put).collect()
}

impl Observe {
    /// Exemptions that deviate from Calico; each is on unless `PalisadeConfiguration` `default` says otherwise.
    async fn deviations(&self) -> Result<Vec<String>, Status> {
        let key = b"/r/PalisadeConfiguration/-/default";
        let item = self.store.get(key, None).await.map_err(of_store)?;
        let read = item.map(|item| stored::read(&item.key, &item.value));
        let exemptions = match read.transpose() {
            Ok(None) => Exemptions::default(),
            Ok(Some(read)) => match read.resource.spec {
                Spec::PalisadeConfiguration(spec) => spec.exemptions,
                _ => Exemptions::default(),
            },
            Err(row) => return Ok(vec![format!("exemptions unknown, for {row}")]),
        };
        let all = [
            ("loopback", exemptions.loopback),
            ("neighbourDiscovery", exemptions.neighbour_discovery),
            ("dhcp6", exemptions.dhcp6),
            ("controlPlane", exemptions.control_plane),
        ];
        let on = all.into_iter().filter(|(_, is_on)| *is_on);
        Ok(on.map(|(name, _)| format!("exemptions.{name}")).collect())
    }
}

#[tonic::async_trait]
impl ObserveService for Observe {
    type WatchNodesStream = Pin<Box<dyn Stream<Item = Result<WatchNodesResponse, Status>> + Send>>;

    async fn list_nodes(
        &self,
        _: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        let WatchNodesResponse { nodes, compiled } = watch_message(&self.hub);
        Ok(Response::new(ListNodesResponse { nodes, compiled }))
    }

    async fn watch_nodes(
        &self,
        _: Request<WatchNodesRequest>,
    ) -> Result<Response<Self::WatchNodesStream>, Status> {
        let hub = Arc::clone(&self.hub);
        // One message: a slow watcher skips states.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut news = hub.watch_news();
            let mut last = None;
            loop {
                news.mark_unchanged();
                let message = watch_message(&hub);
                if last.as_ref() != Some(&message) {
                    if sender.send(Ok(message.clone())).await.is_err() {
                        return;
                    }
                    last = Some(message);
                }
                tokio::select! {
                    changed = news.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_node_view(
        &self,
        request: Request<GetNodeViewRequest>,
    ) -> Result<Response<GetNodeViewResponse>, Status> {
        let request = request.into_inner();
        let view = match request.source() {
            ViewSource::Unspecified | ViewSource::Desired => self.hub.desired(&request.node),
            ViewSource::Acknowledged => self.hub.acknowledged(&request.node),
        };
        let (position, table) = view.ok_or_else(|| {
            Status::not_found(format!("there is no such view of node `{}`", request.node))
        })?;
        Ok(Response::new(GetNodeViewResponse {
            position: Some((&position).into()),
            items: puts(&table),
        }))
    }

    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let identity = self.store.identity().await.map_err(of_store)?;
        let totals = self.hub.totals();
        let unreadable = self.hub.unreadable();
        let shown = unreadable.iter().take(SHOWN);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Response::new(GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: identity.epoch.to_vec(),
            store_engine: identity.engine.to_owned(),
            store_revision: identity.revision.0,
            compiled: self.hub.compiled(),
            read_only: identity.read_only,
            nodes_connected: count(totals.connected),
            nodes_known: count(totals.known),
            nodes_converged: count(totals.converged),
            nodes_degraded: count(totals.degraded),
            endpoints_up: count(totals.endpoints_up),
            endpoints_down: count(totals.endpoints_down),
            endpoints_error: count(totals.endpoints_error),
            deviations: self.deviations().await?,
            unreadable: shown.map(|(_, found)| found.describe()).collect(),
            unreadable_rows: count(unreadable.len()),
            nodes_frozen: count(totals.frozen),
        }))
    }
}
