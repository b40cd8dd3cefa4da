//! A ruleset with every expression, every shape, and every kind of map.

use palisade_policy::{
    ids::{IfName, RuleId},
    rule::{Family, PortRange, Protocol},
    view::{Digest, Epoch, Position},
};
use palisade_ruleset::ir::{
    Base, Chain, ChainName, Element, End, Expression, Hook, IcmpTest, Key, LogTo, Map, Rule,
    Ruleset, Set, SetName, Shape, Side, State, Table, TableName, Value, Verdict, names,
};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn chain_name(name: &str) -> ChainName {
    ChainName::new(name)
}

pub(crate) fn single(value: Value) -> Element {
    Element::single(value)
}

pub(crate) fn range(first: Value, last: Value) -> Element {
    Element {
        first,
        last: Some(last),
    }
}

pub(crate) fn address(text: &str) -> Value {
    Value::Address(ip(text))
}

pub(crate) fn position(revision: u64) -> Position {
    Position {
        epoch: Epoch([0xab; 16]),
        revision,
        digest: Digest([0xcd; 32]),
    }
}

fn name(name: &str) -> IfName {
    IfName::new(name)
}

/// Everything of ours that the kernel can hold.
pub(crate) fn everything() -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut main = Table {
        sets: sets(),
        maps: maps(),
        chains: BTreeMap::new(),
    };
    let base = |hook, priority| Some(Base { hook, priority });
    let mut add = |chain: &str, base, rules| {
        let rules = Arc::new(rules);
        main.chains.insert(chain_name(chain), Chain { base, rules });
    };
    add("input", base(Hook::Input, -5), dispatch());
    add("forward", base(Hook::Forward, -8), vec![accept()]);
    add("output", base(Hook::Output, -5), vec![accept()]);
    add("translated", base(Hook::Postrouting, -5), translated());
    add("tests", None, tests());
    add("lookups", None, lookups());
    add("effects", None, effects());
    add("empty", None, Vec::new());
    let raw = Table {
        chains: BTreeMap::from([(
            chain_name("untracked_in"),
            Chain {
                base: base(Hook::Prerouting, -300),
                rules: Arc::new(vec![Rule::new(vec![Expression::Notrack])]),
            },
        )]),
        ..Table::default()
    };
    ruleset.tables.insert(TableName::Main, main);
    ruleset.tables.insert(TableName::Raw, raw);
    ruleset.tables.insert(TableName::Guard, Table::default());
    ruleset
}

fn accept() -> Rule {
    Rule::new(vec![Expression::Verdict(Verdict::Accept)])
}

fn dispatch() -> Vec<Rule> {
    let map = |key, map: &str| {
        let map = SetName::new(map);
        Rule::new(vec![Expression::VerdictMap { key, map }])
    };
    vec![
        Rule::new(vec![
            Expression::CtState(vec![State::Established, State::Related]),
            Expression::Verdict(Verdict::Accept),
        ]),
        map(Key::Interface(Side::In), "dispatch"),
        map(Key::ProtocolPort(End::Destination), "index_1"),
        Rule::new(vec![
            Expression::Protocol {
                protocol: Protocol::TCP,
                not: false,
            },
            Expression::VerdictMap {
                key: Key::Port(End::Destination),
                map: SetName::new("ranges"),
            },
        ]),
        Rule::new(vec![
            Expression::Protocol {
                protocol: Protocol::UDP,
                not: false,
            },
            Expression::VerdictMap {
                key: Key::Port(End::Original),
                map: SetName::new("ranges"),
            },
        ]),
        map(Key::Protocol, "protocols"),
        Rule::new(vec![Expression::Verdict(Verdict::Jump(chain_name(
            "tests",
        )))]),
        Rule::new(vec![Expression::Verdict(Verdict::Goto(chain_name(
            "lookups",
        )))]),
    ]
}

fn translated() -> Vec<Rule> {
    vec![
        Rule::new(vec![
            Expression::NotLocal,
            Expression::Verdict(Verdict::Accept),
        ]),
        Rule::new(vec![
            Expression::CtDnat,
            Expression::CtUnconfirmed,
            Expression::Verdict(Verdict::Accept),
        ]),
        accept(),
    ]
}

fn tests() -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut test = |id: u64, expressions: Vec<Expression>| {
        let mut expressions = expressions;
        expressions.push(Expression::Verdict(Verdict::Drop));
        rules.push(Rule::new(expressions).of(RuleId(id)));
    };
    test(0x0123_4567_89ab_cdef, vec![Expression::Family(Family::V4)]);
    for not in [false, true] {
        test(
            1,
            vec![Expression::Protocol {
                protocol: Protocol::UDP,
                not,
            }],
        );
        let side = if not { Side::In } else { Side::Out };
        let name = name("eth0");
        test(2, vec![Expression::Interface { side, name, not }]);
        for net in ["10.1.2.3/32", "10.0.0.0/8", "10.16.0.0/12", "0.0.0.0/0"] {
            let net = net.parse().expect("a net");
            for end in [
                if not { End::Source } else { End::Destination },
                End::Original,
            ] {
                let family = Expression::Family(Family::V4);
                test(3, vec![family, Expression::Net { end, net, not }]);
            }
        }
        for net in ["2001:db8::1/128", "2001:db8::/32", "fe80::/10", "::/0"] {
            let net = net.parse().expect("a net");
            for end in [
                if not { End::Source } else { End::Destination },
                End::Original,
            ] {
                let family = Expression::Family(Family::V6);
                test(4, vec![family, Expression::Net { end, net, not }]);
            }
        }
        for (first, last) in [(80, 80), (80, 90), (0, 65535)] {
            let range = PortRange::new(first, last).expect("in order");
            for end in [End::Source, End::Destination, End::Original] {
                let tcp = Expression::Protocol {
                    protocol: Protocol::TCP,
                    not: false,
                };
                test(5, vec![tcp, Expression::Port { end, range, not }]);
            }
        }
        for (family, protocol) in [(Family::V4, Protocol::ICMP), (Family::V6, Protocol::ICMPV6)] {
            for code in [None, Some(1)] {
                let icmp = Expression::Protocol {
                    protocol,
                    not: false,
                };
                let test_of = Expression::Icmp(IcmpTest {
                    icmp_type: 3,
                    code,
                    not,
                });
                test(6, vec![Expression::Family(family), icmp, test_of]);
            }
        }
    }
    let (mask, value) = (0x00ff_0000, 0x0001_0000);
    test(7, vec![Expression::Mark { mask, value }]);
    for prefix in ["cali", "e"] {
        let (side, prefix) = (Side::In, prefix.to_owned());
        test(8, vec![Expression::InterfacePrefix { side, prefix }]);
    }
    test(
        9,
        vec![Expression::CtState(vec![
            State::Invalid,
            State::New,
            State::Untracked,
        ])],
    );
    rules
}

fn lookups() -> Vec<Rule> {
    let lookup = |key, set: &str, not, before: Vec<Expression>| {
        let mut expressions = before;
        let set = SetName::new(set);
        expressions.push(Expression::Lookup { key, set, not });
        Rule::new(expressions)
    };
    let v4 = || vec![Expression::Family(Family::V4)];
    let v6 = || vec![Expression::Family(Family::V6)];
    let tcp = || {
        vec![Expression::Protocol {
            protocol: Protocol::TCP,
            not: false,
        }]
    };
    let mut rules = Vec::new();
    for end in [End::Source, End::Destination, End::Original] {
        for not in [false, true] {
            rules.extend([
                lookup(Key::Address(Family::V4, end), "hosts4", not, v4()),
                lookup(Key::Address(Family::V4, end), "nets4", not, v4()),
                lookup(Key::Address(Family::V6, end), "hosts6", not, v6()),
                lookup(Key::Address(Family::V6, end), "nets6", not, v6()),
                lookup(Key::Port(end), "ports", not, tcp()),
                lookup(Key::Port(end), "port_ranges", not, tcp()),
                lookup(Key::ProtocolPort(end), "services", not, vec![]),
                lookup(
                    Key::AddressProtocolPort(Family::V4, end),
                    "named4",
                    not,
                    v4(),
                ),
                lookup(
                    Key::AddressProtocolPort(Family::V6, end),
                    "named6",
                    not,
                    v6(),
                ),
                lookup(
                    Key::InterfaceAddress(Side::In, Family::V4, end),
                    "sources4",
                    not,
                    v4(),
                ),
                lookup(
                    Key::InterfaceAddress(Side::Out, Family::V6, end),
                    "sources6",
                    not,
                    v6(),
                ),
            ]);
        }
    }
    rules.push(lookup(Key::Interface(Side::Out), "names", true, vec![]));
    rules.push(lookup(Key::Protocol, "numbers", false, vec![]));
    rules.push(lookup(Key::Family, names::PLUGIN_ALIVE, false, vec![]));
    rules.push(lookup(Key::Flow(Family::V4), "match4_1", false, v4()));
    rules.push(lookup(Key::Flow(Family::V6), "match6_1", true, v6()));
    rules.push(lookup(Key::Socket(Family::V4), "match4s_1", true, v4()));
    rules.push(lookup(Key::Socket(Family::V6), "match6s_1", false, v6()));
    rules
}

fn effects() -> Vec<Rule> {
    vec![
        Rule::new(vec![
            Expression::Counter,
            Expression::SetMark {
                mask: 0x00ff_0000,
                value: 0x0003_0000,
            },
        ]),
        Rule::new(vec![Expression::MapMark {
            mask: u32::MAX,
            map: SetName::new(names::RESTORE),
        }]),
        Rule::new(vec![
            Expression::Lookup {
                key: Key::Mark { mask: 0xffff_f000 },
                set: SetName::new(names::TAGS),
                not: false,
            },
            Expression::MapMark {
                mask: 0xffff_f000,
                map: SetName::new(names::RESTORE),
            },
        ]),
        Rule::new(vec![
            Expression::Limit {
                rate: 10,
                seconds: 1,
                burst: 5,
            },
            Expression::Log {
                prefix: "0123456789abcdef deny ".to_owned(),
                to: LogTo::Kernel,
            },
        ]),
        Rule::new(vec![
            Expression::Limit {
                rate: 100,
                seconds: 60,
                burst: 20,
            },
            Expression::Log {
                prefix: "0123456789abcdef".to_owned(),
                to: LogTo::Group(7),
            },
            Expression::Verdict(Verdict::Return),
        ]),
        Rule::new(vec![Expression::Reject]).of(RuleId(u64::MAX)),
    ]
}

fn sets() -> BTreeMap<SetName, Arc<Set>> {
    let mut sets = BTreeMap::new();
    let mut set = |name: &str, shape, interval, elements: Vec<Element>| {
        let elements = elements.into_iter().collect();
        let set = Set {
            shape,
            interval,
            elements,
        };
        sets.insert(SetName::new(name), Arc::new(set));
    };
    let (a4, a6) = ("10.0.0.1", "2001:db8::1");
    let named = |a| Value::AddressProtocolPort(ip(a), Protocol::TCP, 8080);
    let source = |a| Value::InterfaceAddress(name("cali12345678901"), ip(a));
    set("hosts4", Shape::Address4, false, vec![single(address(a4))]);
    set("hosts6", Shape::Address6, false, vec![single(address(a6))]);
    set(
        "nets4",
        Shape::Address4,
        true,
        vec![
            range(address("0.0.0.0"), address("0.255.255.255")),
            range(address("10.0.0.0"), address("10.255.255.255")),
            single(address("192.0.2.1")),
            range(address("240.0.0.0"), address("255.255.255.255")),
        ],
    );
    set(
        "nets6",
        Shape::Address6,
        true,
        vec![
            range(
                address("2001:db8::"),
                address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ),
            single(address("fe80::1")),
        ],
    );
    set("empty6", Shape::Address6, true, vec![]);
    set("ports", Shape::Port, false, vec![single(Value::Port(80))]);
    set(
        "port_ranges",
        Shape::Port,
        true,
        vec![
            single(Value::Port(22)),
            range(Value::Port(1024), Value::Port(65535)),
        ],
    );
    let service = Value::ProtocolPort(Protocol::UDP, 53);
    set(
        "services",
        Shape::ProtocolPort,
        false,
        vec![single(service)],
    );
    set(
        "named4",
        Shape::Address4ProtocolPort,
        false,
        vec![single(named(a4))],
    );
    set(
        "named6",
        Shape::Address6ProtocolPort,
        false,
        vec![single(named(a6))],
    );
    set(
        "sources4",
        Shape::InterfaceAddress4,
        false,
        vec![single(source(a4))],
    );
    set(
        "sources6",
        Shape::InterfaceAddress6,
        false,
        vec![single(source(a6))],
    );
    let interface = Value::Interface(name("lo"));
    set("names", Shape::Interface, false, vec![single(interface)]);
    let sctp = Value::Protocol(Protocol::SCTP);
    set("numbers", Shape::Protocol, false, vec![single(sctp)]);
    set(names::PLUGIN_ALIVE, Shape::Family, false, vec![]);
    set(names::TAGS, Shape::Mark, false, vec![]);
    set(names::RESTORE, Shape::MarkToMark, false, vec![]);
    set("match4_1", Shape::Flow4, false, vec![]);
    set("match6_1", Shape::Flow6, false, vec![]);
    set("match4s_1", Shape::Socket4, false, vec![]);
    set("match6s_1", Shape::Socket6, false, vec![]);
    let position = Value::position(&position(7));
    set(
        names::POSITION,
        Shape::Position,
        false,
        vec![single(position)],
    );
    sets
}

fn maps() -> BTreeMap<SetName, Arc<Map>> {
    let mut maps = BTreeMap::new();
    let mut map = |name: &str, shape, interval, elements: Vec<(Element, Verdict)>| {
        let elements = elements.into_iter().collect();
        let map = Map {
            shape,
            interval,
            elements,
        };
        maps.insert(SetName::new(name), Arc::new(map));
    };
    let goto = || Verdict::Goto(chain_name("effects"));
    let interface = |n| single(Value::Interface(name(n)));
    map(
        "dispatch",
        Shape::Interface,
        false,
        vec![
            (interface("lo"), Verdict::Accept),
            (interface("eth0"), goto()),
            (interface("eth1"), Verdict::Drop),
            (interface("eth2"), Verdict::Jump(chain_name("effects"))),
            (interface("eth3"), Verdict::Return),
        ],
    );
    let service = |port| single(Value::ProtocolPort(Protocol::TCP, port));
    map(
        "index_1",
        Shape::ProtocolPort,
        false,
        vec![(service(80), goto()), (service(443), Verdict::Accept)],
    );
    let ports = |first, last| range(Value::Port(first), Value::Port(last));
    map(
        "ranges",
        Shape::Port,
        true,
        vec![
            (ports(0, 79), Verdict::Drop),
            (single(Value::Port(80)), goto()),
            (ports(81, 1023), Verdict::Return),
            (ports(2000, 65535), goto()),
        ],
    );
    map(
        "protocols",
        Shape::Protocol,
        false,
        vec![(single(Value::Protocol(Protocol(47))), goto())],
    );
    map("unused", Shape::InterfaceAddress4, false, vec![]);
    maps
}
