//! FelixConfiguration.

use palisade_model::{FelixScope, Spec};
use serde_json::json;

use super::{refused, resource, taken};

#[test]
fn a_name_says_which_nodes_a_configuration_is_for() {
    let scope = |name: &str, spec| match taken(&resource("FelixConfiguration", name, spec))
        .resource
        .spec
    {
        Spec::FelixConfiguration(felix) => felix.scope,
        other => panic!("{other:?}"),
    };
    assert_eq!(scope("default", json!({})), FelixScope::Global);
    assert!(matches!(scope("node.a.b", json!({})), FelixScope::Node(name) if name == "a.b"));
    assert!(matches!(
        scope("racks", json!({"nodeSelector": "rack == '1'"})),
        FelixScope::Selected(_)
    ));
    assert_eq!(scope("racks", json!({})), FelixScope::None);
    for name in ["default", "node.h1"] {
        assert_eq!(
            refused(&resource(
                "FelixConfiguration",
                name,
                json!({"nodeSelector": "has(a)"})
            )),
            ["spec.nodeSelector"]
        );
    }
    for selector in ["has(", "global()"] {
        assert_eq!(
            refused(&resource(
                "FelixConfiguration",
                "racks",
                json!({"nodeSelector": selector})
            )),
            ["spec.nodeSelector"]
        );
    }
    for name in ["Default", "node.", "node.A"] {
        assert_eq!(
            refused(&resource("FelixConfiguration", name, json!({}))),
            ["metadata.name"]
        );
    }
}

#[test]
fn settings_take_their_own_values_only() {
    for (name, good, bad) in [
        (
            "defaultEndpointToHostAction",
            vec![json!("Drop"), json!("accept"), json!("RETURN"), json!("")],
            vec![json!("Deny"), json!(1)],
        ),
        (
            "logActionRateLimit",
            vec![json!("1/second"), json!("9999/day"), json!("10/hour")],
            vec![
                json!("0/minute"),
                json!("10000/day"),
                json!("010/day"),
                json!("+5/day"),
                json!("5/week"),
                json!("5"),
                json!("5 /day"),
            ],
        ),
        (
            "logActionRateLimitBurst",
            vec![json!(0), json!(9999)],
            vec![json!(-1), json!(10_000)],
        ),
        (
            "logPrefix",
            vec![json!("a %t %k: x/_-9"), json!("")],
            vec![json!("a\"b"), json!("a\n"), json!("ü")],
        ),
        (
            "logSeverityScreen",
            vec![json!("Info"), json!("Trace")],
            vec![json!("Loud")],
        ),
        (
            "iptablesFilterDenyAction",
            vec![json!("Drop"), json!("Reject")],
            vec![json!("Accept")],
        ),
        (
            "nftablesFilterAllowAction",
            vec![json!("Accept"), json!("Return")],
            vec![json!("Drop")],
        ),
        (
            "nftablesMarkMask",
            vec![json!(0xffff_0000_u32), json!(31)],
            vec![json!(0), json!(15), json!(0x1_0000_0000_u64)],
        ),
        (
            "nftablesRefreshInterval",
            vec![json!("90s"), json!("1m30s"), json!("0")],
            vec![json!("90"), json!("1d"), json!("-1s")],
        ),
        (
            "workloadSourceSpoofing",
            vec![json!("Any"), json!("Disabled")],
            vec![json!("None")],
        ),
        (
            "ipv6Support",
            vec![json!(true)],
            vec![json!("true"), json!(1)],
        ),
        (
            "interfaceExclude",
            vec![json!("kube-ipvs0,/^veth/"), json!("")],
            vec![json!("/(/"), json!("a/b")],
        ),
        (
            "externalNodesList",
            vec![json!(["10.0.0.0/8", "10.0.0.1"])],
            vec![json!(["fd00::/8"]), json!(["x"])],
        ),
        (
            "natPortRange",
            vec![json!("1000:2000"), json!(80)],
            vec![json!("2000:1000"), json!("http")],
        ),
        (
            "kubeNodePortRanges",
            vec![json!(["1000:2000", 80])],
            vec![json!([0])],
        ),
        (
            "natOutgoingAddress",
            vec![json!("192.0.2.1"), json!("")],
            vec![json!("x")],
        ),
        (
            "healthTimeoutOverrides",
            vec![json!([{"name": "a B_-", "timeout": "5s"}])],
            vec![
                json!([{"name": "a.b", "timeout": "5s"}]),
                json!([{"name": "a", "timeout": "x"}]),
                json!([{"timeout": "1s"}]),
            ],
        ),
        (
            "interfacePrefix",
            vec![json!("cali,tap-1._"), json!("")],
            vec![json!("a b"), json!("cali,"), json!("a/b")],
        ),
        (
            "openstackRegion",
            vec![json!("north-1"), json!("")],
            vec![json!("RegionOne"), json!("a.b"), json!("-a")],
        ),
        (
            "deviceRouteSourceAddress",
            vec![json!("192.0.2.1")],
            vec![json!("fd00::1"), json!("x")],
        ),
        (
            "deviceRouteSourceAddressIPv6",
            vec![json!("fd00::1")],
            vec![json!("192.0.2.1")],
        ),
        (
            "routeTableRange",
            vec![json!({"min": 1, "max": 250})],
            vec![
                json!({"min": 0, "max": 9}),
                json!({"min": 9, "max": 8}),
                json!({"min": 1, "max": 251}),
                json!({"max": 9}),
            ],
        ),
        (
            "routeTableRanges",
            vec![json!([{"min": 1, "max": 65000}])],
            vec![json!([{"min": -1, "max": 9}])],
        ),
        ("floatingIPs", vec![json!("Enabled")], vec![json!("On")]),
    ] {
        for value in good {
            taken(&resource(
                "FelixConfiguration",
                "default",
                json!({name: value}),
            ));
        }
        for value in bad {
            let found = refused(&resource(
                "FelixConfiguration",
                "default",
                json!({name: value}),
            ));
            let below = found
                .iter()
                .all(|path| path.starts_with(&format!("spec.{name}")));
            assert!(below, "{name}: {value}: {found:?}");
        }
    }
    let both = json!({"routeTableRange": {"min": 1, "max": 2}, "routeTableRanges": [{"min": 1, "max": 2}]});
    assert_eq!(
        refused(&resource("FelixConfiguration", "default", both)),
        ["spec.routeTableRanges"]
    );
    assert_eq!(
        refused(&resource(
            "FelixConfiguration",
            "default",
            json!({"noSuchSetting": 1})
        )),
        ["spec.noSuchSetting"]
    );
}

#[test]
fn failsafes_have_a_protocol_with_ports_a_port_and_perhaps_a_network() {
    for list in ["failsafeInboundHostPorts", "failsafeOutboundHostPorts"] {
        let of = |entry| resource("FelixConfiguration", "default", json!({list: [entry]}));
        for entry in [
            json!({"protocol": "TCP", "port": 22}),
            json!({"protocol": "udp", "port": 0}),
            json!({"protocol": "Sctp", "port": 65535, "net": "fd00::/8"}),
            json!({"protocol": "tcp", "port": 22, "net": "10.0.0.1/8"}),
        ] {
            taken(&of(entry));
        }
        for (entry, field) in [
            (json!({"port": 22}), "protocol"),
            (json!({"protocol": "", "port": 22}), "protocol"),
            (json!({"protocol": "ICMP", "port": 22}), "protocol"),
            (json!({"protocol": "tcp"}), "port"),
            (json!({"protocol": "tcp", "port": -22}), "port"),
            (json!({"protocol": "tcp", "port": 65536}), "port"),
            (
                json!({"protocol": "tcp", "port": 22, "net": "10.0.0.1"}),
                "net",
            ),
            (json!({"protocol": "tcp", "port": 22, "net": "x"}), "net"),
        ] {
            assert_eq!(refused(&of(entry)), [format!("spec.{list}[0].{field}")]);
        }
        taken(&resource(
            "FelixConfiguration",
            "default",
            json!({list: []}),
        ));
        let none = resource("FelixConfiguration", "default", json!({list: "none"}));
        assert_eq!(refused(&none), [format!("spec.{list}")]);
    }
}
