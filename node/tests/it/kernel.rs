//! The enforcer and a real kernel, in a network namespace of the test's own.

use crate::namespace::{in_namespace, nft};
use crate::view::{beyond_the_kernel, machine, position, refused, transaction, view};
use palisade_netfilter::Netfilter;
use palisade_node::{
    enforce::transaction::code,
    enforce::{self, Enforcer},
};
use palisade_policy::item::{ItemId, ItemKind};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

#[test]
fn a_saved_view_is_enforced_without_a_control_plane_and_adopted_at_restart() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let a = view(&[80, 443], &["10.0.0.2/32", "10.1.0.0/16"]);
        let start = || {
            Enforcer::start(dir.path(), Netfilter::open().expect("socket"), machine())
                .expect("started")
        };
        let mut enforcer = start();
        enforcer.transact(transaction(None, &a, 1)).expect("taken");
        drop(enforcer);

        // A reboot.
        nft(&["flush", "ruleset"]);
        let mut enforcer = start();
        assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
        let listed = nft(&["list", "ruleset"]);
        assert!(listed.contains("table inet palisade"), "{listed}");
        let generation = enforcer.kernel().generation().expect("asked");
        drop(enforcer);

        // A restart: the kernel is read, and nothing written.
        let mut enforcer = start();
        assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
        // Where tables are owned, taking the one that is there is all.
        let taken = u32::from(enforcer.kernel().owns());
        assert_eq!(
            enforcer.kernel().generation().expect("asked"),
            generation + taken
        );
        assert_eq!(nft(&["list", "ruleset"]), listed);

        assert!(enforce::uninstall(enforcer.kernel()).expect("removed"));
        assert_eq!(nft(&["list", "ruleset"]), "");
        assert!(!enforce::uninstall(enforcer.kernel()).expect("nothing there"));
    });
}

#[test]
fn members_policies_and_repairs_reach_the_kernel() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let kernel = Netfilter::open().expect("socket").sharing(true);
        let mut enforcer = Enforcer::start(dir.path(), kernel, machine()).expect("started");
        let views = [
            view(&[80], &["10.0.0.2/32"]),
            view(&[80], &["10.0.0.2/32", "10.0.0.3/32", "fd00::3/128"]),
            view(&[80], &["10.0.0.3/32", "10.2.0.0/16"]),
            view(&[80, 443], &["10.0.0.3/32", "10.2.0.0/16"]),
            view(&[], &[]),
            view(&[443], &["10.0.0.2/32"]),
        ];
        let mut before = None;
        for (revision, view) in (1..).zip(&views) {
            enforcer
                .transact(transaction(before, view, revision))
                .expect("taken");
            assert!(
                !enforcer.repair("nobody"),
                "read back whole, it is as desired"
            );
            before = Some(view);
        }
        let listed = nft(&["list", "ruleset"]);
        nft(&["flush", "chain", "inet", "palisade", "input"]);
        assert!(enforcer.repair("nft"));
        assert_eq!(nft(&["list", "ruleset"]), listed);
        nft(&["flush", "ruleset"]);
        assert!(enforcer.repair("nft"));
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&nft(&["list", "ruleset"])), sorted(&listed));
    });
}

#[test]
fn what_the_kernel_itself_refuses_is_named_and_the_last_good_view_stays() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut enforcer =
            Enforcer::start(dir.path(), Netfilter::open().expect("socket"), machine())
                .expect("started");
        let good = view(&[80], &["10.0.0.2/32"]);
        enforcer
            .transact(transaction(None, &good, 1))
            .expect("taken");
        let listed = nft(&["list", "ruleset"]);

        // A policy beyond the kernel, a good policy and a member, in one transaction.
        let more = view(&[80, 443], &["10.0.0.2/32", "10.0.0.3/32"]);
        let bad = beyond_the_kernel(more.clone(), 8080);
        let rejection = refused(enforcer.transact(transaction(Some(&good), &bad, 2)));
        assert_eq!(rejection.code, code::INVALID_ARGUMENT);
        let blamed: Vec<_> = rejection.items.iter().map(|(item, _)| item).collect();
        assert_eq!(blamed, [&ItemId::new(ItemKind::Policy, "gnp/p8080")]);
        assert_eq!(enforcer.positions().enforced, Some(position(&good, 1)));
        assert!(!enforcer.is_troubled());
        assert_eq!(nft(&["list", "ruleset"]), listed);

        // The rest of it without the culprit.
        enforcer
            .transact(transaction(Some(&good), &more, 2))
            .expect("taken");
        assert_eq!(enforcer.positions().enforced, Some(position(&more, 2)));
        assert!(!enforcer.repair("nobody"), "read back whole, it is desired");
    });
}

#[test]
fn a_first_view_that_the_kernel_refuses_leaves_no_table() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut enforcer =
            Enforcer::start(dir.path(), Netfilter::open().expect("socket"), machine())
                .expect("started");
        let bad = beyond_the_kernel(view(&[80], &["10.0.0.2/32"]), 8080);
        let rejection = refused(enforcer.transact(transaction(None, &bad, 1)));
        let blamed: Vec<_> = rejection.items.iter().map(|(item, _)| item).collect();
        assert_eq!(blamed, [&ItemId::new(ItemKind::Policy, "gnp/p8080")]);
        assert_eq!(enforcer.positions(), Default::default());
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}

#[test]
fn a_flushed_host_is_closed_at_once_and_opened_again_by_its_policy() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let kernel = Netfilter::open().expect("socket").sharing(true);
        let mut enforcer = Enforcer::start(dir.path(), kernel, machine()).expect("started");
        let a = view(&[80, 443], &["10.0.0.2/32"]);
        enforcer.transact(transaction(None, &a, 1)).expect("taken");
        let listed = nft(&["list", "ruleset"]);

        nft(&["flush", "ruleset"]);
        enforcer.guard();
        let closed = nft(&["list", "ruleset"]);
        assert!(closed.contains("table inet palisade-guard"), "{closed}");
        assert!(
            !closed.contains("dport 80"),
            "no policy opens anything: {closed}"
        );
        assert!(
            closed.contains("\"eth0\" : goto"),
            "what is governed is judged: {closed}"
        );
        assert_eq!(enforcer.positions().enforced, None);
        assert!(enforcer.repair("nft"));
        assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
        let repaired = nft(&["list", "ruleset"]);
        assert!(!repaired.contains("palisade-guard"), "{repaired}");
        assert_eq!(repaired.len(), listed.len());

        // A change that comes to nothing takes the guard away, too.
        enforcer.guard();
        assert!(!enforcer.repair("nft"), "nothing differs");
        assert_eq!(nft(&["list", "ruleset"]), repaired);
    });
}

#[test]
fn a_host_without_saved_policy_can_be_closed_until_the_first_arrives() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let start = || {
            let kernel = Netfilter::open().expect("socket");
            Enforcer::start(dir.path(), kernel, machine()).expect("started")
        };
        let mut guard = start();
        guard.close().expect("closed");
        assert_eq!(guard.positions(), Default::default());
        drop(guard);
        let closed = nft(&["list", "ruleset"]);
        for part in ["policy accept", "failsafe_in", "tcp . 22", "drop"] {
            assert!(closed.contains(part), "{part} in {closed}");
        }
        // The daemon has no view yet, and leaves it so.
        let mut enforcer = start();
        let a = view(&[80], &["10.0.0.2/32"]);
        assert_eq!(enforcer.positions(), Default::default());
        assert!(nft(&["list", "ruleset"]).contains("tcp . 22"));
        enforcer.transact(transaction(None, &a, 1)).expect("taken");
        assert!(!nft(&["list", "ruleset"]).contains("tcp . 22"));
    });
}

/// Another program, busy in a table of its own for as long as it is there.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Neighbour {
    fn start() -> Self {
        nft(&["add", "table", "inet", "aaa"]);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut changes = 0;
            while !told.load(Ordering::Relaxed) {
                nft(&["add", "chain", "inet", "aaa", "theirs"]);
                nft(&["delete", "chain", "inet", "aaa", "theirs"]);
                changes += 2;
            }
            changes
        });
        let thread = Some(thread);
        Self { stop, thread }
    }

    fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("at work");
        thread.join().expect("it ends well")
    }
}

/// One failed read left the chain open for good, while all was said to be well.
#[test]
fn beside_a_busy_neighbour_a_flushed_chain_is_found_and_repaired() {
    in_namespace(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut kernel = Netfilter::open().expect("socket").sharing(true);
        kernel.listen().expect("listening");
        let mut enforcer = Enforcer::start(dir.path(), kernel, machine()).expect("started");
        let members: Vec<String> = (0..30_000_u32)
            .map(|n| format!("10.{}.{}.{}/32", 1 + (n >> 16), n >> 8 & 255, n & 255))
            .collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let a = view(&[80, 443], &members);
        enforcer.transact(transaction(None, &a, 1)).expect("taken");
        let listed = nft(&["list", "chain", "inet", "palisade", "input"]);
        let neighbour = Neighbour::start();
        for _ in 0..5 {
            nft(&["flush", "chain", "inet", "palisade", "input"]);
            enforcer.guard();
            assert_eq!(enforcer.positions().enforced, None, "nobody knows");
            assert!(enforcer.repair("nft"), "found");
            assert_eq!(enforcer.positions().enforced, Some(position(&a, 1)));
        }
        let changes = neighbour.stop();
        // Not before: nft itself does not come to an end beside such a neighbour.
        assert_eq!(nft(&["list", "chain", "inet", "palisade", "input"]), listed);
        assert!(changes > 20, "only {changes} changes beside five repairs");
    });
}
