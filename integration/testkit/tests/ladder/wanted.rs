//! What every run must reach: fields of every kind, conditions that hold and that do not, reasons at every stage.

/// Areas and what in them.
pub(crate) fn wanted() -> Vec<(&'static str, String)> {
    let mut wanted = Vec::new();
    let mut want = |area, what: &str| wanted.push((area, what.to_owned()));
    VERDICTS.iter().for_each(|what| want("verdict", what));
    STAGES.iter().for_each(|what| want("stage", what));
    for (kind, fields) in FIELDS {
        want("kind", kind);
        fields
            .iter()
            .for_each(|field| want("field", &format!("{kind}.{field}")));
    }
    for kind in POLICIES {
        POLICY_FIELDS
            .iter()
            .for_each(|field| want("field", &format!("{kind}.{field}")));
        for way in ["ingress", "egress"] {
            RULE_FIELDS
                .iter()
                .for_each(|field| want("field", &format!("{kind}.{way}.{field}")));
        }
    }
    for field in PLUGIN_FIELDS {
        for way in ["ingress", "egress"] {
            want(
                "field",
                &format!("GlobalNetworkPolicy.{way}.plugin.{field}"),
            );
        }
    }
    for said in PLUGIN_OUTCOMES {
        want("condition", &format!("rule.plugin{said}"));
    }
    for outcome in ["held", "missed"] {
        for field in RULE_CONDITIONS {
            want("condition", &format!("rule.{field} {outcome}"));
        }
        for end in ["source", "destination"] {
            for field in END_CONDITIONS {
                want("condition", &format!("{end}.{field} {outcome}"));
            }
        }
    }
    wanted
}

const VERDICTS: [&str; 3] = ["Accept", "Drop", "Reject"];

const POLICIES: [&str; 2] = ["GlobalNetworkPolicy", "NetworkPolicy"];

const POLICY_FIELDS: [&str; 5] = [
    "tier",
    "order",
    "selector",
    "serviceAccountSelector",
    "types",
];

const RULE_FIELDS: [&str; 24] = [
    "action",
    "ipVersion",
    "protocol",
    "notProtocol",
    "icmp.type",
    "icmp.code",
    "notICMP.type",
    "notICMP.code",
    "source.nets",
    "source.notNets",
    "source.selector",
    "source.notSelector",
    "source.namespaceSelector",
    "source.ports",
    "source.notPorts",
    "source.serviceAccounts.names",
    "source.serviceAccounts.selector",
    "destination.nets",
    "destination.notNets",
    "destination.selector",
    "destination.notSelector",
    "destination.namespaceSelector",
    "destination.ports",
    "destination.notPorts",
];

const PLUGIN_FIELDS: [&str; 3] = ["name", "settings.of", "onFailure"];

const PLUGIN_OUTCOMES: [&str; 6] = [
    " held",
    " missed",
    ", without answer: match held",
    ", without answer: no-match missed",
    ", without answer: deny held",
    ", without answer: allow held",
];

const FIELDS: &[(&str, &[&str])] = &[
    (
        "GlobalNetworkPolicy",
        &[
            "namespaceSelector",
            "applyOnForward",
            "doNotTrack",
            "preDNAT",
        ],
    ),
    (
        "StagedGlobalNetworkPolicy",
        &["stagedAction", "tier", "ingress", "egress"],
    ),
    (
        "StagedNetworkPolicy",
        &["stagedAction", "tier", "ingress", "egress"],
    ),
    ("Tier", &["order", "defaultAction"]),
    (
        "Profile",
        &["ingress.action", "egress.action", "labelsToApply"],
    ),
    (
        "HostEndpoint",
        &[
            "node",
            "interfaceName",
            "expectedIPs",
            "profiles",
            "ports.name",
        ],
    ),
    (
        "WorkloadEndpoint",
        &[
            "interfaceName",
            "ipNetworks",
            "profiles",
            "ports.name",
            "serviceAccountName",
            "allowSpoofedSourcePrefixes",
        ],
    ),
    ("GlobalNetworkSet", &["nets"]),
    ("NetworkSet", &["nets"]),
    (
        "FelixConfiguration",
        &[
            "failsafeInboundHostPorts",
            "failsafeInboundHostPorts.net",
            "failsafeOutboundHostPorts",
            "failsafeOutboundHostPorts.net",
            "defaultEndpointToHostAction",
            "interfacePrefix",
            "interfaceExclude",
            "nftablesFilterDenyAction",
            "disableConntrackInvalidCheck",
            "ipv6Support",
            "allowVXLANPacketsFromWorkloads",
            "allowIPIPPacketsFromWorkloads",
            "vxlanPort",
            "workloadSourceSpoofing",
            "nodeSelector",
        ],
    ),
    (
        "PalisadeConfiguration",
        &[
            "exemptions.loopback",
            "exemptions.neighbourDiscovery",
            "exemptions.dhcp6",
            "exemptions.controlPlane",
        ],
    ),
];

const RULE_CONDITIONS: [&str; 5] = ["ipVersion", "protocol", "notProtocol", "icmp", "notICMP"];

const END_CONDITIONS: [&str; 11] = [
    "nets",
    "notNets",
    "selector",
    "selector in a namespace",
    "notSelector",
    "namespaceSelector",
    "serviceAccounts",
    "ports",
    "ports by name",
    "ports, some by name",
    "notPorts",
];

const STAGES: &[&str] = &[
    "ForwardHostIn: AllowedBefore",
    "ForwardHostIn: EndOfList",
    "ForwardHostIn: Established",
    "ForwardHostIn: FamilyLeftAlone",
    "ForwardHostIn: Invalid",
    "ForwardHostIn: NoPolicy",
    "ForwardHostIn: NotGoverned",
    "ForwardHostIn: Rule of GlobalNetworkPolicy",
    "ForwardHostIn: TierEnd",
    "ForwardHostOut: EndOfList",
    "ForwardHostOut: Invalid",
    "ForwardHostOut: NoPolicy",
    "ForwardHostOut: NotGoverned",
    "ForwardHostOut: Rule of GlobalNetworkPolicy",
    "ForwardHostOut: TierEnd",
    "ForwardWorkloadFrom: EndOfProfiles",
    "ForwardWorkloadFrom: Invalid",
    "ForwardWorkloadFrom: MissingProfile",
    "ForwardWorkloadFrom: Rule of GlobalNetworkPolicy",
    "ForwardWorkloadFrom: Rule of NetworkPolicy",
    "ForwardWorkloadFrom: Rule of Profile",
    "ForwardWorkloadFrom: TierEnd",
    "ForwardWorkloadFrom: Tunnel",
    "ForwardWorkloadFrom: UnknownWorkload",
    "ForwardWorkloadTo: EndOfProfiles",
    "ForwardWorkloadTo: Invalid",
    "ForwardWorkloadTo: MissingProfile",
    "ForwardWorkloadTo: Rule of GlobalNetworkPolicy",
    "ForwardWorkloadTo: Rule of NetworkPolicy",
    "ForwardWorkloadTo: Rule of Profile",
    "ForwardWorkloadTo: TierEnd",
    "ForwardWorkloadTo: UnknownWorkload",
    "Input: AllowedBefore",
    "Input: EndOfProfiles",
    "Input: EndpointToHost",
    "Input: Established",
    "Input: Exempt(\"dhcp6\")",
    "Input: Exempt(\"neighbourDiscovery\")",
    "Input: Failsafe",
    "Input: FamilyLeftAlone",
    "Input: Invalid",
    "Input: MissingProfile",
    "Input: NotGoverned",
    "Input: Rule of GlobalNetworkPolicy",
    "Input: Rule of Profile",
    "Input: TierEnd",
    "Input: Tunnel",
    "Input: UnknownWorkload",
    "Input: WorkloadDiscovery",
    "Output: AllowedBefore",
    "Output: EndOfProfiles",
    "Output: Established",
    "Output: Exempt(\"controlPlane\")",
    "Output: Exempt(\"dhcp6\")",
    "Output: Exempt(\"neighbourDiscovery\")",
    "Output: Failsafe",
    "Output: FamilyLeftAlone",
    "Output: HostToWorkload",
    "Output: Invalid",
    "Output: MissingProfile",
    "Output: NotGoverned",
    "Output: Rule of GlobalNetworkPolicy",
    "Output: Rule of Profile",
    "Output: TierEnd",
    "OutputTranslated: EndOfProfiles",
    "OutputTranslated: Established",
    "OutputTranslated: Exempt(\"controlPlane\")",
    "OutputTranslated: Exempt(\"dhcp6\")",
    "OutputTranslated: Exempt(\"neighbourDiscovery\")",
    "OutputTranslated: Failsafe",
    "OutputTranslated: HostToWorkload",
    "OutputTranslated: MissingProfile",
    "OutputTranslated: NotGoverned",
    "OutputTranslated: Rule of GlobalNetworkPolicy",
    "OutputTranslated: Rule of Profile",
    "OutputTranslated: TierEnd",
    "PreDnat: EndOfList",
    "PreDnat: Exempt(\"dhcp6\")",
    "PreDnat: Exempt(\"neighbourDiscovery\")",
    "PreDnat: Failsafe",
    "PreDnat: Invalid",
    "PreDnat: Rule of GlobalNetworkPolicy",
    "UntrackedIn: EndOfList",
    "UntrackedIn: Exempt(\"controlPlane\")",
    "UntrackedIn: Exempt(\"neighbourDiscovery\")",
    "UntrackedIn: Failsafe",
    "UntrackedIn: FailsafeReply",
    "UntrackedIn: Rule of GlobalNetworkPolicy",
    "UntrackedIn: Spoofed",
    "UntrackedIn: UnknownWorkload",
    "UntrackedOut: EndOfList",
    "UntrackedOut: Exempt(\"controlPlane\")",
    "UntrackedOut: Exempt(\"neighbourDiscovery\")",
    "UntrackedOut: Failsafe",
    "UntrackedOut: FailsafeReply",
    "UntrackedOut: Rule of GlobalNetworkPolicy",
];
