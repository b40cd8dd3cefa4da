//! What `ip` and `nft` are told when a sandbox is laid out.

use ipnet::IpNet;

use crate::format::{Host, Interface, NatHook, Workload};

/// As every `cali` interface has it, so that its link-local address is known beforehand.
const WORKLOAD_GATEWAY_MAC: &str = "ee:ee:ee:ee:ee:ee";
const WORKLOAD_GATEWAY: &str = "169.254.1.1";
const WORKLOAD_GATEWAY6: &str = "fe80::ecee:eeff:feee:eeee";

/// Adds or removes an address.
pub(super) fn address_command(verb: &str, address: IpNet, interface: &str) -> String {
    let nodad = if address.addr().is_ipv6() {
        " nodad"
    } else {
        ""
    };
    format!("addr {verb} {address} dev {interface}{nodad}\n")
}

/// Brings an interface up and gives it its addresses.
pub(super) fn interface_commands(interface: &Interface) -> String {
    let up = format!("link set {} up\n", interface.name);
    interface.addresses().fold(up, |commands, address| {
        commands + &address_command("add", address, &interface.name)
    })
}

/// The host's end of a workload's link, and the routes to it.
pub(super) fn host_side_commands(workload: &Workload, namespace: &str) -> String {
    let interface = &workload.interface;
    let mut commands = format!(
        "link add {interface} address {WORKLOAD_GATEWAY_MAC} type veth peer name eth0 netns {namespace}\n\
         link set {interface} up\n"
    );
    for net in [workload.address, workload.address6].into_iter().flatten() {
        commands.push_str(&format!("route add {net} dev {interface}\n"));
    }
    commands
}

/// The workload's end: its addresses, and a default route to its host.
pub(super) fn workload_side_commands(workload: &Workload) -> String {
    let mut commands = "link set eth0 up\n".to_owned();
    if let Some(net) = workload.address {
        // Proxy ARP answers only where the host has a route to the gateway address; the fixed entry needs none.
        commands.push_str(&format!(
            "addr add {net} dev eth0\n\
             neigh add {WORKLOAD_GATEWAY} lladdr {WORKLOAD_GATEWAY_MAC} dev eth0 nud permanent\n\
             route add {WORKLOAD_GATEWAY} dev eth0 scope link\n\
             route add default via {WORKLOAD_GATEWAY} dev eth0\n"
        ));
    }
    if let Some(net) = workload.address6 {
        commands.push_str(&address_command("add", net, "eth0"));
        commands.push_str(&format!(
            "route add ::/0 via {WORKLOAD_GATEWAY6} dev eth0\n"
        ));
    }
    commands
}

/// The host's own firewall and translations, as an nft script; empty where it has none.
pub(super) fn own_ruleset(host: &Host) -> String {
    let mut script = String::new();
    if host.firewall.is_some() {
        script.push_str(
            "table inet hostfirewall { chain input { type filter hook input priority 300; policy accept;\n ct state new drop\n }\n }\n",
        );
    }
    for (number, nat) in host.nat.iter().enumerate() {
        let hook = match nat.hook {
            NatHook::Prerouting => "prerouting",
            NatHook::Output => "output",
        };
        let family = if nat.address.is_ipv6() { "ip6" } else { "ip" };
        script.push_str(&format!(
            "table {family} hostnat{number} {{ chain translate {{ type nat hook {hook} priority -100; policy accept;\n \
             {family} daddr {} {} dport {} dnat to {}\n }}\n }}\n",
            nat.address, nat.proto, nat.port, nat.to
        ));
    }
    script
}
