//! Worlds and packets in few words.

use palisade_compile::{World, compile};
use palisade_model::{Name, decode};
use palisade_policy::{
    evaluate::{Judgement, Verdict, evaluate},
    ids::IfName,
    packet::{CtState, Environment, Interface, Packet, Way},
    rule::Protocol,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The host's address on eth0, and its client.
pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const CLIENT: &str = "192.0.2.9";
pub(crate) const HOST6: &str = "2001:db8::1";
pub(crate) const CLIENT6: &str = "2001:db8::9";

/// A world around node `n`, with eth0 (addressed), eth1 and lo.
pub(crate) struct Given(World);

impl Given {
    pub(crate) fn nothing() -> Self {
        Self(World::new())
    }

    /// With endpoint `h0` on eth0, labelled `role=db`.
    pub(crate) fn h0() -> Self {
        Self::nothing().endpoint("h0", json!({"interfaceName": "eth0"}))
    }

    pub(crate) fn resource(self, kind: &str, name: &str, labels: Value, spec: Value) -> Self {
        self.with(kind, json!({"name": name, "labels": labels}), spec)
    }

    /// In a namespace.
    pub(crate) fn namespaced(
        self,
        kind: &str,
        (namespace, name): (&str, &str),
        spec: Value,
    ) -> Self {
        self.with(kind, json!({"name": name, "namespace": namespace}), spec)
    }

    /// A workload on the node, labelled `name=<workload>`, under the account and the profile of its namespace.
    pub(crate) fn workload(self, namespace: &str, workload: &str, mut spec: Value) -> Self {
        spec["node"] = json!("n");
        spec["orchestrator"] = json!("vm");
        spec["workload"] = json!(workload);
        spec["endpoint"] = json!("eth0");
        let metadata = json!({
            "name": format!("n-vm-{workload}-eth0"),
            "namespace": namespace,
            "labels": {"name": workload},
        });
        self.with("WorkloadEndpoint", metadata, spec)
    }

    /// A set of a namespace that holds the client, labelled `kind=<kind>`.
    pub(crate) fn with_labelled_set(self, namespace: &str, kind: &str) -> Self {
        let metadata = json!({"name": "s", "namespace": namespace, "labels": {"kind": kind}});
        self.with("NetworkSet", metadata, json!({"nets": [CLIENT]}))
    }

    fn with(self, kind: &str, metadata: Value, spec: Value) -> Self {
        let group = match kind {
            "PalisadeConfiguration" | "Plugin" => "palisade.dev/v1",
            _ => "projectcalico.org/v3",
        };
        self.document(&json!({
            "apiVersion": group,
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
        }))
    }

    pub(crate) fn document(mut self, document: &Value) -> Self {
        let resource = decode(document).expect("a valid resource").resource;
        self.0.set(resource.id(), Some(Arc::new(resource)));
        self
    }

    pub(crate) fn world(&self) -> &World {
        &self.0
    }

    pub(crate) fn endpoint(self, name: &str, mut spec: Value) -> Self {
        spec["node"] = json!("n");
        self.resource("HostEndpoint", name, json!({"role": "db"}), spec)
    }

    /// `h0` again, with other fields beside its interface.
    pub(crate) fn h0_with(self, mut spec: Value) -> Self {
        spec["interfaceName"] = json!("eth0");
        self.endpoint("h0", spec)
    }

    pub(crate) fn policy(self, name: &str, spec: Value) -> Self {
        self.resource("GlobalNetworkPolicy", name, json!({}), spec)
    }

    pub(crate) fn set(self, name: &str, label: &str, nets: Value) -> Self {
        let labels = json!({label: "yes"});
        self.resource("GlobalNetworkSet", name, labels, json!({ "nets": nets }))
    }

    pub(crate) fn felix(self, spec: Value) -> Self {
        self.resource("FelixConfiguration", "default", json!({}), spec)
    }

    pub(crate) fn judge(&self, packet: &Packet) -> Judgement {
        let node = Name::new("n").expect("a name");
        let view = compile(&self.0, &node);
        assert_eq!(view.check(), vec![]);
        let interface = |addresses: &[&str]| Interface {
            up: true,
            addresses: addresses
                .iter()
                .map(|a| a.parse().expect("an address"))
                .collect(),
            master: None,
        };
        let environment = Environment {
            interfaces: [
                (IfName::new("eth0"), interface(&[HOST, HOST6])),
                (IfName::new("eth1"), interface(&["198.51.100.1"])),
                (IfName::new("cali0"), interface(&[])),
                (IfName::new("cali1"), interface(&[])),
                (IfName::new("cali9"), interface(&[])),
                (IfName::new("lo"), interface(&["127.0.0.1", "::1"])),
            ]
            .into(),
            control_plane: vec!["203.0.113.5:443".parse().expect("an address and port")],
        };
        evaluate(&view, &environment, packet)
    }

    #[track_caller]
    pub(crate) fn accepts(self, packet: Packet) -> Self {
        let judgement = self.judge(&packet);
        assert_eq!(
            judgement.verdict,
            Verdict::Accept,
            "{packet:?}: {judgement:#?}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn drops(self, packet: Packet) -> Self {
        let judgement = self.judge(&packet);
        assert_eq!(
            judgement.verdict,
            Verdict::Drop,
            "{packet:?}: {judgement:#?}"
        );
        assert!(judgement.rule.is_some(), "a denial has an id");
        self
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn tcp_in(port: u16) -> Packet {
    Packet {
        answers: BTreeMap::new(),
        way: Way::In {
            interface: IfName::new("eth0"),
        },
        source: ip(CLIENT),
        destination: ip(HOST),
        protocol: Protocol::TCP,
        source_port: Some(40000),
        destination_port: Some(port),
        icmp: None,
        ct: CtState::New,
        original_destination: None,
    }
}

pub(crate) fn tcp_out(port: u16) -> Packet {
    Packet {
        way: Way::Out {
            interface: IfName::new("eth0"),
        },
        source: ip(HOST),
        destination: ip(CLIENT),
        ..tcp_in(port)
    }
}

pub(crate) fn forwarded(from: &str, to: &str) -> Packet {
    Packet {
        way: Way::Forward {
            from: IfName::new(from),
            to: IfName::new(to),
        },
        destination: ip("198.51.100.9"),
        ..tcp_in(80)
    }
}

pub(crate) fn echo_in() -> Packet {
    Packet {
        protocol: Protocol::ICMP,
        source_port: None,
        destination_port: None,
        icmp: Some((8, 0)),
        ..tcp_in(0)
    }
}

/// Over IPv6, from the client to the host or back.
pub(crate) fn v6(packet: Packet) -> Packet {
    let host = |address| {
        if address == ip(HOST) {
            ip(HOST6)
        } else {
            ip(CLIENT6)
        }
    };
    Packet {
        source: host(packet.source),
        destination: host(packet.destination),
        ..packet
    }
}

pub(crate) fn icmp6(packet: Packet, icmp_type: u8) -> Packet {
    v6(Packet {
        protocol: Protocol::ICMPV6,
        source_port: None,
        destination_port: None,
        icmp: Some((icmp_type, 0)),
        ..packet
    })
}

pub(crate) trait But: Sized {
    fn over(self, protocol: Protocol) -> Self;
    fn on(self, interface: &str) -> Self;
    fn at_source(self, source: &str) -> Self;
    fn to(self, destination: &str) -> Self;
    fn state(self, ct: CtState) -> Self;
}

impl But for Packet {
    fn over(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    fn on(mut self, name: &str) -> Self {
        match &mut self.way {
            Way::In { interface } | Way::Out { interface } => *interface = IfName::new(name),
            Way::Forward { from, .. } => *from = IfName::new(name),
        }
        self
    }

    fn at_source(mut self, source: &str) -> Self {
        self.source = ip(source);
        self
    }

    fn to(mut self, destination: &str) -> Self {
        self.destination = ip(destination);
        self
    }

    fn state(mut self, ct: CtState) -> Self {
        self.ct = ct;
        self
    }
}
