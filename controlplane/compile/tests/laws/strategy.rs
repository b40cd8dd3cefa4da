//! Random worlds and edits, from small pools of names, labels and addresses, so that things meet.

use palisade_model::{Resource, ResourceId, decode};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};
use std::sync::Arc;

/// A resource as it is written, or its removal.
pub(crate) type Edit = (ResourceId, Option<Arc<Resource>>);

pub(crate) fn resource(document: &Value) -> Resource {
    match decode(document) {
        Ok(decoded) => decoded.resource,
        Err(problems) => panic!("{document:#}: {problems:?}"),
    }
}

fn document(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    let group = match kind {
        // Policies may ask plugins.
        "PalisadeConfiguration" | "Plugin" | "GlobalNetworkPolicy" | "NetworkPolicy" => {
            "palisade.dev/v1"
        }
        _ => "projectcalico.org/v3",
    };
    json!({
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    })
}

/// As [`document`], in a namespace.
fn namespaced(kind: &str, (namespace, name): (&str, &str), labels: Value, spec: Value) -> Value {
    let mut document = document(kind, name, labels, spec);
    document["metadata"]["namespace"] = json!(namespace);
    document
}

fn namespace() -> impl Strategy<Value = &'static str> {
    select(vec!["red", "blue"])
}

/// A namespace and a name in it: few enough to meet.
fn place() -> impl Strategy<Value = (&'static str, &'static str)> {
    (namespace(), select(vec!["a", "b"]))
}

fn labels() -> impl Strategy<Value = Value> {
    (
        option::of(select(vec!["db", "web"])),
        option::of(select(vec!["prod", "dev"])),
    )
        .prop_map(|(role, env)| {
            let mut labels = serde_json::Map::new();
            labels.extend(role.map(|v| ("role".to_owned(), json!(v))));
            labels.extend(env.map(|v| ("env".to_owned(), json!(v))));
            Value::Object(labels)
        })
}

fn selector() -> impl Strategy<Value = &'static str> {
    select(vec![
        "all()",
        "role == 'db'",
        "role == 'web'",
        "env == 'prod'",
        "env != 'prod'",
        "!has(role)",
        "has(role) && env == 'dev'",
        "projectcalico.org/namespace == 'red'",
    ])
}

fn address() -> impl Strategy<Value = String> {
    (0u8..6, any::<bool>()).prop_map(|(n, v6)| {
        if v6 {
            format!("fd00::{n}")
        } else {
            format!("10.0.0.{n}")
        }
    })
}

fn entity() -> impl Strategy<Value = Value> {
    (
        option::of(selector()),
        option::of(selector()),
        option::weighted(0.2, select(vec!["all()", "global()", "env != 'prod'"])),
        option::weighted(0.2, accounts()),
        vec(
            select(vec![json!(80), json!("81:90"), json!("http"), json!("dns")]),
            0..3,
        ),
        vec(select(vec![json!(22), json!("http")]), 0..2),
        option::weighted(0.3, select(vec!["10.0.0.0/30", "192.0.2.0/24"])),
    )
        .prop_map(
            |(selector, not, namespace, accounts, ports, not_ports, net)| {
                let mut entity = serde_json::Map::new();
                entity.extend(selector.map(|v| ("selector".to_owned(), json!(v))));
                entity.extend(not.map(|v| ("notSelector".to_owned(), json!(v))));
                entity.extend(namespace.map(|v| ("namespaceSelector".to_owned(), json!(v))));
                entity.extend(accounts.map(|v| ("serviceAccounts".to_owned(), v)));
                entity.extend(net.map(|v| ("nets".to_owned(), json!([v]))));
                if !ports.is_empty() {
                    entity.insert("ports".to_owned(), json!(ports));
                }
                if !not_ports.is_empty() {
                    entity.insert("notPorts".to_owned(), json!(not_ports));
                }
                Value::Object(entity)
            },
        )
}

fn accounts() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"names": ["web"]}),
        json!({"selector": "env == 'prod'"}),
        json!({"names": ["web", "db"], "selector": "all()"}),
    ])
}

fn rule() -> impl Strategy<Value = Value> {
    (
        select(vec!["Allow", "Deny", "Pass", "Log"]),
        select(vec!["TCP", "UDP"]),
        entity(),
        entity(),
    )
        .prop_map(|(action, protocol, source, destination)| {
            json!({
                "action": action,
                "protocol": protocol,
                "source": source,
                "destination": destination,
            })
        })
}

/// A rule that may ask a plugin: one that is there, is no matcher, or does not exist.
fn asking_rule() -> impl Strategy<Value = Value> {
    let asked = (
        select(vec!["dns", "geo", "gone"]),
        select(vec![json!({}), json!({"a": 1}), json!({"b": [2], "a": 1})]),
        option::of(select(vec!["match", "no-match", "deny", "allow"])),
    );
    (rule(), option::weighted(0.3, asked)).prop_map(|(mut rule, asked)| {
        if let Some((name, settings, on_failure)) = asked {
            rule["plugin"] = json!({"name": name, "settings": settings});
            if let Some(on_failure) = on_failure {
                rule["plugin"]["onFailure"] = json!(on_failure);
            }
        }
        rule
    })
}

fn plugin() -> impl Strategy<Value = Value> {
    (
        select(vec!["dns", "geo"]),
        any::<bool>(),
        select(vec!["00", "11"]),
        option::weighted(0.8, select(vec![10, 20])),
        option::of(select(vec!["match", "deny"])),
    )
        .prop_map(|(name, auditor, digest, size, on_failure)| {
            let mut spec = json!({
                "kind": if auditor { "auditor" } else { "matcher" },
                "digest": format!("sha256:{}", digest.repeat(32)),
                "size": size,
            });
            match on_failure {
                _ if auditor => spec["sinks"] = json!({"out": {"stdout": {}}}),
                Some(on_failure) => spec["onFailure"] = json!(on_failure),
                None => {}
            }
            document("Plugin", name, json!({}), spec)
        })
}

/// No plugins where none may be asked.
fn without_plugins(spec: &mut Value) {
    for list in ["ingress", "egress"] {
        for rule in spec[list].as_array_mut().into_iter().flatten() {
            rule.as_object_mut().map(|rule| rule.remove("plugin"));
        }
    }
}

/// What all kinds of policies have.
fn policy_spec() -> impl Strategy<Value = Value> {
    (
        select(vec!["default", "t1", "t2", "gone"]),
        option::of(select(vec![-1.0, 0.0, 10.0])),
        selector(),
        select(vec![
            json!(["Ingress"]),
            json!(["Egress"]),
            json!(["Ingress", "Egress"]),
        ]),
        option::weighted(0.2, select(vec!["all()", "env == 'prod'"])),
        (vec(asking_rule(), 0..3), vec(asking_rule(), 0..2)),
    )
        .prop_map(
            |(tier, order, selector, types, account, (ingress, egress))| {
                let mut spec = json!({
                    "tier": tier,
                    "order": order,
                    "selector": selector,
                    "types": types,
                    "ingress": ingress,
                    "egress": egress,
                });
                if let Some(account) = account {
                    spec["serviceAccountSelector"] = json!(account);
                }
                spec
            },
        )
}

fn staged_action() -> impl Strategy<Value = &'static str> {
    select(vec!["Set", "Learn", "Ignore", "Delete"])
}

fn stage(mut spec: Value, action: &str) -> Value {
    if action == "Delete" {
        spec = json!({"tier": spec["tier"]});
    }
    without_plugins(&mut spec);
    spec["stagedAction"] = json!(action);
    spec
}

fn global_policy() -> impl Strategy<Value = Value> {
    (
        select(vec!["a", "b", "c", "a-b"]),
        policy_spec(),
        option::weighted(0.2, select(vec!["all()", "env != 'prod'"])),
        select(vec!["", "applyOnForward", "doNotTrack", "preDNAT"]),
        option::weighted(0.3, staged_action()),
    )
        .prop_map(|(name, mut spec, namespace, list, staged)| {
            if let Some(namespace) = namespace {
                spec["namespaceSelector"] = json!(namespace);
            }
            if !list.is_empty() {
                spec["applyOnForward"] = json!(true);
                spec[list] = json!(true);
            }
            if list == "doNotTrack" || list == "preDNAT" {
                without_plugins(&mut spec);
            }
            if list == "preDNAT" {
                spec["types"] = json!(["Ingress"]);
                spec["egress"] = json!([]);
            }
            match staged {
                None => document("GlobalNetworkPolicy", name, json!({}), spec),
                Some(action) => {
                    let spec = stage(spec, action);
                    document("StagedGlobalNetworkPolicy", name, json!({}), spec)
                }
            }
        })
}

fn policy_of_namespace() -> impl Strategy<Value = Value> {
    (
        place(),
        policy_spec(),
        option::weighted(0.3, staged_action()),
    )
        .prop_map(|(place, spec, staged)| match staged {
            None => namespaced("NetworkPolicy", place, json!({}), spec),
            Some(action) => {
                let spec = stage(spec, action);
                namespaced("StagedNetworkPolicy", place, json!({}), spec)
            }
        })
}

fn declared_ports() -> impl Strategy<Value = Vec<Value>> {
    let port = (select(vec!["http", "dns"]), select(vec!["TCP", "UDP"]));
    vec(port, 0..3).prop_map(|ports| {
        let port = |(name, protocol)| json!({"name": name, "protocol": protocol, "port": 8080});
        ports.into_iter().map(port).collect()
    })
}

fn profiles() -> impl Strategy<Value = Vec<&'static str>> {
    let names = vec![
        "p1",
        "p2",
        "kns.red",
        "ksa.red.web",
        "projectcalico-default-allow",
    ];
    vec(select(names), 0..3).prop_map(|mut profiles| {
        profiles.sort_unstable();
        profiles.dedup();
        profiles
    })
}

fn workload_endpoint() -> impl Strategy<Value = Value> {
    (
        place(),
        select(vec!["n1", "n2"]),
        labels(),
        option::of(select(vec!["cali1", "cali2"])),
        vec(address(), 0..3),
        profiles(),
        declared_ports(),
        (
            option::of(select(vec!["web", "db"])),
            prop::bool::weighted(0.1),
        ),
    )
        .prop_map(
            |((namespace, workload), node, labels, interface, mut ips, profiles, ports, rest)| {
                let (account, spoofs) = rest;
                ips.sort();
                ips.dedup();
                let name = format!("{node}-vm-{workload}-eth0");
                let mut spec = json!({
                    "node": node,
                    "orchestrator": "vm",
                    "workload": workload,
                    "endpoint": "eth0",
                    "interfaceName": interface,
                    "ipNetworks": ips,
                    "profiles": profiles,
                    "ports": ports,
                    "serviceAccountName": account,
                });
                if spoofs {
                    spec["allowSpoofedSourcePrefixes"] = json!(["192.0.2.0/24"]);
                }
                namespaced("WorkloadEndpoint", (namespace, &name), labels, spec)
            },
        )
}

fn host_endpoint() -> impl Strategy<Value = Value> {
    (
        select(vec!["h0", "h1", "h2"]),
        select(vec!["n1", "n2"]),
        labels(),
        select(vec!["*", "eth0", "eth1"]),
        vec(address(), 0..3),
        profiles(),
        declared_ports(),
    )
        .prop_map(
            |(name, node, labels, interface, mut ips, profiles, ports)| {
                ips.sort();
                ips.dedup();
                let spec = json!({
                    "node": node,
                    "interfaceName": interface,
                    "expectedIPs": ips,
                    "profiles": profiles,
                    "ports": ports,
                });
                document("HostEndpoint", name, labels, spec)
            },
        )
}

fn other() -> impl Strategy<Value = Value> {
    let nets = vec(address(), 0..5).prop_map(|mut nets| {
        nets.sort();
        nets.dedup();
        nets
    });
    let set = (
        select(vec!["s1", "s2"]),
        option::of(namespace()),
        labels(),
        nets,
    )
        .prop_map(|(name, namespace, labels, nets)| {
            let spec = json!({ "nets": nets });
            match namespace {
                None => document("GlobalNetworkSet", name, labels, spec),
                Some(namespace) => namespaced("NetworkSet", (namespace, name), labels, spec),
            }
        });
    let tier = (
        select(vec!["t1", "t2"]),
        option::of(select(vec![1.0, 2.0])),
        select(vec!["Deny", "Pass"]),
    )
        .prop_map(|(name, order, action)| {
            let spec = json!({"order": order, "defaultAction": action});
            document("Tier", name, json!({}), spec)
        });
    let profile = (
        select(vec!["p1", "p2", "kns.red", "kns.blue", "ksa.red.web"]),
        labels(),
        option::of(select(vec!["prod", "dev"])),
        vec(rule(), 0..2),
    )
        .prop_map(|(name, mut labels, env, rules)| {
            if let Some(env) = env {
                labels["pcns.env"] = json!(env);
                labels["pcsa.env"] = json!(env);
            }
            let spec = json!({"labelsToApply": labels, "ingress": rules});
            document("Profile", name, json!({}), spec)
        });
    let felix = (
        select(vec!["default", "node.n1", "some"]),
        option::of(select(vec!["palisade-%t", "x"])),
        option::of(any::<bool>()),
    )
        .prop_map(|(name, prefix, ipv6)| {
            let mut spec = serde_json::Map::new();
            spec.extend(prefix.map(|v| ("logPrefix".to_owned(), json!(v))));
            spec.extend(ipv6.map(|v| ("ipv6Support".to_owned(), json!(v))));
            if name == "some" {
                spec.insert("nodeSelector".to_owned(), json!("role == 'db'"));
            }
            document("FelixConfiguration", name, json!({}), Value::Object(spec))
        });
    let node = (select(vec!["n1", "n2"]), labels())
        .prop_map(|(name, labels)| document("Node", name, labels, json!({})));
    let palisade = any::<bool>().prop_map(|loopback| {
        let spec = json!({"exemptions": {"loopback": loopback}});
        document("PalisadeConfiguration", "default", json!({}), spec)
    });
    prop_oneof![4 => set, 2 => tier, 4 => profile, 1 => felix, 1 => node, 1 => palisade, 3 => plugin()]
}

/// One write or removal.
pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let document = prop_oneof![
        4 => global_policy(),
        3 => policy_of_namespace(),
        3 => host_endpoint(),
        3 => workload_endpoint(),
        4 => other(),
    ];
    (document, prop::bool::weighted(0.2)).prop_map(|(document, removed)| {
        let resource = resource(&document);
        (resource.id(), (!removed).then(|| Arc::new(resource)))
    })
}
