//! `palisadectl selector`: try an expression.

use crate::{
    args::{Args, Selector as Asked},
    client::Client,
    failure::Failure,
};
use palisade_proto::v1::SelectRequest;
use palisade_selector::Selector;
use std::collections::BTreeMap;

/// Exit code of an expression that picks nothing.
const NO_MATCH: u8 = 3;

pub(super) async fn run(args: &Args, asked: &Asked) -> Result<u8, Failure> {
    let selector = Selector::parse(&asked.expression).map_err(|error| {
        let caret = format!(
            "\n  {}\n  {}{}",
            asked.expression.replace(['\n', '\t'], " "),
            " ".repeat(columns(&asked.expression, error.offset)),
            "^".repeat(error.length.max(1))
        );
        Failure::invalid(format!("invalid selector: {error}{caret}"))
    })?;
    match &asked.labels {
        Some(labels) => {
            let matched = selector.matches(&parse_labels(labels)?);
            println!("{}", if matched { "match" } else { "no match" });
            Ok(if matched { 0 } else { NO_MATCH })
        }
        None => select(args, asked).await,
    }
}

/// Characters before the byte offset.
fn columns(text: &str, offset: usize) -> usize {
    text.char_indices()
        .take_while(|(at, _)| *at < offset)
        .count()
}

async fn select(args: &Args, asked: &Asked) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    let picked = client
        .analysis()
        .select(client.request(SelectRequest {
            selector: asked.expression.clone(),
        }))
        .await?
        .into_inner()
        .resources;
    for resource in &picked {
        if resource.namespace.is_empty() {
            println!("{}/{}", resource.kind, resource.name);
        } else {
            println!("{}/{}/{}", resource.kind, resource.namespace, resource.name);
        }
    }
    Ok(if picked.is_empty() { NO_MATCH } else { 0 })
}

/// `k=v,…`, or a JSON object of strings.
fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, Failure> {
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
