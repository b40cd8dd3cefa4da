//! Others at work: what they put into our tables, and hearing of it.

use crate::{
    everything::{address, chain_name, everything, single},
    namespace::{alone, install, nft},
};
use palisade_netfilter::{Event, Monitor};
use palisade_ruleset::{
    diff::diff,
    ir::{Expression, Ruleset, SetName, Shape, TableName},
    plan::{Op, Plan},
};
use std::{
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

/// The next event, within a deadline.
fn event(monitor: &mut Monitor) -> Event {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(event) = monitor.next_event().expect("listening") {
            return event;
        }
        assert!(Instant::now() < deadline, "no event");
        std::thread::yield_now();
    }
}

#[test]
fn foreign_things_never_equal_ours() {
    alone(|mut kernel| {
        let desired = everything();
        kernel.commit(&install(&desired)).expect("committed");
        let main = "palisade";
        nft(&[
            "add", "rule", "inet", main, "empty", "tcp", "flags", "syn", "drop",
        ]);
        nft(&[
            "add",
            "rule",
            "inet",
            main,
            "empty",
            "accept",
            "comment",
            "\"hello\"",
        ]);
        nft(&[
            "add",
            "set",
            "inet",
            main,
            "theirs",
            "{ type mark; elements = { 1 }; }",
        ]);
        nft(&[
            "add",
            "set",
            "inet",
            main,
            "dying",
            "{ type ipv4_addr; timeout 1h; elements = { 10.0.0.1 }; }",
        ]);
        nft(&[
            "add",
            "map",
            "inet",
            main,
            "data",
            "{ type ipv4_addr : mark; elements = { 10.0.0.1 : 3 }; }",
        ]);
        nft(&["add", "element", "inet", main, "nets4", "{ 11.0.0.0/8 }"]);
        nft(&["add", "table", "ip", main]);
        let actual = kernel.read().expect("read");
        let (actual, desired) = (
            &actual.tables[&TableName::Main],
            &desired.tables[&TableName::Main],
        );
        let chain = |name| &actual.chains[&chain_name(name)];
        let foreign = |chain: &str| {
            actual.chains[&chain_name(chain)].rules.iter().any(|rule| {
                rule.expressions
                    .iter()
                    .any(|e| matches!(e, Expression::Foreign(_)))
            })
        };
        assert_eq!(chain("empty").rules.len(), 2);
        assert!(foreign("empty") && !foreign("tests"));
        for name in ["theirs", "dying", "data"] {
            let name = SetName::new(name);
            assert!(
                actual.sets.contains_key(&name) || actual.maps.contains_key(&name),
                "{name}"
            );
        }
        assert_ne!(
            actual.sets[&SetName::new("nets4")],
            desired.sets[&SetName::new("nets4")]
        );
        assert_eq!(
            actual.chains[&chain_name("lookups")],
            desired.chains[&chain_name("lookups")]
        );
    });
}

/// What others did is undone by the plan that leads back, in one transaction.
fn repaired(damage: &'static [&'static [&'static str]]) {
    alone(move |mut kernel| {
        let desired = everything();
        kernel.commit(&install(&desired)).expect("committed");
        for command in damage {
            nft(command);
        }
        let actual = kernel.read().expect("read");
        assert_ne!(actual, desired, "after {damage:?}");
        let repair = diff(&actual, &desired);
        kernel.commit(&repair).expect("committed");
        kernel.read_touched(&repair).expect("as planned");
        assert_eq!(kernel.read().expect("read"), desired, "after {damage:?}");
        assert!(diff(&kernel.read().expect("read"), &desired).is_empty());
    });
}

#[test]
fn whatever_others_did_is_repaired() {
    repaired(&[&["flush", "ruleset"]]);
    repaired(&[&["flush", "table", "inet", "palisade"]]);
    repaired(&[&["delete", "table", "inet", "palisade-raw"]]);
    repaired(&[&["insert", "rule", "inet", "palisade", "input", "accept"]]);
    repaired(&[&["add", "chain", "inet", "palisade", "theirs"]]);
    repaired(&[&["flush", "set", "inet", "palisade", "hosts4"]]);
    repaired(&[&["flush", "map", "inet", "palisade", "ranges"]]);
    repaired(&[&[
        "delete", "element", "inet", "palisade", "dispatch", "{ eth1 }",
    ]]);
    repaired(&[&[
        "add",
        "element",
        "inet",
        "palisade",
        "nets4",
        "{ 11.0.0.0/8 }",
    ]]);
    repaired(&[&[
        "add",
        "element",
        "inet",
        "palisade",
        "ranges",
        "{ 1500-1600 : drop }",
    ]]);
    repaired(&[&[
        "add",
        "set",
        "inet",
        "palisade",
        "x",
        "{ type mark; elements = { 1 }; }",
    ]]);
    repaired(&[&["add", "table", "inet", "palisade", "{ flags dormant; }"]]);
    repaired(&[
        &["delete", "set", "inet", "palisade", "empty6"],
        &[
            "add",
            "set",
            "inet",
            "palisade",
            "empty6",
            "{ type mark; elements = { 1 }; }",
        ],
    ]);
}

#[test]
fn a_table_put_to_sleep_or_a_chain_of_another_type_is_not_ours() {
    alone(|mut kernel| {
        let desired = everything();
        kernel.commit(&install(&desired)).expect("committed");
        nft(&["add", "table", "inet", "palisade", "{ flags dormant; }"]);
        nft(&["delete", "chain", "inet", "palisade-raw", "untracked_in"]);
        let nat = "{ type nat hook prerouting priority -100; }";
        nft(&["add", "chain", "inet", "palisade-raw", "untracked_in", nat]);
        let actual = kernel.read().expect("read");
        for (table, chain) in [(TableName::Main, "input"), (TableName::Raw, "untracked_in")] {
            let chain = chain_name(chain);
            let base = |ruleset: &Ruleset| ruleset.tables[&table].chains[&chain].base;
            assert_ne!(base(&actual), base(&desired), "{chain}");
        }
    });
}

#[test]
fn other_processes_are_heard_and_we_are_not() {
    alone(|mut kernel| {
        kernel.commit(&install(&everything())).expect("committed");
        let mut monitor = Monitor::open(kernel.port()).expect("listening");
        assert!(monitor.as_fd().as_raw_fd() >= 0);
        let own = Plan {
            ops: vec![Op::AddElements {
                table: TableName::Main,
                set: SetName::new("hosts4"),
                shape: Shape::Address4,
                interval: false,
                elements: vec![single(address("10.9.9.9"))],
            }],
        };
        kernel.commit(&own).expect("committed");
        nft(&["add", "table", "inet", "others"]);
        nft(&["delete", "table", "inet", "palisade-guard"]);
        nft(&["flush", "ruleset"]);
        let mut touched = Vec::new();
        let mut last = 0;
        for _ in 0..3 {
            match event(&mut monitor) {
                Event::Changed {
                    generation,
                    pid,
                    command,
                    tables,
                } => {
                    assert!(pid.is_some());
                    assert_eq!(command.as_deref(), Some("nft"));
                    last = generation;
                    touched.push(tables.into_iter().collect::<Vec<_>>());
                }
                Event::Overrun => panic!("nothing was lost"),
            }
        }
        assert_eq!(touched[0], []);
        assert_eq!(touched[1], [TableName::Guard]);
        assert_eq!(touched[2], [TableName::Main, TableName::Raw]);
        assert_eq!(monitor.next_event().expect("listening"), None);
        assert_eq!(kernel.generation().expect("asked"), last);
        assert!(kernel.read().expect("read").tables.is_empty());
    });
}

#[test]
fn probing_answers_and_leaves_no_trace() {
    alone(|mut kernel| {
        let monitor = Monitor::open(0).expect("listening");
        let before = kernel.generation().expect("asked");
        let features = kernel.probe().expect("answered");
        println!("{features:?}");
        let present = |name| features.iter().any(|f| f.name == name && f.present);
        for needed in ["ct-status", "reject", "limit", "notrack", "postrouting-iif"] {
            assert!(present(needed), "{needed} in {features:?}");
        }
        assert_eq!(kernel.generation().expect("asked"), before);
        assert_eq!(nft(&["list", "ruleset"]), "");
        drop(monitor);
    });
}
