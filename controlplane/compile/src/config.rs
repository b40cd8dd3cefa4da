//! What a node is told beside policy: from FelixConfiguration and PalisadeConfiguration, and the defaults of both.

use crate::world::World;
use palisade_model::{
    DenyAction as DenySpec, EndpointToHostAction as ToHostSpec, Failsafe as FailsafeSpec,
    FelixConfigurationSpec, FelixScope, InterfacePattern, LogRate, Name, RateUnit,
};
use palisade_policy::{
    class::Direction,
    config::{
        DenyAction, EndpointToHostAction, Exemptions, Failsafe, INBOUND_FAILSAFES, LogLimit,
        NodeConfig, OUTBOUND_FAILSAFES,
    },
    resolve::is_exclude_pattern,
    rule::Protocol,
};

/// Beginning of log lines unless set.
const LOG_PREFIX: &str = "calico-packet";

/// Log lines of all Log rules unless set: Calico has no limit, which makes an exposed port a flood.
const LOG_LIMIT: LogLimit = LogLimit {
    rate: 10,
    seconds: 1,
    burst: LOG_BURST,
};
const LOG_BURST: u32 = 5;

/// Settings that are a node's: its own first, then those that select it, then the global ones.
pub(crate) struct Settings<'a> {
    scopes: Vec<&'a FelixConfigurationSpec>,
}

impl<'a> Settings<'a> {
    pub(crate) fn of(world: &'a World, node: &Name) -> Self {
        let labels = world.node_labels(node);
        let mut scopes: Vec<_> = world
            .felix()
            .filter_map(|(metadata, spec)| {
                let rank = match &spec.scope {
                    FelixScope::Node(name) => (name == node).then_some(0),
                    FelixScope::Selected(selector) => selector.matches(&labels).then_some(1),
                    FelixScope::Global => Some(2),
                    FelixScope::None => None,
                }?;
                // Of several that select a node the oldest counts.
                Some((rank, &metadata.creation_timestamp, &metadata.name, spec))
            })
            .collect();
        scopes.sort_by_key(|(rank, created, name, _)| (*rank, *created, *name));
        scopes.dedup_by_key(|(rank, ..)| *rank);
        Self {
            scopes: scopes.into_iter().map(|(.., spec)| spec).collect(),
        }
    }

    fn first<T>(&self, field: impl Fn(&'a FelixConfigurationSpec) -> Option<T>) -> Option<T> {
        self.scopes.iter().find_map(|spec| field(spec))
    }

    /// Beginning of log lines of Log rules.
    pub(crate) fn log_prefix(&self) -> &'a str {
        self.first(|spec| spec.log_prefix.as_deref())
            .unwrap_or(LOG_PREFIX)
    }
}

/// The config item of a node.
pub(crate) fn node_config(world: &World, settings: &Settings<'_>) -> NodeConfig {
    let exemptions = world.palisade().exemptions;
    NodeConfig {
        failsafe_inbound: failsafes(
            settings.first(|spec| spec.failsafe_inbound.as_deref()),
            &INBOUND_FAILSAFES,
        ),
        failsafe_outbound: failsafes(
            settings.first(|spec| spec.failsafe_outbound.as_deref()),
            &OUTBOUND_FAILSAFES,
        ),
        exemptions: Exemptions {
            loopback: exemptions.loopback,
            neighbour_discovery: exemptions.neighbour_discovery,
            dhcp6: exemptions.dhcp6,
            control_plane: exemptions.control_plane,
        },
        deny_action: match settings.first(|spec| spec.deny_action) {
            Some(DenySpec::Reject) => DenyAction::Reject,
            Some(DenySpec::Drop) | None => DenyAction::Drop,
        },
        endpoint_to_host_action: match settings.first(|spec| spec.default_endpoint_to_host_action) {
            Some(ToHostSpec::Accept) => EndpointToHostAction::Accept,
            Some(ToHostSpec::Return) => EndpointToHostAction::Return,
            Some(ToHostSpec::Drop) | None => EndpointToHostAction::Drop,
        },
        interface_prefixes: settings
            .first(|spec| spec.interface_prefixes.clone())
            .unwrap_or_else(|| vec!["cali".to_owned()]),
        interface_exclude: settings
            .first(|spec| spec.interface_exclude.as_deref())
            .map_or_else(|| vec!["kube-ipvs0".to_owned()], excludes),
        accept_invalid: settings
            .first(|spec| spec.disable_conntrack_invalid_check)
            .unwrap_or(false),
        ipv6: settings.first(|spec| spec.ipv6_support).unwrap_or(true),
        log_limit: Some(log_limit(settings)),
        allow_vxlan_from_workloads: settings
            .first(|spec| spec.allow_vxlan_from_workloads)
            .unwrap_or(false),
        allow_ipip_from_workloads: settings
            .first(|spec| spec.allow_ipip_from_workloads)
            .unwrap_or(false),
        vxlan_port: settings.first(|spec| spec.vxlan_port).unwrap_or(4789),
        allow_source_prefixes: settings
            .first(|spec| spec.allow_source_prefixes)
            .unwrap_or(false),
    }
}

/// Every list of failsafes that some node may have in a direction: those of single nodes, and that of all others.
pub(crate) fn possible_failsafes(
    direction: Direction,
    settings: &[&FelixConfigurationSpec],
) -> Vec<Vec<Failsafe>> {
    let list = |spec: &FelixConfigurationSpec| match direction {
        Direction::Ingress => spec.failsafe_inbound.clone(),
        Direction::Egress => spec.failsafe_outbound.clone(),
    };
    let defaults = match direction {
        Direction::Ingress => &INBOUND_FAILSAFES,
        Direction::Egress => &OUTBOUND_FAILSAFES,
    };
    let (mut possible, mut global) = (Vec::new(), None);
    for spec in settings {
        match spec.scope {
            FelixScope::Global => global = list(spec),
            FelixScope::Node(_) | FelixScope::Selected(_) => possible.extend(list(spec)),
            FelixScope::None => {}
        }
    }
    let mut possible: Vec<_> = possible
        .iter()
        .map(|given| failsafes(Some(given), defaults))
        .collect();
    possible.push(failsafes(global.as_deref(), defaults));
    possible
}

fn failsafes(given: Option<&[FailsafeSpec]>, defaults: &[(Protocol, u16)]) -> Vec<Failsafe> {
    let mut failsafes: Vec<Failsafe> = match given {
        Some(given) => given
            .iter()
            .map(|failsafe| Failsafe {
                protocol: Protocol(failsafe.protocol.number()),
                port: failsafe.port,
                net: failsafe.net.map(|net| net.trunc()),
            })
            .collect(),
        None => defaults
            .iter()
            .map(|&(protocol, port)| Failsafe {
                protocol,
                port,
                net: None,
            })
            .collect(),
    };
    failsafes.sort_unstable();
    failsafes.dedup();
    failsafes
}

/// An expression that the node cannot read excludes nothing: more interfaces are governed, not fewer.
fn excludes(patterns: &[InterfacePattern]) -> Vec<String> {
    patterns
        .iter()
        .map(|pattern| match pattern {
            InterfacePattern::Name(name) => name.clone(),
            InterfacePattern::Regex(expression) => format!("/{expression}/"),
        })
        .filter(|pattern| is_exclude_pattern(pattern))
        .collect()
}

fn log_limit(settings: &Settings<'_>) -> LogLimit {
    let burst = settings.first(|spec| spec.log_burst).map(u32::from);
    match settings.first(|spec| spec.log_rate) {
        None => LogLimit {
            burst: burst.unwrap_or(LOG_LIMIT.burst),
            ..LOG_LIMIT
        },
        Some(LogRate { count, per }) => LogLimit {
            rate: count.into(),
            seconds: match per {
                RateUnit::Second => 1,
                RateUnit::Minute => 60,
                RateUnit::Hour => 3600,
                RateUnit::Day => 86400,
            },
            burst: burst.unwrap_or(LOG_BURST),
        },
    }
}
