//! The rungs below the oracle: the model's door, the compiler, the evaluator, the lowered ruleset, the interpreter.

use palisade_compile::compile;
use palisade_model::{Decoded, Kind, Name, decode, unenforced};
use palisade_policy::{
    evaluate::{self, Evaluator},
    ids::IfName,
    packet::{CtState, Environment, Interface, Packet as Facts, Way as FactsWay},
    plugin::{Answer, PluginCondition},
    rule::Protocol,
    view::View,
};
use palisade_ruleset::{
    interpret::{Daemon, Given, judge_given},
    ir::Ruleset,
    lower,
    lower::LowerCache,
    plugins::Asking,
    text,
};
use palisade_testkit::{
    coverage::Coverage,
    document::{Document, World},
    generate::Scope,
    oracle::{Oracle, Reason, Verdict},
    packet::{Packet, Tracking, Way},
};
use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

/// The stages that this build has a ruleset for.
pub(crate) const SCOPE: Scope = Scope::ALL;

/// A document at the product's door.
enum Door {
    In(Box<Decoded>),
    /// A kind or a field that this build does not know or enforce yet, by name.
    Later(String),
    /// A finding: generated documents are valid.
    Refused(String),
}

fn door(document: &Document) -> Door {
    if Kind::from_document(document.kind()).is_none() {
        return Door::Later(document.kind().to_owned());
    }
    match decode(&document.to_json()) {
        Err(problems) => Door::Refused(format!("{:#}: {problems:?}", document.to_json())),
        Ok(decoded) => match unenforced(&decoded.resource).first() {
            Some(field) => Door::Later(format!("{} {}", document.kind(), field.path)),
            None => Door::In(Box::new(decoded)),
        },
    }
}

/// Takes out of a world what this build cannot enforce, and counts it.
pub(crate) fn enforceable(world: &mut World, coverage: &mut Coverage) {
    world.documents.retain(|document| match door(document) {
        Door::In(_) | Door::Refused(_) => true,
        Door::Later(what) => {
            coverage.count("waits for this build", what);
            false
        }
    });
}

/// A world, on every pure rung.
pub(crate) struct Rungs {
    pub(crate) oracle: Oracle,
    view: View,
    environment: Environment,
    conditions: BTreeSet<PluginCondition>,
    asking: Arc<Asking>,
    pub(crate) ruleset: Ruleset,
}

impl Rungs {
    /// Climbs.
    ///
    /// # Errors
    /// What the product refuses of the world.
    pub(crate) fn new(world: &World) -> Result<Self, String> {
        let mut resources = palisade_compile::World::new();
        for document in &world.documents {
            match door(document) {
                Door::In(decoded) => {
                    let resource = Arc::new(decoded.resource);
                    resources.set(resource.id(), Some(resource));
                }
                Door::Later(what) => return Err(format!("not enforced: {what}")),
                Door::Refused(why) => return Err(why),
            }
        }
        let node = Name::new(&world.machine.node).ok_or("the node has no name")?;
        let view = compile(&resources, &node);
        let environment = environment(world);
        let lowered = lower(&view, &environment, None, &mut LowerCache::new());
        match lowered.faults.first() {
            Some(fault) => Err(format!("cannot be lowered: {fault:?}")),
            None => Ok(Self {
                oracle: Oracle::new(world),
                conditions: conditions(&view),
                asking: Arc::new(lowered.asking),
                view,
                environment,
                ruleset: lowered.ruleset,
            }),
        }
    }

    /// The evaluator, ready to be asked.
    pub(crate) fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(&self.view, &self.environment)
    }

    /// Where no plugin says anything, nobody is there to be asked.
    fn given(&self, packet: &Packet) -> Given {
        Given {
            daemon: (!packet.answers.is_empty()).then(|| Daemon::new(Arc::clone(&self.asking))),
            ..Given::default()
        }
    }

    /// What all rungs say of a packet.
    pub(crate) fn ask(&self, evaluator: &Evaluator<'_>, packet: &Packet) -> Answers {
        let facts = facts(packet, &self.conditions);
        let interpreted = judge_given(&self.ruleset, &facts, &self.given(packet));
        Answers {
            oracle: self.oracle.judge(packet),
            evaluator: of(evaluator.judge(&facts).verdict),
            interpreter: interpreted
                .map(|j| of(j.verdict))
                .map_err(|e| e.to_string()),
        }
    }

    /// Everything about a packet that helps to see why rungs differ.
    pub(crate) fn explain(&self, packet: &Packet) -> String {
        let facts = facts(packet, &self.conditions);
        let mut out = String::new();
        let oracle = self.oracle.judge(packet);
        let _ = writeln!(out, "oracle: {:?} {:#?}", oracle.verdict, oracle.stages);
        let _ = writeln!(out, "evaluator: {:#?}", self.evaluator().judge(&facts));
        let _ = writeln!(
            out,
            "interpreter: {:#?}",
            judge_given(&self.ruleset, &facts, &self.given(packet))
        );
        let _ = writeln!(out, "{}", text::render(&self.ruleset));
        out
    }
}

/// Every condition that a rule of the view has.
fn conditions(view: &View) -> BTreeSet<PluginCondition> {
    let policies = view.policies.values();
    let rules = policies.flat_map(|policy| policy.ingress.iter().chain(&policy.egress));
    rules
        .filter_map(|rule| rule.matches.plugin.clone())
        .collect()
}

/// What each pure rung says.
pub(crate) struct Answers {
    pub(crate) oracle: palisade_testkit::oracle::Judgement,
    pub(crate) evaluator: Verdict,
    pub(crate) interpreter: Result<Verdict, String>,
}

impl Answers {
    pub(crate) fn agree(&self) -> bool {
        let verdict = self.oracle.verdict;
        let same = |other: Verdict| {
            // Several stages deny what is invalid, and what comes from unknown workloads; those before routing cannot
            // reject. Whichever comes first.
            let is_denied = |verdict| verdict != Verdict::Accept;
            let decided = self.oracle.decided().map(|(_, reason)| reason);
            let either = matches!(decided, Some(Reason::UnknownWorkload | Reason::Invalid));
            other == verdict || (either && is_denied(other) && is_denied(verdict))
        };
        self.oracle.impossible || (same(self.evaluator) && self.interpreter.clone().is_ok_and(same))
    }

    /// What kind of difference it is.
    pub(crate) fn kind(&self) -> String {
        let decided = self.oracle.decided();
        format!(
            "oracle {:?} by {:?}, evaluator {:?}, interpreter {:?}",
            self.oracle.verdict,
            decided.map(|(stage, reason)| (stage, std::mem::discriminant(reason))),
            self.evaluator,
            self.interpreter
        )
    }
}

fn of(verdict: evaluate::Verdict) -> Verdict {
    match verdict {
        evaluate::Verdict::Accept => Verdict::Accept,
        evaluate::Verdict::Drop => Verdict::Drop,
        evaluate::Verdict::Reject => Verdict::Reject,
    }
}

fn environment(world: &World) -> Environment {
    let mut interfaces = std::collections::BTreeMap::new();
    for (name, addresses) in &world.machine.interfaces {
        let mut addresses = addresses.clone();
        addresses.sort();
        let interface = Interface {
            up: true,
            addresses,
            master: None,
        };
        interfaces.insert(IfName::new(name.as_str()), interface);
    }
    let mut control_plane = world.machine.control_plane.clone();
    control_plane.sort();
    Environment {
        interfaces,
        control_plane,
    }
}

/// What the product is told of a packet, with the answers to these conditions.
pub(crate) fn facts(packet: &Packet, conditions: &BTreeSet<PluginCondition>) -> Facts {
    let name = |name: &String| IfName::new(name.as_str());
    Facts {
        way: match &packet.way {
            Way::In(interface) => FactsWay::In {
                interface: name(interface),
            },
            Way::Out(interface) => FactsWay::Out {
                interface: name(interface),
            },
            Way::Forward(from, to) => FactsWay::Forward {
                from: name(from),
                to: name(to),
            },
        },
        source: packet.source,
        destination: packet.destination,
        protocol: Protocol(packet.protocol),
        source_port: packet.ports.map(|ports| ports.0),
        destination_port: packet.ports.map(|ports| ports.1),
        icmp: packet.icmp,
        ct: match packet.tracking {
            Tracking::New => CtState::New,
            Tracking::Established => CtState::Established,
            Tracking::Related => CtState::Related,
            Tracking::Invalid => CtState::Invalid,
            Tracking::Untracked => CtState::Untracked,
        },
        original_destination: packet.translated,
        answers: conditions
            .iter()
            .filter_map(|condition| {
                let name = condition.plugin.as_str().strip_prefix("plugin/")?;
                let said = packet
                    .answers
                    .get(&format!("{name} {}", condition.settings))?;
                let answer = if *said {
                    Answer::Match
                } else {
                    Answer::NoMatch
                };
                Some((condition.clone(), answer))
            })
            .collect(),
    }
}
