//! Law f: for every packet, policy evaluator ≡ ruleset interpreter.

use crate::worlds;
use palisade_policy::{
    evaluate::{Evaluator, Judgement, Outcome},
    ids::IfName,
    packet::Packet,
};
use palisade_ruleset::{
    interpret::{self, Did, Given, Opaque, judge_given},
    ir::{Ruleset, TableName},
    lower::{LowerCache, lower},
};
use proptest::{collection::vec, prelude::*};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_does_what_the_policy_says(
        view in worlds::view(),
        packets in vec((worlds::packet(), worlds::mark(), worlds::interface()), 40),
    ) {
        let environment = worlds::environment();
        let lowered = lower(&view, &environment, None, &mut LowerCache::new());
        prop_assert_eq!(&lowered.faults, &vec![]);
        let evaluator = Evaluator::new(&view, &environment);
        for (packet, mark, routed) in &packets {
            let said = evaluator.judge(packet);
            for given in givens(&lowered.ruleset, *mark, routed) {
                let done = judge_given(&lowered.ruleset, packet, &given)
                    .map_err(|err| TestCaseError::fail(err.to_string()))?;
                prop_assert_eq!(
                    said.verdict,
                    done.verdict,
                    "{:?} {:?}\npolicy: {:#?}\nkernel: {:#?}\n{}",
                    packet,
                    given,
                    said,
                    done,
                    palisade_ruleset::text::render(&lowered.ruleset)
                );
                // Of the mark no bit is touched.
                let arrives = done.written;
                prop_assert_eq!(done.mark, arrives);
                let (logged, written) = (logged(&said), written(&done));
                prop_assert_eq!(logged, written);
            }
        }
    }
}

/// What the kernel's verdict must not depend on.
pub(crate) fn givens(ruleset: &Ruleset, mark: u32, routed: &IfName) -> [Given; 3] {
    // A packet knows one way out; untracked policy would judge the one it had before translation.
    let untracked = ruleset.tables.get(&TableName::Raw).is_some_and(|raw| {
        let mut maps = raw.maps.keys();
        maps.any(|name| name.as_str().starts_with("untracked_out_if_"))
    });
    let given = |opaque, written| Given {
        opaque,
        mark,
        written,
        routed: (!untracked).then(|| routed.clone()),
        daemon: None,
    };
    [
        given(Opaque::Absent, None),
        given(Opaque::Bytes(80, 443), None),
        given(Opaque::Absent, Some(mark)),
    ]
}

/// Whether policy and kernel disagree about a packet.
pub(crate) fn differ(said: &Judgement, ruleset: &Ruleset, packet: &Packet, given: &Given) -> bool {
    judge_given(ruleset, packet, given)
        .is_ok_and(|done| said.verdict != done.verdict || logged(said) != written(&done))
}

pub(crate) fn logged(said: &Judgement) -> Vec<&String> {
    let mut logged: Vec<_> = said
        .trace
        .iter()
        .filter_map(|step| match &step.outcome {
            Outcome::Log { prefix } => Some(prefix),
            _ => None,
        })
        .collect();
    logged.dedup();
    logged
}

pub(crate) fn written(done: &interpret::Judgement) -> Vec<&String> {
    let mut written: Vec<_> = done
        .trace
        .iter()
        .filter_map(|step| match &step.did {
            Did::Log(prefix) => Some(prefix),
            _ => None,
        })
        .collect();
    // A rule with alternatives writes a line for each of them that holds.
    written.dedup();
    written
}
