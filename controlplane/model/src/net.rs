//! Addresses and networks as resources write them.

use std::net::IpAddr;

use ipnet::IpNet;

/// A network of a rule: a CIDR without host bits. A bare address is refused, as in Calico.
pub(crate) fn parse_rule_net(text: &str) -> Result<IpNet, String> {
    let net = parse_cidr(text)?;
    match net.trunc() == net {
        true => Ok(net),
        false => Err(format!(
            "`{text}` has host bits set: write `{}`",
            net.trunc()
        )),
    }
}

/// A CIDR, host bits masked off. A bare address is refused with the CIDR that means it.
pub(crate) fn parse_cidr(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(format!(
            "`{text}` is an address where a CIDR is wanted: write `{}`",
            IpNet::from(address)
        ));
    }
    text.parse().map_err(|_| format!("`{text}` is not a CIDR"))
}

/// A member of a network set: an address or a CIDR, host bits masked off.
pub(crate) fn parse_member(text: &str) -> Result<IpNet, String> {
    let net = text
        .parse::<IpAddr>()
        .map(IpNet::from)
        .or_else(|_| text.parse::<IpNet>());
    net.map(|net| net.trunc())
        .map_err(|_| format!("`{text}` is neither an address nor a CIDR"))
}

/// A plain address.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.parse::<IpNet>() {
        Ok(net) => format!(
            "`{text}` is a CIDR where an address is wanted: write `{}`",
            net.addr()
        ),
        Err(_) => format!("`{text}` is not an IP address"),
    })
}
