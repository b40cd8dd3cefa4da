//! Matches packets to given ports whose payload is longer than a limit. Replace the condition with yours.

use palisade_plugin::matcher::{Answer, Matcher, Packet};
use palisade_plugin::{Problem, settings};

/// What a rule may set.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    ports: Vec<u16>,
    longer_than: u32,
}

/// The condition with its settings.
pub struct Plugin {
    settings: Settings,
}

impl Matcher for Plugin {
    fn configure(text: &str) -> Result<Self, Vec<Problem>> {
        let settings: Settings = settings::parse(text)?;
        if settings.ports.is_empty() {
            return Err(vec![settings::problem("ports", "is empty: name at least one")]);
        }
        Ok(Self { settings })
    }

    fn evaluate(&mut self, packet: &Packet) -> Answer {
        let wanted = self.settings.ports.contains(&packet.destination_port);
        if wanted && packet.payload_length > self.settings.longer_than {
            Answer::Match(0)
        } else {
            Answer::NoMatch(0)
        }
    }
}

palisade_plugin::matcher!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_ports_are_a_problem() {
        let problems = Plugin::configure(r#"{"ports": [], "longerThan": 1}"#)
            .err()
            .expect("refused");
        assert_eq!(problems[0].path, "ports");
    }
}
