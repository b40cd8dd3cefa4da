//! Plugin, and the conditions of rules that plugins decide.

use palisade_model::{
    OnFailure, Part, PluginKind, PluginLimits, PluginSink, PluginSpec, Spec, decode,
    decode_document, document,
};
use serde_json::{Value, json};

use super::{refused, resource, taken};

fn digest() -> String {
    format!("sha256:{}", "0a".repeat(32))
}

fn plugin(mut spec: Value) -> Value {
    spec["digest"] = json!(digest());
    own("Plugin", spec)
}

fn own(kind: &str, spec: Value) -> Value {
    let mut value = resource(kind, "p", spec);
    value["apiVersion"] = json!("palisade.dev/v1");
    value
}

fn spec(value: &Value) -> PluginSpec {
    match taken(value).resource.spec {
        Spec::Plugin(spec) => *spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plugin_gets_the_limits_of_its_kind_written_back() {
    let decoded = taken(&plugin(json!({"kind": "matcher"})));
    assert_eq!(
        decoded.json["spec"],
        json!({
            "kind": "matcher", "digest": digest(),
            "limits": {"fuel": 2_000_000, "memoryMiB": 16, "payload": 4096},
        })
    );
    let auditor = spec(&plugin(json!({"kind": "auditor"})));
    assert_eq!(auditor.kind, PluginKind::Auditor);
    assert_eq!(auditor.limits, PluginLimits::of(PluginKind::Auditor));
    assert_eq!(auditor.digest.to_string(), digest());
}

#[test]
fn an_auditor_has_settings_and_sinks() {
    let auditor = spec(&plugin(json!({
        "kind": "auditor",
        "settings": {"labels": ["a", "b"], "burst": {"count": 5}},
        "sinks": {
            "siem": {"file": {"path": "/var/log/palisade/siem.jsonl"}},
            "out": {"stdout": {}},
            "journal": {"journald": {}},
        },
    })));
    assert_eq!(auditor.settings["burst"]["count"], json!(5));
    let sinks: Vec<_> = auditor.sinks.into_iter().collect();
    assert_eq!(
        sinks,
        [
            ("journal".to_owned(), PluginSink::Journald),
            ("out".to_owned(), PluginSink::Stdout),
            (
                "siem".to_owned(),
                PluginSink::File {
                    path: "/var/log/palisade/siem.jsonl".to_owned(),
                    max_bytes: 64 << 20,
                    keep: 5,
                }
            ),
        ]
    );
}

#[test]
fn faults_of_a_plugin_are_reported_with_their_fields() {
    let file = |file: Value| json!({"kind": "auditor", "sinks": {"s": {"file": file}}});
    for (spec, field) in [
        (json!({}), "spec.kind"),
        (json!({"kind": "resolver"}), "spec.kind"),
        (json!({"kind": "matcher", "size": 0}), "spec.size"),
        (
            json!({"kind": "matcher", "limits": {"fuel": 0}}),
            "spec.limits.fuel",
        ),
        (
            json!({"kind": "matcher", "limits": {"memoryMiB": 4096}}),
            "spec.limits.memoryMiB",
        ),
        (
            json!({"kind": "matcher", "limits": {"payload": 5000}}),
            "spec.limits.payload",
        ),
        (
            json!({"kind": "auditor", "limits": {"payload": 1}}),
            "spec.limits.payload",
        ),
        (
            json!({"kind": "matcher", "onFailure": "drop"}),
            "spec.onFailure",
        ),
        (
            json!({"kind": "auditor", "onFailure": "deny"}),
            "spec.onFailure",
        ),
        (json!({"kind": "matcher", "settings": {}}), "spec.settings"),
        (json!({"kind": "auditor", "settings": [1]}), "spec.settings"),
        (
            json!({"kind": "auditor", "settings": {"a": "x".repeat(70_000)}}),
            "spec.settings",
        ),
        (
            json!({"kind": "matcher", "sinks": {"s": {"stdout": {}}}}),
            "spec.sinks",
        ),
        (
            json!({"kind": "auditor", "sinks": {"s": {}}}),
            "spec.sinks.s",
        ),
        (
            json!({"kind": "auditor", "sinks": {"S": {"stdout": {}}}}),
            "spec.sinks.S",
        ),
        (
            json!({"kind": "auditor", "sinks": {"s": {"stdout": {}, "journald": {}}}}),
            "spec.sinks.s",
        ),
        (file(json!({})), "spec.sinks.s.file.path"),
        (file(json!({"path": "log/x"})), "spec.sinks.s.file.path"),
        (file(json!({"path": "/"})), "spec.sinks.s.file.path"),
        (
            file(json!({"path": "/var/../etc/x"})),
            "spec.sinks.s.file.path",
        ),
        (
            file(json!({"path": "/var/log/x", "maxBytes": 100})),
            "spec.sinks.s.file.maxBytes",
        ),
        (
            file(json!({"path": "/var/log/x", "keep": 5000})),
            "spec.sinks.s.file.keep",
        ),
    ] {
        assert_eq!(refused(&plugin(spec.clone())), [field], "{spec}");
    }
    for digest in [
        "",
        "sha256:",
        "0a0a",
        &digest().to_uppercase(),
        &format!("{}0", digest()),
    ] {
        let spec = json!({"kind": "matcher", "digest": digest});
        assert_eq!(refused(&own("Plugin", spec)), ["spec.digest"], "{digest}");
    }
    assert_eq!(
        refused(&resource(
            "Plugin",
            "p",
            json!({"kind": "matcher", "digest": digest()})
        )),
        ["apiVersion"]
    );
}

fn with_rule(kind: &str, plugin: Value) -> Value {
    own(
        kind,
        json!({"ingress": [{"action": "Allow"}, {"action": "Deny", "plugin": plugin}]}),
    )
}

#[test]
fn a_rule_may_ask_a_plugin() {
    for kind in ["GlobalNetworkPolicy", "NetworkPolicy"] {
        let asked = json!({"name": "dns", "settings": {"z": 1, "a": [true, null]}, "onFailure": "no-match"});
        let decoded = taken(&with_rule(kind, asked.clone()));
        assert_eq!(decoded.json["spec"]["ingress"][1]["plugin"], asked);
        let extensions: Vec<_> = decoded.extensions.iter().map(ToString::to_string).collect();
        assert_eq!(extensions, ["spec.ingress[1].plugin"]);
        let (Spec::GlobalNetworkPolicy(policy) | Spec::NetworkPolicy(policy)) =
            decoded.resource.spec
        else {
            panic!("a policy")
        };
        let asked = policy.ingress[1].plugin.as_ref().expect("a condition");
        assert_eq!(asked.name, "dns");
        assert_eq!(asked.on_failure, Some(OnFailure::NoMatch));
        assert_eq!(policy.ingress[0].plugin, None);
    }
    for (asked, field) in [
        (json!({}), "spec.ingress[1].plugin.name"),
        (json!({"name": "A"}), "spec.ingress[1].plugin.name"),
        (
            json!({"name": "a", "settings": "x"}),
            "spec.ingress[1].plugin.settings",
        ),
        (
            json!({"name": "a", "onFailure": "Deny"}),
            "spec.ingress[1].plugin.onFailure",
        ),
        (
            json!({"name": "a", "onfailure": "deny"}),
            "spec.ingress[1].plugin.onfailure",
        ),
    ] {
        assert_eq!(refused(&with_rule("GlobalNetworkPolicy", asked)), [field]);
    }
}

#[test]
fn calicos_group_has_no_plugins_and_says_which_has() {
    let mut value = with_rule("GlobalNetworkPolicy", json!({"name": "dns"}));
    value["apiVersion"] = json!("projectcalico.org/v3");
    let problems = decode(&value).expect_err("refused");
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    assert_eq!(problem.path.to_string(), "spec.ingress[1].plugin");
    assert!(problem.message.contains("`palisade.dev/v1`"), "{problem}");
    assert_eq!(problem.part, Part::Key);
}

#[test]
fn plugins_are_not_asked_where_nothing_can_wait_for_them() {
    let rules = json!([{"action": "Deny", "plugin": {"name": "dns"}}]);
    let policy = |field: &str| json!({"selector": "all()", "applyOnForward": true, field: true, "ingress": rules});
    for value in [
        own("GlobalNetworkPolicy", policy("doNotTrack")),
        own("GlobalNetworkPolicy", policy("preDNAT")),
        own("StagedGlobalNetworkPolicy", json!({"ingress": rules})),
        own("StagedNetworkPolicy", json!({"ingress": rules})),
        own("Profile", json!({"ingress": rules})),
    ] {
        assert_eq!(refused(&value), ["spec.ingress[0].plugin"], "{value}");
    }
}

#[test]
fn settings_in_yaml_mean_what_calicoctl_reads() {
    let text = "
apiVersion: palisade.dev/v1
kind: GlobalNetworkPolicy
metadata: {name: p}
spec:
  egress:
  - action: Deny
    plugin:
      name: dns
      settings: {suffixes: [.example.org, '10'], limit: 10, deep: {strict: yes, ratio: 0.5}}
";
    let documents = document::read(text).expect("reads");
    let decoded = decode_document(&documents[0]).expect("taken");
    assert_eq!(
        decoded.json["spec"]["egress"][0]["plugin"]["settings"],
        json!({"suffixes": [".example.org", "10"], "limit": 10, "deep": {"strict": true, "ratio": 0.5}})
    );
}
