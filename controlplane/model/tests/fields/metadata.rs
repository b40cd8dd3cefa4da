//! What all kinds share.

use palisade_model::Kind;
use serde_json::{Value, json};

use super::{refused, resource, taken};

/// A network set with this metadata instead or too.
fn set(fields: Value) -> Value {
    let mut value = resource("GlobalNetworkSet", "s", json!({}));
    for (key, field) in fields.as_object().expect("fields") {
        value["metadata"][key] = field.clone();
    }
    value
}

#[test]
fn names_are_subdomains_of_at_most_253_characters() {
    let longest = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    for name in ["a", "0.1", "a-b.c-d.e", &longest] {
        taken(&set(json!({"name": name})));
    }
    let longer = format!("{longest}b");
    for name in [
        "", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a/b", "a b", "ü", &longer,
    ] {
        assert_eq!(
            refused(&set(json!({"name": name}))),
            ["metadata.name"],
            "{name}"
        );
    }
}

#[test]
fn label_keys_are_qualified_names_and_values_are_short() {
    let long = "a".repeat(63);
    let prefix = format!(
        "{}/k",
        [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61)
        ]
        .join(".")
    );
    for key in ["a", "A_b.c-d", "example.com/Key", "0", &long, &prefix] {
        for value in ["", "x", "A_b.c-d", &long] {
            taken(&set(json!({"labels": {key: value}})));
        }
    }
    let longer = "a".repeat(64);
    for key in [
        "", "-a", "a-", "_a", "a b", "a/b/c", "/a", "a/", "Upper/a", "a!/b", &longer,
    ] {
        assert_eq!(
            refused(&set(json!({"labels": {key: "x"}}))).len(),
            1,
            "{key}"
        );
    }
    for value in ["-a", "a-", "a b", "a/b", "ü", &longer] {
        assert_eq!(
            refused(&set(json!({"labels": {"a": value}}))),
            ["metadata.labels.a"]
        );
    }
    assert_eq!(
        refused(&set(json!({"labels": {"a": 1}}))),
        ["metadata.labels.a"]
    );
}

#[test]
fn annotation_keys_may_be_upper_case_and_all_fit_256_kib() {
    taken(&set(
        json!({"annotations": {"UPPER/Key": "any: text\nat all"}}),
    ));
    taken(&set(json!({"annotations": {"key": "x".repeat(262_141)}})));
    assert_eq!(
        refused(&set(json!({"annotations": {"key": "x".repeat(262_142)}}))),
        ["metadata.annotations"]
    );
    assert_eq!(refused(&set(json!({"annotations": {"a b": ""}}))).len(), 1);
}

#[test]
fn a_kind_has_a_namespace_or_has_none() {
    let specs = |kind: Kind| match kind {
        Kind::HostEndpoint => json!({"node": "n", "interfaceName": "*"}),
        Kind::WorkloadEndpoint => {
            json!({"node": "n", "orchestrator": "o", "workload": "w", "endpoint": "e"})
        }
        Kind::Tier => json!({"order": 1}),
        Kind::Plugin => {
            json!({"kind": "matcher", "digest": format!("sha256:{}", "0".repeat(64))})
        }
        _ => json!({}),
    };
    for kind in Kind::ALL {
        let name = if kind == Kind::WorkloadEndpoint {
            "n-o-w-e"
        } else {
            "default"
        };
        let name = if kind == Kind::Tier { "t" } else { name };
        let mut value = resource(kind.as_str(), name, specs(kind));
        if kind.is_extension() {
            value["apiVersion"] = "palisade.dev/v1".into();
        }
        taken(&value);
        let metadata = value["metadata"].as_object_mut().expect("metadata");
        if kind.is_namespaced() {
            metadata.insert("namespace".into(), "Bad".into());
            assert_eq!(refused(&value), ["metadata.namespace"], "{kind}");
            value["metadata"]["namespace"] = "".into();
        } else {
            metadata.insert("namespace".into(), "default".into());
        }
        assert_eq!(refused(&value), ["metadata.namespace"], "{kind}");
    }
}

#[test]
fn a_generated_name_is_kept_on_workload_endpoints_only() {
    let decoded = taken(&set(json!({"generateName": "s-"})));
    assert_eq!(decoded.json["metadata"].get("generateName"), None);
    let mut nameless = set(json!({"generateName": "s-"}));
    nameless["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("name");
    assert_eq!(refused(&nameless), ["metadata.name"]);
}
