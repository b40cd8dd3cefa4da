//! Where files of sinks may be. Plugin resources name files, and the daemon is root: the operator of the node has the
//! last word.

use crate::{
    condition::Condition,
    plugins::loaded::{LoadedPlugins, name},
};
use palisade_policy::plugin::Sink;
use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Component, Path, PathBuf},
};

/// A directory; files of sinks are in it or below.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// An absolute path.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether a file may be there. Its name decides: who can make links below the directory is its owner.
    pub fn holds(&self, path: &Path) -> bool {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        path.components().all(plain) && path.starts_with(&self.0) && path != self.0
    }

    /// The same, for opening; the directory itself is made if it is missing, for its owner only.
    ///
    /// # Errors
    /// `PermissionDenied` for a file elsewhere; those of the file system.
    pub(super) fn admit(&self, path: &Path) -> io::Result<()> {
        if !self.holds(path) {
            let dir = self.0.display();
            let reason = format!("files of sinks are below `{dir}` on this node");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
            _ => Ok(()),
        }
    }

    /// A condition for each file that may not be where a plugin's resource wants it.
    pub fn conditions(&self, loaded: &LoadedPlugins) -> Vec<Condition> {
        let sinks = loaded.plugins.iter().flat_map(|(id, shelved)| {
            let sinks = shelved.plugin.sinks.iter();
            sinks.map(move |(sink, to)| (id, sink, to))
        });
        sinks
            .filter_map(|(id, sink, to)| match to {
                Sink::File { path, .. } if !self.holds(path.as_ref()) => Some((id, sink, path)),
                Sink::File { .. } | Sink::Stdout | Sink::Journald => None,
            })
            .map(|(id, sink, path)| Condition {
                kind: "SinkRefused",
                reason: "OutsideDirectory",
                message: format!(
                    "sink `{sink}` of plugin `{}`: `{path}` is not below `{}`, where this node keeps \
                     files of sinks (--sink-dir); its records are lost",
                    name(id),
                    self.0.display()
                ),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_below_the_directory_are_held() {
        let directory = Directory::new("/var/log/palisade".as_ref());
        for path in ["/var/log/palisade/a", "/var/log/palisade/b/c.log"] {
            assert!(directory.holds(path.as_ref()), "{path}");
        }
        for path in [
            "/var/log/palisade",
            "/var/log/palisade/",
            "/var/log/palisade2/a",
            "/var/log/palisade/../a",
            "/var/log/palisade/b/../../../../etc/cron.d/a",
            "/etc/passwd",
            "a",
            "",
        ] {
            assert!(!directory.holds(path.as_ref()), "{path}");
        }
    }
}
