//! The sandbox proves itself without the product: every kind of probe passes where nothing filters, and fails where a
//! rule of the kernel drops it. A harness that cannot see both proves nothing about a firewall.

use std::collections::BTreeSet;
use std::net::IpAddr;

use palisade_integration::format::{NetworkChange, Open, Probe, Protocol, Topology};
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::sandbox::Sandbox;
use palisade_integration::traffic::connection::Connection;
use palisade_integration::traffic::probe::{attempt, observe, observe_all};

const TWO_HOSTS: &str = "
hosts:
  - name: host0
    interfaces: [{name: eth0, address: 10.65.0.10/24, address6: 'fd00:65::10/64', extra_addresses: [10.65.0.11/24]}]
    protected: true
    listeners: [{proto: tcp, port: 80}, {proto: udp, port: 53}, {proto: sctp, port: 80}]
  - name: client
    interfaces: [{name: eth0, address: 10.65.0.20/24, address6: 'fd00:65::20/64'}]
";

const ROUTER: &str = "
hosts:
  - name: host0
    interfaces: [{name: eth0, address: 10.65.0.10/24, address6: 'fd00:65::10/64'}]
    protected: true
    forwards: true
    listeners: [{proto: tcp, port: 80}]
    firewall: {input: drop}
    nat: [{proto: tcp, address: 10.65.0.10, port: 8080, to: '10.66.0.2:80'}]
    workloads:
      - {name: w0, interface: cali00, address: 10.66.0.2/32, address6: 'fd00:66::2/128', listeners: [{proto: tcp, port: 80}]}
      - {name: w1, interface: cali01, address: 10.66.0.3/32, address6: 'fd00:66::3/128', listeners: [{proto: tcp, port: 80}]}
  - name: client
    interfaces: [{name: eth0, address: 10.65.0.20/24, address6: 'fd00:65::20/64'}]
    routes: [{to: 10.66.0.0/24, via: 10.65.0.10}, {to: 'fd00:66::/64', via: 'fd00:65::10'}]
";

const DROP_INPUT: &str = "table inet t { chain c { type filter hook input priority 0; policy accept;\n iifname eth0 meta l4proto != 58 drop\n icmpv6 type echo-request drop\n }\n }";

fn sandbox(topology: &str) -> Sandbox {
    let topology: Topology = serde_saphyr::from_str(topology).expect("a topology");
    Sandbox::build(&topology, &BTreeSet::from([253])).expect("a sandbox")
}

fn check(sandbox: &Sandbox, probes: &[Probe]) {
    let results = observe_all(sandbox, probes, &BTreeSet::new()).expect("probes that can be sent");
    let wrong: Vec<_> = probes
        .iter()
        .zip(results)
        .filter(|(_, right)| !right)
        .map(|(probe, _)| probe.to_string())
        .collect();
    assert!(
        wrong.is_empty(),
        "allowed should be {}: {wrong:?}",
        !probes.iter().all(|probe| !probe.allow)
    );
}

fn to_host(proto: Protocol, port: u16) -> Probe {
    Probe::new("client", "host0", proto, port, true)
}

fn parse(proto: &str) -> Protocol {
    serde_saphyr::from_str(proto).expect("a protocol")
}

fn every_kind() -> Vec<Probe> {
    let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
    let six = |probe: Probe| Probe {
        family: Some(6),
        ..probe
    };
    let spoofed = Probe {
        from_address: address("10.65.0.99"),
        one_way: true,
        ..to_host(Protocol::UDP, 53)
    };
    vec![
        to_host(Protocol::TCP, 80),
        six(to_host(Protocol::TCP, 80)),
        to_host(Protocol::UDP, 53),
        six(to_host(Protocol::UDP, 53)),
        to_host(parse("sctp"), 80),
        six(to_host(parse("sctp"), 80)),
        to_host(Protocol::ICMP, 0),
        Probe {
            icmp_type: Some(13),
            ..to_host(Protocol::ICMP, 0)
        },
        to_host(parse("icmp6"), 0),
        to_host(Protocol::Number(253), 0),
        six(to_host(Protocol::Number(253), 0)),
        Probe {
            sport: Some(22),
            ..to_host(Protocol::TCP, 80)
        },
        Probe {
            sport: Some(22),
            ..to_host(Protocol::UDP, 53)
        },
        Probe {
            to_address: address("10.65.0.11"),
            ..to_host(Protocol::UDP, 53)
        },
        Probe {
            to_address: address("10.65.0.11"),
            ..to_host(Protocol::TCP, 80)
        },
        Probe {
            from_address: address("10.65.0.20"),
            ..to_host(Protocol::TCP, 80)
        },
        Probe {
            one_way: true,
            ..to_host(Protocol::TCP, 80)
        },
        Probe {
            one_way: true,
            ..to_host(Protocol::UDP, 53)
        },
        Probe {
            one_way: true,
            ..to_host(Protocol::ICMP, 0)
        },
        spoofed,
        Probe {
            from_address: address("fd00:65::99"),
            family: Some(6),
            one_way: true,
            ..to_host(Protocol::UDP, 53)
        },
        Probe {
            from_address: address("fd00:65::99"),
            family: Some(6),
            one_way: true,
            ..to_host(parse("icmp6"), 0)
        },
    ]
}

#[test]
fn every_kind_of_probe_passes_without_a_firewall_and_fails_behind_one() {
    if !have("harness", &[Prerequisite::Netns]) {
        return;
    }
    let sandbox = sandbox(TWO_HOSTS);
    check(&sandbox, &every_kind());
    sandbox
        .station("host0")
        .expect("host0")
        .namespace()
        .nft(DROP_INPUT)
        .expect("a firewall");
    check(
        &sandbox,
        &every_kind()
            .into_iter()
            .map(|probe| Probe {
                allow: false,
                ..probe
            })
            .collect::<Vec<_>>(),
    );
}

#[test]
fn a_probe_to_a_closed_port_is_not_allowed() {
    if !have("harness", &[Prerequisite::Netns]) {
        return;
    }
    let sandbox = sandbox(TWO_HOSTS);
    assert!(!attempt(&sandbox, &to_host(Protocol::TCP, 81)).expect("a probe"));
    assert!(!attempt(&sandbox, &to_host(Protocol::UDP, 54)).expect("a probe"));
    assert!(attempt(&sandbox, &to_host(Protocol::TCP, 80)).expect("a probe"));
}

#[test]
fn an_open_connection_outlives_a_rule_for_new_ones_and_a_sweep_of_the_others() {
    if !have("harness", &[Prerequisite::Netns]) {
        return;
    }
    let sandbox = sandbox(TWO_HOSTS);
    let open = |proto, port| Open {
        id: "c".into(),
        from: "client".into(),
        to: "host0".into(),
        proto,
        port,
    };
    let host = sandbox.station("host0").expect("host0").namespace();
    // Connection tracking begins with the first rule that asks for it.
    host.nft("table inet t { chain c { type filter hook input priority 0; policy accept;\n ct state established accept\n }\n }").expect("tracking");
    let tcp = Connection::open(&sandbox, &open(Protocol::TCP, 80)).expect("a connection");
    let udp = Connection::open(&sandbox, &open(Protocol::UDP, 53)).expect("a connection");
    host.nft("add rule inet t c iifname eth0 ct state new drop")
        .expect("a firewall");
    assert!(tcp.flows() && udp.flows());
    sandbox
        .forget_connections(&BTreeSet::from([tcp.source_port()]))
        .expect("ctnetlink");
    assert!(tcp.flows(), "its connection was kept");
    assert!(!udp.flows(), "its connection was forgotten, so it is new");
    assert!(!attempt(&sandbox, &to_host(Protocol::TCP, 80)).expect("a probe"));
}

#[test]
fn workloads_translation_and_the_hosts_own_firewall_work() {
    if !have("harness", &[Prerequisite::Netns]) {
        return;
    }
    let sandbox = sandbox(ROUTER);
    let probe =
        |from: &str, to: &str, port, allow| Probe::new(from, to, Protocol::TCP, port, allow);
    let six = |probe: Probe| Probe {
        family: Some(6),
        ..probe
    };
    let translated = Probe {
        to_address: "10.65.0.10".parse().ok(),
        ..probe("client", "w0", 8080, true)
    };
    let as_another = Probe {
        to_address: "10.65.0.10".parse().ok(),
        ..probe("client", "w1", 8080, false)
    };
    let stolen = Probe {
        from_address: "10.66.0.3".parse().ok(),
        family: None,
        ..probe("w0", "w1", 80, false)
    };
    check(
        &sandbox,
        &[
            probe("client", "w0", 80, true),
            probe("w0", "w1", 80, true),
            six(probe("client", "w0", 80, true)),
            six(probe("w0", "w1", 80, true)),
            probe("host0", "w0", 80, true),
            probe("w0", "host0", 80, false),
            probe("client", "host0", 80, false),
            translated,
            as_another,
            stolen,
        ],
    );
}

#[test]
fn an_interface_made_later_carries_traffic_and_a_removed_address_does_not() {
    if !have("harness", &[Prerequisite::Netns]) {
        return;
    }
    let mut sandbox = sandbox(TWO_HOSTS);
    let change = |host: &str| NetworkChange {
        host: host.into(),
        interface: None,
        add: None,
        remove: None,
        create_interface: None,
        segment: None,
        address: None,
        flush_neighbours: false,
    };
    for (host, address) in [("host0", "10.67.0.10/24"), ("client", "10.67.0.20/24")] {
        let address = address.parse().ok();
        sandbox
            .change(&NetworkChange {
                create_interface: Some("eth1".into()),
                segment: Some("back".into()),
                address,
                ..change(host)
            })
            .expect("a new interface");
    }
    sandbox
        .change(&NetworkChange {
            flush_neighbours: true,
            ..change("client")
        })
        .expect("a flush");
    let mut probe = Probe {
        to_address: "10.67.0.10".parse().ok(),
        ..to_host(Protocol::UDP, 53)
    };
    assert!(observe(&sandbox, &probe, &BTreeSet::new()).expect("a probe"));
    let remove = "10.67.0.10/24".parse().ok();
    sandbox
        .change(&NetworkChange {
            interface: Some("eth1".into()),
            remove,
            ..change("host0")
        })
        .expect("a removal");
    probe.allow = false;
    assert!(observe(&sandbox, &probe, &BTreeSet::new()).expect("a probe"));
}

#[test]
fn every_scenario_file_parses() {
    let files = palisade_integration::scenario::files().expect("the scenarios");
    assert!(files.len() > 80, "only {} scenarios", files.len());
    for file in files {
        file.load().unwrap_or_else(|error| panic!("{error:#}"));
    }
}
