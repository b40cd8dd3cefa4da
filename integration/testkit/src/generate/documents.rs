//! Resources of every kind.

use super::dice::Dice;
use super::pools::{
    ACCOUNTS, ADDRESSES_4, ADDRESSES_6, LABELS, NAMESPACES, PORT_NAMES, PROFILES, TEAM, TIERS,
    address, net,
};
use super::{pools, rules, selectors};
use crate::document::{
    Body, Direction, Document, Empty, Exemptions, Failsafe, Felix, HostEndpoint, Labels, NamedPort,
    NetworkSet, Palisade, Plugin, Policy, Profile, Protocol, Tier, WorkloadEndpoint, WorkloadPort,
};

/// A world's worth of resources; some share an identity.
pub(super) fn documents(dice: &mut Dice) -> Vec<Document> {
    let mut all = vec![node(dice, "n1"), node(dice, "n2")];
    let times = |dice: &mut Dice, least, most: usize| least + dice.below(most - least + 1);
    let mut add = |dice: &mut Dice, n: usize, make: fn(&mut Dice) -> Document| {
        all.extend((0..n).map(|_| make(dice)));
    };
    let n = times(dice, 0, 3);
    add(dice, n, tier);
    let n = times(dice, 1, 3);
    add(dice, n, profile);
    let n = times(dice, 1, 4);
    add(dice, n, host_endpoint);
    let n = times(dice, 0, 4);
    add(dice, n, network_set);
    let n = times(dice, 0, 4);
    add(dice, n, workload);
    all.extend(identities(dice));
    let mut add = |dice: &mut Dice, n: usize, make: fn(&mut Dice) -> Document| {
        all.extend((0..n).map(|_| make(dice)));
    };
    let n = times(dice, 1, 8);
    add(dice, n, policy);
    let n = times(dice, 0, 3).saturating_sub(1);
    add(dice, n, felix);
    if dice.chance(25) {
        add(dice, 1, palisade);
    }
    all.extend(plugins(dice));
    all
}

fn labels(dice: &mut Dice) -> Labels {
    let mut labels = Labels::new();
    for (key, values) in LABELS {
        if dice.chance(45) {
            labels.insert(key.to_owned(), dice.pick(values).to_owned());
        }
    }
    labels
}

fn namespace(dice: &mut Dice) -> &'static str {
    dice.pick(&NAMESPACES)
}

fn order(dice: &mut Dice) -> Option<f64> {
    dice.maybe(65, |dice| dice.pick(&[-1.5, 0.0, 10.0, 10.0, 20.0]))
}

fn node(dice: &mut Dice, name: &str) -> Document {
    Document::new(name, Body::Node(Empty {})).labelled(labels(dice))
}

fn tier(dice: &mut Dice) -> Document {
    let spec = Tier {
        order: order(dice),
        default_action: dice.maybe(60, |dice| dice.pick(&["Deny", "Pass"]).to_owned()),
    };
    Document::new(dice.pick(&["t1", "t2"]), Body::Tier(spec))
}

fn profile(dice: &mut Dice) -> Document {
    let spec = Profile {
        ingress: rules::rules(dice, 2),
        egress: rules::rules(dice, 2),
        labels_to_apply: labels(dice),
    };
    Document::new(dice.pick(&["p1", "p2"]), Body::Profile(spec))
}

/// The profiles of namespaces and accounts, as whoever registers them writes them; some are missing.
fn identities(dice: &mut Dice) -> Vec<Document> {
    let mut all = Vec::new();
    let mut add = |dice: &mut Dice, name: String, prefix: &str| {
        let (key, values) = TEAM;
        let value = dice.pick(values).to_owned();
        let spec = Profile {
            ingress: rules::rules(dice, 1),
            egress: rules::rules(dice, 1),
            labels_to_apply: Labels::from([(format!("{prefix}{key}"), value)]),
        };
        if dice.chance(80) {
            all.push(Document::new(&name, Body::Profile(spec)));
        }
    };
    for namespace in NAMESPACES {
        add(dice, format!("kns.{namespace}"), "pcns.");
        for account in ACCOUNTS {
            add(dice, format!("ksa.{namespace}.{account}"), "pcsa.");
        }
    }
    all
}

fn protocol(dice: &mut Dice) -> Protocol {
    Protocol::Name(dice.pick(&["TCP", "TCP", "UDP", "SCTP"]).to_owned())
}

fn profiles(dice: &mut Dice) -> Vec<String> {
    let names: Vec<String> = PROFILES.iter().map(|name| (*name).to_owned()).collect();
    dice.maybe(60, |dice| dice.some(&names, 3))
        .unwrap_or_default()
}

fn host_endpoint(dice: &mut Dice) -> Document {
    let interface = dice.pick(&["*", "*", "eth0", "eth0", "eth1", "lo", "", ""]);
    let mut addresses = Vec::new();
    if interface.is_empty() || dice.chance(70) {
        let mut pool = ADDRESSES_4.to_vec();
        pool.extend(ADDRESSES_6);
        addresses.extend(dice.some(&pool, 3).into_iter().map(address));
    }
    let port = |dice: &mut Dice| NamedPort {
        name: dice.pick(&PORT_NAMES).to_owned(),
        protocol: protocol(dice),
        port: dice.pick(&[80, 8080, 53]),
    };
    let spec = HostEndpoint {
        node: dice.pick(&["n1", "n1", "n1", "n2"]).to_owned(),
        interface_name: interface.to_owned(),
        expected_ips: addresses,
        profiles: profiles(dice),
        ports: (0..dice.below(3)).map(|_| port(dice)).collect(),
    };
    let mut labels = labels(dice);
    if dice.chance(4) {
        // Nobody stops a host endpoint from wearing it.
        let namespace = namespace(dice).to_owned();
        labels.insert("projectcalico.org/namespace".to_owned(), namespace);
    }
    let name = dice.pick(&["h0", "h1", "h2", "h-3"]);
    Document::new(name, Body::HostEndpoint(spec)).labelled(labels)
}

fn network_set(dice: &mut Dice) -> Document {
    let mut pool = ADDRESSES_4.to_vec();
    pool.extend(ADDRESSES_6);
    pool.extend(pools::NETS_4);
    pool.extend(pools::NETS_6);
    pool.push("10.0.0.77/24");
    let spec = NetworkSet {
        nets: dice.some(&pool, 5).into_iter().map(str::to_owned).collect(),
    };
    let labels = labels(dice);
    let document = match dice.chance(35) {
        true => Document::new(dice.pick(&["s1", "s2"]), Body::NetworkSet(spec)),
        false => Document::new(dice.pick(&["s1", "s2", "s3"]), Body::GlobalNetworkSet(spec)),
    };
    match document.body {
        Body::NetworkSet(_) => document.within(namespace(dice)).labelled(labels),
        _ => document.labelled(labels),
    }
}

fn workload(dice: &mut Dice) -> Document {
    let namespace = namespace(dice);
    let node = dice.pick(&["n1", "n1", "n1", "n2"]);
    let (workload, endpoint) = (dice.pick(&["w1", "w2"]), dice.pick(&["eth0", "eth-1"]));
    let addresses = ["10.65.0.1", "10.65.0.2", "fd00:65::1", "fd00:65::2/128"];
    let port = |dice: &mut Dice| WorkloadPort {
        name: dice.pick(&PORT_NAMES).to_owned(),
        protocol: protocol(dice),
        port: dice.pick(&[80, 8080, 53]),
        host_port: 0,
    };
    let account = dice.maybe(50, |dice| dice.pick(&ACCOUNTS).to_owned());
    let mut spec = WorkloadEndpoint {
        node: node.to_owned(),
        orchestrator: "vm".to_owned(),
        workload: workload.to_owned(),
        endpoint: endpoint.to_owned(),
        interface_name: dice.pick(&["cali1", "cali1", "cali2", "tap1"]).to_owned(),
        ip_networks: dice
            .some(&addresses, 3)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        profiles: profiles(dice),
        ports: (0..dice.below(3)).map(|_| port(dice)).collect(),
        service_account_name: account.unwrap_or_default(),
        allow_spoofed_source_prefixes: dice
            .maybe(20, |dice| {
                let nets = [
                    "10.0.0.0/24",
                    "10.0.1.2/24",
                    "fd00::/64",
                    "0.0.0.0/0",
                    "192.0.2.7",
                ];
                dice.some(&nets, 3).into_iter().map(str::to_owned).collect()
            })
            .unwrap_or_default(),
    };
    spec.profiles.retain(|name| !name.starts_with("kns."));
    spec.profiles.insert(0, format!("kns.{namespace}"));
    if !spec.service_account_name.is_empty() {
        let account = format!("ksa.{namespace}.{}", spec.service_account_name);
        spec.profiles.insert(1, account);
    }
    if dice.chance(5) {
        spec.ip_networks.clear();
    }
    let double = |text: &str| text.replace('-', "--");
    let name = format!("{node}-vm-{}-{}", double(workload), double(endpoint));
    let labels = labels(dice);
    Document::new(&name, Body::WorkloadEndpoint(spec))
        .within(namespace)
        .labelled(labels)
}

fn policy(dice: &mut Dice) -> Document {
    let mut spec = Policy {
        tier: dice.maybe(70, |dice| dice.pick(&TIERS).to_owned()),
        order: order(dice),
        selector: dice.maybe(85, selectors::of_labels),
        service_account_selector: dice.maybe(5, selectors::of_team),
        ingress: rules::rules(dice, 4),
        egress: rules::rules(dice, 3),
        ..Policy::default()
    };
    use Direction::{Egress, Ingress};
    spec.types = match dice.below(5) {
        0 => vec![Ingress],
        1 => vec![Egress],
        2 => vec![Egress, Ingress],
        _ => Vec::new(),
    };
    let is_global = dice.chance(80);
    if is_global {
        spec.namespace_selector = dice.maybe(10, selectors::of_team);
        list(dice, &mut spec);
    }
    let is_staged = dice.chance(10);
    if is_staged {
        spec.staged_action = dice.maybe(60, |dice| {
            dice.pick(&["Set", "Delete", "Learn", "Ignore"]).to_owned()
        });
    }
    if spec.staged_action.as_deref() == Some("Delete") {
        spec = Policy {
            tier: spec.tier,
            staged_action: spec.staged_action,
            ..Policy::default()
        };
    }
    if is_global && !is_staged && !spec.do_not_track && !spec.pre_dnat && dice.chance(60) {
        rules::asking(dice, &mut spec.ingress);
        rules::asking(dice, &mut spec.egress);
    }
    let body = match (is_global, is_staged) {
        (true, false) => Body::GlobalNetworkPolicy(spec),
        (true, true) => Body::StagedGlobalNetworkPolicy(spec),
        (false, false) => Body::NetworkPolicy(spec),
        (false, true) => Body::StagedNetworkPolicy(spec),
    };
    let name = dice.pick(&["a", "b", "c", "d", "e", "a-b"]);
    let document = Document::new(name, body);
    match is_global {
        true => document,
        false => document.within(namespace(dice)),
    }
}

/// Two matchers, one with a failure policy, and sometimes an auditor, which no rule can ask.
fn plugins(dice: &mut Dice) -> Vec<Document> {
    let kinds = [
        ("m1", "matcher", Some("allow"), 90),
        ("m2", "matcher", None, 90),
        ("reader", "auditor", None, 15),
    ];
    let mut all = Vec::new();
    for (number, (name, kind, on_failure, percent)) in (1..).zip(kinds) {
        if dice.chance(percent) {
            let spec = Plugin {
                kind: kind.to_owned(),
                digest: format!("sha256:{number:064x}"),
                size: 1,
                on_failure: on_failure.map(str::to_owned),
            };
            all.push(Document::new(name, Body::Plugin(spec)));
        }
    }
    all
}

fn list(dice: &mut Dice, spec: &mut Policy) {
    match dice.below(10) {
        0 | 1 => spec.apply_on_forward = true,
        2 => {
            spec.apply_on_forward = true;
            spec.do_not_track = true;
        }
        3 => {
            spec.apply_on_forward = true;
            spec.pre_dnat = true;
            spec.egress.clear();
            spec.types.retain(|way| *way == Direction::Ingress);
        }
        _ => {}
    }
}

fn felix(dice: &mut Dice) -> Document {
    let text = |dice: &mut Dice, percent, from: &[&str]| {
        dice.maybe(percent, |dice| dice.pick(from).to_owned())
    };
    let mut spec = Felix {
        failsafe_inbound_host_ports: dice.maybe(25, failsafes),
        failsafe_outbound_host_ports: dice.maybe(25, failsafes),
        default_endpoint_to_host_action: text(dice, 50, &["Drop", "Accept", "Return", "accept"]),
        interface_prefix: text(dice, 15, &["tap", "cali,tap"]),
        interface_exclude: text(dice, 15, &["eth2", "/^kube-/,eth2"]),
        nftables_filter_deny_action: text(dice, 25, &["Drop", "Reject"]),
        disable_conntrack_invalid_check: dice.maybe(20, |dice| dice.chance(60)),
        ipv6_support: dice.maybe(15, |dice| dice.chance(50)),
        allow_vxlan_packets_from_workloads: dice.maybe(15, |dice| dice.chance(60)),
        allow_ipip_packets_from_workloads: dice.maybe(15, |dice| dice.chance(60)),
        vxlan_port: dice.maybe(10, |dice| dice.pick(&[4789, 8080])),
        workload_source_spoofing: text(dice, 60, &["Any", "Any", "any", "Disabled"]),
        log_prefix: text(dice, 10, &["palisade-%t", "x"]),
        node_selector: None,
    };
    let name = dice.pick(&["default", "default", "node.n1", "node.n2", "some", "others"]);
    let is_selecting = matches!(name, "some" | "others");
    if is_selecting {
        spec.node_selector = Some(selectors::of_labels(dice));
    }
    let mut document = Document::new(name, Body::FelixConfiguration(spec));
    if is_selecting {
        let day = dice.below(9);
        let time = format!("2026-01-0{}T00:00:00Z", day + 1);
        document.metadata.creation_timestamp = Some(time);
    }
    document
}

fn failsafes(dice: &mut Dice) -> Vec<Failsafe> {
    let one = |dice: &mut Dice| Failsafe {
        protocol: dice.pick(&["TCP", "UDP", "SCTP", "tcp"]).to_owned(),
        port: dice.pick(&[22, 53, 80, 8080]),
        net: dice.maybe(50, |dice| {
            net(dice.pick(&["10.0.0.0/24", "10.0.0.3/32", "fd00::/64", "0.0.0.0/0"]))
        }),
    };
    (0..dice.below(4)).map(|_| one(dice)).collect()
}

fn palisade(dice: &mut Dice) -> Document {
    let flag = |dice: &mut Dice| dice.maybe(60, |dice| dice.chance(30));
    let exemptions = Exemptions {
        loopback: flag(dice),
        neighbour_discovery: flag(dice),
        dhcp6: flag(dice),
        control_plane: flag(dice),
    };
    Document::new(
        "default",
        Body::PalisadeConfiguration(Palisade { exemptions }),
    )
}
