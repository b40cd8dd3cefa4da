//! Where the records of an auditor go.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::path::At;
use crate::problem::Report;

/// Longest path of a file.
const LONGEST_PATH: usize = 4096;
/// Sizes of a file in bytes before it is rotated: least, greatest and default.
const MAX_BYTES: (i64, i64, i64) = (4096, 1 << 40, 64 << 20);
/// Rotated files kept: most and default.
const KEEP: (i64, i64) = (1000, 5);

/// A place that records go to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PluginSink {
    /// Lines of JSON in a file of the node.
    File {
        /// Absolute.
        path: String,
        /// The file is rotated beyond this, at least 4096.
        max_bytes: u64,
        /// Rotated files kept, at most 1000.
        keep: u16,
    },
    /// Lines of JSON on the daemon's standard output.
    Stdout,
    /// The node's journal.
    Journald,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawSink {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<RawFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<RawNothing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journald: Option<RawNothing>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<i64>,
}

/// A map without fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNothing {}

impl RawSink {
    /// Defaults are written back.
    pub(super) fn parse(&mut self, at: &At<'_>, report: &mut Report) -> Option<PluginSink> {
        match (&mut self.file, &self.stdout, &self.journald) {
            (Some(file), None, None) => file.parse(&at.field("file"), report),
            (None, Some(_), None) => Some(PluginSink::Stdout),
            (None, None, Some(_)) => Some(PluginSink::Journald),
            _ => {
                report.add(
                    at,
                    "a sink is one of `file`, `stdout: {}` and `journald: {}`",
                );
                None
            }
        }
    }
}

impl RawFile {
    fn parse(&mut self, at: &At<'_>, report: &mut Report) -> Option<PluginSink> {
        let Some(path) = self.path.clone() else {
            report.missing(&at.field("path"), "a file needs a path");
            return None;
        };
        let path_fits = is_plain_path(&path);
        if !path_fits {
            report.add(
                &at.field("path"),
                "the path of a file is absolute, names a file, and has no `.`, `..` or control characters",
            );
        }
        let (least, greatest, default) = MAX_BYTES;
        let max_bytes = *self.max_bytes.get_or_insert(default);
        let max_bytes = Some(max_bytes).filter(|bytes| (least..=greatest).contains(bytes));
        if max_bytes.is_none() {
            report.add(
                &at.field("maxBytes"),
                format!("maxBytes is {least} to {greatest}"),
            );
        }
        let (most, default) = KEEP;
        let keep = *self.keep.get_or_insert(default);
        let keep = Some(keep).filter(|keep| (0..=most).contains(keep));
        if keep.is_none() {
            report.add(&at.field("keep"), format!("keep is 0 to {most}"));
        }
        path_fits.then_some(PluginSink::File {
            path,
            max_bytes: u64::try_from(max_bytes?).ok()?,
            keep: u16::try_from(keep?).ok()?,
        })
    }
}

fn is_plain_path(text: &str) -> bool {
    let mut components = Path::new(text).components();
    text.len() <= LONGEST_PATH
        && !text.chars().any(char::is_control)
        && !text.ends_with('/')
        && !text.split('/').any(|part| matches!(part, "." | ".."))
        && components.next() == Some(Component::RootDir)
        && components.next().is_some()
}
