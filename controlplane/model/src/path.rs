//! Where a field is: `spec.ingress[2].source.selector`.

use std::fmt;
use std::str::FromStr;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A field, or a key of a map.
    Key(String),
    /// An element of a list, from 0.
    Index(usize),
}

/// The way from the root of a resource to a field. Empty for the resource itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(pub Vec<Segment>);

/// A path that is only written out when there is something to report.
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

// === impl At ===

impl<'a> At<'a> {
    pub(crate) const ROOT: At<'static> = At {
        parent: None,
        step: Step::Root,
    };

    pub(crate) fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        At {
            parent: Some(self),
            step: Step::Key(name),
        }
    }

    pub(crate) fn index(&self, index: usize) -> At<'_> {
        At {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    pub(crate) fn path(&self) -> FieldPath {
        let mut segments = Vec::new();
        let mut here = Some(self);
        while let Some(at) = here {
            match at.step {
                Step::Root => {}
                Step::Key(key) => segments.push(Segment::Key(key.to_owned())),
                Step::Index(index) => segments.push(Segment::Index(index)),
            }
            here = at.parent;
        }
        segments.reverse();
        FieldPath(segments)
    }
}

// === impl FieldPath ===

impl FieldPath {
    /// Whether `self` is `other` or lies below it.
    pub fn starts_with(&self, other: &FieldPath) -> bool {
        self.0.starts_with(&other.0)
    }
}

/// Whether a key can be written behind a dot without being misread.
fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if is_plain(key) => {
                    let dot = if position == 0 { "" } else { "." };
                    write!(f, "{dot}{key}")?;
                }
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// The text is not a path this crate writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a field path")]
pub struct FieldPathError(pub String);

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, FieldPathError> {
        let bad = || FieldPathError(text.to_owned());
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let mut stream =
                    serde_json::Deserializer::from_str(inside).into_iter::<serde_json::Value>();
                let value = stream.next().and_then(Result::ok).ok_or_else(bad)?;
                segments.push(match value {
                    serde_json::Value::String(key) => Segment::Key(key),
                    other => Segment::Index(
                        other
                            .as_u64()
                            .and_then(|n| usize::try_from(n).ok())
                            .ok_or_else(bad)?,
                    ),
                });
                rest = inside
                    .get(stream.byte_offset()..)
                    .and_then(|after| after.strip_prefix(']'))
                    .ok_or_else(bad)?;
            } else {
                let word = rest
                    .strip_prefix('.')
                    .filter(|_| !segments.is_empty())
                    .unwrap_or(rest);
                let end = word.find(['.', '[']).unwrap_or(word.len());
                let (key, after) = word.split_at(end);
                if !is_plain(key) {
                    return Err(bad());
                }
                segments.push(Segment::Key(key.to_owned()));
                rest = after;
            }
        }
        Ok(Self(segments))
    }
}
