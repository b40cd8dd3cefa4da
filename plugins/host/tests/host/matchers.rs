//! `dns-suffix`, as a component: packets in, answers out.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use palisade_plugin_host::{
    Answer, Ceilings, KeyPart, Kind, Matcher, Options, Packet, SettingsError,
};

use crate::guests::{packet, plugin};

const SETTINGS: &str = r#"{"suffixes": ["blocked.example"], "rememberSeconds": 60}"#;

/// A query for the IPv4 address of a name.
fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("short"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

fn dns_suffix(settings: &str) -> Matcher {
    let configured = plugin("dns-suffix").with_settings(settings, Options::default());
    configured.matcher().expect("it is a matcher")
}

fn remembered(seconds: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(seconds)
}

#[test]
fn a_query_for_a_blocked_name_matches_on_both_families() {
    let mut matcher = dns_suffix(SETTINGS);
    let message = query("www.Blocked.Example");
    let v4 = packet(&message);
    let v6 = Packet {
        source: "2001:db8::1".parse::<IpAddr>().expect("an address"),
        destination: "2001:db8::53".parse::<IpAddr>().expect("an address"),
        ..v4.clone()
    };
    for packet in [v4, v6] {
        assert_eq!(
            matcher.evaluate(&packet, Instant::now()),
            Ok(Answer::Match {
                remember: remembered(60)
            })
        );
    }
}

#[test]
fn a_query_for_another_name_does_not_match() {
    let mut matcher = dns_suffix(SETTINGS);
    assert_eq!(
        matcher.evaluate(&packet(&query("fine.example")), Instant::now()),
        Ok(Answer::NoMatch {
            remember: remembered(60)
        })
    );
}

#[test]
fn what_is_no_query_is_undecided() {
    let mut matcher = dns_suffix(SETTINGS);
    let answer = matcher.evaluate(&packet(b"nonsense"), Instant::now());
    assert!(matches!(answer, Ok(Answer::Undecided { .. })), "{answer:?}");
}

#[test]
fn the_manifest_tells_what_the_kernel_must_know() {
    let plugin = plugin("dns-suffix");
    let facts = &plugin.manifest().matcher;
    assert_eq!(facts.payload, 512);
    assert!(facts.remember_by.contains(&KeyPart::SourcePort));
}

#[test]
fn settings_that_fit_are_accepted() {
    assert!(plugin("dns-suffix").validate(SETTINGS).is_ok());
}

#[test]
fn each_problem_of_the_settings_has_its_path() {
    let result = plugin("dns-suffix")
        .validate(r#"{"suffixes": ["fine.example", "..", "x y"], "rememberSeconds": 7200}"#);
    let Err(SettingsError::Refused(problems)) = result else {
        panic!("refused, not {result:?}");
    };
    let paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ["rememberSeconds", "suffixes[1]"]);
}

#[test]
fn settings_of_the_wrong_shape_have_a_path_too() {
    for (settings, path) in [
        (r#"{"suffixes": [1]}"#, "suffixes[0]"),
        (r#"{"suffixes": ["a.b"], "sufixes": []}"#, "sufixes"),
        ("{}", ""),
        ("no json", ""),
    ] {
        let Err(SettingsError::Refused(problems)) = plugin("dns-suffix").validate(settings) else {
            panic!("{settings} is refused");
        };
        assert_eq!(problems[0].path, path, "{settings}");
    }
}

#[test]
fn the_same_packets_get_the_same_answers_and_cost_the_same_fuel() {
    let messages = [
        query("a.blocked.example"),
        query("fine.example"),
        b"x".to_vec(),
    ];
    let judge = |matcher: &mut Matcher| -> Vec<(Option<Answer>, u64)> {
        let judged = messages.iter().map(|message| {
            let answer = matcher.evaluate(&packet(message), Instant::now()).ok();
            (answer, matcher.fuel_used())
        });
        judged.collect()
    };
    let (mut one, mut other) = (dns_suffix(SETTINGS), dns_suffix(SETTINGS));
    let first = judge(&mut one);
    assert_eq!(first, judge(&mut other), "fresh instances");
    let answers = |judged: &[(Option<Answer>, u64)]| -> Vec<Option<Answer>> {
        judged.iter().map(|(answer, _)| answer.clone()).collect()
    };
    assert_eq!(
        answers(&first),
        answers(&judge(&mut one)),
        "a used instance"
    );
}

#[test]
fn a_plugin_gets_what_it_asks_for_and_never_more_than_the_ceiling() {
    let granted = |ceilings| {
        let options = Options {
            ceilings,
            ..Options::default()
        };
        plugin("dns-suffix")
            .with_settings(SETTINGS, options)
            .limits(Kind::Matcher)
    };
    let default = granted(Ceilings::default());
    assert_eq!((default.call.fuel, default.memory), (200_000, 4 << 20));
    let lower = granted(Ceilings {
        fuel: Some(500),
        memory: Some(2 << 20),
    });
    assert_eq!((lower.call.fuel, lower.memory), (500, 2 << 20));
    let higher = granted(Ceilings {
        fuel: Some(u64::MAX),
        memory: Some(64 << 20),
    });
    assert_eq!((higher.call.fuel, higher.memory), (200_000, 4 << 20));
}

#[test]
fn a_matcher_is_no_auditor() {
    let configured = plugin("dns-suffix").with_settings(SETTINGS, Options::default());
    assert!(configured.auditor().is_none());
    assert!(configured.matcher().is_some());
}
