//! A whole network of namespaces, laid out as a topology says: hosts and workloads, a bridge per segment, and a
//! namespace for the control plane with a management link to every protected host.
//!
//! Owns no policy. The host's own firewall and address translation of the format are set up here, since the product
//! must not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use ipnet::IpNet;

use crate::format::{Host, Interface, Listener, NetworkChange, Protocol, Topology, Workload};
use crate::netns::{Namespace, conntrack};
use crate::traffic::responder::Responder;
use commands::{
    address_command, host_side_commands, interface_commands, own_ruleset, workload_side_commands,
};

mod commands;

/// Where the control plane listens; protected hosts reach it over `mgmt0`.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The interface of a protected host that leads to the control plane.
pub const MANAGEMENT_INTERFACE: &str = "mgmt0";

/// A laid-out network. Everything is gone on drop.
pub struct Sandbox {
    stations: BTreeMap<String, Station>,
    controlplane: Namespace,
    fabric: Fabric,
}

/// A host or a workload: something that sends and answers.
pub struct Station {
    namespace: Namespace,
    addresses: BTreeSet<IpAddr>,
    primary: [Option<IpAddr>; 2],
    responder: Responder,
}

/// The namespace with the bridges.
struct Fabric {
    namespace: Namespace,
    segments: Vec<String>,
    ports: u32,
}

impl Sandbox {
    /// Lays the topology out. Every station echoes the raw protocols in `raw`.
    ///
    /// # Errors
    ///
    /// Where the machine refuses, or the topology contradicts itself.
    pub fn build(topology: &Topology, raw: &BTreeSet<u8>) -> Result<Self> {
        let workloads = || topology.hosts.iter().flat_map(|host| &host.workloads);
        let mut roles = vec!["fabric", "controlplane"];
        roles.extend(topology.hosts.iter().map(|host| host.name.as_str()));
        roles.extend(workloads().map(|workload| workload.name.as_str()));
        let mut namespaces = Namespace::create_all(&roles)?.into_iter();
        let mut next = || namespaces.next().context("a namespace for every role");
        let fabric = Fabric {
            namespace: next()?,
            segments: Vec::new(),
            ports: 0,
        };
        let mut sandbox = Self {
            stations: BTreeMap::new(),
            controlplane: next()?,
            fabric,
        };
        for host in &topology.hosts {
            sandbox.add_host(host, next()?, raw)?;
        }
        for workload in workloads() {
            sandbox.add_workload(workload, next()?, raw)?;
        }
        sandbox.wire(topology)?;
        for (name, station) in &mut sandbox.stations {
            station
                .responder
                .listen_on(&station.addresses)
                .with_context(|| format!("listeners of {name}"))?;
        }
        Ok(sandbox)
    }

    /// The host or workload of that name.
    ///
    /// # Errors
    ///
    /// Where the topology has none.
    pub fn station(&self, name: &str) -> Result<&Station> {
        self.stations
            .get(name)
            .with_context(|| format!("the topology has no `{name}`"))
    }

    /// The namespace in which the control plane runs.
    pub fn controlplane(&self) -> &Namespace {
        &self.controlplane
    }

    /// Changes the network outside the product, as a step asks.
    ///
    /// # Errors
    ///
    /// Where the change makes no sense here.
    pub fn change(&mut self, change: &NetworkChange) -> Result<()> {
        let station = self
            .stations
            .get_mut(&change.host)
            .with_context(|| format!("no `{}`", change.host))?;
        let interface = || {
            change
                .interface
                .as_deref()
                .context("the change names no interface")
        };
        if let Some(address) = change.add {
            station
                .namespace
                .ip(&address_command("add", address, interface()?))?;
            station.addresses.insert(address.addr());
        }
        if let Some(address) = change.remove {
            station
                .namespace
                .ip(&format!("addr del {address} dev {}\n", interface()?))?;
            station.addresses.remove(&address.addr());
        }
        if let Some(name) = &change.create_interface {
            let segment = change.segment.clone().unwrap_or_else(|| "lan".to_owned());
            let new = Interface {
                name: name.clone(),
                address: None,
                address6: None,
                segment,
                extra_addresses: change.address.into_iter().collect(),
            };
            let wiring = self.fabric.link(&station.namespace, &new);
            self.fabric.namespace.ip(&wiring)?;
            station.namespace.ip(&interface_commands(&new))?;
            station
                .addresses
                .extend(new.addresses().map(|net| net.addr()));
        }
        if change.flush_neighbours {
            station.namespace.ip("neigh flush all\n")?;
        }
        station.responder.listen_on(&station.addresses)
    }

    /// Makes every host and workload forget its tracked connections, but those with a source port in `keep`.
    ///
    /// # Errors
    ///
    /// Where the kernel has no ctnetlink.
    pub fn forget_connections(&self, keep: &BTreeSet<u16>) -> Result<()> {
        self.stations
            .values()
            .try_for_each(|station| conntrack::forget_except(&station.namespace, keep))
    }

    fn add_host(&mut self, host: &Host, namespace: Namespace, raw: &BTreeSet<u8>) -> Result<()> {
        if host.forwards {
            namespace.sysctl("ipv4.ip_forward", "1")?;
            namespace.sysctl("ipv6.conf.all.forwarding", "1")?;
            namespace.sysctl("ipv6.conf.default.forwarding", "1")?;
        }
        let addresses: BTreeSet<IpAddr> = host
            .interfaces
            .iter()
            .flat_map(Interface::addresses)
            .map(|net| net.addr())
            .collect();
        let first = host.interfaces.first();
        let primary = [
            first.and_then(|interface| interface.address),
            first.and_then(|interface| interface.address6),
        ];
        self.add(
            &host.name,
            namespace,
            addresses,
            primary,
            &host.listeners,
            raw,
        )
    }

    fn add_workload(
        &mut self,
        workload: &Workload,
        namespace: Namespace,
        raw: &BTreeSet<u8>,
    ) -> Result<()> {
        let primary = [workload.address, workload.address6];
        let addresses = primary.iter().flatten().map(IpNet::addr).collect();
        self.add(
            &workload.name,
            namespace,
            addresses,
            primary,
            &workload.listeners,
            raw,
        )
    }

    fn add(
        &mut self,
        name: &str,
        namespace: Namespace,
        addresses: BTreeSet<IpAddr>,
        primary: [Option<IpNet>; 2],
        listeners: &[Listener],
        raw: &BTreeSet<u8>,
    ) -> Result<()> {
        let mut listeners: BTreeSet<Listener> = listeners.iter().copied().collect();
        listeners.extend(raw.iter().map(|number| Listener {
            proto: Protocol::Number(*number),
            port: 0,
        }));
        let responder = Responder::start(name, &namespace, listeners)?;
        let primary = primary.map(|net| net.map(|net| net.addr()));
        self.stations.insert(
            name.to_owned(),
            Station {
                namespace,
                addresses,
                primary,
                responder,
            },
        );
        Ok(())
    }

    fn wire(&mut self, topology: &Topology) -> Result<()> {
        let mut fabric = String::new();
        let mut inside: BTreeMap<&str, String> = BTreeMap::new();
        let mut management = vec![(&self.controlplane, IpAddr::from(CONTROL_PLANE))];
        for (host, number) in topology.hosts.iter().zip(10..) {
            let namespace = &self.stations[&host.name].namespace;
            for interface in &host.interfaces {
                fabric.push_str(&self.fabric.link(namespace, interface));
                inside
                    .entry(&host.name)
                    .or_default()
                    .push_str(&interface_commands(interface));
            }
            if host.protected {
                management.push((namespace, Ipv4Addr::new(198, 18, 0, number).into()));
            }
        }
        let mut links = Vec::new();
        for (namespace, address) in management {
            let address = Some(IpNet::new(address, 24).context("24 fits IPv4")?);
            let name = MANAGEMENT_INTERFACE.to_owned();
            let link = Interface {
                name,
                address,
                address6: None,
                segment: "management".to_owned(),
                extra_addresses: vec![],
            };
            fabric.push_str(&self.fabric.link(namespace, &link));
            links.push((namespace, interface_commands(&link)));
        }
        self.fabric.namespace.ip(&fabric)?;
        for (namespace, commands) in links {
            namespace.ip(&commands)?;
        }
        for host in &topology.hosts {
            let mut commands = inside.remove(host.name.as_str()).unwrap_or_default();
            for workload in &host.workloads {
                commands.push_str(&host_side_commands(
                    workload,
                    self.stations[&workload.name].namespace.name(),
                ));
            }
            for route in &host.routes {
                writeln!(commands, "route add {} via {}", route.to, route.via)?;
            }
            let namespace = &self.stations[&host.name].namespace;
            namespace.ip(&commands)?;
            for workload in &host.workloads {
                namespace.sysctl(&format!("ipv4.conf.{}.proxy_arp", workload.interface), "1")?;
                namespace.sysctl(&format!("ipv6.conf.{}.proxy_ndp", workload.interface), "1")?;
                self.stations[&workload.name]
                    .namespace
                    .ip(&workload_side_commands(workload))?;
            }
            let script = own_ruleset(host);
            if !script.is_empty() {
                namespace.nft(&script)?;
            }
        }
        Ok(())
    }
}

impl Station {
    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The address others reach it at, of the asked family.
    pub fn address(&self, ipv6: bool) -> Option<IpAddr> {
        self.primary[usize::from(ipv6)]
    }

    /// True where the address is one of its own.
    pub fn owns(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }

    /// What answers there.
    pub fn responder(&self) -> &Responder {
        &self.responder
    }
}

impl Fabric {
    /// Commands that make `interface` in `namespace` and put its other end on the bridge of its segment.
    fn link(&mut self, namespace: &Namespace, interface: &Interface) -> String {
        let mut commands = String::new();
        let bridge = match self
            .segments
            .iter()
            .position(|segment| *segment == interface.segment)
        {
            Some(known) => format!("br{known}"),
            None => {
                let bridge = format!("br{}", self.segments.len());
                self.segments.push(interface.segment.clone());
                // Without snooping, so that neighbour discovery never waits for a listener report.
                commands = format!(
                    "link add {bridge} type bridge mcast_snooping 0\nlink set {bridge} up\n"
                );
                bridge
            }
        };
        let port = format!("port{}", self.ports);
        self.ports += 1;
        commands
            + &format!(
                "link add {port} type veth peer name {} netns {}\nlink set {port} master {bridge} up\n",
                interface.name,
                namespace.name()
            )
    }
}
