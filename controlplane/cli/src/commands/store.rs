//! `palisadectl store`: rows that the control plane cannot read, and the way to give them up.

use crate::{
    args::{Args, Format, Store},
    client::Client,
    failure::Failure,
    output, time,
};
use palisade_proto::v1::{
    AcceptUnreadableRequest, AcceptUnreadableResponse, AcceptedRow, ListUnreadableRequest,
    ListUnreadableResponse, UnreadableRow,
};
use serde_json::{Value, json};

pub(super) async fn run(args: &Args, store: &Store) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    match store {
        Store::Unreadable { output } => {
            let request = client.request(ListUnreadableRequest {});
            let answer = client.store().list_unreadable(request).await?;
            print!("{}", show(*output, &answer.into_inner())?);
        }
        Store::AcceptUnreadable { keys, dry_run } => {
            let request = client.request(AcceptUnreadableRequest {
                keys: keys.clone(),
                dry_run: *dry_run,
            });
            let answer = client.store().accept_unreadable(request).await?;
            print!("{}", told(&answer.into_inner(), *dry_run));
        }
    }
    Ok(0)
}

/// What an acceptance cost, or would cost.
fn told(answer: &AcceptUnreadableResponse, dry_run: bool) -> String {
    let mut text = String::new();
    let done = if dry_run {
        "would be accepted"
    } else {
        "accepted"
    };
    for row in &answer.rows {
        text += &format!("loss of `{}` {done} ({})\n", row.key, row.reason);
    }
    let go_on = match (answer.remaining.is_empty(), dry_run) {
        (true, true) => "their views would go on without it",
        (true, false) => "their views go on without it",
        (false, _) => "they stay frozen while another row that concerns them cannot be read",
    };
    text += &match answer.nodes.as_slice() {
        [] => "no node was frozen by it\n".to_owned(),
        nodes => format!(
            "{} frozen by it: {}; {go_on}\n",
            count(nodes.len()),
            nodes.join(", ")
        ),
    };
    for row in &answer.remaining {
        text += &format!("still not read: `{}` ({})\n", row.key, row.reason);
    }
    text
}

fn count(nodes: usize) -> String {
    match nodes {
        1 => "1 node".to_owned(),
        nodes => format!("{nodes} nodes"),
    }
}

fn value(row: &UnreadableRow) -> Value {
    json!({
        "key": row.key,
        "reason": row.reason,
        "freezes": row.freezes,
        "revision": row.revision,
        "value": String::from_utf8_lossy(&row.value),
    })
}

fn accepted_value(accepted: &AcceptedRow) -> Value {
    let mut value = accepted.row.as_ref().map_or(Value::Null, value);
    value["acceptedBy"] = json!(accepted.accepted_by);
    value["accepted"] = json!(time::rfc3339(accepted.accepted));
    value
}

fn show(format: Format, answer: &ListUnreadableResponse) -> Result<String, Failure> {
    let values = || {
        json!({
            "unreadable": answer.rows.iter().map(value).collect::<Vec<_>>(),
            "accepted": answer.accepted.iter().map(accepted_value).collect::<Vec<_>>(),
        })
    };
    match format {
        Format::Yaml => output::yaml(&values()),
        Format::Json => output::json(&values()),
        Format::Name => Ok(answer
            .rows
            .iter()
            .map(|row| row.key.clone() + "\n")
            .collect()),
        Format::Table | Format::Wide => {
            let standing = answer.rows.iter().map(|row| {
                let state = format!("freezes {}", row.freezes);
                vec![row.key.clone(), state, row.reason.clone()]
            });
            let accepted = answer.accepted.iter().map(|accepted| {
                let row = accepted.row.clone().unwrap_or_default();
                let at = time::rfc3339(accepted.accepted);
                let state = format!("accepted by {} at {at}", accepted.accepted_by);
                vec![row.key, state, row.reason]
            });
            let header = ["KEY", "STATE", "REASON"];
            Ok(output::table(&header, standing.chain(accepted)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_costs_is_said_before_and_after() {
        let row = |key: &str| UnreadableRow {
            key: key.to_owned(),
            reason: "it is of schema 2".to_owned(),
            ..UnreadableRow::default()
        };
        let mut answer = AcceptUnreadableResponse {
            rows: vec![row("/r/Tier/-/a")],
            nodes: vec!["n1".to_owned(), "n2".to_owned()],
            ..AcceptUnreadableResponse::default()
        };
        let before = told(&answer, true);
        assert!(before.contains("loss of `/r/Tier/-/a` would be accepted (it is of schema 2)"));
        assert!(before.contains("2 nodes frozen by it: n1, n2; their views would go on"));
        answer.remaining = vec![row("/r/Tier/-/b")];
        let after = told(&answer, false);
        assert!(after.contains("loss of `/r/Tier/-/a` accepted"));
        assert!(after.contains("still not read: `/r/Tier/-/b`"), "{after}");
    }
}
