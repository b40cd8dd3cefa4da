//! Plugins on every way: a daemon answers by the last byte of a packet, hangs, or is gone.

use super::{
    HOST, HOST6, Network, OUTSIDE, OUTSIDE6, WORKLOAD,
    network::Datagram,
    on_a_host,
    view::{Open, asking_rule, endpoint, enforce, enforce_asking, nothing, with_auditor},
};
use crate::namespace::{listing, nft};
use palisade_netfilter::{
    PutError, Remembered, Tag, Volatile, Writer,
    nflog::{Log, Logged},
    queue::{Queue, QueueConfig, Verdict},
};
use palisade_policy::{
    class::{
        Direction::{Egress, Ingress},
        PolicyList::{Forward, Normal},
    },
    ids::{IfName, RuleId},
    plugin::{Answer, OnFailure},
    rule::{Family, Protocol},
    rule_id,
};
use palisade_ruleset::{
    interpret,
    plugins::{AUDIT_GROUP, Alike, Asking, LogAction, TAG},
};
use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// While it lives, a daemon beats and answers.
pub(super) struct Daemon {
    stop: Option<Sender<()>>,
    done: Option<JoinHandle<Vec<Queue>>>,
    asked: Arc<AtomicUsize>,
}

impl Daemon {
    pub(super) fn start(asking: &Asking) -> Self {
        let asking = asking.clone();
        let (stop, stopped) = channel();
        let (ready, is_ready) = channel();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let done = std::thread::spawn(move || answer(&asking, &stopped, &ready, &count));
        is_ready.recv().expect("a daemon");
        Self {
            stop: Some(stop),
            done: Some(done),
            asked,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// It answers no more and beats no more, and keeps its queues. Waits until the kernel has noticed.
    fn hang(mut self) -> Vec<Queue> {
        drop(self.stop.take());
        let done = self.done.take().expect("running").join();
        let queues = done.expect("a daemon that ends well");
        let deadline = Instant::now() + Duration::from_secs(5);
        while alive() {
            assert!(Instant::now() < deadline, "the heartbeat does not end");
        }
        queues
    }
}

fn alive() -> bool {
    let set = nft(&["list", "set", "inet", "palisade", "plugin_alive"]);
    set.contains("elements")
}

fn answer(
    asking: &Asking,
    stopped: &Receiver<()>,
    ready: &Sender<()>,
    count: &AtomicUsize,
) -> Vec<Queue> {
    let open = |number| Queue::open(number, &QueueConfig::default()).expect("bound");
    let mut queues: Vec<Queue> = asking.queues().into_iter().map(open).collect();
    assert!(!queues.is_empty());
    let mut volatile = Volatile::new(Writer::open().expect("a socket"));
    let mut tags = interpret::Daemon::new(Arc::new(asking.clone()));
    let mut beat: Option<Instant> = None;
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        if beat.is_none_or(|last| last.elapsed() > Duration::from_millis(200)) {
            volatile.beat(Duration::from_secs(1), &[]).expect("alive");
            beat = Some(Instant::now());
            let _ = ready.send(());
        }
        wait(&queues);
        for queue in &mut queues {
            let number = queue.number();
            let mut verdicts = Vec::new();
            queue
                .receive(|packet| {
                    let input = packet.input.map(name_of);
                    let output = packet.output.map(name_of);
                    let asked = asking.questions(number, input.as_ref(), output.as_ref());
                    let (_, questions) = asked.expect("one of ours");
                    let said = match packet.payload.last() {
                        Some(b'y') => Answer::Match,
                        Some(b'n') => Answer::NoMatch,
                        _ => Answer::Failed,
                    };
                    // One that is queued with its tag is routed anew when it comes back with its mark.
                    assert!(!tags.tags.values().any(|tag| *tag == packet.mark & TAG));
                    let known = tags.tags.len();
                    let tag = tags.tag(packet.mark);
                    if tags.tags.len() > known {
                        volatile.tag(kept(tag, packet.mark)).expect("a tag");
                    }
                    let answers = questions.iter().map(|_| said);
                    let mark = questions.answered(tag, answers);
                    verdicts.push((packet.id, Verdict::Repeat { mark }));
                    count.fetch_add(1, Ordering::Relaxed);
                })
                .expect("received");
            queue.verdicts(&verdicts).expect("sent");
        }
    }
    queues
}

fn kept(tag: u32, mark: u32) -> Tag {
    Tag {
        tag,
        mark,
        kept: true,
        lifetime: Duration::from_secs(60),
    }
}

/// Until one of them is readable, or shortly.
fn wait(queues: &[Queue]) {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut polled: Vec<_> = queues
        .iter()
        .map(|queue| PollFd::new(queue, PollFlags::IN))
        .collect();
    let shortly = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    poll(&mut polled, Some(&shortly)).expect("polled");
}

fn name_of(index: u32) -> IfName {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer is as long as any interface name.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    assert!(!found.is_null(), "interface {index}");
    let name = std::ffi::CStr::from_bytes_until_nul(&name).expect("a name");
    IfName::from(name.to_str().expect("a name"))
}

/// Others give packets this mark before us, and drop behind us what does not have it and nothing else.
fn marked_by_others(mark: u32) {
    nft(&["add", "table", "inet", "others"]);
    nft(&["flush", "table", "inet", "others"]);
    for (hook, kind) in [("prerouting", "filter"), ("output", "route")] {
        nft(&[&format!(
            "add chain inet others {hook} {{ type {kind} hook {hook} priority -310; }}"
        )]);
        nft(&[&format!(
            "add rule inet others {hook} meta mark set {mark:#x}"
        )]);
    }
    for hook in ["input", "forward", "postrouting"] {
        nft(&[&format!(
            "add chain inet others {hook}_behind {{ type filter hook {hook} priority 10; }}"
        )]);
        nft(&[&format!(
            "add rule inet others {hook}_behind udp dport 53 meta mark != {mark:#x} drop"
        )]);
    }
}

fn asks(on_failure: OnFailure) -> Open {
    Open::Asking(53, on_failure)
}

#[test]
fn a_daemon_answers_on_every_way_and_marks_of_others_stay() {
    on_a_host(|kernel, network| {
        marked_by_others(0x123);
        let mut view = nothing();
        let fails = OnFailure::NoMatch;
        let lists = [
            (Normal, Ingress, asks(fails)),
            (Normal, Egress, asks(fails)),
            (Forward, Ingress, asks(fails)),
        ];
        endpoint(&mut view, "eth0", &[], &lists);
        let lists = [
            (Normal, Ingress, asks(fails)),
            (Normal, Egress, asks(fails)),
        ];
        endpoint(&mut view, "cali1", &[WORKLOAD], &lists);
        let (ruleset, asking) = enforce_asking(kernel, &view);
        let daemon = Daemon::start(&asking);
        for (byte, passes) in [(b'y', true), (b'n', false), (b'f', false)] {
            let of = |from, to| Datagram::new(from, to, 53).saying(byte);
            network.inbound(of(OUTSIDE, HOST), passes);
            network.inbound(of(OUTSIDE6, HOST6), passes);
            network.outbound(of(HOST, OUTSIDE), passes);
            network.outbound(of(HOST6, OUTSIDE6), passes);
            network.workload_in(of(OUTSIDE, WORKLOAD), passes);
            network.workload_out(of(WORKLOAD, OUTSIDE), passes);
            network.between(&network.workload, &network.host, of(WORKLOAD, HOST), passes);
        }
        // Two questions about what goes through, unless the first says no.
        assert_eq!(daemon.asked(), 3 * 7 + 1);
        // Whatever looks like answers is somebody's mark: it is asked about all the same, and arrives whole.
        for mark in [0, 1, 0xfff, 0xffff_f000, u32::MAX] {
            marked_by_others(mark);
            for (byte, passes) in [(b'y', true), (b'n', false)] {
                network.inbound(Datagram::new(OUTSIDE, HOST, 53).saying(byte), passes);
                network.outbound(Datagram::new(HOST6, OUTSIDE6, 53).saying(byte), passes);
            }
        }
        assert_eq!(daemon.asked(), 3 * 7 + 1 + 5 * 4);
        network.inbound(Datagram::new(OUTSIDE, HOST, 54).saying(b'y'), false);
        network.inbound(Datagram::new(OUTSIDE, HOST, 7), true);
        assert_eq!(
            daemon.asked(),
            3 * 7 + 1 + 5 * 4,
            "others are not asked about"
        );
        let actual = kernel.read().expect("read");
        assert!(
            palisade_ruleset::diff(&actual, &ruleset).is_empty(),
            "{}",
            listing()
        );
    });
}

#[test]
fn every_failure_policy_holds_with_a_daemon_that_fails_hangs_or_is_gone() {
    on_a_host(|kernel, network| {
        for (on_failure, passes) in [
            (OnFailure::Match, true),
            (OnFailure::NoMatch, false),
            (OnFailure::Deny, false),
            (OnFailure::Allow, true),
        ] {
            let mut view = nothing();
            let lists = [
                (Normal, Ingress, asks(on_failure)),
                (Normal, Egress, asks(on_failure)),
            ];
            endpoint(&mut view, "eth0", &[], &lists);
            let (_, asking) = enforce_asking(kernel, &view);
            let every_way = |network: &Network, byte, passes| {
                let of = |from, to| Datagram::new(from, to, 53).saying(byte);
                network.inbound(of(OUTSIDE, HOST), passes);
                network.inbound(of(OUTSIDE6, HOST6), passes);
                network.outbound(of(HOST, OUTSIDE), passes);
                network.outbound(of(HOST6, OUTSIDE6), passes);
            };
            every_way(network, b'y', passes);
            let daemon = Daemon::start(&asking);
            every_way(network, b'y', true);
            every_way(network, b'n', false);
            every_way(network, b'f', passes);
            let hung = daemon.hang();
            every_way(network, b'y', passes);
            drop(hung);
            every_way(network, b'n', passes);
            // What is not asked about is as ever.
            network.inbound(Datagram::new(OUTSIDE, HOST, 7), true);
        }
    });
}

#[test]
fn what_is_remembered_holds_for_a_mark_with_a_tag_without_asking() {
    on_a_host(|kernel, network| {
        let mark = 0xdead_beef;
        marked_by_others(mark);
        let mut view = nothing();
        let lists = [(Normal, Ingress, asks(OnFailure::NoMatch))];
        endpoint(&mut view, "eth0", &[], &lists);
        let (_, asking) = enforce_asking(kernel, &view);
        let mut volatile = Volatile::new(kernel.writer());
        let ip = |text: &str| text.parse().expect("an address");
        let ways = [(Family::V4, OUTSIDE, HOST), (Family::V6, OUTSIDE6, HOST6)];
        for (family, from, to) in ways {
            let question = asking.all().next().expect("a question");
            let answer = Remembered {
                set: question.remembered(family, Alike::Flow, true),
                source: ip(from),
                destination: ip(to),
                protocol: Protocol::UDP,
                source_port: None,
                port: 53,
                lifetime: Duration::from_secs(60),
            };
            volatile.remember(&[answer]).expect("remembered");
        }
        let every = |passes| {
            for (_, from, to) in ways {
                network.inbound(Datagram::new(from, to, 53), passes);
            }
        };
        // Without a tag there is nobody to ask.
        every(false);
        volatile.tag(kept(0x1234_5000, mark)).expect("a tag");
        every(true);
        volatile.forget_tags().expect("forgotten");
        every(false);
        let taken = volatile.tag(kept(0x1234_5000, mark ^ 1));
        assert!(matches!(taken, Err(PutError::Taken)), "{taken:?}");
    });
}

/// Two packets of one flow wait for answers, and the reply to the first comes before the second is answered. The flow is
/// established then; the packet stays new, and is judged by the rules that ask: they give it its mark back.
#[test]
fn a_packet_whose_flow_was_established_while_it_waited_gets_its_mark_back() {
    on_a_host(|kernel, network| {
        let mark = 0xdead_beef;
        marked_by_others(mark);
        let mut view = nothing();
        let lists = [
            (Normal, Ingress, asks(OnFailure::NoMatch)),
            (Normal, Egress, Open::Nothing),
        ];
        endpoint(&mut view, "eth0", &[], &lists);
        let (_, asking) = enforce_asking(kernel, &view);
        let mut volatile = Volatile::new(kernel.writer());
        volatile.beat(Duration::from_secs(60), &[]).expect("alive");
        let tag = 0x1234_5000;
        let number = asking.queues().into_iter().next().expect("a queue");
        let mut queue = Queue::open(number, &QueueConfig::default()).expect("bound");
        let server = UdpSocket::bind((HOST, 53)).expect("bound");
        let patience = Some(Duration::from_secs(3));
        server.set_read_timeout(patience).expect("a time-out");
        let client = network.outside.there(|| {
            let socket = UdpSocket::bind((OUTSIDE, 0)).expect("bound");
            socket.connect((HOST, 53)).expect("connected");
            for byte in [b"1", b"2"] {
                socket.send(byte).expect("sent");
            }
            socket
        });
        let mut waiting = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while waiting.len() < 2 {
            assert!(Instant::now() < deadline, "two packets wait");
            queue
                .receive(|packet| waiting.push((packet.id, packet.mark)))
                .expect("received");
        }
        volatile.tag(kept(tag, mark)).expect("a tag");
        let mut byte = [0];
        for (id, queued) in waiting {
            assert_eq!(queued, mark);
            let mark = tag | 1;
            queue
                .verdicts(&[(id, Verdict::Repeat { mark })])
                .expect("sent");
            // Dropped behind us if it kept its tag.
            let (_, from) = server.recv_from(&mut byte).expect("arrived");
            server.send_to(b"r", from).expect("a reply");
            client.recv(&mut byte).expect("the reply");
        }
    });
}

#[test]
fn a_rule_that_denies_what_a_plugin_says_lets_the_rest_go_on() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [(Normal, Ingress, Open::To(&[53]))];
        endpoint(&mut view, "eth0", &[], &lists);
        asking_rule(&mut view, "eth0", 53, OnFailure::Match);
        let (_, asking) = enforce_asking(kernel, &view);
        let daemon = Daemon::start(&asking);
        for (byte, passes) in [(b'y', false), (b'n', true), (b'f', false)] {
            network.inbound(Datagram::new(OUTSIDE, HOST, 53).saying(byte), passes);
            network.inbound(Datagram::new(OUTSIDE6, HOST6, 53).saying(byte), passes);
        }
        daemon.hang();
        network.inbound(Datagram::new(OUTSIDE, HOST, 53).saying(b'n'), false);
    });
}

#[test]
fn auditors_are_told_which_rule_decided() {
    on_a_host(|kernel, network| {
        let mut view = nothing();
        let lists = [(Normal, Ingress, Open::To(&[53]))];
        endpoint(&mut view, "eth0", &[], &lists);
        with_auditor(&mut view);
        enforce(kernel, &view);
        let mut log = Log::open(AUDIT_GROUP).expect("bound");
        network.inbound(Datagram::new(OUTSIDE, HOST, 54), false);
        network.inbound(Datagram::new(OUTSIDE6, HOST6, 54), false);
        // Never answered, and begun once all the same.
        let flow = Datagram::new(OUTSIDE, HOST, 53).out_of(5353);
        network.inbound(flow, true);
        network.inbound(flow, true);
        network.inbound(Datagram::new(OUTSIDE6, HOST6, 53), true);
        let denied = Some((LogAction::Deny, rule_id::tier_default(&"default".into())));
        let allowed = Some((LogAction::Allow, RuleId(1)));
        let mut told = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        while told.len() < 4 {
            let note = |packet: Logged<'_>| told.push((packet.told, packet.hook, packet.family));
            log.receive(note).expect("received");
            assert!(Instant::now() < deadline, "{told:?}");
        }
        let of = |said, family| (said, 1, family);
        let expected = [
            of(denied, Family::V4),
            of(denied, Family::V6),
            of(allowed, Family::V4),
            of(allowed, Family::V6),
        ];
        assert_eq!(told, expected);
        assert_eq!(log.counted().lost, 0);
    });
}
