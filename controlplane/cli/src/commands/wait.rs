//! Waiting until a write is enforced.

use crate::{client::Client, failure::Failure, status};
use palisade_proto::v1::{Condition, NodeStatus, WatchNodesRequest, WatchNodesResponse};
use std::time::Duration;

/// Ends when the compiler is past the revision, and what every connected node should enforce is what it enforces.
/// A node whose machine failed tries again by itself, and is waited for.
///
/// # Errors
///
/// Not converged (exit 4) when time runs out or a node refuses what it was sent.
pub(super) async fn enforced(
    client: &Client,
    revision: u64,
    limit: Duration,
) -> Result<(), Failure> {
    let mut behind = Behind::because("the control plane has not answered");
    match tokio::time::timeout(limit, watch(client, revision, &mut behind)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::not_converged(format!(
            "revision {revision} is written, but not enforced everywhere after {} s: {}",
            limit.as_secs_f32(),
            behind.reason
        ))
        .hint(behind.hint)),
    }
}

async fn watch(client: &Client, revision: u64, behind: &mut Behind) -> Result<(), Failure> {
    let mut stream = client
        .observe()
        .watch_nodes(WatchNodesRequest {})
        .await?
        .into_inner();
    while let Some(answer) = stream.message().await? {
        match judge(&answer, revision) {
            Progress::Done => return Ok(()),
            Progress::Behind(now) => *behind = now,
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
    Behind(Behind),
    Refused(String),
}

/// Why the wait goes on, and what to do about it if it goes on for too long.
#[derive(Debug, PartialEq)]
struct Behind {
    reason: String,
    hint: &'static str,
}

impl Behind {
    fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: "`palisadectl nodes -o wide` shows who is behind and why",
        }
    }
}

fn judge(answer: &WatchNodesResponse, revision: u64) -> Progress {
    if answer.compiled < revision {
        let reason = format!("the compiler is at revision {}", answer.compiled);
        return Progress::Behind(Behind::because(reason));
    }
    let connected: Vec<&NodeStatus> = answer.nodes.iter().filter(|n| n.connected).collect();
    let degraded: Vec<_> = connected
        .iter()
        .filter_map(|n| {
            let degraded = n.conditions.iter().find(|c| c.r#type == "Degraded")?;
            Some((n, degraded))
        })
        .collect();
    let is_fault = |condition: &Condition| condition.reason == status::MACHINE_FAULT;
    if let Some((node, condition)) = degraded.iter().find(|(_, c)| !is_fault(c)) {
        return Progress::Refused(format!(
            "node `{}` is degraded: {}",
            node.name, condition.message
        ));
    }
    if let Some((node, condition)) = degraded.first() {
        return Progress::Behind(Behind {
            reason: format!(
                "the machine of node `{}` fails: {}",
                node.name, condition.message
            ),
            hint: "mend the machine, not the resource: the node takes the change by itself once it can",
        });
    }
    let waiting: Vec<&str> = connected
        .iter()
        .filter(|n| !status::converged(n))
        .map(|n| n.name.as_str())
        .collect();
    if waiting.is_empty() {
        Progress::Done
    } else {
        Progress::Behind(Behind::because(format!(
            "waiting for {}",
            waiting.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_proto::v1::Position;

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

    #[test]
    fn a_node_whose_machine_fails_is_waited_for_and_no_resource_is_blamed() {
        let degraded = |reason: &str| {
            let mut node = node(1, 2);
            node.conditions.push(Condition {
                r#type: "Degraded".into(),
                reason: reason.into(),
                message: "no space left on device".into(),
            });
            node
        };
        let Progress::Behind(behind) = judge(&answer(5, vec![degraded("MachineFault")]), 5) else {
            panic!("it goes on");
        };
        assert!(behind.reason.contains("no space left on device"));
        assert!(behind.hint.contains("machine"), "{}", behind.hint);
        let both = vec![degraded("MachineFault"), degraded("Rejected")];
        assert!(matches!(judge(&answer(5, both), 5), Progress::Refused(_)));
    }

    #[test]
    fn a_node_that_takes_its_word_back_is_waited_for() {
        let unknown = NodeStatus {
            enforced: None,
            ..node(1, 1)
        };
        assert!(matches!(
            judge(&answer(5, vec![unknown]), 5),
            Progress::Behind(_)
        ));
    }
}
