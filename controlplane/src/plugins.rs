//! `PluginService`: components in and out. What is stored is in `components`, what is removed in `garbage`; a node is
//! served what its views name.

pub mod components;
pub mod garbage;
mod record;
pub mod room;
mod upload;

use crate::{access::Caller, failure::of_store, hub::Hub};
use components::{CHUNK, Components, Record};
use futures_util::stream;
use palisade_plugin_host::{Digest, Kind};
use palisade_policy::{
    item::ItemKind,
    table::{Content, ItemTable},
    wire::Body,
};
use palisade_proto::v1::{
    Component, FetchPluginRequest, FetchPluginResponse, ListPluginsRequest, ListPluginsResponse,
    PluginKind, UploadPluginRequest, UploadPluginResponse, plugin_service_server::PluginService,
};
use palisade_store::{Scan, Store};
use std::{collections::BTreeMap, pin::Pin, sync::Arc};
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// Uploads at once: each is held in memory as a whole.
const UPLOADS: usize = 2;

/// The service.
pub struct Plugins {
    store: Arc<dyn Store>,
    components: Arc<Components>,
    hub: Arc<Hub>,
    uploads: Semaphore,
}

// === impl Plugins ===

impl Plugins {
    /// Of these components, to nodes with these views.
    pub fn new(store: Arc<dyn Store>, components: Arc<Components>, hub: Arc<Hub>) -> Self {
        Self {
            store,
            components,
            hub,
            uploads: Semaphore::new(UPLOADS),
        }
    }

    async fn users(&self) -> Result<BTreeMap<String, Vec<String>>, Status> {
        users(&*self.store).await
    }
}

/// Names of Plugin resources, by the digest that they name.
async fn users(store: &dyn Store) -> Result<BTreeMap<String, Vec<String>>, Status> {
    let prefix = format!(
        "{}{}/-/",
        crate::resources::PREFIX,
        palisade_model::Kind::Plugin
    );
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut scan = Scan::new(store, prefix);
    while let Some(items) = scan.next().await.map_err(of_store)? {
        for item in &items {
            let json: serde_json::Value = serde_json::from_slice(&item.value)
                .map_err(|error| crate::failure::internal("a resource is not JSON", &error))?;
            let text = |at: &str| json.pointer(at)?.as_str().map(str::to_owned);
            if let (Some(digest), Some(name)) = (text("/spec/digest"), text("/metadata/name")) {
                users.entry(digest).or_default().push(name);
            }
        }
    }
    Ok(users)
}

impl Plugins {
    /// Nodes get what the view that they should have names, or the one that they acknowledged and may still run. Whether
    /// anything else is stored is not told.
    fn judge_fetch(&self, caller: &Caller, digest: &Digest) -> Result<(), Status> {
        let Some(node) = caller.as_node() else {
            return Ok(());
        };
        if self.hub.compiled() == 0 {
            let message = "views are still being compiled; try again in a moment";
            return Err(Status::unavailable(message));
        }
        let views = [self.hub.desired(node), self.hub.acknowledged(node)];
        let mut views = views.into_iter().flatten();
        match views.any(|(_, view)| names(&view, digest)) {
            true => Ok(()),
            false => {
                let message = format!("the view of node `{node}` names no plugin with {digest}");
                Err(Status::permission_denied(message))
            }
        }
    }
}

/// Whether a plugin of the view has this component.
fn names(view: &ItemTable, digest: &Digest) -> bool {
    let mut plugins = view
        .iter()
        .filter(|item| item.id().kind == ItemKind::Plugin);
    plugins.any(|item| match item.content() {
        Content::Body(bytes) => matches!(
            Body::decode(item.id(), bytes),
            Ok(Body::Plugin(plugin)) if plugin.digest.0 == *digest.as_bytes()
        ),
        Content::Set(_) => false,
    })
}

pub(super) fn digest_of(bytes: &[u8]) -> Result<Digest, Status> {
    let bytes = bytes.try_into();
    bytes
        .map(Digest::from_bytes)
        .map_err(|_| Status::invalid_argument("a digest has 32 bytes"))
}

/// A stored component for the wire.
fn describe(digest: Digest, record: Record, used_by: Vec<String>) -> Component {
    let kinds = record.kinds.iter().map(|kind| match kind {
        Kind::Matcher => PluginKind::Matcher.into(),
        Kind::Auditor => PluginKind::Auditor.into(),
    });
    Component {
        digest: digest.as_bytes().to_vec(),
        size: record.size,
        kinds: kinds.collect(),
        name: record.name,
        version: record.version,
        description: record.description,
        stored: record.stored,
        used_by,
    }
}

#[tonic::async_trait]
impl PluginService for Plugins {
    type FetchPluginStream =
        Pin<Box<dyn Stream<Item = Result<FetchPluginResponse, Status>> + Send>>;

    async fn upload_plugin(
        &self,
        request: Request<Streaming<UploadPluginRequest>>,
    ) -> Result<Response<UploadPluginResponse>, Status> {
        let _place = self.uploads.try_acquire().map_err(|_| {
            Status::resource_exhausted("other uploads are under way; try again in a moment")
        })?;
        let uploaded = upload::receive(&self.components, request.into_inner()).await?;
        let mut users = self.users().await?;
        let used_by = users.remove(&uploaded.digest.to_string());
        Ok(Response::new(UploadPluginResponse {
            component: Some(describe(
                uploaded.digest,
                uploaded.record,
                used_by.unwrap_or_default(),
            )),
            known: uploaded.known,
        }))
    }

    async fn fetch_plugin(
        &self,
        request: Request<FetchPluginRequest>,
    ) -> Result<Response<Self::FetchPluginStream>, Status> {
        let caller = Caller::of(&request)?.clone();
        let FetchPluginRequest { digest, offset } = request.into_inner();
        let digest = digest_of(&digest)?;
        self.judge_fetch(&caller, &digest)?;
        let record = self.components.find(&digest).await?;
        let record = record.ok_or_else(|| Status::not_found(format!("{digest} is not stored")))?;
        let size = record.size;
        if offset > size {
            return Err(Status::out_of_range(format!(
                "the component has {size} bytes"
            )));
        }
        let components = Arc::clone(&self.components);
        // One message even where nothing is left, so that the size is told.
        let rest = stream::try_unfold((offset, true), move |(offset, first)| {
            let components = Arc::clone(&components);
            async move {
                if offset >= size && !first {
                    return Ok(None);
                }
                let index = offset / CHUNK;
                let mut chunk = if offset < size {
                    components.chunk(&digest, index).await?
                } else {
                    bytes::Bytes::new()
                };
                let skip = usize::try_from(offset - index * CHUNK).unwrap_or(usize::MAX);
                let chunk = chunk.split_off(skip.min(chunk.len()));
                if chunk.is_empty() && offset < size {
                    return Err(Status::data_loss("a stored component is cut off"));
                }
                let next = offset + chunk.len() as u64;
                let message = FetchPluginResponse {
                    size,
                    offset,
                    chunk,
                };
                Ok(Some((message, (next, false))))
            }
        });
        Ok(Response::new(Box::pin(rest)))
    }

    async fn list_plugins(
        &self,
        _: Request<ListPluginsRequest>,
    ) -> Result<Response<ListPluginsResponse>, Status> {
        let mut users = self.users().await?;
        let components = self.components.list().await?;
        let components = components.into_iter().map(|(digest, record)| {
            let used_by = users.remove(&digest.to_string()).unwrap_or_default();
            describe(digest, record, used_by)
        });
        Ok(Response::new(ListPluginsResponse {
            components: components.collect(),
        }))
    }
}
