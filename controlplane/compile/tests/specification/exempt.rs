//! Rules that failsafes leave nothing to, and rules that something is left to.

use palisade_compile::behind_failsafes;
use palisade_model::{Resource, Spec, decode};
use palisade_policy::class::Direction;
use serde_json::{Value, json};

/// Settings of nodes, as given to the compiler, and what they leave nothing to.
struct Settings(Vec<Resource>);

impl Settings {
    fn defaults() -> Self {
        Self(Vec::new())
    }

    /// With a list of UDP ports from hosts, each open to a network, or to everybody.
    fn outbound(mut self, name: &str, open: &[(u16, Option<&str>)]) -> Self {
        let open: Vec<Value> = open
            .iter()
            .map(|(port, net)| match net {
                Some(net) => json!({"protocol": "UDP", "port": port, "net": net}),
                None => json!({"protocol": "UDP", "port": port}),
            })
            .collect();
        let spec = match name.strip_prefix("racks") {
            Some(_) => json!({"failsafeOutboundHostPorts": open, "nodeSelector": "has(rack)"}),
            None => json!({"failsafeOutboundHostPorts": open}),
        };
        let document = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration",
            "metadata": {"name": name}, "spec": spec,
        });
        self.0.push(decode(&document).expect("valid").resource);
        self
    }

    #[track_caller]
    fn behind(&self, policy: Value) -> Vec<(Direction, usize)> {
        let policy = decode(&policy).expect("a valid policy").resource;
        let settings = self.0.iter().map(|resource| match &resource.spec {
            Spec::FelixConfiguration(spec) => spec.as_ref(),
            other => panic!("no settings: {other:?}"),
        });
        behind_failsafes(&policy, &settings.collect::<Vec<_>>())
    }

    /// Whether nothing is left to a rule for packets from the host.
    #[track_caller]
    fn covers(&self, rule: Value) -> bool {
        match self.behind(policy(json!({"egress": [rule]}))).as_slice() {
            [] => false,
            [(Direction::Egress, 0)] => true,
            other => panic!("{other:?}"),
        }
    }
}

fn policy(spec: Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "p"}, "spec": spec,
    })
}

fn to(protocol: Value, ports: Value) -> Value {
    json!({"action": "Deny", "protocol": protocol, "destination": {"ports": ports}})
}

fn with(mut rule: Value, field: &str, value: Value) -> Value {
    rule[field] = value;
    rule
}

#[test]
fn a_rule_within_the_failsafes_of_its_direction_is_behind_them() {
    let defaults = Settings::defaults();
    for covered in [
        to(json!("UDP"), json!([53])),
        to(json!(17), json!([53, 67])),
        to(json!("TCP"), json!(["6666:6667", 179])),
        with(to(json!("UDP"), json!([53])), "ipVersion", json!(6)),
        // What narrows it further leaves no more to it.
        with(
            to(json!("UDP"), json!([53])),
            "source",
            json!({"ports": [5353]}),
        ),
    ] {
        assert!(defaults.covers(covered.clone()), "{covered}");
    }
    for open in [
        to(json!("UDP"), json!([54])),
        to(json!("UDP"), json!([53, 5353])),
        to(json!("UDP"), json!(["53:54"])),
        to(json!("UDP"), json!(["dns"])),
        to(json!("TCP"), json!([53])),
        json!({"action": "Deny", "protocol": "UDP"}),
        json!({"action": "Deny", "protocol": "UDP", "source": {"ports": [53]}}),
        json!({"action": "Deny"}),
        // A failsafe of the other direction.
        to(json!("TCP"), json!([22])),
    ] {
        assert!(!defaults.covers(open.clone()), "{open}");
    }
    let ways = policy(json!({
        "ingress": [{"action": "Allow"}, to(json!("TCP"), json!([22])), to(json!("UDP"), json!([53]))],
        "egress": [to(json!("TCP"), json!([22])), to(json!("UDP"), json!([53]))],
    }));
    let both = [(Direction::Ingress, 1), (Direction::Egress, 1)];
    assert_eq!(defaults.behind(ways), both);
}

#[test]
fn failsafes_of_networks_cover_rules_of_those_networks() {
    let rule = || to(json!("UDP"), json!([53]));
    let of = |net: &str| with(rule(), "destination", json!({"ports": [53], "nets": [net]}));
    let one = Settings::defaults().outbound("default", &[(53, Some("192.0.2.0/24"))]);
    assert!(one.covers(of("192.0.2.53/32")));
    assert!(!one.covers(of("192.0.0.0/16")));
    assert!(!one.covers(rule()));
    // IPv4 alone, as Calico's page writes it.
    let v4 = Settings::defaults().outbound("default", &[(53, Some("0.0.0.0/0"))]);
    assert!(v4.covers(with(rule(), "ipVersion", json!(4))));
    assert!(v4.covers(of("198.51.100.0/24")));
    assert!(!v4.covers(of("2001:db8::/32")));
    assert!(!v4.covers(rule()));
    let both = [(53, Some("0.0.0.0/0")), (53, Some("::/0"))];
    assert!(
        Settings::defaults()
            .outbound("default", &both)
            .covers(rule())
    );
}

#[test]
fn one_node_that_leaves_the_port_to_policy_is_enough() {
    let dns = || to(json!("UDP"), json!([53]));
    let open = |name| Settings::defaults().outbound(name, &[(53, None)]);
    let closed = |name| Settings::defaults().outbound(name, &[(67, None)]);
    assert!(!closed("default").covers(dns()));
    assert!(!closed("node.n").covers(dns()));
    assert!(!closed("racks").covers(dns()));
    assert!(!Settings::defaults().outbound("default", &[]).covers(dns()));
    // Settings without selector are nobody's.
    assert!(closed("stray").covers(dns()));
    assert!(open("node.n").covers(dns()));
    assert!(
        !open("node.n")
            .outbound("default", &[(67, None)])
            .covers(dns())
    );
}

#[test]
fn only_local_packets_of_host_endpoints_meet_failsafes() {
    let spec = |more: Value| {
        let mut spec = json!({"egress": [to(json!("UDP"), json!([53]))]});
        for (field, value) in more.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        spec
    };
    let defaults = Settings::defaults();
    let behind = [(Direction::Egress, 0)];
    assert_eq!(defaults.behind(policy(spec(json!({})))), behind);
    let untracked = json!({"doNotTrack": true, "applyOnForward": true});
    assert_eq!(defaults.behind(policy(spec(untracked))), behind);
    for left in [
        json!({"applyOnForward": true}),
        json!({"namespaceSelector": "all()"}),
        json!({"types": ["Ingress"]}),
    ] {
        assert_eq!(defaults.behind(policy(spec(left.clone()))), [], "{left}");
    }
    let mut namespaced = policy(spec(json!({})));
    namespaced["kind"] = json!("NetworkPolicy");
    namespaced["metadata"]["namespace"] = json!("shop");
    assert_eq!(defaults.behind(namespaced), []);
}
