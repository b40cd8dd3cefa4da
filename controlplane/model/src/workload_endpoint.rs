//! WorkloadEndpoint: the host's side of a virtual machine's or container's interface.
//! Source: Calico, `libcalico-go/lib/apis/internalapi/workloadendpoint.go`, `lib/names/workloadendpoint.go`; specification §1.8.

mod ports;
mod quality;
mod raw;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::host_endpoint::{EndpointPort, HostInterface, parse_interface, profiles};
use crate::metadata::{Metadata, NAMESPACE_LABEL, RawMetadata, is_reserved};
use crate::name::{InterfaceName, Name};
use crate::net::{parse_address, parse_member};
use crate::path::At;
use crate::problem::Report;
use crate::resource::{RawSpec, Spec};
use raw::RawNat;

pub(crate) use raw::RawWorkloadEndpoint;

/// The label that says which orchestrator made an endpoint.
const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// The label that says whose service account an endpoint runs under.
pub const SERVICE_ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";

/// A validated workload endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadEndpointSpec {
    /// The host it is on.
    pub node: Name,
    /// What made it. With `workload` and `endpoint` it says who wins where two claim one interface.
    pub orchestrator: Name,
    /// The workload, pod or container, as the orchestrator calls it.
    pub workload: String,
    /// Which of the workload's interfaces.
    pub endpoint: Name,
    /// The host's side; `None` governs nothing.
    pub interface: Option<InterfaceName>,
    /// Its addresses. Without any it counts as not yet there.
    pub addresses: Vec<IpAddr>,
    /// Profiles, in order; they may not exist.
    pub profiles: Vec<Name>,
    /// Ports that rules may name.
    pub ports: Vec<EndpointPort>,
    /// The service account it runs under.
    pub service_account: Option<Name>,
    /// Source addresses it may use beside its own, where the node allows that at all.
    pub allowed_sources: Vec<IpNet>,
}

impl WorkloadEndpointSpec {
    /// Labels that selectors match before profiles add theirs: the resource's own with namespace and service account, and
    /// without those of the reserved prefixes, by which a workload could pose as another namespace's.
    pub fn labels(&self, metadata: &Metadata) -> BTreeMap<String, String> {
        let own = metadata.labels.iter().filter(|(key, _)| !is_reserved(key));
        let mut labels: BTreeMap<_, _> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut force = |key: &str, value: Option<&Name>| match value {
            Some(value) => drop(labels.insert(key.to_owned(), value.as_str().to_owned())),
            None => drop(labels.remove(key)),
        };
        force(NAMESPACE_LABEL, metadata.namespace.as_ref());
        force(SERVICE_ACCOUNT_LABEL, self.service_account.as_ref());
        labels
    }
}

impl RawSpec for RawWorkloadEndpoint {
    fn parse(
        &mut self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<Spec> {
        let parts = self.parse_parts(metadata, at, report);
        self.write_labels(metadata);
        let interface = self
            .interface_name
            .as_deref()
            .filter(|text| !text.is_empty())
            .and_then(|text| parse_interface(text, &at.field("interfaceName"), report));
        if interface == Some(HostInterface::Any) {
            report.warn(
                &at.field("interfaceName"),
                "`*` names no interface of a workload: nothing is policed",
            );
        }
        let addresses = self.parse_addresses(at, report);
        self.check_nats(&addresses, at, report);
        self.check_link(at, report);
        quality::check(self.qos_controls.as_ref(), &at.field("qosControls"), report);
        let ports = self.ports.as_deref().unwrap_or_default();
        let ports = report.each(ports, &at.field("ports"), |raw, at, report| {
            raw.parse(at, report)
        });
        let account = self.service_account_name.as_deref();
        let account_at = at.field("serviceAccountName");
        let sources = self
            .allow_spoofed_source_prefixes
            .as_deref()
            .unwrap_or_default();
        let (addresses_known, spec) = (
            !addresses.is_empty(),
            WorkloadEndpointSpec {
                interface: match interface {
                    Some(HostInterface::Named(name)) => Some(name),
                    Some(HostInterface::Any) | None => None,
                },
                addresses,
                profiles: profiles(self.profiles.as_deref(), &at.field("profiles"), report),
                ports: ports.into_iter().flatten().collect(),
                service_account: account
                    .filter(|text| !text.is_empty())
                    .and_then(|text| report.name(text, "service account name", &account_at)),
                allowed_sources: report.each(
                    sources,
                    &at.field("allowSpoofedSourcePrefixes"),
                    |text, at, report| report.take(parse_member(text), at),
                ),
                ..parts?
            },
        );
        if !addresses_known {
            report.warn(
                &at.field("ipNetworks"),
                "an endpoint without addresses counts as not yet there",
            );
        }
        Some(Spec::WorkloadEndpoint(Box::new(spec)))
    }
}

impl RawWorkloadEndpoint {
    /// What the name is made of, and the name itself.
    fn parse_parts(
        &self,
        metadata: &mut RawMetadata,
        at: &At<'_>,
        report: &mut Report,
    ) -> Option<WorkloadEndpointSpec> {
        let before = report.problems.len();
        for (field, text) in [
            ("node", &self.node),
            ("orchestrator", &self.orchestrator),
            ("workload", &self.workload),
            ("pod", &self.pod),
            ("endpoint", &self.endpoint),
        ] {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                report.name(text, "name", &at.field(field));
            }
        }
        if let Some(text) = self.container_id.as_deref().filter(|text| !text.is_empty())
            && !is_container(text)
        {
            report.add(&at.field("containerID"), format!("`{text}` is not a container id: `A-Za-z0-9` and `-`, with letters or digits at the edges"));
        }
        let orchestrator = self.orchestrator.as_deref().unwrap_or_default();
        let (field, workload) = match orchestrator {
            "k8s" => ("pod", self.pod.as_deref()),
            "cni" => ("containerID", self.container_id.as_deref()),
            "libnetwork" => ("orchestrator", Some("libnetwork")),
            _ => ("workload", self.workload.as_deref()),
        };
        let parts = [
            ("node", self.node.as_deref()),
            ("orchestrator", Some(orchestrator)),
            (field, workload),
            ("endpoint", self.endpoint.as_deref()),
        ];
        for (field, _) in parts
            .iter()
            .filter(|(_, text)| text.is_none_or(str::is_empty))
        {
            report.missing(
                &at.field(field),
                format!("a workload endpoint needs {field}: its name is made of it"),
            );
        }
        if report.problems.len() > before {
            return None;
        }
        let texts = parts.map(|(_, text)| text.unwrap_or_default());
        check_name(&texts, metadata, report);
        let [node, orchestrator, workload, endpoint] = texts;
        Some(WorkloadEndpointSpec {
            node: Name::new(node)?,
            orchestrator: Name::new(orchestrator)?,
            workload: workload.to_owned(),
            endpoint: Name::new(endpoint)?,
            interface: None,
            addresses: Vec::new(),
            profiles: Vec::new(),
            ports: Vec::new(),
            service_account: None,
            allowed_sources: Vec::new(),
        })
    }

    /// Labels that Calico forces, whatever the writer gave.
    fn write_labels(&self, metadata: &mut RawMetadata) {
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let orchestrator = self.orchestrator.clone().unwrap_or_default();
        let labels = metadata.labels.get_or_insert_default();
        for (key, value) in [
            (NAMESPACE_LABEL, namespace),
            (ORCHESTRATOR_LABEL, orchestrator),
        ] {
            // What is missing is reported where it is missing.
            if !value.is_empty() {
                labels.insert(key.to_owned(), value);
            }
        }
    }

    fn parse_addresses(&self, at: &At<'_>, report: &mut Report) -> Vec<IpAddr> {
        let networks = self.ip_networks.as_deref().unwrap_or_default();
        report.each(networks, &at.field("ipNetworks"), |text, at, report| {
            let net = report.take(parse_member(text), at)?;
            if net.prefix_len() != net.max_prefix_len() {
                report.add(at, "IP network contains multiple addresses");
                return None;
            }
            Some(net.addr())
        })
    }

    /// Translation is not done here, but what is stored must make sense.
    fn check_nats(&self, addresses: &[IpAddr], at: &At<'_>, report: &mut Report) {
        let at = at.field("ipNATs");
        let nats = self.ip_nats.as_deref().unwrap_or_default();
        for (index, nat) in nats.iter().enumerate() {
            check_nat(nat, addresses, &at.index(index), report);
        }
        if !nats.is_empty() {
            report.warn(&at, "addresses are not translated here");
        }
    }

    fn check_link(&self, at: &At<'_>, report: &mut Report) {
        for (field, text, four) in [
            ("ipv4Gateway", &self.ipv4_gateway, true),
            ("ipv6Gateway", &self.ipv6_gateway, false),
        ] {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
                continue;
            };
            let address = report.take(parse_address(text), &at.field(field));
            if address.is_some_and(|address| address.is_ipv4() != four) {
                let family = if four { "an IPv4" } else { "an IPv6" };
                report.add(
                    &at.field(field),
                    format!("`{text}` is not {family} address"),
                );
            }
        }
        let mac = self.mac.as_deref().filter(|text| !text.is_empty());
        if let Some(text) = mac.filter(|text| !is_mac(text)) {
            report.add(&at.field("mac"), format!("`{text}` is not a MAC address"));
        }
    }
}

/// `<node>-<orchestrator>-<workload>-<endpoint>`, dashes inside doubled. Written where absent, compared where given.
fn check_name(parts: &[&str; 4], metadata: &mut RawMetadata, report: &mut Report) {
    let name = parts.map(|part| part.replace('-', "--")).join("-");
    match metadata.name.as_deref().filter(|text| !text.is_empty()) {
        None => metadata.name = Some(name),
        Some(given) if given != name => report.add(
            &At::ROOT.field("metadata").field("name"),
            format!("the name does not match the spec's node, orchestrator, workload and endpoint: write `{name}`, or leave it out"),
        ),
        Some(_) => {}
    }
}

fn check_nat(nat: &RawNat, addresses: &[IpAddr], at: &At<'_>, report: &mut Report) {
    let mut read = |field: &str, text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        report.take(parse_address(text), &at.field(field))
    };
    let internal = read("internalIP", &nat.internal_ip);
    let external = read("externalIP", &nat.external_ip);
    if internal.is_some_and(|address| !addresses.contains(&address)) {
        report.add(
            &at.field("internalIP"),
            "the address is not in the endpoint's ipNetworks",
        );
    }
    if let (Some(internal), Some(external)) = (internal, external)
        && internal.is_ipv4() != external.is_ipv4()
    {
        report.add(at, "both addresses must be of one family");
    }
}

/// `[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?`
fn is_container(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

/// 6, 8 or 20 bytes: `aa:bb:…`, `aa-bb-…` or `aabb.ccdd.…`.
fn is_mac(text: &str) -> bool {
    let of = |separator: char, digits: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        let whole = parts
            .iter()
            .all(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
        whole && [6, 8, 20].contains(&(parts.len() * digits / 2))
    };
    of(':', 2) || of('-', 2) || of('.', 4)
}
