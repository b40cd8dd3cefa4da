//! A suffix of names, as the settings write it.

use crate::question::Name;

/// `example.org` (the name and below) or `.example.org` (below only).
#[derive(Debug)]
pub(crate) struct Suffix {
    /// In lower case, first to last.
    labels: Vec<Vec<u8>>,
    /// Whether the name itself is left out.
    below_only: bool,
}

impl Suffix {
    /// Reads a suffix. A final dot is allowed.
    ///
    /// # Errors
    ///
    /// What is wrong, without the suffix.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, below_only) = match text.strip_prefix('.') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            return Err("names no domain");
        }
        let labels: Vec<Vec<u8>> = name
            .split('.')
            .map(|label| label.to_ascii_lowercase().into_bytes())
            .collect();
        if labels
            .iter()
            .any(|label| label.is_empty() || label.len() > 63)
        {
            return Err("has a label that is not of 1 to 63 bytes");
        }
        if name.len() > 253 {
            return Err("is longer than 253 bytes");
        }
        if !name.is_ascii() {
            return Err("is not ASCII: write international names in their xn-- form");
        }
        Ok(Self { labels, below_only })
    }

    /// Whether the name ends in this suffix. Case does not count (RFC 4343).
    pub(crate) fn holds(&self, name: &Name<'_>) -> bool {
        let Some(before) = name.len().checked_sub(self.labels.len()) else {
            return false;
        };
        if self.below_only && before == 0 {
            return false;
        }
        name[before..]
            .iter()
            .zip(&self.labels)
            .all(|(label, wanted)| label.eq_ignore_ascii_case(wanted))
    }
}
