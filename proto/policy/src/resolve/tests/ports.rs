//! Interfaces that are ports of others: their endpoints say so, and packets are judged where the kernel judges them.

use super::*;
use crate::{
    evaluate::{Outcome, Step, Subject, Verdict, evaluate},
    packet::{CtState, Packet, Way},
    rule::Protocol,
};

/// Makes interfaces ports: of whom, and of what kind that is.
fn with_ports(mut machine: Environment, ports: &[(&str, &str, &str)]) -> Environment {
    for (port, master, kind) in ports {
        let interface = machine.interfaces.entry((*port).into()).or_default();
        interface.up = true;
        interface.master = Some(Master {
            name: (*master).into(),
            kind: (*kind).to_owned(),
        });
    }
    machine
}

fn packet(way: Way) -> Packet {
    Packet {
        way,
        source: address("10.0.0.9"),
        destination: address("10.0.0.1"),
        protocol: Protocol::TCP,
        source_port: Some(40_000),
        destination_port: Some(22),
        icmp: None,
        ct: CtState::New,
        original_destination: None,
        answers: BTreeMap::new(),
    }
}

fn arriving(interface: &str) -> Packet {
    packet(Way::In {
        interface: interface.into(),
    })
}

/// What each step is about, and whose list it is.
fn steps(trace: &[Step]) -> Vec<String> {
    trace
        .iter()
        .map(|step| match &step.endpoint {
            Some(endpoint) => format!("{} {endpoint}", step.stage),
            None => format!("{} {}", step.stage, step.subject),
        })
        .collect()
}

#[test]
fn an_endpoint_whose_interface_is_a_port_is_in_error_and_says_whom_to_name() {
    for (kind, master) in [
        ("bond", "bond0"),
        ("bridge", "br0"),
        ("vrf", "red"),
        ("", "#7"),
    ] {
        let plain = machine(&[("eth0", &["10.0.0.1"]), (master, &[])]);
        let port = with_ports(plain.clone(), &[("eth0", master, kind)]);
        for interface in ["eth0", ""] {
            let view = view(&[endpoint("hep/a", interface, &["10.0.0.1"])]);
            assert_eq!(state(&view, &plain, "hep/a"), EndpointState::Up);
            let EndpointState::Error(idle) = state(&view, &port, "hep/a") else {
                panic!("{kind}");
            };
            let told = idle.to_string();
            assert!(told.contains(&format!("name `{master}` instead")), "{told}");
            assert!(told.contains("`eth0` is a port of"), "{told}");
            // The rules stay, for when it is no port any more.
            assert_eq!(governors(&view, &port), [("eth0".into(), "hep/a".into())]);
        }
    }
}

#[test]
fn a_workload_on_a_port_is_in_error_too() {
    let machine = with_ports(machine(&[("br0", &[])]), &[("cali1", "br0", "bridge")]);
    let view = view(&[endpoint("wep/ns/a", "cali1", &["10.0.0.1"])]);
    let told = state(&view, &machine, "wep/ns/a");
    assert!(
        matches!(told, EndpointState::Error(Idle::Port { .. })),
        "{told:?}"
    );
}

#[test]
fn the_default_endpoint_and_that_of_the_device_do_not_mind_ports() {
    let machine = with_ports(
        machine(&[("br0", &["10.0.0.1"])]),
        &[("eth0", "br0", "bridge"), ("eth1", "br0", "bridge")],
    );
    let view = view(&[endpoint("hep/a", "*", &[]), endpoint("hep/b", "br0", &[])]);
    assert_eq!(state(&view, &machine, "hep/a"), EndpointState::Up);
    assert_eq!(state(&view, &machine, "hep/b"), EndpointState::Up);
}

#[test]
fn what_arrives_at_a_port_is_judged_at_its_device_whatever_the_ports_endpoint_says() {
    // A bond within a bridge.
    let machine = with_ports(
        machine(&[("br0", &["10.0.0.1"])]),
        &[("eth0", "bond0", "bond"), ("bond0", "br0", "bridge")],
    );
    // An endpoint without classes denies everything.
    let ports = view(&[
        endpoint("hep/eth0", "eth0", &[]),
        endpoint("hep/bond0", "bond0", &[]),
    ]);
    let open = evaluate(&ports, &machine, &arriving("eth0"));
    assert_eq!(open.verdict, Verdict::Accept);
    assert_eq!(open.reason, Subject::Ungoverned("br0".into()));
    let expected = [
        "input `eth0` is a port of bond `bond0`",
        "input `bond0` is a port of bridge `br0`",
        "input no endpoint governs `br0`",
    ];
    assert_eq!(steps(&open.trace), expected);

    let device = view(&[endpoint("hep/br0", "br0", &[])]);
    for port in ["eth0", "bond0", "br0"] {
        let closed = evaluate(&device, &machine, &arriving(port));
        assert_eq!(closed.verdict, Verdict::Drop, "{port}");
        assert_eq!(
            closed.trace.last().map(|step| &step.outcome),
            Some(&Outcome::Deny)
        );
        let through = Way::Out {
            interface: port.into(),
        };
        assert_eq!(
            evaluate(&device, &machine, &packet(through)).verdict,
            Verdict::Drop
        );
    }
}

#[test]
fn what_arrives_at_a_port_of_a_vrf_is_input_of_the_vrf_and_leaves_through_both() {
    let machine = with_ports(machine(&[("red", &[])]), &[("eth0", "red", "vrf")]);
    let port = view(&[endpoint("hep/eth0", "eth0", &[])]);
    assert_eq!(
        evaluate(&port, &machine, &arriving("eth0")).verdict,
        Verdict::Accept
    );
    let vrf = view(&[endpoint("hep/red", "red", &[])]);
    assert_eq!(
        evaluate(&vrf, &machine, &arriving("eth0")).verdict,
        Verdict::Drop
    );
    let leaving = packet(Way::Out {
        interface: "eth0".into(),
    });
    for view in [&port, &vrf] {
        assert_eq!(evaluate(view, &machine, &leaving).verdict, Verdict::Drop);
    }
}

#[test]
fn a_report_of_devices_in_a_circle_is_survived() {
    let machine = with_ports(
        machine(&[]),
        &[("eth0", "eth1", "bond"), ("eth1", "eth0", "bond")],
    );
    let nobody = view(&[]);
    assert_eq!(
        evaluate(&nobody, &machine, &arriving("eth0")).verdict,
        Verdict::Accept
    );
}
