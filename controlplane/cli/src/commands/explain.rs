//! `palisadectl explain`: what a node does with a packet, and why.

use crate::{
    args::{Args, Explain, Format},
    client::Client,
    failure::Failure,
    output,
};
use palisade_policy::explain::words::Words;
use palisade_proto::{
    explained,
    v1::{ExplainRequest, ExplainResponse, Verdict},
};

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
    let words = Words {
        in_interface: asked.in_interface.clone(),
        out_interface: asked.out_interface.clone(),
        proto: asked.proto.clone(),
        src: asked.src,
        dst: asked.dst,
        icmp_type: asked.icmp_type,
        icmp_code: asked.icmp_code,
        plugins: asked.plugins.clone(),
    };
    words.request(asked.node.clone()).map_err(|misused| {
        let failure = Failure::invalid(misused.to_string());
        match misused.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

fn show(format: Format, answer: &ExplainResponse) -> Result<String, Failure> {
    match format {
        Format::Yaml => output::yaml(&explained::value(answer)),
        Format::Json => output::json(&explained::value(answer)),
        Format::Name => Ok(explained::line(answer) + "\n"),
        Format::Table | Format::Wide => Ok(explained::text(answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;
    use clap::Parser as _;
    use palisade_proto::v1::PluginAnswer;

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
}
