//! `palisadectl`, run inside the control plane's namespace.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Binaries;
use crate::netns::{Door, finish};

/// `palisadectl` with a context.
#[derive(Clone)]
pub struct Palisadectl {
    binary: PathBuf,
    /// Where it runs and with which credentials; `None` for what needs no control plane.
    online: Option<(Door, PathBuf)>,
    /// Where it looks for files; where this program does, if none.
    folder: Option<PathBuf>,
}

/// How a run of `palisadectl` ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Palisadectl {
    pub(super) fn new(binary: PathBuf, door: Door, context: PathBuf) -> Self {
        Self {
            binary,
            online: Some((door, context)),
            folder: None,
        }
    }

    /// Without a control plane: for `validate`, `selector --labels`, and to make and test plugins.
    pub fn offline(binaries: &Binaries) -> Self {
        Self {
            binary: binaries.palisadectl.clone(),
            online: None,
            folder: None,
        }
    }

    /// The same, run in a folder.
    #[must_use]
    pub fn in_folder(&self, folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            ..self.clone()
        }
    }

    /// Runs it with `input` as standard input.
    ///
    /// # Errors
    ///
    /// Where it cannot be started; how it ended is in the output.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        if let Some((_, context)) = &self.online {
            command.arg("--context").arg(context);
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = match &self.online {
            Some((door, _)) => door.run(|| command.spawn()),
            None => command.spawn(),
        }
        .context("start palisadectl")?;
        let output = finish(child, input)?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Applies documents and waits until every node enforces them.
    ///
    /// # Errors
    ///
    /// Where that does not end well, with what it printed.
    pub fn apply(&self, documents: &str) -> Result<()> {
        self.run(&["apply", "-f", "-", "--wait=30s"], documents)?
            .success()
            .map(drop)
            .context("apply")
    }

    /// Deletes `Kind/name` or `Kind/namespace/name`.
    ///
    /// # Errors
    ///
    /// Where that does not end well, with what it printed.
    pub fn delete(&self, reference: &str) -> Result<()> {
        let parts: Vec<&str> = reference.split('/').collect();
        let arguments = match parts.as_slice() {
            [kind, name] => vec!["delete", *kind, *name, "--wait=30s"],
            [kind, namespace, name] => vec![
                "delete",
                *kind,
                *name,
                "--namespace",
                *namespace,
                "--wait=30s",
            ],
            _ => bail!("`{reference}` is not Kind/name"),
        };
        self.run(&arguments, "")?
            .success()
            .map(drop)
            .with_context(|| format!("delete {reference}"))
    }
}

/// As one types it in a shell on this machine.
impl std::fmt::Display for Palisadectl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((door, context)) = &self.online {
            write!(
                f,
                "ip netns exec {} {} --context {}",
                door.name(),
                self.binary.display(),
                context.display()
            )
        } else {
            write!(f, "{}", self.binary.display())
        }
    }
}

impl Output {
    /// Standard output of a run that ended with code 0.
    ///
    /// # Errors
    ///
    /// Where it did not, with everything it printed.
    pub fn success(self) -> Result<String> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        let code = self
            .code
            .map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        bail!(
            "palisadectl ended with {code}:\n{}{}",
            self.stdout,
            self.stderr
        )
    }
}
