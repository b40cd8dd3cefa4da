//! The names, labels, addresses and ports that worlds are made of.

use ipnet::IpNet;
use std::net::IpAddr;

pub(super) const NAMESPACES: [&str; 2] = ["blue", "green"];
pub(super) const ACCOUNTS: [&str; 2] = ["reader", "writer"];
pub(super) const TIERS: [&str; 4] = ["default", "t1", "t2", "gone"];
pub(super) const PROFILES: [&str; 5] = [
    "p1",
    "p2",
    "p-missing",
    "projectcalico-default-allow",
    "kns.blue",
];
pub(super) const PORT_NAMES: [&str; 3] = ["http", "dns", "alt-1"];

/// Plugin, settings and failure policy of rules that ask: of their own, of the plugin, of nobody.
pub(super) const QUESTIONS: [(&str, Option<u8>, Option<&str>); 7] = [
    ("m1", None, Some("deny")),
    ("m1", Some(1), None),
    ("m1", Some(2), Some("no-match")),
    ("m2", None, None),
    ("m2", Some(1), Some("match")),
    ("gone", None, Some("allow")),
    ("reader", None, None),
];

/// Labels of endpoints and sets, and what selectors ask about.
pub(super) const LABELS: [(&str, &[&str]); 4] = [
    ("role", &["db", "web", "web-cache"]),
    ("env", &["prod", "dev"]),
    ("example.com/zone", &["a", "b-1"]),
    ("bad", &[""]),
];

/// Labels of namespaces and accounts; profiles carry them with a prefix.
pub(super) const TEAM: (&str, &[&str]) = ("team", &["red", "white"]);

pub(super) const ADDRESSES_4: [&str; 12] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.9",
    "10.0.1.1",
    "10.0.1.2",
    "10.65.0.1",
    "10.65.0.2",
    "127.0.0.1",
    "192.0.2.7",
    "203.0.113.9",
];
pub(super) const ADDRESSES_6: [&str; 9] = [
    "fd00::1",
    "fd00::2",
    "fd00::3",
    "fd00::7",
    "fd00:0:0:1::1",
    "fd00:65::1",
    "fd00:65::2",
    "::1",
    "2001:db8::9",
];
pub(super) const NETS_4: [&str; 10] = [
    "10.0.0.0/24",
    "10.0.0.0/30",
    "10.0.0.2/31",
    "10.0.0.3/32",
    "10.0.1.0/24",
    "10.65.0.0/16",
    "192.0.2.7/32",
    "127.0.0.0/8",
    "203.0.113.0/24",
    "0.0.0.0/0",
];
pub(super) const NETS_6: [&str; 7] = [
    "fd00::/64",
    "fd00::2/127",
    "fd00::3/128",
    "fd00:0:0:1::/64",
    "fd00:65::/32",
    "2001:db8::/32",
    "::/0",
];
pub(super) const PORTS: [u16; 13] = [
    1, 22, 53, 68, 80, 81, 90, 443, 4789, 6666, 7600, 8080, 65535,
];
pub(super) const RANGES: [&str; 5] = ["80:90", "81:82", "1:1024", "8000:65535", "443:443"];

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("the pools hold addresses")
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().expect("the pools hold nets")
}
