//! Changes of what is there: large ones, small ones, and reading back only what they touched.

use crate::{
    everything::{address, chain_name, everything, position, range, single},
    namespace::{alone, install, nft},
};
use palisade_netfilter::{Mismatch, Netfilter};
use palisade_policy::{ids::IfName, rule::Family};
use palisade_ruleset::{
    ir::{Element, End, Expression, Rule, Set, SetName, Shape, TableName, Value, Verdict, names},
    plan::{Op, Plan},
};
use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

const MAIN: TableName = TableName::Main;

fn plan(ops: Vec<Op>) -> Plan {
    Plan { ops }
}

fn add(set: &str, shape: Shape, interval: bool, elements: Vec<Element>) -> Op {
    Op::AddElements {
        table: MAIN,
        set: SetName::new(set),
        shape,
        interval,
        elements,
    }
}

fn delete(set: &str, shape: Shape, interval: bool, elements: Vec<Element>) -> Op {
    Op::DeleteElements {
        table: MAIN,
        set: SetName::new(set),
        shape,
        interval,
        elements,
    }
}

fn verdicts(map: &str, shape: Shape, interval: bool, elements: Vec<(Element, Verdict)>) -> Op {
    Op::AddVerdicts {
        table: MAIN,
        map: SetName::new(map),
        shape,
        interval,
        elements,
    }
}

/// Commits, and sees the touched as expected at the commit's generation.
fn apply(kernel: &mut Netfilter, plan: &Plan) {
    let before = kernel.generation().expect("asked");
    kernel.commit(plan).expect("committed");
    let seen = kernel.read_touched(plan).expect("as planned");
    assert_eq!(seen, before + 1);
}

fn differs(kernel: &mut Netfilter, plan: &Plan) -> String {
    match kernel.read_touched(plan) {
        Err(Mismatch::Differs { what, .. }) => what,
        other => panic!("no difference: {other:?}"),
    }
}

fn host(n: u32) -> Element {
    let address = Ipv4Addr::from(0x0b00_0000 + n);
    single(Value::Address(address.into()))
}

#[test]
fn ten_thousand_rules_and_members_are_one_transaction() {
    alone(|mut kernel| {
        let mut desired = everything();
        let main = desired.tables.get_mut(&MAIN).expect("main");
        let rules = (0..10_000_u32)
            .map(|n| {
                Rule::new(vec![
                    Expression::Family(Family::V4),
                    Expression::Net {
                        end: End::Source,
                        net: ipnet::IpNet::new(Ipv4Addr::from(n).into(), 32).expect("a net"),
                        not: false,
                    },
                    Expression::Counter,
                    Expression::Verdict(Verdict::Drop),
                ])
            })
            .collect();
        main.chains
            .get_mut(&chain_name("empty"))
            .expect("chain")
            .rules = Arc::new(rules);
        let set = Set {
            shape: Shape::Address4,
            interval: false,
            elements: (0..10_000).map(host).collect(),
        };
        main.sets.insert(SetName::new("many"), Arc::new(set));
        let before = kernel.generation().expect("asked");
        let install = install(&desired);
        let committed = kernel.commit(&install).expect("committed");
        assert!(committed.bytes > 2_000_000, "{} bytes", committed.bytes);
        assert_eq!(kernel.read().expect("read"), desired);
        let seen = kernel.read_touched(&install).expect("there");
        assert_eq!(seen, before + 1);
    });
}

#[test]
fn members_come_and_go() {
    alone(|mut kernel| {
        let install = install(&everything());
        apply(&mut kernel, &install);
        let there = plan(vec![add("hosts4", Shape::Address4, false, vec![host(1)])]);
        let gone = plan(vec![delete(
            "hosts4",
            Shape::Address4,
            false,
            vec![host(1)],
        )]);
        apply(&mut kernel, &there);
        assert!(differs(&mut kernel, &gone).contains("`hosts4`"));
        apply(&mut kernel, &gone);
        assert!(differs(&mut kernel, &there).contains("`hosts4`"));
    });
}

#[test]
fn ranges_come_and_go() {
    alone(|mut kernel| {
        apply(&mut kernel, &install(&everything()));
        let cidr = range(address("172.16.0.0"), address("172.31.255.255"));
        let smaller = range(address("172.16.0.0"), address("172.16.255.255"));
        let top = range(address("240.0.0.0"), address("255.255.255.255"));
        let step = |ops| plan(ops);
        let (shape, set) = (Shape::Address4, "nets4");
        let there = step(vec![add(set, shape, true, vec![cidr.clone()])]);
        let shrunk = step(vec![
            delete(set, shape, true, vec![cidr.clone(), top]),
            add(set, shape, true, vec![smaller.clone()]),
        ]);
        apply(&mut kernel, &there);
        assert!(differs(&mut kernel, &shrunk).contains("`nets4`"));
        apply(&mut kernel, &shrunk);
        assert!(differs(&mut kernel, &there).contains("`nets4`"));
        let read = kernel.read().expect("read");
        let elements = &read.tables[&MAIN].sets[&SetName::new(set)].elements;
        let expected: BTreeSet<_> = [
            range(address("0.0.0.0"), address("0.255.255.255")),
            range(address("10.0.0.0"), address("10.255.255.255")),
            smaller,
            single(address("192.0.2.1")),
        ]
        .into();
        assert_eq!(*elements, expected);
    });
}

#[test]
fn a_range_between_touching_ranges_is_repointed() {
    alone(|mut kernel| {
        let mut desired = everything();
        apply(&mut kernel, &install(&desired));
        let port = |port| single(Value::Port(port));
        let middle = range(Value::Port(81), Value::Port(1023));
        let change = plan(vec![
            delete("ranges", Shape::Port, true, vec![middle.clone(), port(80)]),
            verdicts(
                "ranges",
                Shape::Port,
                true,
                vec![
                    (port(80), Verdict::Accept),
                    (middle.clone(), Verdict::Drop),
                    (range(Value::Port(1024), Value::Port(1999)), Verdict::Return),
                ],
            ),
        ]);
        apply(&mut kernel, &change);
        let main = desired.tables.get_mut(&MAIN).expect("main");
        let map = main.maps.get_mut(&SetName::new("ranges")).expect("map");
        let map = Arc::make_mut(map);
        map.elements.insert(port(80), Verdict::Accept);
        map.elements.insert(middle, Verdict::Drop);
        map.elements
            .insert(range(Value::Port(1024), Value::Port(1999)), Verdict::Return);
        assert_eq!(kernel.read().expect("read"), desired);
    });
}

#[test]
fn a_map_element_is_repointed_with_its_chain() {
    alone(|mut kernel| {
        apply(&mut kernel, &install(&everything()));
        let eth0 = single(Value::Interface(IfName::new("eth0")));
        let (old, new) = (chain_name("effects"), chain_name("effects_2"));
        let repoint = |chain| {
            verdicts(
                "dispatch",
                Shape::Interface,
                false,
                vec![(eth0.clone(), Verdict::Goto(chain))],
            )
        };
        let change = plan(vec![
            Op::AddChain {
                table: MAIN,
                chain: new.clone(),
                base: None,
            },
            Op::AddRules {
                table: MAIN,
                chain: new.clone(),
                rules: Arc::new(vec![Rule::new(vec![Expression::Verdict(Verdict::Drop)])]),
            },
            delete("dispatch", Shape::Interface, false, vec![eth0.clone()]),
            repoint(new),
        ]);
        apply(&mut kernel, &change);
        assert!(differs(&mut kernel, &plan(vec![repoint(old)])).contains("`dispatch`"));
        nft(&["add", "rule", "inet", "palisade", "effects_2", "accept"]);
        assert!(differs(&mut kernel, &change).contains("`effects_2`"));
    });
}

#[test]
fn the_position_moves() {
    alone(|mut kernel| {
        apply(&mut kernel, &install(&everything()));
        let at = |revision| vec![single(Value::position(&position(revision)))];
        let change = plan(vec![
            delete(names::POSITION, Shape::Position, false, at(7)),
            add(names::POSITION, Shape::Position, false, at(8)),
        ]);
        apply(&mut kernel, &change);
        let Value::Position(expected) = Value::position(&position(8)) else {
            unreachable!("a position is a position")
        };
        assert_eq!(kernel.position().expect("read"), Some(expected));
    });
}

#[test]
fn chains_sets_and_tables_go() {
    alone(|mut kernel| {
        apply(&mut kernel, &install(&everything()));
        let change = plan(vec![
            Op::FlushChain {
                table: MAIN,
                chain: chain_name("tests"),
            },
            Op::DeleteChain {
                table: MAIN,
                chain: chain_name("empty"),
            },
            Op::DeleteMap {
                table: MAIN,
                name: SetName::new("unused"),
            },
            Op::DeleteTable(TableName::Guard),
        ]);
        differs(&mut kernel, &change);
        apply(&mut kernel, &change);
        let read = kernel.read().expect("read");
        assert!(!read.tables.contains_key(&TableName::Guard));
        assert!(
            read.tables[&MAIN].chains[&chain_name("tests")]
                .rules
                .is_empty()
        );
        assert!(!read.tables[&MAIN].chains.contains_key(&chain_name("empty")));
        assert!(
            !read.tables[&MAIN]
                .maps
                .contains_key(&SetName::new("unused"))
        );
    });
}

#[test]
fn a_port_that_leaves_a_range_stands_among_ranges_until_the_step_behind() {
    alone(|mut kernel| {
        apply(&mut kernel, &install(&everything()));
        let ports = |first, last: u16| Element {
            first: Value::Port(first),
            last: (first < last).then_some(Value::Port(last)),
        };
        let map = |elements| verdicts("stand_in", Shape::Port, true, elements);
        let whole = vec![(ports(70, 90), Verdict::Drop)];
        let cut = [(70, 79), (81, 90)].map(|(first, last)| (ports(first, last), Verdict::Drop));
        let create = Op::AddMap {
            table: MAIN,
            name: SetName::new("stand_in"),
            shape: Shape::Port,
            interval: true,
        };
        apply(&mut kernel, &plan(vec![create, map(whole)]));
        let out = |element| delete("stand_in", Shape::Port, true, vec![element]);
        apply(
            &mut kernel,
            &plan(vec![
                out(ports(70, 90)),
                map(cut.to_vec()),
                map(vec![(ports(80, 80), Verdict::Accept)]),
            ]),
        );
        apply(&mut kernel, &plan(vec![out(ports(80, 80))]));
        let read = kernel.read().expect("read");
        let left = &read.tables[&MAIN].maps[&SetName::new("stand_in")].elements;
        assert!(left.iter().map(|(e, v)| (e.clone(), v.clone())).eq(cut));
    });
}
