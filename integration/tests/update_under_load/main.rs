//! Promise 1: never a moment without policy. A thousand changes of every kind of policy and endpoint while packets take
//! every way through a host, each change enforced before the next is written, counted by the kernel before and after
//! the product.

mod changes;
mod world;

use std::collections::BTreeMap;

use palisade_integration::format::Protocol;
use palisade_integration::load::Load;
use palisade_integration::pair::Pair;
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::product::Api;

/// Writes, each a revision of its own.
const CHANGES: u16 = 1000;

#[test]
fn a_thousand_changes_of_every_kind_under_load_lose_and_leak_nothing() {
    if !have(
        "update_under_load",
        &[Prerequisite::Netns, Prerequisite::Binaries],
    ) {
        return;
    }
    let pair = Pair::start_on(world::TOPOLOGY).expect("a deployment");
    let mut api = Api::connect(&pair.deployment).expect("a connection");
    let documents = [world::initial(), changes::in_tier()].concat();
    let documents: String = documents
        .iter()
        .map(|document| format!("---\n{document}\n"))
        .collect();
    pair.apply(&documents).expect("the initial policy");

    let load = Load::start(&pair.sandbox, "host0", world::streams()).expect("streams");
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for number in 0..CHANGES {
        let change = changes::change(number);
        *kinds.entry(change.kind).or_default() += 1;
        change
            .write(&mut api)
            .and_then(|revision| api.wait_until_enforced(revision))
            .unwrap_or_else(|error| {
                panic!(
                    "change {number}, {}: {error:#}\n{}",
                    change.kind,
                    pair.deployment.logs()
                )
            });
    }
    let counts = load.stop(&pair.sandbox).expect("counters");
    println!("changes: {kinds:?}");
    counts.expect_none_lost_none_leaked();
    // The changes do reach the kernel: before the last one neither port is open.
    pair.expect(Protocol::TCP, 8055, false);
    pair.apply(&palisade_integration::pair::allow(
        "last",
        1,
        "TCP",
        &[8055],
    ))
    .expect("one more change");
    pair.expect(Protocol::TCP, 8055, true);
    pair.expect(Protocol::TCP, 8056, false);
}
