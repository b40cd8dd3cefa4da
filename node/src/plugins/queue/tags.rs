//! Tags that stand for the marks of packets while answers travel in the mark; pure.
//!
//! A mark that packets come with gets a tag, which is kept while packets with it come. Hosts have a few marks at most;
//! where every flow has its own, those beyond [`MOST`] get a tag for one answer.

use palisade_netfilter::Tag;
use palisade_ruleset::plugins::TAG;
use std::time::{Duration, Instant};

/// How long the kernel keeps a tag that is not given anew.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long without a question until a tag is not given anew.
const IDLE: Duration = Duration::from_secs(60);
/// Tags that are kept.
const MOST: usize = 64;
/// How long a tag for one answer lives: the answer is given at once.
const ONCE: Duration = Duration::from_millis(250);

/// Those that are kept.
#[derive(Debug, Default)]
pub struct Tags(Vec<Kept>);

#[derive(Clone, Copy, Debug)]
struct Kept {
    tag: u32,
    mark: u32,
    used: Instant,
    /// Known to the kernel until then.
    until: Instant,
}

/// The tag of a packet that is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The kernel knows it.
    Known(u32),
    /// The kernel has to be told first.
    New(Tag),
}

impl Tags {
    /// The tag for a packet that was queued with a mark. Rules queue packets with their own mark; a tag would stand for itself.
    pub fn of(&mut self, queued: u32, now: Instant) -> Found {
        self.0.retain(|kept| now < kept.until);
        let by_tag = self.0.iter().position(|kept| kept.tag == queued & TAG);
        let by_mark = || self.0.iter().position(|kept| kept.mark == queued);
        if let Some(kept) = by_tag.or_else(by_mark).and_then(|at| self.0.get_mut(at)) {
            kept.used = now;
            return Found::Known(kept.tag);
        }
        let kept = self.0.len() < MOST;
        Found::New(Tag {
            tag: self.fresh(queued),
            mark: queued,
            kept,
            lifetime: if kept { LIFETIME } else { ONCE },
        })
    }

    /// The kernel knows a new tag.
    pub fn told(&mut self, tag: &Tag, now: Instant) {
        if tag.kept {
            self.0.push(Kept {
                tag: tag.tag,
                mark: tag.mark,
                used: now,
                until: now + LIFETIME,
            });
        }
    }

    /// Those to be given anew.
    pub fn in_use(&self, now: Instant) -> Vec<Tag> {
        let used = self.0.iter().filter(|kept| now < kept.used + IDLE);
        used.map(|kept| Tag {
            tag: kept.tag,
            mark: kept.mark,
            kept: true,
            lifetime: LIFETIME,
        })
        .collect()
    }

    /// They were.
    pub fn renewed(&mut self, now: Instant) {
        for kept in &mut self.0 {
            if now < kept.used + IDLE {
                kept.until = now + LIFETIME;
            }
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// One that neither a tag nor a mark that was met looks like.
    fn fresh(&self, queued: u32) -> u32 {
        loop {
            let tag = rand::random::<u32>() & TAG;
            let met = self.0.iter().flat_map(|kept| [kept.tag, kept.mark]);
            if tag != 0 && met.chain([queued]).all(|other| other & TAG != tag) {
                return tag;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(tags: &mut Tags, mark: u32, now: Instant) -> u32 {
        match tags.of(mark, now) {
            Found::Known(tag) => tag,
            Found::New(tag) => {
                tags.told(&tag, now);
                tag.tag
            }
        }
    }

    #[test]
    fn a_mark_keeps_its_tag_and_a_tag_is_known_for_its_mark() {
        let (mut tags, now) = (Tags::default(), Instant::now());
        for mark in [0, 1, 0xfff, 0xdead_beef, u32::MAX] {
            let Found::New(tag) = tags.of(mark, now) else {
                panic!("{mark:x} is known");
            };
            assert_eq!((tag.mark, tag.tag & !TAG, tag.kept), (mark, 0, true));
            assert!(tag.tag != 0 && tag.tag != mark & TAG);
            assert!(matches!(tags.of(mark, now), Found::New(_)), "never told");
            tags.told(&tag, now);
            assert_eq!(tags.of(mark, now), Found::Known(tag.tag));
            let partly = tag.tag | 0x5;
            assert_eq!(tags.of(partly, now), Found::Known(tag.tag));
        }
    }

    #[test]
    fn a_mark_beyond_the_most_gets_a_tag_for_one_answer() {
        let (mut tags, now) = (Tags::default(), Instant::now());
        for mark in 0..MOST {
            kept(&mut tags, u32::try_from(mark).expect("few"), now);
        }
        let Found::New(tag) = tags.of(0xabcd, now) else {
            panic!("known");
        };
        assert!(!tag.kept && tag.lifetime < LIFETIME);
        tags.told(&tag, now);
        assert!(matches!(tags.of(0xabcd, now), Found::New(_)));
    }

    #[test]
    fn a_tag_without_questions_is_not_given_anew_and_is_known_as_long_as_the_kernel_knows_it() {
        let (mut tags, start) = (Tags::default(), Instant::now());
        let tag = kept(&mut tags, 7, start);
        let before = start + IDLE - Duration::from_millis(1);
        assert_eq!(tags.in_use(before).len(), 1);
        tags.renewed(before);
        let idle = start + IDLE;
        assert_eq!(tags.in_use(idle), []);
        tags.renewed(idle);
        assert_eq!(tags.of(7, before + LIFETIME / 2), Found::Known(tag));
        assert_eq!(tags.in_use(before + LIFETIME / 2).len(), 1, "asked again");
        assert!(matches!(tags.of(7, before + LIFETIME), Found::New(_)));
    }
}
