//! What is wrong with settings, and where.

use std::fmt;

use crate::fault::Fault;

/// What is wrong with a value of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, from the settings down: `suffixes[1]`; empty for the whole.
    pub path: String,
    /// What, for the author of the policy.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "`{path}`: {}", self.message),
        }
    }
}

/// Why settings were not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettingsError {
    /// The plugin refuses them; never empty.
    #[error("the plugin refuses its settings: {}", listed(.0))]
    Refused(Vec<Problem>),
    /// The plugin failed at judging them.
    #[error("the plugin failed while it read its settings: {0}")]
    Fault(#[from] Fault),
}

fn listed(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}
