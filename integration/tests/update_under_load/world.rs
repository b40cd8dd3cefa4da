//! A host with every way a packet can take through it, a stream for each verdict on each way, and the policy that
//! decides about them.

use std::net::SocketAddr;

use palisade_integration::load::Stream;
use serde_json::{Value, json};

/// `host0` forwards between `lan` and `back`, translates two ports, and has two workloads, one of them unknown to it.
pub(crate) const TOPOLOGY: &str = "
hosts:
  - name: host0
    interfaces:
      - {name: eth0, address: 10.65.0.10/24}
      - {name: eth1, address: 10.66.0.10/24, segment: back}
    protected: true
    forwards: true
    listeners: [{proto: tcp, port: 8055}, {proto: tcp, port: 8056}]
    nat:
      - {proto: udp, address: 10.65.0.10, port: 9020, to: '10.66.0.30:9120'}
      - {proto: udp, address: 10.65.0.10, port: 9021, to: '10.66.0.30:9121'}
    workloads:
      - {name: w0, interface: cali00, address: 10.67.0.2/32}
      - {name: w1, interface: cali01, address: 10.67.0.3/32}
  - name: client
    interfaces: [{name: eth0, address: 10.65.0.20/24}]
    routes: [{to: 10.66.0.0/24, via: 10.65.0.10}, {to: 10.67.0.0/24, via: 10.65.0.10}]
  - name: server
    interfaces: [{name: eth0, address: 10.66.0.30/24, segment: back}]
    routes: [{to: 10.65.0.0/24, via: 10.66.0.10}, {to: 10.67.0.0/24, via: 10.66.0.10}]
";

const HOST: &str = "10.65.0.10";
const CLIENT: &str = "10.65.0.20";
const SERVER: &str = "10.66.0.30";
const WORKLOAD: &str = "10.67.0.2";

/// A way through the host, with a port that must pass and one that must not.
struct Way {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    ports: [u16; 2],
    /// Who receives them, after translation on other ports.
    sink: &'static str,
    sinks: [u16; 2],
}

impl Way {
    const fn new(
        name: &'static str,
        from: &'static str,
        to: &'static str,
        sink: &'static str,
        port: u16,
    ) -> Self {
        let ports = [port, port + 1];
        Self {
            name,
            from,
            to,
            ports,
            sink,
            sinks: ports,
        }
    }

    fn streams(&self) -> impl Iterator<Item = Stream> {
        let fates = [true, false].into_iter().zip(self.ports).zip(self.sinks);
        fates.map(|((passes, port), sink)| Stream {
            name: format!("{} ({port})", self.name),
            from: self.from.to_owned(),
            to: SocketAddr::new(self.to.parse().expect("an address"), port),
            bytes: vec![0],
            passes,
            sink: Some((self.sink.to_owned(), sink)),
        })
    }
}

const WAYS: [Way; 8] = [
    Way::new("in", "client", HOST, "host0", 9000),
    Way::new("out", "host0", CLIENT, "client", 9010),
    Way {
        sinks: [9120, 9121],
        ..Way::new("translated, pre-DNAT", "client", HOST, "server", 9020)
    },
    Way::new("untracked", "client", HOST, "host0", 9030),
    Way::new("forward", "client", SERVER, "server", 9040),
    Way::new("to a workload", "client", WORKLOAD, "w0", 9050),
    Way::new("from a workload", "w0", SERVER, "server", 9060),
    Way::new("from a workload to its host", "w0", HOST, "host0", 9070),
];

/// Two streams for each way, and one of a workload that the host does not know.
pub(crate) fn streams() -> Vec<Stream> {
    let unknown = Way::new("from an unknown workload", "w1", SERVER, "server", 9080);
    let unknown = unknown
        .streams()
        .filter(|stream| !stream.passes)
        .collect::<Vec<_>>();
    WAYS.iter().flat_map(Way::streams).chain(unknown).collect()
}

/// What is there before the first change. Ports beside those of the streams are noise.
pub(crate) fn initial() -> Vec<Value> {
    vec![
        host_endpoint("eth0", &json!({"role": "app"})),
        host_endpoint("eth1", &json!({"role": "back"})),
        workload_endpoint("0"),
        normal(&[]),
        forward(&[]),
        untracked(&[]),
        pre_dnat(&[]),
        workload(&[]),
        felix(0),
    ]
}

/// One of `host0`'s host endpoints.
pub(crate) fn host_endpoint(interface: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
        "metadata": {"name": format!("host0-{interface}"), "labels": labels},
        "spec": {"node": "host0", "interfaceName": interface},
    })
}

/// The endpoint of `w0`.
pub(crate) fn workload_endpoint(generation: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
        "metadata": {
            "name": "host0-libvirt-w0-eth0", "namespace": "apps",
            "labels": {"role": "work", "generation": generation},
        },
        "spec": {
            "node": "host0", "orchestrator": "libvirt", "workload": "w0", "endpoint": "eth0",
            "interfaceName": "cali00", "ipNetworks": [format!("{WORKLOAD}/32")],
        },
    })
}

/// What comes in and goes out over `eth0`. It allows what the untracked and the pre-DNAT policy deny, so that nothing
/// else stops what they let through.
pub(crate) fn normal(noise: &[u16]) -> Value {
    global(
        "normal",
        100,
        json!({
            "selector": "role == 'app'", "types": ["Ingress", "Egress"],
            "ingress": allowing(noise, &[9000, 9021, 9031, 9121]),
            "egress": allowing(noise, &[9010]),
        }),
    )
}

/// What is forwarded over `eth0`.
pub(crate) fn forward(noise: &[u16]) -> Value {
    global(
        "forward",
        200,
        json!({
            "selector": "role == 'app'", "types": ["Ingress"], "applyOnForward": true,
            "ingress": allowing(noise, &[9040, 9050, 9051, 9121]),
        }),
    )
}

/// Before connection tracking.
pub(crate) fn untracked(noise: &[u16]) -> Value {
    let rules = [allowing(noise, &[9030]), vec![deny(9031), pass()]].concat();
    global(
        "untracked",
        100,
        json!({
            "selector": "role == 'app'", "types": ["Ingress"], "doNotTrack": true, "applyOnForward": true,
            "ingress": rules,
        }),
    )
}

/// Before translation.
pub(crate) fn pre_dnat(noise: &[u16]) -> Value {
    let rules = [vec![deny(9021)], allowing(noise, &[9020]), vec![pass()]].concat();
    global(
        "pre-dnat",
        100,
        json!({
            "selector": "role == 'app'", "types": ["Ingress"], "preDNAT": true, "applyOnForward": true,
            "ingress": rules,
        }),
    )
}

/// What reaches and leaves `w0`.
pub(crate) fn workload(noise: &[u16]) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": {"name": "work", "namespace": "apps"},
        "spec": {
            "order": 100, "selector": "role == 'work'", "types": ["Ingress", "Egress"],
            "ingress": allowing(noise, &[9050]),
            "egress": allowing(noise, &[9060, 9070]),
        },
    })
}

/// Settings that say nothing new about a stream: workloads reach their host as far as their policy lets them.
pub(crate) fn felix(generation: u16) -> Value {
    let action = if generation.is_multiple_of(2) {
        "Accept"
    } else {
        "Return"
    };
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration",
        "metadata": {"name": "default"},
        "spec": {
            "defaultEndpointToHostAction": action,
            "failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22}, {"protocol": "TCP", "port": 10_000 + generation}],
        },
    })
}

/// A policy of every endpoint.
pub(crate) fn global(name: &str, order: u32, spec: Value) -> Value {
    let mut spec = spec;
    spec["order"] = order.into();
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name}, "spec": spec,
    })
}

/// One rule a port, noise before and after.
fn allowing(noise: &[u16], ports: &[u16]) -> Vec<Value> {
    let (first, last) = noise.split_at(noise.len() / 2);
    first
        .iter()
        .chain(ports)
        .chain(last)
        .map(|port| {
            json!({
                "action": "Allow", "protocol": "UDP", "destination": {"ports": [port]},
            })
        })
        .collect()
}

fn deny(port: u16) -> Value {
    json!({"action": "Deny", "protocol": "UDP", "destination": {"ports": [port]}})
}

fn pass() -> Value {
    json!({"action": "Pass"})
}
