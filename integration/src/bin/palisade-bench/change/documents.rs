//! The resources of a world: one host endpoint, policies that differ in port with sources by selector, and one that
//! allows UDP 9000 from the members of many sets.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// Sets that share the members.
const MEMBER_SETS: u32 = 100;

/// How large a world is.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) policies: u32,
    pub(super) members: u32,
    pub(super) sets: u32,
}

/// Everything but the endpoint, which comes last.
pub(super) fn world(size: Size) -> Vec<Value> {
    let sources = (0..size.sets).map(|number| {
        let base = Ipv4Addr::new(10, 128, 0, 0).to_bits() + number * 16;
        let name = format!("s{number}");
        set(&name, &json!({"source": name}), addresses(base, 4))
    });
    let each = size.members / MEMBER_SETS;
    let used = if each == 0 { 0 } else { MEMBER_SETS };
    let members = (0..used).map(|number| {
        let base = Ipv4Addr::new(11, 0, 0, 0).to_bits() + number * each;
        let labels = json!({"member": "true"});
        set(&format!("m{number}"), &labels, addresses(base, each))
    });
    let policies = (0..size.policies).map(|number| {
        let source = format!("source == 's{}'", number % size.sets.max(1));
        let rule = json!({
            "action": "Allow", "protocol": "TCP",
            "source": {"selector": source},
            "destination": {"ports": [10_000 + number]},
        });
        policy(&format!("p{number:05}"), &[rule])
    });
    let open = json!({
        "action": "Allow", "protocol": "UDP",
        "source": {"selector": "member == 'true'"},
        "destination": {"ports": [9000]},
    });
    sources
        .chain(members)
        .chain(policies)
        .chain([
            policy("z-open", &[open]),
            small_set(None),
            small_policy(None),
        ])
        .collect()
}

/// The endpoint that all policies select.
pub(super) fn endpoint(node: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
        "metadata": {"name": "host0-eth0", "labels": {"role": "host"}},
        "spec": {"node": node, "interfaceName": "eth0"},
    })
}

/// A small set that the selector picks, perhaps with one member more.
pub(super) fn small_set(more: Option<Ipv4Addr>) -> Value {
    let mut nets = addresses(Ipv4Addr::new(12, 0, 0, 0).to_bits(), 10);
    nets.extend(more.map(|address| format!("{address}/32")));
    set("small", &json!({"member": "true"}), nets)
}

/// A small policy, perhaps with one rule more: it allows UDP 9001 from an address.
pub(super) fn small_policy(more: Option<Ipv4Addr>) -> Value {
    let mut rules = vec![json!({
        "action": "Allow", "protocol": "TCP", "destination": {"ports": [9002]},
    })];
    rules.extend(more.map(|address| {
        json!({
            "action": "Allow", "protocol": "UDP",
            "source": {"nets": [format!("{address}/32")]},
            "destination": {"ports": [9001]},
        })
    }));
    policy("z-small", &rules)
}

fn addresses(base: u32, count: u32) -> Vec<String> {
    (0..count)
        .map(|n| format!("{}/32", Ipv4Addr::from_bits(base + n)))
        .collect()
}

fn set(name: &str, labels: &Value, nets: Vec<String>) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {"nets": nets},
    })
}

fn policy(name: &str, ingress: &[Value]) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"selector": "role == 'host'", "types": ["Ingress"], "ingress": ingress},
    })
}
