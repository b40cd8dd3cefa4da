//! Matches DNS queries by the name asked for.
//!
//! Judges UDP to port 53 of both families. A packet to elsewhere does not match; one that cannot be read as a query is
//! undecided, and the rule's failure policy decides. The answer is remembered for the flow, that is the socket that
//! asked: its repetitions are answered by the kernel.

mod question;
mod suffix;

use palisade_plugin::matcher::{Answer, Matcher, Packet};
use palisade_plugin::{Problem, settings};

use suffix::Suffix;

const UDP: u8 = 17;
const DNS: u16 = 53;

/// What a rule may set.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    /// `example.org` is the name and all below it, `.example.org` only what is below it.
    suffixes: Vec<String>,
    /// Seconds for which an answer holds for the flow, 0 to 3600.
    #[serde(default = "half_a_minute")]
    remember_seconds: u32,
}

fn half_a_minute() -> u32 {
    30
}

/// The condition: the query is for a name under one of the suffixes.
#[derive(Debug)]
pub struct DnsSuffix {
    suffixes: Vec<Suffix>,
    remember_seconds: u32,
}

impl Matcher for DnsSuffix {
    fn configure(text: &str) -> Result<Self, Vec<Problem>> {
        let read: Settings = settings::parse(text)?;
        let mut problems = Vec::new();
        if read.suffixes.is_empty() {
            problems.push(settings::problem("suffixes", "is empty: name at least one"));
        }
        if read.remember_seconds > 3600 {
            problems.push(settings::problem("rememberSeconds", "is more than 3600"));
        }
        let mut suffixes = Vec::new();
        for (index, text) in read.suffixes.iter().enumerate() {
            match Suffix::parse(text) {
                Ok(suffix) => suffixes.push(suffix),
                Err(reason) => {
                    problems.push(settings::problem(format!("suffixes[{index}]"), reason))
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            suffixes,
            remember_seconds: read.remember_seconds,
        })
    }

    fn evaluate(&mut self, packet: &Packet) -> Answer {
        if packet.protocol != UDP || packet.destination_port != DNS {
            return Answer::NoMatch(0);
        }
        let mut matched = false;
        let read = question::each(&packet.payload, |name| {
            matched |= self.suffixes.iter().any(|suffix| suffix.holds(name));
        });
        match (matched, read) {
            (true, _) => Answer::Match(self.remember_seconds),
            (false, Ok(())) => Answer::NoMatch(self.remember_seconds),
            (false, Err(reason)) => Answer::Undecided(reason.to_owned()),
        }
    }
}

palisade_plugin::matcher!(DnsSuffix);

#[cfg(test)]
mod tests;
