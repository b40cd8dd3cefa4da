//! The newcomer's path: from nothing to a rule that a plugin decides.

use crate::harness::{Plane, text};
use std::{fs, path::Path};

/// As an author does: in the project's folder. What is built stays between runs.
async fn author(plane: &Plane, words: &[&str]) -> crate::harness::Ran {
    plane.run_in(&plane.dir.path().join("mine"), words).await
}

fn edit(path: &Path, from: &str, to: &str) {
    let before = fs::read_to_string(path).expect("reads");
    assert!(before.contains(from), "{before}");
    fs::write(path, before.replace(from, to)).expect("writes");
}

fn policy(settings: &str) -> String {
    format!(
        "apiVersion: palisade.dev/v1
kind: GlobalNetworkPolicy
metadata: {{name: p}}
spec:
  selector: all()
  ingress:
  - action: Deny
    protocol: UDP
    plugin: {{name: mine, settings: {settings}}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_made_tested_uploaded_and_asked() {
    let plane = Plane::start().await;
    let made = plane
        .out(&["plugin", "new", "--lang", "rust", "mine"])
        .await;
    assert!(made.contains("palisadectl plugin test"), "{made}");
    let again = plane.run(&["plugin", "new", "mine"]).await;
    assert_eq!(again.code, 1, "{}", again.err);
    assert_eq!(plane.run(&["plugin", "new", "../x"]).await.code, 2);
    assert_eq!(plane.run(&["plugin", "build"]).await.code, 2);

    // What was built for an earlier run of this test is used again.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("newcomer");
    let config = plane.dir.path().join("mine/.cargo");
    fs::create_dir_all(&config).expect("a folder");
    let built = format!("[build]\ntarget-dir = {:?}\n", text(&built));
    fs::write(config.join("config.toml"), built).expect("writes");

    let tested = author(&plane, &["plugin", "test"]).await;
    assert_eq!(tested.code, 0, "{}{}", tested.out, tested.err);
    assert!(tested.out.contains("(fuel "), "{}", tested.out);
    assert!(tested.out.contains("3 passed, 0 failed"), "{}", tested.out);
    let fixture = plane.dir.path().join("mine/fixtures/ports.yaml");
    edit(&fixture, "answer: match", "answer: undecided");
    let failed = author(&plane, &["plugin", "test"]).await;
    assert_eq!(failed.code, 1, "{}", failed.err);
    assert!(failed.out.contains("FAILED"), "{}", failed.out);

    let file = author(&plane, &["plugin", "build"]).await;
    assert_eq!(file.code, 0, "{}", file.err);
    let (file, digest) = file.out.trim().split_once('\n').expect("file and digest");
    let shown = plane.out(&["plugin", "inspect", file]).await;
    assert!(
        shown.contains(digest) && shown.contains("matcher"),
        "{shown}"
    );
    let nothing = plane.file("nothing.wasm", "no component");
    let refused = plane.run(&["plugin", "inspect", text(&nothing)]).await;
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("hint: "), "{}", refused.err);

    let pushed = plane.out(&["plugin", "push", file]).await;
    assert_eq!(pushed.trim(), digest);
    plane.out(&["plugin", "push", file, "--name", "mine"]).await;
    let listed = plane.out(&["plugin", "list"]).await;
    assert!(
        listed.contains(digest) && listed.contains("mine"),
        "{listed}"
    );
    let kept = plane.out(&["plugin", "push", file, "--name", "mine"]).await;
    assert_eq!(kept.trim(), digest);

    let bad = plane.file("bad.yaml", &policy("{ports: [many]}"));
    let refused = plane.run(&["apply", "-f", text(&bad)]).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("spec.ingress[0].plugin.settings"),
        "{}",
        refused.err
    );
    let good = plane.file("good.yaml", &policy("{ports: [8080], longerThan: 100}"));
    let applied = plane.run(&["apply", "-f", text(&good)]).await;
    assert_eq!(applied.out, "GlobalNetworkPolicy/p created\n");
    assert_eq!(applied.err, "");
    let asks = policy("{ports: [53], longerThan: 100}").replace("ingress", "egress");
    let asks = asks.replace(
        "protocol: UDP",
        "protocol: UDP\n    destination: {ports: [53]}",
    );
    let asks = plane.file("failsafe.yaml", &asks);
    let warned = plane.run(&["apply", "-f", text(&asks)]).await;
    assert_eq!(warned.code, 0, "{}", warned.err);
    let warning = "warning: GlobalNetworkPolicy/p: spec.egress[0].plugin: on host endpoints";
    assert!(warned.err.contains(warning), "{}", warned.err);
    assert!(
        warned.err.contains("failsafeOutboundHostPorts"),
        "{}",
        warned.err
    );
    let used = plane.run(&["delete", "plugin", "mine"]).await;
    assert_eq!(used.code, 2, "{}", used.err);
    assert!(used.err.contains("GlobalNetworkPolicy(p)"), "{}", used.err);
    assert!(plane.out(&["plugin", "status"]).await.contains("STATE"));
    let flows = plane.run(&["flows"]).await;
    assert_eq!((flows.code, flows.out.as_str()), (0, ""));
    assert!(flows.err.contains("auditor"), "{}", flows.err);
    plane.server.stop().await;
}
