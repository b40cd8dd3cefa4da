//! Events on their way to auditors: bounded. What finds it full is dropped and counted; whoever tells waits for nothing.
//!
//! Every event has a number, lost ones included, so that what came and what is said to be lost are together what
//! happened.

use crate::wake::Wake;
use palisade_plugin_host::{Body, Event};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Events that wait at most; beyond, they are lost and counted.
const ROOM: usize = 1024;

/// Cheap to clone; clones are one bus.
#[derive(Clone, Debug)]
pub struct Bus {
    inner: Arc<Mutex<Inner>>,
    wake: Wake,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Event>,
    /// Of the last event, lost ones included.
    sequence: u64,
    /// Since the last event that waits.
    lost: u64,
    all_lost: u64,
}

impl Bus {
    /// An empty one, whose reader is woken so.
    pub fn new(wake: Wake) -> Self {
        Self {
            inner: Arc::default(),
            wake,
        }
    }

    /// Wakes the reader.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Something happened, and the reader is elsewhere. Never waits.
    pub fn report(&self, time_ms: u64, body: Body) {
        self.tell(time_ms, body);
        self.wake.wake();
    }

    /// Something happened; the reader knows. Never waits.
    pub fn tell(&self, time_ms: u64, body: Body) {
        let mut inner = self.inner();
        if inner.waiting.len() >= ROOM {
            inner.sequence += 1;
            inner.lost += 1;
            inner.all_lost += 1;
            return;
        }
        if inner.lost > 0 {
            inner.say_lost(time_ms);
        }
        inner.sequence += 1;
        let sequence = inner.sequence;
        inner.waiting.push_back(Event {
            sequence,
            time_ms,
            body,
            fields: Vec::new(),
        });
    }

    /// So many events were lost before they got here.
    pub fn lost(&self, time_ms: u64, count: u64) {
        if count > 0 {
            let mut inner = self.inner();
            inner.sequence += count;
            inner.lost += count;
            inner.all_lost += count;
            inner.say_lost(time_ms);
        }
    }

    /// So many packets were dropped on their way to matchers, without any event: said like lost events, in the place where
    /// it was found, and counted elsewhere.
    pub fn lost_packets(&self, time_ms: u64, count: u64) {
        if count > 0 {
            let mut inner = self.inner();
            inner.sequence += count;
            inner.lost += count;
            inner.say_lost(time_ms);
            drop(inner);
            self.wake.wake();
        }
    }

    /// Everything that waits, oldest first, at most so many.
    pub fn take(&self, most: usize, time_ms: u64) -> Vec<Event> {
        let mut inner = self.inner();
        if inner.waiting.is_empty() && inner.lost > 0 {
            inner.say_lost(time_ms);
        }
        let count = most.min(inner.waiting.len());
        inner.waiting.drain(..count).collect()
    }

    /// Events that wait.
    pub fn waiting(&self) -> usize {
        self.inner().waiting.len()
    }

    /// Events lost since this was last asked.
    pub fn take_all_lost(&self) -> u64 {
        std::mem::take(&mut self.inner().all_lost)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Says so in the place of the lost ones; of the last number that is lost.
    fn say_lost(&mut self, time_ms: u64) {
        let said = Event {
            sequence: self.sequence,
            time_ms,
            body: Body::Lost(std::mem::take(&mut self.lost)),
            fields: Vec::new(),
        };
        match self.waiting.back_mut() {
            // Said together with what was lost just before.
            Some(Event {
                sequence,
                body: Body::Lost(count),
                ..
            }) => {
                *sequence = self.sequence;
                if let Body::Lost(more) = said.body {
                    *count += more;
                }
            }
            _ => self.waiting.push_back(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change(revision: u64) -> Body {
        Body::PolicyChange {
            revision,
            summary: String::new(),
        }
    }

    #[test]
    fn what_finds_it_full_is_counted_and_said_in_its_place() {
        let bus = Bus::new(Wake::new().expect("a descriptor"));
        let room = u64::try_from(ROOM).expect("small");
        for revision in 0..room + 3 {
            bus.tell(0, change(revision));
        }
        assert_eq!(bus.take(usize::MAX, 0).len(), ROOM);
        bus.tell(0, change(99));
        let said = bus.take(usize::MAX, 0);
        let bodies: Vec<_> = said.iter().map(|event| &event.body).collect();
        assert_eq!(bodies, [&Body::Lost(3), &change(99)]);
        assert_eq!(bus.take_all_lost(), 3);
    }

    proptest! {
        #[test]
        fn delivered_and_said_to_be_lost_are_what_happened(
            steps in proptest::collection::vec((0_u64..2000, 0_u64..5, 0_usize..1500), 1..20)
        ) {
            let bus = Bus::new(Wake::new().expect("a descriptor"));
            let (mut told, mut delivered, mut lost) = (0, 0, 0);
            let mut last = 0;
            let mut count = |events: Vec<Event>| {
                for event in events {
                    match event.body {
                        Body::Lost(count) => lost += count,
                        _ => delivered += 1,
                    }
                    assert!(event.sequence >= last, "in order");
                    last = event.sequence;
                }
            };
            for (events, lose, take) in steps {
                for revision in 0..events {
                    bus.tell(0, change(revision));
                }
                bus.lost(0, lose);
                told += events + lose;
                count(bus.take(take, 0));
            }
            while bus.waiting() > 0 || bus.inner().lost > 0 {
                count(bus.take(usize::MAX, 0));
            }
            prop_assert_eq!(delivered + lost, told);
            prop_assert_eq!(last, told);
        }
    }
}
