//! What is said of a packet that somebody asks about. Control plane and node answer alike, each by the view and the machine
//! that it knows: this is from their one request to their one answer, but for what only they can say (caveats, staged
//! policies).

mod answers;
mod packet;
pub mod words;

use crate::{
    evaluate::{Judgement, Verdict},
    packet::{Environment, Packet},
    view::{Position, View},
};
use answers::{Alternative, Assumed};
use palisade_proto::v1::{self, ExplainRequest, ExplainResponse, StagedVerdict, TraceStep};

/// Why a request cannot be answered: what is wrong with it, by its field.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    /// The packet neither comes nor goes.
    #[error("in_interface or out_interface is needed")]
    NoWay,
    /// An address has neither 4 nor 16 bytes.
    #[error("{0} has neither 4 nor 16 bytes")]
    Address(&'static str),
    /// One address is IPv4, the other IPv6.
    #[error("source and destination are of different families")]
    Families,
    /// No protocol has this number.
    #[error("protocol must lie in 1..=255")]
    Protocol,
    /// A port of a protocol without.
    #[error("{0}: the protocol has no ports")]
    NoPorts(&'static str),
    /// No port has this number.
    #[error("{0} must lie in 0..=65535")]
    Port(&'static str),
    /// An ICMP packet has a type.
    #[error("icmp_type is needed")]
    NoIcmpType,
    /// No ICMP type or code has this number.
    #[error("ICMP types and codes lie in 0..=255")]
    Icmp,
    /// Another protocol has no ICMP type.
    #[error("icmp_type and icmp_code belong to ICMP")]
    NotIcmp,
    /// A plugin is named without what it answers.
    #[error("plugins: what is plugin `{0}` taken to answer?")]
    NoAnswer(String),
    /// A plugin is named twice.
    #[error("plugins: two answers of plugin `{0}`")]
    TwoAnswers(String),
    /// No rule of the view asks the plugin.
    #[error("plugins: no policy of this node asks a plugin `{0}`")]
    NeverAsked(String),
    /// Every combination of answers is tried, up to a limit.
    #[error("more than {most} combinations of plugins' answers: say what some are taken to answer")]
    TooManyAnswers {
        /// The limit.
        most: usize,
    },
}

/// A request that was read: a new packet, and what plugins are taken to answer about it.
#[derive(Clone, Debug)]
pub struct Question {
    packet: Packet,
    assumed: Assumed,
}

/// What becomes of the packet, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    verdict: v1::Verdict,
    reason: String,
    steps: Vec<TraceStep>,
    rule_id: u64,
    alternatives: Vec<v1::Alternative>,
}

// === impl Question ===

impl Question {
    /// From a request; its node is the caller's business.
    ///
    /// # Errors
    /// A field that makes no sense.
    pub fn new(request: &ExplainRequest) -> Result<Self, Invalid> {
        Ok(Self {
            packet: packet::packet(request)?,
            assumed: Assumed::new(&request.plugins)?,
        })
    }

    /// Refuses assumptions about plugins that no rule of the view asks: they are a mistake.
    ///
    /// # Errors
    /// The first of them.
    pub fn check_plugins(&self, view: &View) -> Result<(), Invalid> {
        self.assumed.check(view)
    }

    /// The answer by a view on a machine.
    ///
    /// # Errors
    /// Rules ask plugins so much that not every combination of answers is tried.
    pub fn explain(&self, view: &View, environment: &Environment) -> Result<Explanation, Invalid> {
        let Self { packet, assumed } = self;
        let found = assumed.alternatives(view, environment, packet)?;
        let described = found.iter().filter(|alternative| alternative.asks());
        let described = described.map(|alternative| assumed.describe(alternative));
        let alternatives = described.collect();
        if let [only] = found.as_slice() {
            let judgement = &only.judgement;
            return Ok(Explanation {
                verdict: verdict(judgement),
                reason: judgement.reason.to_string(),
                steps: steps(judgement),
                rule_id: judgement.rule.map_or(0, |rule| rule.0),
                alternatives,
            });
        }
        let plugin = found.iter().find_map(Alternative::first).unwrap_or("?");
        let mut verdicts: Vec<_> = found
            .iter()
            .map(|found| verdict(&found.judgement))
            .collect();
        verdicts.dedup();
        let (verdict, reason) = match verdicts.as_slice() {
            [same] => (*same, format!("whatever plugin `{plugin}` answers")),
            _ => (
                v1::Verdict::Depends,
                format!("depends on plugin `{plugin}`"),
            ),
        };
        Ok(Explanation {
            verdict,
            reason,
            steps: Vec::new(),
            rule_id: 0,
            alternatives,
        })
    }
}

// === impl Explanation ===

impl Explanation {
    /// For the wire, by the view of this position; the caller knows why the kernel may do something else.
    pub fn response(self, position: &Position, caveats: Vec<String>) -> ExplainResponse {
        ExplainResponse {
            verdict: self.verdict.into(),
            reason: self.reason,
            steps: self.steps,
            position: Some(position.into()),
            rule_id: self.rule_id,
            staged: None,
            alternatives: self.alternatives,
            caveats,
        }
    }

    /// For the wire, by a view in which staged policies are in force.
    pub fn staged(self) -> StagedVerdict {
        StagedVerdict {
            verdict: self.verdict.into(),
            reason: self.reason,
            steps: self.steps,
            alternatives: self.alternatives,
        }
    }
}

fn verdict(judgement: &Judgement) -> v1::Verdict {
    match judgement.verdict {
        Verdict::Accept => v1::Verdict::Accept,
        Verdict::Drop => v1::Verdict::Drop,
        Verdict::Reject => v1::Verdict::Reject,
    }
}

fn steps(judgement: &Judgement) -> Vec<TraceStep> {
    let steps = judgement.trace.iter().map(|step| TraceStep {
        stage: step.stage.to_string(),
        subject: match &step.endpoint {
            Some(endpoint) => format!("{endpoint}: {}", step.subject),
            None => step.subject.to_string(),
        },
        outcome: step.outcome.to_string(),
    });
    steps.collect()
}
