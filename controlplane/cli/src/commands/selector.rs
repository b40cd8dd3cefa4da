//! `palisadectl selector`: try an expression.

use crate::{
    args::{Args, Selector as Asked},
    client::Client,
    failure::Failure,
    labels::parse_labels,
    unreadable,
};
use palisade_proto::v1::SelectRequest;
use palisade_selector::Selector;

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
        .into_inner();
    for resource in &picked.resources {
        if resource.namespace.is_empty() {
            println!("{}/{}", resource.kind, resource.name);
        } else {
            println!("{}/{}/{}", resource.kind, resource.namespace, resource.name);
        }
    }
    match (
        unreadable::warn(&picked.unreadable),
        picked.resources.is_empty(),
    ) {
        (0, true) => Ok(NO_MATCH),
        (code, _) => Ok(code),
    }
}
