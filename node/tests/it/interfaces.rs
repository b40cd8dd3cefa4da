//! Interfaces that come, go, change their names and addresses, and the kernel's rules after them.

use crate::{
    namespace::{in_namespace, ip},
    view::{position, transaction, view},
};
use palisade_netfilter::{Netfilter, ReadError};
use palisade_node::{
    enforce::interfaces::{Interfaces, KernelLinks, Source, watch_interfaces, watch_source},
    enforce::machine::{environment, follow},
    enforce::transaction::Outcome,
    enforce::{self, Observed, Reconciler},
    metrics::Metrics,
};
use palisade_policy::{
    endpoint::{Endpoint, InterfaceMatch},
    ids::EndpointId,
    packet::{Environment, Master},
    resolve::{EndpointState, Idle, resolve},
    view::View,
};
use palisade_ruleset::{lower, lower::LowerCache};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Nothing takes longer, unless it never happens.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between looks at a machine of which nothing was told.
const LOOK: Duration = Duration::from_millis(20);

/// Endpoints that all are judged alike; an id's interface is a name, `*`, or absent for a match by address.
fn endpoints(of: &[(&str, Option<&str>, &[&str])]) -> View {
    let mut view = view(&[80], &["10.0.0.2/32"]);
    let like = view.endpoints.pop_first().expect("one").1;
    view.endpoints = of
        .iter()
        .map(|(id, interface, addresses)| {
            let endpoint = Endpoint {
                interface: match interface {
                    None => InterfaceMatch::ByAddress,
                    Some("*") => InterfaceMatch::Any,
                    Some(name) => InterfaceMatch::Named((*name).into()),
                },
                addresses: addresses
                    .iter()
                    .map(|a| a.parse().expect("address"))
                    .collect(),
                ..Endpoint::clone(&like)
            };
            (EndpointId::new(*id), Arc::new(endpoint))
        })
        .collect();
    view
}

/// A daemon without a stream, which enforces a view.
struct Daemon {
    reconciler: Reconciler,
    view: View,
    _dir: tempfile::TempDir,
    _control_plane: watch::Sender<Vec<std::net::SocketAddr>>,
}

impl Daemon {
    async fn start(view: View) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let interfaces = watch_interfaces().await.expect("readable");
        let (sender, control_plane) = watch::channel(Vec::new());
        let now = environment(&interfaces, &control_plane);
        let running = enforce::start(dir.path(), now, Metrics::default())
            .await
            .expect("started");
        let reconciler = running.reconciler;
        tokio::spawn(follow(interfaces, control_plane, reconciler.clone()));
        let outcome = reconciler
            .apply(transaction(None, &view, 1), Instant::now())
            .await;
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
        Self {
            reconciler,
            view,
            _dir: dir,
            _control_plane: sender,
        }
    }

    /// Waits until the machine, as it is read, is taken into account, and what is reported fits; then compares the kernel
    /// with what is asked for, whole: nothing is missing, nothing is left over.
    async fn until(&self, fits: impl Fn(&Observed) -> bool) -> Observed {
        let begun = Instant::now();
        let mut observed = self.reconciler.observed();
        let at = position(&self.view, 1);
        loop {
            let now = machine().await;
            let told = observed.borrow_and_update().clone();
            let actual = Netfilter::open().expect("a socket").read().expect("read");
            // A carrier comes some time after its link is up: the machine must have stood still meanwhile.
            if told.environment.interfaces == now && fits(&told) && machine().await == now {
                assert_eq!(self.reconciler.positions().borrow().enforced, Some(at));
                let environment = Environment {
                    interfaces: now,
                    control_plane: Vec::new(),
                };
                let desired = lower(&self.view, &environment, Some(&at), &mut LowerCache::new());
                assert_eq!(actual, desired.ruleset);
                assert_eq!(told.endpoints, resolve(&self.view, &environment).status);
                return told;
            }
            let left = DEADLINE.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "still {told:?}");
            // What is reported changes with the machine, or is looked at again soon.
            let _ = tokio::time::timeout(left.min(LOOK), observed.changed()).await;
        }
    }

    async fn converges(&self) -> Observed {
        self.until(|_| true).await
    }

    /// Waits until an endpoint is in this state.
    async fn becomes(&self, id: &str, wanted: EndpointState) -> Observed {
        self.until(|observed| *state(observed, id) == wanted).await
    }

    async fn stop(self) {
        self.reconciler.stop().await;
    }
}

async fn machine() -> Interfaces {
    watch_interfaces().await.expect("readable").borrow().clone()
}

/// On a runtime of its own within a namespace.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    in_namespace(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test());
    });
}

fn state<'a>(observed: &'a Observed, id: &str) -> &'a EndpointState {
    &observed.endpoints[&EndpointId::new(id)].state
}

fn governs(observed: &Observed, id: &str) -> Vec<String> {
    let status = &observed.endpoints[&EndpointId::new(id)];
    status.interfaces.iter().map(ToString::to_string).collect()
}

#[test]
fn an_endpoint_follows_its_name_not_its_interface_when_that_is_renamed() {
    run(|| async {
        ip("link add ev0 type veth peer name ev1\nlink set ev0 up\nlink set ev1 up\n");
        let daemon = Daemon::start(endpoints(&[
            ("hep/a", Some("ev0"), &[]),
            ("hep/b", Some("ev7"), &[]),
        ]))
        .await;
        let absent = |name: &str| EndpointState::Error(Idle::Absent(name.into()));
        let observed = daemon.becomes("hep/a", EndpointState::Up).await;
        assert_eq!(*state(&observed, "hep/b"), absent("ev7"));
        // The index stays the same.
        ip("link set ev0 down\nlink set ev0 name ev7\nlink set ev7 up\n");
        let observed = daemon.becomes("hep/b", EndpointState::Up).await;
        assert_eq!(*state(&observed, "hep/a"), absent("ev0"));
        assert_eq!(governs(&observed, "hep/b"), ["ev7"]);
        ip("link set ev1 down\n");
        daemon.becomes("hep/b", EndpointState::Down).await;
        ip("link del ev7\n");
        daemon.becomes("hep/b", absent("ev7")).await;
        daemon.stop().await;
    });
}

#[test]
fn an_address_that_moves_takes_its_endpoint_along_and_the_next_one_takes_over() {
    run(|| async {
        ip("link add ev0 type veth peer name ev1\naddr add 10.9.0.1/24 dev ev0\n");
        let daemon = Daemon::start(endpoints(&[
            ("hep/a", None, &["10.9.0.1"]),
            ("hep/b", Some("ev0"), &[]),
        ]))
        .await;
        let observed = daemon.converges().await;
        assert_eq!(governs(&observed, "hep/a"), ["ev0"]);
        assert_eq!(
            *state(&observed, "hep/b"),
            EndpointState::Error(Idle::Outranked("hep/a".into()))
        );
        ip("addr del 10.9.0.1/24 dev ev0\naddr add 10.9.0.1/24 dev ev1\n");
        let observed = daemon.converges().await;
        assert_eq!(governs(&observed, "hep/a"), ["ev1"]);
        assert_eq!(governs(&observed, "hep/b"), ["ev0"]);
        ip("addr del 10.9.0.1/24 dev ev1\n");
        let observed = daemon.converges().await;
        assert_eq!(
            *state(&observed, "hep/a"),
            EndpointState::Error(Idle::NoAddress)
        );
        daemon.stop().await;
    });
}

#[test]
fn expected_addresses_that_selectors_would_miss_are_a_condition_until_they_agree() {
    run(|| async {
        ip("link add ev0 type veth peer name ev1\naddr add 10.9.0.1/24 dev ev0\n");
        let daemon = Daemon::start(endpoints(&[("hep/a", Some("ev0"), &["10.9.0.1"])])).await;
        assert!(daemon.converges().await.conditions.is_empty());
        ip("addr add 10.9.0.2/24 dev ev0\n");
        let observed = daemon.converges().await;
        let [condition] = &observed.conditions[..] else {
            panic!("{:?}", observed.conditions);
        };
        assert_eq!(condition.kind, "AddressMismatch");
        assert!(condition.message.contains("hep/a"), "{condition:?}");
        assert!(condition.message.contains("10.9.0.2"), "{condition:?}");
        ip("addr del 10.9.0.2/24 dev ev0\n");
        assert!(daemon.converges().await.conditions.is_empty());
        daemon.stop().await;
    });
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).expect("small")).expect("small")
    }
}

/// A thousand commands that all succeed, and lead somewhere.
fn events(count: usize) -> String {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    // Pairs that exist: the name of one end, its addresses, whether it is up.
    let mut there: BTreeMap<usize, (usize, Vec<usize>, bool)> = BTreeMap::new();
    let mut names = 0;
    let mut commands = Vec::with_capacity(count);
    while commands.len() < count {
        let pair = numbers.below(8);
        let Some((name, addresses, up)) = there.get_mut(&pair) else {
            // Names that endpoints have come up again and again.
            names += 1;
            let name = names % 12;
            let taken = there.values().any(|(other, ..)| *other == name);
            if !taken {
                commands.push(format!("link add ev{name} type veth peer name peer{pair}"));
                there.insert(pair, (name, Vec::new(), false));
            }
            continue;
        };
        match numbers.below(6) {
            0 => {
                commands.push(format!("link del ev{name}"));
                there.remove(&pair);
            }
            1 => {
                let verb = if *up { "down" } else { "up" };
                *up = !*up;
                commands.push(format!("link set ev{name} {verb}"));
            }
            2 if !*up => {
                let new = numbers.below(12);
                let old = *name;
                if there.values().all(|(other, ..)| *other != new) {
                    commands.push(format!("link set ev{old} name ev{new}"));
                    if let Some((name, ..)) = there.get_mut(&pair) {
                        *name = new;
                    }
                }
            }
            _ => {
                let address = numbers.below(6);
                let verb = match addresses.iter().position(|known| *known == address) {
                    Some(at) => {
                        addresses.remove(at);
                        "del"
                    }
                    None => {
                        addresses.push(address);
                        "add"
                    }
                };
                commands.push(format!("addr {verb} 10.9.{address}.1/32 dev ev{name}"));
            }
        }
    }
    commands.join("\n") + "\n"
}

#[test]
fn after_a_thousand_interface_events_everything_is_as_asked_for() {
    run(|| async {
        let daemon = Daemon::start(endpoints(&[
            ("hep/a", None, &["10.9.0.1", "10.9.1.1"]),
            ("hep/b", Some("ev1"), &["10.9.2.1"]),
            ("hep/c", Some("ev2"), &[]),
            ("hep/d", None, &["10.9.2.1", "10.9.3.1"]),
            ("hep/e", Some("*"), &[]),
            ("hep/f", Some("ev3"), &["10.9.4.1"]),
            ("hep/g", Some("*"), &[]),
        ]))
        .await;
        daemon.converges().await;
        let events = events(1_000);
        let lines: Vec<&str> = events.lines().collect();
        assert_eq!(lines.len(), 1_000);
        // In bursts, so that the daemon is at work while the next ones come.
        for burst in lines.chunks(100) {
            let commands = burst.join("\n") + "\n";
            tokio::task::spawn_blocking(move || ip(&commands))
                .await
                .expect("done");
        }
        let observed = daemon.converges().await;
        let left = observed.environment.interfaces.keys();
        let gone: String = left
            .filter(|name| name.as_str().starts_with("peer"))
            .map(|name| format!("link del {name}\n"))
            .collect();
        ip(&gone);
        let observed = daemon.converges().await;
        assert_eq!(observed.environment.interfaces.len(), 1, "lo alone is left");
        assert!(!observed.conditions.iter().any(|c| c.kind == "Degraded"));
        daemon.stop().await;
    });
}

#[test]
fn an_endpoint_is_in_error_while_its_interface_is_a_port_of_a_bridge() {
    run(|| async {
        ip(
            "link add ev0 type veth peer name ev1\nlink add br0 type bridge\nlink set br0 up\n\
            link set ev0 up\nlink set ev1 up\n",
        );
        let daemon = Daemon::start(endpoints(&[
            ("hep/a", Some("ev0"), &[]),
            ("hep/b", Some("*"), &[]),
            ("hep/c", Some("br0"), &[]),
        ]))
        .await;
        daemon.becomes("hep/a", EndpointState::Up).await;
        ip("link set ev0 master br0\n");
        let port = EndpointState::Error(Idle::Port {
            interface: "ev0".into(),
            master: Master {
                name: "br0".into(),
                kind: "bridge".to_owned(),
            },
        });
        let observed = daemon.becomes("hep/a", port).await;
        assert_eq!(*state(&observed, "hep/b"), EndpointState::Up);
        daemon.becomes("hep/c", EndpointState::Up).await;
        ip("link set ev0 nomaster\n");
        daemon.becomes("hep/a", EndpointState::Up).await;
        daemon.stop().await;
    });
}

/// The kernel's interfaces, and how often they were read.
struct Counted(KernelLinks, Arc<AtomicU32>);

impl Source for Counted {
    async fn wait(&self) {
        self.0.wait().await;
    }

    fn changed(&mut self) -> io::Result<bool> {
        self.0.changed()
    }

    fn read(&mut self) -> Result<Interfaces, ReadError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read()
    }
}

#[test]
fn five_hundred_interfaces_that_come_and_go_are_read_twenty_times_a_second_at_most() {
    run(|| async {
        let reads = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&reads);
        let open = move || Ok(Counted(KernelLinks::open()?, Arc::clone(&count)));
        let mut receiver = watch_source(open).await.expect("readable");
        let begun = Instant::now();
        for verb in ["add", "del"] {
            let commands: String = (0..250)
                .map(|pair| match verb {
                    "add" => format!("link add ch{pair} type veth peer name cp{pair}\n"),
                    _ => format!("link del ch{pair}\n"),
                })
                .collect();
            tokio::task::spawn_blocking(move || ip(&commands))
                .await
                .expect("done");
            let wanted = if verb == "add" { 501 } else { 1 };
            let all = receiver.wait_for(|known| known.len() == wanted);
            let seen = tokio::time::timeout(DEADLINE, all).await;
            assert!(seen.is_ok_and(|seen| seen.is_ok()), "{verb}");
        }
        // A thousand links came and went, each with several notifications: the reads are bounded by the time it took.
        let most = begun.elapsed().as_millis() / 50 + 2;
        let reads = reads.load(Ordering::Relaxed);
        assert!(u128::from(reads) <= most, "{reads} of {most}");
        assert!(reads >= 2);
    });
}
