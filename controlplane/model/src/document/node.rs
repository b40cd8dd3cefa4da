//! A value as written: nothing is decided about plain scalars before a field asks for them.

use serde_json::{Number, Value};

use super::locate::SourceSpan;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) shape: Shape,
    pub(crate) span: SourceSpan,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// From JSON.
    Null,
    /// From JSON.
    Bool(bool),
    /// From JSON.
    Number(Number),
    /// Quoted, or a block scalar: text and nothing else.
    Text(String),
    /// A plain YAML scalar: what it means depends on what is wanted.
    Plain(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

/// A key of a map.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    /// Written without quotes.
    pub(crate) plain: bool,
    pub(crate) span: SourceSpan,
}

impl Node {
    pub(crate) fn text(text: &str, span: SourceSpan) -> Self {
        Self {
            shape: Shape::Text(text.to_owned()),
            span,
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.shape {
            Shape::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn into_entries(self) -> Vec<Entry> {
        match self.shape {
            Shape::Map(entries) => entries,
            _ => Vec::new(),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key.text == key)
            .map(|entry| &entry.value)
    }

    /// Text below `key`, quoted or plain.
    pub(crate) fn text_at(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.shape {
            Shape::Text(text) | Shape::Plain(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if let Shape::Map(entries) = &mut self.shape {
            entries.retain(|entry| entry.key.text != key);
        }
    }

    pub(crate) fn insert(&mut self, key: &str, value: Node) {
        if let Shape::Map(entries) = &mut self.shape {
            entries.push(Entry {
                key: Key {
                    text: key.to_owned(),
                    plain: false,
                    span: value.span,
                },
                value,
            });
        }
    }

    /// What it is, in a reader's words.
    pub(crate) fn describe(&self) -> String {
        match &self.shape {
            Shape::Null => "null".to_owned(),
            Shape::Bool(value) => format!("`{value}`"),
            Shape::Number(number) => format!("the number {number}"),
            Shape::Text(text) => format!("the text `{text}`"),
            Shape::Plain(text) if text.is_empty() => "nothing".to_owned(),
            Shape::Plain(text) => format!("`{text}`"),
            Shape::List(_) => "a list".to_owned(),
            Shape::Map(_) => "a map".to_owned(),
        }
    }
}

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        let shape = match value {
            Value::Null => Shape::Null,
            Value::Bool(value) => Shape::Bool(*value),
            Value::Number(number) => Shape::Number(number.clone()),
            Value::String(text) => Shape::Text(text.clone()),
            Value::Array(items) => Shape::List(items.iter().map(Node::from).collect()),
            Value::Object(map) => Shape::Map(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: Key {
                            text: key.clone(),
                            plain: false,
                            span: SourceSpan::default(),
                        },
                        value: Node::from(value),
                    })
                    .collect(),
            ),
        };
        Self {
            shape,
            span: SourceSpan::default(),
        }
    }
}
