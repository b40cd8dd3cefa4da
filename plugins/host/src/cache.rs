//! Compiled code, kept between starts.
//!
//! Loading compiled code is running it, so nothing is loaded that this node did not write: an entry is a MAC with the
//! node's own key, and the code. The MAC covers the entry's name, and the name the component's digest and everything of
//! engine and processor that the code depends on. Whatever does not fit is compiled anew; the cache never refuses a
//! plugin.

mod load;

use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::Digest;

/// The directory could not be used. Run without a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It could not be made, opened or written.
    #[error("cannot use `{}` for compiled plugins: {source}", .path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may write there, or read the key.
    #[error("`{}` is open to others than its owner: compiled plugins would not be safe there", .path.display())]
    Open {
        /// Which path.
        path: PathBuf,
    },
}

/// A directory of compiled components that only this node's key opens.
pub struct Cache {
    directory: PathBuf,
    key: [u8; 32],
}

const MAC: usize = blake3::OUT_LEN;
/// Longest entry read, in bytes: what the largest component may become.
const LONGEST: u64 = 512 << 20;
const SUFFIX: &str = ".compiled";

impl Cache {
    /// Opens a directory, made if it is missing, with the key in it, made if it is missing too.
    ///
    /// # Errors
    ///
    /// Where that fails, and where others than the owner have access.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let directory = directory.into();
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| CacheError::Io { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(io(&directory))?;
        let mode = fs::metadata(&directory).map_err(io(&directory))?.mode();
        if mode & 0o022 != 0 {
            return Err(CacheError::Open { path: directory });
        }
        let path = directory.join("key");
        let key = match read_key(&path) {
            Ok(Some(key)) => key,
            Ok(None) => make_key(&path).map_err(io(&path))?,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(CacheError::Open { path });
            }
            Err(error) => return Err(io(&path)(error)),
        };
        Ok(Self { directory, key })
    }

    /// The compiled code of a component, if there is some that fits.
    pub(crate) fn find(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let name = name(engine, digest);
        let entry = read_entry(&self.directory.join(&name)).ok()?;
        let (mac, code) = entry.split_first_chunk::<MAC>()?;
        // Compared in constant time.
        if blake3::Hash::from_bytes(*mac) != self.mac(&name, code) {
            return None;
        }
        load::compiled(engine, code)
    }

    /// Keeps compiled code.
    pub(crate) fn keep(
        &self,
        engine: &Engine,
        digest: Digest,
        component: &Component,
    ) -> io::Result<()> {
        let name = name(engine, digest);
        let code = component.serialize().map_err(io::Error::other)?;
        let path = self.directory.join(&name);
        let beside = self
            .directory
            .join(format!("{name}.{}.new", std::process::id()));
        let written = write_entry(&beside, self.mac(&name, &code).as_bytes(), &code)
            .and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            // Nothing to do about it; the next one of that name truncates it.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Removes what belongs to none of these components, or to another engine.
    ///
    /// # Errors
    ///
    /// The first failure; the rest is tried all the same.
    pub fn retain(&self, digests: &[Digest]) -> io::Result<()> {
        let wanted: Vec<String> = digests.iter().map(Digest::hex).collect();
        let mut result = Ok(());
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kept = name == "key" || wanted.iter().any(|hex| name.starts_with(hex.as_str()));
            if !kept {
                result = result.and(fs::remove_file(entry.path()));
            }
        }
        result
    }

    fn mac(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // The name is of fixed length for an engine, and 0 occurs in none.
        hasher.update(name.as_bytes()).update(&[0]).update(code);
        hasher.finalize()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Component, then engine: version, settings and processor.
fn name(engine: &Engine, digest: Digest) -> String {
    struct Collect(blake3::Hasher);
    impl Hasher for Collect {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut collect = Collect(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut collect);
    env!("CARGO_PKG_VERSION").hash(&mut collect);
    std::env::consts::ARCH.hash(&mut collect);
    let engine = collect.0.finalize().to_hex();
    format!("{}-{}{SUFFIX}", digest.hex(), &engine[..32])
}

/// `None` where there is none, or it is damaged: then all entries are worthless and a new key is made.
fn read_key(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.mode() & 0o077 != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut key = [0; 32];
    match file.read_exact(&mut key) {
        Ok(()) => Ok(Some(key)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn make_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    write_entry(&beside, &key, &[])?;
    fs::rename(&beside, path)?;
    Ok(key)
}

fn read_entry(path: &Path) -> io::Result<Vec<u8>> {
    let mut entry = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut entry)?;
    Ok(entry)
}

fn write_entry(path: &Path, head: &[u8], rest: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(head)?;
    file.write_all(rest)
}
