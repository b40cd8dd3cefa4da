//! Opening: the lock, the check that the file is ours, the first transaction; and making a store where there is none.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use redb::backends::FileBackend;
use redb::{Database, ReadableTable, StorageBackend};

use super::failure::Failure;
use super::layout::{
    CUR, FORMER, LAYOUT, LOG, MAGIC, META, META_COMPACTED, META_EPOCH, META_LAYOUT, META_REVISION,
    decode_revision,
};
use super::shared::{Shared, open_database};
use crate::{OpenError, Revision};

/// Opens the store at `path`, or makes one: beside its place and then renamed, so that a cut in between leaves nothing.
pub(super) fn store(path: &Path) -> Result<Shared, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(mut file) => {
                lock(path, &file)?;
                if !starts_with_magic(&mut file).map_err(io)? {
                    return Err(OpenError::Foreign {
                        path: path.to_owned(),
                    });
                }
                return shared(path, backend(path, file)?);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            Err(_) => {}
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .map_err(io)?;
        lock(path, &file)?;
        if path.exists() {
            // Another process made the store before we had the lock; what we hold may be that very file.
            continue;
        }
        file.set_len(0).map_err(io)?;
        let shared = shared(path, backend(path, file)?)?;
        std::fs::rename(&beside, path).map_err(io)?;
        sync_folder(path).map_err(io)?;
        return Ok(shared);
    }
}

fn lock(path: &Path, file: &File) -> Result<(), OpenError> {
    let path = path.to_owned();
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

fn backend(path: &Path, file: File) -> Result<Arc<dyn StorageBackend>, OpenError> {
    let backend = FileBackend::new(file).map_err(|error| damaged(path, error))?;
    Ok(Arc::new(backend))
}

/// Opens redb on the disk, and makes or checks what every store has.
pub(super) fn shared(path: &Path, disk: Arc<dyn StorageBackend>) -> Result<Shared, OpenError> {
    let frozen = Arc::new(AtomicBool::new(false));
    let database = open_database(Arc::clone(&disk), Arc::clone(&frozen))
        .map_err(|error| damaged(path, error))?;
    let found =
        first_txn(&database).map_err(|failure| damaged(path, failure.into_store_error()))?;
    match found {
        Found::Store {
            epoch,
            revision,
            compacted,
        } => Ok(Shared::new(
            disk, frozen, database, epoch, revision, compacted,
        )),
        Found::OtherLayout(found) => Err(OpenError::Layout {
            path: path.to_owned(),
            found,
            expected: LAYOUT,
        }),
        Found::Foreign => Err(OpenError::Foreign {
            path: path.to_owned(),
        }),
    }
}

enum Found {
    Store {
        epoch: [u8; 16],
        revision: Revision,
        compacted: Revision,
    },
    OtherLayout(String),
    Foreign,
}

/// Reads what store this is, or makes it one.
///
/// It always commits: what a killed process left unsynced and this one now sees is durable before anyone is told.
fn first_txn(database: &Database) -> Result<Found, Failure> {
    let tx = database.begin_write()?;
    let fresh = tx.list_tables()?.next().is_none();
    let found = {
        let mut meta = tx.open_table(META)?;
        if fresh {
            let mut epoch = [0; 16];
            getrandom::fill(&mut epoch)
                .map_err(|error| redb::StorageError::Io(io::Error::other(error)))?;
            meta.insert(META_LAYOUT, LAYOUT.as_bytes())?;
            meta.insert(META_EPOCH, &epoch[..])?;
            meta.insert(META_REVISION, &0_u64.to_be_bytes()[..])?;
            meta.insert(META_COMPACTED, &0_u64.to_be_bytes()[..])?;
        }
        let layout = meta.get(META_LAYOUT)?.map(|row| row.value().to_vec());
        if layout.as_deref() == Some(FORMER.as_bytes()) {
            meta.insert(META_LAYOUT, LAYOUT.as_bytes())?;
        }
        let row = |name| -> Result<Option<Vec<u8>>, Failure> {
            Ok(meta.get(name)?.map(|row| row.value().to_vec()))
        };
        match layout {
            None => Found::Foreign,
            Some(layout) if layout != LAYOUT.as_bytes() && layout != FORMER.as_bytes() => {
                Found::OtherLayout(String::from_utf8_lossy(&layout).into_owned())
            }
            Some(_) => {
                let missing = || Failure::damaged("the store lacks its epoch or revision");
                let epoch = row(META_EPOCH)?.ok_or_else(missing)?;
                Found::Store {
                    epoch: epoch.try_into().map_err(|_| missing())?,
                    revision: decode_revision(&row(META_REVISION)?.ok_or_else(missing)?)?,
                    compacted: decode_revision(&row(META_COMPACTED)?.ok_or_else(missing)?)?,
                }
            }
        }
    };
    if let Found::Store { .. } = found {
        tx.open_table(CUR)?;
        tx.open_table(LOG)?;
        tx.commit()?;
    } else {
        tx.abort()?;
    }
    Ok(found)
}

fn starts_with_magic(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == MAGIC)
}

/// A new file's name is durable only when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn damaged(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        source: Box::new(error),
    }
}
