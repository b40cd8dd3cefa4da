//! Workloads: which policy reaches them, what their absence means (specification §1.8, §4.2, §5.6, §11.3).

use crate::build::{But, CLIENT, Given, forwarded, tcp_in, tcp_out};
use palisade_policy::{packet::Packet, rule::Protocol};
use serde_json::{Value, json};

const A: &str = "10.66.0.2";
const B: &str = "10.66.0.3";

/// `a` behind cali0, `b` behind cali1, both in namespace red with a profile that allows everything.
fn two() -> Given {
    let workload = |interface: &str, address: &str, address6: &str| {
        json!({
            "interfaceName": interface,
            "ipNetworks": [format!("{address}/32"), address6],
            "profiles": ["open"],
        })
    };
    let open = json!({"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]});
    Given::nothing()
        .resource("Profile", "open", json!({}), open)
        .workload("red", "a", workload("cali0", A, "fd00:66::2"))
        .workload("red", "b", workload("cali1", B, "fd00:66::3"))
}

fn a_to_b() -> Packet {
    forwarded("cali0", "cali1").at_source(A).to(B)
}

fn selecting(name: &str, ingress: Value) -> Value {
    json!({"selector": format!("name == '{name}'"), "types": ["Ingress"], "ingress": ingress})
}

#[test]
fn profiles_decide_until_policy_selects_a_workload() {
    two().accepts(a_to_b());
    two()
        .policy("p", selecting("b", json!([])))
        .drops(a_to_b())
        .accepts(forwarded("cali1", "cali0").at_source(B).to(A));
    two()
        .policy(
            "p",
            selecting(
                "b",
                json!([{"action": "Allow", "source": {"selector": "name == 'a'"}}]),
            ),
        )
        .accepts(a_to_b())
        .drops(forwarded("eth0", "cali1").to(B));
}

#[test]
fn both_ends_must_allow() {
    let egress =
        json!({"selector": "name == 'a'", "types": ["Egress"], "egress": [{"action": "Deny"}]});
    two()
        .policy("p", selecting("b", json!([{"action": "Allow"}])))
        .policy("q", egress)
        .drops(a_to_b());
}

#[test]
fn untracked_and_pre_dnat_policy_is_not_for_workloads_and_forward_policy_is_normal() {
    for list in ["doNotTrack", "preDNAT"] {
        let mut policy = selecting("b", json!([{"action": "Deny"}]));
        policy["applyOnForward"] = json!(true);
        policy[list] = json!(true);
        two().policy("p", policy).accepts(a_to_b());
    }
    let mut policy = selecting("b", json!([{"action": "Deny"}]));
    policy["applyOnForward"] = json!(true);
    two().policy("p", policy).drops(a_to_b());
}

#[test]
fn cases_29_to_32_between_workloads_and_their_host() {
    let to_host = || tcp_in(80).on("cali0").at_source(A);
    let action = |action: &str| json!({"defaultEndpointToHostAction": action});
    two().drops(to_host());
    two().felix(action("ACCEPT")).accepts(to_host());
    two().felix(action("return")).accepts(to_host());
    two()
        .felix(action("Accept"))
        .endpoint("all", json!({"interfaceName": "*"}))
        .accepts(to_host());
    two()
        .policy("p", selecting("a", json!([{"action": "Deny"}])))
        .accepts(tcp_out(80).on("cali0"));
    two()
        .drops(forwarded("cali9", "eth0"))
        .drops(forwarded("eth0", "cali9"));
}

#[test]
fn case_33_tunnels_do_not_leave_a_workload() {
    let vxlan = |mut packet: Packet| {
        packet.destination_port = Some(4789);
        packet.over(Protocol::UDP)
    };
    two()
        .drops(vxlan(a_to_b()))
        .drops(a_to_b().over(Protocol(4)))
        .accepts(a_to_b().over(Protocol::UDP));
    two()
        .felix(json!({"allowVXLANPacketsFromWorkloads": true}))
        .accepts(vxlan(a_to_b()))
        .drops(a_to_b().over(Protocol(4)));
    two()
        .felix(json!({"allowIPIPPacketsFromWorkloads": true, "vxlanPort": 80}))
        .accepts(a_to_b().over(Protocol(4)))
        .accepts(vxlan(a_to_b()))
        .drops(a_to_b().over(Protocol::UDP));
}

#[test]
fn a_workload_without_addresses_is_not_there_yet() {
    let bare = |addresses: Value| {
        let spec = json!({"interfaceName": "cali9", "profiles": ["open"], "ipNetworks": addresses});
        two().workload("red", "c", spec)
    };
    let packet = || forwarded("cali9", "eth0").at_source("10.66.0.4").to(CLIENT);
    bare(json!([])).drops(packet());
    bare(json!(["10.66.0.4"])).accepts(packet());
}

fn spoofing() -> Given {
    let spec = json!({
        "interfaceName": "cali9",
        "profiles": ["open"],
        "ipNetworks": ["10.66.0.4"],
        "allowSpoofedSourcePrefixes": ["192.0.2.9/24", "fd00:99::/64"],
    });
    two().workload("red", "c", spec)
}

#[test]
fn a_workload_that_asks_for_foreign_sources_counts_as_missing() {
    let own = || forwarded("cali9", "eth0").at_source("10.66.0.4").to(CLIENT);
    let foreign = || forwarded("cali9", "eth0").at_source("192.0.2.7").to(CLIENT);
    spoofing().drops(own()).drops(foreign());
    spoofing()
        .felix(json!({"workloadSourceSpoofing": "Disabled"}))
        .drops(own())
        .drops(foreign());
}

#[test]
fn where_any_source_may_be_asked_for_a_workload_has_those_it_asks_for() {
    let from = |source| forwarded("cali9", "eth0").at_source(source).to(CLIENT);
    let from6 = |source| forwarded("cali9", "eth0").at_source(source).to("fd00::9");
    spoofing()
        .felix(json!({"workloadSourceSpoofing": "any"}))
        .accepts(from("10.66.0.4"))
        .accepts(from("192.0.2.7"))
        .drops(from("192.0.3.7"))
        .accepts(from6("fd00:99::7"))
        .drops(from6("fd00:98::7"))
        .drops(a_to_b().at_source("192.0.2.7"));
}

#[test]
fn a_nodes_own_setting_for_foreign_sources_wins() {
    let from = || forwarded("cali9", "eth0").at_source("192.0.2.7").to(CLIENT);
    let own = |value: &str| {
        let spec = json!({"workloadSourceSpoofing": value});
        spoofing().resource("FelixConfiguration", "node.n", json!({}), spec)
    };
    own("Any")
        .felix(json!({"workloadSourceSpoofing": "Disabled"}))
        .accepts(from());
    own("Disabled")
        .felix(json!({"workloadSourceSpoofing": "Any"}))
        .drops(from());
}

#[test]
fn named_ports_of_workloads_are_looked_up_by_address() {
    let server = json!({
        "interfaceName": "cali1",
        "ipNetworks": [B],
        "profiles": ["open"],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    });
    let rule = json!([{"action": "Allow", "destination": {"ports": ["http"]}}]);
    let to = |port: u16| {
        let mut packet = a_to_b();
        packet.destination_port = Some(port);
        packet
    };
    two()
        .workload("red", "b", server)
        .policy("p", selecting("b", rule))
        .accepts(to(8080))
        .drops(to(8081));
}

#[test]
fn host_endpoints_reach_workloads_by_expected_address() {
    let from_host = json!([{"action": "Allow", "source": {"selector": "role == 'db'"}}]);
    two()
        .h0_with(json!({"expectedIPs": ["192.0.2.1"], "profiles": ["open"]}))
        .policy("p", selecting("b", from_host))
        .accepts(forwarded("eth0", "cali1").at_source("192.0.2.1").to(B))
        .drops(forwarded("eth0", "cali1").at_source(CLIENT).to(B));
}
