//! Plugins: which ones a node runs, and what becomes of the conditions that they decide.

use crate::build::{Given, tcp_in};
use palisade_compile::compile;
use palisade_model::Name;
use palisade_policy::{
    evaluate::Outcome,
    ids::PluginId,
    packet::Packet,
    plugin::{Answer, OnFailure, PluginCondition, PluginKind, Sink},
    view::View,
};
use serde_json::{Value, json};

fn view(given: &Given) -> View {
    compile(given.world(), &Name::new("n").expect("a name"))
}

trait Plugins {
    fn plugin(self, name: &str, kind: &str, more: Value) -> Self;
    fn asking(self, policy: &str, action: &str, asked: Value) -> Self;
}

impl Plugins for Given {
    fn plugin(self, name: &str, kind: &str, more: Value) -> Self {
        let mut spec = json!({
            "kind": kind, "size": 1000, "digest": format!("sha256:{}", "0a".repeat(32)),
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.resource("Plugin", name, json!({}), spec)
    }

    /// A policy that asks a plugin about port 80, and otherwise does the opposite.
    fn asking(self, policy: &str, action: &str, asked: Value) -> Self {
        let other = if action == "Allow" { "Deny" } else { "Allow" };
        let ports = json!({"ports": [80]});
        self.document(&json!({
            "apiVersion": "palisade.dev/v1",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": policy},
            "spec": {"selector": "role == 'db'", "ingress": [
                {"action": action, "protocol": "TCP", "destination": ports, "plugin": asked},
                {"action": other},
            ]},
        }))
    }
}

fn condition(settings: &str, on_failure: OnFailure) -> PluginCondition {
    PluginCondition {
        plugin: PluginId::new("plugin/geo"),
        settings: settings.to_owned(),
        on_failure,
    }
}

fn answered(mut packet: Packet, condition: PluginCondition, answer: Answer) -> Packet {
    packet.answers.insert(condition, answer);
    packet
}

#[test]
fn the_answer_of_a_plugin_decides_whether_its_rule_matches() {
    let is = |answer| answered(tcp_in(80), condition("{}", OnFailure::NoMatch), answer);
    Given::h0()
        .plugin("geo", "matcher", json!({}))
        .asking("p", "Allow", json!({"name": "geo"}))
        .accepts(is(Answer::Match))
        .drops(is(Answer::NoMatch))
        .drops(is(Answer::Failed))
        .drops(answered(
            tcp_in(81),
            condition("{}", OnFailure::NoMatch),
            Answer::Match,
        ));
}

#[test]
fn the_trace_says_what_a_rule_asked_and_another_rule_that_decided_is_the_reason() {
    let given = Given::h0().plugin("geo", "matcher", json!({})).asking(
        "p",
        "Allow",
        json!({"name": "geo"}),
    );
    let asked = condition("{}", OnFailure::NoMatch);
    let trace = |packet: &Packet| {
        let judgement = given.judge(packet);
        let outcomes = judgement.trace.into_iter().map(|step| step.outcome);
        (outcomes.collect::<Vec<_>>(), judgement.reason.to_string())
    };
    let asks = |answer| Outcome::Asked {
        condition: asked.clone(),
        answer,
    };
    let (outcomes, reason) = trace(&answered(tcp_in(80), asked.clone(), Answer::NoMatch));
    assert_eq!(outcomes, [asks(Answer::NoMatch), Outcome::Deny]);
    assert!(reason.ends_with("rule 1"), "{reason}");
    let (outcomes, reason) = trace(&answered(tcp_in(80), asked.clone(), Answer::Match));
    assert_eq!(outcomes, [asks(Answer::Match), Outcome::Accept]);
    assert!(reason.ends_with("rule 0"), "{reason}");
    let (outcomes, _) = trace(&tcp_in(80));
    assert_eq!(outcomes, [asks(Answer::Failed), Outcome::Deny]);
    let (outcomes, _) = trace(&tcp_in(81));
    assert_eq!(outcomes, [Outcome::Deny], "nothing is asked");
}

#[test]
fn without_an_answer_a_rule_does_what_allows_less_unless_it_says_otherwise() {
    let given = || Given::h0().plugin("geo", "matcher", json!({}));
    given()
        .asking("p", "Allow", json!({"name": "geo"}))
        .drops(tcp_in(80));
    given()
        .asking("p", "Deny", json!({"name": "geo"}))
        .drops(tcp_in(80))
        .accepts(tcp_in(81));
    given()
        .asking("p", "Allow", json!({"name": "geo", "onFailure": "match"}))
        .accepts(tcp_in(80));
    given()
        .asking("p", "Deny", json!({"name": "geo", "onFailure": "no-match"}))
        .accepts(tcp_in(80));
    given()
        .asking("p", "Deny", json!({"name": "geo", "onFailure": "allow"}))
        .accepts(tcp_in(80));
    given()
        .asking("p", "Allow", json!({"name": "geo", "onFailure": "deny"}))
        .drops(tcp_in(80));
}

#[test]
fn the_plugin_says_what_failure_means_for_rules_that_do_not() {
    Given::h0()
        .plugin("geo", "matcher", json!({"onFailure": "match"}))
        .asking("p", "Allow", json!({"name": "geo"}))
        .accepts(tcp_in(80));
    Given::h0()
        .plugin("geo", "matcher", json!({"onFailure": "match"}))
        .asking(
            "p",
            "Allow",
            json!({"name": "geo", "onFailure": "no-match"}),
        )
        .drops(tcp_in(80));
}

#[test]
fn a_matcher_that_is_not_there_fails() {
    for given in [
        Given::h0(),
        Given::h0().plugin("geo", "auditor", json!({})),
        Given::h0().plugin("geo", "matcher", json!({"size": null})),
    ] {
        let asked = |on_failure: &str| json!({"name": "geo", "onFailure": on_failure});
        let given = given
            .asking("p", "Allow", asked("no-match"))
            .drops(tcp_in(80));
        let given = given
            .asking("p", "Allow", asked("match"))
            .accepts(tcp_in(80));
        let given = given.asking("p", "Allow", asked("deny")).drops(tcp_in(80));
        let given = given
            .asking("p", "Deny", asked("allow"))
            .accepts(tcp_in(80));
        let view = view(&given);
        assert_eq!(view.check(), []);
        assert!(
            view.classes
                .values()
                .all(|class| class.conditions(&view).is_empty())
        );
    }
}

#[test]
fn a_node_runs_the_matchers_that_its_policies_name_and_every_auditor() {
    let settings = json!({"z": {"y": 1, "x": [true]}, "a": "b"});
    let sinks = json!({"out": {"stdout": {}}, "siem": {"file": {"path": "/x", "maxBytes": 5000, "keep": 1}}});
    let given = Given::h0()
        .plugin(
            "geo",
            "matcher",
            json!({"limits": {"fuel": 7, "memoryMiB": 2, "payload": 9}}),
        )
        .plugin("dns", "matcher", json!({}))
        .plugin(
            "redact",
            "auditor",
            json!({"settings": settings, "sinks": sinks}),
        )
        .asking("p", "Allow", json!({"name": "geo", "settings": settings}))
        .resource(
            "GlobalNetworkPolicy",
            "elsewhere",
            json!({}),
            json!({"selector": "role == 'other'"}),
        );
    let view = view(&given);
    assert_eq!(view.check(), []);
    let names: Vec<_> = view.plugins.keys().map(PluginId::as_str).collect();
    assert_eq!(names, ["plugin/geo", "plugin/redact"]);
    let geo = &view.plugins[&PluginId::new("plugin/geo")];
    assert_eq!(
        (geo.kind, geo.size, geo.fuel, geo.memory, geo.payload),
        (PluginKind::Matcher, 1000, 7, 2 << 20, 9)
    );
    let redact = &view.plugins[&PluginId::new("plugin/redact")];
    assert_eq!(redact.settings, r#"{"a":"b","z":{"x":[true],"y":1}}"#);
    assert_eq!(redact.sinks["out"], Sink::Stdout);
    let conditions: Vec<_> = view
        .classes
        .values()
        .flat_map(|c| c.conditions(&view))
        .collect();
    assert_eq!(
        conditions,
        [&condition(&redact.settings, OnFailure::NoMatch)]
    );
}

/// Labels of endpoints of the node, keys and values.
fn labels(given: &Given) -> Vec<(String, String)> {
    let endpoints = view(given).endpoints;
    let labels = endpoints.values().flat_map(|endpoint| &endpoint.labels);
    labels
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[test]
fn endpoints_carry_their_labels_and_those_of_their_profiles_while_a_plugin_may_ask() {
    let given = || {
        let spec = json!({"labelsToApply": {"zone": "inner", "role": "inherited"}});
        Given::nothing()
            .resource("Profile", "inner", json!({}), spec)
            .resource(
                "HostEndpoint",
                "h0",
                json!({"role": "db"}),
                json!({"node": "n", "interfaceName": "eth0", "profiles": ["inner"]}),
            )
    };
    assert_eq!(labels(&given()), []);
    let missing = json!({"size": null});
    assert_eq!(labels(&given().plugin("reads", "auditor", missing)), []);
    let labelled = given().plugin("reads", "auditor", json!({}));
    let expected = [("role", "db"), ("zone", "inner")];
    assert_eq!(
        labels(&labelled),
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}
