//! Members as elements: overlaps and neighbours never reach the kernel.

use crate::ir::{Element, Value};
use ipnet::IpNet;
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Whether the prefix is one address.
pub(crate) fn is_host(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// Prefixes of one family as elements, and whether the set must be one of intervals: no two overlap or touch.
pub(crate) fn reduce(nets: impl IntoIterator<Item = IpNet>) -> (BTreeSet<Element>, bool) {
    let mut nets: Vec<IpNet> = nets.into_iter().collect();
    if nets.iter().all(is_host) {
        let single = |net: IpNet| Element::single(Value::Address(net.addr()));
        return (nets.into_iter().map(single).collect(), false);
    }
    nets.sort_unstable_by_key(|net| (net.network(), net.broadcast()));
    let mut merged: Vec<(IpAddr, IpAddr)> = Vec::new();
    for net in nets {
        let (first, last) = (net.network(), net.broadcast());
        match merged.last_mut() {
            Some((_, end)) if first <= *end || next(*end) == Some(first) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    let element = |(first, last): (IpAddr, IpAddr)| Element {
        first: Value::Address(first),
        last: (first != last).then_some(Value::Address(last)),
    };
    (merged.into_iter().map(element).collect(), true)
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(a) => u32::from(a)
            .checked_add(1)
            .map(|n| Ipv4Addr::from(n).into()),
        IpAddr::V6(a) => u128::from(a)
            .checked_add(1)
            .map(|n| Ipv6Addr::from(n).into()),
    }
}
