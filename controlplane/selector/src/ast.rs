//! The syntax tree: what a selector is once parsed. Keeps the order of terms as written.

use std::borrow::Borrow;
use std::collections::BTreeSet;

/// A parsed selector. Equality, order and hash are those of the tree, hence of the canonical text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    pub(crate) expr: Expr,
}

/// One node of the tree.
///
/// INVARIANT: `And` and `Or` hold at least two terms and `Not` never holds a `Not`, so the canonical text of a
/// tree parses back to the same tree. [`Selector::from_expr`] restores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// `all()`, also the empty selector.
    All,
    /// `global()`; true for everything unless rewritten beforehand.
    Global,
    /// `has(k)`.
    Has(Label),
    /// `k == 's'`.
    Equal(Label, Literal),
    /// `k != 's'`; true where the label is absent.
    NotEqual(Label, Literal),
    /// `k in {..}`.
    In(Label, BTreeSet<Literal>),
    /// `k not in {..}`; true where the label is absent.
    NotIn(Label, BTreeSet<Literal>),
    /// `k contains 's'`.
    Contains(Label, Literal),
    /// `k starts with 's'`.
    StartsWith(Label, Literal),
    /// `k ends with 's'`.
    EndsWith(Label, Literal),
    /// `!x`.
    Not(Box<Expr>),
    /// `(x && y && ..)`.
    And(Vec<Expr>),
    /// `(x || y || ..)`.
    Or(Vec<Expr>),
}

/// A label key as selectors write it: 1 to 512 of `[A-Za-z0-9_./-]`, which is wider than what a label may be called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

/// A string literal: anything that does not contain both kinds of quotes, since there are no escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Literal(Box<str>);

// === impl Label ===

impl Label {
    /// Longest key the language takes, in bytes.
    pub const MAX: usize = 512;

    /// The key, or `None` where the language cannot write it.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::MAX;
        (fits && text.bytes().all(is_label_byte)).then(|| Self(text.into()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether a byte may stand in a label.
pub(crate) fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-')
}

// === impl Literal ===

impl Literal {
    /// The literal, or `None` where `text` holds both kinds of quotes.
    pub fn new(text: &str) -> Option<Self> {
        (!(text.contains('"') && text.contains('\''))).then(|| Self(text.into()))
    }

    /// The text between the quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Literal {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl Expr ===

impl Expr {
    /// The negation; two negations cancel, as in the parser.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Terms joined by `&&`; a single one stands for itself, none is `all()`.
    pub(crate) fn all_of(mut terms: Vec<Self>) -> Self {
        match terms.len() {
            0 => Self::All,
            1 => terms.swap_remove(0),
            _ => Self::And(terms),
        }
    }

    /// Terms joined by `||`; a single one stands for itself, none is `!all()`.
    pub(crate) fn any_of(mut terms: Vec<Self>) -> Self {
        match terms.len() {
            0 => Self::Not(Box::new(Self::All)),
            1 => terms.swap_remove(0),
            _ => Self::Or(terms),
        }
    }

    /// Restores the invariant in a tree built by hand.
    fn normalised(self) -> Self {
        match self {
            Self::Not(inner) => inner.normalised().negated(),
            Self::And(terms) => Self::all_of(terms.into_iter().map(Self::normalised).collect()),
            Self::Or(terms) => Self::any_of(terms.into_iter().map(Self::normalised).collect()),
            leaf => leaf,
        }
    }

    /// Terms directly below this node.
    pub fn children(&self) -> &[Expr] {
        match self {
            Self::Not(inner) => std::slice::from_ref(inner),
            Self::And(terms) | Self::Or(terms) => terms,
            _ => &[],
        }
    }

    /// Whether `wanted` holds for this node or one below it.
    pub fn any(&self, wanted: &mut dyn FnMut(&Expr) -> bool) -> bool {
        wanted(self) || self.children().iter().any(|child| child.any(wanted))
    }
}

// === impl Selector ===

impl Selector {
    /// A selector from a tree built by hand.
    pub fn from_expr(expr: Expr) -> Self {
        Self {
            expr: expr.normalised(),
        }
    }

    /// The root of the tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// `all()`.
    pub fn all() -> Self {
        Self { expr: Expr::All }
    }

    /// `has(label)`.
    pub fn has(label: Label) -> Self {
        Self {
            expr: Expr::Has(label),
        }
    }

    /// `label == 'value'`.
    pub fn equal(label: Label, value: Literal) -> Self {
        Self {
            expr: Expr::Equal(label, value),
        }
    }

    /// `label in {values}`.
    pub fn one_of(label: Label, values: BTreeSet<Literal>) -> Self {
        Self {
            expr: Expr::In(label, values),
        }
    }

    /// `(self && other)`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            expr: Expr::And(vec![self.expr, other.expr]),
        }
    }

    /// `(self || other)`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            expr: Expr::Or(vec![self.expr, other.expr]),
        }
    }

    /// `!self`.
    #[must_use]
    pub fn negate(self) -> Self {
        Self {
            expr: self.expr.negated(),
        }
    }

    /// Whether this is `all()` and nothing else.
    pub fn is_all(&self) -> bool {
        self.expr == Expr::All
    }

    /// Whether this is `global()` and nothing else.
    pub fn is_global(&self) -> bool {
        self.expr == Expr::Global
    }

    /// Whether `global()` stands anywhere in it.
    pub fn mentions_global(&self) -> bool {
        self.expr.any(&mut |expr| *expr == Expr::Global)
    }
}
