//! One packet, and all conditions of its class, asked in the order of their bits.

use crate::{
    enforce::inventory::Inventory,
    plugins::audit::{Bus, observe::way},
    plugins::loaded::{LoadedPlugins, Readiness, name},
};
use palisade_netfilter::Remembered;
use palisade_plugin_host::{
    self as host, Body, Configured, KeyPart, Matcher, Packet,
    packet::{self, Headers},
};
use palisade_policy::{
    ids::{IfName, PluginId},
    plugin::{Answer, PluginKind},
    rule::{Family, Protocol},
};
use palisade_ruleset::plugins::{Alike, Question, Questions};
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

/// A plugin's faults are told so often at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A packet that waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Number of the hook.
    pub hook: u8,
    /// Of the network header.
    pub family: Family,
    /// Where it came in.
    pub input: Option<&'a IfName>,
    /// Where it leaves.
    pub output: Option<&'a IfName>,
    /// From the network header on, as much as was copied.
    pub bytes: &'a [u8],
    /// Milliseconds since 1970, UTC.
    pub time_ms: u64,
}

/// Instances of the worker's thread.
#[derive(Debug, Default)]
pub struct Judge {
    loaded: Arc<LoadedPlugins>,
    seats: Vec<Seat>,
    /// Seats by the questions they answer; the questions are held, so that an address is no other's.
    tables: HashMap<*const Questions, (Arc<Questions>, Vec<Option<usize>>)>,
    told: HashMap<PluginId, Instant>,
}

#[derive(Debug)]
struct Seat {
    id: PluginId,
    configured: Arc<Configured>,
    matcher: Matcher,
    /// Payload that the resource lets it see.
    payload: usize,
    /// Which packets get equal answers, as far as the kernel can tell; absent: it cannot.
    alike: Option<Alike>,
}

/// What came of asking.
#[derive(Debug)]
pub struct Judged {
    /// In the order of the questions.
    pub answers: Vec<Answer>,
    /// Whether every condition has an answer.
    pub complete: bool,
}

impl Judge {
    /// Takes the plugins that there are, and makes their instances before a packet needs them. Those that stay keep theirs.
    pub fn seat(&mut self, loaded: Arc<LoadedPlugins>, now: Instant, time_ms: u64) {
        self.tables.clear();
        self.seats.retain(|seat| {
            let ready = loaded.ready(&seat.id, seat.configured.settings());
            ready.is_some_and(|ready| Arc::ptr_eq(ready, &seat.configured))
        });
        self.loaded = loaded;
        let loaded = Arc::clone(&self.loaded);
        for (id, shelved) in &loaded.plugins {
            let (Readiness::Ready(configured), PluginKind::Matcher) =
                (&shelved.readiness, shelved.plugin.kind)
            else {
                continue;
            };
            for settings in configured.keys() {
                if let Some(seat) = self.seat_of(id, settings)
                    && let Some(seat) = self.seats.get_mut(seat)
                    && let Err(fault) = seat.matcher.warm(now, time_ms)
                {
                    tracing::warn!(plugin = %id, %fault, "plugin does not start; the failure policy decides");
                }
            }
        }
    }

    /// Questions are other ones.
    pub fn forget(&mut self) {
        self.tables.clear();
    }

    /// Asks everything about a packet.
    pub fn judge(
        &mut self,
        questions: &Arc<Questions>,
        waiting: &Waiting<'_>,
        inventory: &Inventory,
        bus: &Bus,
        remember: &mut Vec<Remembered>,
    ) -> Judged {
        let now = Instant::now();
        let headers = packet::parse(waiting.bytes);
        let seats = self.table(questions);
        let mut complete = true;
        let mut answers = Vec::with_capacity(seats.len());
        for (question, seat) in questions.iter().zip(seats) {
            let seat = seat.and_then(|seat| self.seats.get_mut(seat));
            let answer = match (&headers, seat) {
                (Ok(headers), Some(seat)) => {
                    let packet = facts(headers, waiting, inventory, seat.payload);
                    match seat.matcher.evaluate(&packet, now) {
                        Ok(answer) => seat.answered(answer, question, headers, remember),
                        Err(fault) => {
                            tell(&mut self.told, bus, &seat.id, &fault, waiting.time_ms, now);
                            Answer::Failed
                        }
                    }
                }
                // Nobody to ask, or nothing to show.
                (Ok(_), None) | (Err(_), _) => Answer::Failed,
            };
            complete &= answer != Answer::Failed;
            answers.push(answer);
        }
        Judged { answers, complete }
    }

    /// Who answers each question.
    fn table(&mut self, questions: &Arc<Questions>) -> Vec<Option<usize>> {
        let address = Arc::as_ptr(questions);
        if let Some((_, seats)) = self.tables.get(&address) {
            return seats.clone();
        }
        let seats: Vec<_> = questions
            .iter()
            .map(|question| self.seat_of(&question.condition.plugin, &question.condition.settings))
            .collect();
        let entry = (Arc::clone(questions), seats.clone());
        self.tables.insert(address, entry);
        seats
    }

    fn seat_of(&mut self, id: &PluginId, settings: &str) -> Option<usize> {
        let there = |seat: &Seat| seat.id == *id && seat.configured.settings() == settings;
        if let Some(at) = self.seats.iter().position(there) {
            return Some(at);
        }
        let configured = Arc::clone(self.loaded.ready(id, settings)?);
        let matcher = configured.matcher()?;
        let payload = self.loaded.plugins.get(id)?.plugin.payload;
        let by = &configured.plugin().manifest().matcher.remember_by;
        self.seats.push(Seat {
            id: id.clone(),
            alike: alike(by),
            payload: payload.into(),
            matcher,
            configured,
        });
        Some(self.seats.len() - 1)
    }
}

impl Seat {
    fn answered(
        &self,
        answer: host::Answer,
        question: &Question,
        headers: &Headers<'_>,
        remember: &mut Vec<Remembered>,
    ) -> Answer {
        let (holds, seconds) = match answer {
            host::Answer::Match { remember } => (true, remember),
            host::Answer::NoMatch { remember } => (false, remember),
            // There is no asking again with data yet.
            host::Answer::NeedPayload => return Answer::Failed,
            host::Answer::Undecided { reason } => {
                tracing::debug!(plugin = %self.id, reason, "undecided");
                return Answer::Failed;
            }
        };
        if let (Some(seconds), Some(alike)) = (seconds, self.alike) {
            remember.extend(remembered(question, alike, holds, headers, seconds));
        }
        if holds {
            Answer::Match
        } else {
            Answer::NoMatch
        }
    }
}

/// The coarsest of the kernel's memories that tells packets apart wherever the manifest does. Absent where none does, and
/// where the manifest names nothing: then answers are not remembered.
fn alike(by: &[KeyPart]) -> Option<Alike> {
    let all = by.iter().map(|part| match part {
        KeyPart::SourceAddress
        | KeyPart::DestinationAddress
        | KeyPart::DestinationPort
        | KeyPart::Protocol => Some(Alike::Flow),
        KeyPart::SourcePort => Some(Alike::Socket),
        KeyPart::InInterface | KeyPart::OutInterface => None,
    });
    all.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// What the kernel is to remember; of protocols with ports only.
fn remembered(
    question: &Question,
    alike: Alike,
    holds: bool,
    headers: &Headers<'_>,
    seconds: NonZeroU32,
) -> Option<Remembered> {
    let protocol = Protocol(headers.protocol);
    let whole = protocol.has_ports() && !headers.later_fragment;
    let family = if headers.source.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    whole.then(|| Remembered {
        set: question.remembered(family, alike, holds),
        source: headers.source,
        destination: headers.destination,
        protocol,
        source_port: match alike {
            Alike::Flow => None,
            Alike::Socket => Some(headers.source_port),
        },
        port: headers.destination_port,
        lifetime: Duration::from_secs(seconds.get().into()),
    })
}

fn facts<'a>(
    headers: &Headers<'a>,
    waiting: &Waiting<'_>,
    inventory: &Inventory,
    payload: usize,
) -> Packet<'a> {
    let way = way(waiting.hook, waiting.input);
    let (source_endpoint, destination_endpoint) =
        inventory.ends(way, waiting.input, waiting.output);
    let number = |name: Option<&IfName>| name.and_then(|name| inventory.interface(name));
    Packet {
        way,
        protocol: headers.protocol,
        source: headers.source,
        destination: headers.destination,
        source_port: headers.source_port,
        destination_port: headers.destination_port,
        icmp: headers.icmp,
        in_interface: number(waiting.input),
        out_interface: number(waiting.output),
        source_endpoint,
        destination_endpoint,
        time_ms: waiting.time_ms,
        payload: headers.payload.get(..payload).unwrap_or(headers.payload),
        payload_length: headers.payload_length,
    }
}

/// Tells of a fault, unless one of the plugin was told just now.
fn tell(
    told: &mut HashMap<PluginId, Instant>,
    bus: &Bus,
    id: &PluginId,
    fault: &host::Fault,
    time_ms: u64,
    now: Instant,
) {
    let recent = |at: &Instant| now.saturating_duration_since(*at) < TELL_EVERY;
    if told.get(id).is_some_and(recent) {
        return;
    }
    told.insert(id.clone(), now);
    tracing::warn!(plugin = %id, %fault, "plugin gives no answer; the failure policy decides");
    bus.report(
        time_ms,
        Body::PluginFault {
            plugin: name(id).to_owned(),
            reason: fault.to_string(),
        },
    );
}
