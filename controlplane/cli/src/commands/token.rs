//! `palisadectl token`: join tokens.

use crate::{
    args::{Args, Format, Token},
    client::Client,
    failure::Failure,
    output,
    time::rfc3339 as time,
    unreadable,
};
use palisade_proto::v1::{CreateTokenRequest, DeleteTokenRequest, ListTokensRequest};
use serde_json::{Value, json};

pub(super) async fn run(args: &Args, token: &Token) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    let mut tokens = client.tokens();
    match token {
        Token::Create { node, ttl } => {
            let answer = tokens
                .create_token(client.request(CreateTokenRequest {
                    node_name: node.clone().unwrap_or_default(),
                    ttl_seconds: ttl.as_secs(),
                }))
                .await?
                .into_inner();
            println!("{}", answer.token);
        }
        Token::List { output } => {
            let answer = tokens
                .list_tokens(client.request(ListTokensRequest {}))
                .await?
                .into_inner();
            let values: Vec<Value> = answer
                .tokens
                .iter()
                .map(|t| {
                    json!({
                        "id": t.id, "node": t.node_name, "created": time(t.created),
                        "expires": time(t.expires), "used": t.used,
                    })
                })
                .collect();
            print!("{}", show(*output, values)?);
            return Ok(unreadable::warn(&answer.unreadable));
        }
        Token::Delete { id } => {
            tokens
                .delete_token(client.request(DeleteTokenRequest { id: id.clone() }))
                .await?;
            println!("token `{id}` deleted");
        }
    }
    Ok(0)
}

fn show(format: Format, values: Vec<Value>) -> Result<String, Failure> {
    let text = |v: &Value, field: &str| match v.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    match format {
        Format::Yaml => output::yaml(&Value::Array(values)),
        Format::Json => output::json(&Value::Array(values)),
        Format::Name => Ok(values.iter().map(|v| text(v, "id") + "\n").collect()),
        Format::Table | Format::Wide => Ok(output::table(
            &["ID", "NODE", "CREATED", "EXPIRES", "USED"],
            values.iter().map(|v| {
                ["id", "node", "created", "expires", "used"]
                    .iter()
                    .map(|field| text(v, field))
                    .collect()
            }),
        )),
    }
}
