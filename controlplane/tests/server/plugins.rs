//! Resources and rules that name plugins.

use crate::{
    author::{faults, fields, plugin, policy, push, redact, stored},
    guests::bytes,
    harness::{Node, Plane},
};
use palisade_plugin_host::Digest;
use palisade_policy::ids::{PluginId, PolicyId};
use serde_json::{Value, json};
use tonic::{Code, Status};

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
async fn a_component_that_is_not_stored_is_what_is_wrong_whoever_asks_it() {
    let plane = Plane::start().await;
    let asks = policy(json!({"name": "dns", "settings": {"suffixes": ["example.org"]}}));
    let missing = plugin("dns", "matcher", Digest::of(b"never uploaded"));
    let says = |refused: &Status, field: &str| {
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let [(named, text)] = faults(refused).try_into().expect("one fault");
        assert_eq!(named, field);
        assert!(text.contains("palisadectl plugin push"), "{text}");
    };
    // Together with a policy that asks it.
    let both = [missing.clone(), asks.clone()];
    let together = plane.try_apply(&both).await.expect_err("refused");
    says(&together, "json[0].spec.digest");
    // Where stored policies ask it already.
    let digest = push(&plane, &bytes("dns-suffix")).await;
    plane.apply(&[plugin("dns", "matcher", digest), asks]).await;
    let instead = plane.try_apply(&[missing]).await.expect_err("refused");
    says(&instead, "spec.digest");
    assert_eq!(stored(&plane).await[0].used_by, ["dns"]);
    plane.server.stop().await;
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
    let used = plane.try_delete("Plugin", "dns").await;
    assert_eq!(used.expect_err("refused").code(), Code::FailedPrecondition);
    let mut turned = redact(auditor);
    turned["metadata"]["name"] = json!("dns");
    let turned = plane.try_apply(&[turned]).await;
    assert_eq!(fields(&turned.expect_err("refused")), ["spec.kind"]);
    plane.delete("GlobalNetworkPolicy", "p").await;
    plane.delete("Plugin", "dns").await;
    node.accept().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_fails_at_its_settings_costs_the_write_that_asked_it() {
    let plane = Plane::start().await;
    let digest = push(&plane, &bytes("misbehave")).await;
    plane.apply(&[plugin("wild", "matcher", digest)]).await;
    let asks = |deed: &str| policy(json!({"name": "wild", "settings": {"deed": deed}}));
    for deed in ["loop-in-validate", "trap-in-configure"] {
        let refused = plane.try_apply(&[asks(deed)]).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{deed}");
        assert_eq!(
            fields(&refused),
            ["spec.egress[1].plugin.settings"],
            "{deed}: {:?}",
            faults(&refused)
        );
    }
    plane.apply(&[asks("nothing")]).await;
    plane.server.stop().await;
}

/// What the writer of the last of these documents is told.
async fn told(plane: &Plane, documents: &[Value]) -> Vec<String> {
    let applied = plane.apply(documents).await;
    let last = applied.resources.last().expect("a resource");
    last.warnings.clone()
}

fn failsafes(name: &str, field: &str, ports: Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": name},
        "spec": {field: ports},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_failsafes_leave_nothing_to_is_written_with_a_warning() {
    const OUTBOUND: &str = "failsafeOutboundHostPorts";
    let plane = Plane::start().await;
    let digest = push(&plane, &bytes("dns-suffix")).await;
    plane.apply(&[plugin("dns", "matcher", digest)]).await;
    let asks = |port: u16, more: Value| {
        let mut asks = policy(json!({"name": "dns", "settings": {"suffixes": ["example.org"]}}));
        asks["spec"]["egress"][1]["protocol"] = json!("UDP");
        asks["spec"]["egress"][1]["destination"] = json!({"ports": [port]});
        for (field, value) in more.as_object().expect("fields") {
            asks["spec"][field] = value.clone();
        }
        asks
    };
    let dns = || asks(53, json!({}));
    let both = json!([{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 7600}]);

    let warnings = told(&plane, &[dns()]).await;
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    for part in [
        "spec.egress[1].plugin: ",
        "host endpoints",
        "UDP 53",
        OUTBOUND,
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    // Written again, nothing changes but the warning is as true as before.
    assert_eq!(told(&plane, &[dns()]).await, warnings);
    assert_eq!(told(&plane, &[asks(5353, json!({}))]).await, [""; 0]);
    assert_eq!(
        told(&plane, &[asks(53, json!({"applyOnForward": true}))]).await,
        [""; 0]
    );
    let mut plain = dns();
    plain["spec"]["egress"][1]
        .as_object_mut()
        .expect("a rule")
        .remove("plugin");
    assert_eq!(told(&plane, &[plain]).await, [""; 0]);

    // What counts is what stands after the file.
    let closed = || {
        failsafes(
            "default",
            OUTBOUND,
            json!([{"protocol": "TCP", "port": 7600}]),
        )
    };
    assert_eq!(told(&plane, &[closed(), dns()]).await, [""; 0]);
    assert_eq!(told(&plane, &[dns()]).await, [""; 0]);
    let open = failsafes("default", OUTBOUND, both);
    assert_eq!(told(&plane, &[open, dns()]).await, warnings);
    let inbound = failsafes("default", "failsafeInboundHostPorts", json!([]));
    assert_eq!(told(&plane, &[inbound, dns()]).await, warnings);
    // One node that leaves the port to policy is enough.
    plane
        .apply(&[failsafes("node.n", OUTBOUND, json!([]))])
        .await;
    assert_eq!(told(&plane, &[dns()]).await, [""; 0]);
    plane.server.stop().await;
}
