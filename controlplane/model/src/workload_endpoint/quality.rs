//! Quality-of-service controls: checked and kept, without effect here.

use serde::{Deserialize, Serialize};

use crate::path::At;
use crate::problem::Report;
use crate::shape::IntOrText;

/// Most packets per second that a rate may say.
const MAX_PACKET_RATE: i64 = 10_000;

/// Named code points of the IP header's class field.
const CODE_POINTS: [&str; 22] = [
    "DF", "EF", "AF11", "AF12", "AF13", "AF21", "AF22", "AF23", "AF31", "AF32", "AF33", "AF41",
    "AF42", "AF43", "CS0", "CS1", "CS2", "CS3", "CS4", "CS5", "CS6", "CS7",
];

macro_rules! controls {
    ($($name:ident),+ $(,)?) => {
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub(super) struct RawQosControls {
            $(#[serde(skip_serializing_if = "Option::is_none")] $name: Option<i64>,)+
            #[serde(skip_serializing_if = "Option::is_none")]
            dscp: Option<IntOrText>,
        }
    };
}

controls!(
    ingress_bandwidth,
    egress_bandwidth,
    ingress_burst,
    egress_burst,
    ingress_peakrate,
    egress_peakrate,
    ingress_minburst,
    egress_minburst,
    ingress_packet_rate,
    egress_packet_rate,
    ingress_packet_burst,
    egress_packet_burst,
    ingress_max_connections,
    egress_max_connections,
);

pub(super) fn check(raw: Option<&RawQosControls>, at: &At<'_>, report: &mut Report) {
    let Some(raw) = raw else {
        return;
    };
    for (name, value, most) in [
        ("ingressBandwidth", raw.ingress_bandwidth, i64::MAX),
        ("egressBandwidth", raw.egress_bandwidth, i64::MAX),
        ("ingressBurst", raw.ingress_burst, i64::MAX),
        ("egressBurst", raw.egress_burst, i64::MAX),
        ("ingressPeakrate", raw.ingress_peakrate, i64::MAX),
        ("egressPeakrate", raw.egress_peakrate, i64::MAX),
        ("ingressMinburst", raw.ingress_minburst, i64::MAX),
        ("egressMinburst", raw.egress_minburst, i64::MAX),
        (
            "ingressPacketRate",
            raw.ingress_packet_rate,
            MAX_PACKET_RATE,
        ),
        ("egressPacketRate", raw.egress_packet_rate, MAX_PACKET_RATE),
        ("ingressPacketBurst", raw.ingress_packet_burst, i64::MAX),
        ("egressPacketBurst", raw.egress_packet_burst, i64::MAX),
        (
            "ingressMaxConnections",
            raw.ingress_max_connections,
            i64::MAX,
        ),
        ("egressMaxConnections", raw.egress_max_connections, i64::MAX),
    ] {
        // 0 is how an absent number is written.
        if value.is_some_and(|value| !(0..=most).contains(&value)) {
            let limit = if most == i64::MAX {
                "at least 1".to_owned()
            } else {
                format!("1 to {most}")
            };
            report.add(&at.field(name), format!("must be {limit}"));
        }
    }
    if raw.dscp.as_ref().is_some_and(|dscp| !is_code_point(dscp)) {
        report.add(
            &at.field("dscp"),
            "a code point is 0 to 63 or a name such as AF11, CS1 or EF",
        );
    }
    report.warn(at, "traffic is not shaped here");
}

fn is_code_point(raw: &IntOrText) -> bool {
    let small = |number: i64| (0..=63).contains(&number);
    match raw {
        IntOrText::Int(number) => small(*number),
        IntOrText::Text(text) => {
            CODE_POINTS.contains(&text.as_str()) || text.parse().is_ok_and(small)
        }
    }
}
