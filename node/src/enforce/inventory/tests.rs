//! Numbers mean one thing within a generation, and names are those of the view.

use super::*;
use palisade_policy::{
    class::EndpointKind,
    config::NodeConfig,
    endpoint::{self, InterfaceMatch},
    ids::PolicyId,
    resolve::resolve,
    rule::{Action, Match, Policy, Rule},
    rule_id,
};

fn view() -> View {
    let endpoint = |kind, interface: &str| {
        Arc::new(endpoint::Endpoint {
            kind,
            interface: InterfaceMatch::Named(interface.into()),
            addresses: vec![[192, 0, 2, 7].into()],
            source_prefixes: vec![],
            labels: [("role".to_owned(), "db".to_owned())].into(),
            classes: BTreeMap::new(),
        })
    };
    let rule = |id, action| Rule {
        id: ids::RuleId(id),
        action,
        matches: Match::default(),
    };
    let policy = Policy {
        ingress: vec![rule(11, Action::Allow), rule(12, Action::Deny)],
        ..Policy::default()
    };
    View {
        config: Arc::new(NodeConfig {
            failsafe_inbound: vec![],
            failsafe_outbound: vec![],
            interface_exclude: vec![],
            log_limit: None,
            ..NodeConfig::default()
        }),
        endpoints: BTreeMap::from([
            ("hep/eth0".into(), endpoint(EndpointKind::Host, "eth0")),
            (
                "wep/shop/web".into(),
                endpoint(EndpointKind::Workload, "cali1"),
            ),
        ]),
        classes: BTreeMap::new(),
        policies: BTreeMap::from([(PolicyId::from("np/shop/web"), Arc::new(policy))]),
        sets: BTreeMap::new(),
        plugins: BTreeMap::new(),
    }
}

fn inventory() -> Inventory {
    let view = view();
    let environment = palisade_policy::packet::Environment::default();
    let resolution = resolve(&view, &environment);
    Inventory::new(1, &view, resolution, vec!["eth0".into(), "cali1".into()])
}

#[test]
fn ends_of_a_packet_are_the_endpoints_of_its_interfaces() {
    let inventory = inventory();
    let (eth0, cali1) = (IfName::from("eth0"), IfName::from("cali1"));
    let name = |id: Option<EndpointId>| {
        let endpoint = id.and_then(|id| inventory.endpoint(id))?;
        Some((endpoint.namespace.as_str(), endpoint.name.as_str()))
    };
    let ends = |way, input, output| {
        let (source, destination) = inventory.ends(way, input, output);
        (name(source), name(destination))
    };
    let (host, web) = (Some(("", "eth0")), Some(("shop", "web")));
    assert_eq!(ends(Way::Input, Some(&eth0), None), (None, host));
    assert_eq!(ends(Way::Output, None, Some(&eth0)), (host, None));
    assert_eq!(ends(Way::Input, Some(&cali1), None), (web, None));
    assert_eq!(ends(Way::Forward, Some(&cali1), Some(&eth0)), (web, None));
    assert_eq!(ends(Way::Forward, Some(&eth0), Some(&cali1)), (None, web));
    assert_eq!(ends(Way::Forward, Some(&"gone".into()), None), (None, None));
}

#[test]
fn interfaces_have_numbers_and_what_is_not_there_has_none() {
    let inventory = inventory();
    let number = inventory.interface(&"eth0".into()).expect("there");
    assert_eq!(inventory.interface_name(number), Some("eth0"));
    assert_eq!(inventory.interface(&"gone".into()), None);
    assert_eq!(inventory.interface_name(InterfaceId(99)), None);
}

#[test]
fn rules_are_named_as_people_name_them() {
    let inventory = inventory();
    let known = inventory.rule(RuleId(12)).expect("known");
    let rule = &known.rule;
    assert_eq!(
        (
            rule.namespace.as_str(),
            rule.policy.as_str(),
            rule.name.as_str()
        ),
        ("shop", "web", "ingress[1]")
    );
    let end = inventory.rule(RuleId(rule_id::end_of_profiles().0));
    assert_eq!(
        end.map(|known| known.rule.name.as_str()),
        Some("end of profiles")
    );
    assert!(inventory.rule(RuleId(13)).is_none());
}

#[test]
fn the_generation_grows() {
    let shared = Shared::default();
    let before = shared.now().generation();
    shared.replace(&view(), Resolution::default(), vec![]);
    assert!(shared.now().generation() > before);
}
