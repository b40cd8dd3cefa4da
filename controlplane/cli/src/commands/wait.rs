//! Waiting until a write is enforced.

use crate::{client::Client, failure::Failure, status};
use palisade_proto::v1::{Condition, NodeStatus, WatchNodesRequest, WatchNodesResponse};
use std::time::Duration;

/// Ends when the compiler is past the revision, and what every node should enforce is what it enforces, as it said last.
/// A node whose machine failed tries again by itself, and is waited for. So is one that is not connected and did not say
/// that it enforces its view: its rules may be older, and nobody else can tell.
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
    let connected = answer.nodes.iter().filter(|n| n.connected);
    let degraded = |conditions: &[Condition]| {
        let mut found = conditions.iter().filter(|c| c.r#type == "Degraded");
        found.next().cloned()
    };
    let is_fault = |condition: &Condition| condition.reason == status::MACHINE_FAULT;
    let mut faulty = None;
    for node in connected {
        match degraded(&node.conditions) {
            Some(refused) if !is_fault(&refused) => {
                return Progress::Refused(format!(
                    "node `{}` is degraded: {}",
                    node.name, refused.message
                ));
            }
            Some(fault) => faulty = faulty.or(Some((node, fault))),
            // The node itself knows first, and blames no resource.
            None if !status::converged(node) => {
                let own = node.report.as_ref();
                let own = own.and_then(|report| degraded(&report.conditions));
                faulty = faulty.or(own.map(|fault| (node, fault)));
            }
            None => {}
        }
    }
    if let Some((node, fault)) = faulty {
        return Progress::Behind(Behind {
            reason: format!(
                "the machine of node `{}` fails: {}",
                node.name, fault.message
            ),
            hint: "mend the machine, not the resource: the node takes the change by itself once it can",
        });
    }
    // A node whose view the change leaves as it was said so earlier, and one without a view is to enforce nothing.
    let behind = |node: &&NodeStatus| node.desired.is_some() && !status::converged(node);
    let (waiting, absent): (Vec<_>, Vec<_>) = answer
        .nodes
        .iter()
        .filter(behind)
        .partition(|node| node.connected);
    let names = |nodes: &[&NodeStatus]| {
        let names: Vec<_> = nodes
            .iter()
            .map(|node| format!("`{}`", node.name))
            .collect();
        names.join(", ")
    };
    if !absent.is_empty() {
        let mut reason = format!("not connected: {}", names(&absent));
        if !waiting.is_empty() {
            reason.push_str(&format!("; waiting for {}", names(&waiting)));
        }
        return Progress::Behind(Behind {
            reason,
            hint: "a node takes the change once its daemon is connected; `palisadectl delete node NAME` if it never will be",
        });
    }
    if waiting.is_empty() {
        return Progress::Done;
    }
    Progress::Behind(Behind::because(format!("waiting for {}", names(&waiting))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_proto::v1::{NodeReport, Position};

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
    fn a_node_that_is_not_connected_is_named_unless_it_enforces_its_view() {
        let gone = |desired, enforced| NodeStatus {
            connected: false,
            ..node(desired, enforced)
        };
        let told = |nodes| match judge(&answer(5, nodes), 5) {
            Progress::Behind(behind) => behind.reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(told(vec![gone(1, 2)]), "not connected: `n`");
        let never = NodeStatus {
            enforced: None,
            ..gone(1, 1)
        };
        assert_eq!(told(vec![never, node(1, 1)]), "not connected: `n`");
        let both = told(vec![gone(1, 2), node(1, 2)]);
        assert_eq!(both, "not connected: `n`; waiting for `n`");
        assert_eq!(judge(&answer(5, vec![gone(1, 1)]), 5), Progress::Done);
    }

    #[test]
    fn a_node_without_a_view_is_not_waited_for() {
        let deleted = NodeStatus {
            desired: None,
            ..node(1, 1)
        };
        assert_eq!(judge(&answer(5, vec![deleted]), 5), Progress::Done);
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
        let mut own = node(1, 2);
        own.report = Some(NodeReport {
            conditions: degraded("MachineFault").conditions,
            ..NodeReport::default()
        });
        let Progress::Behind(behind) = judge(&answer(5, vec![own]), 5) else {
            panic!("it goes on");
        };
        assert!(behind.reason.contains("no space left on device"));
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
