//! The judgement, natively. That it works as a component is tested in `plugins/host`.

use palisade_plugin::matcher::{Answer, Matcher, Packet};
use palisade_plugin::{IpAddress, Way};

use crate::DnsSuffix;

/// A query for `names`, each a question of type A.
fn query(names: &[&str]) -> Vec<u8> {
    let count = u8::try_from(names.len()).expect("few");
    let mut message = vec![0x12, 0x34, 0x01, 0, 0, count, 0, 0, 0, 0, 0, 0];
    for name in names {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(u8::try_from(label.len()).expect("short"));
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, 1, 0, 1]);
    }
    message
}

fn packet(payload: Vec<u8>) -> Packet {
    Packet {
        way: Way::Output,
        protocol: 17,
        source: IpAddress::Ipv4((192, 0, 2, 1)),
        destination: IpAddress::Ipv4((192, 0, 2, 53)),
        source_port: 40000,
        destination_port: 53,
        icmp: None,
        in_interface: None,
        out_interface: None,
        source_endpoint: None,
        destination_endpoint: None,
        time_ms: 0,
        payload_length: u32::try_from(payload.len()).expect("short"),
        payload,
    }
}

fn judge(suffixes: &str, message: Vec<u8>) -> Answer {
    DnsSuffix::configure(&format!(r#"{{"suffixes": {suffixes}}}"#))
        .expect("settings")
        .evaluate(&packet(message))
}

#[test]
fn a_name_and_what_is_below_it_match() {
    for name in ["example.org", "www.example.org", "a.b.EXAMPLE.Org"] {
        assert_eq!(
            judge(r#"["example.org"]"#, query(&[name])),
            Answer::Match(30),
            "{name}"
        );
    }
}

#[test]
fn other_names_do_not_match() {
    for name in [
        "example.com",
        "badexample.org",
        "org",
        "",
        "example.org.evil.net",
    ] {
        assert_eq!(
            judge(r#"["example.org"]"#, query(&[name])),
            Answer::NoMatch(30),
            "{name}"
        );
    }
}

#[test]
fn a_leading_dot_leaves_out_the_name_itself() {
    assert_eq!(
        judge(r#"[".example.org"]"#, query(&["example.org"])),
        Answer::NoMatch(30)
    );
    assert_eq!(
        judge(r#"[".example.org"]"#, query(&["www.example.org"])),
        Answer::Match(30)
    );
}

#[test]
fn a_second_question_counts() {
    let message = query(&["fine.net", "www.example.org"]);
    assert_eq!(judge(r#"["example.org"]"#, message), Answer::Match(30));
}

#[test]
fn what_is_no_query_to_port_53_does_not_match() {
    let mut plugin = DnsSuffix::configure(r#"{"suffixes": ["example.org"]}"#).expect("settings");
    let asked = packet(query(&["example.org"]));
    for other in [
        Packet {
            protocol: 6,
            ..asked.clone()
        },
        Packet {
            destination_port: 5353,
            ..asked.clone()
        },
    ] {
        assert_eq!(plugin.evaluate(&other), Answer::NoMatch(0));
    }
    let mut response = query(&["example.org"]);
    response[2] |= 0x80;
    assert_eq!(plugin.evaluate(&packet(response)), Answer::NoMatch(30));
}

#[test]
fn a_message_cut_anywhere_is_undecided_and_never_a_panic() {
    let whole = query(&["www.example.net"]);
    for end in 0..whole.len() {
        let answer = judge(r#"["example.org"]"#, whole[..end].to_vec());
        assert!(matches!(answer, Answer::Undecided(_)), "{end}: {answer:?}");
    }
}

#[test]
fn a_compressed_question_is_undecided() {
    let mut message = query(&[]);
    message[5] = 1;
    message.extend([0xc0, 0x0c, 0, 1, 0, 1]);
    assert!(matches!(
        judge(r#"["example.org"]"#, message),
        Answer::Undecided(_)
    ));
}

#[test]
fn each_bad_setting_is_a_problem_at_its_path() {
    let problems = DnsSuffix::configure(
        r#"{"suffixes": ["good.org", "", "a..b", "b\u00fccher.example"], "rememberSeconds": 9999}"#,
    )
    .expect_err("four problems");
    let paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "rememberSeconds",
            "suffixes[1]",
            "suffixes[2]",
            "suffixes[3]"
        ]
    );
}
