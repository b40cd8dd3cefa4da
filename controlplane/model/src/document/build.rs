//! YAML events into nodes. Bounded: depth, and what aliases may add; nothing else can grow beyond the text.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::ReadError;
use super::locate::SourceSpan;
use super::node::{Entry, Key, Node, Shape};

/// Deepest nesting of a document; rules nest five deep.
const MAX_DEPTH: usize = 64;

/// Nodes that aliases may add to a text.
const MAX_ALIASED: usize = 50_000;

/// A collection that is still open.
struct Open {
    anchor: usize,
    span: SourceSpan,
    content: Content,
    /// Nodes in it, itself included.
    size: usize,
    /// Depth of what it holds so far.
    height: usize,
}

enum Content {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<Key>),
}

/// A finished node and what a copy of it costs.
#[derive(Clone)]
struct Built {
    node: Node,
    size: usize,
    height: usize,
    /// Whether it can be a key, and was written plain.
    key: Option<bool>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Built>,
    aliased: usize,
    documents: Vec<Node>,
}

/// The root of every document of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, ReadError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| ReadError {
            message: format!("invalid YAML: {error}"),
            span: SourceSpan {
                offset: error.marker().byte_offset().unwrap_or_default(),
                length: 1,
            },
        })?;
        builder.on_event(event, place(&span))?;
    }
    Ok(builder.documents)
}

fn place(span: &Span) -> SourceSpan {
    let range = span.byte_range().unwrap_or_default();
    SourceSpan {
        offset: range.start,
        length: range.len(),
    }
}

fn fail<T>(message: impl Into<String>, span: SourceSpan) -> Result<T, ReadError> {
    Err(ReadError {
        message: message.into(),
        span,
    })
}

impl Builder {
    fn on_event(&mut self, event: Event<'_>, span: SourceSpan) -> Result<(), ReadError> {
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::Comment(..)
            | Event::Anchor(..)
            | Event::DocumentStart(..) => Ok(()),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::UnresolvedAlias(name) => fail(format!("no anchor is called `{name}`"), span),
            Event::Alias(id) => self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = match (style, tag.as_deref()) {
                    (_, Some(tag)) => !is_string_tag(tag, span)?,
                    (style, None) => style == ScalarStyle::Plain,
                };
                // The parser writes `~` for a value that is not there; what is not there has no text.
                let text = if plain && span.length == 0 {
                    String::new()
                } else {
                    text.into_owned()
                };
                let shape = if plain {
                    Shape::Plain(text)
                } else {
                    Shape::Text(text)
                };
                self.add(
                    Built {
                        node: Node { shape, span },
                        size: 1,
                        height: 0,
                        key: Some(plain),
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(Content::List(Vec::new()), anchor, tag.as_deref(), span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.start(Content::Map(Vec::new(), None), anchor, tag.as_deref(), span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            // The parser may learn new events; what they mean for structure is then unknown.
            _ => fail("this YAML is not understood", span),
        }
    }

    fn start(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<&Tag>,
        span: SourceSpan,
    ) -> Result<(), ReadError> {
        if tag.is_some() {
            return fail("tags on lists and maps mean nothing here", span);
        }
        if self.open.len() >= MAX_DEPTH {
            return fail("nested too deeply", span);
        }
        self.open.push(Open {
            anchor,
            span,
            content,
            size: 1,
            height: 0,
        });
        Ok(())
    }

    fn end(&mut self, end: SourceSpan) -> Result<(), ReadError> {
        let Some(open) = self.open.pop() else {
            return fail("a collection ends that never began", end);
        };
        let shape = match open.content {
            Content::List(items) => Shape::List(items),
            Content::Map(entries, _) => Shape::Map(entries),
        };
        let span = SourceSpan {
            offset: open.span.offset,
            length: end.offset.saturating_sub(open.span.offset),
        };
        self.add(
            Built {
                node: Node { shape, span },
                size: open.size,
                height: open.height + 1,
                key: None,
            },
            open.anchor,
        )
    }

    fn alias(&mut self, id: usize, span: SourceSpan) -> Result<(), ReadError> {
        let Some(built) = self.anchors.get(&id) else {
            return fail("an anchor that contains itself", span);
        };
        self.aliased = self.aliased.saturating_add(built.size);
        if self.aliased > MAX_ALIASED {
            return fail(format!("aliases add more than {MAX_ALIASED} values"), span);
        }
        if self.open.len() + built.height > MAX_DEPTH {
            return fail("nested too deeply", span);
        }
        let mut copy = built.clone();
        copy.node.span = span;
        self.add(copy, 0)
    }

    /// Puts a finished node where it belongs: a key, a value, an element, or a document.
    fn add(&mut self, built: Built, anchor: usize) -> Result<(), ReadError> {
        if anchor != 0 {
            self.anchors.insert(anchor, built.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(built.node);
            return Ok(());
        };
        open.size = open.size.saturating_add(built.size);
        open.height = open.height.max(built.height);
        match &mut open.content {
            Content::List(items) => items.push(built.node),
            Content::Map(entries, waiting) => match waiting.take() {
                Some(key) => entries.push(Entry {
                    key,
                    value: built.node,
                }),
                None => *waiting = Some(key_of(built)?),
            },
        }
        Ok(())
    }
}

fn key_of(built: Built) -> Result<Key, ReadError> {
    match (built.key, built.node.shape) {
        (Some(plain), Shape::Plain(text) | Shape::Text(text)) => {
            if plain && text == "<<" {
                return fail(
                    "merge keys (`<<`) are not read here: write the fields out",
                    built.node.span,
                );
            }
            Ok(Key {
                text,
                plain,
                span: built.node.span,
            })
        }
        _ => fail("a list or map cannot be a key", built.node.span),
    }
}

/// `!!str` makes text of anything; other tags are refused.
fn is_string_tag(tag: &Tag, span: SourceSpan) -> Result<bool, ReadError> {
    match tag.core_suffix() {
        Some("str") => Ok(true),
        _ => fail("the only tag that is read here is `!!str`", span),
    }
}
