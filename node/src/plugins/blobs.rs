//! The bytes of plugins on disk: whole ones under the name of their digest, and beginnings of those under way.
//!
//! Nothing is taken for a plugin because of its name: whoever reads a file verifies its digest. A file is written beside
//! and renamed, so that one of a whole plugin's name is whole; a beginning survives the daemon, and is gone on with.

use crate::durable::{create_private, make_private_dir, read, remove};
use palisade_policy::plugin::PluginDigest;
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Bytes of whole plugins that the view does not name and that are kept all the same, for when it names them again.
const SPARE: u64 = 64 << 20;

const WHOLE: &str = "wasm";
const BEGUN: &str = "part";

/// A directory that only its owner reads.
#[derive(Clone, Debug)]
pub struct Blobs {
    dir: PathBuf,
}

/// A plugin under way.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    whole: PathBuf,
    have: u64,
}

impl Blobs {
    /// Opens the directory, made if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(dir: &Path) -> io::Result<Self> {
        make_private_dir(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The bytes under a digest, unverified; `None`: not there, or not of that size.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&self, digest: &PluginDigest, size: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(digest, WHOLE);
        match fs::metadata(&path) {
            // What is read is bounded by what the view says, not by what is there.
            Ok(found) if found.len() == size => read(&path),
            Ok(_) => Ok(None),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Where a transfer goes on: after what is there, or anew if that is more than the whole.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn resume(&self, digest: &PluginDigest, size: u64) -> io::Result<Partial> {
        let path = self.path(digest, BEGUN);
        let have = fs::metadata(&path).map_or(0, |found| found.len());
        let (file, have) = if have > 0 && have <= size {
            (OpenOptions::new().append(true).open(&path)?, have)
        } else {
            (create_private(&path)?, 0)
        };
        Ok(Partial {
            file,
            whole: self.path(digest, WHOLE),
            path,
            have,
        })
    }

    /// Forgets a plugin whose bytes are not what its name says.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn discard(&self, digest: &PluginDigest) -> io::Result<()> {
        remove(&self.path(digest, BEGUN))?;
        remove(&self.path(digest, WHOLE))
    }

    /// Removes beginnings of what is not wanted, and of the whole ones not wanted the oldest, down to 64 MiB.
    ///
    /// # Errors
    /// The first failure; the rest is tried all the same.
    pub fn tidy(&self, wanted: &BTreeSet<PluginDigest>) -> io::Result<()> {
        let names: BTreeSet<String> = wanted.iter().map(hex).collect();
        let mut result = Ok(());
        let mut spare: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy());
            if stem.is_some_and(|stem| names.contains(stem.as_ref())) {
                continue;
            }
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(BEGUN) => result = result.and(remove(&path)),
                Some(WHOLE) => {
                    let found = fs::metadata(&path)?;
                    spare.push((found.modified()?, found.len(), path));
                }
                _ => {}
            }
        }
        spare.sort_by(|a, b| b.cmp(a));
        let mut kept = 0_u64;
        for (_, size, path) in spare {
            kept = kept.saturating_add(size);
            if kept > SPARE {
                result = result.and(remove(&path));
            }
        }
        result
    }

    fn path(&self, digest: &PluginDigest, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", hex(digest)))
    }
}

impl Partial {
    /// Bytes that are there.
    pub fn have(&self) -> u64 {
        self.have
    }

    /// Adds what follows.
    ///
    /// # Errors
    /// Those of the file system; then what is there counts, and the transfer is gone on with another time.
    pub fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk)?;
        self.have += chunk.len() as u64;
        Ok(())
    }

    /// Gives it the name of a whole one. The caller verified its bytes, or will when reading.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.whole)?;
        crate::durable::sync_parent(&self.whole)
    }
}

fn hex(digest: &PluginDigest) -> String {
    digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let blobs = Blobs::open(&dir.path().join("plugins")).expect("made");
        (dir, blobs)
    }

    const A: PluginDigest = PluginDigest([1; 32]);
    const B: PluginDigest = PluginDigest([2; 32]);

    fn put(blobs: &Blobs, digest: &PluginDigest, bytes: &[u8]) {
        let size = bytes.len() as u64;
        let mut partial = blobs.resume(digest, size).expect("begun");
        partial.append(bytes).expect("written");
        partial.finish().expect("renamed");
    }

    #[test]
    fn a_transfer_goes_on_where_it_broke_off() {
        let (_dir, blobs) = blobs();
        let mut partial = blobs.resume(&A, 5).expect("begun");
        partial.append(b"abc").expect("written");
        drop(partial);
        assert_eq!(blobs.read(&A, 5).expect("read"), None, "not whole yet");
        let mut partial = blobs.resume(&A, 5).expect("gone on with");
        assert_eq!(partial.have(), 3);
        partial.append(b"de").expect("written");
        partial.finish().expect("renamed");
        assert_eq!(
            blobs.read(&A, 5).expect("read").as_deref(),
            Some(&b"abcde"[..])
        );
    }

    #[test]
    fn a_beginning_that_is_longer_than_the_whole_is_begun_anew() {
        let (_dir, blobs) = blobs();
        blobs
            .resume(&A, 9)
            .expect("begun")
            .append(b"abcdefg")
            .expect("written");
        assert_eq!(blobs.resume(&A, 5).expect("begun").have(), 0);
    }

    #[test]
    fn bytes_of_another_size_are_not_read() {
        let (_dir, blobs) = blobs();
        put(&blobs, &A, b"abcde");
        assert_eq!(blobs.read(&A, 4).expect("read"), None);
    }

    #[test]
    fn others_cannot_read_them() {
        let (dir, blobs) = blobs();
        put(&blobs, &A, b"abcde");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("plugins")), 0o700);
        assert_eq!(mode(&blobs.path(&A, WHOLE)), 0o600);
    }

    #[test]
    fn beginnings_that_nobody_wants_go_and_whole_ones_only_beyond_the_bound() {
        let (_dir, blobs) = blobs();
        put(&blobs, &A, b"abcde");
        blobs
            .resume(&B, 9)
            .expect("begun")
            .append(b"x")
            .expect("written");
        blobs.tidy(&BTreeSet::new()).expect("tidied");
        assert!(blobs.read(&A, 5).expect("read").is_some());
        assert_eq!(blobs.resume(&B, 9).expect("begun").have(), 0);
        let large = create_private(&blobs.path(&B, WHOLE)).expect("made");
        large.set_len(SPARE).expect("sparse");
        blobs.tidy(&BTreeSet::from([A])).expect("tidied");
        assert!(blobs.read(&A, 5).expect("read").is_some(), "wanted");
        assert!(
            fs::exists(blobs.path(&B, WHOLE)).expect("asked"),
            "within the bound"
        );
        blobs.tidy(&BTreeSet::new()).expect("tidied");
        let left = [&A, &B].map(|digest| fs::exists(blobs.path(digest, WHOLE)).expect("asked"));
        assert_eq!(left.iter().filter(|left| **left).count(), 1, "one too many");
    }
}
