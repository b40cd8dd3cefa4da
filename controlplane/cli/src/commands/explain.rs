//! `palisadectl explain`: what a node does with a packet, and why.

use crate::{
    args::{Args, Explain, Format},
    client::Client,
    failure::Failure,
    output, status,
};
use palisade_proto::v1::{ExplainRequest, ExplainResponse, Verdict};
use serde_json::json;
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

fn show(format: Format, answer: &ExplainResponse) -> Result<String, Failure> {
    let verdict = match answer.verdict() {
        Verdict::Accept => "allowed",
        Verdict::Drop => "denied (drop)",
        Verdict::Reject => "denied (reject)",
        Verdict::Unspecified => "unknown",
    };
    let value = || {
        json!({
            "verdict": verdict,
            "reason": answer.reason,
            "rule": (answer.rule_id != 0).then(|| format!("{:016x}", answer.rule_id)),
            "revision": answer.position.as_ref().map(|p| p.revision),
            "digest": answer.position.as_ref().map(|p| status::hex(&p.digest)),
            "steps": answer.steps.iter().map(|s| json!({
                "stage": s.stage, "subject": s.subject, "outcome": s.outcome,
            })).collect::<Vec<_>>(),
        })
    };
    match format {
        Format::Yaml => output::yaml(&value()),
        Format::Json => output::json(&value()),
        Format::Table | Format::Wide | Format::Name => {
            let mut text = format!("{verdict}: {}\n", answer.reason);
            if format != Format::Name {
                text.push('\n');
                text += &output::table(
                    &["STAGE", "LOOKED AT", "OUTCOME"],
                    answer
                        .steps
                        .iter()
                        .map(|s| vec![s.stage.clone(), s.subject.clone(), s.outcome.clone()]),
                );
            }
            Ok(text)
        }
    }
}
