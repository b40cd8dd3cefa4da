//! One upload: a header, then chunks, all of it in memory until it has been verified. Nothing is stored before.

use super::{
    components::{CHUNK, Components, Record},
    digest_of,
};
use palisade_plugin_host::{Digest, MAX_SIZE};
use palisade_proto::v1::{UploadHeader, UploadPluginRequest, upload_plugin_request::Message};
use std::time::Duration;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

/// Silence after which an upload is given up, so that it does not hold its place.
const SILENCE: Duration = Duration::from_secs(30);

/// What came of an upload.
pub(super) struct Uploaded {
    pub(super) digest: Digest,
    pub(super) record: Record,
    pub(super) known: bool,
}

/// Takes an upload to its end, verifies and stores it.
pub(super) async fn receive(
    components: &Components,
    mut messages: impl Stream<Item = Result<UploadPluginRequest, Status>> + Unpin,
) -> Result<Uploaded, Status> {
    let header = match next(&mut messages).await? {
        Some(Message::Header(header)) => header,
        _ => return Err(Status::invalid_argument("the first message is the header")),
    };
    let (digest, size) = judge(&header)?;
    if let Some(record) = components.find(&digest).await? {
        return Ok(Uploaded {
            digest,
            record,
            known: true,
        });
    }
    // Grows with what really comes, whatever the header promised.
    let mut bytes = Vec::new();
    while let Some(message) = next(&mut messages).await? {
        let Message::Chunk(chunk) = message else {
            return Err(Status::invalid_argument("the header comes once"));
        };
        if chunk.is_empty() || chunk.len() as u64 > CHUNK {
            let message = format!("a chunk has 1 to {CHUNK} bytes");
            return Err(Status::invalid_argument(message));
        }
        bytes.extend_from_slice(&chunk);
        if bytes.len() > size {
            let message = format!("more than the {size} bytes that the header names");
            return Err(Status::invalid_argument(message));
        }
    }
    if bytes.len() < size {
        let message = format!(
            "cut off: {} of {size} bytes came; upload again",
            bytes.len()
        );
        return Err(Status::invalid_argument(message));
    }
    let record = components.put(digest, bytes).await?;
    tracing::info!(%digest, size, name = record.name, "component stored");
    Ok(Uploaded {
        digest,
        record,
        known: false,
    })
}

fn judge(header: &UploadHeader) -> Result<(Digest, usize), Status> {
    let size = usize::try_from(header.size).unwrap_or(usize::MAX);
    if !(1..=MAX_SIZE).contains(&size) {
        let message = format!("a component has 1 to {MAX_SIZE} bytes, not {}", header.size);
        return Err(Status::invalid_argument(message));
    }
    Ok((digest_of(&header.digest)?, size))
}

async fn next(
    messages: &mut (impl Stream<Item = Result<UploadPluginRequest, Status>> + Unpin),
) -> Result<Option<Message>, Status> {
    let message = tokio::time::timeout(SILENCE, messages.next())
        .await
        .map_err(|_| Status::deadline_exceeded("the upload stood still; begin again"))?;
    let Some(message) = message.transpose()? else {
        return Ok(None);
    };
    let known = message.message;
    known
        .map(Some)
        .ok_or_else(|| Status::invalid_argument("a message of an unknown kind"))
}
