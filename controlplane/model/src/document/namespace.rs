//! The namespace of a resource that names none: what a command line fills in, and a server never does.

use super::Document;
use super::node::{Node, Shape};
use crate::kind::Kind;
use crate::path::At;
use crate::problem::{Part, Problem};

/// Where namespaced resources live unless somebody says otherwise.
pub const DEFAULT_NAMESPACE: &str = "default";

impl Document {
    /// Puts a namespaced resource that names no namespace into `given`, else into [`DEFAULT_NAMESPACE`]. Resources of
    /// other kinds, and what is too broken to tell, stay as they are.
    ///
    /// # Errors
    ///
    /// Where the resource names another namespace than `given`.
    pub fn fill_namespace(&mut self, given: Option<&str>) -> Result<(), Problem> {
        let kind = self.root.text_at("kind").and_then(Kind::from_document);
        if !kind.is_some_and(Kind::is_namespaced) {
            return Ok(());
        }
        let entries = match &mut self.root.shape {
            Shape::Map(entries) => entries,
            _ => return Ok(()),
        };
        let metadata = entries
            .iter_mut()
            .find(|entry| entry.key.text == "metadata");
        let Some(metadata) = metadata.map(|entry| &mut entry.value) else {
            return Ok(());
        };
        let span = metadata.span;
        let own = match metadata.get("namespace").map(|node| &node.shape) {
            None | Some(Shape::Null) => "",
            Some(Shape::Text(text) | Shape::Plain(text)) => text,
            // The decoder says what is wrong with it.
            Some(_) => return Ok(()),
        };
        match given {
            Some(given) if !own.is_empty() && own != given => Err(Problem {
                path: At::ROOT.field("metadata").field("namespace").path(),
                message: format!("the resource is in `{own}`, the command line says `{given}`"),
                span: None,
                part: Part::Value,
            }),
            _ if !own.is_empty() => Ok(()),
            _ => {
                metadata.remove("namespace");
                let namespace = given.unwrap_or(DEFAULT_NAMESPACE);
                metadata.insert("namespace", Node::text(namespace, span));
                Ok(())
            }
        }
    }
}
