//! The parser. Parentheses are kept on a stack of our own, so no input can exhaust the thread's stack.

use std::collections::BTreeSet;

use crate::ast::{Expr, Literal, Selector};
use crate::error::{ParseError, ParseErrorKind};
use crate::token::Cursor;

/// A group that is still open: the whole text, or what stands behind a `(`.
struct Group {
    /// Offset of the parenthesis.
    opened: usize,
    /// Whether an odd number of `!` stood before it.
    negated: bool,
    /// Closed terms of the `||`.
    any: Vec<Expr>,
    /// Terms of the `&&` that is being read.
    all: Vec<Expr>,
    /// Depth of the deepest closed term of the `||`.
    any_depth: usize,
    /// Depth of the deepest term of the `&&`.
    all_depth: usize,
}

/// A term and how deep its tree is.
struct Term {
    expr: Expr,
    depth: usize,
}

impl Selector {
    /// Deepest tree the parser builds. What fits the 1024 characters of a resource field never reaches it.
    pub const MAX_DEPTH: usize = 256;

    /// Parses a selector. Blanks may surround it; an empty one is `all()`.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text);
        cursor.skip_blanks();
        if cursor.at_end() {
            return Ok(Self::all());
        }
        let mut outer = Vec::new();
        let mut group = Group::open(0, false);
        loop {
            let negated = negations(&mut cursor);
            let opened = cursor.offset();
            if cursor.take("(") {
                outer.push(std::mem::replace(&mut group, Group::open(opened, negated)));
                continue;
            }
            group.add(
                Term {
                    expr: primary(&mut cursor)?,
                    depth: 1,
                }
                .negated_if(negated),
            );
            if !connective(&mut cursor, &mut group, &mut outer)? {
                return Ok(Self {
                    expr: group.close(&cursor)?.expr,
                });
            }
        }
    }
}

/// Reads what follows a term up to the next one, closing groups on the way; false at the end of the text.
fn connective(
    cursor: &mut Cursor<'_>,
    group: &mut Group,
    outer: &mut Vec<Group>,
) -> Result<bool, ParseError> {
    loop {
        cursor.skip_blanks();
        if cursor.take("&&") {
            return Ok(true);
        }
        if cursor.take("||") {
            group.end_of_all();
            return Ok(true);
        }
        if cursor.at_end() {
            return match outer.is_empty() {
                true => Ok(false),
                false => {
                    let kind = ParseErrorKind::UnclosedParenthesis;
                    Err(ParseError {
                        offset: group.opened,
                        length: 1,
                        kind,
                    })
                }
            };
        }
        match (cursor.rest().starts_with(')'), outer.pop()) {
            (true, Some(surrounding)) => {
                cursor.take(")");
                let term = std::mem::replace(group, surrounding).close(cursor)?;
                group.add(term);
            }
            _ => return Err(cursor.unexpected(ParseErrorKind::TrailingContent)),
        }
    }
}

/// Reads `!`s with blanks between and after them; true for an odd number.
fn negations(cursor: &mut Cursor<'_>) -> bool {
    let mut negated = false;
    cursor.skip_blanks();
    while cursor.take("!") {
        negated = !negated;
        cursor.skip_blanks();
    }
    negated
}

fn primary(cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
    if cursor.take("has(") {
        cursor.skip_blanks();
        let label = cursor.label(ParseErrorKind::ExpectedLabel)?;
        return end_of_function(cursor, "has").map(|()| Expr::Has(label));
    }
    if cursor.take("all(") {
        return end_of_function(cursor, "all").map(|()| Expr::All);
    }
    if cursor.take("global(") {
        return end_of_function(cursor, "global").map(|()| Expr::Global);
    }
    comparison(cursor)
}

fn end_of_function(cursor: &mut Cursor<'_>, name: &'static str) -> Result<(), ParseError> {
    cursor.skip_blanks();
    match cursor.take(")") {
        true => Ok(()),
        false => Err(cursor.unexpected(ParseErrorKind::UnclosedFunction(name))),
    }
}

fn comparison(cursor: &mut Cursor<'_>) -> Result<Expr, ParseError> {
    let label = cursor.label(ParseErrorKind::ExpectedTerm)?;
    cursor.skip_blanks();
    if cursor.take("==") {
        return Ok(Expr::Equal(label, string(cursor)?));
    }
    if cursor.take("!=") {
        return Ok(Expr::NotEqual(label, string(cursor)?));
    }
    if cursor.take_word("contains") {
        return Ok(Expr::Contains(label, string(cursor)?));
    }
    if cursor.take_words("starts", "with") {
        return Ok(Expr::StartsWith(label, string(cursor)?));
    }
    if cursor.take_words("ends", "with") {
        return Ok(Expr::EndsWith(label, string(cursor)?));
    }
    if cursor.take_word("in") {
        return Ok(Expr::In(label, set(cursor)?));
    }
    if cursor.take_words("not", "in") {
        return Ok(Expr::NotIn(label, set(cursor)?));
    }
    let name = label.as_str().into();
    Err(cursor.unexpected(match label.as_str() {
        "has" | "all" | "global" => ParseErrorKind::FunctionWithoutParenthesis(name),
        _ => ParseErrorKind::ExpectedOperator(name),
    }))
}

fn string(cursor: &mut Cursor<'_>) -> Result<Literal, ParseError> {
    cursor.skip_blanks();
    cursor.string()
}

/// `{'a', 'b'}`; empty sets and a trailing comma are accepted, a leading one is not.
fn set(cursor: &mut Cursor<'_>) -> Result<BTreeSet<Literal>, ParseError> {
    cursor.skip_blanks();
    if !cursor.take("{") {
        return Err(cursor.unexpected(ParseErrorKind::ExpectedSet));
    }
    let mut values = BTreeSet::new();
    loop {
        cursor.skip_blanks();
        if cursor.take("}") {
            return Ok(values);
        }
        values.insert(cursor.string()?);
        cursor.skip_blanks();
        if !cursor.take(",") && !cursor.rest().starts_with('}') {
            return Err(cursor.unexpected(ParseErrorKind::ExpectedSetEnd));
        }
    }
}

// === impl Group ===

impl Group {
    fn open(opened: usize, negated: bool) -> Self {
        Self {
            opened,
            negated,
            any: Vec::new(),
            all: Vec::new(),
            any_depth: 0,
            all_depth: 0,
        }
    }

    fn add(&mut self, term: Term) {
        self.all_depth = self.all_depth.max(term.depth);
        self.all.push(term.expr);
    }

    fn end_of_all(&mut self) {
        let terms = std::mem::take(&mut self.all);
        let depth = std::mem::take(&mut self.all_depth) + usize::from(terms.len() > 1);
        self.any_depth = self.any_depth.max(depth);
        self.any.push(Expr::all_of(terms));
    }

    fn close(mut self, cursor: &Cursor<'_>) -> Result<Term, ParseError> {
        self.end_of_all();
        let depth = self.any_depth + usize::from(self.any.len() > 1);
        let term = Term {
            expr: Expr::any_of(self.any),
            depth,
        }
        .negated_if(self.negated);
        match term.depth > Selector::MAX_DEPTH {
            true => Err(ParseError {
                offset: self.opened,
                length: cursor.offset() - self.opened,
                kind: ParseErrorKind::TooDeep,
            }),
            false => Ok(term),
        }
    }
}

// === impl Term ===

impl Term {
    fn negated_if(self, negated: bool) -> Self {
        match (negated, self.expr) {
            (false, expr) => Self {
                expr,
                depth: self.depth,
            },
            // A negation is at least two deep: itself and what it negates.
            (true, Expr::Not(inner)) => Self {
                expr: *inner,
                depth: self.depth - 1,
            },
            (true, expr) => Self {
                expr: expr.negated(),
                depth: self.depth + 1,
            },
        }
    }
}
