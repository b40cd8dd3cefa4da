//! Promise 1: never a moment without policy. A thousand changes while packets flow, each of them enforced before the
//! next is written, counted by the kernel before and after the product.

use palisade_integration::format::Protocol;
use palisade_integration::pair::{MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::product::Api;

/// Writes, each a revision of its own.
const CHANGES: u16 = 1000;

/// What the n-th change writes. None of them says anything about the two streams that is new.
fn change(number: u16) -> String {
    let port = 20_000 + number;
    match number % 5 {
        0 => allow("streams", 100, "UDP", &[port, MUST_PASS, port + 1]),
        1 => allow("noise", 50, "UDP", &[port]),
        2 => format!(
            "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: peers\n  labels:\n    role: peer\n\
             spec:\n  nets: [10.99.{}.0/24]\n",
            number % 250
        ),
        3 => allow(
            "noise",
            u32::from(200 - number % 200),
            "UDP",
            &[port, port + 1],
        ),
        _ => host_endpoint("generation", &number.to_string()),
    }
}

const FROM_PEERS: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: peers\nspec:\n  order: 10\n  \
     selector: role == 'app'\n  types: [Ingress]\n  ingress:\n  - action: Allow\n    source:\n      selector: role == 'peer'\n---\n";

#[test]
fn a_thousand_changes_under_load_lose_and_leak_nothing() {
    if !have(
        "update_under_load",
        &[Prerequisite::Netns, Prerequisite::Binaries],
    ) {
        return;
    }
    let pair = Pair::start().expect("a deployment");
    let initial = [
        FROM_PEERS.to_owned(),
        allow("streams", 100, "UDP", &[MUST_PASS]),
        host_endpoint("generation", "0"),
    ]
    .concat();
    pair.apply(&initial).expect("the initial policy");
    pair.expect(Protocol::UDP, MUST_PASS, true);

    let load = pair.load().expect("two streams");
    let mut api = Api::connect(&pair.deployment).expect("a connection");
    for number in 1..=CHANGES {
        api.apply_yaml(&change(number))
            .and_then(|revision| api.wait_until_enforced(revision))
            .unwrap_or_else(|error| {
                panic!("change {number}: {error:#}\n{}", pair.deployment.logs())
            });
    }
    pair.apply(&allow("noise", 50, "TCP", &[8055]))
        .expect("the last change is enforced");
    pair.count(load)
        .expect("counters")
        .expect_none_lost_none_leaked();
    // The changes did reach the kernel.
    pair.expect(Protocol::TCP, 8055, true);
    pair.expect(Protocol::TCP, 8056, false);
}
