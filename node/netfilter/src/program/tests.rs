//! Each of [`super::emit`] and [`super::recognise`] against the other.

use super::{Instruction, emit, recognise};
use palisade_policy::{
    ids::IfName,
    rule::{Family, PortRange, Protocol},
};
use palisade_ruleset::ir::{
    ChainName, End, Expression, IcmpTest, Key, LogTo, SetName, Side, State, Verdict,
};
use proptest::{prelude::*, sample::subsequence};
use std::net::{Ipv4Addr, Ipv6Addr};

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Source),
        Just(End::Destination),
        Just(End::Original)
    ]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::In), Just(Side::Out)]
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        side().prop_map(Key::Interface),
        (family(), end()).prop_map(|(family, end)| Key::Address(family, end)),
        Just(Key::Protocol),
        Just(Key::Family),
        family().prop_map(Key::Flow),
        family().prop_map(Key::Socket),
        end().prop_map(Key::Port),
        end().prop_map(Key::ProtocolPort),
        (family(), end()).prop_map(|(family, end)| Key::AddressProtocolPort(family, end)),
        (side(), family(), end())
            .prop_map(|(s, family, end)| Key::InterfaceAddress(s, family, end)),
        any::<u32>().prop_map(|mask| Key::Mark { mask }),
    ]
}

fn net() -> impl Strategy<Value = ipnet::IpNet> {
    let v4 =
        (any::<u32>(), 0..=32_u8).prop_map(|(a, n)| ipnet::IpNet::new(Ipv4Addr::from(a).into(), n));
    let v6 = (any::<u128>(), 0..=128_u8)
        .prop_map(|(a, n)| ipnet::IpNet::new(Ipv6Addr::from(a).into(), n));
    prop_oneof![v4, v6].prop_map(|net| net.expect("a prefix length").trunc())
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,14}"
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Accept),
        Just(Verdict::Drop),
        Just(Verdict::Return),
        name().prop_map(|chain| Verdict::Jump(ChainName::new(chain))),
        name().prop_map(|chain| Verdict::Goto(ChainName::new(chain))),
    ]
}

fn test() -> impl Strategy<Value = Expression> {
    let states = vec![
        State::Invalid,
        State::Established,
        State::Related,
        State::New,
        State::Untracked,
    ];
    prop_oneof![
        family().prop_map(Expression::Family),
        (any::<u8>(), any::<bool>()).prop_map(|(p, not)| Expression::Protocol {
            protocol: Protocol(p),
            not
        }),
        (side(), name(), any::<bool>()).prop_map(|(side, name, not)| Expression::Interface {
            side,
            name: IfName::new(name),
            not
        }),
        (side(), name()).prop_map(|(side, prefix)| Expression::InterfacePrefix { side, prefix }),
        Just(Expression::NotLocal),
        (end(), net(), any::<bool>()).prop_map(|(end, net, not)| Expression::Net { end, net, not }),
        (end(), any::<(u16, u16)>(), any::<bool>()).prop_map(|(end, (a, b), not)| {
            let range = PortRange::new(a.min(b), a.max(b)).expect("in order");
            Expression::Port { end, range, not }
        }),
        (any::<u8>(), any::<Option<u8>>(), any::<bool>()).prop_map(|(icmp_type, code, not)| {
            Expression::Icmp(IcmpTest {
                icmp_type,
                code,
                not,
            })
        }),
        subsequence(states, 1..=5).prop_map(Expression::CtState),
        Just(Expression::CtDnat),
        Just(Expression::CtUnconfirmed),
        any::<(u32, u32)>().prop_map(|(mask, value)| Expression::Mark { mask, value }),
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    let to = prop_oneof![Just(LogTo::Kernel), any::<u16>().prop_map(LogTo::Group),];
    prop_oneof![
        4 => test(),
        2 => (key(), name(), any::<bool>()).prop_map(|(key, set, not)| Expression::Lookup {
            key,
            set: SetName::new(set),
            not
        }),
        1 => (key(), name()).prop_map(|(key, map)| Expression::VerdictMap {
            key,
            map: SetName::new(map)
        }),
        1 => any::<(u32, u32)>().prop_map(|(mask, value)| Expression::SetMark {
            mask,
            value: value & mask
        }),
        1 => (any::<u32>(), name()).prop_map(|(mask, map)| Expression::MapMark {
            mask,
            map: SetName::new(map)
        }),
        1 => Just(Expression::Notrack),
        1 => Just(Expression::Counter),
        1 => any::<u16>().prop_map(Expression::Queue),
        1 => any::<(u32, u32, u32)>().prop_map(|(rate, seconds, burst)| Expression::Limit {
            rate,
            seconds,
            burst
        }),
        1 => ("[ -~]{1,127}", to).prop_map(|(prefix, to)| Expression::Log { prefix, to }),
        1 => verdict().prop_map(Expression::Verdict),
        1 => Just(Expression::Reject),
    ]
}

fn program(expressions: &[Expression]) -> Vec<Instruction> {
    let mut program = Vec::new();
    for expression in expressions {
        emit(expression, &mut program).expect("has an encoding");
    }
    program
}

proptest! {
    #[test]
    fn what_was_emitted_is_recognised(
        expressions in proptest::collection::vec(expression(), 0..6)
    ) {
        prop_assert_eq!(recognise(&program(&expressions)), expressions);
    }

    #[test]
    fn a_program_with_a_part_missing_is_not_taken_for_the_whole(
        expressions in proptest::collection::vec(expression(), 1..6),
        at in any::<proptest::sample::Index>(),
    ) {
        let mut part = program(&expressions);
        part.remove(at.index(part.len()));
        prop_assert_ne!(recognise(&part), expressions);
    }
}
