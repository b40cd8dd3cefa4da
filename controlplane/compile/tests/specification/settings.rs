//! Which FelixConfiguration a node follows, field by field (specification §1.11).

use crate::build::{Given, tcp_in};
use serde_json::{Value, json};

/// Only this port is a failsafe.
fn failsafe(port: u16) -> Value {
    json!({"failsafeInboundHostPorts": [{"protocol": "TCP", "port": port}]})
}

fn selecting(port: u16, selector: &str) -> Value {
    let mut spec = failsafe(port);
    spec["nodeSelector"] = json!(selector);
    spec
}

fn of_age(name: &str, created: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "FelixConfiguration",
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": spec,
    })
}

fn labelled() -> Given {
    Given::h0().resource("Node", "n", json!({"rack": "a"}), json!({}))
}

#[test]
fn a_nodes_own_settings_win_over_selected_and_global_ones() {
    let settings = |given: Given, name: &str, spec: Value| {
        given.resource("FelixConfiguration", name, json!({}), spec)
    };
    let global = settings(labelled(), "default", failsafe(1)).accepts(tcp_in(1));
    let selected = settings(global, "racks", selecting(2, "rack == 'a'"))
        .accepts(tcp_in(2))
        .drops(tcp_in(1));
    settings(selected, "node.n", failsafe(3))
        .accepts(tcp_in(3))
        .drops(tcp_in(2));
}

#[test]
fn settings_of_other_nodes_do_not_matter() {
    labelled()
        .resource("FelixConfiguration", "node.m", json!({}), failsafe(1))
        .resource(
            "FelixConfiguration",
            "racks",
            json!({}),
            selecting(2, "rack == 'b'"),
        )
        .resource("FelixConfiguration", "stray", json!({}), failsafe(3))
        .accepts(tcp_in(22))
        .drops(tcp_in(1))
        .drops(tcp_in(2))
        .drops(tcp_in(3));
}

#[test]
fn a_field_that_one_scope_leaves_out_comes_from_the_next() {
    labelled()
        .felix(failsafe(1))
        .resource(
            "FelixConfiguration",
            "node.n",
            json!({}),
            json!({"logPrefix": "x"}),
        )
        .accepts(tcp_in(1))
        .drops(tcp_in(22));
}

#[test]
fn of_several_that_select_a_node_the_oldest_counts() {
    let young = of_age("a", "2026-02-01T00:00:00Z", selecting(1, "rack == 'a'"));
    let old = of_age("b", "2026-01-01T00:00:00Z", selecting(2, "has(rack)"));
    labelled()
        .document(&young)
        .document(&old)
        .accepts(tcp_in(2))
        .drops(tcp_in(1));
}

#[test]
fn a_nodes_labels_decide_which_settings_select_it() {
    Given::h0()
        .resource(
            "FelixConfiguration",
            "racks",
            json!({}),
            selecting(1, "rack == 'a'"),
        )
        .drops(tcp_in(1))
        .resource("Node", "n", json!({"rack": "a"}), json!({}))
        .accepts(tcp_in(1))
        .resource("Node", "n", json!({"rack": "b"}), json!({}))
        .drops(tcp_in(1));
}
