//! Untracked policy and `*` endpoints: whichever comes second is refused.

use crate::harness::Plane;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

fn global(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": { "name": name, "labels": labels },
        "spec": spec,
    })
}

fn untracked(name: &str, selector: &str) -> Value {
    let spec = json!({ "selector": selector, "doNotTrack": true, "applyOnForward": true,
        "ingress": [{ "action": "Allow" }] });
    global("GlobalNetworkPolicy", name, json!({}), spec)
}

fn endpoint(name: &str, interface: &str, labels: Value, profiles: Value) -> Value {
    let spec = json!({ "node": "n", "interfaceName": interface, "profiles": profiles });
    global("HostEndpoint", name, labels, spec)
}

fn profile(labels: Value) -> Value {
    let spec = json!({ "labelsToApply": labels });
    global("Profile", "p", json!({}), spec)
}

impl Plane {
    /// The fields by which documents are refused.
    async fn refusal(&self, documents: &[Value]) -> Vec<String> {
        let refused = self.try_apply(documents).await.expect_err("refused");
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        let details = refused.get_error_details();
        let unmet = details.precondition_failure().expect("details");
        for violation in &unmet.violations {
            assert_eq!(violation.r#type, "UNTRACKED_DEFAULT_ENDPOINT");
        }
        let fields = unmet.violations.iter().map(|v| v.subject.clone());
        fields.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn untracked_policy_that_would_select_a_default_endpoint_is_refused() {
    let plane = Plane::start().await;
    let db = || json!({ "role": "db" });
    plane
        .apply(&[
            endpoint("all", "*", db(), json!([])),
            endpoint("one", "eth0", json!({ "role": "web" }), json!([])),
        ])
        .await;
    let refused = plane.refusal(&[untracked("u", "role == 'db'")]).await;
    assert_eq!(refused, ["spec.doNotTrack"]);
    let refused = plane
        .refusal(&[untracked("a", "role == 'web'"), untracked("u", "all()")])
        .await;
    assert_eq!(refused, ["json[1].spec.doNotTrack"]);

    plane.apply(&[untracked("u", "role == 'web'")]).await;
    // Of the lists only this one leaves `*` out.
    let mut tracked = untracked("t", "all()");
    tracked["spec"]["doNotTrack"] = json!(false);
    plane.apply(&[tracked]).await;
    // What the file makes of the endpoint counts, not what is stored.
    let renamed = endpoint("all", "eth1", db(), json!([]));
    plane.apply(&[untracked("u", "all()"), renamed]).await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_endpoint_that_untracked_policy_would_select_is_refused() {
    let plane = Plane::start().await;
    plane.apply(&[untracked("u", "role == 'db'")]).await;
    let all = |role: &str| endpoint("all", "*", json!({ "role": role }), json!([]));
    assert_eq!(plane.refusal(&[all("db")]).await, ["spec.interfaceName"]);
    plane.apply(&[all("web")]).await;
    assert_eq!(plane.refusal(&[all("db")]).await, ["spec.interfaceName"]);
    plane
        .apply(&[endpoint("one", "eth0", json!({ "role": "db" }), json!([]))])
        .await;
    // The policy moves out of the way in the same file.
    plane
        .apply(&[all("db"), untracked("u", "role == 'cache'")])
        .await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_profiles_count_for_untracked_policy() {
    let plane = Plane::start().await;
    let all = endpoint("all", "*", json!({}), json!(["p"]));
    plane
        .apply(&[untracked("u", "role == 'db'"), all.clone()])
        .await;
    let refused = plane.refusal(&[profile(json!({ "role": "db" }))]).await;
    assert_eq!(refused, ["spec.labelsToApply"]);
    plane.apply(&[profile(json!({ "role": "web" }))]).await;
    let refused = plane.refusal(&[untracked("v", "role == 'web'")]).await;
    assert_eq!(refused, ["spec.doNotTrack"]);
    plane.server.stop().await;
}
