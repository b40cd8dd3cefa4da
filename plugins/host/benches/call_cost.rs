//! What a call of a plugin costs, beside the same judgement in native code: `cargo bench -p palisade-plugin-host`.
//!
//! Prints the 10th percentile and the median of many samples, in nanoseconds for a call (an event, for auditors), and
//! the ratio of medians to the native call. The machine's noise is in the median, less so in the ratio.

#[path = "../tests/host/guests.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod guests;

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use palisade_plugin::matcher::Matcher as _;
use palisade_plugin_host::{
    Action, Auditor, Body, Event, Flow, Options, Packet, Phase, RuleId, Way,
};

const SAMPLES: usize = 300;
const CALLS: u32 = 500;

fn main() {
    let message = query("a.b.www.fine.example");
    let packet = guests::packet(&message);
    println!("{:<44} {:>8} {:>8} {:>8}", "", "p10 ns", "p50 ns", "ratio");
    let native = native(&packet);
    print("dns-suffix, native", native, native);
    let judged = matcher(
        "dns-suffix",
        r#"{"suffixes": ["blocked.example"]}"#,
        &packet,
    );
    print("dns-suffix, plugin", judged, native);
    let nothing = matcher("misbehave", r#"{"deed": "nothing"}"#, &packet);
    print("matcher that does nothing, plugin", nothing, native);
    let event = event_copy();
    print("an event, cloned natively", event, event);
    for batch in [1, 16, 256] {
        let kept = auditor("misbehave-auditor", "keep", batch);
        print(
            &format!("auditor that keeps, batches of {batch}"),
            kept,
            event,
        );
    }
    let redacted = auditor("redact", r#"{"label": "privacy"}"#, 256);
    print("redact, batches of 256", redacted, event);
    let fresh = fresh_instance(&packet);
    print("dns-suffix, a fresh instance for the call", fresh, native);
}

#[derive(Clone, Copy)]
struct Cost {
    p10: f64,
    p50: f64,
}

fn print(what: &str, cost: Cost, native: Cost) {
    let ratio = cost.p50 / native.p50;
    println!(
        "{what:<44} {:>8.0} {:>8.0} {ratio:>8.1}",
        cost.p10, cost.p50
    );
}

/// Samples of `calls` calls each, as the cost of one of `parts` parts of a call.
fn measure(calls: u32, parts: usize, mut call: impl FnMut()) -> Cost {
    for _ in 0..calls {
        call();
    }
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..calls {
                call();
            }
            let parts = f64::from(calls) * parts as f64;
            began.elapsed().as_nanos() as f64 / parts
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    Cost {
        p10: samples[SAMPLES / 10],
        p50: samples[SAMPLES / 2],
    }
}

fn matcher(package: &'static str, settings: &str, packet: &Packet<'_>) -> Cost {
    let configured = guests::plugin(package).with_settings(settings, Options::default());
    let mut matcher = configured.matcher().expect("a matcher");
    let now = Instant::now();
    measure(CALLS, 1, || {
        black_box(matcher.evaluate(black_box(packet), now)).expect("an answer");
    })
}

fn native(packet: &Packet<'_>) -> Cost {
    let mut plugin = dns_suffix::DnsSuffix::configure(r#"{"suffixes": ["blocked.example"]}"#)
        .expect("settings that fit");
    let packet = palisade_plugin::matcher::Packet {
        way: palisade_plugin::Way::Output,
        protocol: packet.protocol,
        source: packet.source.into(),
        destination: packet.destination.into(),
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        icmp: None,
        in_interface: None,
        out_interface: None,
        source_endpoint: None,
        destination_endpoint: None,
        time_ms: packet.time_ms,
        payload: packet.payload.to_vec(),
        payload_length: packet.payload_length,
    };
    measure(CALLS, 1, || {
        black_box(plugin.evaluate(black_box(&packet)));
    })
}

fn fresh_instance(packet: &Packet<'_>) -> Cost {
    let settings = r#"{"suffixes": ["blocked.example"]}"#;
    let configured = guests::plugin("dns-suffix").with_settings(settings, Options::default());
    let now = Instant::now();
    measure(10, 1, || {
        let mut matcher = configured.matcher().expect("a matcher");
        black_box(matcher.evaluate(black_box(packet), now)).expect("an answer");
    })
}

fn auditor(package: &'static str, settings: &str, batch: usize) -> Cost {
    let configured = guests::plugin(package).with_settings(settings, Options::default());
    let mut auditor: Auditor = configured.auditor().expect("an auditor");
    let events = vec![event(); batch];
    let now = Instant::now();
    let calls = u32::try_from(256 / batch).expect("small");
    measure(calls, batch, || {
        black_box(auditor.process(black_box(&events), now, 0)).expect("outcomes");
    })
}

fn event_copy() -> Cost {
    let events = vec![event(); 256];
    measure(4, 256, || {
        black_box(black_box(&events).clone());
    })
}

fn event() -> Event {
    Event {
        sequence: 1,
        time_ms: Duration::from_secs(1_700_000_000).as_millis() as u64,
        body: Body::Flow(Flow {
            phase: Phase::Start,
            way: Way::Input,
            action: Action::Deny,
            rule: RuleId(42),
            protocol: 6,
            source: Some(IpAddr::from([192, 0, 2, 1])),
            destination: Some(IpAddr::from([192, 0, 2, 2])),
            source_port: Some(40_000),
            destination_port: Some(443),
            icmp: None,
            in_interface: None,
            out_interface: None,
            source_endpoint: None,
            destination_endpoint: None,
            packets: 1,
            bytes: 60,
        }),
        fields: Vec::new(),
    }
}

fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("short"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}
