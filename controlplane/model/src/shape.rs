//! Strict decoding of nodes into raw shapes by serde, which goes on after a fault so that all of them are reported.
//!
//! A field of the wrong type is reported and read as its type's empty value; an unknown field is reported and left out.
//! Which scalar is text and which a number is decided here, where serde says what the field wants.

mod access;
mod scalar;

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use crate::document::node::{Node, Shape};
use crate::path::At;
use crate::problem::Report;
use access::{Elements, Fields};

pub(crate) use scalar::{INT_OR_TEXT, IntOrText};

/// Reads a node into a raw shape. `None` only where the shape itself gave up, after a report.
pub(crate) fn decode<T: DeserializeOwned>(
    node: &Node,
    at: &At<'_>,
    report: &mut Report,
) -> Option<T> {
    let sink = RefCell::new(std::mem::take(report));
    let result = T::deserialize(Decoder {
        node,
        at,
        sink: &sink,
    });
    *report = sink.into_inner();
    match result {
        Ok(raw) => Some(raw),
        Err(Stop(message)) => {
            report.add(at, message);
            None
        }
    }
}

/// One value that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Decoder<'a> {
    node: &'a Node,
    at: &'a At<'a>,
    sink: &'a RefCell<Report>,
}

/// Serde's way of giving up; our raw shapes never do.
#[derive(Debug)]
pub(crate) struct Stop(String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Stop(message.to_string())
    }
}

impl Decoder<'_> {
    fn report(&self, message: impl Into<String>) {
        self.sink.borrow_mut().add(self.at, message);
    }

    fn wrong(&self, wanted: &str) {
        self.report(format!("expected {wanted}, found {}", self.node.describe()));
    }

    fn is_null(&self) -> bool {
        match &self.node.shape {
            Shape::Null => true,
            Shape::Plain(text) => scalar::is_null(text),
            _ => false,
        }
    }
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.shape {
            Shape::Null => visitor.visit_unit(),
            Shape::Bool(value) => visitor.visit_bool(*value),
            Shape::Number(number) => scalar::visit_number(number, visitor),
            Shape::Text(text) => visitor.visit_str(text),
            Shape::Plain(text) => scalar::visit_plain(text, visitor),
            Shape::List(items) => visitor.visit_seq(Elements::new(self, items)),
            Shape::Map(entries) => visitor.visit_map(Fields::new(self, entries, None)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_bool(self.bool())
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_i64(self.integer())
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_f64(self.float())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_string(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.is_null() {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match name {
            INT_OR_TEXT => self.int_or_text(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.shape {
            Shape::List(items) => visitor.visit_seq(Elements::new(self, items)),
            _ => {
                self.wrong("a list");
                visitor.visit_seq(Elements::new(self, &[]))
            }
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_map(Fields::new(self, self.map_entries(), None))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_map(Fields::new(self, self.map_entries(), Some(fields)))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_string(self.text())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum
    }
}
