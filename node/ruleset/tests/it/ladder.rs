//! Law f: for every packet, policy evaluator ≡ ruleset interpreter.

use crate::worlds;
use palisade_policy::evaluate::{Evaluator, Outcome};
use palisade_ruleset::{
    interpret::{Did, Given, Opaque, judge_given},
    lower::{LowerCache, lower},
};
use proptest::{collection::vec, prelude::*};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_does_what_the_policy_says(
        view in worlds::view(),
        packets in vec((worlds::packet(), worlds::mark()), 40),
    ) {
        let environment = worlds::environment();
        let lowered = lower(&view, &environment, None, &mut LowerCache::new());
        prop_assert_eq!(&lowered.faults, &vec![]);
        let evaluator = Evaluator::new(&view, &environment);
        for (packet, mark) in &packets {
            let said = evaluator.judge(packet);
            for opaque in [Opaque::Absent, Opaque::Bytes(80, 443)] {
                let given = Given { opaque, mark: *mark };
                let done = judge_given(&lowered.ruleset, packet, given)
                    .map_err(|err| TestCaseError::fail(err.to_string()))?;
                prop_assert_eq!(
                    said.verdict,
                    done.verdict,
                    "{:?}\npolicy: {:#?}\nkernel: {:#?}\n{}",
                    packet,
                    said,
                    done,
                    palisade_ruleset::text::render(&lowered.ruleset)
                );
                // Of the mark no bit is touched but one.
                prop_assert_eq!(done.mark & !0x0001_0000, mark & !0x0001_0000);
                let mut logged: Vec<_> = said.trace.iter().filter_map(|step| match &step.outcome {
                    Outcome::Log { prefix } => Some(prefix),
                    _ => None,
                }).collect();
                let mut written: Vec<_> = done.trace.iter().filter_map(|step| match &step.did {
                    Did::Log(prefix) => Some(prefix),
                    _ => None,
                }).collect();
                // A rule with alternatives writes a line for each of them that holds.
                written.dedup();
                logged.dedup();
                prop_assert_eq!(logged, written);
            }
        }
    }
}
