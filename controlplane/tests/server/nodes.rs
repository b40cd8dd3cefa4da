//! From a token to an acknowledged view, and what happens on the way.

use crate::harness::{Node, Plane, endpoint, policy, report};
use palisade_policy::item::{ItemId, ItemKind};
use palisade_proto::v1::{
    self, TransactionKind, stream_view_request::Message as Up,
    stream_view_response::Message as Down,
};
use serde_json::{Value, json};

fn converged(node: &v1::NodeStatus) -> bool {
    let digest = |position: &Option<v1::Position>| position.as_ref().map(|p| p.digest.clone());
    digest(&node.desired).is_some() && digest(&node.desired) == digest(&node.enforced)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joined_node_gets_a_snapshot_then_each_change() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    let documents = [
        policy("web", "role == 'web'", &[80]),
        endpoint("e", "web-1", "eth0", "web"),
    ];
    plane.apply(&documents).await;
    let mut node = Node::connect(&context).await;
    let first = node.accept().await;
    assert_eq!(first.kind, TransactionKind::Snapshot);
    plane.until("web-1", converged).await;

    let written = plane
        .apply(&[policy("web", "role == 'web'", &[80, 443])])
        .await;
    let second = node.accept().await;
    assert_eq!(second.kind, TransactionKind::Delta);
    assert_eq!(second.to.revision, written.revision);
    assert_eq!(node.rules("web"), Some(2));
    plane
        .until("web-1", |n| converged(n) && n.compiled >= written.revision)
        .await;

    // It does not concern the node: nothing is sent, and it counts as enforced at the newer revision.
    let written = plane
        .apply(&[policy("other", "role == 'db'", &[5432])])
        .await;
    plane
        .until("web-1", |n| {
            converged(n)
                && n.enforced
                    .as_ref()
                    .is_some_and(|p| p.revision >= written.revision)
        })
        .await;
    let status = plane.status("web-1").await;
    assert!(status.connected && status.conditions.is_empty());
    assert_eq!(
        (status.apply_micros, status.agent_version.as_str()),
        (42, "test")
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_reports_of_its_endpoints_is_kept_and_counted() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    let node = Node::connect(&context).await;
    let endpoint = |name: &str, state: v1::EndpointState, reason: &str| v1::EndpointStatus {
        endpoint: format!("hep/{name}"),
        state: state.into(),
        interfaces: Vec::new(),
        reason: reason.to_owned(),
    };
    let reported = v1::NodeReport {
        endpoints: vec![
            endpoint("a", v1::EndpointState::Up, ""),
            endpoint("b", v1::EndpointState::Error, "interface `eth9` is absent"),
        ],
        conditions: vec![v1::Condition {
            r#type: "AddressMismatch".to_owned(),
            ..v1::Condition::default()
        }],
        ..v1::NodeReport::default()
    };
    node.say(Up::Report(reported.clone())).await;
    plane
        .until("web-1", |n| n.report.as_ref() == Some(&reported))
        .await;
    let request = v1::GetStatusRequest {};
    let status = plane.observe().await.get_status(request).await;
    let status = status.expect("a status").into_inner();
    let endpoints = (
        status.endpoints_up,
        status.endpoints_down,
        status.endpoints_error,
    );
    assert_eq!(endpoints, (1, 0, 1));
    assert_eq!(status.nodes_degraded, 0);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_resumes_over_a_restart_without_being_sent_anything() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    plane
        .apply(&[
            policy("web", "all()", &[80]),
            endpoint("e", "web-1", "eth0", "web"),
        ])
        .await;
    let mut node = Node::connect(&context).await;
    node.accept().await;
    plane.until("web-1", converged).await;
    let plane = plane.restart().await;
    assert!(node.next().await.is_err(), "the old stream has ended");

    let mut context = context;
    context.api = plane.admin.api;
    let mut node = Node::resume(&context, node.held, node.position).await;
    assert!(matches!(node.next().await, Ok(Down::Unchanged(_))));
    plane.until("web-1", converged).await;

    // A restart forgets what nodes hold; a node that is behind tells by its inventory.
    let behind = (node.held.clone(), node.position);
    plane.apply(&[policy("web", "all()", &[80, 81])]).await;
    node.accept().await;
    let plane = plane.restart().await;
    context.api = plane.admin.api;
    let mut node = Node::resume(&context, behind.0, behind.1).await;
    assert!(matches!(node.next().await, Ok(Down::WantInventory(_))));
    let hashes = node.held.as_ref().expect("a view").hashes();
    let inventory = palisade_policy::wire::encode_inventory(hashes);
    node.say(v1::stream_view_request::Message::Inventory(inventory))
        .await;
    assert_eq!(node.accept().await.kind, TransactionKind::Delta);
    assert_eq!(node.rules("web"), Some(2));
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_policy_degrades_the_node_and_holds_nothing_else_back() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    let endpoints = [
        endpoint("a", "web-1", "eth0", "a"),
        endpoint("b", "web-1", "eth1", "b"),
        policy("pa", "role == 'a'", &[1]),
        policy("pb", "role == 'b'", &[1]),
    ];
    plane.apply(&endpoints).await;
    let mut node = Node::connect(&context).await;
    node.accept().await;

    let change = [
        policy("pa", "role == 'a'", &[1, 2]),
        policy("pb", "role == 'b'", &[1, 2]),
    ];
    plane.apply(&change).await;
    let received = node.receive().await;
    node.refuse(received, &ItemId::new(ItemKind::Policy, "gnp/pa"))
        .await;
    node.accept().await;
    assert_eq!((node.rules("pa"), node.rules("pb")), (Some(1), Some(2)));
    let degraded = |n: &v1::NodeStatus| n.conditions.iter().any(|c| c.r#type == "Degraded");
    plane.until("web-1", |n| degraded(n) && !converged(n)).await;

    plane
        .apply(&[policy("pa", "role == 'a'", &[1, 2, 3])])
        .await;
    node.accept().await;
    assert_eq!(node.rules("pa"), Some(3));
    plane.until("web-1", |n| !degraded(n) && converged(n)).await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_stream_of_a_node_replaces_the_older() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    let mut old = Node::connect(&context).await;
    old.accept().await;
    let mut new = Node::resume(&context, old.held.clone(), old.position).await;
    assert!(matches!(new.next().await, Ok(Down::Unchanged(_))));
    let ended = old.next().await.expect_err("ends");
    assert_eq!(ended.code(), tonic::Code::Aborted);
    assert!(plane.status("web-1").await.connected);
    plane.apply(&[endpoint("e", "web-1", "eth0", "web")]).await;
    new.accept().await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_with_one_identity_are_told_from_a_restart_and_named() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    let duplicate = |n: &v1::NodeStatus| {
        n.conditions
            .iter()
            .find(|c| c.r#type == "Duplicate")
            .cloned()
    };
    let mut one = Node::daemon(&context, None, None, &[1; 16]).await;
    one.accept().await;
    let (held, position) = (one.held.clone(), one.position);
    let daemon =
        async |instance: u8| Node::daemon(&context, held.clone(), position, &[instance; 16]).await;

    // A restart: the old daemon is gone, and a new one is served at once.
    drop(one);
    let mut restarted = daemon(2).await;
    assert!(matches!(restarted.next().await, Ok(Down::Unchanged(_))));
    assert_eq!(duplicate(&plane.status("web-1").await), None);

    // A clone takes over; the one that is still there is told by whom.
    let mut clone = daemon(3).await;
    assert!(matches!(clone.next().await, Ok(Down::Unchanged(_))));
    let told = restarted.next().await.expect_err("ends");
    assert_eq!(told.code(), tonic::Code::AlreadyExists);
    assert!(told.message().contains("127.0.0.1:"), "{told}");

    // It comes back: now both are known to be alive.
    let mut back = daemon(2).await;
    assert!(matches!(back.next().await, Ok(Down::Unchanged(_))));
    let condition = duplicate(&plane.status("web-1").await).expect("two daemons");
    assert_eq!(condition.message.matches("127.0.0.1:").count(), 2);
    let told = clone.next().await.expect_err("ends");
    assert_eq!(told.code(), tonic::Code::AlreadyExists);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_nothing_takes_nothing_over() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    let mut node = Node::connect(&context).await;
    node.accept().await;
    let (_mute, requests) = tokio::sync::mpsc::channel(1);
    let mut sync =
        v1::node_sync_service_client::NodeSyncServiceClient::new(context.connect().await);
    let open = sync.stream_view(tokio_stream::wrappers::ReceiverStream::new(requests));
    let _silent = open.await.expect("a stream");
    plane.apply(&[endpoint("e", "web-1", "eth0", "web")]).await;
    node.accept().await;
    plane.until("web-1", converged).await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_takes_back_what_was_acknowledged() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    plane
        .apply(&[
            policy("web", "all()", &[80]),
            endpoint("e", "web-1", "eth0", "web"),
        ])
        .await;
    let mut node = Node::connect(&context).await;
    node.accept().await;
    plane.until("web-1", converged).await;
    let caveats = async || {
        let ask = v1::ExplainRequest {
            node: "web-1".to_owned(),
            in_interface: "eth0".to_owned(),
            protocol: 6,
            source: vec![10, 0, 0, 9],
            source_port: 40000,
            destination: vec![10, 0, 0, 1],
            destination_port: 80,
            ..v1::ExplainRequest::default()
        };
        let answer = plane.analysis().await.explain(ask).await;
        answer.expect("an answer").into_inner().caveats
    };
    let count = async || {
        let request = v1::GetStatusRequest {};
        let status = plane.observe().await.get_status(request).await;
        status.expect("a status").into_inner().nodes_converged
    };
    assert_eq!((caveats().await, count().await), (vec![], 1));

    node.say(Up::Report(report())).await;
    plane.until("web-1", |n| n.enforced.is_none()).await;
    assert_eq!(count().await, 0);
    let [caveat] = &caveats().await[..] else {
        panic!("one caveat");
    };
    assert!(caveat.contains("does not know"), "{caveat}");

    let known = v1::NodeReport {
        enforced: node.position.as_ref().map(Into::into),
        ..report()
    };
    node.say(Up::Report(known)).await;
    plane.until("web-1", converged).await;
    assert_eq!((caveats().await, count().await), (vec![], 1));

    drop(node);
    plane.until("web-1", |n| !n.connected).await;
    let [caveat] = &caveats().await[..] else {
        panic!("one caveat");
    };
    assert!(caveat.contains("not connected"), "{caveat}");
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_what_the_acknowledged_view_does() {
    let plane = Plane::start().await;
    let context = plane.join("web-1").await;
    plane
        .apply(&[
            policy("web", "all()", &[80]),
            endpoint("e", "web-1", "eth0", "web"),
        ])
        .await;
    let ask = |port| v1::ExplainRequest {
        node: "web-1".to_owned(),
        in_interface: "eth0".to_owned(),
        protocol: 6,
        source: vec![10, 0, 0, 9],
        source_port: 40000,
        destination: vec![10, 0, 0, 1],
        destination_port: port,
        ..v1::ExplainRequest::default()
    };
    let mut analysis = plane.analysis().await;
    let early = analysis
        .explain(ask(80))
        .await
        .expect_err("nothing was acknowledged");
    assert_eq!(early.code(), tonic::Code::FailedPrecondition);
    let mut node = Node::connect(&context).await;
    node.accept().await;
    plane.until("web-1", converged).await;
    let allowed = analysis
        .explain(ask(80))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(allowed.verdict(), v1::Verdict::Accept);
    assert!(allowed.rule_id != 0 && !allowed.steps.is_empty());
    let denied = analysis
        .explain(ask(81))
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(denied.verdict(), v1::Verdict::Drop);
    assert_eq!(denied.staged, None, "nothing is staged");

    let staged = |name: &str, spec: Value| {
        json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "StagedGlobalNetworkPolicy",
            "metadata": { "name": name },
            "spec": spec,
        })
    };
    let opens = json!({
        "selector": "all()",
        "ingress": [{ "action": "Allow", "protocol": "TCP", "destination": { "ports": [81] } }],
    });
    plane.apply(&[staged("more", opens)]).await;
    let mut would_be = async |port| {
        let answer = analysis.explain(ask(port)).await.expect("an answer");
        let answer = answer.into_inner();
        (
            answer.verdict(),
            answer.staged.map(|staged| staged.verdict()),
        )
    };
    assert_eq!(
        would_be(81).await,
        (v1::Verdict::Drop, Some(v1::Verdict::Accept)),
        "a staged policy is not enforced"
    );
    plane
        .apply(&[staged("web", json!({ "stagedAction": "Delete" }))])
        .await;
    assert_eq!(
        would_be(80).await,
        (v1::Verdict::Accept, Some(v1::Verdict::Drop)),
        "the policy that allows it would go"
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_pick_by_inherited_labels_too() {
    let plane = Plane::start().await;
    let mut heir = endpoint("heir", "n", "eth0", "web");
    heir["spec"]["profiles"] = json!(["given"]);
    let profile = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "Profile",
        "metadata": { "name": "given" },
        "spec": { "labelsToApply": { "zone": "a", "role": "ignored" } },
    });
    plane
        .apply(&[profile, heir, endpoint("other", "n", "eth1", "web")])
        .await;
    let mut analysis = plane.analysis().await;
    let mut pick = async |selector: &str| {
        let request = v1::SelectRequest {
            selector: selector.to_owned(),
        };
        let found = analysis
            .select(request)
            .await
            .expect("an answer")
            .into_inner()
            .resources;
        found.into_iter().map(|r| r.name).collect::<Vec<_>>()
    };
    assert_eq!(pick("zone == 'a' && role == 'web'").await, ["heir"]);
    assert_eq!(pick("role == 'ignored'").await, Vec::<String>::new());
    assert_eq!(pick("role == 'web'").await, ["heir", "other"]);
    plane.server.stop().await;
}
