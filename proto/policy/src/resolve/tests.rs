//! Conflicts and takeover, by table: endpoints and interfaces in, who governs what out.

use super::*;
use crate::{config::NodeConfig, endpoint::Endpoint, packet::Interface};
use std::{net::IpAddr, sync::Arc};

mod ports;

const CONFIG: fn() -> NodeConfig = || NodeConfig {
    failsafe_inbound: vec![],
    failsafe_outbound: vec![],
    interface_exclude: vec!["kube-ipvs0".into(), "/^virbr[0-9]+$/".into()],
    log_limit: None,
    ..NodeConfig::default()
};

/// `name`: an interface, `*`, or nothing for a match by address.
fn endpoint(id: &str, name: &str, addresses: &[&str]) -> (EndpointId, Arc<Endpoint>) {
    let endpoint = Endpoint {
        kind: if id.starts_with("wep/") {
            EndpointKind::Workload
        } else {
            EndpointKind::Host
        },
        interface: match name {
            "" => InterfaceMatch::ByAddress,
            "*" => InterfaceMatch::Any,
            name => InterfaceMatch::Named(name.into()),
        },
        addresses: addresses.iter().map(|a| address(a)).collect(),
        source_prefixes: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        classes: BTreeMap::new(),
    };
    (id.into(), Arc::new(endpoint))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn view(endpoints: &[(EndpointId, Arc<Endpoint>)]) -> View {
    View {
        plugins: BTreeMap::new(),
        config: Arc::new(CONFIG()),
        endpoints: endpoints.iter().cloned().collect(),
        classes: BTreeMap::new(),
        policies: BTreeMap::new(),
        sets: BTreeMap::new(),
    }
}

fn machine(interfaces: &[(&str, &[&str])]) -> Environment {
    let interface = |addresses: &[&str]| Interface {
        up: true,
        addresses: addresses.iter().map(|a| address(a)).collect(),
        master: None,
    };
    Environment {
        interfaces: interfaces
            .iter()
            .map(|(name, addresses)| ((*name).into(), interface(addresses)))
            .collect(),
        control_plane: vec![],
    }
}

/// Who judges local traffic of each interface.
fn governors(view: &View, environment: &Environment) -> Vec<(String, String)> {
    let resolution = resolve(view, environment);
    let judge = |name: &IfName| resolution.host_endpoint(name).map(ToString::to_string);
    let names = environment.interfaces.keys();
    names
        .filter_map(|name| Some((name.to_string(), judge(name)?)))
        .collect()
}

fn state(view: &View, environment: &Environment, id: &str) -> EndpointState {
    resolve(view, environment).status[&EndpointId::new(id)]
        .state
        .clone()
}

macro_rules! governed {
    ($view:expr, $machine:expr, [$($interface:literal => $endpoint:literal),* $(,)?]) => {
        let expected: Vec<(String, String)> = vec![$(($interface.into(), $endpoint.into())),*];
        assert_eq!(governors(&$view, &$machine), expected);
    };
}

#[test]
fn the_smallest_name_governs_whether_it_matches_by_name_or_by_address() {
    let machine = machine(&[("eth0", &["10.0.0.1"])]);
    let (name, by_address) = ("eth0", &["10.0.0.1"][..]);
    let first = view(&[
        endpoint("hep/a", "", by_address),
        endpoint("hep/b", name, &[]),
    ]);
    governed!(first, machine, ["eth0" => "hep/a"]);
    let outranked = EndpointState::Error(Idle::Outranked("hep/a".into()));
    assert_eq!(state(&first, &machine, "hep/b"), outranked);
    let second = view(&[
        endpoint("hep/a", name, &[]),
        endpoint("hep/b", "", by_address),
    ]);
    governed!(second, machine, ["eth0" => "hep/a"]);
    assert_eq!(state(&second, &machine, "hep/b"), outranked);
}

#[test]
fn the_loser_takes_over_when_the_winner_goes_or_its_address_moves() {
    let both = view(&[
        endpoint("hep/a", "", &["10.0.0.1"]),
        endpoint("hep/b", "eth0", &[]),
    ]);
    let alone = view(&[endpoint("hep/b", "eth0", &[])]);
    let before = machine(&[("eth0", &["10.0.0.1"]), ("eth1", &["10.0.0.2"])]);
    governed!(both, before, ["eth0" => "hep/a"]);
    governed!(alone, before, ["eth0" => "hep/b"]);
    let moved = machine(&[("eth0", &[]), ("eth1", &["10.0.0.1", "10.0.0.2"])]);
    governed!(both, moved, ["eth0" => "hep/b", "eth1" => "hep/a"]);
    let nowhere = machine(&[("eth0", &[])]);
    assert_eq!(
        state(&both, &nowhere, "hep/a"),
        EndpointState::Error(Idle::NoAddress)
    );
    governed!(both, nowhere, ["eth0" => "hep/b"]);
}

#[test]
fn one_endpoint_governs_every_interface_that_carries_one_of_its_addresses() {
    let all = view(&[endpoint("hep/a", "", &["10.0.0.1", "fd00::2"])]);
    let machine = machine(&[
        ("eth0", &["10.0.0.1"]),
        ("eth1", &["fd00::2"]),
        ("eth2", &[]),
    ]);
    governed!(all, machine, ["eth0" => "hep/a", "eth1" => "hep/a"]);
}

#[test]
fn a_name_that_differs_never_matches_by_address() {
    let named = view(&[endpoint("hep/a", "eth1", &["10.0.0.1"])]);
    let machine = machine(&[("eth0", &["10.0.0.1"])]);
    governed!(named, machine, []);
    assert_eq!(
        state(&named, &machine, "hep/a"),
        EndpointState::Error(Idle::Absent("eth1".into()))
    );
    // Renamed, the interface is another's.
    let renamed = self::machine(&[("eth1", &["10.0.0.1"])]);
    governed!(named, renamed, ["eth1" => "hep/a"]);
    assert_eq!(state(&named, &renamed, "hep/a"), EndpointState::Up);
}

#[test]
fn the_default_has_what_no_other_has_excluded_interfaces_too_but_not_lo_and_workloads() {
    let all = view(&[
        endpoint("hep/a", "*", &[]),
        endpoint("hep/b", "*", &[]),
        endpoint("hep/c", "eth0", &[]),
    ]);
    let machine = machine(&[
        ("cali1", &[]),
        ("docker0", &[]),
        ("eth0", &[]),
        ("kube-ipvs0", &[]),
        ("lo", &[]),
        ("virbr0", &[]),
        ("virbridge", &[]),
    ]);
    governed!(all, machine, [
        "docker0" => "hep/a",
        "eth0" => "hep/c",
        "kube-ipvs0" => "hep/a",
        "virbr0" => "hep/a",
        "virbridge" => "hep/a"
    ]);
    assert_eq!(
        state(&all, &machine, "hep/b"),
        EndpointState::Error(Idle::Outranked("hep/a".into()))
    );
    let resolution = resolve(&all, &machine);
    assert_eq!(
        resolution.forward_endpoint(&"cali1".into()),
        Some(&"hep/a".into())
    );
    // Its own endpoint governs `lo` in any case, and `*` does where that is asked for.
    let mut strict = all.clone();
    Arc::make_mut(&mut strict.config).exemptions.loopback = false;
    assert_eq!(
        resolve(&strict, &machine).host_endpoint(&"lo".into()),
        Some(&"hep/a".into())
    );
    let named = view(&[endpoint("hep/z", "lo", &[]), endpoint("hep/a", "*", &[])]);
    assert_eq!(
        resolve(&named, &machine).host_endpoint(&"lo".into()),
        Some(&"hep/z".into())
    );
}

#[test]
fn what_cannot_govern_says_why() {
    let all = view(&[
        endpoint("hep/excluded", "kube-ipvs0", &[]),
        endpoint("hep/workload", "cali1", &[]),
        endpoint("wep/ns/n-k8s-w-e", "eth0", &[]),
    ]);
    let machine = machine(&[("cali1", &[]), ("eth0", &[]), ("kube-ipvs0", &["10.0.0.1"])]);
    governed!(all, machine, []);
    for (id, why) in [
        ("hep/excluded", Idle::Excluded("kube-ipvs0".into())),
        ("hep/workload", Idle::WorkloadInterface("cali1".into())),
        ("wep/ns/n-k8s-w-e", Idle::HostInterface("eth0".into())),
    ] {
        assert_eq!(state(&all, &machine, id), EndpointState::Error(why));
    }
    // Nor is an excluded interface found by its address.
    let by_address = view(&[endpoint("hep/a", "", &["10.0.0.1"])]);
    governed!(by_address, machine, []);
}

#[test]
fn an_endpoint_is_down_while_one_of_its_interfaces_is() {
    let all = view(&[endpoint("hep/a", "", &["10.0.0.1", "10.0.0.2"])]);
    let mut machine = machine(&[("eth0", &["10.0.0.1"]), ("eth1", &["10.0.0.2"])]);
    assert_eq!(state(&all, &machine, "hep/a"), EndpointState::Up);
    let eth1 = machine.interfaces.get_mut(&IfName::new("eth1"));
    eth1.expect("there").up = false;
    assert_eq!(state(&all, &machine, "hep/a"), EndpointState::Down);
    governed!(all, machine, ["eth0" => "hep/a", "eth1" => "hep/a"]);
}

#[test]
fn of_two_workloads_with_one_interface_the_orchestrator_decides_first() {
    let all = view(&[
        endpoint("wep/a/n-k8s-w-e", "cali1", &[]),
        endpoint("wep/z/n-cni-w-e", "cali1", &[]),
    ]);
    let machine = machine(&[("cali1", &[])]);
    let resolution = resolve(&all, &machine);
    let governs = &resolution.workloads[&IfName::new("cali1")];
    assert_eq!(governs.as_str(), "wep/z/n-cni-w-e");
    assert_eq!(
        state(&all, &machine, "wep/a/n-k8s-w-e"),
        EndpointState::Error(Idle::Outranked("wep/z/n-cni-w-e".into()))
    );
}

fn told(view: &View, environment: &Environment) -> Vec<String> {
    disagreements(view, environment, &resolve(view, environment))
        .iter()
        .map(|(id, told)| format!("{id}: {told}"))
        .collect()
}

#[test]
fn expected_addresses_that_are_not_those_of_the_interface_are_told() {
    let all = view(&[
        endpoint("hep/eth0", "eth0", &["10.0.0.1", "10.0.0.9"]),
        endpoint("hep/eth1", "", &["10.0.1.1"]),
        endpoint("hep/eth2", "eth2", &["10.0.2.1"]),
        endpoint("hep/none", "eth3", &[]),
    ]);
    let machine = machine(&[
        ("eth0", &["10.0.0.1", "fe80::1", "169.254.3.4"]),
        ("eth1", &["10.0.1.1", "fd00::1"]),
        ("eth2", &["10.0.2.1", "fe80::2"]),
        ("eth3", &["10.0.3.1"]),
    ]);
    assert_eq!(
        told(&all, &machine),
        [
            "hep/eth0: none of its interfaces has 10.0.0.9",
            "hep/eth1: its expected addresses lack fd00::1",
        ]
    );
}

#[test]
fn of_a_default_endpoint_only_absent_addresses_are_told() {
    let all = view(&[endpoint("hep/all", "*", &["10.0.0.1", "10.0.0.9"])]);
    let machine = machine(&[
        ("docker0", &["172.17.0.1"]),
        ("eth0", &["10.0.0.1"]),
        ("lo", &["127.0.0.1"]),
    ]);
    assert_eq!(
        told(&all, &machine),
        ["hep/all: none of its interfaces has 10.0.0.9"]
    );
}

#[test]
fn an_endpoint_that_governs_nothing_has_its_status_to_say_so() {
    let all = view(&[
        endpoint("hep/a", "eth9", &["10.0.0.1"]),
        endpoint("hep/b", "", &["10.0.0.1"]),
    ]);
    assert!(told(&all, &machine(&[("eth0", &["10.0.0.5"])])).is_empty());
}

#[test]
fn a_workload_with_source_prefixes_is_missing_unless_the_node_allows_any() {
    let (id, with) = endpoint("wep/red/n-vm-a-eth0", "cali1", &["10.66.0.2"]);
    let with = Endpoint {
        source_prefixes: vec!["192.0.2.0/24".parse().expect("a prefix")],
        ..(*with).clone()
    };
    let second = endpoint("wep/red/n-vm-b-eth0", "cali1", &["10.66.0.3"]);
    let second_id = second.0.clone();
    let mut view = view(&[(id.clone(), Arc::new(with)), second]);
    let machine = machine(&[("cali1", &[])]);
    let missing = EndpointState::Error(Idle::SourcePrefixes);
    assert_eq!(state(&view, &machine, id.as_str()), missing);
    let governor = |view: &View| resolve(view, &machine).workloads[&"cali1".into()].clone();
    assert_eq!(governor(&view), second_id, "the missing one claims nothing");
    view.config = Arc::new(NodeConfig {
        allow_source_prefixes: true,
        ..CONFIG()
    });
    assert_eq!(state(&view, &machine, id.as_str()), EndpointState::Up);
    assert_eq!(governor(&view), id);
}
