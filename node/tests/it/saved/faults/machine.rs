//! A machine whose disk fails, with a model of what was acknowledged on it.

use super::items::{Items, build, operation, snapshot};
use crate::{
    disk::{Faults, SimulatedDisk},
    saved::earlier::written,
};
use palisade_node::enforce::saved::Store;
use palisade_policy::view::{Digest, Epoch, Position};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum End {
    Killed,
    Cut,
}

/// What may be found at the next start, and what the machine is at.
pub(super) struct Machine {
    pub(super) disk: SimulatedDisk,
    random: StdRng,
    /// Acknowledged, or nothing yet.
    good: Option<Position>,
    /// Newer revisions of views: as good, but not durable.
    notes: Vec<Position>,
    /// Kept, but nobody was told so: may be found.
    doubtful: Vec<Position>,
    /// Begun since, and not discarded: may be found if the kernel names it.
    begun: Vec<Position>,
    /// Begun without an error, and neither kept nor discarded: is found if the kernel names it, and power stays.
    under_way: Option<Position>,
    history: Vec<Position>,
    revision: u64,
    epoch: u8,
    /// The disk itself works: processes are killed and power is cut, and that is all. Nothing may look like damage then.
    works: bool,
    pub(super) log: Vec<String>,
}

/// A process.
pub(super) struct Life {
    store: Store,
    /// What it holds, at the revision that it came with.
    held: Option<(Position, Items)>,
    /// The disk could not be read: there may be a newer view.
    fallen_back: bool,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        let mut machine = Self {
            disk: SimulatedDisk::new(seed),
            random: StdRng::seed_from_u64(seed ^ 0x5eed),
            good: None,
            notes: Vec::new(),
            doubtful: Vec::new(),
            begun: Vec::new(),
            under_way: None,
            history: Vec::new(),
            revision: 0,
            epoch: 1,
            works: false,
            log: Vec::new(),
        };
        if machine.one_in(8) {
            machine.put_earlier();
        }
        machine
    }

    /// What a version before generations had numbers left: a good change, and one that was begun.
    fn put_earlier(&mut self) {
        let [snapshot, good, begun] = [1, 3, 7].map(|items| self.next_position(items));
        let (current, journal) = written(
            (snapshot, &operation(0)),
            (good, &operation(1)),
            (begun, &operation(2)),
        );
        self.disk.put("current", &current);
        self.disk.put("journal", &journal);
        self.good = Some(good);
        self.begun.push(begun);
        self.history.extend([snapshot, good, begun]);
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_ratio(1, n)
    }

    fn next_position(&mut self, items: Items) -> Position {
        if self.one_in(20) {
            self.epoch += 1;
            self.revision = 0;
        }
        self.revision += 1;
        let mut digest = [0; 32];
        digest[0] = items;
        Position {
            epoch: Epoch([self.epoch; 16]),
            revision: self.revision,
            digest: Digest(digest),
        }
    }

    fn faults(&mut self) -> Faults {
        let writes = [0, 0, 30, 300, 1000][self.random.random_range(0..5_usize)];
        let after = self.random.random_range(0..60);
        let ends = self.random.random_range(0..4);
        let reads = if self.one_in(6) { 300 } else { 0 };
        let (reads, writes) = if self.works { (0, 0) } else { (reads, writes) };
        Faults {
            reads,
            writes,
            cut_after: (ends == 0).then_some(after),
            killed_after: (ends == 1).then_some(after),
            fails_after: None,
        }
    }

    /// None, or some position that was there once, most likely one of the latest, or one of somebody else.
    fn kernel(&mut self) -> Option<Position> {
        let count = self.history.len();
        let position = match self.random.random_range(0..6) {
            0 => return None,
            1 => self.good?,
            2 | 3 => self.under_way.or(self.begun.last().copied())?,
            _ if count > 0 => self.history[self.random.random_range(0..count)],
            _ => return None,
        };
        Some(match self.random.random_range(0..12) {
            0 => Position {
                epoch: Epoch([99; 16]),
                ..position
            },
            1 => Position {
                revision: position.revision + 1,
                ..position
            },
            _ => position,
        })
    }

    /// A process starts, and finds what it may find.
    pub(super) fn start(&mut self, faults: Faults, ended: End) -> Life {
        let kernel = self.kernel();
        self.disk.set_faults(faults);
        let (store, found) =
            Store::open_on(self.disk.process(), kernel.as_ref(), build).expect("not in use");
        self.log.push(format!(
            "{ended:?}, {faults:?}, kernel {kernel:?}: {found:?}"
        ));
        let position = found.map(|(position, _)| position);
        let reads_fail = faults.reads > 0 || !self.disk.has_power();
        let is_begun = kernel.filter(|kernel| self.begun.contains(kernel));
        let allowed = match position {
            None => self.good.is_none(),
            Some(at) => {
                Some(at) == self.good
                    || Some(at) == is_begun
                    || self.doubtful.contains(&at)
                    || self.notes.contains(&at)
            }
        };
        if self.works && self.disk.has_power() {
            assert!(store.trouble().is_none(), "{:?}", store.trouble());
        }
        if reads_fail {
            assert!(position.is_none_or(|at| self.history.contains(&at)));
        } else {
            assert!(allowed, "good is {:?}", self.good);
            if ended == End::Killed && kernel.is_some() && kernel == self.under_way {
                assert_eq!(position, kernel, "the kernel has it, and memory too");
            }
        }
        self.under_way = None;
        Life {
            fallen_back: !allowed || store.is_unread(),
            store,
            held: found,
        }
    }

    fn settled(&mut self, life: &mut Life, held: (Position, Items)) {
        self.good = Some(held.0);
        let same = |note: &Position| (note.epoch, note.digest) == (held.0.epoch, held.0.digest);
        self.notes.retain(same);
        self.doubtful.clear();
        self.begun.clear();
        life.held = Some(held);
        life.fallen_back = false;
    }

    /// What is known after a step failed that would have made the position good.
    fn failed(&mut self, life: &Life, position: Position, failed_before: u64) {
        // With one fault alone, what it left was taken back.
        let taken_back = self.disk.has_power() && self.disk.failed() == failed_before + 1;
        if taken_back {
            self.begun.retain(|begun| *begun != position);
        } else {
            self.doubtful.push(position);
        }
        // A view that only the kernel named may have got its name on the way.
        self.doubtful.extend(life.held.map(|(held, _)| held));
    }

    pub(super) fn confirm(&mut self, life: &mut Life) {
        if !life.store.takes_changes() {
            return;
        }
        let confirmed = life.store.confirm();
        self.log.push(format!("confirm: {confirmed:?}"));
        if confirmed.is_err() {
            self.doubtful.extend(life.held.map(|(held, _)| held));
        } else if let Some(held) = life.held {
            assert!(life.store.trouble().is_none());
            let same = |good: Position| (good.epoch, good.digest) == (held.0.epoch, held.0.digest);
            // One that was begun may be the same view as the good one, at another revision.
            let noted = self.good.is_some_and(same) && !self.begun.contains(&held.0);
            if !noted {
                self.settled(life, held);
            }
        }
    }

    fn begin(&mut self, life: &mut Life) -> Option<(Position, Items)> {
        let item = self.random.random_range(0..8);
        let items = life.held.map_or(0, |(_, items)| items) ^ (1 << item);
        let position = self.next_position(items);
        let whole = life.held.is_none() || !life.store.takes_changes() || self.one_in(5);
        let begun = if whole {
            life.store.begin_snapshot(&position, snapshot(items))
        } else {
            life.store.begin_change(&position, &operation(item))
        };
        self.log
            .push(format!("begin {position:?}, whole {whole}: {begun:?}"));
        self.history.push(position);
        self.begun.push(position);
        self.under_way = begun.is_ok().then_some(position);
        begun.is_ok().then_some((position, items))
    }

    pub(super) fn transact(&mut self, life: &mut Life) {
        let Some(held) = self.begin(life) else {
            return;
        };
        let failed = self.disk.failed();
        let kept = life.store.keep();
        self.log.push(format!("keep: {kept:?}"));
        self.under_way = None;
        match kept {
            Ok(()) => {
                assert!(life.store.trouble().is_none());
                self.settled(life, held);
            }
            Err(_) => self.failed(life, held.0, failed),
        }
    }

    fn refuse(&mut self, life: &mut Life) {
        let Some((position, _)) = self.begin(life) else {
            return;
        };
        let discarded = life.store.discard();
        self.log.push(format!("discard: {discarded:?}"));
        self.under_way = None;
        if discarded.is_ok() {
            self.begun.retain(|begun| *begun != position);
        }
    }

    fn note(&mut self, life: &mut Life) {
        let Some((held, _)) = life.held else {
            return;
        };
        self.revision += 1;
        if life.fallen_back || held.epoch != Epoch([self.epoch; 16]) {
            return;
        }
        let position = Position {
            revision: self.revision,
            ..held
        };
        let noted = life.store.note(&position);
        self.log.push(format!("note {position:?}: {noted:?}"));
        // A view that only the kernel named is not good yet, and no note makes it so.
        if self.begun.contains(&held) && !self.doubtful.contains(&held) {
            return;
        }
        self.history.push(position);
        self.notes.push(position);
    }

    /// The view held, once more and whole.
    pub(super) fn compact(&mut self, life: &mut Life) {
        let Some((position, items)) = life.held else {
            return;
        };
        let begun = life.store.begin_snapshot(&position, snapshot(items));
        let kept = begun.and_then(|()| life.store.keep());
        self.log.push(format!("compact: {kept:?}"));
        if kept.is_err() {
            self.doubtful.push(position);
        } else if !life.fallen_back {
            self.settled(life, (position, items));
        }
    }

    /// A process does this and that, until it ends.
    fn live(&mut self, mut life: Life) -> End {
        for _ in 0..self.random.random_range(0..12) {
            match self.random.random_range(0..10) {
                0 | 1 => self.confirm(&mut life),
                2 => self.refuse(&mut life),
                3 => self.note(&mut life),
                4 => self.compact(&mut life),
                _ => self.transact(&mut life),
            }
            if !self.disk.has_power() {
                break;
            }
            if self.one_in(8) {
                let faults = Faults {
                    reads: 0,
                    ..self.faults()
                };
                self.disk.set_faults(faults);
            }
        }
        if self.disk.has_power() && self.one_in(3) {
            self.begin(&mut life);
        }
        drop(life);
        if !self.disk.was_cut() && self.one_in(2) {
            self.disk.restart();
            return End::Killed;
        }
        self.disk.cut_power();
        End::Cut
    }

    pub(super) fn run(&mut self) {
        let mut ended = End::Cut;
        self.works = self.one_in(3);
        for _ in 0..self.random.random_range(1..8) {
            let faults = self.faults();
            let life = self.start(faults, ended);
            ended = self.live(life);
        }
        // Once nothing fails any more, all is well again.
        let mut life = self.start(Faults::default(), ended);
        self.confirm(&mut life);
        for _ in 0..3 {
            self.transact(&mut life);
        }
        self.compact(&mut life);
        let held = life.held;
        drop(life);
        let views = self.disk.names();
        assert!(views.len() <= 2, "{views:?}");
        self.disk.cut_power();
        let life = self.start(Faults::default(), End::Cut);
        assert_eq!((life.held, self.good), (held, held.map(|held| held.0)));
    }
}
