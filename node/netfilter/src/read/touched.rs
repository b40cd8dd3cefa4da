//! Reading back only what a plan touched, by name.

mod expected;
mod seen;

use super::{Attempt, Moment, generation_of};
use crate::{
    Mismatch, Netfilter, ReadError,
    commit::control,
    decode::{self, RawElement},
    encode::{Key, element_request, keys},
    kernel::{attribute as a, kind},
    message::{Message, Messages},
    request::Requests,
    socket::Wait,
};
use expected::{Expected, Rules};
use palisade_ruleset::{ir::TableName, plan::Plan};
use seen::{Seen, SeenSet};
use std::collections::BTreeMap;

/// Beyond so many questions, reading everything is cheaper.
const QUESTIONS: usize = 512;

/// What a request was about.
enum About<'a> {
    Generation,
    Chain(TableName),
    Set(TableName),
    Elements(TableName, &'a str),
}

/// Replies to all requests.
#[derive(Default)]
struct Replies {
    seen: Seen,
    raw: BTreeMap<(TableName, String), Vec<RawElement>>,
    generations: Vec<u32>,
}

impl Netfilter {
    /// Checks that what the plan touched is as the plan left it: chains and their rules, sets, elements that came and
    /// went, by name; nothing else is read. Returns nf_tables' generation that this was true at: where it is the one
    /// that the commit returned, nobody else has changed anything.
    ///
    /// # Errors
    /// When something differs, or cannot be read.
    pub fn read_touched(&mut self, plan: &Plan) -> Result<u32, Mismatch> {
        let expected = Expected::of(plan);
        if expected.questions() <= QUESTIONS {
            let mut again = false;
            let (seen, generation) = self.attempts(|this| {
                // The first attempt asks for nothing more: most often nobody disturbs it.
                let before = match std::mem::replace(&mut again, true) {
                    true => Some(this.moment()?),
                    false => None,
                };
                this.look(&expected, before)
            })?;
            if expected.difference(&seen).is_none() {
                return Ok(generation);
            }
            // Which range a single key is shown as differs by kernel; a whole dump has the last word.
        }
        let (ruleset, generation) = self.attempts(Self::attempt)?;
        match expected.difference(&Seen::of(ruleset)) {
            None => Ok(generation),
            Some((table, what)) => Err(Mismatch::Differs { table, what }),
        }
    }

    /// One attempt to see what is expected: within one generation, or undisturbed by others since that moment.
    fn look(
        &mut self,
        expected: &Expected<'_>,
        before: Option<Moment>,
    ) -> Result<(Seen, u32), Attempt> {
        let first = self.socket.sequences(0);
        let (requests, about) = self.ask(expected, first);
        self.socket.sequences(about.len());
        let mut replies = self.replies(&requests, &about, first)?;
        for ((table, name), set) in &expected.sets {
            let found = replies.seen.sets.contains_key(&(*table, (*name).clone()));
            let key = (*table, name.as_str().to_owned());
            let raw = match set {
                Some(set) if set.whole && set.shape.is_volatile() => Some(Vec::new()),
                Some(set) if set.whole && found => self.elements(*table, name)?,
                Some(set) if !set.whole => Some(replies.raw.remove(&key).unwrap_or_default()),
                _ => continue,
            };
            let Some(set) = set else { continue };
            let entry = replies.seen.sets.entry((*table, (*name).clone()));
            entry.or_insert_with(SeenSet::default).elements = raw
                .map(unique)
                .and_then(|raw| decode::assemble(set.shape, set.interval, raw))
                .map(|elements| elements.into_iter().collect());
        }
        let mut dumped = expected.sets.values().flatten().any(|set| set.whole);
        for ((table, name), chain) in &expected.chains {
            let Some(chain) = chain else { continue };
            let key = (*table, (*name).clone());
            if matches!(chain.rules, Rules::Untouched) || !replies.seen.chains.contains_key(&key) {
                continue;
            }
            dumped = true;
            let filter = [(a::TABLE, table.as_str()), (a::RULE_CHAIN, name.as_str())];
            let mut rules = Vec::new();
            self.dump("rules", kind::GET_RULE, &filter, |message| {
                rules.push(decode::rule(message.attributes())?.1);
                Some(())
            })?;
            if let Some(seen) = replies.seen.chains.get_mut(&key) {
                seen.rules = rules;
            }
        }
        if !expected.tables.is_empty() {
            dumped = true;
            for table in TableName::ALL {
                if self.told(table)?.is_some() {
                    replies.seen.tables.insert(table);
                }
            }
        }
        if dumped {
            replies.generations.push(self.generation()?);
        }
        match replies.generations.as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other == first) => {
                Ok((replies.seen, *first))
            }
            _ => {
                let before = before.ok_or(Attempt::Interrupted)?;
                let generation = self.undisturbed_since(&before)?;
                Ok((replies.seen, generation))
            }
        }
    }

    /// All questions, the generation first and last, in one datagram.
    fn ask<'e>(&mut self, expected: &'e Expected<'_>, first: u32) -> (Requests, Vec<About<'e>>) {
        let mut requests = Requests::default();
        let mut about = Vec::new();
        let number = |about: &Vec<About<'_>>| {
            first.wrapping_add(u32::try_from(about.len()).unwrap_or(u32::MAX))
        };
        requests.get(kind::GET_GENERATION, number(&about), &[]);
        about.push(About::Generation);
        for (table, chain) in expected.chains.keys() {
            let names = [(a::TABLE, table.as_str()), (a::CHAIN_NAME, chain.as_str())];
            requests.get(kind::GET_CHAIN, number(&about), &names);
            about.push(About::Chain(*table));
        }
        for ((table, name), set) in &expected.sets {
            if set.as_ref().is_none_or(|set| set.whole) {
                let names = [(a::TABLE, table.as_str()), (a::SET_NAME, name.as_str())];
                requests.get(kind::GET_SET, number(&about), &names);
                about.push(About::Set(*table));
            }
            let Some(set) = set.as_ref().filter(|set| !set.whole) else {
                continue;
            };
            for element in set.elements.keys() {
                // What has no encoding is not in the kernel.
                let Ok((key, behind)) = keys(set.shape, set.interval, element) else {
                    continue;
                };
                // The end of a range is found by its highest key: the key behind may begin the next range.
                let ends = behind.and_then(Key::previous);
                for (key, end) in [(key, false)]
                    .into_iter()
                    .chain(ends.map(|last| (last, true)))
                {
                    let at = number(&about);
                    if element_request(&mut self.buffer, *table, name, &key, end, at).is_ok() {
                        requests.append(self.buffer.bytes());
                        about.push(About::Elements(*table, name.as_str()));
                    }
                }
            }
        }
        requests.get(kind::GET_GENERATION, number(&about), &[]);
        about.push(About::Generation);
        (requests, about)
    }

    /// Every request is answered, or refused because there is no such thing.
    fn replies(
        &mut self,
        requests: &Requests,
        about: &[About<'_>],
        first: u32,
    ) -> Result<Replies, Attempt> {
        let mut replies = Replies::default();
        self.socket.send(requests.bytes())?;
        let mut failed = None;
        while replies.generations.len() < 2 {
            let Some(datagram) = self.socket.receive(Wait::Until)? else {
                continue;
            };
            for message in Messages(datagram) {
                let at = usize::try_from(message.sequence.wrapping_sub(first)).ok();
                let Some(about) = at.and_then(|at| about.get(at)) else {
                    continue;
                };
                if let Err(error) = replies.take(&message, about) {
                    failed = Some(error);
                }
                if message.kind == control::ERROR && matches!(about, About::Generation) {
                    return Err(refused(&message).into());
                }
            }
        }
        match failed {
            None => Ok(replies),
            Some(error) => Err(error.into()),
        }
    }
}

impl Replies {
    fn take(&mut self, message: &Message<'_>, about: &About<'_>) -> Result<(), ReadError> {
        if message.kind == control::ERROR {
            return match message.errno() {
                Some(0 | libc::ENOENT) => Ok(()),
                _ => Err(refused(message)),
            };
        }
        let taken = match about {
            About::Generation => {
                self.generations.extend(generation_of(message));
                Some(())
            }
            About::Chain(table) => {
                decode::chain(message.attributes()).map(|chain| self.seen.chain(*table, chain))
            }
            About::Set(table) => {
                decode::definition(message.attributes()).map(|set| self.seen.set(*table, set))
            }
            About::Elements(table, name) => decode::elements(message.attributes()).map(|raw| {
                let key = (*table, (*name).to_owned());
                self.raw.entry(key).or_default().extend(raw);
            }),
        };
        taken.ok_or(ReadError::Malformed("what a plan touched"))
    }
}

fn refused(message: &Message<'_>) -> ReadError {
    ReadError::Refused {
        what: "what a plan touched",
        errno: message.errno().unwrap_or(libc::EPROTO),
    }
}

/// A range is found by its start and by its end, and by those of others that cover them.
fn unique(mut raw: Vec<RawElement>) -> Vec<RawElement> {
    let place = |raw: &RawElement| -> (Key, bool) { (raw.key, raw.end) };
    raw.sort_by_key(place);
    raw.dedup_by_key(|raw| place(raw));
    raw
}
