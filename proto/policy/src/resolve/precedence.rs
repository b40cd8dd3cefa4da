//! Which of two workloads that claim one interface comes first.

use crate::ids::EndpointId;

/// By orchestrator, namespace, workload and endpoint (specification §1.8), which is not the order of their ids.
pub(super) fn precedes(one: &EndpointId, other: &EndpointId) -> bool {
    (workload(one), one) < (workload(other), other)
}

/// Orchestrator, namespace, workload and endpoint of `wep/<namespace>/<node>-<orchestrator>-<workload>-<endpoint>`, where
/// a `-` within a part is doubled.
fn workload(id: &EndpointId) -> Option<[String; 4]> {
    let (namespace, name) = id.as_str().strip_prefix("wep/")?.split_once('/')?;
    let mut parts = parts(name).into_iter().skip(1);
    let orchestrator = parts.next()?;
    let workload = parts.next()?;
    let endpoint = parts.next()?;
    Some([orchestrator, namespace.to_owned(), workload, endpoint])
}

/// Parts joined by a single `-`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '-' && characters.next_if_eq(&'-').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_dash_is_a_dash_within_a_part() {
        assert_eq!(parts("web--1-k8s-db-eth0"), ["web-1", "k8s", "db", "eth0"]);
        assert_eq!(parts("n-o-a----b-e"), ["n", "o", "a--b", "e"]);
    }

    #[test]
    fn the_orchestrator_counts_before_the_namespace_and_the_parts_before_their_text() {
        let key = |id: &str| workload(&id.into()).expect("a workload's id");
        assert!(key("wep/z/n-cni-a-e") < key("wep/a/n-k8s-a-e"));
        assert!(key("wep/a/n-k8s-b-e") < key("wep/z/n-k8s-a-e"));
        // As text `a--b` comes before `a-b`; as parts `a` comes before `a-b`.
        assert!(key("wep/x/n-k8s-a-b") < key("wep/x/n-k8s-a--b-a"));
        assert_eq!(workload(&"hep/eth0".into()), None);
    }
}
