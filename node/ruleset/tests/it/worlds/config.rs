//! Random configurations of a node.

use super::pools::{net, port};
use palisade_policy::{
    config::{DenyAction, EndpointToHostAction, Exemptions, Failsafe, LogLimit, NodeConfig},
    rule::Protocol,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

pub(super) fn failsafes() -> impl Strategy<Value = Vec<Failsafe>> {
    let failsafe = (
        select(vec![Protocol::TCP, Protocol::UDP, Protocol::SCTP]),
        port(),
        option::weighted(0.3, net()),
    )
        .prop_map(|(protocol, port, net)| Failsafe {
            protocol,
            port,
            net,
        });
    vec(failsafe, 0..3).prop_map(|mut all| {
        all.sort();
        all.dedup();
        all
    })
}

pub(crate) fn config() -> impl Strategy<Value = NodeConfig> {
    (
        (failsafes(), failsafes()),
        any::<[bool; 4]>(),
        (
            any::<bool>(),
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.9),
        ),
        select(vec![
            EndpointToHostAction::Drop,
            EndpointToHostAction::Return,
            EndpointToHostAction::Accept,
        ]),
        prop::bool::weighted(0.5),
        (any::<bool>(), any::<bool>()),
        select(vec![&["cali"][..], &["cali"], &["cali", "eth3"], &[]]),
        prop::bool::weighted(0.8),
    )
        .prop_map(
            |(
                failsafes,
                exempt,
                flags,
                to_host,
                limited,
                tunnels,
                prefixes,
                allow_source_prefixes,
            )| {
                let (failsafe_inbound, failsafe_outbound) = failsafes;
                let (reject, accept_invalid, ipv6) = flags;
                NodeConfig {
                    failsafe_inbound,
                    failsafe_outbound,
                    exemptions: Exemptions {
                        loopback: exempt[0],
                        neighbour_discovery: exempt[1],
                        dhcp6: exempt[2],
                        control_plane: exempt[3],
                    },
                    deny_action: if reject {
                        DenyAction::Reject
                    } else {
                        DenyAction::Drop
                    },
                    endpoint_to_host_action: to_host,
                    interface_prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
                    interface_exclude: vec!["kube-ipvs0".to_owned()],
                    accept_invalid,
                    ipv6,
                    log_limit: limited.then_some(LogLimit {
                        rate: 10,
                        seconds: 60,
                        burst: 5,
                    }),
                    allow_vxlan_from_workloads: tunnels.0,
                    allow_ipip_from_workloads: tunnels.1,
                    vxlan_port: 443,
                    allow_source_prefixes,
                }
            },
        )
}
