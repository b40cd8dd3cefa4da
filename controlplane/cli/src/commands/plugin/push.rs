//! `palisadectl plugin push`: a component into the control plane, and if wanted a Plugin resource that names it.

use super::{build, component};
use crate::{args::Args, client::Client, failure::Failure};
use palisade_plugin_host::Verified;
use palisade_proto::v1::{
    ApplyResourcesRequest, GetResourceRequest, ResourceRef, UploadHeader, UploadPluginRequest,
    upload_plugin_request::Message,
};
use serde_json::{Value, json};
use std::path::Path;
use tonic::Code;

/// Bytes in one message.
const CHUNK: usize = 256 << 10;

pub(super) async fn run(args: &Args, file: &Path, name: Option<&str>) -> Result<u8, Failure> {
    let built;
    let file = if file.is_dir() {
        built = build::build(file)?;
        &built
    } else {
        file
    };
    let verified = component::read(file)?;
    let client = Client::connect(args).await?;
    let mut request = tonic::Request::new(tokio_stream::iter(messages(&verified)));
    request.set_timeout(args.timeout);
    let answer = client.plugins().upload_plugin(request).await?.into_inner();
    if answer.known {
        eprintln!("it was stored before");
    }
    if let Some(name) = name {
        let outcome = name_it(&client, name, &verified).await?;
        eprintln!("plugin `{name}` {outcome}");
    }
    println!("{}", verified.digest());
    Ok(0)
}

fn messages(verified: &Verified) -> Vec<UploadPluginRequest> {
    let bytes = verified.bytes();
    let header = Message::Header(UploadHeader {
        digest: verified.digest().as_bytes().to_vec(),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
    });
    let chunks = bytes
        .chunks(CHUNK)
        .map(|chunk| Message::Chunk(chunk.to_vec().into()));
    let messages = std::iter::once(header).chain(chunks);
    messages
        .map(|message| UploadPluginRequest {
            message: Some(message),
        })
        .collect()
}

/// Creates the resource, or lets the one of this name have the new digest and all else as it is.
async fn name_it(
    client: &Client,
    name: &str,
    verified: &Verified,
) -> Result<&'static str, Failure> {
    let mut resources = client.resources();
    let found = resources
        .get_resource(client.request(GetResourceRequest {
            r#ref: Some(ResourceRef {
                kind: "Plugin".to_owned(),
                namespace: String::new(),
                name: name.to_owned(),
            }),
        }))
        .await;
    let (document, outcome) = match found {
        Ok(found) => {
            let stored = found.into_inner().resource.unwrap_or_default();
            let mut document: Value = serde_json::from_slice(&stored.json)
                .map_err(|error| Failure::error(format!("the answer is not JSON: {error}")))?;
            if let Some(spec) = document.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("digest".to_owned(), verified.digest().to_string().into());
                spec.remove("size");
            }
            (document, "configured")
        }
        Err(status) if status.code() == Code::NotFound => (new(name, verified)?, "created"),
        Err(status) => return Err(status.into()),
    };
    resources
        .apply_resources(client.request(ApplyResourcesRequest {
            json: vec![document.to_string().into_bytes()],
            ..ApplyResourcesRequest::default()
        }))
        .await?;
    Ok(outcome)
}

fn new(name: &str, verified: &Verified) -> Result<Value, Failure> {
    let kinds: Vec<String> = verified
        .kinds()
        .iter()
        .map(|kind| kind.to_string())
        .collect();
    let [kind] = kinds.as_slice() else {
        let message = format!("the component is {}", kinds.join(" and "));
        return Err(Failure::invalid(message).hint(
            "write the Plugin resource yourself and say in `spec.kind` which of them it is",
        ));
    };
    Ok(json!({
        "apiVersion": "palisade.dev/v1",
        "kind": "Plugin",
        "metadata": {"name": name},
        "spec": {"kind": kind, "digest": verified.digest().to_string()},
    }))
}
