//! Kinds beside those of hosts: workloads, namespaced and staged policy, what the cluster says of itself.

use crate::harness::{Node, Plane, reference, tier};
use palisade_policy::ids::{EndpointId, PolicyId};
use palisade_proto::v1;
use serde_json::{Value, json};
use tonic::Code;

fn namespaced(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": { "name": name, "namespace": "red", "labels": labels },
        "spec": spec,
    })
}

fn workload(node: &str) -> Value {
    let spec = json!({
        "node": node,
        "orchestrator": "vm",
        "workload": "a",
        "endpoint": "eth0",
        "interfaceName": "cali0",
        "ipNetworks": ["10.66.0.2"],
    });
    let name = format!("{node}-vm-a-eth0");
    namespaced("WorkloadEndpoint", &name, json!({ "role": "web" }), spec)
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_reach_their_node_with_policy_of_their_namespace() {
    let plane = Plane::start().await;
    let context = plane.join("n").await;
    let mut node = Node::connect(&context).await;
    node.accept().await;
    let rules = json!({ "ingress": [{ "action": "Allow" }] });
    plane
        .apply(&[
            workload("n"),
            namespaced("NetworkPolicy", "p", json!({}), rules.clone()),
            namespaced("StagedNetworkPolicy", "s", json!({}), rules),
        ])
        .await;
    node.accept().await;
    let held = node.held.as_ref().expect("a view");
    let endpoints: Vec<&str> = held
        .view()
        .endpoints
        .keys()
        .map(EndpointId::as_str)
        .collect();
    assert_eq!(endpoints, ["wep/red/n-vm-a-eth0"]);
    let policies: Vec<(&str, bool)> = held
        .view()
        .policies
        .iter()
        .map(|(id, policy)| (PolicyId::as_str(id), policy.staged))
        .collect();
    assert_eq!(policies, [("np/red/p", false), ("snp/red/s", true)]);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_stays_while_policy_of_any_kind_belongs_to_it() {
    let plane = Plane::start().await;
    plane.apply(&[tier("edge")]).await;
    let mut resources = plane.resources().await;
    let delete = |kind: &str, namespace: &str, name: &str| v1::DeleteResourceRequest {
        r#ref: Some(v1::ResourceRef {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        ..v1::DeleteResourceRequest::default()
    };
    for kind in ["NetworkPolicy", "StagedNetworkPolicy"] {
        let spec = json!({ "tier": "edge", "ingress": [] });
        plane
            .apply(&[namespaced(kind, "edge.p", json!({}), spec)])
            .await;
        let refused = resources.delete_resource(delete("Tier", "", "edge")).await;
        assert_eq!(
            refused.expect_err("in use").code(),
            Code::FailedPrecondition
        );
        let deleted = resources
            .delete_resource(delete(kind, "red", "edge.p"))
            .await;
        deleted.expect("deletes");
    }
    let deleted = resources.delete_resource(delete("Tier", "", "edge")).await;
    deleted.expect("nothing belongs to it");
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_pick_workloads_and_sets_of_namespaces() {
    let plane = Plane::start().await;
    let set = namespaced(
        "NetworkSet",
        "s",
        json!({}),
        json!({ "nets": ["192.0.2.0/24"] }),
    );
    plane.apply(&[workload("n"), set]).await;
    let request = v1::SelectRequest {
        selector: "projectcalico.org/namespace == 'red'".to_owned(),
    };
    let found = plane.analysis().await.select(request).await;
    let found = found.expect("an answer").into_inner().resources;
    let found: Vec<(&str, &str, &str)> = found
        .iter()
        .map(|r| (&*r.kind, &*r.namespace, &*r.name))
        .collect();
    assert_eq!(
        found,
        [
            ("WorkloadEndpoint", "red", "n-vm-a-eth0"),
            ("NetworkSet", "red", "s")
        ]
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_says_what_it_is_and_nobody_else_does() {
    let plane = Plane::start().await;
    let get = || v1::GetResourceRequest {
        r#ref: reference("ClusterInformation", "default"),
    };
    let read = async |plane: &Plane| -> Value {
        let found = plane.resources().await.get_resource(get()).await;
        let resource = found.expect("it exists").into_inner().resource;
        serde_json::from_slice(&resource.expect("a resource").json).expect("JSON")
    };
    let first = read(&plane).await;
    let guid = first["spec"]["clusterGUID"].as_str().expect("a GUID");
    assert_eq!(guid.len(), 32);
    assert_eq!(first["spec"]["datastoreReady"], json!(true));
    let mut forged = first.clone();
    forged["spec"]["datastoreReady"] = json!(false);
    let refused = plane.try_apply(&[forged]).await.expect_err("read-only");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let delete = v1::DeleteResourceRequest {
        r#ref: reference("ClusterInformation", "default"),
        ..v1::DeleteResourceRequest::default()
    };
    let refused = plane.resources().await.delete_resource(delete).await;
    assert_eq!(
        refused.expect_err("built in").code(),
        Code::FailedPrecondition
    );
    // The same cluster after a restart, and the same revision of it.
    let plane = plane.restart().await;
    assert_eq!(read(&plane).await, first);
    plane.server.stop().await;
}
