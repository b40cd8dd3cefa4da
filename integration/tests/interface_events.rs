//! A thousand events of interfaces on a protected host under load: they come, go, get other names and addresses. Nothing
//! of what flows over the interface that stays is lost or leaked, and in the end every endpoint governs what it should.

use palisade_integration::format::{NetworkChange, Probe, Protocol};
use palisade_integration::pair::{MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::prerequisite::{Prerequisite, have};

/// Rounds of [`EVENTS`] events.
const ROUNDS: usize = 125;
const EVENTS: usize = 8;
/// An interface lives so many rounds.
const LIVES: usize = 3;

/// Endpoints by name, by address and by neither, for what comes and goes.
fn endpoints() -> String {
    let endpoint = |name: &str, spec: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata:\n  name: {name}\n  labels: {{role: {name}}}\n\
             spec:\n  node: host0\n  {spec}\n---\n"
        )
    };
    [
        endpoint("named", "interfaceName: new0"),
        endpoint("other", "interfaceName: new1\n  expectedIPs: [10.9.1.1]"),
        endpoint("addressed", "expectedIPs: [10.9.2.1, 10.9.4.1]"),
        endpoint("moving", "expectedIPs: [10.67.0.10]"),
    ]
    .concat()
}

/// The events of one round: an interface comes, gets an address, loses it, gets another, another name, and the one of
/// some rounds before goes.
fn round(number: usize) -> Vec<String> {
    let (link, address) = (format!("ev{number}"), format!("10.9.{}.1/32", number % 6));
    let name = |number: usize| format!("new{}", number % (LIVES + 1));
    let mut events = vec![
        format!("link add {link} type veth peer name peer{number}"),
        format!("addr add 10.9.{}.1/32 dev {link}", (number + 1) % 6),
        format!("link set {link} up"),
        format!("addr del 10.9.{}.1/32 dev {link}", (number + 1) % 6),
        format!("addr add {address} dev {link}"),
        format!("link set {link} down"),
        format!("link set {link} name {}", name(number)),
    ];
    events.push(match number.checked_sub(LIVES) {
        Some(old) => format!("link del {}", name(old)),
        None => format!("link set {} up", name(number)),
    });
    events
}

#[test]
fn a_thousand_interface_events_lose_and_leak_nothing_and_converge() {
    if !have(
        "interface events",
        &[Prerequisite::Netns, Prerequisite::Binaries],
    ) {
        return;
    }
    let mut pair = Pair::start().expect("a deployment");
    let policies = allow("streams", 100, "UDP", &[MUST_PASS])
        + &allow("moving", 100, "TCP", &[8055]).replace("'app'", "'moving'");
    pair.apply(&(policies + &host_endpoint("generation", "0") + &endpoints()))
        .expect("the policy");
    pair.expect(Protocol::UDP, MUST_PASS, true);

    let load = pair.load().expect("two streams");
    let host = pair.sandbox.station("host0").expect("host0").namespace();
    let mut events = 0;
    for number in 0..ROUNDS {
        let commands = round(number);
        events += commands.len();
        // A round at once, so that the daemon is at work while the next one comes.
        host.ip(&(commands.join("\n") + "\n")).expect("events");
    }
    assert_eq!(events, ROUNDS * EVENTS);
    for left in ROUNDS - LIVES..ROUNDS {
        host.ip(&format!("link del new{}\n", left % (LIVES + 1)))
            .expect("the last ones go");
    }

    // An address that an endpoint waits for appears on an interface nobody named, and moves to another.
    for (interface, segment) in [("eth1", "first"), ("eth2", "second")] {
        for (station, address) in [("host0", "10.67.0.10/24"), ("client", "10.67.0.20/24")] {
            pair.sandbox
                .change(&change(station, interface, segment, address))
                .expect("a new interface");
        }
        for (port, allow) in [(8055, true), (8056, false)] {
            let mut probe = Probe::new("client", "host0", Protocol::TCP, port, allow);
            probe.to_address = Some("10.67.0.10".parse().expect("an address"));
            let right = pair.shows(&probe).expect("a probe that can be sent");
            assert!(right, "{interface}: {probe}, {}", pair.deployment.logs());
        }
        for station in ["host0", "client"] {
            let station = pair.sandbox.station(station).expect("a station");
            station
                .namespace()
                .ip(&format!("link del {interface}\n"))
                .expect("it goes");
        }
    }
    // Desired is enforced.
    pair.apply(&allow("last", 1, "TCP", &[8056]))
        .expect("one more change");
    pair.expect(Protocol::TCP, 8056, true);
    pair.count(load)
        .expect("counters")
        .expect_none_lost_none_leaked();
}

fn change(station: &str, interface: &str, segment: &str, address: &str) -> NetworkChange {
    NetworkChange {
        host: station.to_owned(),
        interface: None,
        add: None,
        remove: None,
        create_interface: Some(interface.to_owned()),
        segment: Some(segment.to_owned()),
        address: address.parse().ok(),
        flush_neighbours: false,
    }
}
