//! A host with the interfaces of a world, what is at the other end of its wires, and who watches.

use super::craft::{LIFE, write};
use anyhow::{Context, Result, bail};
use palisade_integration::netns::{Door, Namespace};
use palisade_netfilter::Netfilter;
use palisade_ruleset::{diff, ir::Ruleset};
use palisade_testkit::{
    document::Machine,
    packet::{Packet, Way},
};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, sockopt};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    os::fd::OwnedFd,
    process::Command,
    time::{Duration, Instant},
};

/// What leads to local delivery, and, for the sender, to the one interface that nothing leaves by.
const LOCAL: u8 = 0x04;
/// The type of service that leads out by each interface.
const CODES: [(&str, u8); 6] = [
    ("eth0", 0x08),
    ("eth1", 0x0c),
    ("eth2", 0x10),
    ("cali1", 0x14),
    ("cali2", 0x18),
    ("tap1", 0x1c),
];
/// The protocol number that says: the header is ours.
const WITH_HEADER: u32 = 255;
/// The number of the first packet: beyond the length of every transport header.
const FIRST: u16 = 64;

/// The type of service that leads out by an interface.
pub(super) fn code(interface: &str) -> Option<u8> {
    let found = CODES.iter().find(|(name, _)| *name == interface);
    found.map(|(_, code)| *code)
}

/// Two namespaces and the wires between them.
pub(super) struct Network {
    host: Namespace,
    outside: Namespace,
}

impl Network {
    /// Lays the wires and has the kernel enforce a ruleset.
    pub(super) fn lay(machine: &Machine, ruleset: &Ruleset) -> Result<Self> {
        let mut both = Namespace::create_all(&["host", "outside"])?.into_iter();
        let (Some(host), Some(outside)) = (both.next(), both.next()) else {
            bail!("two namespaces were asked for");
        };
        let network = Self { host, outside };
        network.settings()?;
        let wires: Vec<&str> = machine
            .interfaces
            .keys()
            .map(String::as_str)
            .filter(|name| *name != "lo")
            .collect();
        network.wires(&wires)?;
        let ruleset = ruleset.clone();
        network.host.run(move || -> Result<()> {
            let mut kernel = Netfilter::open()?;
            kernel.commit(&diff(&Ruleset::default(), &ruleset))?;
            Ok(())
        })?;
        network.watch()?;
        // There since somebody asks about connections.
        network
            .host
            .sysctl("netfilter.nf_conntrack_checksum", "0")?;
        Ok(network)
    }

    fn settings(&self) -> Result<()> {
        for (key, value) in [
            ("ipv4.ip_forward", "1"),
            ("ipv6.conf.all.forwarding", "1"),
            ("ipv4.conf.all.accept_local", "1"),
            ("ipv4.conf.default.accept_local", "1"),
            ("ipv4.conf.all.send_redirects", "0"),
            ("ipv4.conf.default.send_redirects", "0"),
        ] {
            self.host.sysctl(key, value)?;
        }
        Ok(())
    }

    fn wires(&self, wires: &[&str]) -> Result<()> {
        let outside = self.outside.name();
        let (mut here, mut there) = (String::new(), String::new());
        let mac = |end: u8, index: usize| format!("02:00:00:00:0{end}:{index:02x}");
        for (index, wire) in wires.iter().enumerate() {
            writeln!(
                here,
                "link add {wire} address {} type veth peer name {wire} address {} netns {outside}",
                mac(1, index),
                mac(2, index)
            )?;
            writeln!(here, "link set {wire} up")?;
            writeln!(there, "link set {wire} up")?;
            let (leaving, entering) = (code(wire), code(wire).unwrap_or(LOCAL));
            if let Some(code) = leaving {
                way(&mut here, wire, code, &mac(2, index))?;
            }
            way(&mut there, wire, entering, &mac(1, index))?;
        }
        for family in ["-4", "-6"] {
            let any = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
            writeln!(here, "{family} route add local {any} dev lo table {LOCAL}")?;
            writeln!(
                here,
                "{family} rule add pref 10 tos {LOCAL:#x} lookup {LOCAL}"
            )?;
            // What the type of service says comes before what is local.
            for batch in [&mut here, &mut there] {
                writeln!(batch, "{family} rule add pref 100 lookup local")?;
                writeln!(batch, "{family} rule del pref 0")?;
            }
        }
        commands(&self.host, &here)?;
        commands(&self.outside, &there)
    }

    /// Counts what comes before every hook of ours, and remembers what passes behind them.
    fn watch(&self) -> Result<()> {
        let script = format!(
            "table inet watch {{
               counter begun {{ }}
               set seen4 {{ typeof ip id; size 65535; flags dynamic; }}
               set seen6 {{ typeof ip6 length; size 65535; flags dynamic; }}
               chain before_in {{ type filter hook prerouting priority -400
                 iifname != lo ip ttl {LIFE} counter name begun
                 iifname != lo ip6 hoplimit {LIFE} counter name begun
               }}
               chain passed {{
                 ip ttl {{ {LIFE}, {last} }} update @seen4 {{ ip id }}
                 ip6 hoplimit {{ {LIFE}, {last} }} update @seen6 {{ ip6 length }}
               }}
               chain in {{ type filter hook input priority 500
                 iifname != lo jump passed
               }}
               chain out {{ type filter hook postrouting priority 500
                 oifname != lo jump passed
               }}
             }}",
            last = LIFE - 1
        );
        self.host.nft(&script)?;
        Ok(())
    }

    /// Sends packets; says of each whether it passed.
    pub(super) fn send(&self, packets: &[Packet]) -> Result<Vec<bool>> {
        let mut sockets = Sockets::default();
        let mut arriving = 0;
        for (number, packet) in (FIRST..).zip(packets) {
            let (door, lead, tos) = match &packet.way {
                Way::In(from) => (self.outside.door(), code(from).unwrap_or(LOCAL), LOCAL),
                Way::Forward(from, to) => {
                    let out = code(to).context("nothing leaves there")?;
                    (self.outside.door(), code(from).unwrap_or(LOCAL), out)
                }
                Way::Out(to) => {
                    let out = code(to).context("nothing leaves there")?;
                    (self.host.door(), out, out)
                }
            };
            if !matches!(packet.way, Way::Out(_)) {
                arriving += 1;
            }
            let socket = sockets.get(&door, packet.source.is_ipv6(), lead)?;
            let to = SocketAddr::new(packet.destination, 0);
            let bytes = write(packet, tos, number);
            match rustix::net::sendto(socket, &bytes, SendFlags::empty(), &to) {
                Ok(_) => {}
                // What is dropped on the way out, the sender is told.
                Err(rustix::io::Errno::PERM) => {}
                Err(error) => return Err(io::Error::from(error)).context(format!("{packet:?}")),
            }
        }
        self.wait(arriving)?;
        let seen = [self.seen("seen4")?, self.seen("seen6")?];
        let passed = (FIRST..).zip(packets).map(|(number, packet)| {
            let [seen4, seen6] = &seen;
            let seen = if packet.source.is_ipv6() {
                seen6
            } else {
                seen4
            };
            seen.contains(&number)
        });
        Ok(passed.collect())
    }

    /// Until everything sent from outside has come to the first hook, and so through all others.
    fn wait(&self, arriving: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let text = self.list(&["counter", "inet", "watch", "begun"])?;
            let words: Vec<&str> = text.split_whitespace().collect();
            let place = words.iter().position(|word| *word == "packets");
            let count = place.and_then(|at| words.get(at + 1)?.parse::<u64>().ok());
            match count {
                Some(count) if count >= arriving => return Ok(()),
                _ if Instant::now() > deadline => bail!("{count:?} of {arriving} arrived"),
                _ => std::thread::yield_now(),
            }
        }
    }

    fn seen(&self, set: &str) -> Result<BTreeSet<u16>> {
        let text = self.list(&["set", "inet", "watch", set])?;
        let Some((_, elements)) = text.split_once("elements = {") else {
            return Ok(BTreeSet::new());
        };
        let elements = elements.split('}').next().unwrap_or_default();
        let numbers = elements.split(',').map(|element| element.trim().parse());
        numbers
            .collect::<Result<_, _>>()
            .with_context(|| format!("numbers, in {text}"))
    }

    fn list(&self, what: &[&str]) -> Result<String> {
        let mut command = Command::new("nft");
        command.args(["-n", "list"]).args(what);
        let output = self.host.output(&mut command, "")?;
        if !output.status.success() {
            bail!("nft: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Raw sockets by namespace, family and the way they lead.
#[derive(Default)]
struct Sockets(BTreeMap<(String, bool, u8), OwnedFd>);

impl Sockets {
    fn get(&mut self, door: &Door, is_v6: bool, lead: u8) -> Result<&OwnedFd> {
        let key = (door.name().to_owned(), is_v6, lead);
        match self.0.entry(key) {
            std::collections::btree_map::Entry::Occupied(there) => Ok(there.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                let socket = door.run(|| open(is_v6, lead))?;
                Ok(place.insert(socket))
            }
        }
    }
}

fn open(is_v6: bool, lead: u8) -> io::Result<OwnedFd> {
    let family = if is_v6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let number = NonZeroU32::new(WITH_HEADER).map(Protocol::from_raw);
    let socket = rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, number)?;
    match is_v6 {
        true => sockopt::set_ipv6_tclass(&socket, lead.into())?,
        false => sockopt::set_ip_tos(&socket, lead)?,
    }
    Ok(socket)
}

/// What has this type of service leaves by the wire, whoever it is for.
fn way(batch: &mut String, wire: &str, code: u8, mac: &str) -> Result<()> {
    for (family, gateway) in [("-4", "169.254.1.1"), ("-6", "fe80::1")] {
        let gateway: IpAddr = gateway.parse()?;
        writeln!(
            batch,
            "{family} neigh add {gateway} lladdr {mac} nud permanent dev {wire}"
        )?;
        writeln!(
            batch,
            "{family} route add default via {gateway} dev {wire} onlink table {code}"
        )?;
        writeln!(
            batch,
            "{family} rule add pref 10 tos {code:#x} lookup {code}"
        )?;
    }
    Ok(())
}

/// `ip -batch` knows one family at a time, and no option inside a line.
fn commands(namespace: &Namespace, lines: &str) -> Result<()> {
    let of = |prefix: &str| -> String {
        let lines = lines.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let plain: String = lines
        .lines()
        .filter(|line| !line.starts_with('-'))
        .map(|line| format!("{line}\n"))
        .collect();
    namespace.ip(&plain)?;
    namespace.ip(&of("-4 "))?;
    let mut command = Command::new("ip");
    command.args(["-6", "-batch", "-"]);
    let output = namespace.output(&mut command, &of("-6 "))?;
    if !output.status.success() {
        bail!("ip -6: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
