//! Other programs write the packet mark, all 32 bits of it, wherever they like: no verdict of ours changes, and their mark
//! arrives as they left it.

use super::{
    HOST, HOST6, Network, OUTSIDE, OUTSIDE6, WORKLOAD,
    asking::Daemon,
    network::Datagram,
    on_a_host,
    view::{Listed, Open, endpoint, enforce_asking, nothing},
};
use crate::namespace::nft;
use palisade_netfilter::Netfilter;
use palisade_policy::{
    class::{
        Direction::{Egress, Ingress},
        PolicyList::{Forward, Normal, PreDnat, Untracked},
    },
    plugin::OnFailure,
    view::View,
};
use std::sync::Arc;

/// A program that writes marks.
#[derive(Clone, Copy, Debug)]
struct Writer {
    /// Its base chains, each with one rule.
    chains: &'static [&'static str],
    /// What it leaves in packets on their way in and through, and on their way out.
    left: [&'static str; 2],
}

/// As mesh VPNs and cluster networks do: a mark for what a LAN sends, and a masquerade by it.
const MESH: Writer = Writer {
    chains: &[
        "chain a { type filter hook prerouting priority -150; \
         ct state new,untracked meta mark set 0x1bd22; }",
        "chain b { type nat hook postrouting priority 100; meta mark 0x1bd22 masquerade; }",
    ],
    left: ["0x1bd22", "0"],
};

/// As service meshes do, on every way.
const SIDECAR: Writer = Writer {
    chains: &[
        "chain a { type filter hook input priority -100; meta mark set 0x6d6f6c65; }",
        "chain b { type filter hook forward priority -100; meta mark set 0x6d6f6c65; }",
        "chain c { type filter hook output priority -100; meta mark set 0x6d6f6c65; }",
    ],
    left: ["0x6d6f6c65", "0x6d6f6c65"],
};

/// As policy routing does: the mark of the flow becomes that of the packet. What is not tracked has none.
const RESTORE: Writer = Writer {
    chains: &[
        "chain a { type filter hook prerouting priority -190; ct mark set 0x1bd77; }",
        "chain b { type filter hook prerouting priority -150; \
         meta l4proto udp meta mark set ct mark; }",
    ],
    left: ["{ 0, 0x1bd77 }", "0"],
};

/// The same where flows have no mark.
const CLEAR: Writer = Writer {
    chains: &["chain a { type filter hook prerouting priority -150; \
               meta l4proto udp meta mark set ct mark; }"],
    left: ["0", "0"],
};

/// Writes every bit between all stages, nothing and everything by turns.
const EVERYWHERE: Writer = Writer {
    chains: &[
        "chain a { type filter hook prerouting priority -301; meta mark set 0xffffffff; }",
        "chain b { type filter hook prerouting priority -299; meta mark set 0; }",
        "chain c { type filter hook prerouting priority -149; meta mark set 0xffffffff; }",
        "chain d { type filter hook input priority -4; meta mark set 0x12345678; }",
        "chain e { type filter hook forward priority -4; meta mark set 0x12345678; }",
        "chain f { type filter hook output priority -301; meta mark set 0xffffffff; }",
        "chain g { type filter hook output priority -299; meta mark set 0; }",
        "chain h { type filter hook output priority -6; meta mark set 0xffffffff; }",
        "chain i { type filter hook postrouting priority -6; meta mark set 0x87654321; }",
    ],
    left: ["{ 0x12345678, 0xffffffff }", "0x87654321"],
};

/// Counts what arrives, and what does so with another mark than the writer left.
fn watch(writer: Writer) {
    let [inward, outward] = writer.left;
    nft(&["add", "table", "inet", "watch"]);
    for counter in ["arrived", "changed"] {
        nft(&["add", "counter", "inet", "watch", counter]);
    }
    for (hook, left) in [
        ("input", inward),
        ("forward", inward),
        ("postrouting", outward),
    ] {
        // What is forwarded has been counted when it leaves.
        let own = if hook == "postrouting" { "iif 0" } else { "" };
        load(&format!(
            "table inet watch {{ chain {hook} {{ type filter hook {hook} priority 90; \
             {own} meta l4proto udp counter name arrived; \
             {own} meta l4proto udp meta mark != {left} counter name changed; }} }}"
        ));
    }
}

/// Loads a table that is written in one line; nft wants more of them.
fn load(table: &str) {
    let lines = table.replace("; }", ";\n}").replace("} chain", "}\nchain");
    nft(&[&lines.replace("} }", "}\n}")]);
}

fn counted(counter: &str) -> u64 {
    let text = nft(&["list", "counter", "inet", "watch", counter]);
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    let number = words.nth(1).expect("a number of packets");
    number.parse().expect("a number")
}

/// Tests with a writer that registered its chains before ours, and with one that came after.
fn beside(
    writer: Writer,
    view: impl Fn() -> View + Send + 'static,
    test: impl Fn(&Network) + Send + 'static,
) {
    let add = |writer: Writer| {
        for chain in writer.chains {
            load(&format!("table inet writer {{ {chain} }}"));
        }
    };
    on_a_host(move |kernel: &mut Netfilter, network| {
        add(writer);
        watch(writer);
        let (_, asking) = enforce_asking(kernel, &view());
        let _daemon = (!asking.is_empty()).then(|| Daemon::start(&asking));
        test(network);
        nft(&["delete", "table", "inet", "writer"]);
        add(writer);
        test(network);
        assert!(counted("arrived") > 0, "{writer:?}");
        assert_eq!(counted("changed"), 0, "{writer:?}");
    });
}

fn closed_but(lists: &[Listed]) -> View {
    let mut view = nothing();
    endpoint(&mut view, "eth0", &[], lists);
    view
}

fn inbound(network: &Network, port: u16, expected: bool) {
    network.inbound(Datagram::new(OUTSIDE, HOST, port), expected);
    network.inbound(Datagram::new(OUTSIDE6, HOST6, port), expected);
}

fn outbound(network: &Network, port: u16, expected: bool) {
    network.outbound(Datagram::new(HOST, OUTSIDE, port), expected);
    network.outbound(Datagram::new(HOST6, OUTSIDE6, port), expected);
}

#[test]
fn a_mark_of_another_program_does_not_open_what_pre_dnat_policy_leaves_closed() {
    let view = || closed_but(&[(PreDnat, Ingress, Open::To(&[5000]))]);
    beside(MESH, view, |network| {
        inbound(network, 5000, true);
        inbound(network, 5001, false);
    });
}

#[test]
fn nor_what_untracked_policy_leaves_closed() {
    let view = || closed_but(&[(Untracked, Ingress, Open::To(&[3000]))]);
    beside(MESH, view, |network| {
        inbound(network, 3000, true);
        inbound(network, 3001, false);
    });
}

#[test]
fn a_mark_set_just_before_our_chains_opens_neither_way() {
    let view = || {
        closed_but(&[
            (Untracked, Ingress, Open::To(&[3000])),
            (Untracked, Egress, Open::To(&[3000])),
        ])
    };
    beside(SIDECAR, view, |network| {
        inbound(network, 3000, true);
        inbound(network, 3001, false);
        outbound(network, 3000, true);
        outbound(network, 3001, false);
    });
}

#[test]
fn the_mark_of_the_flow_does_not_close_what_pre_dnat_policy_opens() {
    for writer in [CLEAR, RESTORE] {
        let view = || closed_but(&[(PreDnat, Ingress, Open::To(&[5000]))]);
        beside(writer, view, |network| {
            inbound(network, 5000, true);
            inbound(network, 5001, false);
        });
    }
}

/// All lists at once; the workload is no workload of ours here.
fn every_list() -> View {
    let mut view = nothing();
    Arc::make_mut(&mut view.config).interface_prefixes.clear();
    let lists = [
        (Untracked, Ingress, Open::To(&[3000, 3002])),
        (Untracked, Egress, Open::To(&[3000])),
        (PreDnat, Ingress, Open::To(&[5000, 5002, 8080, 8084, 9002])),
        (Forward, Ingress, Open::Nothing),
    ];
    endpoint(&mut view, "eth0", &[], &lists);
    let lists = [
        (Normal, Egress, Open::To(&[3000, 3001, 8081, 9999])),
        (Untracked, Ingress, Open::To(&[3000])),
        (PreDnat, Ingress, Open::To(&[8081, 8082])),
    ];
    endpoint(&mut view, "lo", &[], &lists);
    view
}

/// Port 8080 is let through by its number before translation, 8081 and 8082 are not; 9002 would be by its own number only.
fn translate() {
    for (family, workload) in [("ip", WORKLOAD), ("ip6", "")] {
        nft(&["add", "table", family, "translate"]);
        let chain = |text: &str| load(&format!("table {family} translate {{ {text} }}"));
        let forwarded = if workload.is_empty() {
            String::new()
        } else {
            format!(
                "udp dport 8084 dnat to {workload}:9000; udp dport 8085 dnat to {workload}:9002;"
            )
        };
        chain(&format!(
            "chain in {{ type nat hook prerouting priority -100; iif lo return; \
             udp dport 8080 redirect to :9000; udp dport 8081 redirect to :9001; \
             udp dport 8082 redirect to :9002; {forwarded} }}"
        ));
        // Over `lo` what was sent to 9080 arrives as 8081; what was sent to 8082 as 9999.
        chain(
            "chain out { type nat hook output priority -100; oif != lo return; \
             udp dport 9080 redirect to :8081; udp dport 8082 redirect to :9999; }",
        );
    }
    // Keeps 5002 and 5003 out of connection tracking, and 3002 and 3003 in a zone, which undoes a later notrack.
    load(
        "table inet strange { \
         chain untrack { type filter hook prerouting priority -290; udp dport 5002-5003 notrack; } \
         chain zone { type filter hook prerouting priority -310; udp dport 3002-3003 ct zone set 7; } \
         chain later { type filter hook prerouting priority -250; udp dport 5000-5001 ct zone set 9; } \
         }",
    );
}

fn every_way(network: &Network) {
    // Tracked in a zone, not tracked by policy, not tracked by others, in a zone that keeps what policy untracks tracked.
    for port in [5000, 3000, 5002, 3002] {
        inbound(network, port, true);
        inbound(network, port + 1, false);
    }
    outbound(network, 3000, true);
    outbound(network, 3001, false);
    for (from, to) in [(OUTSIDE, HOST), (OUTSIDE6, HOST6)] {
        let redirected = |port, arrives| Datagram::new(from, to, port).arrives_at(arrives);
        network.inbound(redirected(8080, 9000), true);
        network.inbound(redirected(9000, 9000), false);
        network.inbound(redirected(8081, 9001), false);
        network.inbound(redirected(8082, 9002), false);
        network.inbound(redirected(9002, 9002), true);
    }
    let forwarded = |to, port, arrives| Datagram::new(OUTSIDE, to, port).arrives_at(arrives);
    network.workload_in(forwarded(HOST, 8084, 9000), true);
    network.workload_in(forwarded(WORKLOAD, 9000, 9000), false);
    network.workload_in(forwarded(HOST, 8085, 9002), false);
    network.workload_in(forwarded(WORKLOAD, 9002, 9002), true);
    for local in ["127.0.0.1", "::1"] {
        let own = |port, arrives, expected| {
            let packet = Datagram::new(local, local, port).arrives_at(arrives);
            network.between(&network.host, &network.host, packet, expected);
        };
        own(9080, 8081, true);
        own(8081, 8081, true);
        own(8082, 9999, false);
        own(9999, 9999, false);
        // It is tracked since it was sent, whatever policy says.
        own(3000, 3000, true);
        own(3001, 3001, false);
    }
}

fn judged_on_every_way(writer: Writer) {
    let view = || {
        translate();
        every_list()
    };
    beside(writer, view, every_way);
}

#[test]
fn every_way_is_judged_beside_a_mesh() {
    judged_on_every_way(MESH);
}

#[test]
fn every_way_is_judged_beside_a_sidecar() {
    judged_on_every_way(SIDECAR);
}

#[test]
fn every_way_is_judged_beside_policy_routing() {
    judged_on_every_way(RESTORE);
}

#[test]
fn every_way_is_judged_whatever_is_written_between_all_stages() {
    judged_on_every_way(EVERYWHERE);
}

/// Plugins are asked on every way beside early lists, whatever is written where, before us or after.
#[test]
fn what_plugins_say_decides_beside_every_writer() {
    for writer in [MESH, SIDECAR, RESTORE, CLEAR, EVERYWHERE] {
        let view = || {
            let mut view = nothing();
            let asks = || Open::Asking(53, OnFailure::NoMatch);
            let lists = [
                (Untracked, Ingress, Open::To(&[3000])),
                (Untracked, Egress, Open::To(&[3000])),
                (PreDnat, Ingress, Open::To(&[5000])),
                (Normal, Ingress, asks()),
                (Normal, Egress, asks()),
                (Forward, Ingress, asks()),
                (Forward, Egress, asks()),
            ];
            endpoint(&mut view, "eth0", &[], &lists);
            let lists = [(Normal, Ingress, asks()), (Normal, Egress, asks())];
            endpoint(&mut view, "cali1", &[WORKLOAD], &lists);
            view
        };
        beside(writer, view, |network| {
            inbound(network, 3000, true);
            inbound(network, 5000, true);
            inbound(network, 5001, false);
            outbound(network, 3001, false);
            for (byte, passes) in [(b'y', true), (b'n', false), (b'f', false)] {
                let of = |from, to| Datagram::new(from, to, 53).saying(byte);
                network.inbound(of(OUTSIDE, HOST), passes);
                network.inbound(of(OUTSIDE6, HOST6), passes);
                network.outbound(of(HOST, OUTSIDE), passes);
                network.outbound(of(HOST6, OUTSIDE6), passes);
                network.workload_in(of(OUTSIDE, WORKLOAD), passes);
                network.workload_out(of(WORKLOAD, OUTSIDE), passes);
            }
        });
    }
}
