//! Scalars on their way into a raw shape: what is wanted decides how a plain one is read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Number;

use super::{Decoder, Stop};
use crate::document::node::Shape;
use crate::document::yaml11::{self, Reading};

/// Name under which [`IntOrText`] asks the decoder for itself.
pub(crate) const INT_OR_TEXT: &str = "$palisade::IntOrText";

/// A field that takes a number or a text, such as ports and protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IntOrText {
    Int(i64),
    Text(String),
}

pub(super) fn is_null(plain: &str) -> bool {
    yaml11::read(plain) == Reading::Null
}

/// Why a plain scalar is not taken as text; `None` where calicoctl keeps it as it is.
pub(super) fn refusal(plain: &str) -> Option<String> {
    let stored = yaml11::as_text(plain);
    let hint = match yaml11::read(plain) {
        Reading::Null => format!("write '{plain}', or '' for an empty text"),
        _ => format!("write '{plain}' or '{stored}'"),
    };
    (stored != plain).then(|| format!("calicoctl reads `{plain}` as {stored:?}: {hint}"))
}

pub(super) fn visit_number<'de, V: Visitor<'de>>(
    number: &Number,
    visitor: V,
) -> Result<V::Value, Stop> {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => visitor.visit_i64(value),
        (None, Some(value)) => visitor.visit_u64(value),
        (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
    }
}

pub(super) fn visit_plain<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Stop> {
    match yaml11::read(text) {
        Reading::Null => visitor.visit_unit(),
        Reading::Bool(value) => visitor.visit_bool(value),
        Reading::Int(value) => match i64::try_from(value) {
            Ok(value) => visitor.visit_i64(value),
            Err(_) => visitor.visit_str(text),
        },
        Reading::Float(value) if value.is_finite() => visitor.visit_f64(value),
        Reading::Float(_) | Reading::Text => visitor.visit_str(text),
    }
}

impl Decoder<'_> {
    pub(super) fn text(&self) -> String {
        match &self.node.shape {
            Shape::Text(text) => text.clone(),
            Shape::Plain(text) => {
                if let Some(message) = refusal(text) {
                    self.report(message);
                }
                text.clone()
            }
            _ => {
                self.wrong("a text");
                String::new()
            }
        }
    }

    pub(super) fn bool(&self) -> bool {
        let found = match &self.node.shape {
            Shape::Bool(value) => Some(*value),
            Shape::Plain(text) => match yaml11::read(text) {
                Reading::Bool(value) => Some(value),
                _ => None,
            },
            _ => None,
        };
        found.unwrap_or_else(|| {
            self.wrong("`true` or `false`");
            false
        })
    }

    pub(super) fn integer(&self) -> i64 {
        self.whole().unwrap_or_else(|| {
            self.wrong("a whole number");
            0
        })
    }

    pub(super) fn float(&self) -> f64 {
        let found = match &self.node.shape {
            Shape::Number(number) => number.as_f64(),
            Shape::Plain(text) => match yaml11::read(text) {
                Reading::Float(value) => Some(value),
                Reading::Int(value) => value.to_string().parse().ok(),
                _ => None,
            },
            _ => None,
        };
        found.filter(|value| value.is_finite()).unwrap_or_else(|| {
            self.wrong("a finite number");
            0.0
        })
    }

    pub(super) fn int_or_text<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Stop> {
        match (&self.node.shape, self.whole()) {
            (_, Some(value)) => visitor.visit_i64(value),
            (Shape::Text(_) | Shape::Plain(_), None) => visitor.visit_string(self.text()),
            _ => {
                self.wrong("a number or a name");
                visitor.visit_string(String::new())
            }
        }
    }

    fn whole(&self) -> Option<i64> {
        match &self.node.shape {
            Shape::Number(number) => number.as_i64(),
            Shape::Plain(text) => match yaml11::read(text) {
                Reading::Int(value) => i64::try_from(value).ok(),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for IntOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(INT_OR_TEXT, IntOrTextVisitor)
    }
}

impl Serialize for IntOrText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

struct IntOrTextVisitor;

impl Visitor<'_> for IntOrTextVisitor {
    type Value = IntOrText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a name")
    }

    fn visit_i64<E>(self, value: i64) -> Result<IntOrText, E> {
        Ok(IntOrText::Int(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<IntOrText, E> {
        Ok(IntOrText::Text(text.to_owned()))
    }
}
