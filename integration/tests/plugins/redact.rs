//! `redact`: what is told of flows has no addresses of labelled endpoints, and a burst of denials is told at once.

use palisade_integration::pair::{MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::traffic::datagram::Port;
use serde_json::Value;

use crate::audit::{Records, redact};
use crate::world::{FAMILIES, pair, until};

/// A port of the host that is denied.
const DENIED: u16 = 9002;
const BURST: u64 = 30;

/// Denied packets from the client.
struct Denials {
    client: Port,
    host: Port,
}

impl Denials {
    fn from_client(pair: &Pair) -> Self {
        let station = |name| pair.sandbox.station(name).expect("a station");
        Self {
            client: Port::open(station("client"), 0).expect("a port"),
            host: Port::open(station("host0"), DENIED).expect("a port"),
        }
    }

    fn send(&self, ipv6: bool) {
        self.client.send(&self.host, ipv6, b"x").expect("sent");
    }

    /// What a record must say of the ends of one, and what it must not.
    fn is_told(&self, flow: &Value, host_is_told: bool) -> bool {
        FAMILIES.iter().any(|ipv6| {
            let (client, host) = (self.client.address(*ipv6), self.host.address(*ipv6));
            let told = flow["source"] == client.ip().to_string()
                && flow["sourcePort"] == client.port()
                && flow["destinationEndpoint"] == "host0-eth0";
            told && if host_is_told {
                flow["destination"] == host.ip().to_string() && flow["destinationPort"] == DENIED
            } else {
                flow["destination"].is_null() && flow["destinationPort"].is_null()
            }
        })
    }
}

/// What `palisadectl flows` shows.
fn flows(pair: &Pair) -> Vec<Value> {
    let words = [
        "flows", "--node", "host0", "--last", "10000", "--output", "json",
    ];
    let output = pair.deployment.palisadectl().run(&words, "");
    let text = output.and_then(|output| output.success()).expect("flows");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("lines of JSON")
}

/// Flows among records, and whether their addresses were blanked.
fn flow(record: &Value) -> Option<(&Value, bool)> {
    let flow = record.get("flow")?;
    let redacted = record["fields"]["redacted"] == "true";
    (flow["action"] == "deny").then_some((flow, redacted))
}

#[test]
fn addresses_of_labelled_endpoints_are_blanked_wherever_flows_are_told() {
    let Some(pair) = pair("redact blanks", &[]) else {
        return;
    };
    let mut sink = Records::of(redact(&pair, "{label: private, burst: 100000}"));
    pair.apply(&(allow("web", 100, "UDP", &[MUST_PASS]) + &host_endpoint("private", "yes")))
        .expect("a policy");
    let denials = Denials::from_client(&pair);
    let mut written = Vec::new();
    until(&pair, "told", || {
        FAMILIES.iter().for_each(|ipv6| denials.send(*ipv6));
        written.extend(sink.next());
        written.iter().any(|record| flow(record).is_some())
            && flows(&pair).iter().any(|record| flow(record).is_some())
    });
    let shown = flows(&pair);
    for record in written.iter().chain(&shown) {
        let Some((flow, redacted)) = flow(record) else {
            continue;
        };
        assert!(redacted && denials.is_told(flow, false), "{record}");
    }

    // Without the label there is nothing to hide.
    pair.apply(&host_endpoint("public", "yes"))
        .expect("a label");
    let open = |record: &Value| {
        flow(record).is_some_and(|(flow, redacted)| !redacted && denials.is_told(flow, true))
    };
    until(&pair, "told in full", || {
        FAMILIES.iter().for_each(|ipv6| denials.send(*ipv6));
        sink.next().iter().any(open) && flows(&pair).iter().any(open)
    });
}

#[test]
fn a_burst_of_denials_from_one_source_raises_one_notice() {
    let Some(pair) = pair("redact tells of bursts", &[]) else {
        return;
    };
    let mut sink = Records::of(redact(
        &pair,
        &format!("{{label: private, burst: {BURST}}}"),
    ));
    pair.apply(&(allow("web", 100, "UDP", &[MUST_PASS]) + &host_endpoint("private", "yes")))
        .expect("a policy");
    let denials = Denials::from_client(&pair);
    // Another source, until the auditor is there.
    until(&pair, "heard of", || {
        denials.send(true);
        sink.next().iter().any(|record| flow(record).is_some())
    });

    let source = denials.client.address(false).ip().to_string();
    let mut notices = Vec::new();
    let mut denied = |count: u64| {
        (0..count).for_each(|_| denials.send(false));
        let mut told = 0;
        until(&pair, "told", || {
            for record in sink.next() {
                let by_source = |(flow, _): (&Value, bool)| flow["source"] == source.as_str();
                told += u64::from(flow(&record).is_some_and(by_source));
                if is_notice(&record, &source) {
                    notices.push(record);
                }
            }
            told == count
        });
        notices.clone()
    };
    assert!(denied(BURST - 1).is_empty(), "no burst yet");
    let told = denied(2 * BURST);
    let [notice] = told.as_slice() else {
        panic!("one notice of one burst: {told:?}");
    };
    assert_eq!(notice["audit"]["severity"], "notice");
    assert_eq!(notice["audit"]["sink"], "alerts");
    assert_eq!(notice["fields"]["denials"], BURST.to_string().as_str());
    until(&pair, "shown", || {
        let shown = flows(&pair);
        let notices = shown.iter().filter(|record| is_notice(record, &source));
        notices.count() == 1
    });
}

/// Of a burst of denials from there.
fn is_notice(record: &Value, source: &str) -> bool {
    record["audit"]["message"] == "burst of denials" && record["fields"]["source"] == source
}
