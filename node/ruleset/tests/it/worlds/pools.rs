//! Small pools, so that things meet.

use ipnet::IpNet;
use palisade_policy::rule::{Family, PortRange, Protocol};
use proptest::{collection::vec, prelude::*, sample::select};
use std::net::IpAddr;

pub(crate) const POLICIES: [&str; 6] = ["gnp/a", "gnp/b", "gnp/c", "gnp/d", "gnp/e", "gnp/f"];
pub(super) const NETS: [&str; 12] = [
    "10.0.0.0/24",
    "10.0.0.0/30",
    "10.0.0.2/32",
    "10.0.0.3/32",
    "10.0.1.0/24",
    "192.0.2.1/32",
    "0.0.0.0/0",
    "fd00::/64",
    "fd00::2/128",
    "fd00::3/128",
    "fd00:0:0:1::/64",
    "::/0",
];
pub(super) const ADDRESSES_4: [&str; 8] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.9",
    "10.0.1.1",
    "192.0.2.1",
    "0.0.0.0",
    "255.255.255.255",
];
pub(super) const ADDRESSES_6: [&str; 6] = [
    "fd00::1",
    "fd00::2",
    "fd00::3",
    "fd00:0:0:1::1",
    "fe80::1",
    "::",
];
pub(super) const PORTS: [u16; 12] = [1, 22, 53, 79, 80, 81, 90, 91, 443, 546, 547, u16::MAX];
pub(super) const PROTOCOLS: [Protocol; 7] = [
    Protocol::TCP,
    Protocol::UDP,
    Protocol::SCTP,
    Protocol::ICMP,
    Protocol::ICMPV6,
    Protocol::UDPLITE,
    Protocol(4),
];
pub(crate) const SETS: [&str; 4] = ["s:00", "s:01", "s:02", "s:03"];
pub(crate) const PORT_SETS: [&str; 2] = ["p:00", "p:01"];

pub(super) fn port() -> impl Strategy<Value = u16> {
    select(PORTS.as_slice())
}

pub(super) fn range() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        3 => port().prop_map(PortRange::single),
        2 => (port(), port())
            .prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).expect("in order")),
    ]
}

pub(super) fn net() -> impl Strategy<Value = IpNet> {
    select(NETS.as_slice()).prop_map(|net| net.parse().expect("a net"))
}

pub(super) fn address(family: Family) -> impl Strategy<Value = IpAddr> {
    let pool: &[&str] = match family {
        Family::V4 => &ADDRESSES_4,
        Family::V6 => &ADDRESSES_6,
    };
    select(pool.to_vec()).prop_map(|address| address.parse().expect("an address"))
}

pub(super) fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![address(Family::V4), address(Family::V6)]
}

pub(super) fn few<T: std::fmt::Debug + Ord>(
    one: impl Strategy<Value = T> + 'static,
    most: usize,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![
        4 => Just(0_usize),
        1 => 1..=most,
    ]
    .prop_flat_map({
        let one = one.boxed();
        move |n| vec(one.clone(), n)
    })
    .prop_map(|mut all| {
        all.sort_unstable();
        all.dedup();
        all
    })
}
