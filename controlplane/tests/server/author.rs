//! What authors of plugins and those who use them do.

use crate::harness::{Context, Plane};
use palisade_identity::{Authority, Identity, PrivateKey, Role};
use palisade_plugin_host::Digest;
use palisade_proto::v1::{
    self, plugin_service_client::PluginServiceClient, upload_plugin_request::Message,
};
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

pub(crate) const CHUNK: usize = 256 << 10;

pub(crate) async fn plugins(context: &Context) -> PluginServiceClient<Channel> {
    PluginServiceClient::new(context.connect().await)
}

pub(crate) async fn upload(
    context: &Context,
    digest: Digest,
    size: usize,
    chunks: impl IntoIterator<Item = &[u8]>,
) -> Result<v1::UploadPluginResponse, Status> {
    let header = Message::Header(v1::UploadHeader {
        digest: digest.as_bytes().to_vec(),
        size: size as u64,
    });
    let chunks = chunks
        .into_iter()
        .map(|chunk| Message::Chunk(chunk.to_vec().into()));
    let messages: Vec<_> = std::iter::once(header)
        .chain(chunks)
        .map(|message| v1::UploadPluginRequest {
            message: Some(message),
        })
        .collect();
    let answer = plugins(context)
        .await
        .upload_plugin(tokio_stream::iter(messages))
        .await?;
    Ok(answer.into_inner())
}

/// Uploads a component as it should be; its digest.
pub(crate) async fn push(plane: &Plane, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let chunks = bytes.chunks(CHUNK);
    upload(&plane.admin, digest, bytes.len(), chunks)
        .await
        .expect("uploads");
    digest
}

pub(crate) async fn fetch(
    context: &Context,
    digest: Digest,
    offset: u64,
) -> Result<(u64, Vec<u8>), Status> {
    let request = v1::FetchPluginRequest {
        digest: digest.as_bytes().to_vec(),
        offset,
    };
    let mut answers = plugins(context)
        .await
        .fetch_plugin(request)
        .await?
        .into_inner();
    let (mut size, mut bytes) = (0, Vec::new());
    while let Some(answer) = answers.message().await? {
        assert_eq!(answer.offset, offset + bytes.len() as u64);
        assert!(answer.chunk.len() <= CHUNK);
        bytes.extend_from_slice(&answer.chunk);
        size = answer.size;
    }
    Ok((size, bytes))
}

pub(crate) async fn stored(plane: &Plane) -> Vec<v1::Component> {
    let request = v1::ListPluginsRequest {};
    let answer = plugins(&plane.admin).await.list_plugins(request).await;
    answer.expect("lists").into_inner().components
}

pub(crate) fn plugin(name: &str, kind: &str, digest: Digest) -> Value {
    json!({
        "apiVersion": "palisade.dev/v1", "kind": "Plugin", "metadata": {"name": name},
        "spec": {"kind": kind, "digest": digest.to_string()},
    })
}

/// The auditor among the examples, with settings that please it.
pub(crate) fn redact(digest: Digest) -> Value {
    let mut redact = plugin("redact", "auditor", digest);
    redact["spec"]["settings"] = json!({"label": "private"});
    redact
}

pub(crate) fn policy(plugin: Value) -> Value {
    json!({
        "apiVersion": "palisade.dev/v1", "kind": "GlobalNetworkPolicy", "metadata": {"name": "p"},
        "spec": {"selector": "all()", "egress": [{"action": "Allow"}, {"action": "Deny", "plugin": plugin}]},
    })
}

/// Fields and texts of what is wrong.
pub(crate) fn faults(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let fields = details.bad_request().into_iter();
    let fields = fields.flat_map(|bad| bad.field_violations.clone());
    let conditions = details.precondition_failure().into_iter();
    let conditions = conditions.flat_map(|failure| failure.violations.clone());
    fields
        .map(|fault| (fault.field, fault.description))
        .chain(conditions.map(|fault| (fault.subject, fault.description)))
        .collect()
}

pub(crate) fn fields(status: &Status) -> Vec<String> {
    faults(status).into_iter().map(|(field, _)| field).collect()
}

/// What the refusal says to do.
pub(crate) fn fix(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info();
    let fix = info.and_then(|info| info.metadata.get("fix").cloned());
    fix.unwrap_or_else(|| panic!("no fix: {status}"))
}

/// A user with a role, of the plane's authority.
pub(crate) fn user(plane: &Plane, role: Role) -> Context {
    let authority = Authority::load(plane.dir.path()).expect("an authority");
    let key = PrivateKey::generate().expect("a key");
    let identity = Identity::User {
        name: "somebody".parse().expect("a name"),
        role,
    };
    let now = jiff::Timestamp::now();
    let request = key.request().expect("a request");
    let lifetime = jiff::SignedDuration::from_hours(1);
    let chain = authority.issue_client(&identity, &request, lifetime, now);
    Context {
        identity: Some((chain.expect("a certificate"), key.pem())),
        ..plane.admin.clone()
    }
}
