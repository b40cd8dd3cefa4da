//! Staged policies: in the view, in order, and without effect (specification §1.5, §4.3, §11.3).

use crate::build::{Given, tcp_in};
use palisade_compile::compile;
use palisade_model::Name;
use palisade_policy::{
    class::{Direction, PolicyList},
    evaluate::Verdict,
    ids::PolicyId,
};
use serde_json::{Value, json};

fn policy(order: u32, action: &str) -> Value {
    json!({
        "selector": "role == 'db'",
        "order": order,
        "types": ["Ingress"],
        "ingress": [{"action": action}],
    })
}

#[test]
fn case_19_staged_policies_decide_nothing() {
    let staged = |given: Given, action: &str| {
        given.resource(
            "StagedGlobalNetworkPolicy",
            "s",
            json!({}),
            policy(1, action),
        )
    };
    staged(Given::h0(), "Allow").drops(tcp_in(80));
    let open = || Given::nothing().h0_with(json!({"profiles": ["projectcalico-default-allow"]}));
    staged(open(), "Deny").accepts(tcp_in(80));
    let mut of_tier = policy(1, "Deny");
    of_tier["tier"] = json!("t1");
    open()
        .resource("Tier", "t1", json!({}), json!({"order": 1}))
        .resource("StagedGlobalNetworkPolicy", "t1.s", json!({}), of_tier)
        .accepts(tcp_in(80));
}

#[test]
fn staged_policies_travel_beside_the_enforced_ones_in_order() {
    let mut deletion = json!({"tier": "default"});
    deletion["stagedAction"] = json!("Delete");
    let given = Given::h0()
        .policy("a", policy(10, "Allow"))
        .policy("b", policy(30, "Allow"))
        .resource(
            "StagedGlobalNetworkPolicy",
            "first",
            json!({}),
            policy(5, "Deny"),
        )
        .resource(
            "StagedGlobalNetworkPolicy",
            "a",
            json!({}),
            policy(10, "Deny"),
        )
        .resource(
            "StagedGlobalNetworkPolicy",
            "last",
            json!({}),
            policy(40, "Log"),
        )
        .resource("StagedGlobalNetworkPolicy", "gone", json!({}), deletion);
    let view = compile(given.world(), &Name::new("n").expect("a name"));
    let endpoint = view.endpoints.values().next().expect("h0");
    let class = &view.classes[&endpoint.classes[&(PolicyList::Normal, Direction::Ingress)]];
    let tier = &class.tiers[0];
    let ids =
        |ids: &[&str]| -> Vec<PolicyId> { ids.iter().map(|id| PolicyId::from(*id)).collect() };
    assert_eq!(tier.policies, ids(&["gnp/a", "gnp/b"]));
    let places: Vec<usize> = tier.staged.iter().map(|(_, before)| *before).collect();
    let staged: Vec<PolicyId> = tier.staged.iter().map(|(id, _)| id.clone()).collect();
    // Of equal order and name the kind decides: enforced first.
    assert_eq!(staged, ids(&["sgnp/first", "sgnp/a", "sgnp/last"]));
    assert_eq!(places, [0, 1, 2]);
    assert!(view.policies[&PolicyId::from("sgnp/last")].staged);
    assert!(!view.policies.contains_key(&PolicyId::from("sgnp/gone")));
}

#[test]
fn staged_policies_of_a_namespace_stay_in_it() {
    let spec = json!({"types": ["Ingress"], "ingress": [{"action": "Deny"}]});
    let open = json!({"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]});
    let workload =
        json!({"interfaceName": "cali0", "ipNetworks": ["10.66.0.2"], "profiles": ["open"]});
    let given = Given::h0()
        .resource("Profile", "open", json!({}), open)
        .workload("red", "a", workload)
        .namespaced("StagedNetworkPolicy", ("red", "s"), spec.clone())
        .namespaced("StagedNetworkPolicy", ("blue", "s"), spec)
        .drops(tcp_in(80));
    let view = compile(given.world(), &Name::new("n").expect("a name"));
    let policies: Vec<&str> = view.policies.keys().map(PolicyId::as_str).collect();
    assert_eq!(policies, ["profile/open", "snp/red/s"]);
}

#[test]
fn the_trace_says_what_staged_policies_would_do() {
    let mut of_tier = policy(1, "Deny");
    of_tier["tier"] = json!("t1");
    let given = Given::nothing()
        .h0_with(json!({"profiles": ["projectcalico-default-allow"]}))
        .resource("Tier", "t1", json!({}), json!({"order": 1}))
        .resource("StagedGlobalNetworkPolicy", "t1.s", json!({}), of_tier)
        .policy("a", policy(10, "Allow"))
        .resource(
            "StagedGlobalNetworkPolicy",
            "late",
            json!({}),
            policy(20, "Deny"),
        );
    let judgement = given.judge(&tcp_in(80));
    assert_eq!(judgement.verdict, Verdict::Accept);
    let steps: Vec<(String, String)> = judgement
        .trace
        .iter()
        .map(|step| (step.subject.to_string(), step.outcome.to_string()))
        .collect();
    let steps: Vec<(&str, &str)> = steps.iter().map(|(s, o)| (&**s, &**o)).collect();
    // What stands after the decision is not reached, staged or not.
    assert_eq!(
        steps,
        [
            ("tier `t1`, `sgnp/t1.s`, rule 0", "would deny"),
            ("tier `default`, `gnp/a`, rule 0", "accept"),
        ]
    );
}
