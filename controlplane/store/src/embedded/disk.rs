//! What stands between redb and the disk, so that a failing disk ends writing but not reading.
//!
//! redb refuses everything after one I/O error. So the first failed write is the last one that reaches the disk
//! ([`Guarded`]), and the file is opened again behind an [`Overlay`]: redb repairs what it finds in memory, and reads on.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

/// The disk as redb sees it while all is well. After one failure, or once frozen, no write reaches the disk.
#[derive(Debug)]
pub(super) struct Guarded {
    disk: Arc<dyn StorageBackend>,
    frozen: Arc<AtomicBool>,
}

/// The disk as it is, with writes kept in memory.
#[derive(Debug)]
pub(super) struct Overlay {
    disk: Arc<dyn StorageBackend>,
    len: AtomicU64,
    blocks: Mutex<BTreeMap<u64, Box<[u8; BLOCK]>>>,
}

const BLOCK: usize = 4096;
const BLOCK_LEN: u64 = 4096;

// === impl Guarded ===

impl Guarded {
    pub(super) fn new(disk: Arc<dyn StorageBackend>, frozen: Arc<AtomicBool>) -> Self {
        Self { disk, frozen }
    }

    fn change(&self, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.frozen.load(Ordering::SeqCst) {
            return Err(io::Error::other("the store is read-only"));
        }
        let result = change();
        if result.is_err() {
            self.frozen.store(true, Ordering::SeqCst);
        }
        result
    }
}

// Locks and `close` are not passed on: the store holds the file's lock itself, longer than any one redb handle.
impl StorageBackend for Guarded {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|| self.disk.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|| self.disk.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|| self.disk.write(offset, data))
    }
}

// === impl Overlay ===

impl Overlay {
    pub(super) fn new(disk: Arc<dyn StorageBackend>) -> io::Result<Self> {
        Ok(Self {
            len: AtomicU64::new(disk.len()?),
            disk,
            blocks: Mutex::default(),
        })
    }

    /// The block as the disk has it; zeros where the disk ends.
    fn load(&self, number: u64) -> io::Result<Box<[u8; BLOCK]>> {
        let mut block = Box::new([0; BLOCK]);
        let start = number * BLOCK_LEN;
        let there = self.disk.len()?.saturating_sub(start).min(BLOCK_LEN);
        let there = usize::try_from(there).unwrap_or(BLOCK);
        self.disk.read(start, &mut block[..there])?;
        Ok(block)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len.load(Ordering::SeqCst))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, at, range) in pieces(offset, out.len()) {
            let target = &mut out[range];
            let loaded;
            let block = match blocks.get(&number) {
                Some(block) => block,
                None => {
                    loaded = self.load(number)?;
                    &loaded
                }
            };
            target.copy_from_slice(&block[at..at + target.len()]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.len.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, at, range) in pieces(offset, data.len()) {
            let source = &data[range];
            if let std::collections::btree_map::Entry::Vacant(vacant) = blocks.entry(number) {
                vacant.insert(self.load(number)?);
            }
            if let Some(block) = blocks.get_mut(&number) {
                block[at..at + source.len()].copy_from_slice(source);
            }
        }
        Ok(())
    }
}

/// The blocks a stretch of bytes falls into: (block, where in it, which part of the stretch).
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let position = offset + done as u64;
        let at = usize::try_from(position % BLOCK_LEN).unwrap_or_default();
        let take = (BLOCK - at).min(len - done);
        let range = done..done + take;
        done += take;
        Some((position / BLOCK_LEN, at, range))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn writes_over_block_borders_are_read_back_and_never_reach_the_disk() {
        let disk = Arc::new(InMemoryBackend::new());
        disk.set_len(10_000).expect("memory");
        disk.write(0, &[7; 10_000]).expect("memory");
        let overlay = Overlay::new(disk.clone()).expect("memory");
        overlay.write(4_000, &[9; 5_000]).expect("memory");
        let mut seen = vec![0; 10_000];
        overlay.read(0, &mut seen).expect("memory");
        assert_eq!(seen[..4_000], [7; 4_000]);
        assert_eq!(seen[4_000..9_000], [9; 5_000]);
        assert_eq!(seen[9_000..], [7; 1_000]);
        disk.read(0, &mut seen).expect("memory");
        assert_eq!(seen, [7; 10_000]);
    }
}
