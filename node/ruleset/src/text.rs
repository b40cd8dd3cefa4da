//! A ruleset as `nft -f` reads it. For goldens, logs and people; what goes to the kernel is encoded elsewhere.
//!
//! Two different values never have the same text: chain names are digests of it.

use crate::ir::{
    Base, Chain, Element, End, Expression, Hook, IcmpTest, Key, LogTo, Map, Rule, Ruleset, Set,
    Shape, State, Table, TableName, Verdict,
};
use palisade_policy::rule::{Family, Protocol};
use std::{
    fmt::{self, Write as _},
    net::Ipv6Addr,
};

mod value;

/// The whole ruleset, tables in order.
pub fn render(ruleset: &Ruleset) -> String {
    let mut out = String::new();
    for (name, table) in &ruleset.tables {
        write_table(&mut out, *name, table).expect("a string takes everything");
    }
    out
}

/// One rule, without a line's end.
pub fn render_rule(rule: &Rule) -> String {
    let mut out = String::new();
    write_rule(&mut out, rule).expect("a string takes everything");
    out
}

fn write_table(out: &mut String, name: TableName, table: &Table) -> fmt::Result {
    writeln!(out, "table inet {} {{", name.as_str())?;
    for (name, set) in &table.sets {
        write_set(out, name.as_str(), set)?;
    }
    for (name, map) in &table.maps {
        write_map(out, name.as_str(), map)?;
    }
    for (name, chain) in &table.chains {
        write_chain(out, name.as_str(), chain)?;
    }
    writeln!(out, "}}")
}

fn write_set(out: &mut String, name: &str, set: &Set) -> fmt::Result {
    let kind = if set.shape.leads_to_mark() {
        "map"
    } else {
        "set"
    };
    writeln!(out, "\t{kind} {name} {{")?;
    writeln!(out, "\t\ttype {}", shape(set.shape))?;
    write_flags(out, set.interval)?;
    if set.shape.is_volatile() {
        writeln!(out, "\t\tflags timeout")?;
    }
    let elements: Vec<String> = set.elements.iter().map(element).collect();
    write_elements(out, &elements)?;
    writeln!(out, "\t}}")
}

fn write_map(out: &mut String, name: &str, map: &Map) -> fmt::Result {
    writeln!(out, "\tmap {name} {{")?;
    writeln!(out, "\t\ttype {} : verdict", shape(map.shape))?;
    write_flags(out, map.interval)?;
    let elements: Vec<String> = map
        .elements
        .iter()
        .map(|(key, to)| format!("{} : {to}", element(key)))
        .collect();
    write_elements(out, &elements)?;
    writeln!(out, "\t}}")
}

fn write_flags(out: &mut String, interval: bool) -> fmt::Result {
    if interval {
        writeln!(out, "\t\tflags interval")?;
    }
    Ok(())
}

fn write_elements(out: &mut String, elements: &[String]) -> fmt::Result {
    if !elements.is_empty() {
        writeln!(
            out,
            "\t\telements = {{ {} }}",
            elements.join(",\n\t\t\t     ")
        )?;
    }
    Ok(())
}

fn write_chain(out: &mut String, name: &str, chain: &Chain) -> fmt::Result {
    writeln!(out, "\tchain {name} {{")?;
    if let Some(Base { hook, priority }) = chain.base {
        writeln!(
            out,
            "\t\ttype filter hook {hook} priority {priority}; policy accept;"
        )?;
    }
    for rule in chain.rules.iter() {
        write!(out, "\t\t")?;
        write_rule(out, rule)?;
        writeln!(out)?;
    }
    writeln!(out, "\t}}")
}

fn write_rule(out: &mut String, rule: &Rule) -> fmt::Result {
    let mut protocol = None;
    for (i, expression) in rule.expressions.iter().enumerate() {
        if i > 0 {
            out.write_char(' ')?;
        }
        if let Expression::Protocol {
            protocol: tested,
            not: false,
        } = expression
        {
            protocol = Some(*tested);
        }
        write_expression(out, expression, protocol)?;
    }
    if let Some(id) = rule.id {
        write!(out, " comment \"{id}\"")?;
    }
    Ok(())
}

fn write_expression(
    out: &mut String,
    expression: &Expression,
    protocol: Option<Protocol>,
) -> fmt::Result {
    match expression {
        Expression::Family(family) => write!(out, "meta nfproto {}", nfproto(*family)),
        Expression::Protocol { protocol, not } => {
            write!(out, "meta l4proto {}", negated(*not))?;
            value::write_protocol(out, *protocol)
        }
        Expression::Interface { side, name, not } => {
            write!(
                out,
                "{side} {}{}",
                negated(*not),
                value::quoted(name.as_str())
            )
        }
        Expression::InterfacePrefix { side, prefix } => {
            let quoted = value::quoted(prefix);
            write!(out, "{side} {}*\"", quoted.trim_end_matches('"'))
        }
        Expression::NotLocal => write!(out, "iif != 0"),
        Expression::Net { end, net, not } => {
            let family = palisade_policy::rule::family_of(net);
            write!(out, "{} {}", address(family, *end), negated(*not))?;
            value::write_net(out, net)
        }
        Expression::Port { end, range, not } => {
            write!(out, "{} {}{}", port(*end), negated(*not), range.first())?;
            if range.first() < range.last() {
                write!(out, "-{}", range.last())?;
            }
            Ok(())
        }
        Expression::Icmp(test) => write_icmp(out, test, protocol),
        Expression::Lookup { key, set, not } => {
            write!(out, "{} {}@{set}", Looked(*key), negated(*not))
        }
        Expression::VerdictMap { key, map } => write!(out, "{} vmap @{map}", Looked(*key)),
        Expression::CtState(states) => {
            let states: Vec<&str> = states.iter().map(|s| state(*s)).collect();
            write!(out, "ct state {}", states.join(","))
        }
        Expression::CtDnat => write!(out, "ct status dnat"),
        Expression::CtUnconfirmed => write!(out, "ct status & confirmed == 0"),
        Expression::Mark { mask, value } => {
            write!(out, "meta mark & {mask:#010x} == {value:#010x}")
        }
        Expression::SetMark { mask, value } => {
            write!(out, "meta mark set meta mark & {:#010x}", !mask)?;
            if *value != 0 {
                write!(out, " | {value:#010x}")?;
            }
            Ok(())
        }
        Expression::MapMark { mask, map } => {
            write!(
                out,
                "meta mark set {} map @{map}",
                Looked(Key::Mark { mask: *mask })
            )
        }
        Expression::Notrack => write!(out, "notrack"),
        Expression::Counter => write!(out, "counter"),
        Expression::Limit {
            rate,
            seconds,
            burst,
        } => {
            let per = match seconds {
                60 => "minute",
                3600 => "hour",
                86400 => "day",
                _ => "second",
            };
            write!(out, "limit rate {rate}/{per} burst {burst} packets")
        }
        Expression::Log { prefix, to } => {
            write!(out, "log prefix {}", value::quoted(prefix))?;
            match to {
                LogTo::Kernel => write!(out, " level info"),
                LogTo::Group(group) => {
                    write!(out, " group {group} snaplen 96 queue-threshold 64")
                }
            }
        }
        Expression::Queue(number) => write!(out, "queue num {number}"),
        Expression::Verdict(verdict) => write!(out, "{verdict}"),
        Expression::Reject => write!(out, "reject with icmpx port-unreachable"),
        Expression::Foreign(what) => write!(out, "# {what}"),
    }
}

fn write_icmp(out: &mut String, test: &IcmpTest, protocol: Option<Protocol>) -> fmt::Result {
    let icmp = match protocol {
        Some(Protocol::ICMPV6) => "icmpv6",
        _ => "icmp",
    };
    match (test.code, test.not) {
        (None, not) => write!(out, "{icmp} type {}{}", negated(not), test.icmp_type),
        (Some(code), false) => {
            write!(out, "{icmp} type {} {icmp} code {code}", test.icmp_type)
        }
        (Some(code), true) => write!(
            out,
            "{icmp} type . {icmp} code != {{ {} . {code} }}",
            test.icmp_type
        ),
    }
}

struct Looked(Key);

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Key::Interface(side) => write!(f, "{side}"),
            Key::Address(family, end) => f.write_str(address(family, end)),
            Key::Family => f.write_str("meta nfproto"),
            Key::Protocol => f.write_str("meta l4proto"),
            Key::Port(end) => f.write_str(port(end)),
            Key::ProtocolPort(end) => write!(f, "meta l4proto . {}", port(end)),
            Key::AddressProtocolPort(family, end) => {
                write!(f, "{} . meta l4proto . {}", address(family, end), port(end))
            }
            Key::InterfaceAddress(side, family, end) => {
                write!(f, "{side} . {}", address(family, end))
            }
            Key::Flow(family) => {
                let (from, to) = (
                    address(family, End::Source),
                    address(family, End::Destination),
                );
                write!(f, "{from} . {to} . meta l4proto . th dport")
            }
            Key::Socket(family) => {
                let (from, to) = (
                    address(family, End::Source),
                    address(family, End::Destination),
                );
                write!(f, "{from} . {to} . meta l4proto . th sport . th dport")
            }
            Key::Mark { mask: u32::MAX } => f.write_str("meta mark"),
            Key::Mark { mask } => write!(f, "meta mark & {mask:#010x}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

const fn negated(not: bool) -> &'static str {
    if not { "!= " } else { "" }
}

const fn nfproto(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

const fn address(family: Family, end: End) -> &'static str {
    match (family, end) {
        (Family::V4, End::Source) => "ip saddr",
        (Family::V4, End::Destination) => "ip daddr",
        (Family::V6, End::Source) => "ip6 saddr",
        (Family::V6, End::Destination) => "ip6 daddr",
        (Family::V4, End::Original) => "ct original ip daddr",
        (Family::V6, End::Original) => "ct original ip6 daddr",
    }
}

const fn port(end: End) -> &'static str {
    match end {
        End::Source => "th sport",
        End::Destination => "th dport",
        End::Original => "ct original proto-dst",
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Invalid => "invalid",
        State::Established => "established",
        State::Related => "related",
        State::New => "new",
        State::Untracked => "untracked",
    }
}

const fn shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Interface => "ifname",
        Shape::Address4 => "ipv4_addr",
        Shape::Address6 => "ipv6_addr",
        Shape::Family => "nf_proto",
        Shape::Protocol => "inet_proto",
        Shape::Port => "inet_service",
        Shape::ProtocolPort => "inet_proto . inet_service",
        Shape::Address4ProtocolPort => "ipv4_addr . inet_proto . inet_service",
        Shape::Address6ProtocolPort => "ipv6_addr . inet_proto . inet_service",
        Shape::InterfaceAddress4 => "ifname . ipv4_addr",
        Shape::InterfaceAddress6 => "ifname . ipv6_addr",
        Shape::Flow4 => "ipv4_addr . ipv4_addr . inet_proto . inet_service",
        Shape::Flow6 => "ipv6_addr . ipv6_addr . inet_proto . inet_service",
        Shape::Socket4 => "ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service",
        Shape::Socket6 => "ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service",
        Shape::Mark => "mark",
        Shape::MarkToMark => "mark : mark",
        Shape::Position => "ipv6_addr . ipv6_addr . ipv6_addr . ipv6_addr",
    }
}

fn element(element: &Element) -> String {
    let mut out = value::text(&element.first);
    if let Some(last) = &element.last {
        out.push('-');
        out.push_str(&value::text(last));
    }
    out
}

/// The four addresses that a position looks like.
fn position(bytes: &[u8; 64]) -> String {
    let parts: Vec<String> = bytes
        .as_chunks::<16>()
        .0
        .iter()
        .map(|part| Ipv6Addr::from(*part).to_string())
        .collect();
    parts.join(" . ")
}
