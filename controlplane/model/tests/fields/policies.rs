//! Policies of all kinds, and tiers.

use palisade_model::{PolicyTypes, Spec, StagedAction, StagedPolicySpec};
use serde_json::{Value, json};

use super::{refused, resource, taken};

const GLOBAL: [&str; 2] = ["GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"];
const NAMESPACED: [&str; 2] = ["NetworkPolicy", "StagedNetworkPolicy"];

fn all() -> impl Iterator<Item = &'static str> {
    GLOBAL.into_iter().chain(NAMESPACED)
}

#[test]
fn policies_are_named_by_one_or_two_labels() {
    let long = "a".repeat(253);
    let two = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    for kind in all() {
        for name in ["a", "a.b", "0", "a-b.c-d", &long, &two] {
            taken(&resource(kind, name, json!({})));
        }
        let too_long = "a".repeat(254);
        for name in [
            "A", "a_b", "a.b.c", "-a", "a-", "a..b", ".a", "a.", "a b", "", &too_long,
        ] {
            let found = refused(&resource(kind, name, json!({})));
            assert_eq!(found, ["metadata.name"], "{name}");
        }
    }
}

#[test]
fn policies_of_namespaces_may_mirror_others() {
    for name in ["knp.default.web.a.b", "ossg.default.x"] {
        for kind in NAMESPACED {
            taken(&resource(kind, name, json!({})));
        }
    }
    for kind in GLOBAL {
        assert_eq!(
            refused(&resource(kind, "knp.default.web", json!({}))),
            ["metadata.name"]
        );
    }
    for name in ["knp.default.", "knp.default.A", "knp.other.x"] {
        assert_eq!(
            refused(&resource("NetworkPolicy", name, json!({}))),
            ["metadata.name"]
        );
    }
}

#[test]
fn fields_that_only_clusters_policies_have_are_refused_elsewhere() {
    for (field, value) in [
        ("doNotTrack", json!(false)),
        ("preDNAT", json!(false)),
        ("applyOnForward", json!(false)),
        ("namespaceSelector", json!("")),
        ("doNotTrack", Value::Null),
    ] {
        for kind in GLOBAL {
            taken(&resource(kind, "p", json!({field: value})));
        }
        for kind in NAMESPACED {
            assert_eq!(
                refused(&resource(kind, "p", json!({field: value}))),
                [format!("spec.{field}")]
            );
        }
    }
    for kind in ["GlobalNetworkPolicy", "NetworkPolicy"] {
        assert_eq!(
            refused(&resource(kind, "p", json!({"stagedAction": "Set"}))),
            ["spec.stagedAction"]
        );
    }
}

#[test]
fn tiers_orders_types_hints_and_selectors_are_judged_in_every_kind() {
    for kind in all() {
        for spec in [
            json!({"tier": "a-b", "order": -1.5, "selector": "has(a)", "serviceAccountSelector": "has(b)"}),
            json!({"tier": "", "types": [], "performanceHints": []}),
            json!({"types": ["Egress", "Ingress"], "performanceHints": ["AssumeNeededOnEveryNode"]}),
            json!({"selector": "", "serviceAccountSelector": ""}),
        ] {
            taken(&resource(kind, "p", spec));
        }
        for (spec, path) in [
            (json!({"tier": "a.b"}), "spec.tier"),
            (json!({"tier": "A"}), "spec.tier"),
            (json!({"order": "first"}), "spec.order"),
            (json!({"selector": "global()"}), "spec.selector"),
            (json!({"selector": "has(a)\n"}), "spec.selector"),
            (
                json!({"serviceAccountSelector": "global()"}),
                "spec.serviceAccountSelector",
            ),
            (json!({"types": ["ingress"]}), "spec.types[0]"),
            (json!({"types": ["Egress", "Egress"]}), "spec.types[1]"),
            (
                json!({"performanceHints": ["Fast"]}),
                "spec.performanceHints[0]",
            ),
            (
                json!({"performanceHints": ["AssumeNeededOnEveryNode", "AssumeNeededOnEveryNode"]}),
                "spec.performanceHints[1]",
            ),
        ] {
            assert_eq!(refused(&resource(kind, "p", spec)), [path], "{kind}");
        }
    }
    for kind in GLOBAL {
        assert_eq!(
            refused(&resource(
                kind,
                "p",
                json!({"namespaceSelector": "global()"})
            )),
            ["spec.namespaceSelector"]
        );
    }
}

#[test]
fn stages_need_apply_on_forward_and_exclude_one_another() {
    let rule = json!([{"action": "Allow"}]);
    for kind in GLOBAL {
        for spec in [
            json!({"applyOnForward": true}),
            json!({"applyOnForward": true, "doNotTrack": true, "egress": rule, "ingress": rule}),
            json!({"applyOnForward": true, "preDNAT": true, "ingress": rule, "egress": []}),
        ] {
            taken(&resource(kind, "p", spec));
        }
        for (spec, paths) in [
            (json!({"doNotTrack": true}), vec!["spec.doNotTrack"]),
            (
                json!({"preDNAT": true, "applyOnForward": false}),
                vec!["spec.preDNAT"],
            ),
            (
                json!({"preDNAT": true, "doNotTrack": true, "applyOnForward": true}),
                vec!["spec.preDNAT"],
            ),
            (
                json!({"preDNAT": true, "applyOnForward": true, "egress": rule}),
                vec!["spec.egress"],
            ),
            (
                json!({"preDNAT": true, "applyOnForward": true, "types": ["Egress"]}),
                vec!["spec.types"],
            ),
        ] {
            assert_eq!(refused(&resource(kind, "p", spec)), paths);
        }
    }
}

#[test]
fn a_policy_of_a_namespace_gets_the_same_defaults() {
    let decoded = taken(&resource(
        "NetworkPolicy",
        "p",
        json!({"egress": [{"action": "Deny"}]}),
    ));
    assert_eq!(
        decoded.json["spec"],
        json!({"tier": "default", "types": ["Egress"], "egress": [{"action": "Deny"}]})
    );
    assert_eq!(
        decoded.json["metadata"]["labels"],
        json!({"projectcalico.org/tier": "default"})
    );
    let Spec::NetworkPolicy(policy) = decoded.resource.spec else {
        panic!("a policy")
    };
    assert_eq!(policy.types, PolicyTypes::Egress);
}

#[test]
fn staged_policies_say_what_would_be_done() {
    for kind in ["StagedGlobalNetworkPolicy", "StagedNetworkPolicy"] {
        for (text, wanted) in [
            (None, StagedAction::Set),
            (Some("Set"), StagedAction::Set),
            (Some("Learn"), StagedAction::Learn),
            (Some("Ignore"), StagedAction::Ignore),
        ] {
            let spec = json!({"stagedAction": text, "ingress": [{"action": "Allow"}]});
            let decoded = taken(&resource(kind, "p", spec));
            assert_eq!(
                decoded.json["spec"]["stagedAction"],
                json!(format!("{wanted:?}"))
            );
            match decoded.resource.spec {
                Spec::StagedGlobalNetworkPolicy(StagedPolicySpec::Policy { action, policy })
                | Spec::StagedNetworkPolicy(StagedPolicySpec::Policy { action, policy }) => {
                    assert_eq!((action, policy.ingress.len()), (wanted, 1));
                }
                other => panic!("{other:?}"),
            }
        }
        for text in ["set", "Drop"] {
            assert_eq!(
                refused(&resource(kind, "p", json!({"stagedAction": text}))),
                ["spec.stagedAction"]
            );
        }
    }
}

#[test]
fn a_staged_deletion_names_a_tier_and_says_nothing_more() {
    for kind in ["StagedGlobalNetworkPolicy", "StagedNetworkPolicy"] {
        for spec in [
            json!({"stagedAction": "Delete"}),
            json!({"stagedAction": "Delete", "tier": "eng", "selector": "", "ingress": [], "types": []}),
        ] {
            let decoded = taken(&resource(kind, "p", spec));
            assert!(
                decoded.json["spec"]
                    .get("types")
                    .is_none_or(|types| *types == json!([]))
            );
            match decoded.resource.spec {
                Spec::StagedGlobalNetworkPolicy(staged) | Spec::StagedNetworkPolicy(staged) => {
                    assert_eq!(staged.policy(), None);
                }
                other => panic!("{other:?}"),
            }
        }
        for (field, value) in [
            ("order", json!(0)),
            ("selector", json!("all()")),
            ("types", json!(["Ingress"])),
            ("ingress", json!([{"action": "Allow"}])),
            ("egress", json!([{"action": "Allow"}])),
            ("serviceAccountSelector", json!("has(a)")),
            ("performanceHints", json!(["AssumeNeededOnEveryNode"])),
        ] {
            assert_eq!(
                refused(&resource(
                    kind,
                    "p",
                    json!({"stagedAction": "Delete", field: value})
                )),
                [format!("spec.{field}")]
            );
        }
    }
    for field in ["doNotTrack", "preDNAT", "applyOnForward"] {
        let of = |value: bool| {
            let spec = json!({"stagedAction": "Delete", field: value});
            resource("StagedGlobalNetworkPolicy", "p", spec)
        };
        taken(&of(false));
        assert_eq!(refused(&of(true)), [format!("spec.{field}")]);
    }
}

#[test]
fn kubernetes_own_words_are_checked() {
    let kind = "StagedKubernetesNetworkPolicy";
    for spec in [
        json!({"podSelector": {}}),
        json!({"stagedAction": "Delete"}),
        json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "Exists"}]},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"namespaceSelector": {}, "podSelector": {}}],
                "ports": [{"port": 80}, {"protocol": "UDP", "port": 1, "endPort": 9}, {"port": "http"}]}],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"a": "b"}}}]}]}),
    ] {
        taken(&resource(kind, "a.b.c", spec));
    }
    for (spec, path) in [
        (
            json!({"stagedAction": "Delete", "podSelector": {"matchLabels": {"a": "b"}}}),
            "spec.podSelector",
        ),
        (json!({"stagedAction": "Add"}), "spec.stagedAction"),
        (json!({"policyTypes": ["Both"]}), "spec.policyTypes[0]"),
        (
            json!({"podSelector": {"matchLabels": {"a b": "c"}}}),
            "spec.podSelector.matchLabels[\"a b\"]",
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "spec.podSelector.matchExpressions[0].values",
        ),
        (
            json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Equals"}]}}),
            "spec.podSelector.matchExpressions[0].operator",
        ),
        (
            json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]}),
            "spec.ingress[0].from[0].ipBlock.cidr",
        ),
        (
            json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}]}),
            "spec.ingress[0].from[0].ipBlock.except[0]",
        ),
        (
            json!({"ingress": [{"from": [{}]}]}),
            "spec.ingress[0].from[0]",
        ),
        (
            json!({"egress": [{"ports": [{"port": 0}]}]}),
            "spec.egress[0].ports[0].port",
        ),
        (
            json!({"egress": [{"ports": [{"protocol": "ICMP"}]}]}),
            "spec.egress[0].ports[0].protocol",
        ),
        (
            json!({"egress": [{"ports": [{"port": 9, "endPort": 1}]}]}),
            "spec.egress[0].ports[0].endPort",
        ),
        (json!({"selector": "all()"}), "spec.selector"),
    ] {
        assert_eq!(refused(&resource(kind, "p", spec)), [path]);
    }
}

#[test]
fn tiers_are_single_labels_and_deny_or_pass() {
    let long = "a".repeat(63);
    for name in ["a", "a-b", &long] {
        for spec in [
            json!({"order": -5.5}),
            json!({"order": 2_000_000, "defaultAction": "Pass"}),
            json!({"defaultAction": "Deny"}),
        ] {
            taken(&resource("Tier", name, spec));
        }
    }
    let longer = "a".repeat(64);
    for name in ["a.b", "A", "a_b", &longer] {
        assert_eq!(
            refused(&resource("Tier", name, json!({"order": 1}))),
            ["metadata.name"]
        );
    }
    for action in ["Allow", "deny", "Log"] {
        assert_eq!(
            refused(&resource(
                "Tier",
                "t",
                json!({"order": 1, "defaultAction": action})
            )),
            ["spec.defaultAction"]
        );
    }
    for (name, order, action, wrong) in [
        ("default", 1_000_000, "Deny", "Pass"),
        ("kube-admin", 1_000, "Pass", "Deny"),
        ("kube-baseline", 10_000_000, "Pass", "Deny"),
    ] {
        taken(&resource(
            "Tier",
            name,
            json!({"order": order, "defaultAction": action}),
        ));
        assert_eq!(
            refused(&resource(
                "Tier",
                name,
                json!({"order": order + 1, "defaultAction": action})
            )),
            ["spec.order"]
        );
        assert_eq!(
            refused(&resource(
                "Tier",
                name,
                json!({"order": order, "defaultAction": wrong})
            )),
            ["spec.defaultAction"]
        );
    }
}
