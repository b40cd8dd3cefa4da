//! The oracle cases of specification §11.3 that concern hosts, through compiler and evaluator. Where Palisade differs
//! on purpose, the case is tested both ways. Those of workloads, namespaces and staged policies have files of their own.

mod build;
mod exempt;
mod namespaces;
mod plugins;
mod settings;
mod staged;
mod workloads;

use build::{But, CLIENT, Given, echo_in, forwarded, icmp6, tcp_in, tcp_out, v6};
use palisade_policy::{
    evaluate::{Outcome, Subject},
    packet::CtState,
    rule::Protocol,
};
use serde_json::{Value, json};

fn allow(port: u16) -> Value {
    json!({"action": "Allow", "protocol": "TCP", "destination": {"ports": [port]}})
}

fn ingress(rules: Value) -> Value {
    json!({"selector": "role == 'db'", "types": ["Ingress"], "ingress": rules})
}

const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

#[test]
fn cases_1_to_6_without_policy_only_failsafes_are_open() {
    Given::h0()
        .accepts(tcp_in(22))
        .drops(tcp_in(80))
        .drops(tcp_out(22))
        .accepts(tcp_out(53).over(Protocol::UDP))
        .drops(tcp_out(53))
        .drops(echo_in())
        .accepts(tcp_in(7600))
        .accepts(tcp_out(7601));
}

#[test]
fn cases_7_and_8_ungoverned_interfaces_and_forwarding_are_left_alone() {
    Given::h0()
        .accepts(tcp_in(80).on("eth1"))
        .accepts(forwarded("eth0", "eth1"))
        .drops(forwarded("eth0", "eth1").state(CtState::Invalid));
}

#[test]
fn cases_9_to_11_only_apply_on_forward_policy_judges_forwarded_packets() {
    let on_forward = json!({"selector": "all()", "types": ["Ingress"], "applyOnForward": true});
    Given::h0()
        .policy("p", on_forward)
        .drops(forwarded("eth0", "eth1"))
        .accepts(forwarded("eth1", "eth0"));
    Given::h0()
        .policy("p", ingress(json!([{"action": "Deny"}])))
        .accepts(forwarded("eth0", "eth1"));
}

#[test]
fn cases_12_and_13_failsafes_come_before_policy_unless_disabled() {
    let deny = json!([{"action": "Deny", "protocol": "TCP", "destination": {"ports": [22]}}]);
    Given::h0()
        .policy("p", ingress(deny))
        .accepts(tcp_in(22))
        .accepts(v6(tcp_in(22)));
    Given::h0()
        .felix(json!({"failsafeInboundHostPorts": []}))
        .drops(tcp_in(22))
        .drops(tcp_in(7600))
        .accepts(tcp_out(53).over(Protocol::UDP));
}

#[test]
fn cases_14_and_15_order_decides_then_the_name() {
    let with_order = |order: u32, rules: Value| {
        let mut spec = ingress(rules);
        spec["order"] = json!(order);
        spec
    };
    Given::h0()
        .policy("b", with_order(10, json!([{"action": "Deny"}])))
        .policy("a", with_order(20, json!([{"action": "Allow"}])))
        .drops(tcp_in(80));
    Given::h0()
        .policy("a", ingress(json!([allow(80)])))
        .policy("b", ingress(json!([{"action": "Deny"}])))
        .accepts(tcp_in(80))
        .drops(tcp_in(81));
}

#[test]
fn cases_16_and_17_pass_goes_to_the_next_tier_and_the_rest_ends() {
    let pass = json!([{"action": "Pass", "protocol": "TCP", "destination": {"ports": [80]}}]);
    let mut first = ingress(pass);
    first["tier"] = json!("t1");
    Given::h0()
        .resource("Tier", "t1", json!({}), json!({"order": 1}))
        .policy("t1.a", first)
        .policy("b", ingress(json!([allow(80), allow(81)])))
        .accepts(tcp_in(80))
        .drops(tcp_in(81));
}

#[test]
fn case_18_a_tier_that_passes_leads_to_the_profile() {
    let mut policy = ingress(json!([allow(80)]));
    policy["tier"] = json!("t1");
    Given::h0()
        .h0_with(json!({"profiles": [DEFAULT_ALLOW]}))
        .resource(
            "Tier",
            "t1",
            json!({}),
            json!({"order": 1, "defaultAction": "Pass"}),
        )
        .policy("t1.a", policy)
        .accepts(tcp_in(81));
}

#[test]
fn cases_20_and_21_types_and_the_default_allow_profile() {
    let policy = ingress(json!([allow(80)]));
    Given::h0()
        .policy("p", policy.clone())
        .accepts(tcp_in(80))
        .drops(tcp_out(443));
    Given::h0()
        .h0_with(json!({"profiles": [DEFAULT_ALLOW]}))
        .accepts(tcp_in(81))
        .policy("p", policy)
        .accepts(tcp_out(443))
        .drops(tcp_in(81));
}

#[test]
fn cases_22_to_24_pre_dnat_policy() {
    let pre_dnat = |rules: Value| {
        let mut spec = ingress(rules);
        spec["applyOnForward"] = json!(true);
        spec["preDNAT"] = json!(true);
        spec
    };
    Given::h0()
        .policy("p", pre_dnat(json!([{"action": "Deny"}])))
        .accepts(tcp_in(22))
        .drops(forwarded("eth0", "eth1"))
        .accepts(tcp_in(80).state(CtState::Established));
    Given::h0()
        .policy("p", pre_dnat(json!([allow(8080)])))
        .policy("q", ingress(json!([{"action": "Deny"}])))
        .accepts(tcp_in(8080))
        .drops(tcp_in(8081));
}

#[test]
fn case_26_a_wildcard_leaves_loopback_alone_unless_told_otherwise() {
    let local = || tcp_in(8080).on("lo").at_source("127.0.0.1").to("127.0.0.1");
    let star = || Given::nothing().endpoint("all", json!({"interfaceName": "*"}));
    star()
        .accepts(local())
        .drops(tcp_in(8080))
        .drops(tcp_in(8080).on("eth1"));
    star()
        .resource(
            "PalisadeConfiguration",
            "default",
            json!({}),
            json!({"exemptions": {"loopback": false}}),
        )
        .drops(local());
    star()
        .endpoint("lo", json!({"interfaceName": "lo"}))
        .drops(local());
}

#[test]
fn cases_27_and_28_the_smallest_name_governs_and_names_beat_addresses() {
    let with_profile = json!({"interfaceName": "eth0", "profiles": [DEFAULT_ALLOW]});
    let by_address = json!({"expectedIPs": [build::HOST]});
    Given::nothing()
        .endpoint("a", by_address.clone())
        .endpoint("b", with_profile.clone())
        .drops(tcp_in(80));
    Given::nothing()
        .endpoint("b", by_address)
        .endpoint("a", with_profile)
        .accepts(tcp_in(80));
    Given::nothing()
        .endpoint(
            "a",
            json!({"interfaceName": "eth1", "expectedIPs": [build::HOST]}),
        )
        .accepts(tcp_in(80))
        .drops(tcp_in(80).on("eth1"));
}

#[test]
fn case_34_neighbour_discovery_is_exempt_unless_told_otherwise() {
    Given::h0()
        .accepts(icmp6(tcp_in(0), 135))
        .accepts(icmp6(tcp_out(0), 143))
        .drops(icmp6(tcp_in(0), 128));
    Given::h0()
        .resource(
            "PalisadeConfiguration",
            "default",
            json!({}),
            json!({"exemptions": {"neighbourDiscovery": false}}),
        )
        .drops(icmp6(tcp_in(0), 135));
}

#[test]
fn the_control_plane_is_always_reachable_unless_told_otherwise() {
    Given::h0()
        .accepts(tcp_out(443).to("203.0.113.5"))
        .drops(tcp_out(444).to("203.0.113.5"))
        .drops(tcp_in(443).at_source("203.0.113.5"));
    Given::h0()
        .resource(
            "PalisadeConfiguration",
            "default",
            json!({}),
            json!({"exemptions": {"controlPlane": false}}),
        )
        .drops(tcp_out(443).to("203.0.113.5"));
}

#[test]
fn cases_35_and_36_families() {
    Given::h0()
        .policy(
            "p",
            ingress(json!([{"action": "Allow", "protocol": "ICMP"}])),
        )
        .accepts(echo_in())
        .drops(icmp6(tcp_in(0), 128));
    Given::h0()
        .policy("p", ingress(json!([{"action": "Allow", "protocol": 1}])))
        .accepts(echo_in());
    let deny = json!({"action": "Deny", "source": {"notNets": ["10.0.0.0/8"]}});
    Given::h0()
        .policy("p", ingress(json!([deny, {"action": "Allow"}])))
        .drops(tcp_in(80))
        .accepts(tcp_in(80).at_source("10.1.1.1"))
        .accepts(v6(tcp_in(80)));
}

#[test]
fn cases_37_to_39_selectors_without_matches() {
    let from = |entity: Value| ingress(json!([{"action": "Allow", "source": entity}]));
    Given::h0()
        .policy("p", from(json!({"selector": "role == 'nobody'"})))
        .drops(tcp_in(80));
    Given::h0()
        .set("bad", "bad", json!([CLIENT]))
        .policy("p", from(json!({"notSelector": "has(bad)"})))
        .drops(tcp_in(80))
        .accepts(tcp_in(80).at_source("192.0.2.77"));
    Given::h0()
        .policy("p", from(json!({"selector": "!has(bad)"})))
        .drops(tcp_in(80).at_source("192.0.2.77"));
}

#[test]
fn selector_and_not_selector_fold_per_object() {
    let fold = json!({"selector": "has(wide)", "notSelector": "has(narrow)"});
    Given::h0()
        .set("wide", "wide", json!(["192.0.2.0/24"]))
        .set("narrow", "narrow", json!([CLIENT]))
        .policy("p", ingress(json!([{"action": "Allow", "source": fold}])))
        .accepts(tcp_in(80))
        .drops(tcp_in(80).at_source("198.51.100.77"));
}

#[test]
fn cases_41_and_51_namespace_selectors_never_reach_hosts() {
    for selector in ["all()", "env == 'prod'", "env != 'prod'"] {
        let policy = json!({
            "selector": "all()",
            "namespaceSelector": selector,
            "types": ["Ingress"],
            "ingress": [{"action": "Allow"}],
        });
        Given::h0().policy("p", policy).drops(tcp_in(80));
    }
}

#[test]
fn case_42_named_ports_are_those_of_what_declares_them() {
    let named = json!([{"action": "Allow", "destination": {"ports": ["http"]}}]);
    let endpoint = json!({
        "expectedIPs": [build::HOST],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    });
    Given::h0()
        .h0_with(endpoint)
        .policy("p", ingress(named))
        .accepts(tcp_in(8080))
        .drops(tcp_in(8081))
        .drops(tcp_in(8080).over(Protocol::UDP));
}

#[test]
fn case_43_ranges_are_inclusive() {
    let range = json!({"action": "Allow", "protocol": "TCP", "destination": {"ports": ["80:90"]}});
    Given::h0()
        .policy("p", ingress(json!([range])))
        .accepts(tcp_in(80))
        .accepts(tcp_in(90))
        .drops(tcp_in(91));
}

#[test]
fn case_44_log_goes_on_to_the_next_rule() {
    let given = Given::h0()
        .felix(json!({"logPrefix": "%t-%n"}))
        .policy("p", ingress(json!([{"action": "Log"}, {"action": "Deny"}])));
    let trace = given.judge(&tcp_in(80)).trace;
    let outcomes: Vec<&Outcome> = trace.iter().map(|step| &step.outcome).collect();
    let log = Outcome::Log {
        prefix: "default-p: ".to_owned(),
    };
    assert_eq!(outcomes, [&log, &Outcome::Deny]);
}

#[test]
fn case_45_a_missing_profile_denies() {
    let given = Given::h0()
        .h0_with(json!({"profiles": ["gone"]}))
        .drops(tcp_in(80));
    let reason = given.judge(&tcp_in(80)).reason;
    assert!(matches!(reason, Subject::MissingProfile(_)), "{reason:?}");
}

#[test]
fn cases_46_and_47_inherited_labels() {
    let selecting = |selector: &str| json!({"selector": selector, "types": ["Ingress"], "ingress": [{"action": "Allow"}]});
    let world = || {
        Given::nothing()
            .resource(
                "Profile",
                "p1",
                json!({}),
                json!({"labelsToApply": {"a": "1", "role": "x"}}),
            )
            .resource(
                "Profile",
                "p2",
                json!({}),
                json!({"labelsToApply": {"a": "2"}}),
            )
            .h0_with(json!({"profiles": ["p1", "p2"]}))
    };
    world()
        .policy("p", selecting("a == '1'"))
        .accepts(tcp_in(80));
    world().policy("p", selecting("a == '2'")).drops(tcp_in(80));
    world()
        .policy("p", selecting("role == 'x'"))
        .drops(tcp_in(80));
}

#[test]
fn case_48_established_flows_stay() {
    Given::h0()
        .policy("p", ingress(json!([{"action": "Deny"}])))
        .accepts(tcp_in(80).state(CtState::Established))
        .accepts(tcp_in(80).state(CtState::Related))
        .drops(tcp_in(80));
}

#[test]
fn invalid_packets_are_denied_unless_told_otherwise() {
    let open = ingress(json!([{"action": "Allow"}]));
    Given::h0()
        .policy("p", open.clone())
        .drops(tcp_in(80).state(CtState::Invalid))
        .drops(tcp_in(22).state(CtState::Invalid))
        .felix(json!({"disableConntrackInvalidCheck": true}))
        .accepts(tcp_in(80).state(CtState::Invalid));
}

#[test]
fn ipv6_is_left_alone_where_it_is_off() {
    Given::h0()
        .drops(v6(tcp_in(80)))
        .felix(json!({"ipv6Support": false}))
        .accepts(v6(tcp_in(80)))
        .drops(tcp_in(80));
}

#[test]
fn a_tier_that_does_not_exist_comes_last_and_denies() {
    let mut policy = ingress(json!([allow(80)]));
    policy["tier"] = json!("gone");
    Given::h0()
        .h0_with(json!({"profiles": [DEFAULT_ALLOW]}))
        .policy("p", policy)
        .accepts(tcp_in(80))
        .drops(tcp_in(81));
}
