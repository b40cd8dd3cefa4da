//! What is wrong with a resource, all of it, each with its place.

use std::collections::BTreeSet;
use std::fmt;

use palisade_selector::{ParseError, Selector};

use crate::name::Name;
use crate::path::{At, FieldPath};

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field.
    pub path: FieldPath,
    /// What is wrong, one lower-case sentence without full stop.
    pub message: String,
    /// Bytes inside the field's string, where the fault has a place there.
    pub span: Option<TextSpan>,
    /// Which part of the field is meant.
    pub part: Part,
}

/// A part of a string, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSpan {
    /// Where it begins.
    pub offset: usize,
    /// How far it reaches; 0 at the end of the text.
    pub length: usize,
}

/// Which part of a field a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its value.
    Value,
    /// Its key: unknown, misplaced or twice.
    Key,
    /// Its absence.
    Missing,
}

/// Something worth saying that is no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The field.
    pub path: FieldPath,
    /// What the writer should know.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.0.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.0.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// Whose text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Origin {
    /// A user's: every rule holds.
    #[default]
    User,
    /// The store's: an older build accepted it, by the rules of its day.
    Store,
}

/// Collects faults and warnings while a resource is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Warning>,
    origin: Origin,
}

impl Report {
    /// Without faults yet.
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }

    /// Reports what breaks a rule of admission although its meaning is clear. True if the value is refused for it.
    ///
    /// Every rule that a later build may tighten is reported here, and the caller keeps the value: so a row that an older
    /// build accepted can still be read. What loses a part of the meaning is reported with [`Report::add`] instead.
    pub(crate) fn refuse(&mut self, at: &At<'_>, message: impl Into<String>) -> bool {
        self.refuse_part(at, message, Part::Value)
    }

    /// As [`Report::refuse`], of a key.
    pub(crate) fn refuse_key(&mut self, at: &At<'_>, message: impl Into<String>) -> bool {
        self.refuse_part(at, message, Part::Key)
    }

    fn refuse_part(&mut self, at: &At<'_>, message: impl Into<String>, part: Part) -> bool {
        match self.origin {
            Origin::User => {
                self.push(at, message.into(), part, None);
                true
            }
            Origin::Store => false,
        }
    }

    pub(crate) fn add(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.push(at, message.into(), Part::Value, None);
    }

    pub(crate) fn add_at_key(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.push(at, message.into(), Part::Key, None);
    }

    pub(crate) fn missing(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.push(at, message.into(), Part::Missing, None);
    }

    pub(crate) fn warn(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.warnings.push(Warning {
            path: at.path(),
            message: message.into(),
        });
    }

    /// Reports fields that a document of `projectcalico.org/v3` may not have.
    pub(crate) fn extensions(&mut self, fields: &[FieldPath]) {
        if self.origin == Origin::Store {
            return;
        }
        let faults = fields.iter().map(|path| Problem {
            path: path.clone(),
            message: "this field exists in `palisade.dev/v1` only: change `apiVersion` to it"
                .to_owned(),
            span: None,
            part: Part::Key,
        });
        self.problems.extend(faults);
    }

    /// Reports what could not be parsed.
    pub(crate) fn take<T>(&mut self, parsed: Result<T, String>, at: &At<'_>) -> Option<T> {
        parsed.map_err(|message| self.add(at, message)).ok()
    }

    /// Parses every element of a list, reporting at its index.
    pub(crate) fn each<T, U>(
        &mut self,
        items: &[T],
        at: &At<'_>,
        parse: impl Fn(&T, &At<'_>, &mut Report) -> Option<U>,
    ) -> Vec<U> {
        let items = items.iter().enumerate();
        items
            .filter_map(|(index, item)| parse(item, &at.index(index), self))
            .collect()
    }

    /// Reports elements of a list that stand in it before; Calico calls such a list a set.
    pub(crate) fn unique(&mut self, texts: Option<&[String]>, at: &At<'_>) {
        let mut seen = BTreeSet::new();
        for (index, text) in texts.unwrap_or_default().iter().enumerate() {
            if !seen.insert(text) {
                self.refuse(&at.index(index), format!("`{text}` stands twice"));
            }
        }
    }

    /// Parses a name that is called `what`.
    pub(crate) fn name(&mut self, text: &str, what: &str, at: &At<'_>) -> Option<Name> {
        let name = Name::new(text);
        if name.is_none() {
            self.add(at, format!("`{text}` is not a valid {what}"));
        }
        name
    }

    /// Parses a selector field; `None` after a report.
    pub(crate) fn selector(&mut self, text: &str, at: &At<'_>) -> Option<Selector> {
        let count = text.chars().count();
        if count > 1024
            && self.refuse(
                at,
                format!("a selector has at most 1024 characters, this one {count}"),
            )
        {
            return None;
        }
        match Selector::parse(text) {
            Ok(selector) => Some(selector),
            Err(ParseError {
                offset,
                length,
                kind,
            }) => {
                self.push(
                    at,
                    format!("invalid selector: {kind}"),
                    Part::Value,
                    Some(TextSpan { offset, length }),
                );
                None
            }
        }
    }

    /// A selector that may not contain `global()`.
    pub(crate) fn selector_without_global(&mut self, text: &str, at: &At<'_>) -> Option<Selector> {
        let selector = self.selector(text, at)?;
        if selector.mentions_global() {
            self.add(
                at,
                "`global()` may stand only in the namespaceSelector of a rule",
            );
            return None;
        }
        Some(selector)
    }

    fn push(&mut self, at: &At<'_>, message: String, part: Part, span: Option<TextSpan>) {
        self.problems.push(Problem {
            path: at.path(),
            message,
            span,
            part,
        });
    }
}
