//! Calico's selector language, whole: parse, canonical text, evaluation over labels.
//!
//! Owns the syntax tree and the operations the compiler needs on it (and, prefixing of labels, replacing
//! `all()` and `global()`). Refuses to own what a selector selects: namespaces, profiles and inheritance live above.
//! Pure: no IO, no clock, no panics on foreign text.

#![forbid(unsafe_code)]

mod ast;
mod error;
mod evaluate;
mod parse;
mod rewrite;
mod text;
mod token;

pub use ast::{Expr, Label, Literal, Selector};
pub use error::{ParseError, ParseErrorKind};
pub use evaluate::Labels;
pub use rewrite::PrefixTooLong;
