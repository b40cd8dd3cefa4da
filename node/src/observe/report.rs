//! What the node tells the control plane of its machine.

use crate::{
    condition::Condition,
    enforce::Observed,
    plugins::audit::sink::{Directory, Failing},
    plugins::bind_failures::BindFailures,
    plugins::loaded::LoadedPlugins,
};
use palisade_policy::{packet::Environment, resolve::EndpointState};
use palisade_proto::v1;
use std::net::IpAddr;

/// Where what is reported comes from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The machine and the view on it.
    pub observed: &'a Observed,
    /// Plugins of the view.
    pub plugins: &'a LoadedPlugins,
    /// Where files of their sinks may be.
    pub sinks: &'a Directory,
    /// Sinks that fail.
    pub failing: &'a Failing,
    /// Numbers of the kernel that could not be bound.
    pub bind_failures: &'a BindFailures,
    /// Conditions of the way to the control plane.
    pub link: &'a [Condition],
}

/// The report of what is seen; what is enforced is filled in by who sends it, at that moment.
pub fn report(sources: &Sources<'_>) -> v1::NodeReport {
    let Sources {
        observed,
        plugins,
        sinks,
        ..
    } = *sources;
    let conditions = [
        sinks.conditions(plugins),
        sources.failing.conditions(plugins, sinks),
        plugins.conditions(),
        sources.bind_failures.conditions(),
        sources.link.to_vec(),
    ];
    v1::NodeReport {
        enforced: None,
        interfaces: interfaces(&observed.environment),
        endpoints: observed
            .endpoints
            .iter()
            .map(|(id, status)| {
                let (state, reason) = match &status.state {
                    EndpointState::Up => (v1::EndpointState::Up, String::new()),
                    EndpointState::Down => (v1::EndpointState::Down, "interface down".to_owned()),
                    EndpointState::Error(idle) => (v1::EndpointState::Error, idle.to_string()),
                };
                v1::EndpointStatus {
                    endpoint: id.to_string(),
                    state: state.into(),
                    interfaces: status.interfaces.iter().map(ToString::to_string).collect(),
                    reason,
                }
            })
            .collect(),
        conditions: observed
            .conditions
            .iter()
            .chain(conditions.iter().flatten())
            .map(|condition| v1::Condition {
                r#type: condition.kind.to_owned(),
                reason: condition.reason.to_owned(),
                message: condition.message.clone(),
            })
            .collect(),
        control_plane: observed
            .environment
            .control_plane
            .iter()
            .map(|socket| v1::SocketAddress {
                address: octets(socket.ip()),
                port: socket.port().into(),
            })
            .collect(),
        plugins: plugins.report(),
    }
}

fn interfaces(environment: &Environment) -> Vec<v1::Interface> {
    environment
        .interfaces
        .iter()
        .map(|(name, interface)| v1::Interface {
            name: name.to_string(),
            up: interface.up,
            addresses: interface.addresses.iter().copied().map(octets).collect(),
            master: interface.master.as_ref().map(|master| v1::InterfaceMaster {
                name: master.name.to_string(),
                kind: master.kind.clone(),
            }),
        })
        .collect()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plugins::bind_failures::Number, plugins::loaded::Readiness};
    use palisade_policy::{
        packet::{Interface, Master},
        plugin::{PluginKind, Sink},
        wire::report_environment,
    };
    use std::{collections::BTreeMap, io};

    /// The report where only these differ from an idle node.
    fn told(
        observed: &Observed,
        plugins: &LoadedPlugins,
        bind_failures: &BindFailures,
    ) -> v1::NodeReport {
        report(&Sources {
            observed,
            plugins,
            sinks: &Directory::new("/var/log/palisade".as_ref()),
            failing: &Failing::default(),
            bind_failures,
            link: &[],
        })
    }

    #[test]
    fn the_control_plane_reads_the_machine_that_the_node_sees() {
        let mut observed = Observed::default();
        let interface = Interface {
            up: true,
            addresses: vec![[10, 0, 0, 1].into(), "fd00::1".parse().expect("address")],
            master: Some(Master {
                name: "br0".into(),
                kind: "bridge".to_owned(),
            }),
        };
        observed
            .environment
            .interfaces
            .insert("eth0".into(), interface);
        observed.environment.control_plane = vec!["10.0.0.9:7600".parse().expect("address")];
        let (plugins, bind_failures) = (LoadedPlugins::default(), BindFailures::default());
        let read = report_environment(&told(&observed, &plugins, &bind_failures)).expect("valid");
        assert_eq!(read, observed.environment);
    }

    #[test]
    fn a_sink_whose_file_is_not_below_the_directory_is_a_condition() {
        let sink = |path: &str| Sink::File {
            path: path.to_owned(),
            max_bytes: 4096,
            keep: 0,
        };
        let sinks = [
            ("in", sink("/var/log/palisade/a")),
            ("out", sink("/etc/passwd")),
            ("said", Sink::Stdout),
        ];
        let trouble = String::new();
        let fetching = Readiness::Fetching { trouble };
        let loaded = LoadedPlugins::of("plugin/reads", PluginKind::Auditor, &sinks, fetching);
        let report = told(&Observed::default(), &loaded, &BindFailures::default());
        let mut conditions = report.conditions.iter();
        let condition = conditions.find(|told| told.r#type == "SinkRefused");
        let message = &condition.expect("told").message;
        assert!(message.contains("`out` of plugin `reads`"), "{message}");
        assert!(!conditions.any(|told| told.r#type == "SinkRefused"));
    }

    #[test]
    fn a_plugin_is_a_condition_until_it_can_be_asked() {
        let told = |readiness| {
            let loaded = LoadedPlugins::of("plugin/asked", PluginKind::Matcher, &[], readiness);
            let report = told(&Observed::default(), &loaded, &BindFailures::default());
            let conditions = report.conditions.into_iter();
            conditions
                .map(|told| (told.r#type, told.reason, told.message))
                .collect::<Vec<_>>()
        };
        let trouble = "no connection".to_owned();
        for (readiness, expected, why) in [
            (
                Readiness::Fetching { trouble },
                "Fetching",
                "(no connection)",
            ),
            (
                Readiness::Refused {
                    reason: "imports `x`".to_owned(),
                },
                "Refused",
                "(imports `x`)",
            ),
        ] {
            let [(kind, reason, message)] = &told(readiness)[..] else {
                panic!("one is told");
            };
            assert_eq!((&**kind, &**reason), ("PluginsUnavailable", expected));
            assert!(
                message.contains("`asked`") && message.contains(why),
                "{message}"
            );
        }
        assert_eq!(told(Readiness::Ready(BTreeMap::new())), []);
    }

    #[test]
    fn a_number_that_could_not_be_bound_is_a_condition() {
        let bind_failures = BindFailures::default();
        bind_failures.failed(Number::Queue(7601), &io::ErrorKind::ResourceBusy.into());
        let (observed, plugins) = (Observed::default(), LoadedPlugins::default());
        let told = || told(&observed, &plugins, &bind_failures).conditions;
        let [condition] = &told()[..] else {
            panic!("{:?}", told());
        };
        assert_eq!(condition.r#type, "PluginsUnavailable");
        assert!(condition.message.contains("NFQUEUE 7601"));
        bind_failures.settled(Number::Queue(7601));
        assert_eq!(told(), []);
    }
}
