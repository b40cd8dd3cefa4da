//! Sinks whose latest record was not written. People are told until one is.

use super::{Directory, JOURNAL};
use crate::{
    condition::Condition,
    plugins::loaded::{LoadedPlugins, name},
};
use palisade_policy::plugin::Sink;
use std::{collections::BTreeMap, io};
use tokio::sync::watch;

/// Cheap to clone; clones are one. As many entries as plugins name sinks.
#[derive(Clone, Debug, Default)]
pub struct Failing(watch::Sender<BTreeMap<Sink, String>>);

// === impl Failing ===

impl Failing {
    /// A record was not written. Logged once for each cause.
    pub(super) fn failed(&self, sink: &Sink, err: &io::Error) {
        let cause = err.to_string();
        self.0.send_if_modified(|known| {
            let changed = known.get(sink) != Some(&cause);
            if changed {
                tracing::warn!(?sink, %err, "records are lost: a sink fails");
                known.insert(sink.clone(), cause);
            }
            changed
        });
    }

    /// A record was written.
    pub(super) fn written(&self, sink: &Sink) {
        self.retain(|other| other != sink);
    }

    /// Nobody names the others any more.
    pub(super) fn retain(&self, named: impl Fn(&Sink) -> bool) {
        self.0.send_if_modified(|known| {
            let before = known.len();
            known.retain(|sink, _| named(sink));
            known.len() != before
        });
    }

    /// What people are told, for each plugin that names such a sink. Files that may not be where they are wanted are told
    /// of by the directory.
    pub fn conditions(&self, loaded: &LoadedPlugins, files: &Directory) -> Vec<Condition> {
        let failing = self.0.borrow();
        let sinks = loaded.plugins.iter().flat_map(|(id, shelved)| {
            let sinks = shelved.plugin.sinks.iter();
            sinks.map(move |(sink, to)| (id, sink, to))
        });
        sinks
            .filter_map(|(id, sink, to)| {
                let cause = failing.get(to)?;
                let to = match to {
                    Sink::File { path, .. } if !files.holds(path.as_ref()) => return None,
                    Sink::File { path, .. } => format!("file `{path}`"),
                    Sink::Stdout => "standard output".to_owned(),
                    Sink::Journald => format!("the journal, `{JOURNAL}`"),
                };
                Some(Condition {
                    kind: "SinkFailing",
                    reason: "NotWritten",
                    message: format!(
                        "sink `{sink}` of plugin `{}` ({to}) fails: {cause}; its records are lost until \
                         one is written, which is tried with each",
                        name(id)
                    ),
                })
            })
            .collect()
    }

    /// Wakes when that changes.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<Sink, String>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plugins::audit::sink::Sinks, plugins::loaded::Readiness};
    use palisade_policy::plugin::PluginKind;
    use std::path::Path;

    fn file(path: &Path) -> Sink {
        Sink::File {
            path: path.to_string_lossy().into_owned(),
            max_bytes: 4096,
            keep: 0,
        }
    }

    /// Messages about the sink `to` of the auditor `reads`.
    fn told(failing: &Failing, sink: &Sink, files: &Directory) -> Vec<String> {
        let ready = Readiness::Ready(BTreeMap::new());
        let sinks = [("to", sink.clone())];
        let loaded = LoadedPlugins::of("plugin/reads", PluginKind::Auditor, &sinks, ready);
        let conditions = failing.conditions(&loaded, files);
        assert!(conditions.iter().all(|told| told.kind == "SinkFailing"));
        conditions.into_iter().map(|told| told.message).collect()
    }

    #[test]
    fn a_sink_that_fails_is_told_with_its_plugin_and_cause_until_a_record_is_written() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let folder = dir.path().join("folder");
        let (sink, files) = (file(&folder.join("log")), Directory::new(dir.path()));
        let failing = Failing::default();
        let mut changes = failing.subscribe();
        let mut sinks = Sinks::new(files.clone(), failing.clone());
        assert_eq!(told(&failing, &sink, &files), [""; 0]);

        sinks.write(&sink, "lost\n");
        let messages = told(&failing, &sink, &files);
        let [message] = &messages[..] else {
            panic!("one is told, not {messages:?}");
        };
        for part in ["`to`", "`reads`", "folder/log`", "No such file"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(changes.has_changed().expect("there"));

        // The same again is no news.
        changes.mark_unchanged();
        sinks.write(&sink, "lost\n");
        assert!(!changes.has_changed().expect("there"));

        std::fs::create_dir(&folder).expect("made");
        sinks.write(&sink, "kept\n");
        sinks.flush();
        assert!(changes.has_changed().expect("there"));
        assert_eq!(told(&failing, &sink, &files), [""; 0]);
        assert_eq!(sinks.take_lost(), 2);
    }

    #[test]
    fn a_full_disk_is_told_as_long_as_it_is_full() {
        let (sink, files) = (file("/dev/full".as_ref()), Directory::new("/dev".as_ref()));
        let failing = Failing::default();
        let mut sinks = Sinks::new(files.clone(), failing.clone());
        for _ in 0..2 {
            sinks.write(&sink, "lost\n");
            sinks.flush();
            assert_eq!(told(&failing, &sink, &files).len(), 1);
        }
        // What is held back is not written yet.
        sinks.write(&sink, "lost\n");
        assert_eq!(told(&failing, &sink, &files).len(), 1);
    }

    #[test]
    fn a_sink_that_nobody_names_any_more_is_not_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let sink = file(&dir.path().join("absent/log"));
        let files = Directory::new(dir.path());
        let failing = Failing::default();
        let mut sinks = Sinks::new(files.clone(), failing.clone());
        sinks.write(&sink, "lost\n");
        assert_eq!(told(&failing, &sink, &files).len(), 1);
        sinks.retain(|_| false);
        assert_eq!(told(&failing, &sink, &files), [""; 0]);
    }

    #[test]
    fn a_file_outside_the_directory_is_told_of_by_the_directory_only() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let sink = file(&dir.path().join("log"));
        let files = Directory::new(&dir.path().join("elsewhere"));
        let failing = Failing::default();
        Sinks::new(files.clone(), failing.clone()).write(&sink, "lost\n");
        assert_eq!(told(&failing, &sink, &files), [""; 0]);
    }
}
