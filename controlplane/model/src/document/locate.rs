//! From a field path back to the place in the text.

use super::Document;
use super::node::{Node, Shape};
use crate::path::{FieldPath, Segment};
use crate::problem::{Part, Problem, TextSpan};

/// A place in the text that was read, in bytes. Empty where the text gives no places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceSpan {
    /// Where it begins.
    pub offset: usize,
    /// How far it reaches.
    pub length: usize,
}

impl SourceSpan {
    /// Line and column of the beginning, both from 1, columns in characters.
    pub fn line_column(self, text: &str) -> (usize, usize) {
        let before = text.get(..self.offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }

    fn slice(self, text: &str) -> Option<&str> {
        text.get(self.offset..self.offset.checked_add(self.length)?)
    }
}

impl Document {
    /// Where a problem is in `text`, the text this document was read from.
    pub fn locate(&self, problem: &Problem, text: &str) -> SourceSpan {
        self.locate_field(&problem.path, problem.part, problem.span, text)
    }

    /// Where a field is. What does not exist is shown where it would be: at the deepest part of the path that exists.
    pub fn locate_field(
        &self,
        path: &FieldPath,
        part: Part,
        inside: Option<TextSpan>,
        text: &str,
    ) -> SourceSpan {
        let mut node = &self.root;
        let mut key = head(&self.root);
        for segment in &path.0 {
            let found = match segment {
                // The last of equals: a key that stands twice is wrong where it stands again.
                Segment::Key(name) => node
                    .entries()
                    .iter()
                    .rev()
                    .find(|entry| entry.key.text == *name),
                Segment::Index(index) => {
                    let Shape::List(items) = &node.shape else {
                        return key;
                    };
                    let Some(item) = items.get(*index) else {
                        return key;
                    };
                    node = item;
                    key = head(item);
                    continue;
                }
            };
            let Some(entry) = found else { return key };
            node = &entry.value;
            key = entry.key.span;
        }
        match (part, &node.shape) {
            (Part::Key, _) | (_, Shape::List(_) | Shape::Map(_)) => key,
            _ if node.span.length == 0 => key,
            _ => inside
                .and_then(|inside| within(node, inside, text))
                .unwrap_or(node.span),
        }
    }
}

/// A short place that stands for a whole value: its first key, or the value where it is a scalar.
fn head(node: &Node) -> SourceSpan {
    match &node.shape {
        Shape::Map(entries) => entries.first().map_or(node.span, |entry| entry.key.span),
        Shape::List(items) => items.first().map_or(node.span, |item| match &item.shape {
            Shape::Map(_) | Shape::List(_) => node.span,
            _ => item.span,
        }),
        _ => node.span,
    }
}

/// A place inside a scalar, where the text stands in the source as it is: plain, or quoted without escapes, on one line.
fn within(node: &Node, inside: TextSpan, text: &str) -> Option<SourceSpan> {
    let (Shape::Text(value) | Shape::Plain(value)) = &node.shape else {
        return None;
    };
    let source = node.span.slice(text)?;
    let quotes = usize::from(source.starts_with(['"', '\'']) && source.len() >= 2);
    let body = source.get(quotes..source.len().checked_sub(quotes)?)?;
    (body == value).then(|| SourceSpan {
        offset: node.span.offset + quotes + inside.offset,
        length: inside.length,
    })
}
