//! What can be wrong with a selector, and where.

use thiserror::Error;

/// A refusal with its place: bytes from the start of the selector, on character boundaries.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ParseError {
    /// Where it begins, in bytes.
    pub offset: usize,
    /// How far it reaches, in bytes; 0 only at the end of the text.
    pub length: usize,
    /// What is wrong.
    pub kind: ParseErrorKind,
}

/// What is wrong, in Calico's words where Calico has words for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseErrorKind {
    /// A quote without its twin.
    #[error("unterminated string")]
    UnterminatedString,
    /// `=` alone, or `===`.
    #[error("expected `==`")]
    LoneEquals,
    /// `&` alone.
    #[error("expected `&&`")]
    LoneAmpersand,
    /// `|` alone.
    #[error("expected `||`")]
    LonePipe,
    /// A line feed or carriage return outside a string.
    #[error("a selector contains no line break; in YAML use `>-` or `|-` for a long one")]
    LineBreak,
    /// More than [`crate::Label::MAX`] characters.
    #[error("label too long: {0} characters, at most 512")]
    LabelTooLong(usize),
    /// A term was wanted.
    #[error("expected a label, `has(`, `all(`, `global(`, `!` or `(`")]
    ExpectedTerm,
    /// A bare word `has`, `all` or `global`, perhaps with a blank before the parenthesis.
    #[error(
        "expected operator after label `{0}`; as a function it is written `{0}(` without a blank"
    )]
    FunctionWithoutParenthesis(Box<str>),
    /// Something other than an operator after a label.
    #[error("expected operator after label `{0}`")]
    ExpectedOperator(Box<str>),
    /// A label was wanted between the parentheses of `has(`.
    #[error("expected a label after `has(`")]
    ExpectedLabel,
    /// `has(`, `all(` or `global(` is not closed.
    #[error("no closing `)` after `{0}(`")]
    UnclosedFunction(&'static str),
    /// A quoted string was wanted.
    #[error("expected a quoted string")]
    ExpectedString,
    /// `{` was wanted after `in` or `not in`.
    #[error("expected a set such as {{'a', 'b'}}")]
    ExpectedSet,
    /// `,` or `}` was wanted inside a set.
    #[error("expected `,` or `}}`")]
    ExpectedSetEnd,
    /// A parenthesis is not closed.
    #[error("expected `)` for this `(`")]
    UnclosedParenthesis,
    /// The selector is complete, and more follows.
    #[error("unexpected content at end of selector")]
    TrailingContent,
    /// More nesting than [`crate::Selector::MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
}
