//! Settings, listings and files: what an operator types, and what comes back.

use crate::harness::{Plane, text};
use serde_json::Value;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_exported_edited_and_applied() {
    let plane = Plane::start().await;
    let get = [
        "get",
        "felixconfiguration",
        "default",
        "--export",
        "-o",
        "yaml",
    ];
    let exported = plane.out(&get).await;
    for stamp in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        assert!(!exported.contains(stamp), "{exported}");
    }
    let file = plane.file("felix.yaml", &exported);
    let unchanged = plane.out(&["apply", "-f", text(&file)]).await;
    assert_eq!(unchanged, "FelixConfiguration/default unchanged\n");

    let edited = exported.replace("spec: {}", "spec:\n  defaultEndpointToHostAction: Accept");
    assert_ne!(edited, exported);
    let file = plane.file("felix.yaml", &edited);
    let applied = plane.out(&["apply", "-f", text(&file)]).await;
    assert_eq!(applied, "FelixConfiguration/default configured\n");
    let again = plane.out(&get).await;
    assert!(
        again.contains("defaultEndpointToHostAction: Accept"),
        "{again}"
    );
    let wide = plane.out(&["get", "felixconfig", "-o", "wide"]).await;
    assert!(wide.contains("Accept"), "{wide}");

    let bad = plane.file("bad.yaml", &edited.replace("Accept", "Deny"));
    let refused = plane.run(&["apply", "-f", text(&bad)]).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("spec.defaultEndpointToHostAction"),
        "{}",
        refused.err
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_shown_and_not_written() {
    let plane = Plane::start().await;
    let shown = plane
        .out(&["get", "clusterinfo", "default", "-o", "yaml"])
        .await;
    assert!(shown.contains("clusterGUID"), "{shown}");
    let file = plane.file(
        "cluster.yaml",
        &shown.replace("datastoreReady: true", "datastoreReady: false"),
    );
    let refused = plane.run(&["apply", "-f", text(&file)]).await;
    assert_eq!(refused.code, 2, "{}", refused.err);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_keep_resources_of_one_name_apart() {
    let plane = Plane::start().await;
    let set = |namespace: &str, net: &str| {
        let metadata = if namespace.is_empty() {
            "name: s".to_owned()
        } else {
            format!("name: s, namespace: {namespace}")
        };
        format!(
            "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {{{metadata}}}\nspec: {{nets: [{net}]}}\n"
        )
    };
    let nameless = plane.file("set.yaml", &set("", "10.0.0.1"));
    let own = plane.file("own.yaml", &set("shop", "10.0.0.2"));
    let applied = plane.out(&["apply", "-f", text(&nameless)]).await;
    assert_eq!(applied, "NetworkSet/default/s created\n");
    let applied = plane.out(&["apply", "-f", text(&own)]).await;
    assert_eq!(applied, "NetworkSet/shop/s created\n");
    let applied = plane
        .out(&["apply", "-n", "lab", "-f", text(&nameless)])
        .await;
    assert_eq!(applied, "NetworkSet/lab/s created\n");
    let refused = plane.run(&["apply", "-n", "lab", "-f", text(&own)]).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("metadata.namespace"),
        "{}",
        refused.err
    );

    let names = |words: &'static [&'static str]| plane.out(words);
    assert_eq!(
        names(&["get", "netsets", "-o", "name"]).await,
        "NetworkSet/default/s\n"
    );
    assert_eq!(
        names(&["get", "netsets", "-n", "shop", "-o", "name"]).await,
        "NetworkSet/shop/s\n"
    );
    assert_eq!(
        names(&["get", "networkset", "-A", "-o", "name"]).await,
        "NetworkSet/default/s\nNetworkSet/lab/s\nNetworkSet/shop/s\n"
    );
    let one = plane
        .out(&["get", "networkset", "s", "-n", "shop", "-o", "json"])
        .await;
    let one: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(one["spec"]["nets"], serde_json::json!(["10.0.0.2"]));
    let exported = plane
        .out(&[
            "get",
            "networkset",
            "s",
            "-n",
            "shop",
            "--export",
            "-o",
            "yaml",
        ])
        .await;
    assert!(!exported.contains("shop"), "{exported}");

    let deleted = plane.out(&["delete", "networkset", "s", "-n", "lab"]).await;
    assert_eq!(deleted, "NetworkSet/lab/s deleted\n");
    let gone = plane.run(&["get", "networkset", "s", "-n", "lab"]).await;
    assert_eq!(gone.code, 6);
    let deleted = plane.out(&["delete", "-f", text(&nameless)]).await;
    assert_eq!(deleted, "NetworkSet/default/s deleted\n");
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_listed_by_its_short_name() {
    let plane = Plane::start().await;
    for (short, header) in [
        ("gnp", "NAME"),
        ("np", "NAMESPACE"),
        ("sgnp", "NAME"),
        ("snp", "NAMESPACE"),
        ("sknp", "NAMESPACE"),
        ("gns", "NAME"),
        ("netset", "NAMESPACE"),
        ("hep", "NAME"),
        ("wep", "NAMESPACE"),
        ("tier", "NAME"),
        ("pro", "NAME"),
        ("fconfig", "NAME"),
        ("no", "NAME"),
        ("clusterinfo", "NAME"),
        ("pconfig", "NAME"),
    ] {
        for format in ["ps", "wide"] {
            let table = plane.out(&["get", short, "-o", format]).await;
            assert_eq!(
                table.split_whitespace().next(),
                Some(header),
                "{short}: {table}"
            );
        }
    }
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_here_enforces_is_refused_with_its_reason() {
    let plane = Plane::start().await;
    let policy = |rule: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: p}}\nspec:\n  {rule}\n"
        )
    };
    for (rule, field) in [
        (
            "ingress: [{action: Allow, http: {methods: [GET]}}]",
            "spec.ingress[0].http",
        ),
        (
            "egress: [{action: Allow, destination: {services: {name: web, namespace: shop}}}]",
            "spec.egress[0].destination.services",
        ),
    ] {
        let file = plane.file("policy.yaml", &policy(rule));
        assert_eq!(plane.run(&["validate", "-f", text(&file)]).await.code, 0);
        let refused = plane.run(&["apply", "-f", text(&file)]).await;
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains(field), "{}", refused.err);
    }
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_problems_in_one_line_are_shown_in_part_and_counted() {
    let plane = Plane::start().await;
    let nets: Vec<_> = (0..2000).map(|net| format!("10.0.{net}.0/24")).collect();
    let nets = nets.join(", ");
    let set = format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: large}}\nspec: {{nets: [{nets}]}}\n"
    );
    let file = plane.file("large.yaml", &set);
    let refused = plane.run(&["apply", "-f", text(&file)]).await;
    assert_eq!(refused.code, 2);
    // 256 and above are no octets.
    for part in [
        "10.0.256.0/24",
        "1744 problems found",
        "and 1724 more of this document",
    ] {
        assert!(refused.err.contains(part), "{part} in {}", refused.err);
    }
    assert!(refused.err.len() < 16_000, "{} bytes", refused.err.len());
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_shown_in_its_document() {
    let plane = Plane::start().await;
    let policy = |name: &str, plugin: &str| {
        format!(
            "apiVersion: palisade.dev/v1\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\nspec:\n  ingress:\n  - action: Deny\n    plugin: {{name: {plugin}}}\n"
        )
    };
    let one = plane.file("one.yaml", &policy("one", "first"));
    let two = format!(
        "{}---\n{}",
        policy("two", "second"),
        policy("three", "third")
    );
    let two = plane.file("two.yaml", &two);
    let refused = plane
        .run(&["apply", "-f", text(&one), "-f", text(&two)])
        .await;
    assert_eq!(refused.code, 2);
    for shown in [
        "spec.ingress[0].plugin.name: there is no plugin `first`",
        "one.yaml:7:20]",
        "spec.ingress[0].plugin.name: there is no plugin `second`",
        "two.yaml:7:20]",
        "spec.ingress[0].plugin.name: there is no plugin `third`",
        "two.yaml:15:20]",
        "nothing was changed",
    ] {
        assert!(refused.err.contains(shown), "{shown}: {}", refused.err);
    }
    assert!(!refused.err.contains("json["), "{}", refused.err);

    let alone = plane.run(&["create", "-f", text(&one)]).await;
    assert_eq!(alone.code, 2);
    assert!(alone.err.contains("one.yaml:7:20]"), "{}", alone.err);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_and_identities_are_registered_shown_and_deleted() {
    let plane = Plane::start().await;
    let create = [
        "namespace",
        "create",
        "shop",
        "--labels",
        "team=red,env=prod",
    ];
    assert_eq!(plane.out(&create).await, "kns.shop\n");
    let denies = ["namespace", "create", "lab", "--default", "deny"];
    assert_eq!(plane.out(&denies).await, "kns.lab\n");
    let create = ["identity", "create", "shop/web", "--labels", "tier=front"];
    assert_eq!(plane.out(&create).await, "ksa.shop.web\n");

    let table = plane.out(&["namespace", "list"]).await;
    assert_eq!(
        table,
        "NAME   DEFAULT   LABELS\nlab    deny\nshop   allow     env=prod,team=red\n"
    );
    let json = plane
        .out(&["identity", "list", "-n", "shop", "-o", "json"])
        .await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let web = serde_json::json!({"namespace": "shop", "name": "web", "labels": {"tier": "front"}});
    assert_eq!(json, serde_json::json!([web]));
    let elsewhere = ["identity", "list", "-n", "lab", "-o", "name"];
    assert_eq!(plane.out(&elsewhere).await, "");
    let kept = plane
        .out(&["get", "profile", "kns.shop", "-o", "json"])
        .await;
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept["spec"]["labelsToApply"]["pcns.team"], "red");

    // Created again, it is replaced.
    plane.out(&["namespace", "create", "shop"]).await;
    let table = plane.out(&["namespace", "list"]).await;
    assert!(table.contains("shop   allow\n"), "{table}");

    let deleted = plane.out(&["namespace", "delete", "shop"]).await;
    assert_eq!(deleted, "namespace `shop` deleted\n");
    assert_eq!(plane.out(&["identity", "list", "-o", "name"]).await, "");
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_registered_or_not_a_name_is_refused() {
    let plane = Plane::start().await;
    for (words, code, what) in [
        (&["namespace", "create", "a.b"][..], 2, "not a namespace"),
        (
            &["namespace", "create", "a", "--labels", "x"],
            2,
            "not a label",
        ),
        (&["namespace", "delete", "gone"], 6, "gone"),
        (&["identity", "create", "gone/web"], 2, "gone"),
        (&["identity", "create", "web"], 2, "NAMESPACE/NAME"),
        (&["identity", "delete", "gone/web"], 6, "gone"),
    ] {
        let ran = plane.run(words).await;
        assert_eq!(ran.code, code, "{words:?}: {}", ran.err);
        assert!(ran.err.contains(what), "{words:?}: {}", ran.err);
    }
    plane.server.stop().await;
}

/// It takes connections, as the kernel does for a process that is stopped, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_hangs_is_unreachable_after_the_time_limit() {
    let plane = Plane::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = silent.local_addr().expect("bound");
    let context = fs::read_to_string(plane.dir.path().join("context.yaml")).expect("a context");
    let context: String = context
        .lines()
        .map(|line| match line.starts_with("server:") {
            true => format!("server: {address}\n"),
            false => format!("{line}\n"),
        })
        .collect();
    plane.file("context.yaml", &context);
    let ran = plane.run(&["--timeout", "1s", "nodes"]).await;
    assert_eq!(ran.code, 7, "{}", ran.err);
    assert!(ran.err.contains("no answer within 1s"), "{}", ran.err);
}
