//! JSON into nodes. Unlike `serde_json::Value` it keeps a key that stands twice, so that it can be refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::locate::SourceSpan;
use super::node::{Entry, Key, Node, Shape};

/// Every JSON value of a text, `None` where it is no JSON.
pub(super) fn documents(text: &str) -> Option<Vec<Node>> {
    let starts_like_json = text.trim_start().starts_with(['{', '[']);
    let stream = || serde_json::Deserializer::from_str(text).into_iter::<Node>();
    starts_like_json
        .then(|| stream().collect::<Result<_, _>>().ok())
        .flatten()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let shape = deserializer.deserialize_any(JsonVisitor)?;
        Ok(Node {
            shape,
            span: SourceSpan::default(),
        })
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Number(Number::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Number(Number::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Shape, E> {
        Ok(Number::from_f64(value).map_or(Shape::Null, Shape::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Shape, E> {
        Ok(Shape::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some((text, value)) = access.next_entry()? {
            entries.push(Entry {
                key: Key {
                    text,
                    plain: false,
                    span: SourceSpan::default(),
                },
                value,
            });
        }
        Ok(Shape::Map(entries))
    }
}
