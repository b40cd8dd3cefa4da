//! `PluginService`: components in and out. What is stored is in `components`, what is removed in `garbage`; a node is
//! served what its views name.

pub mod components;
pub mod garbage;
mod record;
pub mod room;
mod upload;

use crate::{access::Caller, failure::of_store, hub::Hub, unreadable};
use components::{CHUNK, Components, Record};
use futures_util::stream;
use palisade_model::{
    Spec,
    stored::{self, Unreadable},
};
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
pub(crate) use record::RECORDS;
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

    async fn users(&self) -> Result<Users, Status> {
        Users::find(&*self.store).await
    }
}

/// Reads the record of a component.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Record, Unreadable> {
    Record::read(key, value).map(|(_, record)| record)
}

/// Who names which component.
#[derive(Default)]
struct Users {
    /// Names of Plugin resources, by the digest that they name.
    by_digest: BTreeMap<Digest, Vec<String>>,
    /// Plugin resources that cannot be read: each may name any component.
    unreadable: Vec<Unreadable>,
}

// === impl Users ===

impl Users {
    async fn find(store: &dyn Store) -> Result<Self, Status> {
        let kind = palisade_model::Kind::Plugin;
        let mut users = Self::default();
        let mut scan = Scan::new(store, format!("{}{kind}/", crate::resources::PREFIX));
        while let Some(items) = scan.next().await.map_err(of_store)? {
            for item in &items {
                match stored::read(&item.key, &item.value) {
                    Ok(read) => {
                        if let Spec::Plugin(plugin) = &read.resource.spec {
                            let digest = Digest::from_bytes(*plugin.digest.as_bytes());
                            let names = users.by_digest.entry(digest).or_default();
                            names.push(read.id.name.to_string());
                        }
                    }
                    Err(row) => users.unreadable.push(row),
                }
            }
        }
        Ok(users)
    }

    /// Names of those who name a component.
    fn of(&self, digest: &Digest) -> Vec<String> {
        self.by_digest.get(digest).cloned().unwrap_or_default()
    }

    /// Whether somebody names a component, or may.
    fn may_name(&self, digest: &Digest) -> bool {
        self.by_digest.contains_key(digest) || !self.unreadable.is_empty()
    }
}

impl Plugins {
    /// Nodes get what the view that they should have names, or the one that they acknowledged and may still run. Whether
    /// anything else is stored is not told.
    fn judge_fetch(&self, caller: &Caller, digest: &Digest) -> Result<(), Status> {
        let Some(node) = caller.as_node() else {
            return Ok(());
        };
        if self.hub.compiled() == 0 {
            let message =
                "views are still being compiled, or wait for rows that cannot be read; try again";
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
        let used_by = self.users().await?.of(&uploaded.digest);
        Ok(Response::new(UploadPluginResponse {
            component: Some(describe(uploaded.digest, uploaded.record, used_by)),
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
        let (record, _) =
            record.ok_or_else(|| Status::not_found(format!("{digest} is not stored")))?;
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
        let users = self.users().await?;
        let records = self.components.records().await?;
        let components = records.readable.into_iter().map(|(digest, record, _)| {
            let used_by = users.of(&digest);
            describe(digest, record, used_by)
        });
        let components = components.collect();
        let unreadable = [records.unreadable, users.unreadable].concat();
        Ok(Response::new(ListPluginsResponse {
            components,
            unreadable: unreadable::describe_all(&unreadable),
        }))
    }
}
