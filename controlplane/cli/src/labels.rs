//! Labels on the command line.

use crate::failure::Failure;
use std::collections::BTreeMap;

/// `k=v,…`, or a JSON object of strings.
pub(crate) fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let text = text.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| {
            Failure::invalid(format!("--labels is not a JSON object of strings: {error}"))
        });
    }
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            pair.split_once('=')
                .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
                .ok_or_else(|| {
                    Failure::invalid(format!("`{pair}` is not a label"))
                        .hint("write --labels key=value,key=value")
                })
        })
        .collect()
}

/// As [`parse_labels`] reads them.
pub(crate) fn show_labels<'a>(
    labels: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> String {
    let pairs = labels
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs_or_json() {
        let pairs = parse_labels("role=db, env=").expect("pairs");
        assert_eq!(pairs.get("role").map(String::as_str), Some("db"));
        assert_eq!(pairs.get("env").map(String::as_str), Some(""));
        assert_eq!(
            parse_labels(r#"{"role": "db", "env": ""}"#).expect("JSON"),
            pairs
        );
        assert!(parse_labels("role").is_err());
        assert!(parse_labels(r#"{"role": 1}"#).is_err());
        assert!(parse_labels("").expect("none").is_empty());
    }
}
