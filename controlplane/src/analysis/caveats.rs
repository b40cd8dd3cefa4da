//! Why the kernel of a node may do something else than an explanation says: the explanation is made of the view that the
//! node acknowledged, and the kernel may hold another one, or nobody may know.

use crate::hub::Standing;
use palisade_policy::view::Position;

/// One sentence each; none where the node said last that its kernel enforces this view.
pub(super) fn caveats(node: &str, standing: &Standing, explained: &Position) -> Vec<String> {
    let mut caveats = Vec::new();
    if !standing.connected {
        caveats.push(format!(
            "node `{node}` is not connected: this is the view that it acknowledged last"
        ));
    }
    match &standing.enforced {
        None => caveats.push(format!(
            "node `{node}` does not know what its kernel enforces: packets may fare differently"
        )),
        Some(enforced)
            if enforced.epoch != explained.epoch || enforced.digest != explained.digest =>
        {
            caveats.push(format!(
                "the kernel of node `{node}` enforces revision {}, not the view of revision {} that is explained here",
                enforced.revision, explained.revision
            ));
        }
        Some(_) => {}
    }
    caveats
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_policy::view::{Digest, Epoch};

    fn at(revision: u64, digest: u8) -> Position {
        Position {
            epoch: Epoch([1; 16]),
            revision,
            digest: Digest([digest; 32]),
        }
    }

    #[test]
    fn only_a_connected_node_that_enforces_the_view_leaves_no_doubt() {
        let told = |connected, enforced| {
            let standing = Standing {
                connected,
                enforced,
                ..Standing::default()
            };
            caveats("web-1", &standing, &at(5, 5))
        };
        assert_eq!(told(true, Some(at(5, 5))), Vec::<String>::new());
        // Equal digests are equal views.
        assert_eq!(told(true, Some(at(4, 5))), Vec::<String>::new());
        let [unknown] = &told(true, None)[..] else {
            panic!("one caveat");
        };
        assert!(unknown.contains("does not know"));
        let [other] = &told(true, Some(at(4, 4)))[..] else {
            panic!("one caveat");
        };
        assert!(other.contains("revision 4") && other.contains("revision 5"));
        assert_eq!(told(false, None).len(), 2);
        let [gone] = &told(false, Some(at(5, 5)))[..] else {
            panic!("one caveat");
        };
        assert!(gone.contains("not connected"));
    }
}
