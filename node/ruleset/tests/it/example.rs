//! The example of DESIGN.md: one policy, its chains and maps, one edit and its transactions.

use crate::{
    views::{from, node_config, port, rule, view},
    worlds,
};
use expect_test::expect_file;
use palisade_policy::{
    config::Exemptions,
    ids::{PolicyId, RuleId},
    rule::{Action, Policy, PortRange, Protocol, Rule},
    view::View,
};
use palisade_ruleset::{
    apply::Actual,
    ir::{Element, Rule as NftRule, Ruleset, Table, TableName, Value},
    lower::{LowerCache, lower},
    lower_change,
    plan::Op,
    text::{render, render_rule},
};
use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

/// TCP ports from a set, and a range of TCP ports from anywhere.
fn web(ports: &[u16]) -> Policy {
    let mut wide = port(Protocol::TCP, 8000);
    wide.destination.ports.ranges = PortRange::new(8000, 8010).into_iter().collect();
    let allow = |id, matches| Rule {
        id: RuleId(id),
        ..rule(id, Action::Allow, matches)
    };
    let numbered = (2..).zip(ports);
    let from_set =
        numbered.map(|(id, number)| allow(id, from(port(Protocol::TCP, *number), "s:01")));
    Policy {
        ingress: [allow(1, wide)].into_iter().chain(from_set).collect(),
        ..Policy::default()
    }
}

fn example() -> View {
    let mut view = view(vec![("gnp/web".to_owned(), web(&[443]))], Vec::new());
    let mut config = node_config();
    config.exemptions = Exemptions {
        loopback: true,
        neighbour_discovery: false,
        dhcp6: false,
        control_plane: false,
    };
    config.ipv6 = false;
    view.config = Arc::new(config);
    view
}

/// What the class of ingress is made of.
fn part(ruleset: &Ruleset) -> Ruleset {
    let main = &ruleset.tables[&TableName::Main];
    let kept = |name: &str| {
        let roles = [
            "input", "class", "tier", "bucket", "port", "range6", "rest", "s4", "failsafe",
        ];
        let mut roles = roles.iter();
        roles.any(|role| name == *role || name.starts_with(&format!("{role}_")))
    };
    let mut table = Table::default();
    let mut named: BTreeSet<String> = BTreeSet::new();
    let text = |rules: &[NftRule]| rules.iter().map(render_rule).collect::<Vec<_>>().join("\n");
    let mut open = vec!["input".to_owned()];
    while let Some(name) = open.pop() {
        if !named.insert(name.clone()) {
            continue;
        }
        let mut says = String::new();
        if let Some((name, chain)) = main.chains.iter().find(|(chain, _)| chain.as_str() == name) {
            says = text(&chain.rules);
            table.chains.insert(name.clone(), chain.clone());
        }
        if let Some((name, map)) = main.maps.iter().find(|(map, _)| map.as_str() == name) {
            for verdict in map.elements.values() {
                says += &format!("{verdict}\n");
            }
            table.maps.insert(name.clone(), Arc::clone(map));
        }
        if let Some((name, set)) = main.sets.iter().find(|(set, _)| set.as_str() == name) {
            table.sets.insert(name.clone(), Arc::clone(set));
        }
        let words = says
            .split_whitespace()
            .map(|word| word.trim_start_matches('@'));
        open.extend(words.filter(|word| kept(word)).map(str::to_owned));
    }
    Ruleset {
        tables: [(TableName::Main, table)].into(),
    }
}

fn range(element: &Element) -> String {
    let number = |value: &Value| match value {
        Value::Port(port) => port.to_string(),
        Value::ProtocolPort(Protocol::TCP, port) => format!("tcp . {port}"),
        other => format!("{other:?}"),
    };
    let last = element.last.iter().map(|last| format!("-{}", number(last)));
    number(&element.first) + &last.collect::<String>()
}

fn step(op: &Op) -> String {
    match op {
        Op::AddChain { chain, .. } => format!("add chain {chain}"),
        Op::AddRules { chain, rules, .. } => {
            let rules: Vec<String> = rules.iter().map(render_rule).collect();
            format!("add rules {chain} {{ {} }}", rules.join("; "))
        }
        Op::DeleteElements { set, elements, .. } => {
            let elements: Vec<String> = elements.iter().map(range).collect();
            format!("delete elements {set} {{ {} }}", elements.join(", "))
        }
        Op::AddVerdicts { map, elements, .. } => {
            let elements = elements.iter();
            let elements: Vec<String> = elements
                .map(|(element, verdict)| format!("{} : {verdict}", range(element)))
                .collect();
            format!("add elements {map} {{ {} }}", elements.join(", "))
        }
        Op::AddElements { set, .. } if set.as_str() == "enforced_position" => {
            "add elements enforced_position { the position after }".to_owned()
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn the_example_of_the_design_is_what_happens() {
    let mut view = example();
    let environment = worlds::environment();
    let mut cache = LowerCache::new();
    let before = lower(&view, &environment, Some(&worlds::position(1)), &mut cache);
    assert_eq!(before.faults, vec![]);
    let mut said = render(&part(&before.ruleset));
    let id = PolicyId::from("gnp/web");
    view.policies
        .insert(id.clone(), Arc::new(web(&[443, 8443])));
    let mut change = palisade_policy::delta::Change::default();
    change.policies.insert(id);
    let mut actual = Actual::new(before.ruleset);
    let position = worlds::position(2);
    let plan = lower_change(&mut actual, &view, &change, Some(&position), &mut cache);
    let plan = plan.expect("the short way");
    for (transaction, number) in plan.transactions().iter().zip(1..) {
        writeln!(said, "# transaction {number}").expect("a string");
        for op in &transaction.ops {
            let step = match op {
                Op::DeleteElements { set, .. } if set.as_str() == "enforced_position" => {
                    "delete elements enforced_position { the position before }".to_owned()
                }
                op => step(op),
            };
            writeln!(said, "{step}").expect("a string");
        }
    }
    expect_file![concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/goldens/example.nft"
    )]
    .assert_eq(&said);
    let design = include_str!("../../DESIGN.md");
    assert!(
        design.contains(&format!("```\n{said}```\n")),
        "DESIGN.md does not have tests/goldens/example.nft as it is"
    );
}
