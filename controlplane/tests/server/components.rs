//! Components: who may bring and fetch them, how many fit, and what is removed again.

use crate::{
    author::{CHUNK, fetch, fields, plugin, policy, push, redact, stored, upload, user},
    guests::bytes,
    harness::{Context, DEADLINE, Node, Plane, apply, endpoint},
};
use palisade_identity::Role;
use palisade_plugin_host::Digest;
use palisade_proto::v1::{self, resource_service_client::ResourceServiceClient};
use serde_json::json;
use tokio::time::timeout;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_component_comes_out_as_it_went_in_from_any_offset() {
    let plane = Plane::start().await;
    let bytes = bytes("dns-suffix");
    let digest = push(&plane, &bytes).await;
    let size = bytes.len() as u64;
    let offsets = [0, 1, CHUNK as u64 - 1, CHUNK as u64, size - 1, size];
    for offset in offsets.into_iter().filter(|offset| *offset <= size) {
        let fetched = fetch(&plane.admin, digest, offset).await;
        let (told, rest) = fetched.expect("fetches");
        assert_eq!(told, size);
        let from = usize::try_from(offset).expect("small");
        assert!(rest == bytes[from..], "from {offset}");
    }
    let beyond = fetch(&plane.admin, digest, size + 1).await;
    assert_eq!(beyond.expect_err("refused").code(), Code::OutOfRange);
    let other = fetch(&plane.admin, Digest::of(b"other"), 0).await;
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
async fn a_node_fetches_what_its_own_view_names_and_nothing_else() {
    let plane = Plane::start().await;
    let (here, there) = (plane.join("here").await, plane.join("there").await);
    let (mut stream, _other) = (Node::connect(&here).await, Node::connect(&there).await);
    stream.accept().await;
    let matcher = push(&plane, &bytes("dns-suffix")).await;
    let auditor = push(&plane, &bytes("redact")).await;
    let code = async |context: &Context, digest| match fetch(context, digest, 0).await {
        Ok((size, bytes)) => {
            assert_eq!(Digest::of(&bytes), digest);
            assert_eq!(bytes.len() as u64, size);
            Code::Ok
        }
        Err(status) => status.code(),
    };
    for digest in [matcher, auditor, Digest::of(b"not stored")] {
        assert_eq!(code(&here, digest).await, Code::PermissionDenied);
    }

    // A matcher goes where a policy asks it, an auditor to every node.
    let mut asks = policy(json!({"name": "dns", "settings": {"suffixes": ["example.org"]}}));
    asks["spec"]["selector"] = json!("role == 'web'");
    plane
        .apply(&[
            plugin("dns", "matcher", matcher),
            redact(auditor),
            endpoint("web", "here", "eth0", "web"),
            endpoint("db", "there", "eth0", "db"),
            asks,
        ])
        .await;
    stream.accept().await;
    assert_eq!(code(&here, matcher).await, Code::Ok);
    assert_eq!(code(&there, matcher).await, Code::PermissionDenied);
    assert_eq!(code(&there, auditor).await, Code::Ok);

    // Until it acknowledges a view without it, it may run it.
    plane.delete("GlobalNetworkPolicy", "p").await;
    let received = stream.receive().await;
    assert_eq!(code(&here, matcher).await, Code::Ok);
    stream.ack(&received).await;
    let digest = received.to.digest;
    plane
        .until("here", |node| {
            let enforced = node.enforced.as_ref();
            enforced.is_some_and(|enforced| enforced.digest == digest.0)
        })
        .await;
    assert_eq!(code(&here, matcher).await, Code::PermissionDenied);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authors_and_administrators_upload_and_nobody_else() {
    let plane = Plane::start().await;
    let node = plane.join("n").await;
    let bytes = bytes("dns-suffix");
    let digest = Digest::of(&bytes);
    let upload = async |context: &Context| {
        let uploaded = upload(context, digest, bytes.len(), bytes.chunks(CHUNK)).await;
        uploaded.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(upload(&node).await, Code::PermissionDenied);
    for role in [Role::Viewer, Role::Auditor, Role::Editor] {
        assert_eq!(upload(&user(&plane, role)).await, Code::PermissionDenied);
        assert_eq!(stored(&plane).await, []);
    }
    let author = user(&plane, Role::PluginAuthor);
    assert_eq!(upload(&author).await, Code::Ok);
    assert_eq!(stored(&plane).await.len(), 1);
    assert_eq!(upload(&plane.admin).await, Code::Ok);
    // What nodes run is not for authors to say.
    let mut resources = ResourceServiceClient::new(author.connect().await);
    let named = apply(&mut resources, &[plugin("dns", "matcher", digest)]).await;
    assert_eq!(named.expect_err("refused").code(), Code::PermissionDenied);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_plugin_names_goes_after_a_while_and_the_rest_stays() {
    let plane = Plane::start_with(&["--keep-unused-plugins", "1"]).await;
    let named = push(&plane, &bytes("dns-suffix")).await;
    plane.apply(&[plugin("dns", "matcher", named)]).await;
    let unused = push(&plane, &bytes("redact")).await;
    let digests = async || -> Vec<Vec<u8>> {
        let stored = stored(&plane).await.into_iter();
        stored.map(|component| component.digest).collect()
    };
    let gone = async |digest: Digest| {
        let gone = async {
            while digests().await.contains(&digest.as_bytes().to_vec()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, gone).await.expect("in time");
        let fetched = fetch(&plane.admin, digest, 0).await;
        assert_eq!(fetched.expect_err("removed").code(), Code::NotFound);
    };
    gone(unused).await;
    assert_eq!(digests().await, [named.as_bytes().to_vec()]);
    let (_, whole) = fetch(&plane.admin, named, 0).await.expect("is there");
    assert!(whole == bytes("dns-suffix"));

    // The last name goes, and then the component; what is gone cannot be named.
    plane.delete("Plugin", "dns").await;
    gone(named).await;
    let missing = plane.try_apply(&[plugin("dns", "matcher", named)]).await;
    assert_eq!(fields(&missing.expect_err("refused")), ["spec.digest"]);
    assert_eq!(push(&plane, &bytes("dns-suffix")).await, named);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_takes_no_more_and_says_what_to_do() {
    let plane = Plane::start_with(&["--max-plugins", "1"]).await;
    let first = push(&plane, &bytes("dns-suffix")).await;
    let other = bytes("redact");
    let (digest, size) = (Digest::of(&other), other.len());
    let refused = upload(&plane.admin, digest, size, other.chunks(CHUNK)).await;
    let refused = refused.expect_err("full");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("delete Plugin"), "{refused}");
    let [component] = stored(&plane).await.try_into().expect("one");
    assert_eq!(component.digest, first.as_bytes());
    // What is stored needs no room.
    assert_eq!(push(&plane, &bytes("dns-suffix")).await, first);
    plane.server.stop().await;
}
