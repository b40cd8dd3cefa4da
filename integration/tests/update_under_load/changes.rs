//! Changes of every kind of policy and endpoint, none of which says anything new about a stream.

use palisade_integration::product::Api;
use serde_json::{Value, json};

use crate::world::{
    felix, forward, global, host_endpoint, normal, pre_dnat, untracked, workload, workload_endpoint,
};

/// One change: what it is about, and the write.
pub(crate) struct Change {
    /// For people.
    pub(crate) kind: &'static str,
    write: Write,
}

enum Write {
    Apply(Value),
    Delete(&'static str, &'static str),
}

/// How many kinds there are.
pub(crate) const KINDS: u16 = 16;

/// The n-th change, every kind in turn.
pub(crate) fn change(number: u16) -> Change {
    let turn = number / KINDS;
    let noise = [10_000 + number, 20_000 + number];
    let apply = |kind, resource| Change {
        kind,
        write: Write::Apply(resource),
    };
    // Made in one turn and deleted in the next.
    let flip = |kind, what, name, resource| match turn % 2 {
        0 => apply(kind, resource),
        _ => Change {
            kind,
            write: Write::Delete(what, name),
        },
    };
    match number % KINDS {
        0 => apply("policy", normal(&noise)),
        1 => apply("forward policy", forward(&noise)),
        2 => apply("untracked policy", untracked(&noise)),
        3 => apply("pre-DNAT policy", pre_dnat(&noise)),
        4 => apply("policy of workloads", workload(&noise)),
        5 => apply("global set", set("GlobalNetworkSet", None, number)),
        6 => apply(
            "set of a namespace",
            set("NetworkSet", Some("apps"), number),
        ),
        7 => apply("tier", tier(turn)),
        8 => apply(
            "host endpoint",
            host_endpoint("eth0", &json!({"role": "app", "turn": turn.to_string()})),
        ),
        9 => flip(
            "host endpoint come and gone",
            "HostEndpoint",
            "host0-eth1",
            host_endpoint("eth1", &json!({"role": "back"})),
        ),
        10 => flip(
            "host endpoint of everything",
            "HostEndpoint",
            "host0-all",
            everything(),
        ),
        11 => apply("workload endpoint", workload_endpoint(&turn.to_string())),
        12 => apply("Felix", felix(turn)),
        13 => flip(
            "policy come and gone",
            "GlobalNetworkPolicy",
            "from-sets",
            from_sets(),
        ),
        14 => flip(
            "staged policy",
            "StagedGlobalNetworkPolicy",
            "all",
            staged(),
        ),
        _ => apply(
            "order of a policy",
            global(
                "order",
                u32::from(turn % 3) * 100,
                json!({
                    "selector": "has(role)", "types": ["Ingress", "Egress"],
                    "ingress": [{"action": "Log"}], "egress": [],
                }),
            ),
        ),
    }
}

impl Change {
    /// Writes it and returns its revision.
    pub(crate) fn write(&self, api: &mut Api) -> anyhow::Result<u64> {
        match &self.write {
            Write::Apply(resource) => api.apply(std::slice::from_ref(resource)),
            Write::Delete(kind, name) => api.delete(kind, "", name),
        }
    }
}

fn set(kind: &str, namespace: Option<&str>, number: u16) -> Value {
    let mut metadata = json!({"name": "peers", "labels": {"role": "peer"}});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata,
        "spec": {"nets": [format!("10.99.{}.0/24", number % 250)]},
    })
}

/// Governs what no other host endpoint does.
fn everything() -> Value {
    let mut endpoint = host_endpoint("*", &json!({"role": "rest"}));
    endpoint["metadata"]["name"] = "host0-all".into();
    endpoint
}

/// Would stop every stream, were it enforced.
fn staged() -> Value {
    let mut policy = global(
        "all",
        1,
        json!({
            "selector": "has(role)", "types": ["Ingress", "Egress"], "applyOnForward": true,
            "ingress": [{"action": "Deny"}], "egress": [{"action": "Deny"}],
        }),
    );
    policy["kind"] = "StagedGlobalNetworkPolicy".into();
    policy
}

/// A tier whose only policy passes, before or after the others.
fn tier(turn: u16) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "extra"},
        "spec": {"order": 100 + turn % 7, "defaultAction": if turn.is_multiple_of(2) { "Pass" } else { "Deny" }},
    })
}

/// Allows what no stream sends, from the sets.
fn from_sets() -> Value {
    global(
        "from-sets",
        10,
        json!({
            "selector": "has(role)", "types": ["Ingress"],
            "ingress": [{"action": "Allow", "source": {"selector": "role == 'peer'"}}],
        }),
    )
}

/// The policy of the tier `extra`, for the world to begin with.
pub(crate) fn in_tier() -> Vec<Value> {
    let mut policy = global(
        "extra.pass",
        10,
        json!({
            "selector": "has(role)", "types": ["Ingress", "Egress"],
            "ingress": [{"action": "Pass"}], "egress": [{"action": "Pass"}],
        }),
    );
    policy["spec"]["tier"] = "extra".into();
    vec![tier(0), policy]
}
