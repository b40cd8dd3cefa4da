//! `palisadectl explain`: what a node does with a packet, and why.

mod answers;

use crate::{
    args::{Args, Explain, Format},
    client::Client,
    failure::Failure,
    output, status,
};
use palisade_proto::v1::{Alternative, ExplainRequest, ExplainResponse, TraceStep, Verdict};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Exit code of a packet that does not get through.
const DENIED: u8 = 3;

pub(super) async fn run(args: &Args, asked: &Explain) -> Result<u8, Failure> {
    let request = request(asked)?;
    let client = Client::connect(args).await?;
    let answer = client
        .analysis()
        .explain(client.request(request))
        .await?
        .into_inner();
    print!("{}", show(asked.output, &answer)?);
    Ok(if answer.verdict() == Verdict::Accept {
        0
    } else {
        DENIED
    })
}

fn request(asked: &Explain) -> Result<ExplainRequest, Failure> {
    let (source, source_port) = asked.src;
    let (destination, destination_port) = asked.dst;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(Failure::invalid(
            "--src and --dst are of different families",
        ));
    }
    let protocol = protocol(&asked.proto)?;
    let has_ports = matches!(protocol, 6 | 17 | 132 | 136);
    if has_ports && destination_port.is_none() {
        return Err(
            Failure::invalid(format!("--dst needs a port with --proto {}", asked.proto))
                .hint(format!("write e.g. --dst {destination}:80")),
        );
    }
    if !has_ports && (source_port.is_some() || destination_port.is_some()) {
        return Err(Failure::invalid(format!(
            "--proto {} has no ports",
            asked.proto
        )));
    }
    let echo = match protocol {
        1 => Some(8),
        58 => Some(128),
        _ => None,
    };
    if echo.is_none() && (asked.icmp_type.is_some() || asked.icmp_code.is_some()) {
        return Err(Failure::invalid(
            "--icmp-type and --icmp-code need --proto icmp or icmp6",
        ));
    }
    Ok(ExplainRequest {
        node: asked.node.clone(),
        in_interface: asked.in_interface.clone().unwrap_or_default(),
        out_interface: asked.out_interface.clone().unwrap_or_default(),
        protocol: u32::from(protocol),
        source: octets(source),
        // Any ephemeral port: rules on source ports say so in the trace.
        source_port: u32::from(source_port.unwrap_or(if has_ports { 40_000 } else { 0 })),
        destination: octets(destination),
        destination_port: u32::from(destination_port.unwrap_or(0)),
        icmp_type: echo.map(|e| u32::from(asked.icmp_type.unwrap_or(e))),
        icmp_code: echo.map(|_| u32::from(asked.icmp_code.unwrap_or(0))),
        plugins: asked.plugins.clone(),
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn protocol(text: &str) -> Result<u8, Failure> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "sctp" => Ok(132),
        "icmp" => Ok(1),
        "icmp6" | "icmpv6" => Ok(58),
        "udplite" => Ok(136),
        number => number.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
            Failure::invalid(format!("`{text}` is not a protocol"))
                .hint("write tcp, udp, sctp, icmp, icmp6, udplite or a number 1-255")
        }),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "allowed",
        Verdict::Drop => "denied (drop)",
        Verdict::Reject => "denied (reject)",
        Verdict::Depends => "depends",
        Verdict::Unspecified => "unknown",
    }
}

fn show(format: Format, answer: &ExplainResponse) -> Result<String, Failure> {
    let value = || {
        json!({
            "verdict": word(answer.verdict()),
            "reason": answer.reason,
            "rule": (answer.rule_id != 0).then(|| format!("{:016x}", answer.rule_id)),
            "revision": answer.position.as_ref().map(|p| p.revision),
            "digest": answer.position.as_ref().map(|p| status::hex(&p.digest)),
            "caveats": answer.caveats,
            "steps": steps(&answer.steps),
            "alternatives": answers::values(&answer.alternatives),
            "staged": answer.staged.as_ref().map(|staged| json!({
                "verdict": word(staged.verdict()),
                "reason": staged.reason,
                "steps": steps(&staged.steps),
                "alternatives": answers::values(&staged.alternatives),
            })),
        })
    };
    match format {
        Format::Yaml => output::yaml(&value()),
        Format::Json => output::json(&value()),
        Format::Name => Ok(format!("{}: {}\n", word(answer.verdict()), answer.reason)),
        Format::Table | Format::Wide => {
            let mut text = format!("{}: {}\n", word(answer.verdict()), answer.reason);
            for caveat in &answer.caveats {
                text += &format!("but {caveat}\n");
            }
            text += "\n";
            text += &way(&answer.steps, &answer.alternatives);
            if let Some(staged) = &answer.staged {
                text += &format!(
                    "\nwith staged policies in force, {}: {}\n",
                    word(staged.verdict()),
                    staged.reason
                );
                // The same way to the same end needs no second telling.
                let told = staged.steps == answer.steps;
                if !told || staged.alternatives != answer.alternatives {
                    text += &format!("\n{}", way(&staged.steps, &staged.alternatives));
                }
            }
            Ok(text)
        }
    }
}

fn steps(steps: &[TraceStep]) -> Vec<Value> {
    let step =
        |s: &TraceStep| json!({ "stage": s.stage, "subject": s.subject, "outcome": s.outcome });
    steps.iter().map(step).collect()
}

/// The way through the rules, or each way that plugins may open.
fn way(steps: &[TraceStep], alternatives: &[Alternative]) -> String {
    match alternatives {
        [] => trace(steps),
        [only] => format!("{}\n{}", answers::taken(only), trace(steps)),
        several => {
            let ways = several.iter().map(|alternative| {
                let end = format!("{}: {}", word(alternative.verdict()), alternative.reason);
                let taken = answers::taken(alternative);
                format!("{taken}{end}\n\n{}", trace(&alternative.steps))
            });
            ways.collect::<Vec<_>>().join("\n")
        }
    }
}

fn trace(steps: &[TraceStep]) -> String {
    let row = |s: &TraceStep| vec![s.stage.clone(), s.subject.clone(), s.outcome.clone()];
    output::table(&["STAGE", "LOOKED AT", "OUTCOME"], steps.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;
    use clap::Parser as _;
    use palisade_proto::v1::{AskedPlugin, PluginAnswer, StagedVerdict};

    fn asked(words: &[&str]) -> Result<ExplainRequest, u8> {
        let words = ["palisadectl", "explain", "h1"].iter().chain(words);
        match Args::try_parse_from(words).map_err(|_| 2)?.command {
            Command::Explain(explain) => request(&explain).map_err(|failure| failure.code()),
            _ => Err(1),
        }
    }

    #[test]
    fn a_packet_comes_in_goes_out_or_both() {
        let packet = [
            "--proto",
            "tcp",
            "--src",
            "10.0.0.1",
            "--dst",
            "10.0.0.2:80",
        ];
        let way = |way: &[&str]| {
            let asked = asked(&[way, &packet].concat())?;
            Ok((asked.in_interface, asked.out_interface))
        };
        let of = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(way(&["--in", "eth0"]), of("eth0", ""));
        assert_eq!(way(&["--out", "eth1"]), of("", "eth1"));
        assert_eq!(
            way(&["--in", "eth0", "--out", "cali00"]),
            of("eth0", "cali00")
        );
        assert_eq!(way(&[]), Err(2));
    }

    #[test]
    fn icmp_is_an_echo_request_unless_said_otherwise_and_has_no_ports() {
        let of = |more: &[&str]| asked(&[&["--in", "e", "--proto", "icmp"], more].concat());
        let plain = of(&["--src", "10.0.0.1", "--dst", "10.0.0.2"]).expect("a packet");
        assert_eq!((plain.icmp_type, plain.icmp_code), (Some(8), Some(0)));
        assert_eq!(of(&["--src", "10.0.0.1", "--dst", "10.0.0.2:80"]), Err(2));
        assert_eq!(of(&["--src", "10.0.0.1", "--dst", "fd00::2"]), Err(2));
    }

    #[test]
    fn what_plugins_are_taken_to_answer_is_asked_for_by_name() {
        let of = |plugins: &[&str]| {
            let words = [
                "--in", "e", "--proto", "udp", "--src", "::1", "--dst", "[::2]:53",
            ];
            let plugins = plugins.iter().flat_map(|plugin| ["--plugin", plugin]);
            let words: Vec<&str> = words.into_iter().chain(plugins).collect();
            let asked = asked(&words)?.plugins.into_iter();
            Ok::<_, u8>(
                asked
                    .map(|p| (p.name.clone(), p.answer()))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&[]), Ok(Vec::new()));
        assert_eq!(
            of(&["dns=match", "x=no-match", "y=none"]),
            Ok(vec![
                ("dns".to_owned(), PluginAnswer::Match),
                ("x".to_owned(), PluginAnswer::NoMatch),
                ("y".to_owned(), PluginAnswer::None),
            ])
        );
        for wrong in ["dns", "dns=", "dns=maybe", "=match"] {
            assert_eq!(of(&[wrong]), Err(2), "{wrong}");
        }
    }

    #[test]
    fn every_answer_of_a_plugin_is_shown_with_what_comes_of_it() {
        let alternative = |answer: PluginAnswer, verdict: Verdict, reason: &str| Alternative {
            asked: vec![AskedPlugin {
                name: "dns".into(),
                settings: r#"{"suffixes":["x"]}"#.into(),
                answer: answer.into(),
                assumed: false,
            }],
            verdict: verdict.into(),
            reason: reason.into(),
            steps: vec![TraceStep {
                stage: "output".into(),
                subject: format!("subject {reason}"),
                outcome: "deny".into(),
            }],
            ..Alternative::default()
        };
        let mut answer = ExplainResponse {
            verdict: Verdict::Depends.into(),
            reason: "depends on plugin `dns`".into(),
            alternatives: vec![
                alternative(PluginAnswer::Match, Verdict::Drop, "first"),
                alternative(PluginAnswer::NoMatch, Verdict::Accept, "second"),
            ],
            ..ExplainResponse::default()
        };
        let text = show(Format::Table, &answer).expect("text");
        let mut rest = text.as_str();
        for part in [
            "depends: depends on plugin `dns`",
            r#"if plugin `dns` {"suffixes":["x"]} matches:"#,
            "denied (drop): first",
            "subject first",
            "does not match:",
            "allowed: second",
            "subject second",
        ] {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("{part} in {text}"));
            rest = &rest[at..];
        }
        let json = show(Format::Json, &answer).expect("JSON");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["alternatives"][1]["verdict"], "allowed");
        assert_eq!(json["alternatives"][1]["asked"][0]["answer"], "no match");

        answer.alternatives.truncate(1);
        answer.alternatives[0].asked[0].assumed = true;
        let text = show(Format::Table, &answer).expect("text");
        assert!(text.contains("matches (as assumed)"), "{text}");
    }

    #[test]
    fn doubts_stand_right_below_the_verdict() {
        let answer = ExplainResponse {
            verdict: Verdict::Accept.into(),
            reason: "why".into(),
            caveats: vec!["node `h1` is not connected".into()],
            ..ExplainResponse::default()
        };
        let text = show(Format::Table, &answer).expect("text");
        assert!(text.starts_with("allowed: why\nbut node `h1` is not connected\n\n"));
        let json = show(Format::Json, &answer).expect("JSON");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["caveats"][0], "node `h1` is not connected");
    }

    #[test]
    fn staged_policies_tell_what_they_would_do() {
        let step = |subject: &str, outcome: &str| TraceStep {
            stage: "pre-dnat".into(),
            subject: subject.into(),
            outcome: outcome.into(),
        };
        let mut answer = ExplainResponse {
            verdict: Verdict::Accept.into(),
            reason: "why".into(),
            steps: vec![step("gnp/a", "accept")],
            ..ExplainResponse::default()
        };
        let shown = |answer: &ExplainResponse| show(Format::Table, answer).expect("text");
        assert!(!shown(&answer).contains("staged"));
        answer.staged = Some(StagedVerdict {
            verdict: Verdict::Drop.into(),
            reason: "because".into(),
            steps: vec![step("gnp/b", "deny")],
            ..StagedVerdict::default()
        });
        let text = shown(&answer);
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("{part} in {text}"))
        };
        assert!(at("allowed: why") < at("gnp/a"));
        assert!(at("gnp/a") < at("with staged policies in force, denied (drop): because"));
        assert!(at("because") < at("gnp/b"));
        let json = show(Format::Json, &answer).expect("JSON");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["staged"]["steps"][0]["stage"], "pre-dnat");
    }
}
