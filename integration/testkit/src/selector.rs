//! The selector language, once more: an expression that renders to text, is read back from it, and is asked.
//!
//! Nothing of the selector crate is used, so that the two are compared wherever a world has a selector. Reads what
//! [`Expression::render`] writes and what people usually write; it is no judge of what is valid.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

mod read;

/// A selector, with the text it was written as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    /// What it says.
    pub expression: Expression,
    text: String,
}

/// What a selector says (specification §2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "words of the language: label, then text")]
pub enum Expression {
    All,
    Global,
    Has(String),
    Is(String, String),
    IsNot(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Contains(String, String),
    StartsWith(String, String),
    EndsWith(String, String),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

use Expression::{
    All, And, Contains, EndsWith, Global, Has, In, Is, IsNot, Not, NotIn, Or, StartsWith,
};

impl Expression {
    /// Whether it is true of labels (specification §2.2).
    pub fn is_true_of(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = |key: &str| labels.get(key);
        match self {
            All | Global => true,
            Has(key) => value(key).is_some(),
            Is(key, text) => value(key) == Some(text),
            IsNot(key, text) => value(key) != Some(text),
            In(key, texts) => value(key).is_some_and(|v| texts.contains(v)),
            NotIn(key, texts) => !value(key).is_some_and(|v| texts.contains(v)),
            Contains(key, text) => value(key).is_some_and(|v| v.contains(text.as_str())),
            StartsWith(key, text) => value(key).is_some_and(|v| v.starts_with(text.as_str())),
            EndsWith(key, text) => value(key).is_some_and(|v| v.ends_with(text.as_str())),
            Not(inner) => !inner.is_true_of(labels),
            And(all) => all.iter().all(|e| e.is_true_of(labels)),
            Or(any) => any.iter().any(|e| e.is_true_of(labels)),
        }
    }

    /// The same about labels of another namespace of keys: each gets a prefix, and `all()` becomes `all`
    /// (specification §2.6).
    #[must_use]
    pub fn prefixed(&self, prefix: &str, all: &Expression) -> Self {
        let key = |key: &String| format!("{prefix}{key}");
        let each = |list: &[Expression]| list.iter().map(|e| e.prefixed(prefix, all)).collect();
        match self {
            All => all.clone(),
            Global => Global,
            Has(k) => Has(key(k)),
            Is(k, v) => Is(key(k), v.clone()),
            IsNot(k, v) => IsNot(key(k), v.clone()),
            In(k, v) => In(key(k), v.clone()),
            NotIn(k, v) => NotIn(key(k), v.clone()),
            Contains(k, v) => Contains(key(k), v.clone()),
            StartsWith(k, v) => StartsWith(key(k), v.clone()),
            EndsWith(k, v) => EndsWith(key(k), v.clone()),
            Not(inner) => Not(Box::new(inner.prefixed(prefix, all))),
            And(list) => And(each(list)),
            Or(list) => Or(each(list)),
        }
    }

    /// One of its spellings, `style` says which: blanks, quotes, words joined or apart.
    pub fn render(&self, style: u8) -> String {
        let blank = if style & 1 == 0 { " " } else { "" };
        let pad = if style & 8 == 0 { "" } else { "  " };
        let quoted = |text: &str| match style & 2 {
            0 => format!("'{text}'"),
            _ => format!("\"{text}\""),
        };
        let binary = |key: &str, operator: &str, text: &str| {
            format!("{key}{blank}{operator}{blank}{}", quoted(text))
        };
        let word = |key: &str, apart: &str, text: &str| {
            let operator = match style & 4 {
                0 => apart.to_owned(),
                _ => apart.replace(' ', ""),
            };
            format!("{key} {operator}{blank}{}", quoted(text))
        };
        let set = |key: &str, operator: &str, texts: &[String]| {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!(
                "{key} {operator}{blank}{{{}}}",
                texts.join(if style & 1 == 0 { ", " } else { "," })
            )
        };
        let joined = |list: &[Expression], operator: &str| {
            let parts: Vec<String> = list.iter().map(|e| e.render(style)).collect();
            format!(
                "({pad}{}{pad})",
                parts.join(&format!("{blank}{operator}{blank}"))
            )
        };
        match self {
            All => format!("all({pad})"),
            Global => "global()".to_owned(),
            Has(key) => format!("has({pad}{key}{pad})"),
            Is(key, text) => binary(key, "==", text),
            IsNot(key, text) => binary(key, "!=", text),
            In(key, texts) => set(key, "in", texts),
            NotIn(key, texts) => set(key, if style & 4 == 0 { "not in" } else { "notin" }, texts),
            Contains(key, text) => word(key, "contains", text),
            StartsWith(key, text) => word(key, "starts with", text),
            EndsWith(key, text) => word(key, "ends with", text),
            Not(inner) => format!("!{blank}({})", inner.render(style)),
            And(list) => joined(list, "&&"),
            Or(list) => joined(list, "||"),
        }
    }

    /// As a selector, in a spelling.
    pub fn spelled(self, style: u8) -> Selector {
        Selector {
            text: self.render(style),
            expression: self,
        }
    }

    /// Expressions that are a step smaller.
    pub fn smaller(&self) -> Vec<Expression> {
        match self {
            Not(inner) => {
                let mut all = vec![inner.as_ref().clone()];
                all.extend(inner.smaller().into_iter().map(|e| Not(Box::new(e))));
                all
            }
            And(list) | Or(list) => list
                .iter()
                .flat_map(|e| std::iter::once(e.clone()).chain(e.smaller()))
                .collect(),
            _ => Vec::new(),
        }
    }
}

impl Selector {
    /// Reads a selector; the empty text is `all()`.
    ///
    /// # Errors
    /// The text itself, where it is not understood.
    pub fn read(text: &str) -> Result<Self, String> {
        let expression = match text.trim() {
            "" => All,
            trimmed => read::expression(trimmed).ok_or_else(|| text.to_owned())?,
        };
        Ok(Self {
            expression,
            text: text.to_owned(),
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(|text| serde::de::Error::custom(format!("selector `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_form() -> Expression {
        let (k, v) = (|| "a.b/c-d".to_owned(), || "x y".to_owned());
        Or(vec![
            And(vec![All, Has(k()), Is(k(), v()), IsNot(k(), v())]),
            Not(Box::new(Or(vec![
                In(k(), vec![v(), "z".to_owned()]),
                NotIn(k(), vec![]),
            ]))),
            And(vec![Contains(k(), v()), StartsWith(k(), v())]),
            EndsWith(k(), v()),
            Global,
        ])
    }

    #[test]
    fn every_spelling_is_read_back_as_what_it_says() {
        for style in 0..16 {
            let selector = every_form().spelled(style);
            let read = Selector::read(selector.text());
            assert_eq!(read, Ok(selector), "style {style}");
        }
    }

    #[test]
    fn absent_labels_satisfy_negations_only() {
        let none = BTreeMap::new();
        let holds = |text: &str| Selector::read(text).map(|s| s.expression.is_true_of(&none));
        for text in ["a != 'x'", "a not in {'x'}", "!has(a)", "all()", ""] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
        for text in [
            "a == 'x'",
            "a in {'x'}",
            "has(a)",
            "a contains ''",
            "!all()",
        ] {
            assert_eq!(holds(text), Ok(false), "{text}");
        }
    }
}
