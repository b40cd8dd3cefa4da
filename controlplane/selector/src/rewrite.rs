//! Rewriting on the tree: what the compiler does to namespace and service-account selectors.
//!
//! On the tree and not on the text, since a string literal may contain `all()`.

use thiserror::Error;

use crate::ast::{Expr, Label, Selector};

/// A label would grow beyond [`Label::MAX`]; no resource can carry such a label.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("label `{label}` is too long to be prefixed by `{prefix}`")]
pub struct PrefixTooLong {
    /// The label as written.
    pub label: Box<str>,
    /// What was to stand before it.
    pub prefix: Box<str>,
}

impl Selector {
    /// Every label with `prefix` before it, such as `pcns.`.
    ///
    /// # Errors
    ///
    /// Where a label would become longer than the language can write, or the prefix is not made of label characters.
    pub fn with_label_prefix(&self, prefix: &str) -> Result<Self, PrefixTooLong> {
        let relabel = |label: &Label| {
            Label::new(&format!("{prefix}{}", label.as_str())).ok_or_else(|| PrefixTooLong {
                label: label.as_str().into(),
                prefix: prefix.into(),
            })
        };
        Ok(Self {
            expr: relabelled(&self.expr, &relabel)?,
        })
    }

    /// Every `all()` replaced by `by`.
    #[must_use]
    pub fn replace_all(&self, by: &Self) -> Self {
        self.replace(&Expr::All, by)
    }

    /// Every `global()` replaced by `by`.
    #[must_use]
    pub fn replace_global(&self, by: &Self) -> Self {
        self.replace(&Expr::Global, by)
    }

    fn replace(&self, what: &Expr, by: &Self) -> Self {
        Self {
            expr: replaced(&self.expr, what, &by.expr),
        }
    }
}

fn relabelled<E>(expr: &Expr, relabel: &impl Fn(&Label) -> Result<Label, E>) -> Result<Expr, E> {
    let each = |terms: &[Expr]| {
        terms
            .iter()
            .map(|term| relabelled(term, relabel))
            .collect::<Result<Vec<_>, E>>()
    };
    Ok(match expr {
        Expr::All => Expr::All,
        Expr::Global => Expr::Global,
        Expr::Has(label) => Expr::Has(relabel(label)?),
        Expr::Equal(label, value) => Expr::Equal(relabel(label)?, value.clone()),
        Expr::NotEqual(label, value) => Expr::NotEqual(relabel(label)?, value.clone()),
        Expr::In(label, values) => Expr::In(relabel(label)?, values.clone()),
        Expr::NotIn(label, values) => Expr::NotIn(relabel(label)?, values.clone()),
        Expr::Contains(label, value) => Expr::Contains(relabel(label)?, value.clone()),
        Expr::StartsWith(label, value) => Expr::StartsWith(relabel(label)?, value.clone()),
        Expr::EndsWith(label, value) => Expr::EndsWith(relabel(label)?, value.clone()),
        Expr::Not(inner) => Expr::Not(Box::new(relabelled(inner, relabel)?)),
        Expr::And(terms) => Expr::And(each(terms)?),
        Expr::Or(terms) => Expr::Or(each(terms)?),
    })
}

fn replaced(expr: &Expr, what: &Expr, by: &Expr) -> Expr {
    let each = |terms: &[Expr]| terms.iter().map(|term| replaced(term, what, by)).collect();
    match expr {
        same if same == what => by.clone(),
        Expr::Not(inner) => replaced(inner, what, by).negated(),
        Expr::And(terms) => Expr::And(each(terms)),
        Expr::Or(terms) => Expr::Or(each(terms)),
        leaf => leaf.clone(),
    }
}
