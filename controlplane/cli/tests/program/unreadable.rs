//! Rows that the control plane cannot read, as an operator meets them: seen, priced, accepted, still there to look at.

use crate::harness::Plane;
use serde_json::Value;

const KEY: &str = "/r/GlobalNetworkPolicy/-/later";
const ROW: &str = r#"{"schema":2,"kind":"GlobalNetworkPolicy"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_seen_its_loss_priced_and_accepted() {
    let plane = Plane::start().await;
    let node = "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: web-1}\n";
    let file = plane.file("node.yaml", node);
    plane
        .out(&["apply", "-f", file.to_str().expect("a path")])
        .await;
    let plane = plane.restart_with(KEY, ROW).await;

    let status = plane.out(&["status"]).await;
    let line = status.lines().find(|line| line.starts_with("UNREADABLE"));
    let line = line.expect("a line of its own");
    for told in [KEY, "all nodes", "schema 2", "store accept-unreadable"] {
        assert!(line.contains(told), "{told}: {line}");
    }
    assert!(status.contains("1 FROZEN"), "{status}");
    let nodes = plane.out(&["nodes"]).await;
    assert!(nodes.contains("Frozen") && nodes.contains(KEY), "{nodes}");
    // A listing that lacks a row is partial.
    let listed = plane.run(&["get", "gnp"]).await;
    assert_eq!(listed.code, 1);
    assert!(listed.err.contains(KEY), "{}", listed.err);
    assert_eq!(plane.run(&["get", "tiers"]).await.code, 0);
    let shown = plane.run(&["get", "gnp", "later"]).await;
    assert_eq!(shown.code, 2);
    assert!(shown.err.contains("accept-unreadable"), "{}", shown.err);

    let accept = ["store", "accept-unreadable", KEY];
    let priced = plane.out(&[&accept[..], &["--dry-run"]].concat()).await;
    assert!(priced.contains("would be accepted") && priced.contains("1 node frozen by it: web-1"));
    let table = plane.out(&["store", "unreadable"]).await;
    assert!(table.contains("freezes all nodes"), "{table}");
    let accepted = plane.out(&accept).await;
    assert!(
        accepted.contains("their views go on without it"),
        "{accepted}"
    );

    let kept = plane.out(&["store", "unreadable", "-o", "json"]).await;
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept["unreadable"], serde_json::json!([]));
    assert_eq!(kept["accepted"][0]["value"], ROW);
    assert_eq!(kept["accepted"][0]["key"], KEY);
    let table = plane.out(&["store", "unreadable"]).await;
    assert!(table.contains("accepted by"), "{table}");
    assert_eq!(plane.run(&["get", "gnp"]).await.code, 0);
    plane.server.stop().await;
}
