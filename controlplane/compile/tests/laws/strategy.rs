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
        "PalisadeConfiguration" => "palisade.dev/v1",
        _ => "projectcalico.org/v3",
    };
    json!({
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    })
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
        vec(
            select(vec![json!(80), json!("81:90"), json!("http"), json!("dns")]),
            0..3,
        ),
        vec(select(vec![json!(22), json!("http")]), 0..2),
        option::weighted(0.3, select(vec!["10.0.0.0/30", "192.0.2.0/24"])),
    )
        .prop_map(|(selector, not, namespace, ports, not_ports, net)| {
            let mut entity = serde_json::Map::new();
            entity.extend(selector.map(|v| ("selector".to_owned(), json!(v))));
            entity.extend(not.map(|v| ("notSelector".to_owned(), json!(v))));
            entity.extend(namespace.map(|v| ("namespaceSelector".to_owned(), json!(v))));
            entity.extend(net.map(|v| ("nets".to_owned(), json!([v]))));
            if !ports.is_empty() {
                entity.insert("ports".to_owned(), json!(ports));
            }
            if !not_ports.is_empty() {
                entity.insert("notPorts".to_owned(), json!(not_ports));
            }
            Value::Object(entity)
        })
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

fn policy() -> impl Strategy<Value = Value> {
    (
        select(vec!["a", "b", "c", "a-b"]),
        select(vec!["default", "t1", "t2", "gone"]),
        option::of(select(vec![-1.0, 0.0, 10.0])),
        selector(),
        select(vec![
            json!(["Ingress"]),
            json!(["Egress"]),
            json!(["Ingress", "Egress"]),
        ]),
        option::weighted(0.2, select(vec!["all()", "env != 'prod'"])),
        (vec(rule(), 0..3), vec(rule(), 0..2)),
        select(vec!["", "applyOnForward", "doNotTrack", "preDNAT"]),
    )
        .prop_map(
            |(name, tier, order, selector, types, namespace, (ingress, egress), stage)| {
                let mut spec = json!({
                    "tier": tier,
                    "order": order,
                    "selector": selector,
                    "types": types,
                    "ingress": ingress,
                    "egress": egress,
                });
                if let Some(namespace) = namespace {
                    spec["namespaceSelector"] = json!(namespace);
                }
                if !stage.is_empty() {
                    spec["applyOnForward"] = json!(true);
                    spec[stage] = json!(true);
                }
                if stage == "preDNAT" {
                    spec["types"] = json!(["Ingress"]);
                    spec["egress"] = json!([]);
                }
                document("GlobalNetworkPolicy", name, json!({}), spec)
            },
        )
}

fn host_endpoint() -> impl Strategy<Value = Value> {
    let interface = select(vec!["*", "eth0", "eth1"]);
    let ports = vec(
        (select(vec!["http", "dns"]), select(vec!["TCP", "UDP"])),
        0..3,
    );
    (
        select(vec!["h0", "h1", "h2"]),
        select(vec!["n1", "n2"]),
        labels(),
        interface,
        vec(address(), 0..3),
        vec(
            select(vec!["p1", "p2", "projectcalico-default-allow"]),
            0..3,
        ),
        ports,
    )
        .prop_map(
            |(name, node, labels, interface, mut ips, mut profiles, ports)| {
                ips.sort();
                ips.dedup();
                profiles.sort_unstable();
                profiles.dedup();
                let ports: Vec<Value> = ports
                .into_iter()
                .map(|(name, protocol)| json!({"name": name, "protocol": protocol, "port": 8080}))
                .collect();
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
    let set = (select(vec!["s1", "s2"]), labels(), nets).prop_map(|(name, labels, nets)| {
        document("GlobalNetworkSet", name, labels, json!({ "nets": nets }))
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
    let profile = (select(vec!["p1", "p2"]), labels(), vec(rule(), 0..2)).prop_map(
        |(name, labels, rules)| {
            let spec = json!({"labelsToApply": labels, "ingress": rules});
            document("Profile", name, json!({}), spec)
        },
    );
    let felix = (
        select(vec!["default", "node.n1"]),
        option::of(select(vec!["palisade-%t", "x"])),
        option::of(any::<bool>()),
    )
        .prop_map(|(name, prefix, ipv6)| {
            let mut spec = serde_json::Map::new();
            spec.extend(prefix.map(|v| ("logPrefix".to_owned(), json!(v))));
            spec.extend(ipv6.map(|v| ("ipv6Support".to_owned(), json!(v))));
            document("FelixConfiguration", name, json!({}), Value::Object(spec))
        });
    let palisade = any::<bool>().prop_map(|loopback| {
        let spec = json!({"exemptions": {"loopback": loopback}});
        document("PalisadeConfiguration", "default", json!({}), spec)
    });
    prop_oneof![4 => set, 2 => tier, 3 => profile, 1 => felix, 1 => palisade]
}

/// One write or removal.
pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let document = prop_oneof![4 => policy(), 3 => host_endpoint(), 3 => other()];
    (document, prop::bool::weighted(0.2)).prop_map(|(document, removed)| {
        let resource = resource(&document);
        (resource.id(), (!removed).then(|| Arc::new(resource)))
    })
}
