//! Refused plans: who is to blame is named, and nothing has changed.

use crate::{
    everything::{address, chain_name, everything, single},
    namespace::{alone, install},
};
use palisade_netfilter::{CommitError, Failure};
use palisade_policy::ids::IfName;
use palisade_ruleset::{
    ir::{Expression, Rule, SetName, Shape, Side, TableName, Verdict},
    plan::{Op, Plan},
};
use std::sync::Arc;

fn accept() -> Rule {
    Rule::new(vec![Expression::Verdict(Verdict::Accept)])
}

fn rules(chain: &str, rules: Vec<Rule>) -> Op {
    Op::AddRules {
        table: TableName::Main,
        chain: chain_name(chain),
        rules: Arc::new(rules),
    }
}

fn members(addresses: &[&str]) -> Op {
    Op::AddElements {
        table: TableName::Main,
        set: SetName::new("hosts4"),
        shape: Shape::Address4,
        interval: false,
        elements: addresses.iter().map(|a| single(address(a))).collect(),
    }
}

fn failures(refused: Result<impl std::fmt::Debug, CommitError>) -> Vec<Failure> {
    match refused {
        Err(CommitError::Refused { failures }) => failures,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_refused_operation_is_named_and_nothing_changes() {
    alone(|mut kernel| {
        let before = everything();
        kernel.commit(&install(&before)).expect("committed");
        let generation = kernel.generation().expect("asked");
        let plan = Plan {
            ops: vec![
                members(&["10.9.9.9"]),
                rules("no_such_chain", vec![accept()]),
                rules("empty", vec![accept()]),
                rules(
                    "empty",
                    vec![
                        accept(),
                        Rule::new(vec![Expression::Verdict(Verdict::Goto(chain_name(
                            "nowhere",
                        )))]),
                    ],
                ),
            ],
        };
        let failures = failures(kernel.commit(&plan));
        let blame: Vec<_> = failures.iter().map(|f| (f.op, f.element)).collect();
        assert_eq!(blame, [(Some(1), Some(0)), (Some(3), Some(1))]);
        assert!(failures.iter().all(|f| f.errno == libc::ENOENT));
        assert!(
            failures[0].message.contains("`no_such_chain`"),
            "{}",
            failures[0].message
        );
        assert!(
            failures[0].message.contains("`palisade`"),
            "{}",
            failures[0].message
        );
        assert_eq!(kernel.read().expect("read"), before);
        assert_eq!(kernel.generation().expect("asked"), generation);
    });
}

#[test]
fn a_refused_element_is_named_by_its_index() {
    alone(|mut kernel| {
        kernel.commit(&install(&everything())).expect("committed");
        let plan = Plan {
            ops: vec![members(&["10.9.9.1", "10.9.9.2", "10.0.0.1", "10.9.9.3"])],
        };
        let failures = failures(kernel.commit(&plan));
        let blame: Vec<_> = failures
            .iter()
            .map(|f| (f.op, f.element, f.errno))
            .collect();
        assert_eq!(blame, [(Some(0), Some(2), libc::EEXIST)]);
    });
}

#[test]
fn a_refusal_does_not_spoil_the_next_commit() {
    alone(|mut kernel| {
        kernel.commit(&install(&everything())).expect("committed");
        let bad = Plan {
            ops: vec![rules("no_such_chain", vec![accept(); 3000])],
        };
        assert_eq!(failures(kernel.commit(&bad)).len(), 3000);
        let good = Plan {
            ops: vec![members(&["10.9.9.9"])],
        };
        kernel.commit(&good).expect("committed");
        kernel.read_touched(&good).expect("there");
    });
}

#[test]
fn what_has_no_encoding_is_refused_before_the_kernel_sees_it() {
    alone(|mut kernel| {
        let long = Expression::Interface {
            side: Side::In,
            name: IfName::new("sixteen-bytes-xx"),
            not: false,
        };
        let plan = Plan {
            ops: vec![
                Op::AddTable(TableName::Main),
                rules("x", vec![Rule::new(vec![long])]),
            ],
        };
        let refused = kernel.commit(&plan);
        assert!(
            matches!(refused, Err(CommitError::Unfit { op: 1, .. })),
            "{refused:?}"
        );
    });
}
