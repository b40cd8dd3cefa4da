//! Every stage with real packets: a host between the outside and its workloads, under views made by hand.

use crate::namespace::{alone, nft, run};
use network::{Datagram, Place};
use palisade_netfilter::Netfilter;
use palisade_policy::{
    class::{
        Direction::{Egress, Ingress},
        PolicyList::{Forward, Normal, PreDnat, Untracked},
    },
    config::EndpointToHostAction,
};
use palisade_ruleset::ir::TableName;
use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use view::{Open, endpoint, enforce, nothing, to_host};

mod asking;
mod foreign_marks;
mod network;
mod replies;
mod translated;
mod view;

const HOST: &str = "10.65.0.1";
const OUTSIDE: &str = "10.65.0.2";
const WORKLOAD: &str = "10.66.1.2";
const STRANGER: &str = "10.66.9.2";
const HOST6: &str = "fd00:65::1";
const OUTSIDE6: &str = "fd00:65::2";

struct Network {
    host: Place,
    outside: Place,
    workload: Place,
    /// Behind a workload interface of which no endpoint knows.
    stranger: Place,
}

impl Network {
    fn new() -> Self {
        run("ip", &["link", "set", "lo", "up"]);
        let host = Place::Host;
        host.set("ipv4/ip_forward", "1");
        let join = |link: &str, net: &str| {
            let peer = Place::behind(link);
            let at = |last: u8| format!("{net}.{last}/24");
            host.ip(&["address", "add", &at(1), "dev", link]);
            peer.ip(&["address", "add", &at(2), "dev", "eth0"]);
            let gateway = format!("{net}.1");
            peer.ip(&["route", "add", "default", "via", &gateway]);
            peer
        };
        let network = Self {
            outside: join("eth0", "10.65.0"),
            workload: join("cali1", "10.66.1"),
            stranger: join("cali9", "10.66.9"),
            host,
        };
        for (place, address) in [(&network.host, HOST6), (&network.outside, OUTSIDE6)] {
            let address = format!("{address}/64");
            place.ip(&["address", "add", &address, "dev", "eth0", "nodad"]);
        }
        network
    }

    fn between(&self, from: &Place, to: &Place, packet: Datagram, expected: bool) {
        assert_eq!(to.receives(from, packet, expected), expected, "{packet:?}");
    }

    fn inbound(&self, packet: Datagram, expected: bool) {
        self.between(&self.outside, &self.host, packet, expected);
    }

    fn outbound(&self, packet: Datagram, expected: bool) {
        self.between(&self.host, &self.outside, packet, expected);
    }

    fn workload_out(&self, packet: Datagram, expected: bool) {
        self.between(&self.workload, &self.outside, packet, expected);
    }

    fn workload_in(&self, packet: Datagram, expected: bool) {
        self.between(&self.outside, &self.workload, packet, expected);
    }
}

fn on_a_host(test: impl FnOnce(&mut Netfilter, &Network) + Send + 'static) {
    alone(|mut kernel| {
        let network = Network::new();
        test(&mut kernel, &network);
    });
}

fn has_raw(ruleset: &palisade_ruleset::ir::Ruleset) -> bool {
    ruleset.tables.contains_key(&TableName::Raw)
}

fn tracked() -> usize {
    let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    count.expect("tracking").trim().parse().expect("a number")
}

#[test]
fn workloads_are_judged_on_every_way() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [
            (Normal, Egress, Open::To(&[1000, 4789])),
            (Normal, Ingress, Open::To(&[2000])),
        ];
        endpoint(&mut view, "cali1", &[WORKLOAD], &lists);
        assert!(has_raw(&enforce(kernel, &view)));
        network.workload_out(Datagram::new(WORKLOAD, OUTSIDE, 1000), true);
        network.workload_out(Datagram::new(WORKLOAD, OUTSIDE, 1001), false);
        network.workload_in(Datagram::new(OUTSIDE, WORKLOAD, 2000), true);
        network.workload_in(Datagram::new(OUTSIDE, WORKLOAD, 2001), false);
        let to_host_at = |port| Datagram::new(WORKLOAD, HOST, port);
        network.between(&network.workload, &network.host, to_host_at(1000), true);
        network.between(&network.workload, &network.host, to_host_at(1001), false);
        // Hosts may always reach their workloads.
        let from_host = Datagram::new("10.66.1.1", WORKLOAD, 2001);
        network.between(&network.host, &network.workload, from_host, true);
        // Allowed by policy, and a tunnel all the same.
        network.workload_out(Datagram::new(WORKLOAD, OUTSIDE, 4789), false);

        to_host(&mut view, EndpointToHostAction::Drop);
        enforce(kernel, &view);
        network.between(&network.workload, &network.host, to_host_at(1000), false);
        network.workload_out(Datagram::new(WORKLOAD, OUTSIDE, 1000), true);

        view.endpoints.clear();
        view.classes.clear();
        view.policies.clear();
        assert!(!has_raw(&enforce(kernel, &view)));
        network.workload_out(Datagram::new(WORKLOAD, OUTSIDE, 1000), false);
        network.workload_in(Datagram::new(OUTSIDE, WORKLOAD, 2000), false);
    });
}

#[test]
fn a_workload_sends_only_from_its_own_addresses() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [(Normal, Egress, Open::To(&[1000]))];
        endpoint(&mut view, "cali1", &[WORKLOAD], &lists);
        let borrowed = "10.66.1.3";
        let also = format!("{borrowed}/24");
        network
            .workload
            .ip(&["address", "add", &also, "dev", "eth0"]);
        network.workload_out(Datagram::new(borrowed, OUTSIDE, 1000), true);
        enforce(kernel, &view);
        network.workload_out(Datagram::new(WORKLOAD, OUTSIDE, 1000), true);
        network.workload_out(Datagram::new(borrowed, OUTSIDE, 1000), false);
        // Who is not known sends nothing and gets nothing.
        let stranger = Datagram::new(STRANGER, OUTSIDE, 1000);
        network.between(&network.stranger, &network.outside, stranger, false);
        let to_stranger = Datagram::new(OUTSIDE, STRANGER, 1000);
        network.between(&network.outside, &network.stranger, to_stranger, false);
    });
}

#[test]
fn forwarded_traffic_is_judged_by_both_host_endpoints_and_the_workload() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [(Normal, Ingress, Open::To(&[2000, 2001]))];
        endpoint(&mut view, "cali1", &[WORKLOAD], &lists);
        endpoint(&mut view, "eth0", &[], &[]);
        enforce(kernel, &view);
        network.workload_in(Datagram::new(OUTSIDE, WORKLOAD, 2001), true);
        let lists = [(Forward, Ingress, Open::To(&[2000]))];
        endpoint(&mut view, "eth0", &[], &lists);
        enforce(kernel, &view);
        network.workload_in(Datagram::new(OUTSIDE, WORKLOAD, 2000), true);
        network.workload_in(Datagram::new(OUTSIDE, WORKLOAD, 2001), false);
    });
}

#[test]
fn untracked_policy_allows_without_tracking_and_leaves_failsafes_tracked() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [
            (Untracked, Ingress, Open::To(&[3000])),
            (Untracked, Egress, Open::From(3000)),
        ];
        endpoint(&mut view, "eth0", &[], &lists);
        enforce(kernel, &view);
        let before = tracked();
        network.inbound(Datagram::new(OUTSIDE, HOST, 3000).out_of(999), true);
        network.outbound(Datagram::new(HOST, OUTSIDE, 999).out_of(3000), true);
        assert_eq!(tracked(), before, "flows of untracked policy are tracked");
        network.inbound(Datagram::new(OUTSIDE, HOST, 3001), false);
        network.outbound(Datagram::new(HOST, OUTSIDE, 3001), false);

        let lists = [
            (Untracked, Ingress, Open::NoTcp),
            (Untracked, Egress, Open::NoTcp),
        ];
        endpoint(&mut view, "eth0", &[], &lists);
        enforce(kernel, &view);
        let ssh = |port| format!("{HOST}:{port}").parse().expect("an address");
        assert!(network.host.accepts(&network.outside, ssh(22), true));
        assert!(!network.host.accepts(&network.outside, ssh(23), false));
    });
}

#[test]
fn an_untracked_allow_out_of_loopback_does_not_open_the_way_in() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [(Untracked, Egress, Open::To(&[8055]))];
        endpoint(&mut view, "lo", &[], &lists);
        // So that marks are believed on arrival.
        let lists = [(Untracked, Ingress, Open::To(&[3000]))];
        endpoint(&mut view, "eth0", &[], &lists);
        let loopback = Datagram::new("127.0.0.1", "127.0.0.1", 8055);
        network.between(&network.host, &network.host, loopback, true);
        enforce(kernel, &view);
        network.between(&network.host, &network.host, loopback, false);
        network.inbound(Datagram::new(OUTSIDE, HOST, 3000), true);
    });
}

#[test]
fn pre_dnat_policy_sees_what_was_sent_and_normal_policy_what_arrives() {
    on_a_host(|kernel, network| {
        nft(&["add", "table", "ip", "translate"]);
        nft(&["add chain ip translate in { type nat hook prerouting priority dstnat; }"]);
        nft(&["add rule ip translate in udp dport 8080 redirect to :9000"]);
        let translated = Datagram::new(OUTSIDE, HOST, 8080).arrives_at(9000);
        let direct = Datagram::new(OUTSIDE, HOST, 9000);
        let mut view = nothing();
        endpoint(&mut view, "eth0", &[], &[]);
        enforce(kernel, &view);
        network.inbound(translated, false);
        let lists = [(PreDnat, Ingress, Open::To(&[8080]))];
        endpoint(&mut view, "eth0", &[], &lists);
        enforce(kernel, &view);
        network.inbound(translated, true);
        network.inbound(direct, false);
        let lists = [(Normal, Ingress, Open::To(&[9000]))];
        endpoint(&mut view, "eth0", &[], &lists);
        enforce(kernel, &view);
        network.inbound(translated, true);
        network.inbound(direct, true);
    });
}

#[test]
fn what_the_host_sends_to_a_translated_address_is_judged_where_it_leaves() {
    on_a_host(|kernel, network| {
        // Before translation the address lies behind another interface.
        network
            .host
            .ip(&["route", "add", "10.101.0.10/32", "dev", "cali9"]);
        nft(&["add", "table", "ip", "translate"]);
        nft(&["add chain ip translate out { type nat hook output priority -100; }"]);
        let to = format!("{OUTSIDE}:8055");
        nft(&[&format!(
            "add rule ip translate out ip daddr 10.101.0.10 udp dport 80 dnat to {to}"
        )]);
        let translated = Datagram::new("0.0.0.0", "10.101.0.10", 80).arrives_at(8055);
        let mut view = nothing();
        endpoint(&mut view, "eth0", &[], &[]);
        enforce(kernel, &view);
        network.outbound(translated, false);
        let lists = [(Normal, Egress, Open::To(&[8055]))];
        endpoint(&mut view, "eth0", &[], &lists);
        enforce(kernel, &view);
        network.outbound(translated, true);
        network.outbound(Datagram::new(HOST, OUTSIDE, 8056), false);
    });
}

#[test]
fn neighbours_are_found_on_a_closed_interface() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [(Untracked, Ingress, Open::To(&[3000]))];
        endpoint(&mut view, "eth0", &[], &lists);
        enforce(kernel, &view);
        network.inbound(Datagram::new(OUTSIDE6, HOST6, 7), true);
        network.inbound(Datagram::new(OUTSIDE6, HOST6, 3000), true);
        network.inbound(Datagram::new(OUTSIDE6, HOST6, 3001), false);
    });
}

/// Datagrams that wait in a socket.
fn waiting(socket: &UdpSocket) -> usize {
    std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count()
}

#[test]
fn stages_come_and_go_while_packets_flow() {
    const CHANGES: usize = 150;
    on_a_host(|kernel, network| {
        let open = (Normal, Ingress, Open::To(&[2000]));
        let mut host_only = nothing();
        endpoint(&mut host_only, "eth0", &[], &[open]);
        let mut everything = nothing();
        let lists = [
            (Normal, Ingress, Open::To(&[2000])),
            (Untracked, Ingress, Open::To(&[3000])),
            (Untracked, Egress, Open::From(3000)),
            (PreDnat, Ingress, Open::To(&[8080])),
        ];
        endpoint(&mut everything, "eth0", &[], &lists);
        let lists = [(Normal, Ingress, Open::To(&[1000]))];
        endpoint(&mut everything, "cali1", &[WORKLOAD], &lists);
        enforce(kernel, &host_only);

        let bind = |port: u16| {
            let socket = UdpSocket::bind(("0.0.0.0", port)).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            socket
        };
        let (allowed, denied) = (bind(2000), bind(4000));
        // Drained between changes only.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&allowed, 1 << 28)
            .expect("a large buffer");
        // Neither of them is ever open: the one has a policy now and then, the other none.
        let closed = [(&network.workload, 2001), (&network.stranger, 1000)]
            .map(|(place, port)| place.there(move || bind(port)));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sending = network.outside.begin(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                // Of its own port each time, so that connection tracking never decides.
                let socket = UdpSocket::bind((OUTSIDE, 0)).expect("a socket");
                for to in [
                    (HOST, 2000),
                    (HOST, 4000),
                    (WORKLOAD, 2001),
                    (STRANGER, 1000),
                ] {
                    socket.send_to(b"?", to).expect("sent");
                }
                sent += 1;
            }
            sent
        });
        let (mut arrived, mut leaked) = (0, 0);
        for n in 0..CHANGES {
            enforce(kernel, if n % 2 == 0 { &everything } else { &host_only });
            arrived += waiting(&allowed);
            leaked += waiting(&denied);
        }
        stop.store(true, Ordering::Relaxed);
        let sent: usize = sending.recv().expect("sent");
        arrived += waiting(&allowed);
        leaked += waiting(&denied);
        let [workload, stranger] = closed.each_ref().map(waiting);
        assert!(sent > CHANGES, "{sent} packets in {CHANGES} changes");
        let leaked = [leaked, workload, stranger];
        let seen = (leaked, arrived);
        assert_eq!(
            seen,
            ([0; 3], sent),
            "leaked to host, workload and stranger; arrived of sent"
        );
    });
}
