//! One upload: a header, then chunks, all of it in memory until it has been verified. Nothing is stored before.

use super::{
    components::{CHUNK, Components, Record, refused},
    digest_of,
};
use palisade_plugin_host::{Digest, MAX_SIZE, Refusal};
use palisade_proto::v1::{UploadHeader, UploadPluginRequest, upload_plugin_request::Message};
use std::time::Duration;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

/// Silence after which an upload is given up, so that it does not hold its place.
const SILENCE: Duration = Duration::from_secs(30);

const AGAIN: &str = "upload again";

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
    if let Some((record, modified)) = components.find(&digest).await? {
        components.renew(&digest, &record, modified).await?;
        return Ok(Uploaded {
            digest,
            record,
            known: true,
        });
    }
    components.judge_room(header.size).await?;
    // Grows with what really comes, whatever the header promised.
    let mut bytes = Vec::new();
    while let Some(message) = next(&mut messages).await? {
        let Message::Chunk(chunk) = message else {
            return Err(Status::invalid_argument("the header comes once"));
        };
        if chunk.is_empty() || chunk.len() as u64 > CHUNK {
            let fix = format!("send chunks of 1 to {CHUNK} bytes");
            return Err(refused(&"a chunk is empty or too long", fix));
        }
        bytes.extend_from_slice(&chunk);
        if bytes.len() > size {
            let reason = format!("more than the {size} bytes that the header names came");
            return Err(refused(&reason, AGAIN.to_owned()));
        }
    }
    if bytes.len() < size {
        let reason = format!("cut off: {} of {size} bytes came", bytes.len());
        return Err(refused(&reason, AGAIN.to_owned()));
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
        let refusal = Refusal::TooLarge { size };
        return match size {
            0 => Err(Status::invalid_argument("a component is not empty")),
            _ => Err(refused(&refusal, refusal.fix())),
        };
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
