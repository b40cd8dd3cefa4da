//! Tests of a matcher as its author writes them: settings, packets and the answers they should get, in YAML. Run with the
//! engine and limits of a node; `palisadectl plugin test` prints what comes out.

mod packet;

use std::fmt;
use std::time::Instant;

use serde::Deserialize;

use crate::configured::Options;
use crate::fault::Fault;
use crate::matcher::{Answer, Matcher};
use crate::plugin::Plugin;
use crate::problem::SettingsError;

/// A file of cases with the same settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fixture {
    /// The settings, as a rule would have them; default: none.
    #[serde(default = "no_settings")]
    settings: serde_json::Value,
    /// Answers may depend on earlier packets of the file, as those of a plugin that counts do; default: they may not,
    /// and each packet is shown to a fresh instance, too.
    #[serde(default)]
    history: bool,
    /// Judged in order, by one instance.
    packets: Vec<Case>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    packet: packet::Written,
    answer: Expected,
    /// Seconds; absent: it does not matter.
    #[serde(default)]
    remember: Option<u32>,
}

/// An answer as a fixture names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as the variants of `Answer`")]
pub enum Expected {
    Match,
    NoMatch,
    NeedPayload,
    Undecided,
}

/// A fixture that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixtureError {
    /// Not YAML of this shape.
    #[error("{reason}")]
    Shape {
        /// What and where.
        reason: String,
    },
    /// Several documents.
    #[error("has several documents: make each a file of its own")]
    Several,
    /// No packets.
    #[error("has no packets: nothing is tested")]
    Empty,
    /// A packet that cannot be.
    #[error("packet `{case}`: {reason}")]
    Packet {
        /// The name of the case.
        case: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The plugin is no matcher.
    #[error("the plugin is no matcher")]
    NoMatcher,
}

/// What came out of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The name of the case.
    pub name: String,
    /// `None`: as expected.
    pub failure: Option<Failure>,
    /// Fuel of the call; 0 where it gave no answer.
    pub fuel: u64,
}

/// Why a case failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another answer.
    Answer {
        /// What the fixture says.
        expected: Expected,
        /// What the plugin said.
        actual: Answer,
    },
    /// Remembered for another time, in seconds.
    Remember {
        /// What the fixture says.
        expected: u32,
        /// What the plugin said.
        actual: u32,
    },
    /// No answer.
    Fault(Fault),
    /// A fresh instance answers otherwise than one that has judged the packets before: the answer depends on more than
    /// it may. Not where the fixture says that it may (`history`).
    History {
        /// What the fresh instance said.
        fresh: Result<Answer, Fault>,
    },
}

fn no_settings() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

impl Fixture {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Where it is not of this shape, has no packets, or one that cannot be.
    pub fn parse(text: &str) -> Result<Self, FixtureError> {
        let mut fixtures: Vec<Self> =
            serde_saphyr::from_multiple(text).map_err(|error| FixtureError::Shape {
                reason: error.to_string(),
            })?;
        let Some(fixture) = fixtures.pop() else {
            return Err(FixtureError::Empty);
        };
        if !fixtures.is_empty() {
            return Err(FixtureError::Several);
        }
        if fixture.packets.is_empty() {
            return Err(FixtureError::Empty);
        }
        for case in &fixture.packets {
            case.packet.facts().map_err(|reason| FixtureError::Packet {
                case: case.name.clone(),
                reason,
            })?;
        }
        Ok(fixture)
    }

    /// Its settings, as JSON.
    pub fn settings(&self) -> String {
        self.settings.to_string()
    }

    /// Lets the plugin judge its settings.
    ///
    /// # Errors
    ///
    /// As [`Plugin::validate`].
    pub fn validate(&self, plugin: &Plugin) -> Result<(), SettingsError> {
        plugin.validate(&self.settings())
    }

    /// Judges every packet, in order.
    ///
    /// # Errors
    ///
    /// Where the plugin is no matcher. What a case does is in its [`Outcome`].
    pub fn run(&self, plugin: &Plugin, options: &Options) -> Result<Vec<Outcome>, FixtureError> {
        let worker = || {
            let configured = plugin.with_settings(&self.settings(), options.clone());
            configured.matcher().ok_or(FixtureError::NoMatcher)
        };
        let mut used = worker()?;
        self.packets
            .iter()
            .map(|case| {
                let fresh = (!self.history).then(worker).transpose()?;
                case.run(&mut used, fresh)
            })
            .collect()
    }
}

impl Case {
    /// Without a fresh instance, the answer may depend on earlier packets.
    fn run(&self, used: &mut Matcher, fresh: Option<Matcher>) -> Result<Outcome, FixtureError> {
        let written = self.packet.facts().map_err(|reason| FixtureError::Packet {
            case: self.name.clone(),
            reason,
        })?;
        let packet = written.packet();
        let actual = used.evaluate(&packet, Instant::now());
        let fuel = if actual.is_ok() { used.fuel_used() } else { 0 };
        let fresh = fresh.map(|mut fresh| fresh.evaluate(&packet, Instant::now()));
        let failure = match actual {
            Err(fault) => Some(Failure::Fault(fault)),
            Ok(actual) => self.failure(actual, fresh),
        };
        Ok(Outcome {
            name: self.name.clone(),
            failure,
            fuel,
        })
    }

    fn failure(&self, actual: Answer, fresh: Option<Result<Answer, Fault>>) -> Option<Failure> {
        let (is, remembered) = match &actual {
            Answer::Match { remember } => (Expected::Match, *remember),
            Answer::NoMatch { remember } => (Expected::NoMatch, *remember),
            Answer::NeedPayload => (Expected::NeedPayload, None),
            Answer::Undecided { .. } => (Expected::Undecided, None),
        };
        let remembered = remembered.map_or(0, std::num::NonZeroU32::get);
        if is != self.answer {
            let expected = self.answer;
            return Some(Failure::Answer { expected, actual });
        }
        if let Some(expected) = self.remember.filter(|expected| *expected != remembered) {
            let actual = remembered;
            return Some(Failure::Remember { expected, actual });
        }
        let fresh = fresh.filter(|fresh| fresh.as_ref() != Ok(&actual))?;
        Some(Failure::History { fresh })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Match => "match",
            Self::NoMatch => "no-match",
            Self::NeedPayload => "need-payload",
            Self::Undecided => "undecided",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { expected, actual } => {
                write!(f, "expected {expected}, the plugin says {actual}")
            }
            Self::Remember { expected, actual } => {
                write!(
                    f,
                    "expected to be remembered for {expected} s, not {actual} s"
                )
            }
            Self::Fault(fault) => write!(f, "no answer: the plugin {fault}"),
            Self::History { fresh: Ok(answer) } => {
                write!(
                    f,
                    "a fresh instance says {answer}: the answer depends on earlier packets (`history: true` lets it)"
                )
            }
            Self::History { fresh: Err(fault) } => write!(f, "a fresh instance {fault}"),
        }
    }
}
