//! Canonical text: the identity of a selector across spellings (Calico's normal form).

use std::collections::BTreeSet;
use std::fmt::{Display, Formatter, Result};

use crate::ast::{Expr, Label, Literal, Selector};

impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.expr.fmt(f)
    }
}

impl Display for Label {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.as_str())
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let quote = if self.as_str().contains('"') {
            '\''
        } else {
            '"'
        };
        write!(f, "{quote}{}{quote}", self.as_str())
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(label) => write!(f, "has({label})"),
            Self::Equal(label, value) => write!(f, "{label} == {value}"),
            Self::NotEqual(label, value) => write!(f, "{label} != {value}"),
            Self::In(label, values) => set(f, label, "in", values),
            Self::NotIn(label, values) => set(f, label, "not in", values),
            Self::Contains(label, value) => write!(f, "{label} contains {value}"),
            Self::StartsWith(label, value) => write!(f, "{label} starts with {value}"),
            Self::EndsWith(label, value) => write!(f, "{label} ends with {value}"),
            Self::Not(inner) => write!(f, "!{inner}"),
            Self::And(terms) => joined(f, terms, " && "),
            Self::Or(terms) => joined(f, terms, " || "),
        }
    }
}

fn set(f: &mut Formatter<'_>, label: &Label, operator: &str, values: &BTreeSet<Literal>) -> Result {
    write!(f, "{label} {operator} {{")?;
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{value}")?;
    }
    f.write_str("}")
}

fn joined(f: &mut Formatter<'_>, terms: &[Expr], operator: &str) -> Result {
    f.write_str("(")?;
    for (index, term) in terms.iter().enumerate() {
        let before = if index == 0 { "" } else { operator };
        write!(f, "{before}{term}")?;
    }
    f.write_str(")")
}
