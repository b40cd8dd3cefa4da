//! Ports of a workload endpoint. Those with names are for rules; those mapped to the host are only kept.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::host_endpoint::{EndpointPort, PortProtocol};
use crate::name::PortName;
use crate::net::parse_address;
use crate::path::At;
use crate::problem::Report;
use crate::shape::IntOrText;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawWorkloadPort {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<IntOrText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_port: Option<i64>,
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    host_ip: Option<String>,
}

impl RawWorkloadPort {
    /// The port as rules may name it: `Some(None)` for a sound one without name.
    pub(super) fn parse(&self, at: &At<'_>, report: &mut Report) -> Option<Option<EndpointPort>> {
        let before = report.problems.len();
        let text = self.name.as_deref().filter(|text| !text.is_empty());
        let name = text.and_then(PortName::new);
        if let Some(text) = text.filter(|_| name.is_none()) {
            report.add(&at.field("name"), format!("`{text}` is not a port name: at most 15 of `a-z`, `0-9` and `-`, with a letter, no `-` at an edge or beside another"));
        }
        let mapped = self.host_port.filter(|port| *port != 0);
        if text.is_none() && mapped.is_none() {
            report.missing(
                &at.field("name"),
                "a port needs a name where it has no hostPort",
            );
        }
        let protocol = PortProtocol::parse(self.protocol.as_ref());
        if protocol.is_none() {
            report.add(
                &at.field("protocol"),
                "a port needs protocol TCP, UDP or SCTP",
            );
        }
        let number = |port: i64| u16::try_from(port).ok().and_then(NonZeroU16::new);
        let port = self.port.and_then(number);
        if port.is_none() {
            report.add(&at.field("port"), "a port needs a number, 1 to 65535");
        }
        if mapped.is_some_and(|port| number(port).is_none()) {
            report.add(&at.field("hostPort"), "a host port is 1 to 65535");
        }
        if let Some(text) = self.host_ip.as_deref().filter(|text| !text.is_empty()) {
            report.take(parse_address(text), &at.field("hostIP"));
        }
        if report.problems.len() > before {
            return None;
        }
        let (protocol, port) = (protocol?, port?);
        Some(name.map(|name| EndpointPort {
            name,
            protocol,
            port,
        }))
    }
}
