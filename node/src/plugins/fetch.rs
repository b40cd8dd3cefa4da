//! The bytes of a plugin from the control plane, over the connection there is; a transfer that broke off goes on where
//! it did.

use super::blobs::Partial;
use palisade_policy::plugin::PluginDigest;
use palisade_proto::v1::{FetchPluginRequest, plugin_service_client::PluginServiceClient};
use std::{io, time::Duration};
use tonic::transport::Channel;

/// Longest silence within a transfer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the bytes are not here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The control plane does not give them.
    #[error("the control plane does not give it: {}", .0.message())]
    Status(Box<tonic::Status>),
    /// Nothing came for half a minute.
    #[error("the transfer stalled")]
    Stalled,
    /// The stream ended before the bytes did.
    #[error("the transfer ended after {have} of {size} bytes")]
    Short {
        /// Here.
        have: u64,
        /// Announced by the view.
        size: u64,
    },
    /// What is sent is not what the view announced.
    #[error("the control plane sends other bytes than the view announces")]
    Other,
    /// The disk.
    #[error("store it: {0}")]
    Disk(#[from] io::Error),
}

impl From<tonic::Status> for FetchError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Brings what is missing.
///
/// # Errors
/// Why it is not whole; what came is kept.
pub async fn fetch(
    channel: Channel,
    digest: &PluginDigest,
    size: u64,
    partial: &mut Partial,
) -> Result<(), FetchError> {
    if partial.have() == size {
        return Ok(());
    }
    let mut client = PluginServiceClient::new(channel);
    let request = FetchPluginRequest {
        digest: digest.0.to_vec(),
        offset: partial.have(),
    };
    let opened = tokio::time::timeout(PATIENCE, client.fetch_plugin(request)).await;
    let mut stream = opened.map_err(|_| FetchError::Stalled)??.into_inner();
    while partial.have() < size {
        let next = tokio::time::timeout(PATIENCE, stream.message()).await;
        let Some(message) = next.map_err(|_| FetchError::Stalled)?? else {
            let have = partial.have();
            return Err(FetchError::Short { have, size });
        };
        let left = size - partial.have();
        let chunk = message.chunk.len() as u64;
        if message.size != size || message.offset != partial.have() || chunk > left {
            return Err(FetchError::Other);
        }
        partial.append(&message.chunk)?;
    }
    Ok(())
}
