//! Settings from JSON, with problems that say where.

use crate::Problem;

/// Reads settings into a type, usually one with `#[serde(deny_unknown_fields)]`.
///
/// # Errors
///
/// One problem, with the path of the value that does not fit: `suffixes[1]`.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Vec<Problem>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = match error.path().to_string() {
            whole if whole == "." => String::new(),
            path => path,
        };
        vec![problem(path, reason(error.inner()))]
    })
}

/// A problem at a path: `problem("suffixes[1]", "is empty")`.
pub fn problem(path: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        path: path.into(),
        message: message.into(),
    }
}

/// The message without line and column: authors of policies write YAML, and see the path instead.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        names: Vec<String>,
        #[serde(default)]
        limit: u8,
    }

    #[test]
    fn settings_that_fit_are_read() {
        let settings: Settings = parse(r#"{"names": ["a"], "limit": 3}"#).expect("fits");
        assert_eq!((settings.names.len(), settings.limit), (1, 3));
    }

    #[test]
    fn a_problem_names_the_path_of_the_value() {
        let problems = parse::<Settings>(r#"{"names": ["a", 5]}"#).expect_err("5 is no string");
        assert_eq!(problems[0].path, "names[1]");
        assert!(!problems[0].message.contains("line"), "{problems:?}");
    }

    #[test]
    fn an_unknown_field_is_a_problem() {
        let problems = parse::<Settings>(r#"{"names": [], "nmes": []}"#).expect_err("unknown");
        assert!(problems[0].message.contains("nmes"), "{problems:?}");
    }
}
