//! Reading resources from files, folders and standard input.

use crate::{args::Files, failure::Failure, problems};
use palisade_model::document::{self, Document};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Largest input taken, in bytes.
const MAX_INPUT: u64 = 64 << 20;

/// One text, and where it came from.
pub(crate) struct Source {
    /// Path, or `standard input`.
    pub(crate) name: String,
    /// Whole text.
    pub(crate) text: String,
}

/// A document, and the text it stands in.
pub(crate) struct Input {
    /// Index into the sources.
    pub(crate) source: usize,
    /// As read.
    pub(crate) document: Document,
}

/// Everything that was read.
pub(crate) struct Inputs {
    /// Texts.
    pub(crate) sources: Vec<Source>,
    /// Documents, in order.
    pub(crate) documents: Vec<Input>,
}

/// Reads every file and puts resources that name no namespace into theirs; what cannot be read is printed with its place
/// and fails the whole.
pub(crate) fn read(files: &Files) -> Result<Inputs, Failure> {
    read_sources(sources(&files.filename, files.recursive)?, files)
}

fn read_sources(sources: Vec<Source>, files: &Files) -> Result<Inputs, Failure> {
    let mut documents = Vec::new();
    let mut broken = 0;
    for (index, source) in sources.iter().enumerate() {
        match document::read(&source.text) {
            Ok(read) => {
                for mut document in read {
                    if let Err(problem) = document.fill_namespace(files.namespace.as_deref()) {
                        broken += 1;
                        let place = document.locate(&problem, &source.text);
                        problems::show(source, &problem.to_string(), place);
                    }
                    documents.push(Input {
                        source: index,
                        document,
                    });
                }
            }
            Err(error) => {
                broken += 1;
                problems::show(source, &error.message, error.span);
            }
        }
    }
    if broken > 0 {
        return Err(problems::failure(broken));
    }
    if documents.is_empty() && !files.skip_empty {
        return Err(Failure::invalid("no resources in the input")
            .hint("--skip-empty takes empty input for done"));
    }
    Ok(Inputs { sources, documents })
}

fn sources(paths: &[PathBuf], recursive: bool) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .take(MAX_INPUT)
                .read_to_string(&mut text)
                .map_err(|e| Failure::error(format!("cannot read standard input: {e}")))?;
            sources.push(Source {
                name: "standard input".into(),
                text,
            });
        } else if path.is_dir() {
            folder(path, recursive, &mut sources)?;
        } else {
            sources.push(file(path)?);
        }
    }
    Ok(sources)
}

/// YAML and JSON files of a folder, by name.
fn folder(path: &Path, recursive: bool, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let unreadable =
        |e: std::io::Error| Failure::error(format!("cannot read `{}`: {e}", path.display()));
    let mut entries = fs::read_dir(path)
        .map_err(unreadable)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    entries.sort();
    for entry in entries {
        let known = entry
            .extension()
            .is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if entry.is_dir() && recursive {
            folder(&entry, recursive, sources)?;
        } else if known && entry.is_file() {
            sources.push(file(&entry)?);
        }
    }
    Ok(())
}

fn file(path: &Path) -> Result<Source, Failure> {
    let fail = |e: &dyn std::fmt::Display| {
        Failure::error(format!("cannot read `{}`: {e}", path.display()))
    };
    let size = fs::metadata(path).map_err(|e| fail(&e))?.len();
    if size > MAX_INPUT {
        return Err(fail(&"larger than 64 MiB"));
    }
    Ok(Source {
        name: path.display().to_string(),
        text: fs::read_to_string(path).map_err(|e| fail(&e))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(text: &str, namespace: Option<&str>) -> Result<Vec<Option<String>>, u8> {
        let source = Source {
            name: "a file".into(),
            text: text.into(),
        };
        let files = Files {
            filename: Vec::new(),
            recursive: false,
            skip_empty: false,
            namespace: namespace.map(str::to_owned),
        };
        let inputs = read_sources(vec![source], &files).map_err(|failure| failure.code())?;
        let decoded = problems::decode(&inputs).map_err(|failure| failure.code())?;
        let namespace = |value: &serde_json::Value| {
            let text = value.pointer("/metadata/namespace")?.as_str()?;
            Some(text.to_owned())
        };
        Ok(decoded.iter().map(|d| namespace(&d.json)).collect())
    }

    #[test]
    fn resources_go_into_their_own_namespace_then_the_given_one_then_default() {
        let text = "- {apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: a}}\n\
                    - {apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: b, namespace: shop}}\n\
                    - {apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: c}}\n";
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(
            namespaces(text, None),
            Ok(vec![some("default"), some("shop"), None])
        );
        assert_eq!(
            namespaces(text, Some("shop")),
            Ok(vec![some("shop"), some("shop"), None])
        );
        assert_eq!(namespaces(text, Some("other")), Err(2));
    }
}
