//! The encoding means what the IR says: packets sent on `lo`, refused in output or not.

use crate::{
    everything::{address, range, single},
    namespace::{alone, run},
};
use palisade_netfilter::Netfilter;
use palisade_policy::{
    ids::IfName,
    rule::{Family, PortRange, Protocol},
};
use palisade_ruleset::{
    ir::{
        Base, ChainName, Element, End, Expression, Hook, Key, Rule, Set, SetName, Shape, Side,
        State, TableName, Value, Verdict,
    },
    plan::{Op, Plan},
};
use std::{io::ErrorKind, net::UdpSocket, sync::Arc};

const MAIN: TableName = TableName::Main;

/// Whether a datagram leaves: what output drops, the sender is told.
fn leaves(to: &str, port: u16) -> bool {
    let wildcard = if to.contains(':') { "::" } else { "0.0.0.0" };
    let socket = UdpSocket::bind((wildcard, 0)).expect("a socket");
    match socket.send_to(b"?", (to, port)) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => panic!("sending to {to} {port}: {error}"),
    }
}

fn output() -> ChainName {
    ChainName::new("output")
}

/// An output chain of these rules, and the sets and maps that they name.
fn install(kernel: &mut Netfilter, definitions: Vec<Op>, rules: Vec<Rule>) {
    let mut ops = vec![Op::AddTable(MAIN)];
    ops.extend(definitions);
    ops.push(Op::AddChain {
        table: MAIN,
        chain: output(),
        base: Some(Base {
            hook: Hook::Output,
            priority: -5,
        }),
    });
    ops.push(Op::AddRules {
        table: MAIN,
        chain: output(),
        rules: Arc::new(rules),
    });
    run("ip", &["link", "set", "lo", "up"]);
    kernel.commit(&Plan { ops }).expect("committed");
}

fn set(name: &str, shape: Shape, interval: bool, elements: Vec<Element>) -> Op {
    Op::AddSet {
        table: MAIN,
        name: SetName::new(name),
        set: Arc::new(Set {
            shape,
            interval,
            elements: elements.into_iter().collect(),
        }),
    }
}

fn lookup(key: Key, not: bool) -> Expression {
    let set = SetName::new("set");
    Expression::Lookup { key, set, not }
}

/// Everything that passes all tests is dropped; of the packets, `dropped` and no other.
fn drops(
    definitions: Vec<Op>,
    tests: Vec<Expression>,
    dropped: &'static [(&'static str, u16)],
    left: &'static [(&'static str, u16)],
) {
    alone(move |mut kernel| {
        let udp = Expression::Protocol {
            protocol: Protocol::UDP,
            not: false,
        };
        let mut expressions = vec![udp];
        expressions.extend(tests);
        expressions.push(Expression::Verdict(Verdict::Drop));
        install(&mut kernel, definitions, vec![Rule::new(expressions)]);
        for (to, port) in dropped {
            assert!(!leaves(to, *port), "{to} {port} leaves");
        }
        for (to, port) in left {
            assert!(leaves(to, *port), "{to} {port} does not leave");
        }
    });
}

fn net(net: &str, not: bool) -> Vec<Expression> {
    let net: ipnet::IpNet = net.parse().expect("a net");
    let family = if net.addr().is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let end = End::Destination;
    vec![
        Expression::Family(family),
        Expression::Net { end, net, not },
    ]
}

#[test]
fn prefixes_of_whole_bytes_and_of_bits_match() {
    let (inside, outside) = (
        &[("127.16.0.1", 9), ("127.31.255.254", 9)],
        &[("127.32.0.1", 9)],
    );
    drops(vec![], net("127.16.0.0/12", false), inside, outside);
    drops(vec![], net("127.16.0.0/12", true), outside, inside);
    drops(
        vec![],
        net("127.16.0.0/16", false),
        &[("127.16.9.9", 9)],
        &[("127.17.0.1", 9)],
    );
    drops(
        vec![],
        net("127.0.0.1/32", false),
        &[("127.0.0.1", 9)],
        &[("127.0.0.2", 9)],
    );
    drops(
        vec![],
        net("0.0.0.0/0", false),
        &[("127.0.0.1", 9)],
        &[("::1", 9)],
    );
    drops(
        vec![],
        net("::1/128", false),
        &[("::1", 9)],
        &[("127.0.0.1", 9)],
    );
}

#[test]
fn ports_and_ranges_of_ports_match() {
    let port = |first, last, not| {
        let range = PortRange::new(first, last).expect("in order");
        let end = End::Destination;
        vec![Expression::Port { end, range, not }]
    };
    let (inside, outside) = (
        &[("127.0.0.1", 80), ("127.0.0.1", 90), ("::1", 85)],
        &[("127.0.0.1", 79), ("127.0.0.1", 91)],
    );
    drops(vec![], port(80, 90, false), inside, outside);
    drops(vec![], port(80, 90, true), outside, inside);
    drops(vec![], port(80, 80, false), &[("::1", 80)], outside);
    drops(vec![], port(80, 80, true), outside, &[("::1", 80)]);
}

#[test]
fn interfaces_match_whole_and_by_prefix() {
    let side = Side::Out;
    let whole = |name: &str, not| {
        let name = IfName::new(name);
        vec![Expression::Interface { side, name, not }]
    };
    let prefix = |prefix: &str| {
        let prefix = prefix.to_owned();
        vec![Expression::InterfacePrefix { side, prefix }]
    };
    drops(vec![], whole("lo", false), &[("127.0.0.1", 9)], &[]);
    drops(vec![], whole("l", false), &[], &[("127.0.0.1", 9)]);
    drops(vec![], whole("lo", true), &[], &[("127.0.0.1", 9)]);
    drops(vec![], prefix("l"), &[("127.0.0.1", 9)], &[]);
    drops(vec![], prefix("lo0"), &[], &[("127.0.0.1", 9)]);
    drops(vec![], vec![Expression::NotLocal], &[], &[("127.0.0.1", 9)]);
}

#[test]
fn keys_of_several_fields_are_found() {
    let end = End::Destination;
    let service = || {
        let elements = vec![single(Value::ProtocolPort(Protocol::UDP, 53))];
        vec![set("set", Shape::ProtocolPort, false, elements)]
    };
    let (there, gone) = (&[("127.0.0.1", 53)], &[("127.0.0.1", 54)]);
    drops(
        service(),
        vec![lookup(Key::ProtocolPort(end), false)],
        there,
        gone,
    );
    drops(
        service(),
        vec![lookup(Key::ProtocolPort(end), true)],
        gone,
        there,
    );
    let ip = |text: &str| text.parse().expect("an address");
    let named = Value::AddressProtocolPort(ip("::1"), Protocol::UDP, 53);
    drops(
        vec![set(
            "set",
            Shape::Address6ProtocolPort,
            false,
            vec![single(named)],
        )],
        vec![
            Expression::Family(Family::V6),
            lookup(Key::AddressProtocolPort(Family::V6, end), false),
        ],
        &[("::1", 53)],
        &[("::1", 54), ("127.0.0.1", 53)],
    );
    let source = Value::InterfaceAddress(IfName::new("lo"), ip("127.0.0.5"));
    drops(
        vec![set(
            "set",
            Shape::InterfaceAddress4,
            false,
            vec![single(source)],
        )],
        vec![
            Expression::Family(Family::V4),
            lookup(Key::InterfaceAddress(Side::Out, Family::V4, end), false),
        ],
        &[("127.0.0.5", 9)],
        &[("127.0.0.6", 9)],
    );
}

#[test]
fn intervals_hold_their_ends_and_nothing_beyond() {
    let nets = || {
        let elements = vec![
            range(address("127.1.0.0"), address("127.1.255.255")),
            single(address("127.3.0.1")),
        ];
        vec![set("set", Shape::Address4, true, elements)]
    };
    let tests = |not| {
        vec![
            Expression::Family(Family::V4),
            lookup(Key::Address(Family::V4, End::Destination), not),
        ]
    };
    let inside = &[("127.1.0.0", 9), ("127.1.255.255", 9), ("127.3.0.1", 9)];
    let outside = &[("127.0.255.255", 9), ("127.2.0.0", 9), ("127.3.0.2", 9)];
    drops(nets(), tests(false), inside, outside);
    drops(nets(), tests(true), outside, inside);
}

#[test]
fn marks_states_and_maps_decide() {
    alone(|mut kernel| {
        let map = SetName::new("map");
        let port = |first, last| range(Value::Port(first), Value::Port(last));
        let definitions = vec![
            Op::AddMap {
                table: MAIN,
                name: map.clone(),
                shape: Shape::Port,
                interval: true,
            },
            Op::AddVerdicts {
                table: MAIN,
                map: map.clone(),
                shape: Shape::Port,
                interval: true,
                elements: vec![
                    (port(100, 199), Verdict::Drop),
                    (port(200, 299), Verdict::Accept),
                    (single(Value::Port(300)), Verdict::Drop),
                    (port(60000, 65535), Verdict::Drop),
                ],
            },
        ];
        let (mask, value) = (0x00ff_0000, 0x0001_0000);
        let mark = |value| Expression::Mark { mask, value };
        let drop = || Expression::Verdict(Verdict::Drop);
        let udp = Expression::Protocol {
            protocol: Protocol::UDP,
            not: false,
        };
        let key = Key::Port(End::Destination);
        let rules = vec![
            Rule::new(vec![
                Expression::CtState(vec![State::Invalid, State::Untracked]),
                drop(),
            ]),
            Rule::new(vec![Expression::CtDnat, drop()]),
            Rule::new(vec![mark(value), drop()]),
            Rule::new(vec![Expression::SetMark { mask, value }]),
            Rule::new(vec![mark(0), drop()]),
            Rule::new(vec![
                udp,
                Expression::VerdictMap {
                    key,
                    map: map.clone(),
                },
            ]),
        ];
        install(&mut kernel, definitions, rules);
        let change = Plan {
            ops: vec![
                Op::DeleteElements {
                    table: MAIN,
                    set: map.clone(),
                    shape: Shape::Port,
                    interval: true,
                    elements: vec![port(200, 299)],
                },
                Op::AddVerdicts {
                    table: MAIN,
                    map,
                    shape: Shape::Port,
                    interval: true,
                    elements: vec![
                        (port(200, 249), Verdict::Drop),
                        (port(250, 299), Verdict::Accept),
                        (port(301, 310), Verdict::Accept),
                    ],
                },
            ],
        };
        let judged = |ports: &[u16]| -> Vec<bool> {
            ports
                .iter()
                .map(|port| leaves("127.0.0.1", *port))
                .collect()
        };
        let ports = [
            99, 100, 199, 200, 249, 250, 299, 300, 301, 59999, 60000, 65535,
        ];
        let (yes, no) = (true, false);
        let before = [yes, no, no, yes, yes, yes, yes, no, yes, yes, no, no];
        assert_eq!(judged(&ports), before);
        kernel.commit(&change).expect("committed");
        kernel.read_touched(&change).expect("as planned");
        let after = [yes, no, no, no, no, yes, yes, no, yes, yes, no, no];
        assert_eq!(judged(&ports), after);
    });
}
