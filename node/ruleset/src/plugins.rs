//! What plugins are asked, where, and how their answers come back.
//!
//! The ruleset queues a packet to the number of its stage ([`QUEUE_BASE`] and the stage); the daemon finds the class by
//! stage and interface ([`Asking::questions`]), asks all its conditions once, and repeats the packet with the mark that
//! [`Questions::answered`] gives: a tag, which stands for the mark that the packet had, and the answers. Whatever accepts
//! the packet gives the mark back. INVARIANT: answers mean what they say to the ruleset that they were made for; so
//! questions are looked up and the verdict is given without a commit in between.

use crate::{
    ir::{SetName, Side, names},
    stage::{ASKING, Dispatch},
};
use palisade_policy::{
    class::{Class, EndpointKind},
    ids::{ClassId, EndpointId, IfName, PolicyId},
    plugin::{Answer, OnFailure, PluginCondition, PluginKind},
    resolve::Resolution,
    rule::Family,
    view::View,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

mod log_action;

pub use log_action::LogAction;

/// Stages queue to this number and their own, 1..=7.
pub const QUEUE_BASE: u16 = 7600;

/// The group that denials, allow rules that begin a flow, and log rules are logged to while the view has an auditor.
pub const AUDIT_GROUP: u16 = 7600;

/// Bits of a mark that are a tag, while the packet is between the queue and the end of its base chain. A random value that
/// the daemon keeps in [`names::TAGS`]; the mark that it stands for is in [`names::RESTORE`]. Never 0.
pub const TAG: u32 = 0xffff_f000;

/// How many bits of answers there are, beside a tag.
const ANSWERS: u32 = TAG.trailing_zeros();

/// What packets have in common that get the same remembered answer, beside protocol, addresses and destination port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Alike {
    /// Nothing: every flow from one address to the other's port.
    Flow,
    /// The source port: one socket's.
    Socket,
}

/// A condition of a class, and its bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// What is asked.
    pub condition: PluginCondition,
    /// Set where it holds.
    pub matched: u32,
    /// Set where there is no answer and the rule then denies or allows, whatever its action is.
    pub failed: Option<u32>,
    /// Names the sets of remembered answers: a digest over the plugin, its bytes, and the settings.
    key: String,
}

/// All conditions of a class at one stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Questions {
    stage: u8,
    questions: Vec<Question>,
}

/// Who is asked what: the questions of all classes of a ruleset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asking {
    /// By stage and interface; without an interface: of the default endpoint.
    places: BTreeMap<(u8, Option<IfName>), (EndpointId, Arc<Questions>)>,
    /// Which interface of a packet says whose it is, by stage.
    sides: BTreeMap<u8, Side>,
}

// === impl Question ===

impl Question {
    /// The bits that say so.
    pub fn bits(&self, answer: Answer) -> u32 {
        match (answer, self.condition.on_failure) {
            (Answer::Match, _) | (Answer::Failed, OnFailure::Match) => self.matched,
            (Answer::NoMatch, _) | (Answer::Failed, OnFailure::NoMatch) => 0,
            (Answer::Failed, OnFailure::Deny | OnFailure::Allow) => self.failed.unwrap_or(0),
        }
    }

    /// The volatile set of flows for which the condition holds, or does not. Only protocols with ports have flows there.
    pub fn remembered(&self, family: Family, alike: Alike, holds: bool) -> SetName {
        let [v4, v6] = match (alike, holds) {
            (Alike::Flow, true) => names::MATCH,
            (Alike::Flow, false) => names::NO_MATCH,
            (Alike::Socket, true) => names::SOCKET_MATCH,
            (Alike::Socket, false) => names::SOCKET_NO_MATCH,
        };
        let prefix = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        SetName::new(format!("{prefix}{}", self.key))
    }
}

// === impl Questions ===

impl Questions {
    /// Those of a class; absent: it has none. `Err`: the policy whose condition finds no bit left.
    pub(crate) fn of(
        class: &Class,
        view: &View,
        stage: u8,
    ) -> Result<Option<Arc<Self>>, Box<PolicyId>> {
        let conditions = class.conditions(view);
        if conditions.is_empty() || stage == 0 {
            return Ok(None);
        }
        let mut free = (0..ANSWERS).map(|place| 1 << place);
        let mut questions = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let wants_two = matches!(condition.on_failure, OnFailure::Deny | OnFailure::Allow);
            let matched = free.next();
            let failed = if wants_two { free.next() } else { None };
            match matched {
                Some(matched) if !wants_two || failed.is_some() => questions.push(Question {
                    condition: condition.clone(),
                    matched,
                    failed,
                    key: key(condition, view),
                }),
                _ => return Err(Box::new(first_with(condition, class, view))),
            }
        }
        Ok(Some(Arc::new(Self { stage, questions })))
    }

    /// In the order of their bits.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Question> {
        self.questions.iter()
    }

    /// That of a condition.
    pub fn find(&self, condition: &PluginCondition) -> Option<&Question> {
        self.iter()
            .find(|question| question.condition == *condition)
    }

    /// The mark of a packet with this tag once its questions are answered, in their order; where an answer is missing it
    /// failed.
    pub fn answered(&self, tag: u32, answers: impl IntoIterator<Item = Answer>) -> u32 {
        let answers = answers.into_iter().chain(std::iter::repeat(Answer::Failed));
        let bits = self.iter().zip(answers).map(|(q, answer)| q.bits(answer));
        bits.fold(tag & TAG, |mark, bits| mark | bits)
    }

    /// Where packets are queued to.
    pub(crate) fn queue(&self) -> u16 {
        QUEUE_BASE + u16::from(self.stage)
    }
}

/// Without matchers no rule has a condition.
pub(crate) fn has_matchers(view: &View) -> bool {
    let mut plugins = view.plugins.values();
    plugins.any(|plugin| plugin.kind == PluginKind::Matcher)
}

/// Whether anyone reads what rules log.
pub(crate) fn has_auditors(view: &View) -> bool {
    let mut plugins = view.plugins.values();
    plugins.any(|plugin| plugin.kind == PluginKind::Auditor)
}

/// The name of a condition's answers. Other bytes of the plugin have other answers.
fn key(condition: &PluginCondition, view: &View) -> String {
    let mut hasher = blake3::Hasher::new();
    if let Some(plugin) = view.plugins.get(&condition.plugin) {
        hasher.update(&plugin.digest.0);
    }
    hasher.update(condition.plugin.as_str().as_bytes());
    hasher.update(b"\n");
    hasher.update(condition.settings.as_bytes());
    let mut hex = hasher.finalize().to_hex().to_string();
    hex.truncate(20);
    hex
}

/// The policy that mentions a condition first.
fn first_with(condition: &PluginCondition, class: &Class, view: &View) -> PolicyId {
    let mentions = |id: &&PolicyId| {
        view.policies.get(*id).is_some_and(|policy| {
            let rules = policy.rules(class.direction);
            let mut conditions = rules.iter().filter_map(|rule| rule.matches.plugin.as_ref());
            conditions.any(|other| other == condition)
        })
    };
    let mut policies = class.policies();
    let found = policies.find(mentions);
    found.map_or_else(|| PolicyId::from(""), Clone::clone)
}

// === impl Asking ===

impl Asking {
    /// What the ruleset of a view asks.
    pub(crate) fn of(view: &View, resolution: &Resolution) -> Self {
        let mut asking = Self::default();
        if !has_matchers(view) {
            return asking;
        }
        let mut known: HashMap<(u8, &ClassId), Option<Arc<Questions>>> = HashMap::new();
        for dispatch in ASKING {
            asking.sides.insert(dispatch.asks, dispatch.side);
            for (interface, endpoint) in governed(dispatch, resolution) {
                let place = (dispatch.list, dispatch.direction);
                let class = view.endpoints.get(endpoint);
                let Some(id) = class.and_then(|endpoint| endpoint.classes.get(&place)) else {
                    continue;
                };
                let questions = known.entry((dispatch.asks, id)).or_insert_with(|| {
                    let class = view.classes.get(id)?;
                    Questions::of(class, view, dispatch.asks).ok().flatten()
                });
                if let Some(questions) = questions {
                    let place = (dispatch.asks, interface.cloned());
                    let asked = (endpoint.clone(), Arc::clone(questions));
                    asking.places.insert(place, asked);
                }
            }
        }
        asking
    }

    /// Whether packets are queued from a stage, by its number.
    pub(crate) fn asks_at(&self, stage: u8) -> bool {
        self.places.keys().any(|(asks, _)| *asks == stage)
    }

    /// Nobody is asked anything.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Every question, as often as it is asked.
    pub fn all(&self) -> impl Iterator<Item = &Question> {
        let places = self.places.values();
        places.flat_map(|(_, questions)| questions.iter())
    }

    /// The numbers of queues that rules name.
    pub fn queues(&self) -> BTreeSet<u16> {
        let stages = self.places.keys();
        stages
            .map(|(stage, _)| QUEUE_BASE + u16::from(*stage))
            .collect()
    }

    /// Whose packet it is that came by a queue, and what is asked. Absent: the ruleset that queued it is no longer; drop it.
    pub fn questions(
        &self,
        queue: u16,
        input: Option<&IfName>,
        output: Option<&IfName>,
    ) -> Option<(&EndpointId, &Arc<Questions>)> {
        let stage = u8::try_from(queue.checked_sub(QUEUE_BASE)?).ok()?;
        let interface = match self.sides.get(&stage)? {
            Side::In => input,
            Side::Out => output,
        };
        let own = self.places.get(&(stage, Some(interface?.clone())));
        let (endpoint, questions) = own.or_else(|| self.places.get(&(stage, None)))?;
        Some((endpoint, questions))
    }
}

/// Interfaces, and their endpoints; without an interface: all others.
fn governed(dispatch: Dispatch, resolution: &Resolution) -> Vec<(Option<&IfName>, &EndpointId)> {
    let named = match dispatch.kind {
        EndpointKind::Host => &resolution.hosts,
        EndpointKind::Workload => &resolution.workloads,
    };
    let default = match dispatch.kind {
        EndpointKind::Host => resolution.default.as_ref(),
        EndpointKind::Workload => None,
    };
    let named = named.iter().map(|(name, endpoint)| (Some(name), endpoint));
    named
        .chain(default.map(|endpoint| (None, endpoint)))
        .collect()
}
