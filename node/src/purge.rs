//! Removes what the daemon keeps in its state directory, and nothing else: somebody may name another directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Names of files and directories that some version of the daemon makes.
const NAMES: [&str; 11] = [
    "identity.pem",
    "ca.pem",
    "servers",
    "lock",
    "socket",
    "plugins",
    // Of versions before generations had numbers.
    "current",
    "next",
    "previous",
    "journal",
    "journal.previous",
];
/// In front of a number.
const NUMBERED: [&str; 2] = ["view.", "next."];

/// What was removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purged {
    /// There is no such directory.
    Absent,
    /// All of it.
    Whole,
    /// What is ours; these others are kept, and the directory with them.
    Kept(Vec<PathBuf>),
}

/// Removes it.
///
/// # Errors
/// Those of the file system; and a directory with content, none of which is ours: then nothing is removed.
pub fn purge(dir: &Path) -> io::Result<Purged> {
    let entries = match fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Purged::Absent),
        entries => entries?,
    };
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            ours.push(entry);
        } else {
            others.push(entry.path());
        }
    }
    others.sort();
    if ours.is_empty() && !others.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is no state directory of palisade-node: nothing in it is ours, and nothing is removed",
        ));
    }
    for entry in ours {
        // A link is removed, never followed.
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    if !others.is_empty() {
        return Ok(Purged::Kept(others));
    }
    fs::remove_dir(dir)?;
    Ok(Purged::Whole)
}

fn is_ours(name: &str) -> bool {
    // What is written before it takes a name.
    let name = name.strip_suffix(".new").unwrap_or(name);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut numbered = NUMBERED.into_iter();
    NAMES.contains(&name) || numbered.any(|prefix| name.strip_prefix(prefix).is_some_and(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, b"x").expect("written");
        }
        dir
    }

    #[test]
    fn a_state_directory_goes_whole() {
        let dir = filled(&[
            "identity.pem",
            "ca.pem.new",
            "view.12",
            "next.13",
            "lock",
            "plugins/code/a",
            "plugins/b.wasm",
        ]);
        assert_eq!(purge(dir.path()).expect("removed"), Purged::Whole);
        assert!(!dir.path().exists());
        assert_eq!(purge(dir.path()).expect("nothing"), Purged::Absent);
    }

    #[test]
    fn what_others_keep_there_stays() {
        let dir = filled(&["view.1", "view.x", "notes/a"]);
        let kept = ["notes", "view.x"].map(|name| dir.path().join(name));
        assert_eq!(
            purge(dir.path()).expect("removed"),
            Purged::Kept(kept.to_vec())
        );
        assert!(kept.iter().all(|path| path.exists()));
        assert!(!dir.path().join("view.1").exists());
    }

    #[test]
    fn another_directory_is_refused() {
        let dir = filled(&["sub/f", "important"]);
        let refused = purge(dir.path()).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(dir.path().join("sub/f").exists() && dir.path().join("important").exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let (dir, elsewhere) = (filled(&["view.1"]), filled(&["precious"]));
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("plugins")).expect("linked");
        assert_eq!(purge(dir.path()).expect("removed"), Purged::Whole);
        assert!(elsewhere.path().join("precious").exists());
    }
}
