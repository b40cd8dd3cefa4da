//! A disk that is an enemy: what was not synced may be lost, torn or reordered at a power cut, names are durable only after
//! the directory is synced, and any call may fail, before, half way through, or after it was done.
//!
//! Its one kindness: a page whose write failed is read from the disk, not from memory, by the process after this one.

use palisade_node::enforce::saved::Disk;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

mod process;

use process::Process;

/// Much less than a real sector, so that records are torn.
const SECTOR: usize = 64;
/// EIO, EMFILE, ENOSPC and EROFS.
const ERRORS: [i32; 4] = [5, 24, 28, 30];

/// The disk of one machine; its clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Arc<Mutex<Platters>>);

/// What goes wrong. Of calls that read and of calls that write, so many in a thousand.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Faults {
    pub(crate) reads: u32,
    pub(crate) writes: u32,
    /// The power is cut at the call after so many others.
    pub(crate) cut_after: Option<u64>,
    /// The call after so many others fails half way through.
    pub(crate) fails_after: Option<u64>,
    /// The process is killed before that call: nothing that it calls is done any more.
    pub(crate) killed_after: Option<u64>,
}

#[derive(Debug)]
struct Platters {
    random: StdRng,
    faults: Faults,
    unreadable: Option<String>,
    failed: u64,
    calls: u64,
    power: bool,
    /// The power is gone, and not only the process.
    cut: bool,
    owner: Option<u64>,
    processes: u64,
    /// Names as processes see them, and as they are on the disk.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changed_names: Vec<(String, Option<usize>)>,
    inodes: Vec<Inode>,
}

#[derive(Default, Debug)]
struct Inode {
    /// What is on the disk.
    durable: Vec<u8>,
    /// What is in memory only.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// How much of a call is done.
#[derive(Clone, Copy, PartialEq)]
enum Done {
    Nothing,
    Half,
    All,
}

// === impl SimulatedDisk ===

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platters {
            random: StdRng::seed_from_u64(seed),
            faults: Faults::default(),
            unreadable: None,
            failed: 0,
            calls: 0,
            power: true,
            cut: false,
            owner: None,
            processes: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changed_names: Vec::new(),
            inodes: Vec::new(),
        })))
    }

    /// The disk as a new process has it.
    pub(crate) fn process(&self) -> Box<dyn Disk> {
        let mut platters = self.platters();
        platters.processes += 1;
        Box::new(Process {
            platters: Arc::clone(&self.0),
            id: platters.processes,
        })
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut platters = self.platters();
        platters.faults = faults;
        platters.calls = 0;
    }

    /// How many calls failed so far.
    pub(crate) fn failed(&self) -> u64 {
        self.platters().failed
    }

    /// How many calls were made since the faults were set.
    pub(crate) fn calls(&self) -> u64 {
        self.platters().calls
    }

    /// Whether calls can be made. Not after a cut of the power or a kill.
    pub(crate) fn has_power(&self) -> bool {
        self.platters().power
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.platters().cut
    }

    /// Cuts the power, and turns it on again: of what was not synced some is lost.
    pub(crate) fn cut_power(&self) {
        let platters = &mut *self.platters();
        let random = &mut platters.random;
        let survives = [0.0, 0.5, 0.9, 1.0][random.random_range(0..4_usize)];
        for (name, inode) in std::mem::take(&mut platters.changed_names) {
            if random.random_bool(survives) {
                change(&mut platters.durable_names, name, inode);
            }
        }
        platters.names = platters.durable_names.clone();
        for inode in &mut platters.inodes {
            inode.persist(random, survives);
            inode.pending.clear();
        }
        platters.power = true;
        platters.cut = false;
        platters.faults = Faults::default();
    }

    /// Another process may come: what the one before wrote is still in memory, as after `kill -9`.
    pub(crate) fn restart(&self) {
        let platters = &mut *self.platters();
        platters.power = true;
        platters.cut = false;
        platters.faults = Faults::default();
    }

    /// The file cannot be read.
    pub(crate) fn set_unreadable(&self, name: Option<&str>) {
        self.platters().unreadable = name.map(str::to_owned);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.platters().names.keys().cloned().collect()
    }

    /// Puts a file there, durably.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let mut platters = self.platters();
        platters.inodes.push(Inode {
            durable: content.to_vec(),
            pending: Vec::new(),
        });
        let inode = platters.inodes.len() - 1;
        platters.names.insert(name.to_owned(), inode);
        platters.durable_names.insert(name.to_owned(), inode);
    }

    /// The content of a file.
    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let platters = self.platters();
        Some(platters.inodes[*platters.names.get(name)?].cached())
    }

    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().expect("no panic")
    }
}

// === impl Platters ===

impl Platters {
    /// What becomes of a call, and how much of it is done.
    fn call(&mut self, writes: bool) -> (Done, io::Result<()>) {
        let number = self.calls;
        self.calls += 1;
        self.power &= self.faults.killed_after != Some(number);
        if !self.power {
            return (Done::Nothing, Err(error(5)));
        }
        let cut = self.faults.cut_after == Some(number);
        self.cut |= cut;
        if self.faults.fails_after == Some(number) {
            self.failed += 1;
            return (Done::Half, Err(error(28)));
        }
        let per_mille = if writes {
            self.faults.writes
        } else {
            self.faults.reads
        };
        if !cut && self.random.random_range(0..1000) >= per_mille {
            return (Done::All, Ok(()));
        }
        self.power = !cut;
        self.failed += 1;
        let done = [Done::Nothing, Done::Half, Done::All][self.random.random_range(0..3_usize)];
        let code = ERRORS[self.random.random_range(0..ERRORS.len())];
        (done, Err(error(code)))
    }

    fn change_name(&mut self, name: &str, inode: Option<usize>) {
        change(&mut self.names, name.to_owned(), inode);
        self.changed_names.push((name.to_owned(), inode));
    }

    fn there(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| error(2))
    }
}

fn change(names: &mut BTreeMap<String, usize>, name: String, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(name, inode),
        None => names.remove(&name),
    };
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

// === impl Inode ===

impl Inode {
    fn cached(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        for pending in &self.pending {
            pending.apply(&mut content);
        }
        content
    }

    /// Some of what is pending, sector by sector, reaches the disk.
    fn persist(&mut self, random: &mut StdRng, survives: f64) {
        for pending in &self.pending {
            match pending {
                Pending::Length(_) if random.random_bool(survives) => {
                    pending.apply(&mut self.durable);
                }
                Pending::Length(_) => {}
                Pending::Bytes(offset, bytes) => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
                        if random.random_bool(survives) {
                            let sector = bytes[at..end].to_vec();
                            Pending::Bytes(offset + at, sector).apply(&mut self.durable);
                        }
                        at = end;
                    }
                }
            }
        }
    }
}

// === impl Pending ===

impl Pending {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.truncate(*length),
            Self::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}
