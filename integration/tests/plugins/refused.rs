//! What is refused on its way to the nodes, seen by who typed it: a Plugin whose component nobody uploaded.

use palisade_integration::guests;

use crate::world::{pair, push};

/// A file with a Plugin in the middle: what stands before and behind it is good.
fn file(digest: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: before}}
spec: {{nets: [192.0.2.0/24]}}
---
apiVersion: palisade.dev/v1
kind: Plugin
metadata: {{name: dns-suffix}}
spec: {{kind: matcher, digest: '{digest}'}}
---
apiVersion: palisade.dev/v1
kind: GlobalNetworkPolicy
metadata: {{name: asks}}
spec:
  selector: role == 'app'
  types: [Ingress]
  ingress:
  - action: Deny
    protocol: UDP
    destination: {{ports: [53]}}
    plugin: {{name: dns-suffix, settings: {{suffixes: [denied.example]}}}}
"
    )
}

#[test]
fn a_plugin_that_was_never_uploaded_is_refused_with_all_of_its_file() {
    let Some(pair) = pair("never uploaded", &[]) else {
        return;
    };
    let palisadectl = pair.deployment.palisadectl();
    let run = |words: &[&str], input: &str| palisadectl.run(words, input).expect("palisadectl");
    let component = guests::build("dns-suffix").expect("a component");
    let component = component.to_str().expect("a path");
    let inspected = run(&["plugin", "inspect", component], "").stdout;
    let digest = inspected
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"))
        .expect("a digest");
    let file = file(digest);
    let stored = |kind: &str, name: &str| run(&["get", kind, name], "").code;
    let resources = [
        ("globalnetworkset", "before"),
        ("plugin", "dns-suffix"),
        ("globalnetworkpolicy", "asks"),
    ];

    let refused = run(&["apply", "-f", "-"], &file);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    // Which document and field, why, and what to do.
    for part in [
        "spec.digest",
        "no component with this digest is stored",
        "palisadectl plugin push",
    ] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    for (kind, name) in resources {
        assert_eq!(stored(kind, name), Some(6), "{kind} {name}");
    }

    // The fix that it names is one.
    push(&pair, "dns-suffix", "other");
    let applied = run(&["apply", "-f", "-", "--wait=30s"], &file);
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    for (kind, name) in resources {
        assert_eq!(stored(kind, name), Some(0), "{kind} {name}");
    }
}
