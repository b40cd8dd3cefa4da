//! Kinds: defaults written back, typed forms, names, what is refused on write.

use palisade_model::{
    Decoded, FelixScope, Kind, PolicyStage, PolicyTypes, Resource, ResourceId, Spec, decode,
    unenforced,
};
use serde_json::{Value, json};

fn accepted(kind: &str, name: &str, spec: Value) -> Decoded {
    let version = if kind == "PalisadeConfiguration" {
        "palisade.dev/v1"
    } else {
        "projectcalico.org/v3"
    };
    let value =
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    decode(&value).unwrap_or_else(|problems| panic!("{value}: {problems:?}"))
}

fn paths(value: &Value) -> Vec<String> {
    let problems = decode(value).expect_err("invalid");
    problems
        .iter()
        .map(|problem| problem.path.to_string())
        .collect()
}

#[test]
fn a_policy_gets_tier_types_and_label_written_back() {
    let decoded = accepted(
        "GlobalNetworkPolicy",
        "p",
        json!({"order": 10.0, "egress": [{"action": "Allow"}]}),
    );
    assert_eq!(
        decoded.json,
        json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "p", "labels": {"projectcalico.org/tier": "default"}},
            "spec": {"tier": "default", "order": 10, "types": ["Egress"], "egress": [{"action": "Allow"}]},
        })
    );
    let Spec::GlobalNetworkPolicy(policy) = decoded.resource.spec else {
        panic!("a policy")
    };
    assert_eq!(
        (policy.types, policy.order, policy.stage),
        (PolicyTypes::Egress, Some(10.0), PolicyStage::Normal)
    );
    assert!(policy.selector.is_all());
}

#[test]
fn types_are_inferred_from_the_rules_unless_given() {
    let rule = json!([{"action": "Deny"}]);
    for (spec, types) in [
        (json!({}), PolicyTypes::Ingress),
        (json!({"ingress": rule}), PolicyTypes::Ingress),
        (json!({"egress": rule}), PolicyTypes::Egress),
        (json!({"ingress": rule, "egress": rule}), PolicyTypes::Both),
        (
            json!({"egress": rule, "types": ["Ingress"]}),
            PolicyTypes::Ingress,
        ),
    ] {
        let Spec::GlobalNetworkPolicy(policy) = accepted("GlobalNetworkPolicy", "p", spec.clone())
            .resource
            .spec
        else {
            panic!("a policy")
        };
        assert_eq!(policy.types, types, "{spec}");
    }
}

#[test]
fn what_was_accepted_is_accepted_again_unchanged() {
    for (kind, name, spec) in [
        (
            "GlobalNetworkPolicy",
            "p",
            json!({"order": 0.5, "selector": "a == 'b'", "ingress": [{
            "action": "Allow", "protocol": "TCP", "source": {"nets": ["10.0.0.0/8"], "notPorts": ["http", 8080, "1:9"]},
            "metadata": {"annotations": {"a": "b"}}}]}),
        ),
        (
            "GlobalNetworkSet",
            "s",
            json!({"nets": ["10.0.0.1", "fd00::/8"]}),
        ),
        (
            "HostEndpoint",
            "h",
            json!({"node": "n", "interfaceName": "*", "expectedIPs": ["10.0.0.1"],
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}),
        ),
        ("Tier", "t", json!({})),
        (
            "Profile",
            "p",
            json!({"labelsToApply": {"pcns.env": "dev"}, "ingress": [{"action": "Pass"}]}),
        ),
        (
            "FelixConfiguration",
            "default",
            json!({"failsafeInboundHostPorts": [{"protocol": "tcp", "port": 22}],
            "nftablesMarkMask": 4294901760_u32, "healthTimeoutOverrides": [{"name": "a", "timeout": "5s"}], "logSeverityScreen": "info"}),
        ),
        (
            "Node",
            "n",
            json!({"bgp": {"ipv4Address": "10.0.0.1/24"}, "addresses": [{"address": "10.0.0.1"}]}),
        ),
        (
            "PalisadeConfiguration",
            "default",
            json!({"exemptions": {"loopback": false}}),
        ),
    ] {
        let first = accepted(kind, name, spec);
        let second = decode(&first.json).expect("accepted once");
        assert_eq!(
            (&first.json, &first.resource),
            (&second.json, &second.resource)
        );
    }
}

#[test]
fn built_in_tiers_keep_their_order_and_a_tier_without_one_is_last() {
    let Decoded {
        resource, warnings, ..
    } = accepted("Tier", "app", json!({}));
    let Spec::Tier(tier) = resource.spec else {
        panic!("a tier")
    };
    assert_eq!((tier.order, warnings.len()), (None, 1));
    let default = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "default"}, "spec": {}});
    assert_eq!(paths(&default), ["spec.order"]);
}

#[test]
fn exemptions_are_on_unless_switched_off() {
    let decoded = accepted(
        "PalisadeConfiguration",
        "default",
        json!({"exemptions": {"loopback": false}}),
    );
    let Spec::PalisadeConfiguration(spec) = decoded.resource.spec else {
        panic!("a configuration")
    };
    assert!(
        !spec.exemptions.loopback
            && spec.exemptions.neighbour_discovery
            && spec.exemptions.control_plane
    );
    assert_eq!(decoded.json["spec"]["exemptions"]["dhcp6"], json!(true));
}

#[test]
fn felix_settings_are_typed_and_idle_ones_warned_about() {
    let decoded = accepted(
        "FelixConfiguration",
        "node.h1",
        json!({
            "failsafeInboundHostPorts": [], "failsafeOutboundHostPorts": [{"protocol": "Sctp", "port": 1, "net": "10.0.0.1/8"}],
            "iptablesFilterDenyAction": "reject", "defaultEndpointToHostAction": "RETURN", "logActionRateLimit": "10/minute",
            "bpfEnabled": true, "reportingInterval": "1m30s",
        }),
    );
    let warned: Vec<_> = decoded
        .warnings
        .iter()
        .map(|warning| warning.path.to_string())
        .collect();
    assert_eq!(warned, ["spec.bpfEnabled", "spec.reportingInterval"]);
    let Spec::FelixConfiguration(felix) = decoded.resource.spec else {
        panic!("settings")
    };
    assert!(matches!(&felix.scope, FelixScope::Node(name) if *name == "h1"));
    assert_eq!(felix.failsafe_inbound.as_deref(), Some(&[][..]));
    assert_eq!(
        felix
            .failsafe_outbound
            .map(|list| list[0].net.map(|net| net.to_string())),
        Some(Some("10.0.0.0/8".to_owned()))
    );
    let bad = json!({"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}, "spec": {
        "failsafeInboundHostPorts": [{"protocol": "tcp", "port": 22, "net": "10.0.0.1"}], "reportingInterval": "soon",
        "nftablesMarkMask": 3, "bpfEnabled": "yes", "nodeSelector": "all()", "failsafeInbound": []}});
    let mut found = paths(&bad);
    found.sort();
    assert_eq!(
        found,
        [
            "spec.bpfEnabled",
            "spec.failsafeInbound",
            "spec.failsafeInboundHostPorts[0].net",
            "spec.nftablesMarkMask",
            "spec.nodeSelector",
            "spec.reportingInterval"
        ]
    );
}

#[test]
fn the_wrong_group_or_scope_is_refused_with_the_right_one() {
    let of = |version: &str, kind: &str, metadata: Value| json!({"apiVersion": version, "kind": kind, "metadata": metadata});
    assert_eq!(
        paths(&of(
            "crd.projectcalico.org/v1",
            "Tier",
            json!({"name": "t"})
        )),
        ["apiVersion"]
    );
    assert_eq!(
        paths(&of(
            "projectcalico.org/v3",
            "PalisadeConfiguration",
            json!({"name": "default"})
        )),
        ["apiVersion"]
    );
    assert_eq!(
        paths(&of(
            "projectcalico.org/v3",
            "KubeControllersConfiguration",
            json!({"name": "default"})
        )),
        ["kind"]
    );
    assert_eq!(
        paths(&of(
            "projectcalico.org/v3",
            "NetworkPolicy",
            json!({"name": "p"})
        )),
        ["metadata.namespace"]
    );
    assert_eq!(
        paths(&of(
            "projectcalico.org/v3",
            "Tier",
            json!({"name": "t", "namespace": "default"})
        )),
        ["metadata.namespace"]
    );
    assert!(decode(&of("palisade.dev/v1", "Tier", json!({"name": "t"}))).is_ok());
    let plugin = json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "p"},
        "spec": {"ingress": [{"action": "Allow", "plugin": {"name": "x"}}]}});
    assert_eq!(paths(&plugin), ["spec.ingress[0].plugin"]);
}

#[test]
fn what_is_not_enforced_is_named_by_field() {
    let unenforced_in = |spec: Value| -> Vec<String> {
        let resource: Resource = accepted("GlobalNetworkPolicy", "p", spec).resource;
        unenforced(&resource)
            .iter()
            .map(|found| found.path.to_string())
            .collect()
    };
    for list in ["applyOnForward", "doNotTrack", "preDNAT"] {
        let spec = json!({"ingress": [{"action": "Allow"}], "applyOnForward": true, list: true});
        assert!(unenforced_in(spec).is_empty(), "{list}");
    }
    assert_eq!(
        unenforced_in(
            json!({"ingress": [{"action": "Deny"}, {"action": "Allow", "http": {"methods": ["GET"]}, "source": {
            "services": {"name": "s", "namespace": "n"}}}]})
        ),
        ["spec.ingress[1].http", "spec.ingress[1].source.services"]
    );
    let workload = |spoofs: Value| {
        json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "WorkloadEndpoint",
            "metadata": {"name": "n-vm-a-eth0", "namespace": "red"},
            "spec": {"node": "n", "orchestrator": "vm", "workload": "a", "endpoint": "eth0",
                "allowSpoofedSourcePrefixes": spoofs},
        })
    };
    let of = |document: &Value| unenforced(&decode(document).expect("valid").resource);
    let asks = |rule: Value| {
        let document = json!({"apiVersion": "palisade.dev/v1", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "p"}, "spec": {"ingress": [rule]}});
        let found = of(&document);
        found
            .iter()
            .map(|found| found.path.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        asks(json!({"action": "Allow", "plugin": {"name": "x"}, "http": {"methods": ["GET"]}})),
        ["spec.ingress[0].http"]
    );
    assert!(asks(json!({"action": "Allow", "plugin": {"name": "x"}})).is_empty());
    assert_eq!(of(&workload(json!([]))), []);
    assert_eq!(of(&workload(json!(["192.0.2.0/24"]))), []);
}

#[test]
fn kinds_are_found_by_every_name_people_use() {
    for (text, kind) in [
        ("gnp", Kind::GlobalNetworkPolicy),
        ("HEPs", Kind::HostEndpoint),
        ("tiers", Kind::Tier),
        ("node", Kind::Node),
    ] {
        assert_eq!(Kind::parse(text), Some(kind));
    }
    assert_eq!(Kind::parse("pod"), None);
    assert_eq!(Kind::from_document("gnp"), None);
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(&kind.plural()), Some(kind));
    }
}

#[test]
fn store_keys_lead_back_to_their_resource() {
    let id = accepted("Tier", "app", json!({})).resource.id();
    assert_eq!(id.store_key(), "/r/Tier/-/app");
    assert_eq!(ResourceId::from_store_key("/r/Tier/-/app"), Some(id));
    for key in [
        "/r/Tier/ns/app",
        "/r/Pod/-/a",
        "/r/Tier/-/A",
        "/r/Tier/-",
        "/x",
    ] {
        assert_eq!(ResourceId::from_store_key(key), None, "{key}");
    }
}
