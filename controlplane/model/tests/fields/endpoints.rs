//! Endpoints, sets, profiles, nodes.

use palisade_model::{Name, SERVICE_ACCOUNT_LABEL, Spec, WorkloadEndpointSpec, decode};
use serde_json::{Value, json};

use super::{refused, resource, taken};

/// A sound workload endpoint with these fields instead or too.
fn workload(name: &str, fields: Value) -> Value {
    let mut spec = json!({
        "node": "host-0", "orchestrator": "libvirt", "workload": "w0", "endpoint": "eth0",
        "interfaceName": "cali00", "ipNetworks": ["10.66.0.2"],
    });
    for (key, value) in fields.as_object().expect("fields") {
        spec[key] = value.clone();
    }
    resource("WorkloadEndpoint", name, spec)
}

const NAME: &str = "host--0-libvirt-w0-eth0";

fn typed(value: &Value) -> WorkloadEndpointSpec {
    match taken(value).resource.spec {
        Spec::WorkloadEndpoint(endpoint) => *endpoint,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_name_of_a_workload_endpoint_is_made_of_its_parts() {
    for (fields, name) in [
        (json!({}), NAME),
        (
            json!({"orchestrator": "k8s", "pod": "web-1", "workload": "x"}),
            "host--0-k8s-web--1-eth0",
        ),
        (
            json!({"orchestrator": "cni", "containerID": "A1-b"}),
            "host--0-cni-A1--b-eth0",
        ),
        (
            json!({"orchestrator": "libnetwork", "workload": ""}),
            "host--0-libnetwork-libnetwork-eth0",
        ),
        (json!({"node": "a.b"}), "a.b-libvirt-w0-eth0"),
    ] {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            // A container id may hold what a name may not.
            assert_eq!(refused(&workload(name, fields)), ["metadata.name"]);
            continue;
        }
        taken(&workload(name, fields.clone()));
        let mut nameless = workload("", fields.clone());
        assert_eq!(taken(&nameless).resource.metadata.name, *name);
        nameless["metadata"]
            .as_object_mut()
            .expect("metadata")
            .remove("name");
        assert_eq!(taken(&nameless).json["metadata"]["name"], name);
        assert_eq!(refused(&workload("another", fields)), ["metadata.name"]);
    }
    for name in [
        "host-0-libvirt-w0-eth0",
        "host--0-libvirt-w0-eth1",
        "host--0-libvirt-w0",
    ] {
        assert_eq!(refused(&workload(name, json!({}))), ["metadata.name"]);
    }
}

#[test]
fn every_part_of_the_name_is_needed() {
    for (fields, path) in [
        (json!({"node": ""}), "spec.node"),
        (json!({"orchestrator": null}), "spec.orchestrator"),
        (json!({"workload": ""}), "spec.workload"),
        (json!({"endpoint": null}), "spec.endpoint"),
        (json!({"orchestrator": "k8s"}), "spec.pod"),
        (json!({"orchestrator": "cni"}), "spec.containerID"),
        (json!({"node": "-a"}), "spec.node"),
        (json!({"workload": "w-"}), "spec.workload"),
        (json!({"endpoint": "Eth0"}), "spec.endpoint"),
        (json!({"pod": "a_b"}), "spec.pod"),
        (json!({"containerID": "-a"}), "spec.containerID"),
        (json!({"containerID": "a.b"}), "spec.containerID"),
    ] {
        assert_eq!(refused(&workload(NAME, fields)), [path]);
    }
    let mut homeless = workload(NAME, json!({}));
    homeless["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("namespace");
    assert_eq!(refused(&homeless), ["metadata.namespace"]);
}

#[test]
fn addresses_of_a_workload_are_single() {
    let endpoint = typed(&workload(
        NAME,
        json!({"ipNetworks": ["10.66.0.2", "10.66.0.3/32", "fd00::2", "fd00::3/128"]}),
    ));
    assert_eq!(endpoint.addresses.len(), 4);
    taken(&workload(NAME, json!({"ipNetworks": []})));
    for net in ["10.66.0.0/24", "10.66.0.2/31", "fd00::/64", "x", ""] {
        assert_eq!(
            refused(&workload(NAME, json!({"ipNetworks": ["10.66.0.9", net]}))),
            ["spec.ipNetworks[1]"]
        );
    }
    for (nat, path) in [
        (
            json!({"internalIP": "10.66.0.3", "externalIP": "192.0.2.1"}),
            "spec.ipNATs[0].internalIP",
        ),
        (
            json!({"internalIP": "10.66.0.2", "externalIP": "fd00::1"}),
            "spec.ipNATs[0]",
        ),
        (
            json!({"internalIP": "10.66.0.2", "externalIP": "x"}),
            "spec.ipNATs[0].externalIP",
        ),
        (
            json!({"internalIP": "10.66.0.2"}),
            "spec.ipNATs[0].externalIP",
        ),
    ] {
        assert_eq!(refused(&workload(NAME, json!({"ipNATs": [nat]}))), [path]);
    }
    taken(&workload(
        NAME,
        json!({"ipNATs": [{"internalIP": "10.66.0.2", "externalIP": "192.0.2.1"}]}),
    ));
}

#[test]
fn links_of_a_workload_have_the_right_family_and_form() {
    taken(&workload(
        NAME,
        json!({"ipv4Gateway": "10.66.0.1", "ipv6Gateway": "fd00::1", "mac": "02:00:00:00:00:0a"}),
    ));
    for mac in [
        "02-00-00-00-00-0a",
        "0200.0000.000A",
        "02:00:00:00:00:00:00:01",
    ] {
        taken(&workload(NAME, json!({"mac": mac})));
    }
    for (fields, path) in [
        (json!({"ipv4Gateway": "fd00::1"}), "spec.ipv4Gateway"),
        (json!({"ipv4Gateway": "x"}), "spec.ipv4Gateway"),
        (json!({"ipv6Gateway": "10.0.0.1"}), "spec.ipv6Gateway"),
        (json!({"mac": "aa:bb:cc"}), "spec.mac"),
        (json!({"mac": "02:00:00:00:00:0g"}), "spec.mac"),
        (json!({"mac": "02:00-00:00:00:00"}), "spec.mac"),
        (json!({"interfaceName": "a/b"}), "spec.interfaceName"),
        (json!({"interfaceName": ".."}), "spec.interfaceName"),
        (
            json!({"interfaceName": "sixteen-letters-"}),
            "spec.interfaceName",
        ),
        (json!({"profiles": ["ok", "-no"]}), "spec.profiles[1]"),
        (
            json!({"allowSpoofedSourcePrefixes": ["10.0.0.0/8", "no"]}),
            "spec.allowSpoofedSourcePrefixes[1]",
        ),
        (
            json!({"serviceAccountName": "A"}),
            "spec.serviceAccountName",
        ),
        (
            json!({"qosControls": {"ingressPacketRate": 10001}}),
            "spec.qosControls.ingressPacketRate",
        ),
        (
            json!({"qosControls": {"egressBandwidth": -1}}),
            "spec.qosControls.egressBandwidth",
        ),
        (
            json!({"qosControls": {"dscp": 64}}),
            "spec.qosControls.dscp",
        ),
        (
            json!({"qosControls": {"speed": 1}}),
            "spec.qosControls.speed",
        ),
    ] {
        assert_eq!(refused(&workload(NAME, fields)), [path]);
    }
    taken(&workload(
        NAME,
        json!({"qosControls": {"ingressPacketRate": 10000, "dscp": "AF11"}}),
    ));
}

#[test]
fn ports_of_a_workload_have_a_name_or_a_port_of_the_host() {
    let endpoint = typed(&workload(
        NAME,
        json!({"ports": [
            {"name": "http", "protocol": "TCP", "port": 80},
            {"protocol": "UDP", "port": 53, "hostPort": 5353, "hostIP": "192.0.2.1"},
            {"name": "http", "protocol": 132, "port": 80},
        ]}),
    ));
    assert_eq!(endpoint.ports.len(), 2);
    for (port, field) in [
        (json!({"protocol": "TCP", "port": 80}), "name"),
        (json!({"name": "80", "protocol": "TCP", "port": 80}), "name"),
        (json!({"name": "a", "port": 80}), "protocol"),
        (
            json!({"name": "a", "protocol": "ICMP", "port": 80}),
            "protocol",
        ),
        (json!({"name": "a", "protocol": 10, "port": 80}), "protocol"),
        (json!({"name": "a", "protocol": "TCP"}), "port"),
        (json!({"name": "a", "protocol": "TCP", "port": 0}), "port"),
        (
            json!({"name": "a", "protocol": "TCP", "port": 65536}),
            "port",
        ),
        (
            json!({"name": "a", "protocol": "TCP", "port": 1, "hostPort": 65536}),
            "hostPort",
        ),
        (
            json!({"name": "a", "protocol": "TCP", "port": 1, "hostIP": "x"}),
            "hostIP",
        ),
    ] {
        assert_eq!(
            refused(&workload(NAME, json!({"ports": [port]}))),
            [format!("spec.ports[0].{field}")]
        );
    }
}

#[test]
fn a_workload_cannot_pose_as_another_namespace() {
    let mut value = workload(NAME, json!({"serviceAccountName": "web"}));
    value["metadata"]["generateName"] = "web-".into();
    value["metadata"]["labels"] = json!({
        "a": "b", "pcns.env": "prod", "pcsa.x": "y", "projectcalico.org/namespace": "other",
        "projectcalico.org/orchestrator": "other", SERVICE_ACCOUNT_LABEL: "root",
    });
    let decoded = taken(&value);
    assert_eq!(decoded.json["metadata"]["generateName"], "web-");
    let stored = &decoded.json["metadata"]["labels"];
    assert_eq!(
        (
            &stored["projectcalico.org/namespace"],
            &stored["projectcalico.org/orchestrator"]
        ),
        (&json!("default"), &json!("libvirt"))
    );
    let Spec::WorkloadEndpoint(endpoint) = decoded.resource.spec else {
        panic!("an endpoint")
    };
    let labels = endpoint.labels(&decoded.resource.metadata);
    let wanted = json!({
        "a": "b", "projectcalico.org/namespace": "default", "projectcalico.org/orchestrator": "libvirt",
        SERVICE_ACCOUNT_LABEL: "web",
    });
    assert_eq!(json!(labels), wanted);
    let plain = typed(&workload(NAME, json!({})));
    let mut metadata = decoded.resource.metadata;
    metadata.namespace = Name::new("ns");
    assert_eq!(plain.labels(&metadata).get(SERVICE_ACCOUNT_LABEL), None);
    assert_eq!(plain.labels(&metadata)["projectcalico.org/namespace"], "ns");
}

#[test]
fn host_endpoints_need_a_node_and_something_to_govern() {
    for spec in [
        json!({"node": "n", "interfaceName": "*"}),
        json!({"node": "a.b", "interfaceName": "eth0.10_a-b"}),
        json!({"node": "n", "expectedIPs": ["10.0.0.1", "fd00::1"]}),
        json!({"node": "n", "interfaceName": "eth0", "profiles": ["a.b", "c"], "ports": [
            {"name": "dns", "protocol": "TCP", "port": 53}, {"name": "dns", "protocol": "UDP", "port": 53}]}),
    ] {
        taken(&resource("HostEndpoint", "h.a.b", spec));
    }
    for (spec, path) in [
        (json!({"interfaceName": "eth0"}), "spec.node"),
        (json!({"node": "N", "interfaceName": "eth0"}), "spec.node"),
        (json!({"node": "n"}), "spec"),
        (
            json!({"node": "n", "interfaceName": "", "expectedIPs": []}),
            "spec",
        ),
        (
            json!({"node": "n", "interfaceName": "eth 0"}),
            "spec.interfaceName",
        ),
        (
            json!({"node": "n", "interfaceName": "**"}),
            "spec.interfaceName",
        ),
        (
            json!({"node": "n", "expectedIPs": ["10.0.0.0/8"]}),
            "spec.expectedIPs[0]",
        ),
        (
            json!({"node": "n", "expectedIPs": [""]}),
            "spec.expectedIPs[0]",
        ),
        (
            json!({"node": "n", "expectedIPs": ["10.0.0.1", "10.0.0.1"]}),
            "spec.expectedIPs[1]",
        ),
        (
            json!({"node": "n", "interfaceName": "*", "profiles": [".a"]}),
            "spec.profiles[0]",
        ),
        (
            json!({"node": "n", "interfaceName": "*", "profiles": ["a", "a"]}),
            "spec.profiles[1]",
        ),
        (
            json!({"node": "n", "interfaceName": "*", "ports": [{"protocol": "TCP", "port": 1}]}),
            "spec.ports[0].name",
        ),
        (
            json!({"node": "n", "interfaceName": "*", "ports": [{"name": "a", "port": 1}]}),
            "spec.ports[0].protocol",
        ),
        (
            json!({"node": "n", "interfaceName": "*", "ports": [{"name": "a", "protocol": "ICMP", "port": 1}]}),
            "spec.ports[0].protocol",
        ),
        (
            json!({"node": "n", "interfaceName": "*", "ports": [{"name": "a", "protocol": "TCP", "port": 0}]}),
            "spec.ports[0].port",
        ),
    ] {
        assert_eq!(refused(&resource("HostEndpoint", "h", spec)), [path]);
    }
}

#[test]
fn sets_take_addresses_and_networks_of_both_families_once() {
    for kind in ["GlobalNetworkSet", "NetworkSet"] {
        let nets = json!({"nets": ["10.0.0.1", "10.0.0.1/8", "0.0.0.0/0", "fd00::1", "::/0"]});
        taken(&resource(kind, "a.b.c", nets));
        taken(&resource(kind, "s", json!({})));
        for net in ["x", "10.0.0.0/33", "10.0.0.1-10.0.0.9", "fd00::/129", ""] {
            assert_eq!(
                refused(&resource(kind, "s", json!({"nets": [net]}))),
                ["spec.nets[0]"]
            );
        }
        assert_eq!(
            refused(&resource(
                kind,
                "s",
                json!({"nets": ["10.0.0.1", "10.0.0.1"]})
            )),
            ["spec.nets[1]"]
        );
        let mut labelled = resource(kind, "s", json!({}));
        labelled["metadata"]["labels"] = json!({"projectcalico.org/namespace": "x"});
        assert_eq!(
            refused(&labelled),
            ["metadata.labels[\"projectcalico.org/namespace\"]"]
        );
    }
}

#[test]
fn profiles_give_labels_and_rules() {
    taken(&resource(
        "Profile",
        "kns.default",
        json!({"labelsToApply": {"pcns.a": "b", "x/y": ""}}),
    ));
    for (spec, path) in [
        (
            json!({"labelsToApply": {"a b": "c"}}),
            "spec.labelsToApply[\"a b\"]",
        ),
        (
            json!({"labelsToApply": {"a": "b c"}}),
            "spec.labelsToApply.a",
        ),
        (
            json!({"egress": [{"action": "no"}]}),
            "spec.egress[0].action",
        ),
        (json!({"selector": "all()"}), "spec.selector"),
    ] {
        assert_eq!(refused(&resource("Profile", "p", spec)), [path]);
    }
}

#[test]
fn a_node_may_be_a_name_and_its_bgp_is_not_empty() {
    taken(&resource("Node", "a.b", json!({})));
    taken(&resource("Node", "n", json!({"bgp": {"asNumber": 64512}})));
    assert_eq!(
        refused(&resource("Node", "n", json!({"bgp": {}}))),
        ["spec.bgp"]
    );
    assert_eq!(
        refused(&resource(
            "Node",
            "n",
            json!({"addresses": [{"address": "x", "type": "InternalIP"}]})
        )),
        ["spec.addresses[0].address"]
    );
}

#[test]
fn the_cluster_says_who_it_is_once() {
    let decoded = taken(&resource(
        "ClusterInformation",
        "default",
        json!({"clusterGUID": "0".repeat(32)}),
    ));
    assert_eq!(decoded.json["spec"]["datastoreReady"], true);
    assert_eq!(
        refused(&resource("ClusterInformation", "other", json!({}))),
        ["metadata.name"]
    );
    assert_eq!(
        refused(&resource(
            "ClusterInformation",
            "default",
            json!({"clusterGUID": "x"})
        )),
        ["spec.clusterGUID"]
    );
    assert!(
        decode(&resource(
            "KubeControllersConfiguration",
            "default",
            json!({})
        ))
        .is_err()
    );
}
