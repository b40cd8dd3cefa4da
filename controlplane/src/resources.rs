//! `ResourceService`: what users write, on the store.
//!
//! Owns: validation at the door, identity, versions, references, the stamps of the server. Refuses to own: what a
//! resource means for a node. Stored under `/r/<kind>/<namespace or ->/<name>`: canonical JSON without its version,
//! which is the revision of the key's last write.

mod built_in;
mod delete;
mod failsafes;
mod plan;
mod plugins;
mod problems;
mod profiles;
mod read;
mod stored;
mod untracked;
mod watch;
mod write;

pub use built_in::install as install_built_ins;
pub(crate) use stored::new_node;

use crate::plugins::components::Components;
use palisade_proto::v1::{
    ApplyResourcesRequest, ApplyResourcesResponse, CreateResourceRequest, CreateResourceResponse,
    DeleteResourceRequest, DeleteResourceResponse, GetResourceRequest, GetResourceResponse,
    ListResourcesRequest, ListResourcesResponse, UpdateResourceRequest, UpdateResourceResponse,
    WatchResourcesRequest, WatchResourcesResponse, resource_service_server::ResourceService,
};
use palisade_store::Store;
use std::{pin::Pin, sync::Arc};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// Under it are all resources.
pub const PREFIX: &str = "/r/";

/// The service.
pub struct Resources {
    store: Arc<dyn Store>,
    components: Arc<Components>,
    // Shared by writes, exclusive for deleting a referent and for writing a plugin: nobody may come to name it between
    // the look and the commit.
    referents: RwLock<()>,
}

// === impl Resources ===

impl Resources {
    /// On a store, with the components of its plugins.
    pub fn new(store: Arc<dyn Store>, components: Arc<Components>) -> Self {
        Self {
            store,
            components,
            referents: RwLock::default(),
        }
    }

    /// While it is held, nobody comes to name anything.
    pub(crate) async fn hold_referents(&self) -> RwLockWriteGuard<'_, ()> {
        self.referents.write().await
    }
}

#[tonic::async_trait]
impl ResourceService for Resources {
    type WatchResourcesStream =
        Pin<Box<dyn Stream<Item = Result<WatchResourcesResponse, Status>> + Send>>;

    async fn get_resource(
        &self,
        request: Request<GetResourceRequest>,
    ) -> Result<Response<GetResourceResponse>, Status> {
        self.get(request.into_inner()).await.map(Response::new)
    }

    async fn list_resources(
        &self,
        request: Request<ListResourcesRequest>,
    ) -> Result<Response<ListResourcesResponse>, Status> {
        self.list(request.into_inner()).await.map(Response::new)
    }

    async fn watch_resources(
        &self,
        request: Request<WatchResourcesRequest>,
    ) -> Result<Response<Self::WatchResourcesStream>, Status> {
        self.watch(request.into_inner()).await.map(Response::new)
    }

    async fn create_resource(
        &self,
        request: Request<CreateResourceRequest>,
    ) -> Result<Response<CreateResourceResponse>, Status> {
        self.create(request.into_inner()).await.map(Response::new)
    }

    async fn update_resource(
        &self,
        request: Request<UpdateResourceRequest>,
    ) -> Result<Response<UpdateResourceResponse>, Status> {
        self.update(request.into_inner()).await.map(Response::new)
    }

    async fn apply_resources(
        &self,
        request: Request<ApplyResourcesRequest>,
    ) -> Result<Response<ApplyResourcesResponse>, Status> {
        self.apply(request.into_inner()).await.map(Response::new)
    }

    async fn delete_resource(
        &self,
        request: Request<DeleteResourceRequest>,
    ) -> Result<Response<DeleteResourceResponse>, Status> {
        self.delete(request.into_inner()).await.map(Response::new)
    }
}
