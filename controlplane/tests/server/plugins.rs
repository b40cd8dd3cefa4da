//! Plugins: components in and out, and the resources and rules that name them.

use crate::{
    guests::bytes,
    harness::{Context, Node, Plane, reference},
};
use palisade_plugin_host::Digest;
use palisade_policy::ids::{PluginId, PolicyId};
use palisade_proto::v1::{
    self, plugin_service_client::PluginServiceClient, upload_plugin_request::Message,
};
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

const CHUNK: usize = 256 << 10;

async fn plugins(context: &Context) -> PluginServiceClient<Channel> {
    PluginServiceClient::new(context.connect().await)
}

async fn upload(
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
async fn push(plane: &Plane, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let chunks = bytes.chunks(CHUNK);
    upload(&plane.admin, digest, bytes.len(), chunks)
        .await
        .expect("uploads");
    digest
}

async fn fetch(context: &Context, digest: Digest, offset: u64) -> Result<(u64, Vec<u8>), Status> {
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

async fn stored(plane: &Plane) -> Vec<v1::Component> {
    let request = v1::ListPluginsRequest {};
    let answer = plugins(&plane.admin).await.list_plugins(request).await;
    answer.expect("lists").into_inner().components
}

fn plugin(name: &str, kind: &str, digest: Digest) -> Value {
    json!({
        "apiVersion": "palisade.dev/v1", "kind": "Plugin", "metadata": {"name": name},
        "spec": {"kind": kind, "digest": digest.to_string()},
    })
}

/// The auditor among the examples, with settings that please it.
fn redact(digest: Digest) -> Value {
    let mut redact = plugin("redact", "auditor", digest);
    redact["spec"]["settings"] = json!({"label": "private"});
    redact
}

fn policy(plugin: Value) -> Value {
    json!({
        "apiVersion": "palisade.dev/v1", "kind": "GlobalNetworkPolicy", "metadata": {"name": "p"},
        "spec": {"selector": "all()", "egress": [{"action": "Allow"}, {"action": "Deny", "plugin": plugin}]},
    })
}

/// Fields and texts of what is wrong.
fn faults(status: &Status) -> Vec<(String, String)> {
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

fn fields(status: &Status) -> Vec<String> {
    faults(status).into_iter().map(|(field, _)| field).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_comes_out_as_it_went_in_from_any_offset() {
    let plane = Plane::start().await;
    let node = plane.join("n").await;
    let bytes = bytes("dns-suffix");
    let digest = push(&plane, &bytes).await;
    let size = bytes.len() as u64;
    let offsets = [0, 1, CHUNK as u64 - 1, CHUNK as u64, size - 1, size];
    for offset in offsets.into_iter().filter(|offset| *offset <= size) {
        let (told, rest) = fetch(&node, digest, offset).await.expect("fetches");
        assert_eq!(told, size);
        let from = usize::try_from(offset).expect("small");
        assert!(rest == bytes[from..], "from {offset}");
    }
    let beyond = fetch(&node, digest, size + 1).await.expect_err("refused");
    assert_eq!(beyond.code(), Code::OutOfRange);
    let other = fetch(&node, Digest::of(b"other"), 0).await;
    assert_eq!(other.expect_err("refused").code(), Code::NotFound);

    let [component] = stored(&plane).await.try_into().expect("one");
    assert_eq!(component.name, "dns-suffix");
    assert_eq!(component.kinds, [i32::from(v1::PluginKind::Matcher)]);
    assert_eq!((component.size, component.used_by), (size, Vec::new()));

    // Known bytes need not be sent again, and outlive a restart.
    let plane = plane.restart().await;
    let again = upload(&plane.admin, digest, bytes.len(), []).await;
    assert!(again.expect("known").known);
    let (_, whole) = fetch(&plane.admin, digest, 0).await.expect("fetches");
    assert!(whole == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_refused_and_not_stored() {
    let plane = Plane::start().await;
    let node = plane.join("n").await;
    let bytes = bytes("dns-suffix");
    let digest = Digest::of(&bytes);
    let whole = || bytes.chunks(CHUNK);
    let refused = |outcome: Result<_, Status>| outcome.expect_err("refused").code();

    let by_node = upload(&node, digest, bytes.len(), whole()).await;
    assert_eq!(refused(by_node), Code::PermissionDenied);
    let short = upload(&plane.admin, digest, bytes.len() + 1, whole()).await;
    assert_eq!(refused(short), Code::InvalidArgument);
    let long = upload(&plane.admin, digest, bytes.len() - 1, whole()).await;
    assert_eq!(refused(long), Code::InvalidArgument);
    let huge = upload(&plane.admin, digest, 33 << 20, whole()).await;
    assert_eq!(refused(huge), Code::InvalidArgument);
    let coarse = upload(&plane.admin, digest, CHUNK + 1, [&[0; CHUNK + 1][..]]).await;
    assert_eq!(refused(coarse), Code::InvalidArgument);

    let mut altered = bytes.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let altered = upload(&plane.admin, digest, altered.len(), altered.chunks(CHUNK)).await;
    assert_eq!(refused(altered), Code::InvalidArgument);
    for other in [&b"no WebAssembly"[..], &bytes[..bytes.len() / 2]] {
        let outcome = upload(
            &plane.admin,
            Digest::of(other),
            other.len(),
            other.chunks(CHUNK),
        );
        let status = outcome.await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let fix = details
            .error_info()
            .and_then(|info| info.metadata.get("fix"));
        assert!(fix.is_some_and(|fix| !fix.is_empty()), "{status}");
    }
    assert_eq!(stored(&plane).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_names_a_component_that_is_stored_and_of_its_kind() {
    let plane = Plane::start().await;
    let digest = Digest::of(&bytes("dns-suffix"));
    let missing = plane.try_apply(&[plugin("dns", "matcher", digest)]).await;
    let missing = missing.expect_err("refused");
    assert_eq!(missing.code(), Code::FailedPrecondition);
    assert_eq!(fields(&missing), ["spec.digest"]);

    push(&plane, &bytes("dns-suffix")).await;
    let other = plane.try_apply(&[plugin("dns", "auditor", digest)]).await;
    assert_eq!(fields(&other.expect_err("refused")), ["spec.kind"]);

    let applied = plane.apply(&[plugin("dns", "matcher", digest)]).await;
    let resource = applied.resources[0].resource.as_ref().expect("a resource");
    let json: Value = serde_json::from_slice(&resource.json).expect("JSON");
    assert_eq!(json["spec"]["size"], json!(bytes("dns-suffix").len()));
    assert_eq!(stored(&plane).await[0].used_by, ["dns"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_judge_their_settings_before_anything_is_written() {
    let plane = Plane::start().await;
    let unknown = plane.try_apply(&[policy(json!({"name": "dns"}))]).await;
    let unknown = unknown.expect_err("refused");
    assert_eq!(unknown.code(), Code::FailedPrecondition);
    assert_eq!(fields(&unknown), ["spec.egress[1].plugin.name"]);

    let matcher = push(&plane, &bytes("dns-suffix")).await;
    let auditor = push(&plane, &bytes("redact")).await;
    // Together in one file, or one after the other.
    let settings = json!({"suffixes": ["example.org", "a..b"], "rememberSeconds": 7200});
    let bad = policy(json!({"name": "dns", "settings": settings}));
    let both = [plugin("dns", "matcher", matcher), bad.clone()];
    let together = plane.try_apply(&both).await.expect_err("refused");
    assert_eq!(together.code(), Code::InvalidArgument);
    let mut named = fields(&together);
    named.sort();
    let at = |field: &str| format!("json[1].spec.egress[1].plugin.settings.{field}");
    assert_eq!(named, [at("rememberSeconds"), at("suffixes[1]")]);

    plane
        .apply(&[plugin("dns", "matcher", matcher), redact(auditor)])
        .await;
    let alone = plane.try_apply(&[bad]).await.expect_err("refused");
    assert_eq!(fields(&alone).len(), 2, "{:?}", faults(&alone));
    let asked = plane.try_apply(&[policy(json!({"name": "redact"}))]).await;
    assert_eq!(
        fields(&asked.expect_err("refused")),
        ["spec.egress[1].plugin.name"]
    );

    let mut unknown = plugin("redact", "auditor", auditor);
    unknown["spec"]["settings"] = json!({"noSuchSetting": 1});
    let settings = plane.try_apply(&[unknown]).await.expect_err("refused");
    assert_eq!(settings.code(), Code::InvalidArgument);
    assert!(
        fields(&settings)[0].starts_with("spec.settings"),
        "{:?}",
        faults(&settings)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_reach_the_node_and_stay_while_they_are_asked() {
    let plane = Plane::start().await;
    let context = plane.join("n").await;
    let mut node = Node::connect(&context).await;
    node.accept().await;
    let matcher = push(&plane, &bytes("dns-suffix")).await;
    let auditor = push(&plane, &bytes("redact")).await;
    let good = policy(json!({"name": "dns", "settings": {"suffixes": ["example.org"]}}));
    let endpoint = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "h"},
        "spec": {"node": "n", "interfaceName": "eth0"},
    });
    plane
        .apply(&[
            plugin("dns", "matcher", matcher),
            redact(auditor),
            good.clone(),
            endpoint,
        ])
        .await;
    node.accept().await;
    let view = node.held.as_ref().expect("a view").view();
    let named: Vec<_> = view.plugins.keys().map(PluginId::as_str).collect();
    assert_eq!(named, ["plugin/dns", "plugin/redact"]);
    let dns = &view.plugins[&PluginId::new("plugin/dns")];
    assert_eq!(&dns.digest.0, matcher.as_bytes());
    let rules = &view.policies[&PolicyId::new("gnp/p")].egress;
    let asked = rules[1].matches.plugin.as_ref().expect("a condition");
    assert_eq!(asked.settings, r#"{"suffixes":["example.org"]}"#);

    // Whoever knows Calico's group alone does not undo it unseen.
    let mut old = good.clone();
    old["apiVersion"] = json!("projectcalico.org/v3");
    old["spec"]["egress"] = json!([{"action": "Allow"}]);
    let over = plane.try_apply(&[old]).await.expect_err("refused");
    assert_eq!(over.code(), Code::FailedPrecondition);
    assert_eq!(fields(&over), ["apiVersion"]);

    // Neither deleted nor turned into something else while it is asked.
    let mut resources = plane.resources().await;
    let mut delete = async |kind: &str, name: &str| {
        let request = v1::DeleteResourceRequest {
            r#ref: reference(kind, name),
            ..v1::DeleteResourceRequest::default()
        };
        resources.delete_resource(request).await
    };
    let used = delete("Plugin", "dns").await.expect_err("refused");
    assert_eq!(used.code(), Code::FailedPrecondition);
    let mut turned = redact(auditor);
    turned["metadata"]["name"] = json!("dns");
    let turned = plane.try_apply(&[turned]).await;
    assert_eq!(fields(&turned.expect_err("refused")), ["spec.kind"]);
    delete("GlobalNetworkPolicy", "p").await.expect("deletes");
    delete("Plugin", "dns").await.expect("deletes");
    node.accept().await;
}
