//! What generated worlds and packets reached, counted by area, so that a strategy that stops reaching a field fails.

use crate::document::World;
use crate::oracle::{Judgement, Reason};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Counts by area and what in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage(BTreeMap<(&'static str, String), u64>);

impl Coverage {
    /// Nothing reached.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one.
    pub fn count(&mut self, area: &'static str, what: impl Into<String>) {
        *self.0.entry((area, what.into())).or_default() += 1;
    }

    /// Counts the fields that the documents of a world have.
    pub fn world(&mut self, world: &World) {
        for document in &world.documents {
            self.count("kind", document.kind());
            let json = document.to_json();
            let spec = json.get("spec").unwrap_or(&Value::Null);
            let mut fields = Vec::new();
            collect(spec, String::new(), &mut fields);
            fields.sort_unstable();
            fields.dedup();
            for field in fields {
                self.count("field", format!("{}{field}", document.kind()));
            }
        }
    }

    /// Counts what decided about a packet.
    pub fn judgement(&mut self, judgement: &Judgement) {
        self.count("verdict", format!("{:?}", judgement.verdict));
        for (stage, reason) in &judgement.stages {
            self.count("stage", format!("{stage:?}: {}", word(reason)));
        }
        for look in &judgement.looks {
            let held = if look.held { "held" } else { "missed" };
            self.count("condition", format!("{}.{} {held}", look.end, look.field));
        }
    }

    /// How often something was reached.
    pub fn get(&self, area: &str, what: &str) -> u64 {
        let all = self.0.iter();
        all.filter(|((a, w), _)| *a == area && w == what)
            .map(|(_, count)| count)
            .sum()
    }

    /// Of `wanted`, as area and what, those never reached.
    pub fn missing<'a>(&self, wanted: &'a [(&str, String)]) -> Vec<&'a (&'a str, String)> {
        let never = |(area, what): &&(&str, String)| self.get(area, what) == 0;
        wanted.iter().filter(never).collect()
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: Self) {
        for (key, count) in other.0 {
            *self.0.entry(key).or_default() += count;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((area, what), count) in &self.0 {
            if *area != last {
                writeln!(f, "{area}")?;
                last = area;
            }
            writeln!(f, "  {count:>9}  {what}")?;
        }
        Ok(())
    }
}

/// Paths of a document; places in lists are all alike.
fn collect(value: &Value, path: String, fields: &mut Vec<String>) {
    match value {
        // Its keys are anyone's.
        Value::Object(_) if path.ends_with("labelsToApply") => fields.push(path),
        Value::Object(map) => {
            for (key, value) in map {
                collect(value, format!("{path}.{key}"), fields);
            }
        }
        Value::Array(list) => {
            fields.push(path.clone());
            for value in list {
                collect(value, path.clone(), fields);
            }
        }
        _ => fields.push(path),
    }
}

fn word(reason: &Reason) -> String {
    match reason {
        Reason::Rule { kind, .. } => format!("Rule of {kind}"),
        Reason::TierEnd(_) => "TierEnd".to_owned(),
        Reason::MissingProfile(_) => "MissingProfile".to_owned(),
        other => format!("{other:?}"),
    }
}
