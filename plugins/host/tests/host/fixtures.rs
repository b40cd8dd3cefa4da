//! Fixtures of authors: they pass where the plugin does what they say, and fail where it does not.

use palisade_plugin_host::fixture::{Expected, Failure, Fixture, FixtureError};
use palisade_plugin_host::{FaultKind, Options};

use crate::guests::plugin;

const DNS: &str = include_str!("../../../examples/dns-suffix/fixtures/suffix.yaml");

fn run(package: &'static str, text: &str) -> Vec<Option<Failure>> {
    let fixture = Fixture::parse(text).expect("a fixture");
    let outcomes = fixture
        .run(&plugin(package), &Options::default())
        .expect("a matcher");
    outcomes
        .into_iter()
        .map(|outcome| outcome.failure)
        .collect()
}

/// Two packets for `misbehave` with a deed, both expected not to match.
fn two(deed: &str) -> Vec<Option<Failure>> {
    let case = "packet: {protocol: UDP, source: 192.0.2.1, destination: 192.0.2.2, payload: x}, answer: no-match";
    run(
        "misbehave",
        &format!(
            "settings: {{deed: {deed}}}\npackets: [{{name: a, {case}}}, {{name: b, {case}}}, {{name: c, {case}}}]"
        ),
    )
}

#[test]
fn the_fixtures_of_the_example_pass() {
    assert_eq!(run("dns-suffix", DNS), [None, None, None, None, None]);
}

#[test]
fn fuel_is_told_for_each_case() {
    let fixture = Fixture::parse(DNS).expect("a fixture");
    let outcomes = fixture
        .run(&plugin("dns-suffix"), &Options::default())
        .expect("a matcher");
    assert!(outcomes.iter().all(|outcome| outcome.fuel > 0));
}

#[test]
fn another_answer_fails() {
    let failures = run(
        "dns-suffix",
        &DNS.replace("answer: undecided", "answer: match"),
    );
    assert!(matches!(
        failures[3],
        Some(Failure::Answer {
            expected: Expected::Match,
            ..
        })
    ));
    assert_eq!(failures[4], None);
}

#[test]
fn another_time_to_remember_fails() {
    let failures = run("dns-suffix", &DNS.replace("remember: 60", "remember: 61"));
    assert_eq!(
        failures[0],
        Some(Failure::Remember {
            expected: 61,
            actual: 60
        })
    );
}

#[test]
fn a_fault_fails_and_the_next_case_runs() {
    let failures = two("trap");
    for failure in &failures {
        let Some(Failure::Fault(fault)) = failure else {
            panic!("a fault, not {failure:?}");
        };
        assert_eq!(fault.kind(), FaultKind::Trap);
    }
    assert_eq!(failures.len(), 3);
}

#[test]
fn an_answer_that_depends_on_earlier_packets_fails() {
    let failures = two("count-of-instance");
    assert_eq!(failures[..2], [None, None]);
    assert!(failures[2].is_some());
    assert_eq!(two("nothing"), [None, None, None]);
}

#[test]
fn an_answer_may_depend_on_earlier_packets_where_the_fixture_says_so() {
    let case = "packet: {protocol: UDP, source: 192.0.2.1, destination: 192.0.2.2, payload: x}";
    let judged = |history: bool| {
        run(
            "misbehave",
            &format!(
                "settings: {{deed: count-of-instance}}\nhistory: {history}\npackets: [{{name: a, {case}, answer: no-match}}, {{name: b, {case}, answer: no-match}}, {{name: c, {case}, answer: match}}]"
            ),
        )
    };
    assert_eq!(judged(true), [None, None, None]);
    assert!(matches!(judged(false)[2], Some(Failure::History { .. })));
}

#[test]
fn a_fixture_that_cannot_be_is_refused() {
    for text in [
        "packets: 3",
        "packets: [{name: a, packet: {protocol: UDP, source: '::1', destination: '::2'}, answer: match}]\nmore: 1",
        "packets: [{name: a, packet: {protocol: UDP, source: x, destination: 192.0.2.2}, answer: match}]",
        "packets: [{name: a, packet: {protocol: UDP, source: '::1', destination: 192.0.2.2}, answer: match}]",
        "packets: [{name: a, packet: {protocol: UDP, source: '::1', destination: '::2', payloadHex: abc}, answer: match}]",
        "packets: [{name: a, packet: {protocol: UDP, source: '::1', destination: '::2'}, answer: perhaps}]",
    ] {
        assert!(Fixture::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_fixture_that_tests_nothing_or_more_than_one_is_refused() {
    for text in ["", "packets: []", "settings: {a: 1}\npackets: []"] {
        let refused = Fixture::parse(text).err();
        assert_eq!(refused, Some(FixtureError::Empty), "{text}");
    }
    let one = "packets: [{name: a, packet: {protocol: UDP, source: '::1', destination: '::2'}, answer: match}]";
    assert!(Fixture::parse(one).is_ok());
    let two = format!("{one}\n---\n{one}\n");
    assert_eq!(Fixture::parse(&two).err(), Some(FixtureError::Several));
}

#[test]
fn what_is_no_protocol_is_told_with_those_that_are() {
    let case = "source: '::1', destination: '::2'}, answer: match}";
    for wrong in ["tcp", "256", "-1", "[6]"] {
        let text = format!("packets: [{{name: a, packet: {{protocol: {wrong}, {case}]");
        let error = Fixture::parse(&text).expect_err("refused").to_string();
        assert!(error.contains("ICMPv6 or a number"), "{error}");
    }
}

#[test]
fn an_auditor_has_no_packets_to_judge() {
    let case =
        "{name: a, packet: {protocol: 17, source: '::1', destination: '::2'}, answer: match}";
    let fixture = Fixture::parse(&format!("packets: [{case}]")).expect("a fixture");
    let result = fixture.run(&plugin("redact"), &Options::default());
    assert_eq!(result, Err(FixtureError::NoMatcher));
}
