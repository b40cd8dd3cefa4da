//! Waiting until a write is enforced.

use crate::{client::Client, failure::Failure, status};
use palisade_proto::v1::{NodeStatus, WatchNodesRequest, WatchNodesResponse};
use std::time::Duration;

/// Ends when the compiler is past the revision, and what every connected node should enforce is what it enforces.
///
/// # Errors
///
/// Not converged (exit 4) when time runs out or a node refuses what it was sent.
pub(super) async fn enforced(
    client: &Client,
    revision: u64,
    limit: Duration,
) -> Result<(), Failure> {
    let mut behind = "the control plane has not answered".to_owned();
    match tokio::time::timeout(limit, watch(client, revision, &mut behind)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::not_converged(format!(
            "revision {revision} is written, but not enforced everywhere after {} s: {behind}",
            limit.as_secs_f32()
        ))
        .hint("`palisadectl nodes -o wide` shows who is behind and why")),
    }
}

async fn watch(client: &Client, revision: u64, behind: &mut String) -> Result<(), Failure> {
    let mut stream = client
        .observe()
        .watch_nodes(WatchNodesRequest {})
        .await?
        .into_inner();
    while let Some(answer) = stream.message().await? {
        match judge(&answer, revision) {
            Progress::Done => return Ok(()),
            Progress::Behind(reason) => *behind = reason,
            Progress::Refused(reason) => {
                return Err(Failure::not_converged(reason)
                    .hint("the last good policy is still enforced there; correct the resource and apply again"));
            }
        }
    }
    Err(Failure::unreachable("the control plane ended the watch"))
}

#[derive(Debug, PartialEq)]
enum Progress {
    Done,
    Behind(String),
    Refused(String),
}

fn judge(answer: &WatchNodesResponse, revision: u64) -> Progress {
    if answer.compiled < revision {
        return Progress::Behind(format!("the compiler is at revision {}", answer.compiled));
    }
    let connected: Vec<&NodeStatus> = answer.nodes.iter().filter(|n| n.connected).collect();
    if let Some((node, condition)) = connected.iter().find_map(|n| {
        let degraded = n.conditions.iter().find(|c| c.r#type == "Degraded")?;
        Some((n, degraded))
    }) {
        return Progress::Refused(format!(
            "node `{}` is degraded: {}",
            node.name, condition.message
        ));
    }
    let waiting: Vec<&str> = connected
        .iter()
        .filter(|n| !status::converged(n))
        .map(|n| n.name.as_str())
        .collect();
    if waiting.is_empty() {
        Progress::Done
    } else {
        Progress::Behind(format!("waiting for {}", waiting.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_proto::v1::{Condition, Position};

    fn node(desired: u8, enforced: u8) -> NodeStatus {
        let position = |d: u8| {
            Some(Position {
                epoch: vec![0; 16],
                revision: 1,
                digest: vec![d; 32],
            })
        };
        NodeStatus {
            name: "n".into(),
            connected: true,
            desired: position(desired),
            enforced: position(enforced),
            ..NodeStatus::default()
        }
    }

    fn answer(compiled: u64, nodes: Vec<NodeStatus>) -> WatchNodesResponse {
        WatchNodesResponse { nodes, compiled }
    }

    #[test]
    fn equal_digests_past_the_revision_are_done() {
        assert_eq!(judge(&answer(5, vec![node(1, 1)]), 5), Progress::Done);
    }

    #[test]
    fn an_older_compiler_or_another_digest_is_behind() {
        assert!(matches!(
            judge(&answer(4, vec![node(1, 1)]), 5),
            Progress::Behind(_)
        ));
        assert!(matches!(
            judge(&answer(5, vec![node(1, 2)]), 5),
            Progress::Behind(_)
        ));
    }

    #[test]
    fn a_disconnected_node_is_not_waited_for() {
        let gone = NodeStatus {
            connected: false,
            ..node(1, 2)
        };
        assert_eq!(judge(&answer(5, vec![gone]), 5), Progress::Done);
    }

    #[test]
    fn a_degraded_node_ends_the_wait_even_when_digests_agree() {
        let mut refused = node(1, 1);
        refused.conditions.push(Condition {
            r#type: "Degraded".into(),
            ..Condition::default()
        });
        assert!(matches!(
            judge(&answer(5, vec![refused]), 5),
            Progress::Refused(_)
        ));
    }
}
