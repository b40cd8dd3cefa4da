//! Queues, volatile elements and logs, with packets sent on `lo`, refused in output or not.

use crate::{
    everything::{chain_name, ip},
    namespace::{alone, install, listing, run},
};
use palisade_netfilter::{
    Event, Monitor, Netfilter, PutError, Remembered, Volatile,
    nflog::Log,
    queue::{Losses, Queue, QueueConfig, Verdict},
};
use palisade_policy::{
    ids::RuleId,
    rule::{Family, PortRange, Protocol},
};
use palisade_ruleset::{
    diff,
    ir::{
        Base, Chain, End, Expression, Hook, Key, LogTo, Rule, Ruleset, Set, SetName, Shape, Table,
        TableName, Verdict as Nft, names,
    },
    plugins::LogAction,
};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{IpAddr, UdpSocket},
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

const NUMBER: u16 = 7605;
const GROUP: u16 = 7600;
/// Ours, and one that is not.
const ASKED: u32 = 0x0002_0000;
const YES: u32 = 0x0010_0000;
const FOREIGN: u32 = 0x0000_0123;
const LONG: Duration = Duration::from_secs(60);

/// Whether a datagram leaves: what output drops, the sender is told.
fn leaves(to: &str, port: u16) -> bool {
    let wildcard = if to.contains(':') { "::" } else { "0.0.0.0" };
    let socket = UdpSocket::bind((wildcard, 0)).expect("a socket");
    match socket.send_to(b"?", (to, port)) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => panic!("sending to {to} {port}: {error}"),
    }
}

fn rule<const N: usize>(expressions: [Expression; N]) -> Rule {
    Rule::new(expressions.into())
}

fn verdict(verdict: Nft) -> Expression {
    Expression::Verdict(verdict)
}

fn is(mask: u32, value: u32) -> Expression {
    Expression::Mark { mask, value }
}

fn udp(port: u16) -> [Expression; 2] {
    [
        Expression::Protocol {
            protocol: Protocol::UDP,
            not: false,
        },
        Expression::Port {
            end: End::Destination,
            range: PortRange::single(port),
            not: false,
        },
    ]
}

fn member(key: Key, set: &str) -> Expression {
    Expression::Lookup {
        key,
        set: SetName::new(set),
        not: false,
    }
}

/// An output chain of these rules, and volatile sets.
fn ruleset(rules: Vec<Rule>) -> Ruleset {
    let set = |name: &str, shape| {
        let set = Set {
            shape,
            interval: false,
            elements: std::collections::BTreeSet::new(),
        };
        (SetName::new(name), Arc::new(set))
    };
    let base = Some(Base {
        hook: Hook::Output,
        priority: -5,
    });
    let rules = Arc::new(rules);
    let table = Table {
        chains: BTreeMap::from([(chain_name("output"), Chain { base, rules })]),
        sets: BTreeMap::from([
            set(names::PLUGIN_ALIVE, Shape::Family),
            set("match4_1", Shape::Flow4),
            set("match6_1", Shape::Flow6),
            set("match4s_1", Shape::Socket4),
            set("match6s_1", Shape::Socket6),
        ]),
        maps: BTreeMap::new(),
    };
    Ruleset {
        tables: BTreeMap::from([(TableName::Main, table)]),
    }
}

/// Remembered flows leave; of others port 53 is asked about while there is a heartbeat, and leaves with the answer yes.
fn asking() -> Ruleset {
    let [protocol, port] = udp(53);
    ruleset(vec![
        rule([
            Expression::Family(Family::V4),
            member(Key::Flow(Family::V4), "match4_1"),
            verdict(Nft::Accept),
        ]),
        rule([
            Expression::Family(Family::V6),
            member(Key::Flow(Family::V6), "match6_1"),
            verdict(Nft::Accept),
        ]),
        rule([
            Expression::Family(Family::V4),
            member(Key::Socket(Family::V4), "match4s_1"),
            verdict(Nft::Accept),
        ]),
        rule([
            Expression::Family(Family::V6),
            member(Key::Socket(Family::V6), "match6s_1"),
            verdict(Nft::Accept),
        ]),
        rule([
            is(ASKED, 0),
            protocol.clone(),
            port.clone(),
            Expression::SetMark {
                mask: 0xffff,
                value: FOREIGN,
            },
            member(Key::Family, names::PLUGIN_ALIVE),
            Expression::Queue(NUMBER),
        ]),
        rule([is(YES | 0xffff, YES | FOREIGN), verdict(Nft::Accept)]),
        rule([protocol, port, verdict(Nft::Drop)]),
        rule([verdict(Nft::Accept)]),
    ])
}

fn start(kernel: &mut Netfilter, ruleset: &Ruleset) {
    run("ip", &["link", "set", "lo", "up"]);
    let plan = install(ruleset);
    kernel.commit(&plan).expect("committed");
    kernel.read_touched(&plan).expect("as planned");
}

/// Waits until there is something to read.
fn ready(what: &impl AsFd) {
    let mut polled = [rustix::event::PollFd::new(
        what,
        rustix::event::PollFlags::IN,
    )];
    let patience = rustix::time::Timespec {
        tv_sec: 3,
        tv_nsec: 0,
    };
    let count = rustix::event::poll(&mut polled, Some(&patience)).expect("polled");
    assert_eq!(count, 1, "nothing came");
}

/// Answers the next packet that is queued, and says what it was.
fn answer(queue: &mut Queue, yes: bool) -> (Family, u8, u32, Vec<u8>) {
    let mut seen = None;
    while seen.is_none() {
        ready(queue);
        queue
            .receive(|packet| {
                let fact = (
                    packet.family,
                    packet.hook,
                    packet.mark,
                    packet.payload.to_vec(),
                );
                assert!(packet.output.is_some() && packet.input.is_none());
                seen = Some((packet.id, fact));
            })
            .expect("received");
    }
    let (id, fact) = seen.expect("a packet");
    let bits = if yes { ASKED | YES } else { ASKED };
    let mark = fact.2 | bits;
    queue.verdict(id, Verdict::Repeat { mark }).expect("sent");
    fact
}

/// A socket at port 53 of an address.
fn receiver(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 53)).expect("a socket");
    let patience = Some(Duration::from_secs(3));
    socket.set_read_timeout(patience).expect("a time-out");
    socket
}

/// What arrives next.
fn received(socket: &UdpSocket) -> u8 {
    let mut byte = [0];
    socket.recv(&mut byte).expect("a datagram");
    byte[0]
}

#[test]
fn a_queued_packet_comes_back_with_a_mark_that_rules_test() {
    alone(|mut kernel| {
        start(&mut kernel, &asking());
        let mut queue = Queue::open(NUMBER, &QueueConfig::default()).expect("bound");
        Volatile::new(kernel.writer())
            .beat(LONG, &[])
            .expect("alive");
        for (to, family) in [("127.0.0.1", Family::V4), ("::1", Family::V6)] {
            let receiver = receiver(to);
            for (yes, text) in [(false, b"n"), (true, b"y")] {
                receiver.send_to(text, (to, 53)).expect("sent");
                let (seen, hook, mark, payload) = answer(&mut queue, yes);
                assert_eq!((seen, hook, mark), (family, 3, FOREIGN));
                assert_eq!(payload.last(), text.last());
            }
            assert_eq!(received(&receiver), b'y', "{to}");
            assert!(leaves(to, 54), "what nobody asks about");
        }
        assert_eq!(queue.losses(), Losses::default());
        queue.look().expect("listed");
        assert_eq!(queue.losses().full, 0);
    });
}

#[test]
fn without_heartbeat_rules_do_not_queue() {
    alone(|mut kernel| {
        start(&mut kernel, &asking());
        let mut volatile = Volatile::new(kernel.writer());
        volatile.beat(LONG, &[]).expect("alive");
        // A heartbeat is what was said last, however long the one before would have lasted.
        volatile
            .beat(Duration::from_millis(50), &[])
            .expect("alive");
        let mut queue = Queue::open(NUMBER, &QueueConfig::default()).expect("bound");
        let deadline = Instant::now() + Duration::from_secs(5);
        while listing().contains("elements") {
            assert!(Instant::now() < deadline, "the heartbeat does not end");
        }
        assert!(!leaves("127.0.0.1", 53) && !leaves("::1", 53));
        assert_eq!(queue.receive(|_| ()).expect("asked"), 0);
    });
}

#[test]
fn a_remembered_answer_spares_the_queue() {
    alone(|mut kernel| {
        start(&mut kernel, &asking());
        let mut volatile = Volatile::new(kernel.writer());
        let flow = |set: &str, address: &str| Remembered {
            set: SetName::new(set),
            source: ip(address),
            destination: ip(address),
            protocol: Protocol::UDP,
            source_port: None,
            port: 53,
            lifetime: LONG,
        };
        let known = [flow("match4_1", "127.0.0.1"), flow("match6_1", "::1")];
        volatile.remember(&known).expect("remembered");
        volatile.remember(&known).expect("again");
        assert!(leaves("127.0.0.1", 53) && leaves("::1", 53));
        assert!(!leaves("127.0.0.2", 53));
        let gone = volatile.remember(&[flow("match4_2", "127.0.0.1")]);
        assert!(matches!(gone, Err(PutError::Absent)), "{gone:?}");
    });
}

#[test]
fn an_answer_remembered_for_a_socket_is_no_other_sockets() {
    alone(|mut kernel| {
        start(&mut kernel, &asking());
        let mut volatile = Volatile::new(kernel.writer());
        for (set, address) in [("match4s_1", "127.0.0.1"), ("match6s_1", "::1")] {
            let address = ip(address);
            let open = || UdpSocket::bind((address, 0)).expect("bound");
            let (known, other) = (open(), open());
            let port = known.local_addr().expect("bound").port();
            let answer = Remembered {
                set: SetName::new(set),
                source: address,
                destination: address,
                protocol: Protocol::UDP,
                source_port: Some(port),
                port: 53,
                lifetime: LONG,
            };
            volatile.remember(&[answer]).expect("remembered");
            let sends = |socket: &UdpSocket| socket.send_to(b"asks", (address, 53)).is_ok();
            assert!(sends(&known), "{address}");
            assert!(!sends(&other), "{address}");
        }
    });
}

#[test]
fn volatile_elements_are_nobodys_difference() {
    alone(|mut kernel| {
        let desired = asking();
        start(&mut kernel, &desired);
        let mut monitor = Monitor::open(kernel.port()).expect("listening");
        let mut volatile = Volatile::new(kernel.writer());
        volatile.beat(LONG, &[]).expect("alive");
        assert!(listing().contains("elements"));
        let actual = kernel.read().expect("read");
        assert!(diff(&actual, &desired).is_empty());
        assert_eq!(actual, desired);
        run("nft", &["add", "chain", "inet", "palisade", "theirs"]);
        ready(&monitor);
        let mut changes = Vec::new();
        while let Some(event) = monitor.next_event().expect("heard") {
            changes.push(event);
        }
        assert!(
            matches!(changes.as_slice(), [Event::Changed { tables, .. }] if tables.contains(&TableName::Main)),
            "{changes:?}"
        );
    });
}

#[test]
fn a_full_queue_drops_and_counts() {
    alone(|mut kernel| {
        start(&mut kernel, &asking());
        Volatile::new(kernel.writer())
            .beat(LONG, &[])
            .expect("alive");
        let config = QueueConfig {
            length: 2,
            ..QueueConfig::default()
        };
        let mut queue = Queue::open(NUMBER, &config).expect("bound");
        let receiver = receiver("127.0.0.1");
        for _ in 0..5 {
            // What finds the queue full, the sender may be told.
            let _ = receiver.send_to(b"?", "127.0.0.1:53");
        }
        let mut ids = Vec::new();
        while ids.len() < 2 {
            ready(&queue);
            queue
                .receive(|packet| ids.push(packet.id))
                .expect("received");
        }
        queue.look().expect("listed");
        let full = Losses {
            full: 3,
            ..Losses::default()
        };
        assert_eq!(queue.losses(), full);
        assert_eq!(queue.waiting(), 2);
        let verdicts: Vec<_> = ids.iter().map(|id| (*id, Verdict::Drop)).collect();
        queue.verdicts(&verdicts).expect("sent");
        assert_eq!(queue.waiting(), 0);
        // There is room again.
        receiver.send_to(b"y", "127.0.0.1:53").expect("sent");
        answer(&mut queue, true);
        assert_eq!(received(&receiver), b'y');
        queue.look().expect("listed");
        assert_eq!(queue.losses(), full);
        // One that was received and one that was not are lost with the queue.
        for _ in 0..2 {
            receiver.send_to(b"z", "127.0.0.1:53").expect("sent");
        }
        ready(&queue);
        let received = queue.receive(|_| {}).expect("received");
        assert_eq!((received, queue.waiting()), (1, 1));
        assert_eq!(queue.close().closed, 2);
    });
}

#[test]
fn a_number_has_one_reader() {
    alone(|_| {
        let _first = Queue::open(NUMBER, &QueueConfig::default()).expect("bound");
        assert!(Queue::open(NUMBER, &QueueConfig::default()).is_err());
        let _log = Log::open(GROUP).expect("bound");
        assert!(Log::open(GROUP).is_err());
    });
}

/// Packets that the rule counted, as nft shows it.
fn counted() -> u64 {
    let listing = listing();
    let (_, behind) = listing.split_once("counter packets ").expect("a counter");
    let number = behind.split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

#[test]
fn what_is_logged_is_delivered_or_counted_as_lost() {
    alone(|mut kernel| {
        let id = RuleId(0x0123_4567_89ab_cdef);
        let [protocol, port] = udp(9);
        let log = Expression::Log {
            prefix: LogAction::Deny.prefix(id),
            to: LogTo::Group(GROUP),
        };
        let logging = Rule::new(vec![
            protocol,
            port,
            Expression::Counter,
            log,
            verdict(Nft::Drop),
        ]);
        let accept = rule([verdict(Nft::Accept)]);
        start(&mut kernel, &ruleset(vec![logging.of(id), accept]));
        let mut log = Log::with_buffer(GROUP, 256 * 1024).expect("bound");
        let flood = |address: IpAddr, count: usize| {
            let wildcard = if address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = UdpSocket::bind(wildcard).expect("a socket");
            for _ in 0..count {
                let _ = socket.send_to(&[0; 64], (address, 9));
            }
        };
        // Far more than the socket takes while nobody reads.
        flood(ip("127.0.0.1"), 5_000);
        flood(ip("::1"), 5_000);
        let mut families = BTreeMap::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut drain = |log: &mut Log| {
            while log
                .receive(|packet| {
                    assert_eq!((packet.told, packet.hook), (Some((LogAction::Deny, id)), 3));
                    assert!(packet.payload.len() <= 96 && packet.output.is_some());
                    *families.entry(packet.family).or_insert(0_u64) += 1;
                })
                .expect("received")
                > 0
            {}
        };
        drain(&mut log);
        // The last loss shows with the next packet.
        loop {
            flood(ip("127.0.0.1"), 1);
            ready(&log);
            drain(&mut log);
            let told = log.counted();
            if told.delivered + told.lost == counted() {
                break;
            }
            assert!(Instant::now() < deadline, "{told:?} of {}", counted());
        }
        let told = log.counted();
        eprintln!("logged {}: {told:?}", counted());
        assert!(told.lost > 0, "the flood was too small: {told:?}");
        assert_eq!(told.malformed, 0);
        assert_eq!(families.values().sum::<u64>(), told.delivered);
    });
}
