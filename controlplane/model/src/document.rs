//! From text to resources that are still unread: YAML documents, JSON, bare sequences and `<Kind>List`.
//!
//! Keeps scalars as written, since only the field says whether `y` is wanted as text, and keeps places for carets.

mod build;
mod json;
mod locate;
mod namespace;
pub(crate) mod node;
pub(crate) mod yaml11;

use crate::kind::Kind;
use crate::path::FieldPath;
use crate::problem::{Part, Problem};
use node::{Entry, Node, Shape};

pub use locate::SourceSpan;
pub use namespace::DEFAULT_NAMESPACE;

/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 64 << 20;

/// One resource of a file, not yet decoded.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) root: Node,
}

/// The text is no YAML or JSON, or not of a form that holds resources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReadError {
    /// What is wrong.
    pub message: String,
    /// Where in the text.
    pub span: SourceSpan,
}

/// Every resource of a text, in order. Empty documents are skipped; an empty text holds none.
///
/// # Errors
///
/// The first syntax error, with its place. Faults of resources are left to [`crate::decode_document`].
pub fn read(text: &str) -> Result<Vec<Document>, ReadError> {
    if text.len() > MAX_TEXT {
        let message = format!("the text has {} bytes, at most {MAX_TEXT}", text.len());
        return Err(ReadError {
            message,
            span: SourceSpan::default(),
        });
    }
    let roots = match build::documents(text) {
        Ok(roots) => roots,
        // JSON is almost YAML; what is not (tabs, surrogate pairs) is read as JSON, at the price of places.
        Err(error) => json::documents(text).ok_or(error)?,
    };
    let mut documents = Vec::new();
    for root in roots {
        flatten(root, &mut documents)?;
    }
    Ok(documents)
}

impl Document {
    /// One resource in JSON, as the API carries it.
    ///
    /// # Errors
    ///
    /// Where the bytes are no JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        let root = serde_json::from_slice(bytes).map_err(|error| ReadError {
            message: format!("invalid JSON: {error}"),
            span: SourceSpan::default(),
        })?;
        Ok(Self { root })
    }

    /// What the document says of itself, for messages: kind and name, where they can be read.
    pub fn title(&self) -> String {
        let kind = self.root.text_at("kind").unwrap_or("resource");
        match self
            .root
            .get("metadata")
            .and_then(|metadata| metadata.text_at("name"))
        {
            Some(name) => format!("{kind}({name})"),
            None => kind.to_owned(),
        }
    }
}

/// Opens sequences and lists; leaves everything else to the decoder.
fn flatten(root: Node, documents: &mut Vec<Document>) -> Result<(), ReadError> {
    match root.shape {
        Shape::Null => Ok(()),
        Shape::Plain(ref text) if text.is_empty() => Ok(()),
        Shape::List(items) => {
            for item in items {
                if let Shape::List(_) = item.shape {
                    return Err(ReadError {
                        message: "a list of lists holds no resources".to_owned(),
                        span: item.span,
                    });
                }
                flatten(item, documents)?;
            }
            Ok(())
        }
        Shape::Map(_) => match root.text_at("kind").and_then(item_kind) {
            Some(kind) => open_list(root, kind, documents),
            None => {
                documents.push(Document { root });
                Ok(())
            }
        },
        _ => Err(ReadError {
            message: "expected a resource: a map with apiVersion, kind, metadata, spec".to_owned(),
            span: root.span,
        }),
    }
}

/// The kind of a list's items, where `kind` is `<Kind>List`.
fn item_kind(kind: &str) -> Option<Kind> {
    Kind::from_document(kind.strip_suffix("List")?)
}

/// Items take apiVersion and kind of their list where they have none.
fn open_list(root: Node, kind: Kind, documents: &mut Vec<Document>) -> Result<(), ReadError> {
    let fail = |message: String, span| Err(ReadError { message, span });
    let mut api_version = None;
    let mut items = None;
    let span = root.span;
    for Entry { key, value } in root.into_entries() {
        match key.text.as_str() {
            "apiVersion" => api_version = Some((key, value)),
            "items" => items = Some(value),
            "kind" | "metadata" => {}
            other => return fail(format!("unknown field `{other}` in a {kind}List"), key.span),
        }
    }
    let Some(Node {
        shape: Shape::List(items),
        ..
    }) = items
    else {
        return fail(format!("a {kind}List has a list of `items`"), span);
    };
    for mut item in items {
        match item.text_at("kind").map(|text| text == kind.as_str()) {
            Some(true) => {}
            Some(false) => {
                return fail(
                    format!("an item of a {kind}List is not a {kind}"),
                    item.span,
                );
            }
            None => item.insert("kind", Node::text(kind.as_str(), span)),
        }
        if let (None, Some((_, version))) = (item.get("apiVersion"), &api_version) {
            item.insert("apiVersion", version.clone());
        }
        documents.push(Document { root: item });
    }
    Ok(())
}

impl From<ReadError> for Problem {
    /// A problem of the whole resource, for callers that report problems only.
    fn from(error: ReadError) -> Self {
        Problem {
            path: FieldPath::default(),
            message: error.message,
            span: None,
            part: Part::Value,
        }
    }
}
