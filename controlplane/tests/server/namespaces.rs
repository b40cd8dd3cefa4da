//! What orchestrators register, and who inherits it.

use crate::harness::Plane;
use palisade_proto::v1::{self, namespace_service_client::NamespaceServiceClient};
use serde_json::json;
use std::collections::BTreeMap;
use tonic::{Code, transport::Channel};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn put_namespace(name: &str, given: &[(&str, &str)]) -> v1::PutNamespaceRequest {
    v1::PutNamespaceRequest {
        namespace: Some(v1::Namespace {
            name: name.to_owned(),
            labels: labels(given),
            default_action: v1::NamespaceDefault::Deny.into(),
        }),
    }
}

fn put_identity(namespace: &str, name: &str, given: &[(&str, &str)]) -> v1::PutIdentityRequest {
    v1::PutIdentityRequest {
        identity: Some(v1::Identity {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: labels(given),
        }),
    }
}

async fn client(plane: &Plane) -> NamespaceServiceClient<Channel> {
    NamespaceServiceClient::new(plane.admin.connect().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_inherit_the_labels_of_what_was_registered() {
    let plane = Plane::start().await;
    let mut namespaces = client(&plane).await;
    let put = namespaces.put_namespace(put_namespace("red", &[("env", "prod")]));
    let namespace = put.await.expect("registers").into_inner();
    let put = namespaces.put_identity(put_identity("red", "app.one", &[("team", "x")]));
    let identity = put.await.expect("registers").into_inner();
    assert_eq!(
        (&*namespace.profile, &*identity.profile),
        ("kns.red", "ksa.red.app.one")
    );
    assert!(identity.revision > namespace.revision);
    let workload = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "WorkloadEndpoint",
        "metadata": { "name": "n-vm-a-eth0", "namespace": "red" },
        "spec": {
            "node": "n", "orchestrator": "vm", "workload": "a", "endpoint": "eth0",
            "ipNetworks": ["10.66.0.2"], "profiles": [namespace.profile, identity.profile],
        },
    });
    plane.apply(&[workload]).await;
    let pick = async |selector: &str| {
        let request = v1::SelectRequest {
            selector: selector.to_owned(),
        };
        let found = plane.analysis().await.select(request).await;
        found.expect("an answer").into_inner().resources.len()
    };
    assert_eq!(pick("pcns.env == 'prod' && pcsa.team == 'x'").await, 1);
    assert_eq!(pick("pcns.projectcalico.org/name == 'red'").await, 1);
    assert_eq!(pick("pcsa.projectcalico.org/name == 'app.one'").await, 1);

    // The whole set of labels is replaced.
    let put = namespaces.put_namespace(put_namespace("red", &[("env", "dev")]));
    put.await.expect("registers");
    assert_eq!(pick("pcns.env == 'prod'").await, 0);
    assert_eq!(pick("pcns.env == 'dev'").await, 1);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_registered_is_listed_and_goes_with_its_namespace() {
    let plane = Plane::start().await;
    let mut namespaces = client(&plane).await;
    let orphan = namespaces
        .put_identity(put_identity("red", "app", &[]))
        .await;
    assert_eq!(
        orphan.expect_err("no namespace").code(),
        Code::FailedPrecondition
    );
    for (name, given) in [("red", [("env", "prod")]), ("blue", [("env", "dev")])] {
        let put = namespaces.put_namespace(put_namespace(name, &given)).await;
        put.expect("registers");
        let put = namespaces
            .put_identity(put_identity(name, "app", &[]))
            .await;
        put.expect("registers");
    }
    let listed = namespaces
        .list_namespaces(v1::ListNamespacesRequest {})
        .await;
    let listed = listed.expect("a list").into_inner().namespaces;
    let expected = [
        put_namespace("blue", &[("env", "dev")])
            .namespace
            .expect("given"),
        put_namespace("red", &[("env", "prod")])
            .namespace
            .expect("given"),
    ];
    assert_eq!(listed, expected);
    let identities = async |namespace: &str| -> Vec<String> {
        let request = v1::ListIdentitiesRequest {
            namespace: namespace.to_owned(),
        };
        let listed = client(&plane).await.list_identities(request).await;
        let listed = listed.expect("a list").into_inner().identities;
        let text = |i: v1::Identity| format!("{}/{}", i.namespace, i.name);
        listed.into_iter().map(text).collect()
    };
    assert_eq!(identities("").await, ["blue/app", "red/app"]);
    assert_eq!(identities("red").await, ["red/app"]);

    let delete = |name: &str| v1::DeleteNamespaceRequest {
        name: name.to_owned(),
    };
    let deleted = namespaces.delete_namespace(delete("red")).await;
    deleted.expect("deletes");
    assert_eq!(identities("").await, ["blue/app"]);
    let again = namespaces.delete_namespace(delete("red")).await;
    assert_eq!(again.expect_err("gone").code(), Code::NotFound);
    let identity = v1::DeleteIdentityRequest {
        namespace: "blue".to_owned(),
        name: "app".to_owned(),
    };
    let deleted = namespaces.delete_identity(identity).await;
    deleted.expect("deletes");
    assert_eq!(identities("").await, Vec::<String>::new());
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_labels_that_cannot_be_are_refused() {
    let plane = Plane::start().await;
    let mut namespaces = client(&plane).await;
    for request in [
        put_namespace("", &[]),
        put_namespace("a.b", &[]),
        put_namespace("Red", &[]),
        put_namespace("red", &[("-", "x")]),
        put_namespace("red", &[("env", "not a value")]),
        put_namespace("red", &[("projectcalico.org/name", "blue")]),
    ] {
        let refused = namespaces.put_namespace(request.clone()).await;
        let refused = refused.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{request:?}");
    }
    // A node is nobody's orchestrator.
    let node = plane.join("n").await;
    let mut as_node = NamespaceServiceClient::new(node.connect().await);
    let refused = as_node.put_namespace(put_namespace("red", &[])).await;
    assert_eq!(
        refused.expect_err("not allowed").code(),
        Code::PermissionDenied
    );
    plane.server.stop().await;
}
