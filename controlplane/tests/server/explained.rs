//! What becomes of packets that rules ask plugins about.

use crate::{
    author::{plugin, push},
    guests::bytes,
    harness::{Node, Plane, endpoint},
};
use palisade_proto::v1::{self, PluginAnswer, Verdict};
use serde_json::json;
use tonic::{Code, Status};

fn query() -> v1::ExplainRequest {
    v1::ExplainRequest {
        node: "n".to_owned(),
        out_interface: "eth0".to_owned(),
        protocol: 17,
        source: vec![10, 0, 0, 1],
        source_port: 40000,
        destination: vec![10, 0, 0, 9],
        destination_port: 5353,
        ..v1::ExplainRequest::default()
    }
}

/// A plane with a node that denies queries that `dns` matches and allows the rest.
async fn plane(on_failure: &str) -> (Plane, Node) {
    let plane = Plane::start().await;
    let context = plane.join("n").await;
    let digest = push(&plane, &bytes("dns-suffix")).await;
    let asks =
        json!({"name": "dns", "settings": {"suffixes": ["example.org"]}, "onFailure": on_failure});
    let policy = json!({
        "apiVersion": "palisade.dev/v1", "kind": "GlobalNetworkPolicy", "metadata": {"name": "p"},
        "spec": {"selector": "all()", "types": ["Egress"], "egress": [
            {"action": "Deny", "protocol": "UDP", "destination": {"ports": [5353]}, "plugin": asks},
            {"action": "Allow"},
        ]},
    });
    plane
        .apply(&[
            plugin("dns", "matcher", digest),
            policy,
            endpoint("e", "n", "eth0", "web"),
        ])
        .await;
    let mut node = Node::connect(&context).await;
    node.accept().await;
    plane
        .until("n", |node| {
            node.enforced.is_some() && node.desired == node.enforced
        })
        .await;
    (plane, node)
}

async fn explain(
    plane: &Plane,
    request: v1::ExplainRequest,
) -> Result<v1::ExplainResponse, Status> {
    let answer = plane.analysis().await.explain(request).await?;
    Ok(answer.into_inner())
}

fn taking(answers: &[(&str, PluginAnswer)]) -> v1::ExplainRequest {
    let plugins = answers.iter().map(|(name, answer)| v1::PluginAssumption {
        name: (*name).to_owned(),
        answer: (*answer).into(),
    });
    v1::ExplainRequest {
        plugins: plugins.collect(),
        ..query()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_told_with_what_comes_of_it() {
    let (plane, _node) = plane("no-match").await;
    let told = explain(&plane, query()).await.expect("an answer");
    assert_eq!(told.verdict(), Verdict::Depends);
    assert_eq!(told.reason, "depends on plugin `dns`");
    assert_eq!((told.rule_id, told.steps.len()), (0, 0));
    let outcomes: Vec<_> = told
        .alternatives
        .iter()
        .map(|alternative| {
            let [asked] = alternative.asked.as_slice() else {
                panic!("one question: {alternative:?}");
            };
            assert_eq!(asked.name, "dns");
            assert_eq!(asked.settings, r#"{"suffixes":["example.org"]}"#);
            assert!(!asked.assumed && alternative.rule_id != 0);
            assert!(
                alternative.steps[0]
                    .outcome
                    .starts_with("asks `plugin/dns`")
            );
            (asked.answer(), alternative.verdict())
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            (PluginAnswer::Match, Verdict::Drop),
            (PluginAnswer::NoMatch, Verdict::Accept),
            (PluginAnswer::None, Verdict::Accept),
        ]
    );
    // What no rule asks about is told as ever.
    let web = v1::ExplainRequest {
        destination_port: 80,
        ..query()
    };
    let web = explain(&plane, web).await.expect("an answer");
    assert_eq!(web.verdict(), Verdict::Accept);
    assert_eq!(web.alternatives, []);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_taken_for_granted_is_the_only_one() {
    let (plane, _node) = plane("deny").await;
    for (answer, verdict) in [
        (PluginAnswer::Match, Verdict::Drop),
        (PluginAnswer::NoMatch, Verdict::Accept),
        (PluginAnswer::None, Verdict::Drop),
    ] {
        let request = taking(&[("dns", answer)]);
        let told = explain(&plane, request).await.expect("an answer");
        assert_eq!(told.verdict(), verdict);
        assert!(told.rule_id != 0 && !told.steps.is_empty());
        let [only] = told.alternatives.as_slice() else {
            panic!("one alternative: {told:?}");
        };
        assert_eq!(only.asked[0].answer(), answer);
        assert!(only.asked[0].assumed);
    }
    for wrong in [
        taking(&[("other", PluginAnswer::Match)]),
        taking(&[("dns", PluginAnswer::Unspecified)]),
        taking(&[("dns", PluginAnswer::Match), ("dns", PluginAnswer::None)]),
    ] {
        let refused = explain(&plane, wrong).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    plane.server.stop().await;
}
