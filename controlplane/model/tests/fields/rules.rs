//! Fields of a rule.

use palisade_model::{PortSpec, Protocol, ProtocolName, Rule, Spec};
use serde_json::{Value, json};

use super::{refused, resource, taken};

/// The rule as the only ingress rule of a policy.
fn ingress(rule: Value) -> Value {
    resource(
        "GlobalNetworkPolicy",
        "p",
        json!({"types": ["Ingress"], "ingress": [rule]}),
    )
}

fn egress(rule: Value) -> Value {
    resource(
        "GlobalNetworkPolicy",
        "p",
        json!({"types": ["Egress"], "egress": [rule]}),
    )
}

fn typed(value: &Value) -> Rule {
    match taken(value).resource.spec {
        Spec::GlobalNetworkPolicy(policy) => {
            let mut rules = policy.ingress.into_iter().chain(policy.egress);
            rules.next().expect("one rule")
        }
        other => panic!("{other:?}"),
    }
}

/// The fields at fault, below the rule.
fn faults(rule: Value) -> Vec<String> {
    let paths = refused(&ingress(rule));
    let inside = |path: &String| {
        let rest = path.strip_prefix("spec.ingress[0]").unwrap_or(path);
        rest.trim_start_matches('.').to_owned()
    };
    paths.iter().map(inside).collect()
}

/// A rule that allows, with these fields too.
fn allow(fields: Value) -> Value {
    let mut rule = json!({"action": "Allow"});
    for (key, value) in fields.as_object().expect("fields") {
        rule[key] = value.clone();
    }
    rule
}

#[test]
fn actions_are_four_words_in_their_own_case() {
    for action in ["Allow", "Deny", "Log", "Pass"] {
        taken(&ingress(json!({"action": action})));
    }
    for action in [json!("allow"), json!("Drop"), json!(""), json!(1)] {
        assert_eq!(faults(json!({"action": action})), ["action"]);
    }
    assert_eq!(faults(json!({"protocol": "TCP"})), ["action"]);
}

#[test]
fn protocols_have_six_names_and_the_numbers_from_1_to_255() {
    for protocol in [
        json!("TCP"),
        json!("UDP"),
        json!("ICMP"),
        json!("ICMPv6"),
        json!("SCTP"),
        json!("UDPLite"),
        json!(1),
        json!(255),
        json!("17"),
    ] {
        taken(&ingress(allow(json!({"protocol": protocol}))));
        taken(&ingress(allow(json!({"notProtocol": protocol}))));
    }
    for protocol in [
        json!(0),
        json!(256),
        json!(-1),
        json!("tcp"),
        json!("GRE"),
        json!("TCPfoo"),
    ] {
        assert_eq!(faults(allow(json!({"protocol": protocol}))), ["protocol"]);
        assert_eq!(
            faults(allow(json!({"notProtocol": protocol}))),
            ["notProtocol"]
        );
    }
    let rule = typed(&ingress(allow(
        json!({"protocol": 6, "notProtocol": "UDP"}),
    )));
    assert_eq!(rule.protocol.map(Protocol::number), Some(6));
    assert_eq!(rule.not_protocol, Some(Protocol::Named(ProtocolName::Udp)));
}

#[test]
fn icmp_takes_a_type_below_255_and_a_code_only_with_one() {
    for icmp in [
        json!({"type": 0}),
        json!({"type": 254, "code": 255}),
        json!({"type": 8, "code": 0}),
    ] {
        taken(&ingress(allow(json!({"protocol": "ICMP", "icmp": icmp}))));
        taken(&ingress(allow(
            json!({"protocol": "ICMPv6", "notICMP": icmp}),
        )));
        taken(&ingress(allow(
            json!({"protocol": 1, "icmp": icmp, "notICMP": icmp}),
        )));
    }
    for (icmp, field) in [
        (json!({"type": 255}), "type"),
        (json!({"type": -1}), "type"),
        (json!({"type": 8, "code": 256}), "code"),
        (json!({"code": 0}), "code"),
    ] {
        assert_eq!(
            faults(allow(json!({"protocol": "ICMP", "icmp": icmp}))),
            [format!("icmp.{field}")]
        );
        assert_eq!(
            faults(allow(json!({"protocol": "ICMP", "notICMP": icmp}))),
            [format!("notICMP.{field}")]
        );
    }
    for protocol in [json!("TCP"), json!(17), Value::Null] {
        assert_eq!(
            faults(allow(json!({"protocol": protocol, "icmp": {"type": 8}}))),
            ["icmp"]
        );
    }
}

#[test]
fn a_family_contradicts_neither_protocol_nor_networks() {
    for fields in [
        json!({"ipVersion": 4, "protocol": "ICMP"}),
        json!({"ipVersion": 6, "protocol": 58}),
        json!({"ipVersion": 6, "notProtocol": "ICMPv6"}),
        json!({"ipVersion": 4, "source": {"nets": ["10.0.0.0/8"]}}),
        json!({"ipVersion": 6, "destination": {"notNets": ["fd00::/8"]}}),
    ] {
        taken(&ingress(allow(fields)));
    }
    for (fields, path) in [
        (json!({"ipVersion": 5}), "ipVersion"),
        (json!({"ipVersion": 0}), "ipVersion"),
        (json!({"ipVersion": 6, "protocol": "ICMP"}), "protocol"),
        (json!({"ipVersion": 6, "protocol": 1}), "protocol"),
        (json!({"ipVersion": 4, "notProtocol": 58}), "notProtocol"),
        (
            json!({"ipVersion": 6, "notProtocol": "ICMP"}),
            "notProtocol",
        ),
        (
            json!({"ipVersion": 6, "source": {"nets": ["10.0.0.0/8"]}}),
            "ipVersion",
        ),
        (
            json!({"ipVersion": 4, "destination": {"notNets": ["fd00::/8"]}}),
            "ipVersion",
        ),
        (json!({"source": {"nets": ["10.0.0.0/8", "fd00::/8"]}}), ""),
        (
            json!({"source": {"nets": ["10.0.0.0/8"]}, "destination": {"nets": ["fd00::/8"]}}),
            "",
        ),
        (
            json!({"source": {"notNets": ["10.0.0.0/8"]}, "destination": {"notNets": ["fd00::/8"]}}),
            "",
        ),
    ] {
        assert_eq!(faults(allow(fields)), [path]);
    }
}

#[test]
fn networks_are_masked_cidrs_and_a_negation_leaves_something_over() {
    for side in ["source", "destination"] {
        for list in ["nets", "notNets"] {
            for net in ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8", "2001:db8::1/128"] {
                taken(&ingress(allow(json!({side: {list: [net]}}))));
            }
            for net in [
                "10.0.0.1",
                "fd00::1",
                "10.0.0.1/8",
                "fd00::1/8",
                "10.0.0.0/33",
                "x",
                "",
            ] {
                assert_eq!(
                    faults(allow(json!({side: {list: [net]}}))),
                    [format!("{side}.{list}[0]")]
                );
            }
            let many = |count: usize| -> Vec<String> {
                let each = (0..count).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256));
                each.collect()
            };
            taken(&ingress(allow(json!({side: {list: many(256)}}))));
            assert_eq!(
                faults(allow(json!({side: {list: many(257)}}))),
                [format!("{side}.{list}")]
            );
        }
        for everything in ["0.0.0.0/0", "::/0"] {
            taken(&ingress(allow(json!({side: {"nets": [everything]}}))));
            assert_eq!(
                faults(allow(json!({side: {"notNets": [everything]}}))),
                [format!("{side}.notNets[0]")]
            );
        }
    }
}

#[test]
fn ports_are_numbers_ranges_and_names_and_need_a_protocol_that_has_them() {
    for side in ["source", "destination"] {
        for list in ["ports", "notPorts"] {
            for port in [
                json!(1),
                json!(65535),
                json!("80"),
                json!("1:65535"),
                json!("80:80"),
                json!("http"),
                json!("a-1"),
            ] {
                for protocol in [
                    json!("TCP"),
                    json!("UDP"),
                    json!("SCTP"),
                    json!(6),
                    json!("132"),
                ] {
                    taken(&ingress(allow(
                        json!({"protocol": protocol, side: {list: [port]}}),
                    )));
                }
                assert_eq!(
                    faults(allow(json!({"protocol": "UDPLite", side: {list: [port]}}))),
                    [format!("{side}.{list}")]
                );
            }
            for port in [
                json!(0),
                json!(65536),
                json!(-1),
                json!("90:80"),
                json!("0:80"),
                json!("80:65536"),
                json!("80:"),
                json!(":80"),
                json!("80-90"),
                json!("HTTP"),
                json!("a--b"),
                json!("-a"),
                json!("a-"),
                json!("1-2"),
                json!("a_b"),
                json!("sixteen-letters-"),
                json!("a-very-long-port"),
                json!(""),
                json!(8.5),
            ] {
                assert_eq!(
                    faults(allow(json!({"protocol": "TCP", side: {list: [port]}}))),
                    [format!("{side}.{list}[0]")],
                    "{port}"
                );
            }
            taken(&ingress(allow(json!({side: {list: ["http"]}}))));
            for port in [json!(80), json!("80:90")] {
                assert_eq!(
                    faults(allow(json!({side: {list: ["http", port]}}))),
                    [format!("{side}.{list}")]
                );
            }
            let many = |count: u16| (1..=count).collect::<Vec<_>>();
            taken(&ingress(allow(
                json!({"protocol": "TCP", side: {list: many(50)}}),
            )));
            assert_eq!(
                faults(allow(json!({"protocol": "TCP", side: {list: many(51)}}))),
                [format!("{side}.{list}")]
            );
        }
    }
    let rule = typed(&ingress(allow(
        json!({"protocol": "TCP", "source": {"ports": ["80", "http", "1:2"]}}),
    )));
    let is_range = |port: &PortSpec| matches!(port, PortSpec::Range(_));
    assert_eq!(
        rule.source.ports.iter().map(is_range).collect::<Vec<_>>(),
        [true, false, true]
    );
}

#[test]
fn only_a_namespace_selector_says_global_and_then_nothing_else() {
    for side in ["source", "destination"] {
        for field in ["selector", "notSelector", "namespaceSelector"] {
            for text in ["", "all()", "has(a) && b in {'c'}", " a == 'b' "] {
                taken(&ingress(allow(json!({side: {field: text}}))));
            }
            for text in [
                "has(",
                "a = 'b'",
                "a == 'b'\n",
                "global() && has(a)",
                "!global()",
            ] {
                assert_eq!(
                    faults(allow(json!({side: {field: text}}))),
                    [format!("{side}.{field}")],
                    "{text}"
                );
            }
            let long = |length: usize| format!("a == '{}'", "x".repeat(length - 7));
            taken(&ingress(allow(json!({side: {field: long(1024)}}))));
            assert_eq!(
                faults(allow(json!({side: {field: long(1025)}}))),
                [format!("{side}.{field}")]
            );
        }
        let rule = typed(&ingress(allow(
            json!({side: {"namespaceSelector": "global()"}}),
        )));
        let entity = if side == "source" {
            rule.source
        } else {
            rule.destination
        };
        assert!(entity.namespace_selector.is_some_and(|s| s.is_global()));
        for field in ["selector", "notSelector"] {
            assert_eq!(
                faults(allow(json!({side: {field: "global()"}}))),
                [format!("{side}.{field}")]
            );
        }
        assert_eq!(
            faults(allow(
                json!({side: {"serviceAccounts": {"selector": "global()"}}})
            )),
            [format!("{side}.serviceAccounts.selector")]
        );
    }
    // `global()` inside a text is only text.
    taken(&ingress(allow(
        json!({"source": {"selector": "a == 'global()'"}}),
    )));
}

#[test]
fn service_accounts_are_names_and_a_selector() {
    let rule = typed(&ingress(allow(
        json!({"source": {"serviceAccounts": {"names": ["a", "b.c"], "selector": "has(x)"}}}),
    )));
    let accounts = rule.source.service_accounts.expect("accounts");
    assert_eq!(accounts.names.len(), 2);
    assert!(accounts.selector.is_some());
    assert_eq!(
        faults(allow(
            json!({"source": {"serviceAccounts": {"names": ["A"], "selector": "("}}})
        )),
        [
            "source.serviceAccounts.names[0]",
            "source.serviceAccounts.selector"
        ]
    );
}

#[test]
fn http_stands_in_ingress_rules_that_allow_tcp() {
    let http = json!({"methods": ["GET", "PUT"], "paths": [{"exact": "/a"}, {"prefix": "/b"}]});
    for fields in [
        json!({"http": http}),
        json!({"http": http, "protocol": "TCP"}),
        json!({"http": http, "protocol": 6}),
    ] {
        assert!(typed(&ingress(allow(fields))).has_http);
    }
    assert_eq!(faults(json!({"action": "Deny", "http": http})), ["http"]);
    assert_eq!(
        faults(allow(json!({"http": http, "protocol": "UDP"}))),
        ["http"]
    );
    assert_eq!(
        refused(&egress(allow(json!({"http": http})))),
        ["spec.egress[0].http"]
    );
    for (http, path) in [
        (json!({"methods": ["GET", "GET"]}), "http.methods[1]"),
        (
            json!({"methods": (0..21).map(|n| format!("M{n}")).collect::<Vec<_>>()}),
            "http.methods",
        ),
        (
            json!({"paths": [{"exact": "/a", "prefix": "/a"}]}),
            "http.paths[0]",
        ),
        (json!({"paths": [{}]}), "http.paths[0]"),
        (json!({"paths": [{"exact": "a"}]}), "http.paths[0].exact"),
        (
            json!({"paths": [{"prefix": "/a b"}]}),
            "http.paths[0].prefix",
        ),
        (
            json!({"paths": [{"prefix": "/a?b"}]}),
            "http.paths[0].prefix",
        ),
        (
            json!({"paths": [{"prefix": "/a#b"}]}),
            "http.paths[0].prefix",
        ),
        (
            json!({"paths": [{"exact": format!("/{}", "a".repeat(1024))}]}),
            "http.paths[0].exact",
        ),
    ] {
        let found = faults(allow(json!({"http": http})));
        assert!(found.contains(&path.to_owned()), "{path}: {found:?}");
    }
    let paths = |count: usize| vec![json!({"exact": "/a"}); count];
    taken(&ingress(allow(json!({"http": {"paths": paths(20)}}))));
    assert_eq!(
        faults(allow(json!({"http": {"paths": paths(21)}}))),
        ["http.paths"]
    );
    taken(&ingress(allow(
        json!({"http": {"paths": [{"exact": format!("/{}", "a".repeat(1023))}]}}),
    )));
}

#[test]
fn services_stand_alone_at_the_far_end_of_a_rule() {
    let service = json!({"name": "s", "namespace": "n"});
    taken(&ingress(allow(json!({"source": {"services": service}}))));
    taken(&ingress(allow(
        json!({"protocol": "TCP", "source": {"services": service, "ports": [80]}}),
    )));
    taken(&egress(allow(
        json!({"destination": {"services": service}}),
    )));
    taken(&egress(allow(
        json!({"protocol": "TCP", "source": {"ports": [80]}, "destination": {"services": service}}),
    )));
    assert_eq!(
        faults(allow(json!({"destination": {"services": service}}))),
        ["destination.services"]
    );
    assert_eq!(
        refused(&egress(allow(json!({"source": {"services": service}})))),
        ["spec.egress[0].source.services"]
    );
    for beside in [
        json!({"selector": "has(a)"}),
        json!({"notSelector": "has(a)"}),
        json!({"namespaceSelector": "has(a)"}),
        json!({"nets": ["10.0.0.0/8"]}),
        json!({"notNets": ["10.0.0.0/8"]}),
        json!({"serviceAccounts": {"names": ["a"]}}),
        json!({"ports": ["http"]}),
        json!({"notPorts": ["http"]}),
    ] {
        let mut entity = beside;
        entity["services"] = service.clone();
        assert_eq!(
            refused(&egress(allow(json!({"destination": entity})))),
            ["spec.egress[0].destination.services"]
        );
    }
    for (service, field) in [
        (json!({"namespace": "n"}), "name"),
        (json!({"name": "", "namespace": "n"}), "name"),
        (json!({"name": "s"}), "namespace"),
    ] {
        assert_eq!(
            faults(allow(json!({"source": {"services": service}}))),
            [format!("source.services.{field}")]
        );
    }
    // A policy of a namespace means its own.
    let rule = json!({"types": ["Egress"], "egress": [allow(json!({"destination": {"services": {"name": "s"}}}))]});
    taken(&resource("NetworkPolicy", "p", rule));
}

#[test]
fn annotations_of_a_rule_have_keys_and_a_size() {
    let rule = typed(&ingress(allow(
        json!({"metadata": {"annotations": {"App": "x", "owner/team": "any text: even this"}}}),
    )));
    assert_eq!(rule.annotations.len(), 2);
    let filled =
        |bytes: usize| allow(json!({"metadata": {"annotations": {"key": "x".repeat(bytes - 3)}}}));
    taken(&ingress(filled(262_144)));
    assert_eq!(faults(filled(262_145)), ["metadata.annotations"]);
    assert_eq!(
        faults(allow(json!({"metadata": {"annotations": {"a b": "x"}}}))),
        ["metadata.annotations[\"a b\"]"]
    );
    assert_eq!(
        faults(allow(json!({"metadata": {"labels": {}}}))),
        ["metadata.labels"]
    );
}

#[test]
fn a_list_has_at_most_1024_rules() {
    let rules = |count: usize| json!({"ingress": vec![json!({"action": "Pass"}); count]});
    for kind in [
        "GlobalNetworkPolicy",
        "NetworkPolicy",
        "StagedNetworkPolicy",
    ] {
        taken(&resource(kind, "p", rules(1024)));
        assert_eq!(refused(&resource(kind, "p", rules(1025))), ["spec.ingress"]);
    }
}
