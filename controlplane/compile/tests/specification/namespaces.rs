//! Namespaces and service accounts: policies, sets and selectors of them (specification §1.4, §1.9, §2.5, §2.6).

use crate::build::{But, CLIENT, Given, forwarded, tcp_in};
use palisade_policy::packet::Packet;
use serde_json::{Value, json};

const RED: &str = "10.66.0.2";
const BLUE: &str = "10.66.0.3";

/// Workload `r` of namespace red behind cali0 and `b` of blue behind cali1, each under account `app` of its namespace.
fn two() -> Given {
    let profile = |env: &str| {
        json!({
            "ingress": [{"action": "Allow"}],
            "egress": [{"action": "Allow"}],
            "labelsToApply": {"pcns.env": env, "pcns.projectcalico.org/name": env},
        })
    };
    let account = |team: &str| json!({"labelsToApply": {"pcsa.team": team}});
    let workload = |namespace: &str, interface: &str, address: &str| {
        json!({
            "interfaceName": interface,
            "ipNetworks": [address],
            "profiles": [format!("kns.{namespace}"), format!("ksa.{namespace}.app")],
            "serviceAccountName": "app",
        })
    };
    Given::nothing()
        .resource("Profile", "kns.red", json!({}), profile("dev"))
        .resource("Profile", "kns.blue", json!({}), profile("prod"))
        .resource("Profile", "ksa.red.app", json!({}), account("one"))
        .resource("Profile", "ksa.blue.app", json!({}), account("two"))
        .workload("red", "r", workload("red", "cali0", RED))
        .workload("blue", "b", workload("blue", "cali1", BLUE))
}

/// Where packets from an address arrive: workloads cannot use another's.
fn way_of(source: &str) -> &'static str {
    match source {
        RED => "cali0",
        BLUE => "cali1",
        _ => "eth0",
    }
}

fn to_red(source: &str) -> Packet {
    forwarded(way_of(source), "cali0").at_source(source).to(RED)
}

fn to_blue(source: &str) -> Packet {
    forwarded(way_of(source), "cali1")
        .at_source(source)
        .to(BLUE)
}

fn allow_from(source: Value) -> Value {
    json!({"types": ["Ingress"], "ingress": [{"action": "Allow", "source": source}]})
}

#[test]
fn a_policy_of_a_namespace_selects_in_it_only() {
    let deny = json!({"types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    two()
        .namespaced("NetworkPolicy", ("red", "p"), deny.clone())
        .drops(to_red(BLUE))
        .accepts(to_blue(RED));
    // A host endpoint has no namespace.
    Given::h0()
        .h0_with(json!({"profiles": ["projectcalico-default-allow"]}))
        .namespaced("NetworkPolicy", ("red", "p"), deny)
        .accepts(tcp_in(80));
}

#[test]
fn case_40_selectors_of_a_namespaced_policy_stay_in_its_namespace_unless_told() {
    let host = |source: Value| {
        two().h0_with(json!({"expectedIPs": [CLIENT]})).namespaced(
            "NetworkPolicy",
            ("red", "p"),
            allow_from(source),
        )
    };
    host(json!({"selector": "role == 'db'"})).drops(to_red(CLIENT));
    host(json!({"selector": "role == 'db'", "namespaceSelector": "global()"}))
        .accepts(to_red(CLIENT));
    host(json!({"selector": "all()"}))
        .drops(to_red(CLIENT))
        .drops(to_red(BLUE))
        .accepts(to_red(RED));
    // Without any selector it is anybody.
    host(json!({}))
        .accepts(to_red(CLIENT))
        .accepts(to_red(BLUE));
    // A negative selector is about the namespace's own.
    host(json!({"notSelector": "name == 'nobody'"}))
        .accepts(to_red(RED))
        .drops(to_red(BLUE));
}

#[test]
fn namespace_selectors_see_the_labels_of_namespaces() {
    let from = |selector: &str| {
        let source = json!({"namespaceSelector": selector});
        two().namespaced("NetworkPolicy", ("red", "p"), allow_from(source))
    };
    from("env == 'prod'")
        .accepts(to_red(BLUE))
        .drops(to_red(RED));
    from("env != 'prod'")
        .accepts(to_red(RED))
        .drops(to_red(BLUE))
        .drops(to_red(CLIENT));
    from("all()").accepts(to_red(BLUE)).drops(to_red(CLIENT));
}

#[test]
fn global_policy_selects_by_namespace() {
    let of = |namespace: &str| json!({"namespaceSelector": namespace, "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    two()
        .policy("p", of("projectcalico.org/name == 'prod'"))
        .drops(to_blue(RED))
        .accepts(to_red(BLUE));
    let labelled = json!({
        "selector": "projectcalico.org/namespace == 'red'",
        "types": ["Ingress"],
        "ingress": [{"action": "Deny"}],
    });
    two()
        .policy("p", labelled)
        .drops(to_red(BLUE))
        .accepts(to_blue(RED));
}

#[test]
fn service_accounts_are_found_by_name_and_by_label() {
    let from = |accounts: Value, everywhere: bool| {
        let mut source = json!({"serviceAccounts": accounts});
        if everywhere {
            source["namespaceSelector"] = json!("all()");
        }
        two().namespaced("NetworkPolicy", ("red", "p"), allow_from(source))
    };
    from(json!({"names": ["app"]}), false)
        .accepts(to_red(RED))
        .drops(to_red(BLUE));
    from(json!({"names": ["app"]}), true).accepts(to_red(BLUE));
    from(json!({"names": ["other"]}), true).drops(to_red(BLUE));
    from(json!({"selector": "team == 'two'"}), true)
        .accepts(to_red(BLUE))
        .drops(to_red(RED));
    let subject = |team: &str| {
        json!({
            "serviceAccountSelector": format!("team == '{team}'"),
            "types": ["Ingress"],
            "ingress": [{"action": "Deny"}],
        })
    };
    two()
        .policy("p", subject("two"))
        .drops(to_blue(RED))
        .accepts(to_red(BLUE));
}

#[test]
fn sets_of_a_namespace_belong_to_it() {
    let from = |source: Value| {
        two()
            .with_labelled_set("red", "mine")
            .namespaced("NetworkPolicy", ("red", "p"), allow_from(source.clone()))
            .namespaced("NetworkPolicy", ("blue", "p"), allow_from(source))
    };
    from(json!({"selector": "kind == 'mine'"}))
        .accepts(to_red(CLIENT))
        .drops(to_blue(CLIENT));
    // It inherits the labels of its namespace.
    from(json!({"namespaceSelector": "env == 'dev'"}))
        .accepts(to_blue(CLIENT))
        .accepts(to_blue(RED));
    from(json!({"selector": "kind == 'mine'", "namespaceSelector": "global()"}))
        .drops(to_red(CLIENT));
}

#[test]
fn a_workload_cannot_pose_as_another_namespaces() {
    let deny = json!({"selector": "pcns.env == 'prod'", "types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    let posing = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "WorkloadEndpoint",
        "metadata": {
            "name": "n-vm-r-eth0",
            "namespace": "red",
            "labels": {"pcns.env": "prod", "projectcalico.org/namespace": "blue"},
        },
        "spec": {"node": "n", "orchestrator": "vm", "workload": "r", "endpoint": "eth0",
            "interfaceName": "cali0", "ipNetworks": [RED], "profiles": ["kns.red"]},
    });
    let in_blue = json!({"types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    two()
        .document(&posing)
        .policy("p", deny)
        .namespaced("NetworkPolicy", ("blue", "p"), in_blue)
        .accepts(to_red(BLUE))
        .drops(to_blue(RED));
}
