//! Evaluation over labels. Byte-exact and case-sensitive; an absent label differs from an empty one.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use crate::ast::{Expr, Label, Selector};

/// Something that has labels.
pub trait Labels {
    /// The value of `key`, `None` where the label is absent.
    fn label(&self, key: &str) -> Option<&str>;
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Labels for BTreeMap<K, V> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
}

impl<K: Borrow<str> + Hash + Eq, V: AsRef<str>, S: BuildHasher> Labels for HashMap<K, V, S> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
}

impl Selector {
    /// Whether the labels satisfy the selector. `global()` counts as true: it is rewritten beforehand where it means something.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        evaluate(&self.expr, labels)
    }
}

fn evaluate(expr: &Expr, labels: &(impl Labels + ?Sized)) -> bool {
    let holds =
        |label: &Label, test: &dyn Fn(&str) -> bool| labels.label(label.as_str()).is_some_and(test);
    match expr {
        Expr::All | Expr::Global => true,
        Expr::Has(label) => labels.label(label.as_str()).is_some(),
        Expr::Equal(label, value) => holds(label, &|v| v == value.as_str()),
        Expr::NotEqual(label, value) => !holds(label, &|v| v == value.as_str()),
        Expr::In(label, values) => holds(label, &|v| values.contains(v)),
        Expr::NotIn(label, values) => !holds(label, &|v| values.contains(v)),
        Expr::Contains(label, value) => holds(label, &|v| v.contains(value.as_str())),
        Expr::StartsWith(label, value) => holds(label, &|v| v.starts_with(value.as_str())),
        Expr::EndsWith(label, value) => holds(label, &|v| v.ends_with(value.as_str())),
        Expr::Not(inner) => !evaluate(inner, labels),
        Expr::And(terms) => terms.iter().all(|term| evaluate(term, labels)),
        Expr::Or(terms) => terms.iter().any(|term| evaluate(term, labels)),
    }
}
